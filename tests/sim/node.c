#include "tests/sim/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/witness.h"

#define WINDOW_BYTES ((size_t)256 << 10) /* what the kernels of both ends take, about */
#define WINDOW_WAIT  (500 * OS_US)

/* A connection of a daemon to this server. */
struct wire {
    struct wire *next;
    struct node *node;
    struct net_peer *peer; /* NULL: closed */
    struct conn *conn;
    int pod;
    bool waiting; /* for room in the network: an event is under way */
    bool ended;   /* by the server: an event will free it */
};

/* ---- messages that are lost or repeated --------------------------------------------------------------------- */

/* Length of the first frame of what a subscription is sent, 0 if it is no message. */
static size_t message_len(const uint8_t *data, size_t len)
{
    static const char head[] = "*3\r\n$7\r\nmessage\r\n";
    size_t at = sizeof(head) - 1;

    if (len < at || memcmp(data, head, at) != 0)
        return 0;
    for (int part = 0; part < 2; part++) {
        size_t n = 0;

        if (at >= len || data[at++] != '$')
            return 0;
        while (at < len && data[at] >= '0' && data[at] <= '9')
            n = n * 10 + (size_t)(data[at++] - '0');
        at += 2 + n + 2;
    }
    return at <= len ? at : 0;
}

static void wire_send_messages(struct wire *wire, const uint8_t *data, size_t len)
{
    struct world *w = wire->node->world;
    const struct pod *p = &w->pods[wire->pod];

    while (len > 0) {
        size_t n = message_len(data, len);

        if (n == 0) {
            net_peer_send(wire->peer, data, len);
            return;
        }
        if (rng_chance(&w->node_rng, p->drop_permille)) {
            w->statistics->fired[KIND_drop]++;
            world_log(w, wire->pod, -1, "a message is lost");
        } else {
            net_peer_send(wire->peer, data, n);
        }
        if (rng_chance(&w->node_rng, p->repeat_permille)) {
            w->statistics->fired[KIND_repeat]++;
            net_peer_send(wire->peer, data, n);
        }
        data += n;
        len -= n;
    }
}

/* ---- connections -------------------------------------------------------------------------------------------- */

static void wire_pump(struct wire *wire);
static void node_plan_tick(struct node *node);

static void wire_free(struct wire *wire)
{
    struct wire **at = &wire->node->wires;

    while (*at != wire)
        at = &(*at)->next;
    *at = wire->next;
    free(wire);
}

static void wire_wait_ended(void *arg)
{
    struct wire *wire = arg;

    wire->waiting = false;
    if (!wire->peer)
        wire_free(wire);
    else
        wire_pump(wire);
}

static void wire_pump(struct wire *wire)
{
    struct buffer *out = conn_output(wire->conn);
    const struct pod *p = wire->pod >= 0 ? &wire->node->world->pods[wire->pod] : NULL;

    if (out->len == 0 || wire->waiting)
        return;
    if (net_peer_queued(wire->peer) >= wire->node->window) {
        wire->waiting = true;
        world_at(wire->node->world, world_now(wire->node->world) + WINDOW_WAIT, wire_wait_ended, wire);
        return;
    }
    if (p && (p->drop_permille || p->repeat_permille) && conn_is_subscribed(wire->conn))
        wire_send_messages(wire, out->data, out->len);
    else
        net_peer_send(wire->peer, out->data, out->len);
    buffer_consume(out, out->len);
}

/* The connection is over at both ends. */
static void wire_over(struct wire *wire)
{
    if (wire->conn)
        conn_close(wire->conn);
    wire->conn = NULL;
    wire->peer = NULL;
    if (!wire->waiting)
        wire_free(wire);
}

static void wire_reap(void *arg)
{
    wire_over(arg);
}

static void *on_accepted(void *server, struct net_peer *peer)
{
    struct node *node = server;
    struct world *w = node->world;
    struct wire *wire = calloc(1, sizeof(*wire));

    if (!wire)
        abort();
    *wire = (struct wire){.next = node->wires, .node = node, .peer = peer, .pod = -1};
    node->wires = wire;
    for (int i = 0; i < w->pods_count; i++) {
        if (daemon_host_process(w->pods[i].host) == net_peer_process(peer))
            wire->pod = i;
    }
    wire->conn = server_connect(node->server, world_now(w), wire);
    if (wire->conn)
        return wire;
    wire->ended = true;
    net_peer_close(peer, true);
    wire->peer = NULL;
    world_at(w, world_now(w), wire_reap, wire);
    return wire;
}

static void node_tick(void *arg)
{
    struct node *node = arg;

    if (node->tick_at != world_now(node->world))
        return; /* an earlier one took its place */
    node->tick_at = 0;
    server_tick(node->server, world_now(node->world));
    node_plan_tick(node);
}

/* A WAIT that nobody acknowledges is answered at its deadline. */
static void node_plan_tick(struct node *node)
{
    uint64_t at = server_next_deadline(node->server, false), now = world_now(node->world);

    if (at == UINT64_MAX || (node->tick_at && node->tick_at <= at))
        return;
    at = at > now ? at : now;
    node->tick_at = at;
    world_at(node->world, at, node_tick, node);
}

/* Where the second command of a fetch begins, or a later one; 0: this is no fetch. */
static size_t between_commands(struct world *w, const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    unsigned found = 0;

    if (!memmem(bytes, len, "\nGET", 4))
        return 0;
    for (size_t i = 3; i < len; i++) {
        if (memcmp(bytes + i - 2, "\r\n*", 3) == 0 && rng_below(&w->node_rng, ++found) == 0)
            at = i;
    }
    return at;
}

/* Once for each such fault. */
static void strike_between(struct node *node)
{
    node->between = false;
    node->world->statistics->fired[KIND_flush_between]++;
    server_flush_all(node->server, world_now(node->world));
}

static void on_received(void *arg, const void *bytes, size_t len)
{
    struct wire *wire = arg;
    struct node *node = wire->node;
    struct world *w = node->world;
    bool struck = node->between && !wire->ended && server_is_master(node->server) &&
                  !server_is_paused(node->server, world_now(w));
    size_t first = struck ? between_commands(w, bytes, len) : 0;

    node->asked = true;
    if (first > 0) {
        conn_feed(wire->conn, world_now(w), slice_of(bytes, first));
        node->asked = false;
        strike_between(node);
        node->asked = true;
    }
    if (!wire->ended)
        conn_feed(wire->conn, world_now(w), slice_of((const uint8_t *)bytes + first, len - first));
    node->asked = false;
    node_plan_tick(node);
}

static void on_peer_closed(void *arg)
{
    struct wire *wire = arg;

    if (!wire->ended)
        wire_over(wire);
}

static const struct net_server_ops node_net_ops = {
    .accepted = on_accepted,
    .received = on_received,
    .closed = on_peer_closed,
};

/* ---- what the server tells ---------------------------------------------------------------------------------- */

static void on_output(void *ctx, struct conn *conn)
{
    struct wire *wire = conn_ctx(conn);
    struct buffer *out = conn_output(conn);

    (void)ctx;
    if (!wire) {
        buffer_consume(out, out->len); /* of a hand */
        return;
    }
    wire->conn = conn; /* a server that is full answers within server_connect */
    if (!wire->ended)
        wire_pump(wire);
}

static void on_server_closed(void *ctx, struct conn *conn)
{
    struct node *node = ctx;
    struct wire *wire = conn_ctx(conn);

    if (!wire || wire->ended)
        return;
    if (node->window < WINDOW_BYTES && conn_output(conn)->len == 0)
        node->world->statistics->fired[KIND_output_limit]++;
    wire->ended = true;
    net_peer_close(wire->peer, !server_is_running(node->server));
    wire->peer = NULL;
    world_at(node->world, world_now(node->world), wire_reap, wire);
}

static void node_pump(void *arg)
{
    struct node *replica = arg;

    replica->pumped = false;
    if (!replica->replication_held)
        node_replicate(replica);
}

/* Something went into the stream of this node: its replica has it soon. */
static void pump_soon(struct node *node)
{
    struct node *other = node_other(node);
    struct world *w = node->world;

    if (!other->server || server_master(other->server) != node->server || other->pumped || other->replication_held)
        return;
    other->pumped = true;
    world_at(w, world_now(w) + rng_between(&w->node_rng, 50 * OS_US, 4 * OS_MS), node_pump, other);
}

static void on_changed(void *ctx, struct server *server, unsigned db, struct slice key, uint64_t now)
{
    struct node *node = ctx;

    (void)server, (void)now;
    if (db != 0)
        return;
    witness_changed(node, key);
    pump_soon(node);
}

static void on_passing(void *ctx, struct server *server, unsigned db, struct slice key, uint64_t now)
{
    (void)server, (void)now;
    if (db == 0)
        witness_passing(ctx, key);
}

static void on_published(void *ctx, struct server *server, struct slice channel, struct slice payload,
                         uint64_t now)
{
    struct node *node = ctx;
    struct world *w = node->world;
    struct captured *c;

    (void)server, (void)now;
    pump_soon(node);
    if (!slice_equal(channel, slice_text(SIM_CHANNEL)))
        return;
    if (node->index != w->primary || !rng_chance(&w->node_rng, 300))
        return;
    c = &w->captured[w->captured_count++ % 16];
    free(c->bytes);
    c->bytes = malloc(payload.len + 1);
    if (!c->bytes)
        abort();
    memcpy(c->bytes, payload.data, payload.len);
    c->len = payload.len;
}

/* ---- making and ending -------------------------------------------------------------------------------------- */

void node_init(struct world *w, int index)
{
    struct node *node = &w->nodes[index];
    struct server_hooks hooks = {
        .ctx = node,
        .output = on_output,
        .closed = on_server_closed,
        .changed = on_changed,
        .passing = on_passing,
        .published = on_published,
    };

    *node = (struct node){.world = w, .index = index, .epoch = -1, .window = WINDOW_BYTES};
    node->server = server_new((unsigned)index, w->seed, &hooks);
    node->net = net_server_new(w->os, index ? "redis-1" : "redis-0", &node_net_ops, node);
    if (!node->server || !node->net)
        abort();
    server_set_user(node->server, SIM_USER, "on >first allkeys allchannels +@all");
    server_set_persistence(node->server, w->persistence);
    node_start(node);
}

void node_deinit(struct node *node)
{
    while (node->wires) {
        struct wire *next = node->wires->next;

        free(node->wires);
        node->wires = next;
    }
    server_free(node->server);
}

void node_start(struct node *node)
{
    server_start(node->server, world_now(node->world));
    net_server_up(node->net);
    witness_refresh(node);
}

void node_kill(struct node *node)
{
    struct conn *hand = node->hand;

    server_kill(node->server, world_now(node->world));
    if (hand)
        conn_close(hand);
    node->hand = NULL;
    net_server_down(node->net);
    witness_refresh(node);
}

void node_pause(struct node *node, uint64_t until)
{
    server_pause(node->server, world_now(node->world), until);
    node_plan_tick(node);
}

/* ---- replication -------------------------------------------------------------------------------------------- */

static void supersede(struct node *node, uint64_t at)
{
    if (node->epoch >= 0)
        node->world->truth.epochs[node->epoch].superseded = at;
}

void node_follow(struct node *node, struct node *master)
{
    server_set_replica_of(node->server, master->server, world_now(node->world));
    witness_refresh(node);
    supersede(master, NEVER);
}

void node_lead(struct node *node)
{
    supersede(node_other(node), world_now(node->world));
    server_set_master(node->server, world_now(node->world));
    witness_refresh(node);
}

void node_replicate(struct node *replica)
{
    server_replicate(replica->server, world_now(replica->world), SIZE_MAX);
    /* The first replica of a process changes its master's replication history. What the acknowledgement lets go on
     * behind a WAIT is executed in the new one. */
    witness_refresh(node_other(replica));
    server_acknowledge(replica->server, world_now(replica->world));
}

void node_hold_replication(struct node *replica, bool held)
{
    replica->replication_held = held;
    if (!held)
        node_replicate(replica);
}

void node_point_at(struct node *node)
{
    net_name_point(node->world->os, "redis", node->net);
}

/* ---- hands -------------------------------------------------------------------------------------------------- */

unsigned node_kill_clients(struct node *node, int pod, unsigned link)
{
    struct wire *next;
    unsigned count = 0;

    for (struct wire *wire = node->wires; wire; wire = next) {
        bool subscribed = !wire->ended && conn_is_subscribed(wire->conn);

        next = wire->next;
        if (wire->ended || (pod >= 0 && wire->pod != pod) ||
            !(link & (subscribed ? OS_LINK_SUBSCRIPTION : OS_LINK_DATA)))
            continue;
        server_kill_client(wire->conn);
        count++;
    }
    return count;
}

void node_command(struct node *node, int argc, const struct slice *argv)
{
    struct conn *hand = node->hand;
    struct buffer text = BUFFER_INIT;
    char number[32];

    if (!server_is_running(node->server))
        return;
    if (hand && !conn_is_open(hand)) {
        conn_close(hand);
        hand = NULL;
    }
    if (!hand)
        hand = server_connect(node->server, world_now(node->world), NULL);
    node->hand = hand;
    if (!hand)
        return;
    buffer_append(&text, number, (size_t)snprintf(number, sizeof(number), "*%d\r\n", argc));
    for (int i = 0; i < argc; i++) {
        buffer_append(&text, number, (size_t)snprintf(number, sizeof(number), "$%zu\r\n", argv[i].len));
        buffer_append(&text, argv[i].data, argv[i].len);
        buffer_append(&text, "\r\n", 2);
    }
    conn_feed(hand, world_now(node->world), slice_of(text.data, text.len));
    buffer_deinit(&text);
}

void node_publish(struct node *node, struct slice payload)
{
    struct slice argv[] = {slice_text("PUBLISH"), slice_text(SIM_CHANNEL), payload};

    node_command(node, 3, argv);
}

void node_set_user(struct node *node, const char *rules)
{
    if (server_set_user(node->server, SIM_USER, rules) != 0)
        world_violate(node->world, "MODEL", -1, -1, "the simulated Redis does not know the rules %s", rules);
}
