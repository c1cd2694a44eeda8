/*
 * The shell of daemon.c and daemon/redis, with virtual time. What the core is told: as the comments of core.h
 * say; after EV_LINK_DOWN no answer of that connection comes any more. Whether FX_RESET is followed by an
 * EV_LINK_DOWN is drawn once for each seed: the core has to take both.
 */
#include "tests/coresim/pod.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/coresim/check.h"
#include "tests/coresim/client.h"
#include "tests/coresim/net.h"

#define BACKOFF_NS     (2 * NS_PER_MS)
#define LIVELOCK_TICKS 1000

static void pod_carry_out(struct world *w, int pod, const struct core_effect *fx);
static void pod_arm_tick(struct world *w, int pod);

void pod_step(struct world *w, int pod, struct core_event *event)
{
    struct pod *p = &w->pods[pod];
    const struct core_effect *fx;

    event->now = w->now;
    w->statistics->steps++;
    core_step(p->core, event);
    while ((fx = core_next_effect(p->core)))
        pod_carry_out(w, pod, fx);
    pod_arm_tick(w, pod);
}

/* ---- time --------------------------------------------------------------------------------------------------- */

static void pod_tick(struct world *w, int pod, int incarnation)
{
    struct pod *p = &w->pods[pod];

    if (!p->running || p->incarnation != incarnation || p->tick_at != w->now || p->stopped)
        return;
    p->tick_at = NEVER;
    pod_step(w, pod, &(struct core_event){.type = EV_TICK});
}

/* A loop wakes late: mostly by little, sometimes by some milliseconds. */
static uint64_t pod_lateness(struct world *w)
{
    return rng_chance(&w->pod_rng, 50) ? rng_below(&w->pod_rng, 3 * NS_PER_MS) : rng_below(&w->pod_rng, 100000);
}

static void pod_arm_tick(struct world *w, int pod)
{
    struct pod *p = &w->pods[pod];
    uint64_t at = core_next_deadline(p->core);

    if (at == UINT64_MAX) {
        p->tick_at = NEVER;
        return;
    }
    if (at <= w->now && ++p->ticks_here > LIVELOCK_TICKS)
        world_violate(w, "LIVELOCK", pod, -1, "a tick is due at once, %u times", p->ticks_here);
    if (at > w->now) {
        p->ticks_here = 0;
        at += pod_lateness(w);
    }
    at = at > w->now ? at : w->now + 1;
    if (p->tick_at != NEVER && p->tick_at > w->now && p->tick_at <= at)
        return; /* wakes early enough; ticks too early are allowed */
    p->tick_at = at;
    world_at(w, at, pod_tick, pod, p->incarnation);
}

/* ---- connections -------------------------------------------------------------------------------------------- */

static void pod_connect(struct world *w, int pod, int link_and_incarnation)
{
    struct pod *p = &w->pods[pod];
    int link = link_and_incarnation & 1;

    if (!p->running || p->incarnation != link_and_incarnation >> 1 || p->conns[link] >= 0)
        return;
    net_connect(w, pod, (enum core_link)link);
}

static void pod_reconnect_later(struct world *w, int pod, int link)
{
    struct pod *p = &w->pods[pod];
    uint64_t wait = BACKOFF_NS << (p->attempts[link] < 12 ? p->attempts[link] : 12);

    p->attempts[link]++;
    if (wait > w->bound_ns / 4)
        wait = w->bound_ns / 4;
    wait = rng_between(&w->pod_rng, wait / 2, wait);
    world_at(w, w->now + wait, pod_connect, pod, p->incarnation << 1 | link);
}

static void pod_tell_down(struct world *w, int pod, int link_and_incarnation)
{
    struct core_event event = {.type = EV_LINK_DOWN};

    if (!w->pods[pod].running || w->pods[pod].incarnation != link_and_incarnation >> 1)
        return;
    event.link_down.link = (enum core_link)(link_and_incarnation & 1);
    pod_step(w, pod, &event);
}

void pod_link_lost(struct world *w, int conn)
{
    struct conn *c = &w->conns[conn];
    struct pod *p = &w->pods[c->pod];
    bool was_up = c->up;

    c->open = false;
    c->broken = true;
    p->conns[c->link] = -1;
    world_log(w, c->pod, -1, "link %d is lost", c->link);
    pod_reconnect_later(w, c->pod, c->link);
    if (was_up)
        pod_tell_down(w, c->pod, p->incarnation << 1 | c->link);
}

static void pod_reset_link(struct world *w, int pod, int link, const char *why)
{
    struct pod *p = &w->pods[pod];
    int conn = p->conns[link];

    world_log(w, pod, -1, "link %d is reset: %s", link, why);
    if (conn < 0)
        return;
    net_close(w, conn);
    p->conns[link] = -1;
    pod_reconnect_later(w, pod, link);
    if (w->link_down_after_reset)
        world_at(w, w->now, pod_tell_down, pod, p->incarnation << 1 | link);
}

/* ---- effects ------------------------------------------------------------------------------------------------ */

static struct epoch pod_draw_epoch(struct world *w)
{
    struct epoch e;

    snprintf(e.text, sizeof(e.text), "%016llx%016llx", (unsigned long long)rng_next(&w->pod_rng),
             (unsigned long long)rng_next(&w->pod_rng));
    return e;
}

static void pod_send(struct world *w, int pod, enum core_link link, struct packet *packet)
{
    int conn = w->pods[pod].conns[link];

    if (conn < 0 || !w->conns[conn].up) {
        world_violate(w, "SHELL", pod, -1, "a request (%d) without a connection", packet->kind);
        net_free(w, packet);
        return;
    }
    net_expect_answer(w, conn);
    net_send(w, conn, TO_SERVER, packet);
}

/* A payload of the core's own (the probe of the write path). */
static int pod_intern(struct world *w, struct slice value)
{
    struct content *c = calloc(1, sizeof(*c));

    if (!c)
        abort();
    c->len = (uint16_t)(value.len < sizeof(c->bytes) - 1 ? value.len : sizeof(c->bytes) - 1);
    if (c->len)
        memcpy(c->bytes + 1, value.data, c->len);
    c->foreign = true;
    w->contents = world_grow(w->contents, w->contents_count, &w->contents_room, sizeof(*w->contents));
    w->contents[w->contents_count] = c;
    return w->contents_count++;
}

static void pod_write(struct world *w, int pod, const struct core_effect *fx)
{
    const struct write_request *r = fx->write.request;
    struct packet *p = net_packet(w, PACKET_WRITE);
    const struct op *op = NULL;

    p->id = fx->write.id;
    p->write = (struct store_write){
        .op = r->op,
        .key = r->op == OP_CLEAR ? -1 : world_key(w, r->key),
        .content = -1,
        .source = pod,
        .version = r->version,
        .ttl_ms = r->ttl_ms,
        .carry_value = r->carry_value,
        .retry = r->retry,
        .epoch = fx->write.epoch,
        .run = fx->write.run,
        .deadline_us = fx->write.deadline_store_us,
    };
    memcpy(p->write.write_id, r->write_id, WRITE_ID_BYTES);
    if (r->op == OP_CLEAR)
        p->write.new_epoch = pod_draw_epoch(w);
    if (r->token && r->token <= (uint64_t)w->ops_count)
        op = &w->ops[r->token - 1];
    if (op && memcmp(op->write_id, r->write_id, WRITE_ID_BYTES) == 0) {
        p->op = (int)(r->token - 1);
        p->write.content = op->content;
        if (r->op == OP_SET && !slice_equal(r->value, client_bytes(w, op->content)))
            world_violate(w, "NOGARB", pod, op->key, "the value to be written was changed");
    } else if (r->op == OP_SET) {
        p->write.content = pod_intern(w, r->value);
    }
    pod_send(w, pod, LINK_DATA, p);
}

/* The payload behind these bytes; -1: none was ever invoked. */
static int pod_find_content(const struct world *w, struct slice value, bool replaced)
{
    char text[sizeof(((struct content *)NULL)->bytes) + 1];
    const char *number;
    size_t len = value.len < sizeof(text) - 1 ? value.len : sizeof(text) - 1;
    int content;

    if (len)
        memcpy(text, value.data, len);
    text[len] = '\0';
    number = strstr(text, "number=");
    content = number ? atoi(number + 7) : -1;
    if (content < 0 || content >= w->contents_count || w->contents[content]->foreign)
        return -1;
    const struct content *c = w->contents[content];
    struct slice want = replaced ? slice_of(c->bytes, c->len + 1u) : slice_of(c->bytes + 1, c->len);
    return slice_equal(want, value) ? content : -1;
}

static void pod_return(struct world *w, int op)
{
    world_at(w, w->now + rng_between(&w->pod_rng, 10000, 150000), client_return, op, 0);
}

static struct op *pod_answer(struct world *w, int pod, uint64_t token)
{
    struct op *op = token && token <= (uint64_t)w->ops_count ? &w->ops[token - 1] : NULL;
    struct core_status status;

    if (!op || op->pod != pod || op->incarnation != w->pods[pod].incarnation || op->state != OP_IN_CORE) {
        world_violate(w, "ANSWER", pod, op ? op->key : -1, "an answer to no question, or a second one");
        return NULL;
    }
    op->state = OP_ANSWERED;
    op->answered_at = w->now;
    core_get_status(w->pods[pod].core, w->now, &status);
    op->epoch_text = status.epoch;
    op->epoch = truth_find_epoch(&w->truth, &status.epoch, &status.run);
    return op;
}

static void pod_read_done(struct world *w, int pod, const struct core_effect *fx)
{
    struct op *op = pod_answer(w, pod, fx->read_done.token);

    if (!op)
        return;
    op->outcome = fx->read_done.outcome;
    op->reason = fx->read_done.reason;
    op->got_version = fx->read_done.version;
    op->as_of = fx->read_done.as_of;
    op->age_ns = fx->read_done.age_ns;
    op->replaced = fx->read_done.replaced;
    op->content = -1;
    if (fx->read_done.value.len) {
        op->content = pod_find_content(w, fx->read_done.value, op->replaced);
        if (op->content < 0)
            world_violate(w, "NOGARB", pod, op->key, "read of bytes that nobody wrote: %.*s",
                          (int)fx->read_done.value.len, (const char *)fx->read_done.value.data);
    }
    check_answer(w, (int)(fx->read_done.token - 1));
    pod_return(w, (int)(fx->read_done.token - 1));
}

static void pod_write_done(struct world *w, int pod, const struct core_effect *fx)
{
    struct op *op = pod_answer(w, pod, fx->write_done.token);

    if (!op)
        return;
    op->written = fx->write_done.outcome;
    op->reason = fx->write_done.reason;
    op->got_version = fx->write_done.version;
    op->got_seq = fx->write_done.seq;
    op->epoch_text = fx->write_done.epoch;
    check_answer(w, (int)(fx->write_done.token - 1));
    pod_return(w, (int)(fx->write_done.token - 1));
}

static void pod_inspect_done(struct world *w, int pod, const struct core_effect *fx)
{
    struct op *op = pod_answer(w, pod, fx->inspect_done.token);

    if (!op)
        return;
    check_answer(w, (int)(fx->inspect_done.token - 1));
    pod_return(w, (int)(fx->inspect_done.token - 1));
}

static void pod_fetch(struct world *w, int pod, const struct core_effect *fx)
{
    struct packet *p = net_packet(w, PACKET_FETCH);

    p->id = fx->fetch.id;
    p->key = world_key(w, fx->fetch.key);
    p->header_only = fx->fetch.header_only;
    world_log(w, pod, p->key, "%s id=%llu", p->header_only ? "confirm" : "fetch", (unsigned long long)p->id);
    pod_send(w, pod, LINK_DATA, p);
}

static void pod_propose(struct world *w, int pod, const struct core_effect *fx)
{
    struct packet *p = net_packet(w, PACKET_PROPOSE);

    p->meta = fx->propose.seen;
    p->run = fx->propose.run;
    p->min_seq = fx->propose.min_seq;
    p->epoch = pod_draw_epoch(w);
    pod_send(w, pod, LINK_DATA, p);
}

static void pod_note(struct world *w, int pod, const struct core_effect *fx)
{
    static const char *const names[] = {
        "update", "delete",    "local",       "STALE DATA REJECTED", "hook",   "gap",         "epoch",
        "ready",  "not ready", "bad message", "bad record",          "writes", "inconsistent"};

    world_log(w, pod, -1, "note: %s %s seq %llu (had %llu)", names[fx->note.kind],
              fx->note.text ? fx->note.text : "", (unsigned long long)fx->note.seq,
              (unsigned long long)fx->note.current_seq);
}

static void pod_guard(struct world *w, int pod, uint64_t id)
{
    struct packet *p;

    if (w->pods[pod].config.min_replicas == 0)
        return;
    p = net_packet(w, PACKET_GUARD);
    p->id = id;
    pod_send(w, pod, LINK_DATA, p);
}

static void pod_carry_out(struct world *w, int pod, const struct core_effect *fx)
{
    struct packet *p;

    world_mix(w, (uint64_t)fx->type, (uint64_t)pod);
    switch (fx->type) {
    case FX_RESET:
        pod_reset_link(w, pod, (int)fx->reset.link, fx->reset.text);
        return;
    case FX_SUBSCRIBE:
        pod_send(w, pod, LINK_SUBSCRIPTION, net_packet(w, PACKET_SUBSCRIBE));
        return;
    case FX_PING:
        p = net_packet(w, PACKET_PING);
        p->id = fx->ping.nonce;
        pod_send(w, pod, LINK_SUBSCRIPTION, p);
        return;
    case FX_IDENTITY:
        p = net_packet(w, PACKET_IDENTITY);
        p->id = fx->identity.id;
        pod_send(w, pod, LINK_DATA, p);
        pod_guard(w, pod, fx->identity.id);
        return;
    case FX_PROPOSE:
        pod_propose(w, pod, fx);
        return;
    case FX_FETCH:
        pod_fetch(w, pod, fx);
        return;
    case FX_WRITE:
        pod_write(w, pod, fx);
        return;
    case FX_READ_DONE:
        pod_read_done(w, pod, fx);
        return;
    case FX_WRITE_DONE:
        pod_write_done(w, pod, fx);
        return;
    case FX_INSPECT_DONE:
        pod_inspect_done(w, pod, fx);
        return;
    case FX_NOTE:
        pod_note(w, pod, fx);
        return;
    }
}
