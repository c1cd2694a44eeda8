/* What a server does with a request that arrived, and how it publishes. */
#include "tests/coresim/check.h"
#include "tests/coresim/net.h"

static bool server_refuses(struct world *w, const struct node *node, struct packet *p)
{
    if (!node->refuses_reads)
        return false;
    p->answer = (struct store_answer){
        .status = rng_chance(&w->net_rng, 500) ? REPLY_DEFINITE : REPLY_UNKNOWN,
        .text = "LOADING Redis is loading the dataset in memory",
    };
    w->statistics->fired[FAULT_refuse_reads]++;
    return true;
}

static bool server_identity(struct world *w, struct node *node, struct packet *p)
{
    if (p->stage++ == 0) {
        node_read_meta(node, &p->meta);
        return server_refuses(w, node, p);
    }
    p->master = node->master;
    p->run = node->server;
    p->history = node->history;
    p->store_us = node_time_us(node, w->now);
    return true;
}

/* WAIT holds back what comes behind it until the replica has acknowledged, or for H/2. */
static bool server_guard(struct world *w, struct conn *conn, struct packet *p)
{
    const struct node *node = &w->nodes[conn->node], *other = &w->nodes[1 - conn->node];
    bool follows = node->master && other->alive && !other->master && other->follows == conn->node;

    if (p->stage++ == 0) {
        p->due = w->now + (follows ? rng_below(&w->net_rng, NS_PER_MS) : w->bound_ns / 8) + 1;
        return false;
    }
    p->replicas = follows ? 1 : 0;
    return true;
}

static bool server_fetch(struct world *w, struct node *node, struct packet *p)
{
    if (p->stage++ == 0) {
        node_read_meta(node, &p->meta);
        return server_refuses(w, node, p);
    }
    if (p->stage == 3) {
        node_read_meta(node, &p->closing);
        return true;
    }
    const struct stored *r = node_read_record(node, w->now, p->key);

    p->result = !r ? FETCH_ABSENT : r->corrupt ? FETCH_INVALID : FETCH_RECORD;
    if (r)
        p->record = *r;
    return false;
}

static void server_write(struct world *w, struct conn *conn, struct node *node, struct packet *p)
{
    struct published message = {.key = -1};
    int failing = node->failing_scripts;
    bool published = node_write(node, w->now, &p->write, &p->answer, &message);

    if (node->refuses_writes)
        w->statistics->fired[FAULT_refuse_writes]++;
    world_log(w, conn->pod, p->write.key,
              "executed write op=%d version=%llu -> status %d result %d version %llu "
              "seq %llu",
              p->op, (unsigned long long)p->write.version, p->answer.status, p->answer.result,
              (unsigned long long)p->answer.version, (unsigned long long)p->answer.seq);
    if (failing != node->failing_scripts)
        w->statistics->fired[FAULT_half_script]++;
    if (published || failing != node->failing_scripts)
        check_commit(w, p->op, &message);
    if (published)
        server_publish(w, conn->node, &message);
}

bool server_execute(struct world *w, struct conn *conn, struct packet *p)
{
    struct node *node = &w->nodes[conn->node];

    world_mix(w, (uint64_t)p->kind, p->id);
    switch (p->kind) {
    case PACKET_HELLO:
        conn->served = true;
        conn->process = node->process;
        p->master = node->master;
        p->run = node->server;
        return true;
    case PACKET_IDENTITY:
        return server_identity(w, node, p);
    case PACKET_GUARD:
        return server_guard(w, conn, p);
    case PACKET_FETCH:
        return server_fetch(w, node, p);
    case PACKET_PROPOSE:
        node_propose(node, w->now, &p->meta, p->epoch, p->run, p->min_seq, &p->answer);
        world_log(w, conn->pod, -1, "executed propose %.6s over %.6s", p->epoch.text, p->meta.epoch.text);
        return true;
    case PACKET_WRITE:
        server_write(w, conn, node, p);
        return true;
    default:
        return true; /* SUBSCRIBE, PING: the answer says it all */
    }
}

static void server_deliver(struct world *w, int conn, const struct published *message)
{
    struct packet *p = net_packet(w, message->key == -2 ? PACKET_BAD_MESSAGE : PACKET_MESSAGE);

    p->message = *message;
    net_send(w, conn, TO_POD, p);
}

/* A replica passes on what its master publishes. */
void server_publish(struct world *w, int node, const struct published *message)
{
    const struct node *other = &w->nodes[1 - node];
    bool passed_on = w->nodes[node].master && other->alive && !other->master;

    if (passed_on && message->truth_epoch >= 0)
        w->nodes[1 - node].data = w->nodes[node].replicated;
    for (int i = 0; i < w->conns_count; i++) {
        struct conn *c = &w->conns[i];
        const struct pod *pod = &w->pods[c->pod];

        if (!c->subscribed || (c->node != node && !passed_on))
            continue;
        if (pod->drop_permille && rng_chance(&w->net_rng, pod->drop_permille)) {
            w->statistics->fired[FAULT_drop]++;
            world_log(w, c->pod, message->key, "message of seq %llu is lost", (unsigned long long)message->seq);
            continue;
        }
        server_deliver(w, i, message);
        if (pod->repeat_permille && rng_chance(&w->net_rng, pod->repeat_permille)) {
            w->statistics->fired[FAULT_repeat]++;
            server_deliver(w, i, message);
        }
    }
    if (message->key >= 0 && node == w->primary && rng_chance(&w->net_rng, 300))
        w->captured[w->captured_count++ % 16] = *message;
}
