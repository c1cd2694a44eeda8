/*
 * The proof of freshness: two links, one subscription, heartbeats and generations.
 *
 * Happy path. The data link comes up; its first heartbeat reads who the server is and what meta says, and the
 * view is adopted. The subscription link comes up on the same server and subscribes. The next heartbeat reads
 * meta, then sends PING on the subscription; everything published before Redis ran that PING arrives before its
 * PONG. At the PONG a generation begins: `last` is known, and as_of is the moment the heartbeat was started.
 * From then on each heartbeat finds last >= the seq it read, and as_of moves on.
 *
 * Failure modes.
 *   A message is lost       the next message, or the next heartbeat, shows a gap: a new generation, everything
 *                           cached becomes suspect, as_of stays where it is. Twice in a row: subscribe anew.
 *   The subscription dies   as_of stays; hits go on while the lease holds, then each read asks Redis.
 *   The data link dies      as_of stays; when the lease is over, reads are refused.
 *   Nothing moves           the same: no clock but CLOCK_BOOTTIME and no error is needed for the lease to end.
 *   Another server, flush,  meta or the run differs, or seq went back: the epoch has ended; see epoch.c.
 *   restart, failover
 *   The server is demoted   role is read with each heartbeat: both links are made again.
 */
#include <stdio.h>

#include "daemon/core/machine.h"

#define HEARTBEAT_SPACING 16 /* heartbeats wanted early are at least H/16 apart; picked */

bool proof_lease_holds(const struct core *core)
{
    return core->as_of > 0 && core->now - core->as_of <= core->config.bound_ns;
}

uint64_t proof_generation_as_of(const struct core *core, uint32_t generation)
{
    if (generation == core->generation)
        return core->as_of;
    if (generation < core->epoch_first_generation || core->generation - generation >= GENERATIONS_KEPT)
        return 0;
    return core->generation_as_of[generation % GENERATIONS_KEPT];
}

void proof_generation_begin(struct core *core)
{
    core->generation_as_of[core->generation % GENERATIONS_KEPT] = core->as_of;
    core->generation++;
    core->counters.generations++;
    trace_event(core, TRACE_GENERATION, .version = core->generation);
}

/* Said at once if no change of readiness will say it. */
static void trouble_set(struct core *core, const char *what, struct slice text)
{
    char before[sizeof(core->trouble_text)];

    memcpy(before, core->trouble_text, sizeof(before));
    snprintf(core->trouble_text, sizeof(core->trouble_text), "%s%s%.*s", what, text.len > 0 ? ": " : "",
             (int)(text.len < 150 ? text.len : 150), (const char *)text.data);
    if (core->was_ready || strcmp(before, core->trouble_text) == 0)
        return;
    struct core_effect *note = note_push(core, NOTE_NOT_READY);
    if (note)
        note->note.text = core->trouble_text;
}

enum core_reason proof_reason(const struct core *core)
{
    if (!core->data.up)
        return core->link_reason;
    if (!core->identity_ok)
        return core->proposing || core->view.meta.state != META_OK ? REASON_NO_EPOCH : REASON_NO_LINK;
    return REASON_NONE;
}

const char *proof_reason_text(const struct core *core, enum core_reason reason)
{
    if (reason == REASON_REPLICAS && core->guard.text[0])
        return core->guard.sentence;
    if (core->trouble_text[0])
        return core->trouble_text;
    if (core->data.up && core->as_of == 0 && core->now - core->epoch_at < core->config.bound_ns)
        return "an epoch of the store has just begun; the next heartbeat proves it";
    return core_reason_text(reason);
}

bool proof_may_wait(const struct core *core)
{
    return core->identity_ok || core->now - core->heard_at < core->config.bound_ns;
}

uint64_t proof_local_time(const struct core *core, uint64_t store_us)
{
    if (core->store_us == 0)
        return 0;
    if (store_us >= core->store_us)
        return core->store_at + (store_us - core->store_us) * NS_PER_US;
    uint64_t back = (core->store_us - store_us) * NS_PER_US;
    return back < core->store_at ? core->store_at - back : 1;
}

/*
 * The store's clock said store_us not before store_at, and at the latest when its answer was here, one round
 * trip later. Counting from that later moment makes the deadline err towards early.
 */
uint64_t proof_store_deadline_us(const struct core *core, uint64_t deadline)
{
    uint64_t answered = core->store_at + core->round_trip_ns;

    return deadline <= answered ? core->store_us : core->store_us + (deadline - answered) / NS_PER_US;
}

/* ---- links ------------------------------------------------------------------------------------------------ */

static void reset_link(struct core *core, enum core_link link, const char *why)
{
    struct core_effect *effect = effect_push(core, FX_RESET);

    effect->reset.link = link;
    effect->reset.text = why;
    proof_link_down(core, link);
}

/* A failover, perhaps: what the old primary has proven is not served any more unless the new one confirms it. */
static void distrust(struct core *core)
{
    proof_generation_begin(core);
    core->as_of = core->heartbeat.proven = 0;
}

static void reset_both(struct core *core, const char *why)
{
    distrust(core);
    if (core->data.up)
        reset_link(core, LINK_DATA, why);
    if (core->subscription_link.up)
        reset_link(core, LINK_SUBSCRIPTION, why);
    core->link_reason = REASON_NOT_MASTER;
}

static void subscribe_if_possible(struct core *core)
{
    if (!core->data.up || !core->subscription_link.up || core->subscription != SUBSCRIPTION_NONE)
        return;
    core->subscription = SUBSCRIPTION_ASKED;
    effect_push(core, FX_SUBSCRIBE);
}

void proof_link_up(struct core *core, enum core_link link, bool master, const struct run_id *run)
{
    struct link_state *state = link == LINK_DATA ? &core->data : &core->subscription_link;
    const struct link_state *other = link == LINK_DATA ? &core->subscription_link : &core->data;

    *state = (struct link_state){.up = true, .master = master, .run = *run};
    if (!master) {
        reset_link(core, link, "the server is not a master");
        core->link_reason = REASON_NOT_MASTER;
        return;
    }
    /* The newer one ends where Redis is found now; that it waits for the other keeps healing within one back-off.
     */
    if (other->up && !run_id_equal(&other->run, run)) {
        distrust(core);
        reset_link(core, link == LINK_DATA ? LINK_SUBSCRIPTION : LINK_DATA,
                   "the two connections end on different servers");
        core->link_reason = REASON_NOT_MASTER;
    }
    if (link == LINK_DATA) {
        core->heard_at = core->now;
        core->probe.doublings = 0;
        core->propose_retry_at = 0;
        core->heartbeat.due = core->now;
    }
    subscribe_if_possible(core);
}

void proof_link_down(struct core *core, enum core_link link)
{
    struct heartbeat *h = &core->heartbeat;

    if (link == LINK_SUBSCRIPTION) {
        core->subscription_link.up = false;
        core->subscription = SUBSCRIPTION_NONE;
        h->pinged = false;
    } else {
        core->data.up = false;
        core->identity_ok = false;
        core->proposing = false;
        core->link_reason = REASON_NO_LINK;
        h->asked = false;
        guard_forget(core);
        core->trouble_text[0] = '\0';
        flight_link_down(core);
    }
    /* No heartbeat can end well before the link is back: strong reads ask Redis themselves. */
    read_release_barrier(core, core->now);
}

/* ---- heartbeat -------------------------------------------------------------------------------------------- */

static void heartbeat_start(struct core *core)
{
    struct heartbeat *h = &core->heartbeat;
    struct core_effect *effect = effect_push(core, FX_IDENTITY);

    h->asked = true;
    h->id = core->next_id++;
    h->asked_at = core->now;
    h->highest = core->highest;
    h->due = core->now + core->heartbeat_ns;
    h->wanted = false;
    h->counts = core->subscription >= SUBSCRIPTION_STARTING;
    effect->identity.id = h->id;
}

void proof_subscribed(struct core *core)
{
    if (core->subscription != SUBSCRIPTION_ASKED)
        return;
    core->subscription = SUBSCRIPTION_STARTING;
    core->run_first = core->run_last = 0;
    core->heartbeat.counts = false;
    core->heartbeat.wanted = true;
}

void proof_identity(struct core *core, const struct core_event *event)
{
    struct heartbeat *h = &core->heartbeat;
    const struct meta *meta = &event->identity.meta;
    const struct run_id *server = &event->identity.run;
    struct run_id run = run_join(server, &event->identity.history);

    if (!h->asked || event->identity.id != h->id)
        return;
    h->asked = false;
    core->heard_at = core->now;
    if (event->identity.status != REPLY_OK) {
        core->counters.heartbeats_failed++;
        core->identity_ok = false;
        trouble_set(core, "Redis refused the heartbeat", event->identity.text);
        read_release_barrier(core, h->asked_at);
        return;
    }
    if (!event->identity.master || !run_id_equal(server, &core->data.run)) {
        core->counters.heartbeats_failed++;
        reset_both(core, event->identity.master ? "the run id of the connection changed"
                                                : "the server is no longer a master");
        return;
    }
    core->round_trip_ns = core->now - h->asked_at;
    core->store_us = event->identity.store_us;
    core->store_at = h->asked_at;

    if (!proof_epoch_read(core, meta, &run)) {
        read_release_barrier(core, h->asked_at);
        return;
    }
    core->identity_ok = true;
    core->trouble_text[0] = '\0';
    guard_ask(core);

    /* Without a valid meta nothing counts what is committed, and a flush would not show. */
    if (core->subscription < SUBSCRIPTION_STARTING || !h->counts || meta->state != META_OK) {
        h->ended_at = h->asked_at;
        proof_part_ended(core);
        return;
    }
    if (h->pinged)
        return;
    h->pinged = true;
    h->started_at = h->asked_at;
    h->seq_read = meta->seq;
    h->nonce = core->next_id++;
    effect_push(core, FX_PING)->ping.nonce = h->nonce;
}

void proof_gap(struct core *core, enum gap_reason reason, uint64_t found, uint64_t last)
{
    struct core_effect *note = note_push(core, NOTE_GAP);

    if (note) {
        note->note.seq = found;
        note->note.current_seq = core->last;
    }
    core->counters.gaps++;
    core->measures.gaps[reason]++;
    trace_event(core, TRACE_GAP, .seq = found, .other = core->last);
    proof_generation_begin(core);
    core->last = last;
}

static void generation_start(struct core *core)
{
    struct heartbeat *h = &core->heartbeat;
    uint64_t last = h->seq_read;

    if (core->run_last > h->seq_read) {
        if (core->run_first > h->seq_read + 1) {
            /* Between what meta counted and the first message something is missing: prove it again. */
            core->counters.gaps++;
            core->measures.gaps[GAP_START]++;
            core->counters.heartbeats_failed++;
            h->wanted = true;
            return;
        }
        last = core->run_last;
    }
    proof_generation_begin(core);
    core->last = last;
    if (last > core->highest)
        core->highest = last;
    core->subscription = SUBSCRIPTION_CURRENT;
    h->proven = h->started_at;
    core->counters.heartbeats++;
    h->missed = 0;
}

static void generation_prove(struct core *core)
{
    struct heartbeat *h = &core->heartbeat;

    if (core->last >= h->seq_read) {
        h->proven = h->started_at;
        core->counters.heartbeats++;
        h->missed = 0;
        return;
    }
    core->counters.heartbeats_failed++;
    proof_gap(core, GAP_HEARTBEAT, h->seq_read, h->seq_read);
    h->wanted = true;
    if (++h->missed < 2)
        return;
    h->missed = 0;
    reset_link(core, LINK_SUBSCRIPTION, "messages were missing at two heartbeats in a row");
}

void proof_pong(struct core *core, uint64_t nonce)
{
    struct heartbeat *h = &core->heartbeat;

    if (!h->pinged || nonce != h->nonce)
        return;
    h->pinged = false;
    histogram_add(&core->measures.heartbeat, core->now - h->started_at);
    if (core->subscription == SUBSCRIPTION_STARTING)
        generation_start(core);
    else
        generation_prove(core);
    h->ended_at = h->started_at;
    proof_part_ended(core);
}

void proof_part_ended(struct core *core)
{
    const struct heartbeat *h = &core->heartbeat;
    uint64_t proven = guard_limit(core, h->proven), ended = h->ended_at;

    if (proven > core->as_of)
        core->as_of = proven;
    if (core->config.min_replicas > 0 && core->guard.ended_at < ended)
        ended = core->guard.ended_at;
    read_release_barrier(core, ended);
}

/* ---- what is due ------------------------------------------------------------------------------------------ */

static uint64_t heartbeat_due(const struct core *core)
{
    const struct heartbeat *h = &core->heartbeat;
    uint64_t early = h->asked_at + core->heartbeat_ns / HEARTBEAT_SPACING;

    if (!core->data.up || h->asked || core->guard.asked || core->proposing)
        return UINT64_MAX;
    /* Strong reads are not held back: one heartbeat serves all that wait. */
    if (!list_empty(&core->barrier) && !h->pinged)
        return 0;
    return h->wanted && early < h->due ? early : h->due;
}

static void note_readiness(struct core *core)
{
    bool ready = core->subscription == SUBSCRIPTION_CURRENT && proof_lease_holds(core);

    if (ready == core->was_ready)
        return;
    core->was_ready = ready;
    struct core_effect *note = note_push(core, ready ? NOTE_READY : NOTE_NOT_READY);
    if (!note)
        return;
    enum core_reason reason = guard_reason(core);
    note->note.text = ready ? "" : proof_reason_text(core, reason == REASON_NONE ? REASON_LEASE : reason);
}

void proof_settle(struct core *core)
{
    if (!proof_may_wait(core) && core->waiting > 0) {
        enum core_reason reason = proof_reason(core);
        flight_give_up_all(core, reason);
    }
    if (core->now >= heartbeat_due(core))
        heartbeat_start(core);
    note_readiness(core);
}

uint64_t proof_next_deadline(const struct core *core)
{
    uint64_t deadline = heartbeat_due(core);

    if (core->was_ready && core->as_of + core->config.bound_ns + 1 < deadline)
        deadline = core->as_of + core->config.bound_ns + 1;
    if (core->waiting > 0 && !core->identity_ok && core->heard_at + core->config.bound_ns < deadline &&
        core->heard_at + core->config.bound_ns > core->now)
        deadline = core->heard_at + core->config.bound_ns;
    if (probe_deadline(core) < deadline)
        deadline = probe_deadline(core);
    return deadline;
}
