/* What goes into a core: packets and calls turned into events; start, stop and death of a daemon. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/coresim/check.h"
#include "tests/coresim/client.h"
#include "tests/coresim/net.h"
#include "tests/coresim/pod.h"

static const char *const sources[SIM_PODS] = {"pod-0", "pod-1", "pod-2", "pod-3"};

/* ---- packets ------------------------------------------------------------------------------------------------ */

static struct slice pod_value(const struct world *w, int content)
{
    return content < 0 ? slice_of(NULL, 0) : client_bytes(w, content);
}

static struct message pod_message(const struct world *w, const struct published *m)
{
    struct message message = {
        .kind = m->kind,
        .epoch = m->epoch,
        .key = m->key < 0 ? slice_of(NULL, 0) : slice_text(w->keys[m->key]),
        .ttl_ms = m->ttl_ms,
        .record =
            {
                .kind = m->record_kind,
                .version = m->version,
                .seq = m->seq,
                .timestamp_ns = m->timestamp_ns,
                .expiry_ms = m->expiry_ms,
                .source = m->kind == MESSAGE_RECORD ? slice_text(sources[m->source]) : slice_of(NULL, 0),
                .value = m->record_kind == RECORD_VALUE ? pod_value(w, m->content) : slice_of(NULL, 0),
            },
    };

    memcpy(message.record.write_id, m->write_id, WRITE_ID_BYTES);
    return message;
}

static void pod_fetched(const struct world *w, const struct packet *p, struct core_event *event)
{
    const struct stored *r = &p->record;

    event->type = EV_FETCHED;
    event->fetched.id = p->id;
    event->fetched.status = p->answer.status;
    event->fetched.text = slice_text(p->answer.text ? p->answer.text : "");
    event->fetched.meta = p->meta;
    event->fetched.closing = p->closing;
    event->fetched.result = p->result;
    if (p->answer.status != REPLY_OK || p->result == FETCH_ABSENT)
        return;
    if (p->result == FETCH_INVALID) {
        event->fetched.text = slice_text("the record is cut");
        return;
    }
    event->fetched.record = (struct record){
        .kind = r->kind == TRUTH_TOMBSTONE ? RECORD_TOMBSTONE : RECORD_VALUE,
        .version = r->version,
        .seq = r->seq,
        .timestamp_ns = r->timestamp_ns,
        .expiry_ms = r->expiry_ms,
        .source = slice_text(sources[r->source]),
        .value = p->header_only ? slice_of(NULL, 0) : pod_value(w, r->content),
    };
    memcpy(event->fetched.record.write_id, r->write_id, WRITE_ID_BYTES);
}

static void pod_written(const struct packet *p, struct core_event *event)
{
    event->type = EV_WRITTEN;
    event->written.id = p->id;
    event->written.status = p->answer.status;
    event->written.text = slice_text(p->answer.text ? p->answer.text : "");
    event->written.result = p->answer.result;
    event->written.version = p->answer.version;
    event->written.seq = p->answer.seq;
    event->written.timestamp_ns = p->answer.timestamp_ns;
    event->written.epoch = p->answer.epoch;
}

/* The event that this packet is for the core. */
static void pod_event_of(struct world *w, const struct conn *c, const struct packet *p, struct core_event *event)
{
    switch (p->kind) {
    case PACKET_HELLO:
        event->type = EV_LINK_UP;
        event->link_up.link = (enum core_link)c->link;
        event->link_up.master = p->master;
        event->link_up.run = p->run;
        return;
    case PACKET_SUBSCRIBE:
        event->type = EV_SUBSCRIBED;
        return;
    case PACKET_PING:
        event->type = EV_PONG;
        event->pong.nonce = p->id;
        return;
    case PACKET_IDENTITY:
        event->type = EV_IDENTITY;
        event->identity.id = p->id;
        event->identity.status = p->answer.status;
        event->identity.text = slice_text(p->answer.text ? p->answer.text : "");
        event->identity.master = p->master;
        event->identity.run = p->run;
        event->identity.history = p->history;
        event->identity.meta = p->meta;
        event->identity.store_us = p->store_us;
        return;
    case PACKET_GUARD:
        event->type = EV_GUARD;
        event->guard.id = p->id;
        event->guard.replicas = p->replicas;
        return;
    case PACKET_PROPOSE:
        event->type = EV_PROPOSED;
        event->proposed.status = p->answer.status;
        event->proposed.text = slice_text(p->answer.text ? p->answer.text : "");
        return;
    case PACKET_FETCH:
        pod_fetched(w, p, event);
        return;
    case PACKET_WRITE:
        pod_written(p, event);
        return;
    case PACKET_MESSAGE:
        event->type = EV_MESSAGE;
        event->message = pod_message(w, &p->message);
        return;
    default:
        event->type = EV_BAD_MESSAGE;
        return;
    }
}

void pod_receive(struct world *w, int conn, struct packet *p)
{
    struct conn *c = &w->conns[conn];
    struct core_event event = {0};

    if (p->kind != PACKET_MESSAGE && p->kind != PACKET_BAD_MESSAGE)
        net_answered(w, conn);
    if (p->kind == PACKET_HELLO)
        c->up = true;
    else if (p->kind != PACKET_MESSAGE)
        w->pods[c->pod].attempts[c->link] = 0;
    pod_event_of(w, c, p, &event);
    if (p->kind == PACKET_FETCH)
        world_log(w, c->pod, p->key, "fetched id=%llu status %d result %d version %llu seq %llu meta seq %llu",
                  (unsigned long long)p->id, p->answer.status, p->result, (unsigned long long)p->record.version,
                  (unsigned long long)p->record.seq, (unsigned long long)p->meta.seq);
    if (p->kind == PACKET_MESSAGE)
        world_log(w, c->pod, p->message.key, "message seq %llu version %llu epoch %.6s",
                  (unsigned long long)p->message.seq, (unsigned long long)p->message.version,
                  p->message.epoch.text);
    if (p->kind == PACKET_IDENTITY)
        world_log(w, c->pod, -1, "identity status %d meta %d %.6s seq %llu master %d", p->answer.status,
                  p->meta.state, p->meta.epoch.text, (unsigned long long)p->meta.seq, p->master);
    if (p->kind == PACKET_MESSAGE)
        check_message(w, c->pod, &p->message);
    pod_step(w, c->pod, &event);
}

/* ---- calls -------------------------------------------------------------------------------------------------- */

static void pod_hold(struct world *w, int pod, int op)
{
    struct pod *p = &w->pods[pod];

    p->held = world_grow(p->held, p->held_count, &p->held_room, sizeof(*p->held));
    p->held[p->held_count++] = op;
}

static void pod_call_write(struct world *w, int number, struct core_event *event)
{
    const struct op *op = &w->ops[number];

    event->type = EV_WRITE;
    event->write = (struct write_request){
        .token = (uint64_t)number + 1,
        .op = op->kind == CALL_SET      ? OP_SET
              : op->kind == CALL_DELETE ? OP_DELETE
                                        : OP_CLEAR,
        .key = op->kind == CALL_CLEAR ? slice_of(NULL, 0) : slice_text(w->keys[op->key]),
        .value = op->kind == CALL_SET ? client_bytes(w, op->content) : slice_of(NULL, 0),
        .version = op->version,
        .ttl_ms = op->ttl_ms,
        .carry_value = op->carry_value,
        .retry = op->retry,
        .deadline = op->deadline,
    };
    memcpy(event->write.write_id, op->write_id, WRITE_ID_BYTES);
}

void pod_call(struct world *w, int number)
{
    struct op *op = &w->ops[number];
    struct pod *p = &w->pods[op->pod];
    struct core_event event = {.type = EV_READ};

    if (!p->running) {
        client_lost(w, number);
        return;
    }
    if (p->stopped) {
        pod_hold(w, op->pod, number);
        return;
    }
    op->state = OP_IN_CORE;
    op->arrived_at = w->now;
    op->incarnation = p->incarnation;
    if (op->kind == CALL_GET) {
        event.read = (struct read_request){
            .token = (uint64_t)number + 1,
            .key = slice_text(w->keys[op->key]),
            .strong = op->strong,
            .min_version = op->min_version,
            .min_epoch = op->min_epoch,
            .max_stale_ns = op->max_stale_ns,
            .deadline = op->deadline,
        };
    } else if (op->kind == CALL_LOOK) {
        event.type = EV_INSPECT;
        event.inspect.token = (uint64_t)number + 1;
        event.inspect.key = slice_text(w->keys[op->key]);
        event.inspect.deadline = op->deadline;
    } else {
        pod_call_write(w, number, &event);
    }
    pod_step(w, op->pod, &event);
}

bool pod_holds_answer(struct world *w, int op)
{
    struct pod *p = &w->pods[w->ops[op].pod];

    if (!p->running || !p->stopped || !rng_chance(&w->pod_rng, 500))
        return false;
    pod_hold(w, w->ops[op].pod, op);
    return true;
}

bool pod_ready(struct world *w, int pod)
{
    struct core_status status;

    if (!w->pods[pod].running)
        return false;
    core_get_status(w->pods[pod].core, w->now, &status);
    return status.ready;
}

/* ---- the process -------------------------------------------------------------------------------------------- */

/* Rejects some payloads and replaces others, by their number. */
static enum hook_verdict pod_hook(void *ctx, struct slice key, struct slice value, uint64_t version,
                                  struct slice source, bool local, struct slice *ret_value)
{
    const struct world *w = ctx;
    char text[sizeof(((struct content *)NULL)->bytes) + 1];
    const char *number;
    int content;

    (void)key, (void)version, (void)source, (void)local;
    if (value.len == 0 || value.len >= sizeof(text))
        return HOOK_KEEP;
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    number = strstr(text, "number=");
    content = number ? atoi(number + 7) : -1;
    if (content < 0 || content >= w->contents_count || content % 5 > 1)
        return HOOK_KEEP;
    if (content % 5 == 0)
        return HOOK_REJECT;
    *ret_value = slice_of(w->contents[content]->bytes, w->contents[content]->len + 1u);
    return HOOK_REPLACE;
}

void pod_configure(struct world *w, int pod)
{
    struct pod *p = &w->pods[pod];
    struct rng *r = &w->pod_rng;
    static const size_t few[] = {0, 0, 1, 2, 3};

    p->config = (struct core_config){
        .memory_bytes = 256 * 1024,
        .entry_bytes = 200,
        .max_entries = few[rng_below(r, 5)],
        .max_floors = few[rng_below(r, 5)],
        .pending_bytes = 64 * 1024,
        .max_waiting = w->faults_count && rng_chance(r, 200) ? 8 : 256,
        .max_in_flight = w->faults_count && rng_chance(r, 300) ? 1 : 64,
        .max_key = 1024,
        .max_value = 64 * 1024,
        .bound_ns = w->bound_ns,
        .max_stale_ns = w->bound_ns * 8,
        .min_replicas = rng_chance(r, 250) ? 1 : 0,
        .stale_on_partition = rng_chance(r, 150),
        .may_write = pod == 0 || rng_chance(r, 750),
        .probe = rng_chance(r, 500),
        .hook = w->hooked ? pod_hook : NULL,
        .hook_ctx = w,
    };
    snprintf(p->config.source, sizeof(p->config.source), "%s", sources[pod]);
    for (int i = 0; i < 16; i++)
        p->config.hash_key[i] = (uint8_t)rng_next(r);
    p->delay_ns = rng_between(r, 20 * NS_PER_US, rng_chance(r, 300) ? 2 * NS_PER_MS : 300 * NS_PER_US);
    p->hit_at = NEVER;
    p->tick_at = NEVER;
    p->conns[0] = p->conns[1] = -1;
    for (int k = 0; k < SIM_KEYS; k++)
        p->told_epoch[k] = -1;
}

void pod_start(struct world *w, int pod, int unused)
{
    struct pod *p = &w->pods[pod];

    (void)unused;
    if (p->running)
        return;
    p->incarnation++;
    if (core_new(&p->core, &p->config) != 0) {
        world_violate(w, "NOCRASH", pod, -1, "core_new failed");
        return;
    }
    p->running = true;
    p->stopped = false;
    p->tick_at = NEVER;
    p->ticks_here = 0;
    p->attempts[0] = p->attempts[1] = 0;
    p->conns[0] = p->conns[1] = -1;
    p->hits_known = p->counted_reads = p->counted_refused = p->counted_errors = 0;
    p->started_at = w->now;
    for (int k = 0; k < SIM_KEYS; k++)
        p->told_epoch[k] = -1;
    world_log(w, pod, -1, "daemon starts");
    pod_step(w, pod, &(struct core_event){.type = EV_TICK});
    net_connect(w, pod, LINK_DATA);
    net_connect(w, pod, LINK_SUBSCRIPTION);
}

void pod_kill(struct world *w, int pod)
{
    struct pod *p = &w->pods[pod];

    if (!p->running)
        return;
    world_log(w, pod, -1, "daemon is killed");
    check_pod_counters(w, pod);
    for (int link = 0; link < 2; link++) {
        if (p->conns[link] >= 0)
            net_close(w, p->conns[link]);
        p->conns[link] = -1;
    }
    p->running = false;
    p->stopped = false;
    p->core = core_free(p->core);
    for (int i = 0; i < p->held_count; i++)
        client_lost(w, p->held[i]);
    p->held_count = 0;
    for (int i = 0; i < w->ops_count; i++) {
        if (w->ops[i].pod == pod && w->ops[i].state == OP_IN_CORE)
            client_lost(w, i);
    }
}

void pod_stop(struct world *w, int pod)
{
    world_log(w, pod, -1, "daemon is stopped");
    w->pods[pod].stopped = true;
}

/* The timers of a daemon that goes on: the core's and those of the answer deadlines. */
static void pod_late_timers(struct world *w, int pod, int incarnation)
{
    struct pod *p = &w->pods[pod];

    if (!p->running || p->stopped || p->incarnation != incarnation)
        return;
    pod_step(w, pod, &(struct core_event){.type = EV_TICK});
    net_check_deadlines(w, pod);
}

/* All that waited comes at once, the timers before it or after it. */
void pod_resume(struct world *w, int pod)
{
    struct pod *p = &w->pods[pod];
    bool timers_first = rng_chance(&w->pod_rng, 500);
    int count = p->held_count, *held = p->held;

    if (!p->running || !p->stopped)
        return;
    world_log(w, pod, -1, "daemon goes on");
    p->stopped = false;
    p->resumed_at = w->now;
    p->held = NULL;
    p->held_count = p->held_room = 0;
    if (timers_first)
        pod_late_timers(w, pod, p->incarnation);
    for (int i = 0; i < count; i++) {
        if (w->ops[held[i]].state == OP_ANSWERED)
            client_return(w, held[i], 0);
        else
            pod_call(w, held[i]);
    }
    free(held);
    net_kick(w);
    if (!timers_first)
        world_at(w, w->now, pod_late_timers, pod, p->incarnation);
}

void pod_deinit(struct world *w, int pod)
{
    struct pod *p = &w->pods[pod];

    core_free(p->core);
    free(p->held);
    for (int k = 0; k < SIM_KEYS; k++)
        free(p->seen[k]);
}
