/*
 * The proof of freshness: two links, one subscription, heartbeats, epochs and generations.
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
 *   Another server, flush,  meta or the run id differs, or seq went back: a new epoch. A pod that may write
 *   restart, failover       proposes its id; all pods drop cache and floors and start as at the beginning.
 *   The server is demoted   role is read with each heartbeat: both links are made again.
 */
#include <stdio.h>

#include "daemon/core/machine.h"

#define HEARTBEAT_SPACING 16                 /* heartbeats wanted early are at least H/16 apart; picked */
#define PROPOSE_RETRY_NS  (1000 * NS_PER_MS) /* after a refusal this pod acts like a reader for so long; picked */

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

static void generation_begin(struct core *core)
{
    core->generation_as_of[core->generation % GENERATIONS_KEPT] = core->as_of;
    core->generation++;
    core->counters.generations++;
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

static void reset_both(struct core *core, const char *why)
{
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
    if (other->up && !run_id_equal(&other->run, run)) {
        reset_both(core, "the two connections end on different servers");
        return;
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
        core->trouble_text[0] = '\0';
        flight_link_down(core);
    }
    /* No heartbeat can end well before the link is back: strong reads ask Redis themselves. */
    read_release_barrier(core, core->now);
}

/* ---- epochs ----------------------------------------------------------------------------------------------- */

void proof_forget(struct core *core, const char *why)
{
    generation_begin(core);
    core->epoch_first_generation = core->generation;
    stale_detector_reset(core->floors);
    core->as_of = 0;
    core->last = 0;
    core->ahead = 0;
    core->highest = 0;
    core->run_first = core->run_last = 0;
    core->heartbeat.missed = 0;
    /* A PONG that is still to come belongs to what ended. */
    core->heartbeat.pinged = false;
    if (core->subscription == SUBSCRIPTION_CURRENT)
        core->subscription = SUBSCRIPTION_STARTING;
    snprintf(core->epoch_why, sizeof(core->epoch_why), "%s", why);
}

static void adopt(struct core *core, const struct meta *meta, const struct run_id *run, const char *why)
{
    proof_forget(core, why);
    core->view = (struct store_view){.adopted = true, .meta = *meta, .run = *run};
    core->highest = meta->seq;
    core->counters.epochs++;

    struct core_effect *note = note_push(core, NOTE_EPOCH);
    if (note) {
        note->note.seq = meta->seq;
        note->note.text = core->epoch_why;
    }
}

static bool same_store(const struct store_view *view, const struct meta *meta)
{
    return view->adopted && view->meta.state == meta->state && epoch_equal(&view->meta.epoch, &meta->epoch) &&
           run_id_equal(&view->meta.run, &meta->run);
}

bool proof_meta_matches(const struct core *core, const struct meta *meta, uint64_t highest)
{
    return same_store(&core->view, meta) && meta->seq >= highest;
}

void proof_doubt(struct core *core)
{
    core->identity_ok = false;
    core->heartbeat.wanted = true;
}

/* Why what was read is not the epoch that was known; NULL if it is. */
static const char *epoch_changed(const struct core *core, const struct meta *meta, const struct run_id *run)
{
    const struct store_view *view = &core->view;

    if (!view->adopted)
        return "first contact with the store";
    if (!run_id_equal(&view->run, run))
        return "Redis restarted, or another server answers (its run id changed)";
    if (!same_store(view, meta))
        return meta->state == META_MISSING   ? "meta is gone: the store was flushed or its meta deleted"
               : meta->state == META_INVALID ? "meta is unreadable"
                                             : "another pod set it, or the store was cleared";
    if (meta->state == META_OK && meta->seq < core->heartbeat.highest)
        return "seq went back: the store lost writes (restore or failover to a stale replica)";
    return NULL;
}

/* Whether writes can be committed under this meta on this server. */
static bool meta_usable(const struct core *core, const struct meta *meta, const struct run_id *run)
{
    bool known = core->view.adopted && epoch_equal(&core->view.meta.epoch, &meta->epoch);

    return meta->state == META_OK && run_id_equal(&meta->run, run) &&
           !(known && meta->seq < core->heartbeat.highest);
}

static const char *proposal_reason(const struct core *core, const struct meta *meta, const struct run_id *run)
{
    if (meta->state == META_MISSING)
        return core->view.adopted ? "meta is gone: the store was flushed or its meta deleted" : "the store is new";
    if (meta->state == META_INVALID)
        return "meta is unreadable";
    if (!run_id_equal(&meta->run, run))
        return "Redis restarted or failed over: meta stands on another run id";
    return "seq went back: the store lost writes (restore or failover to a stale replica)";
}

static void propose(struct core *core, const struct meta *meta, const struct run_id *run)
{
    struct core_effect *effect = effect_push(core, FX_PROPOSE);

    snprintf(core->proposal_why, sizeof(core->proposal_why), "%s", proposal_reason(core, meta, run));
    effect->propose.seen = *meta;
    effect->propose.run = *run;
    effect->propose.min_seq = core->highest;
    core->proposing = true;
    core->identity_ok = false;
    if (!core->view.adopted)
        core->view.meta.state = meta->state;
}

void proof_proposed(struct core *core, const struct core_event *event)
{
    core->heard_at = core->now;
    core->proposing = false;
    core->heartbeat.wanted = true;
    core->heartbeat.due = core->now;
    if (event->proposed.status == REPLY_OK || event->proposed.status == REPLY_NOT_SENT)
        return;
    core->propose_retry_at = core->now + PROPOSE_RETRY_NS;
    probe_failed(core, "a new epoch could not be set", event->proposed.text);
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
    const struct run_id *run = &event->identity.run;

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
    if (!event->identity.master || !run_id_equal(run, &core->data.run)) {
        core->counters.heartbeats_failed++;
        reset_both(core, event->identity.master ? "the run id of the connection changed"
                                                : "the server is no longer a master");
        return;
    }
    core->round_trip_ns = core->now - h->asked_at;
    core->store_us = event->identity.store_us;
    core->store_at = h->asked_at;

    core->epoch_ok = meta_usable(core, meta, run);
    if (!core->epoch_ok && core->config.may_write && core->now >= core->propose_retry_at) {
        propose(core, meta, run);
        read_release_barrier(core, h->asked_at);
        return;
    }
    const char *why = epoch_changed(core, meta, run);
    if (why) {
        adopt(core, meta, run, core->proposal_why[0] ? core->proposal_why : why);
        core->proposal_why[0] = '\0';
    }
    core->view.meta.seq = meta->seq;
    core->view.meta.cleared = meta->cleared;
    if (meta->seq > core->highest)
        core->highest = meta->seq;
    core->identity_ok = true;
    core->trouble_text[0] = '\0';

    if (core->subscription < SUBSCRIPTION_STARTING || !h->counts) {
        read_release_barrier(core, h->asked_at);
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

void proof_gap(struct core *core, uint64_t found, uint64_t last)
{
    struct core_effect *note = note_push(core, NOTE_GAP);

    if (note) {
        note->note.seq = found;
        note->note.current_seq = core->last;
    }
    core->counters.gaps++;
    generation_begin(core);
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
            core->counters.heartbeats_failed++;
            h->wanted = true;
            return;
        }
        last = core->run_last;
    }
    generation_begin(core);
    core->last = last;
    if (last > core->highest)
        core->highest = last;
    core->subscription = SUBSCRIPTION_CURRENT;
    core->as_of = h->started_at;
    core->counters.heartbeats++;
    h->missed = 0;
}

static void generation_prove(struct core *core)
{
    struct heartbeat *h = &core->heartbeat;

    if (core->last >= h->seq_read) {
        core->as_of = h->started_at;
        core->counters.heartbeats++;
        h->missed = 0;
        return;
    }
    core->counters.heartbeats_failed++;
    proof_gap(core, h->seq_read, h->seq_read);
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
    if (core->subscription == SUBSCRIPTION_STARTING)
        generation_start(core);
    else
        generation_prove(core);
    read_release_barrier(core, h->started_at);
}

/* ---- what is due ------------------------------------------------------------------------------------------ */

static uint64_t heartbeat_due(const struct core *core)
{
    const struct heartbeat *h = &core->heartbeat;
    uint64_t early = h->asked_at + core->heartbeat_ns / HEARTBEAT_SPACING;

    if (!core->data.up || h->asked || core->proposing)
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
    note->note.text = core_reason_text(REASON_LEASE);
    if (proof_reason(core) != REASON_NONE)
        note->note.text = core_reason_text(proof_reason(core));
    if (core->trouble_text[0])
        note->note.text = core->trouble_text;
    if (ready)
        note->note.text = "";
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
    if (core->probe.state == PROBE_FAILED && probe_can_start(core) && core->probe.retry_at < deadline)
        deadline = core->probe.retry_at;
    return deadline;
}
