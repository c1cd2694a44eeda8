/* One direction of a connection: what was sent, when it arrives, and what rules do to it on the way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/os/internal.h"

#define SUBSCRIBE_WORD    "$9\r\nSUBSCRIBE"
#define BYTE_INTERVAL_MAX (5 * OS_US)

static void on_arrival(void *arg);

static void flow_arm(struct flow *flow)
{
    struct os *os = flow->conn->os;

    if (!flow->arrival && flow->seg_count > 0 && !flow->stalled)
        flow->arrival = os_at(os, flow->segs[flow->seg_head].due, on_arrival, flow);
}

void flow_rearm(struct flow *flow)
{
    os_forget(flow->conn->os, &flow->arrival);
    flow_arm(flow);
}

/* ---- in --------------------------------------------------------------------------------------------------- */

static uint8_t *flow_reserve(struct flow *flow, size_t len)
{
    if (flow->head > 0 && flow->head + flow->total + len > flow->capacity) {
        memmove(flow->bytes, flow->bytes + flow->head, flow->total);
        flow->head = 0;
    }
    if (flow->total + len > flow->capacity) {
        flow->capacity = 2 * (flow->total + len) + 512;
        flow->bytes = os_grow(flow->bytes, flow->capacity);
    }
    return flow->bytes + flow->head + flow->total;
}

static void seg_push(struct flow *flow, struct seg seg)
{
    if (flow->seg_head > 0 && flow->seg_head + flow->seg_count == flow->seg_room) {
        memmove(flow->segs, flow->segs + flow->seg_head, flow->seg_count * sizeof(seg));
        flow->seg_head = 0;
    }
    if (flow->seg_count == flow->seg_room) {
        flow->seg_room = flow->seg_room > 0 ? 2 * flow->seg_room : 8;
        flow->segs = os_grow(flow->segs, flow->seg_room * sizeof(seg));
    }
    flow->segs[flow->seg_head + flow->seg_count++] = seg;
}

/* What the rules make of a chunk: how much later it is due, and whether it comes byte by byte. */
static uint64_t flow_ask_rules(struct flow *flow, size_t len, bool *ret_one_byte)
{
    struct os *os = flow->conn->os;
    uint64_t longest = 0;

    for (uint64_t left = flow->rules; left; left &= left - 1) {
        struct net_rule_handle *h = os->net.active[__builtin_ctzll(left)];
        uint64_t delay = 0;

        if (h->rule.delay_max_ns > 0) {
            delay = os_random_between(os, h->rule.delay_min_ns, h->rule.delay_max_ns);
            h->counters.delayed++;
        }
        longest = delay > longest ? delay : longest;
        h->counters.stalled += h->rule.stall;
        h->counters.split += h->rule.one_byte && len > 1;
        *ret_one_byte = *ret_one_byte || (h->rule.one_byte && len > 1);
    }
    return longest;
}

static uint64_t flow_latency(const struct flow *flow)
{
    struct os *os = flow->conn->os;
    const struct net_config *c = &os->net.config;

    return flow->conn->local ? os_random_between(os, c->local_min_ns, c->local_max_ns)
                             : os_random_between(os, c->latency_min_ns, c->latency_max_ns);
}

static void flow_count_swallowed(struct flow *flow, size_t len)
{
    for (uint64_t left = flow->rules; left; left &= left - 1) {
        struct net_rule_handle *h = flow->conn->os->net.active[__builtin_ctzll(left)];

        if (h->rule.swallow)
            h->counters.swallowed += len;
    }
}

/* `n` of the first rule that wants it at this place; it has happened then. */
static void flow_count_rule(struct flow *flow, bool cut)
{
    for (uint64_t left = flow->rules; left; left &= left - 1) {
        struct net_rule_handle *h = flow->conn->os->net.active[__builtin_ctzll(left)];

        if (cut && h->rule.cut_after > 0) {
            h->counters.cuts++;
            return;
        }
        if (!cut && h->rule.corrupt_at > 0) {
            h->counters.corrupted++;
            return;
        }
    }
}

static void flow_put(struct flow *flow, enum seg_kind kind, const void *bytes, size_t len)
{
    struct os *os = flow->conn->os;
    bool one_byte = false;
    uint64_t due = os->now + flow_latency(flow) + flow_ask_rules(flow, len, &one_byte);

    if (due < flow->last_due)
        due = flow->last_due;
    flow->last_due = due;
    if (len > 0) {
        uint8_t *at = flow_reserve(flow, len);

        memcpy(at, bytes, len);
        if (flow->corrupt_at > flow->queued && flow->corrupt_at <= flow->queued + len) {
            at[flow->corrupt_at - flow->queued - 1] ^= (uint8_t)os_random_between(os, 1, 255);
            flow->corrupt_at = 0;
            flow_count_rule(flow, false);
        }
        os_hash_add(os, at, len);
        flow->total += len;
        flow->queued += len;
        os->net.totals.bytes += len;
    }
    os->net.totals.chunks++;
    os_mix(os, due);
    os_mix(os, flow->conn->id << 8 | (uint64_t)kind);
    seg_push(flow, (struct seg){.due = due, .len = (uint32_t)len, .kind = (uint8_t)kind, .one_byte = one_byte});
    flow_arm(flow);
}

/* A reset on the way: what was sent before still arrives, then both ends learn of it. */
static void flow_cut(struct flow *flow)
{
    struct flow *back = &flow->conn->flow[flow == &flow->conn->flow[0]];

    flow->cut_at = 0;
    flow_count_rule(flow, true);
    flow->ended = true;
    flow_put(flow, SEG_RST, NULL, 0);
    if (!back->ended) {
        back->ended = true;
        flow_put(back, SEG_RST, NULL, 0);
    }
}

void flow_queue(struct flow *flow, enum seg_kind kind, const void *bytes, size_t len)
{
    struct net_conn *conn = flow->conn;

    if (flow->ended)
        return;
    if (len > 0 && conn->server && conn->link == OS_LINK_DATA && flow == &conn->flow[0] &&
        memmem(bytes, len, SUBSCRIBE_WORD, sizeof(SUBSCRIBE_WORD) - 1)) {
        conn->link = OS_LINK_SUBSCRIPTION;
        rules_apply(conn);
    }
    flow->ended = kind == SEG_FIN || kind == SEG_RST;
    if (flow->swallowed) {
        flow_count_swallowed(flow, len);
        return;
    }
    if (flow->cut_at > 0 && flow->queued + len >= flow->cut_at) {
        flow_put(flow, kind, bytes, (size_t)(flow->cut_at - flow->queued));
        flow_cut(flow);
        return;
    }
    flow_put(flow, kind, bytes, len);
}

size_t flow_room(const struct flow *flow)
{
    return flow->total < flow->limit ? flow->limit - flow->total : 0;
}

size_t flow_send(struct flow *flow, const void *bytes, size_t len)
{
    size_t room = flow_room(flow);

    if (len > room) {
        len = room;
        flow->full = true;
        flow->conn->os->net.totals.full++;
    }
    if (len > 0)
        flow_queue(flow, SEG_DATA, bytes, len);
    return len;
}

/* ---- out -------------------------------------------------------------------------------------------------- */

static void data_arrived(struct flow *flow, struct net_end *to, size_t len)
{
    flow->readable += len;
    if (to->open && !to->shut) {
        net_end_changed(to);
        return;
    }
    flow_consume(flow, len);
    if (!flow->conn->local)
        flow_queue(net_end_out(to), SEG_RST, NULL, 0);
}

static void syn_arrived(struct net_conn *conn)
{
    if (!conn->end[0].open)
        return;
    if (conn->server->down || rules_find_refusal(conn->os, conn)) {
        flow_queue(&conn->flow[1], SEG_REFUSED, NULL, 0);
        return;
    }
    conn->end[1].open = true;
    flow_queue(&conn->flow[1], SEG_SYNACK, NULL, 0);
    net_server_changed(&conn->end[1]);
}

static void seg_arrived(struct flow *flow, enum seg_kind kind, size_t len)
{
    struct net_conn *conn = flow->conn;
    struct net_end *to = &conn->end[flow == &conn->flow[0]];

    switch (kind) {
    case SEG_DATA:
        data_arrived(flow, to, len);
        return;
    case SEG_SYN:
        syn_arrived(conn);
        return;
    case SEG_SYNACK:
        to->connected = true;
        break;
    case SEG_REFUSED:
        to->error = ECONNREFUSED;
        break;
    case SEG_FIN:
        to->eof = true;
        break;
    case SEG_RST:
        to->error = ECONNRESET;
        net_end_out(to)->ended = true;
        break;
    }
    net_end_changed(to);
}

static void on_arrival(void *arg)
{
    struct flow *flow = arg;
    struct os *os = flow->conn->os;

    flow->arrival = NULL;
    while (flow->seg_count > 0 && !flow->stalled && flow->segs[flow->seg_head].due <= os->now) {
        struct seg *seg = &flow->segs[flow->seg_head];
        size_t len = seg->one_byte && seg->len > 1 ? 1 : seg->len;
        enum seg_kind kind = seg->kind;

        seg->len -= (uint32_t)len;
        if (seg->len == 0) {
            flow->seg_head++;
            flow->seg_count--;
        } else {
            seg->due = os->now + os_random_between(os, 1, BYTE_INTERVAL_MAX);
        }
        seg_arrived(flow, kind, len);
    }
    flow_arm(flow);
}

void flow_consume(struct flow *flow, size_t len)
{
    struct net_conn *conn = flow->conn;
    unsigned from = flow == &conn->flow[1];

    flow->head += len;
    flow->readable -= len;
    flow->total -= len;
    if (flow->total == 0)
        flow->head = 0;
    if (conn->server && from == 1) {
        net_server_pump(&conn->peer);
    } else if (flow->full && flow_room(flow) >= flow->limit / 4) {
        flow->full = false;
        net_end_changed(&conn->end[from]);
    }
}

void flow_clear(struct flow *flow)
{
    os_forget(flow->conn->os, &flow->arrival);
    flow->seg_count = flow->seg_head = 0;
    flow->total = flow->readable;
}

void flow_deinit(struct flow *flow)
{
    os_forget(flow->conn->os, &flow->arrival);
    free(flow->bytes);
    free(flow->segs);
}
