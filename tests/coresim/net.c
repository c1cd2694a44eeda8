/*
 * A connection is two pipes. A packet leaves its pipe when it is due, is the first, and nothing holds the pipe:
 * a stalled path, a paused server, a stopped daemon. Whoever ends such a hold calls net_kick.
 */
#include "tests/coresim/net.h"

#include <stdlib.h>

#include "tests/coresim/pod.h"

struct packet *net_packet(struct world *w, enum packet_kind kind)
{
    struct packet *p = w->free_packets;

    if (p)
        w->free_packets = p->next;
    else
        p = malloc(sizeof(*p));
    if (!p)
        abort();
    *p = (struct packet){.kind = kind, .op = -1, .key = -1};
    return p;
}

void net_free(struct world *w, struct packet *packet)
{
    packet->next = w->free_packets;
    w->free_packets = packet;
}

/* Drops everything behind the first `keep` packets. */
static void pipe_truncate(struct world *w, struct pipe *pipe, uint64_t keep)
{
    struct packet **at = &pipe->head;

    while (*at && keep-- > 0)
        at = &(*at)->next;
    for (struct packet *p = *at, *next; p; p = next) {
        next = p->next;
        net_free(w, p);
    }
    *at = NULL;
    pipe->tail = at;
}

static uint64_t pipe_count(const struct pipe *pipe)
{
    uint64_t n = 0;

    for (const struct packet *p = pipe->head; p; p = p->next)
        n++;
    return n;
}

static void pipe_truncate_somewhere(struct world *w, struct pipe *pipe)
{
    pipe_truncate(w, pipe, rng_between(&w->net_rng, 0, pipe_count(pipe)));
}

static struct packet *pipe_take(struct pipe *pipe)
{
    struct packet *p = pipe->head;

    pipe->head = p->next;
    if (!pipe->head)
        pipe->tail = &pipe->head;
    p->next = NULL;
    return p;
}

/* True if the head may leave now. If only time is missing, *ret_at says when to look again. */
static bool pipe_moves(const struct world *w, const struct conn *conn, enum direction direction, uint64_t *ret_at)
{
    const struct pipe *pipe = &conn->pipes[direction];
    const struct pod *pod = &w->pods[conn->pod];
    const struct node *node = &w->nodes[conn->node];

    *ret_at = NEVER;
    if (!pipe->head || pod->stalled[conn->link])
        return false;
    if (direction == TO_POD && conn->open && pod->stopped)
        return false;
    *ret_at = pipe->head->due;
    if (direction == TO_SERVER && node->alive && node->paused_until > *ret_at)
        *ret_at = node->paused_until;
    return *ret_at <= w->now;
}

static void net_refuse(struct world *w, int conn)
{
    struct conn *c = &w->conns[conn];

    if (c->broken)
        return;
    net_send(w, conn, TO_POD, net_packet(w, PACKET_FIN));
    c->broken = true;
    c->subscribed = false;
}

/* The head of the pipe to the server is executed; its answer goes into the other pipe. */
static void net_at_server(struct world *w, int conn)
{
    struct conn *c = &w->conns[conn];
    struct packet *p = c->pipes[TO_SERVER].head;
    const struct node *node = &w->nodes[c->node];
    bool served = node->alive && (p->kind == PACKET_HELLO || (c->served && c->process == node->process));

    if (w->pods[c->pod].swallowing[c->link][TO_SERVER] || !served) {
        net_free(w, pipe_take(&c->pipes[TO_SERVER]));
        if (served || !c->open)
            c->damaged = true;
        else
            net_refuse(w, conn);
        return;
    }
    if (!server_execute(w, c, p)) {
        uint64_t gap = w->pods[c->pod].delay_ns;

        if (p->due > w->now)
            return; /* it says itself when to go on */
        p->due = w->now + (rng_chance(&w->net_rng, 300) ? rng_below(&w->net_rng, gap + 1) : 0);
        return;
    }
    p = pipe_take(&c->pipes[TO_SERVER]);
    if (p->kind == PACKET_SUBSCRIBE)
        c->subscribed = !c->broken;
    net_send(w, conn, TO_POD, p);
}

static void net_at_pod(struct world *w, int conn)
{
    struct conn *c = &w->conns[conn];
    struct packet *p = pipe_take(&c->pipes[TO_POD]);

    if (c->open && w->pods[c->pod].swallowing[c->link][TO_POD])
        c->damaged = true;
    else if (c->open && p->kind == PACKET_FIN)
        pod_link_lost(w, conn);
    else if (c->open)
        pod_receive(w, conn, p);
    net_free(w, p);
}

static void net_wake(struct world *w, int conn, int direction)
{
    struct pipe *pipe = &w->conns[conn].pipes[direction];
    uint64_t at;

    if (pipe->wake_at != w->now)
        return; /* superseded */
    pipe->wake_at = NEVER;
    while (pipe_moves(w, &w->conns[conn], (enum direction)direction, &at) && !w->violation.promise) {
        if (direction == TO_SERVER)
            net_at_server(w, conn);
        else
            net_at_pod(w, conn);
    }
    if (at == NEVER || pipe->wake_at <= at)
        return;
    pipe->wake_at = at;
    world_at(w, at, net_wake, conn, direction);
}

static void pipe_arm(struct world *w, int conn, enum direction direction)
{
    struct pipe *pipe = &w->conns[conn].pipes[direction];
    uint64_t at;

    if (pipe_moves(w, &w->conns[conn], direction, &at))
        at = w->now;
    if (at == NEVER || pipe->wake_at <= at)
        return;
    pipe->wake_at = at;
    world_at(w, at, net_wake, conn, direction);
}

void net_kick(struct world *w)
{
    for (int i = 0; i < w->conns_count; i++) {
        pipe_arm(w, i, TO_SERVER);
        pipe_arm(w, i, TO_POD);
    }
}

void net_hurry(struct world *w, int pod)
{
    uint64_t soon = w->now + w->pods[pod].delay_ns;

    for (int i = 0; i < w->conns_count; i++) {
        for (int d = 0; d < 2 && w->conns[i].pod == pod; d++) {
            struct pipe *pipe = &w->conns[i].pipes[d];

            for (struct packet *p = pipe->head; p; p = p->next)
                p->due = p->due < soon ? p->due : soon;
            pipe->last_due = pipe->last_due < soon ? pipe->last_due : soon;
        }
    }
    net_kick(w);
}

void net_send(struct world *w, int conn, enum direction direction, struct packet *packet)
{
    struct conn *c = &w->conns[conn];
    struct pipe *pipe = &c->pipes[direction];
    const struct pod *pod = &w->pods[c->pod];
    uint64_t delay = rng_between(&w->net_rng, pod->delay_ns / 2, pod->delay_ns * 3 / 2);

    if (c->broken || (direction == TO_POD && !c->open)) {
        net_free(w, packet);
        return;
    }
    if (pod->extra_ns[c->link])
        delay += rng_below(&w->net_rng, pod->extra_ns[c->link]);
    if (packet->kind == PACKET_HELLO)
        delay += pod->delay_ns * 2; /* the connection is made first */
    packet->due = w->now + delay > pipe->last_due ? w->now + delay : pipe->last_due;
    pipe->last_due = packet->due;
    packet->next = NULL;
    *pipe->tail = packet;
    pipe->tail = &packet->next;
    pipe_arm(w, conn, direction);
}

void net_connect(struct world *w, int pod, enum core_link link)
{
    struct pod *p = &w->pods[pod];
    int conn = w->conns_count;

    /* tails point into the connection itself, so they are set again when the array moves */
    w->conns = world_grow(w->conns, conn, &w->conns_room, sizeof(*w->conns));
    w->conns[conn] = (struct conn){
        .pod = pod,
        .link = (int)link,
        .node = p->target[link],
        .incarnation = p->incarnation,
        .open = true,
    };
    w->conns_count++;
    for (int i = 0; i < w->conns_count; i++) {
        for (int d = 0; d < 2; d++) {
            struct pipe *pipe = &w->conns[i].pipes[d];

            if (!pipe->head)
                pipe->tail = &pipe->head;
        }
    }
    w->conns[conn].pipes[0].wake_at = w->conns[conn].pipes[1].wake_at = NEVER;
    p->conns[link] = conn;
    net_send(w, conn, TO_SERVER, net_packet(w, PACKET_HELLO));
    net_expect_answer(w, conn);
}

void net_close(struct world *w, int conn)
{
    struct conn *c = &w->conns[conn];

    c->open = false;
    c->broken = true;
    c->subscribed = false;
    pipe_truncate(w, &c->pipes[TO_POD], 0);
    pipe_truncate_somewhere(w, &c->pipes[TO_SERVER]);
}

void net_cut(struct world *w, int conn)
{
    struct conn *c = &w->conns[conn];

    if (!c->open || c->broken)
        return;
    pipe_truncate_somewhere(w, &c->pipes[TO_POD]);
    pipe_truncate_somewhere(w, &c->pipes[TO_SERVER]);
    net_refuse(w, conn);
}

void net_cut_pod(struct world *w, int pod, unsigned links)
{
    for (int link = 0; link < 2; link++) {
        if ((links & (1u << link)) && w->pods[pod].conns[link] >= 0)
            net_cut(w, w->pods[pod].conns[link]);
    }
}

void net_cut_node(struct world *w, int node)
{
    for (int i = 0; i < w->conns_count; i++) {
        if (w->conns[i].node != node)
            continue;
        pipe_truncate(w, &w->conns[i].pipes[TO_SERVER], 0);
        net_cut(w, i);
        w->conns[i].served = false;
    }
}

void net_cut_damaged(struct world *w, int pod)
{
    for (int i = 0; i < w->conns_count; i++) {
        struct conn *c = &w->conns[i];

        if (c->pod != pod || !c->damaged || !c->open)
            continue;
        /* Nothing can follow what is missing. A FIN that was swallowed is told again. */
        pipe_truncate(w, &c->pipes[TO_POD], 0);
        pipe_truncate(w, &c->pipes[TO_SERVER], 0);
        c->broken = false;
        net_cut(w, i);
    }
}

/* ---- the answer deadline of the shell ----------------------------------------------------------------------- */

static void net_deadline(struct world *w, int conn, int unused)
{
    struct conn *c = &w->conns[conn];

    (void)unused;
    c->deadline_set = false;
    if (!c->open || c->sent_first == c->sent_count || w->pods[c->pod].stopped)
        return;
    if (c->sent_at[c->sent_first] + w->bound_ns > w->now) {
        c->deadline_set = true;
        world_at(w, c->sent_at[c->sent_first] + w->bound_ns, net_deadline, conn, 0);
        return;
    }
    world_log(w, c->pod, -1, "link %d: no answer within D, closed", c->link);
    net_close(w, conn);
    pod_link_lost(w, conn);
}

void net_expect_answer(struct world *w, int conn)
{
    struct conn *c = &w->conns[conn];

    if (c->sent_first == c->sent_count)
        c->sent_first = c->sent_count = 0;
    c->sent_at = world_grow(c->sent_at, c->sent_count, &c->sent_room, sizeof(*c->sent_at));
    c->sent_at[c->sent_count++] = w->now;
    if (c->deadline_set)
        return;
    c->deadline_set = true;
    world_at(w, w->now + w->bound_ns, net_deadline, conn, 0);
}

void net_answered(struct world *w, int conn)
{
    struct conn *c = &w->conns[conn];

    if (c->sent_first < c->sent_count)
        c->sent_first++;
    if (!c->deadline_set && c->sent_first < c->sent_count) {
        c->deadline_set = true;
        world_at(w, c->sent_at[c->sent_first] + w->bound_ns, net_deadline, conn, 0);
    }
}

void net_check_deadlines(struct world *w, int pod)
{
    for (int link = 0; link < 2; link++) {
        int conn = w->pods[pod].conns[link];

        if (conn >= 0 && !w->conns[conn].deadline_set)
            net_deadline(w, conn, 0);
    }
}

void net_deinit(struct world *w)
{
    for (int i = 0; i < w->conns_count; i++) {
        pipe_truncate(w, &w->conns[i].pipes[TO_POD], 0);
        pipe_truncate(w, &w->conns[i].pipes[TO_SERVER], 0);
        free(w->conns[i].sent_at);
    }
    free(w->conns);
    for (struct packet *p = w->free_packets, *next; p; p = next) {
        next = p->next;
        free(p);
    }
}
