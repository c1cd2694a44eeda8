/* Ends of connections that belong to servers of the world, and the names by which processes find them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/os/internal.h"

struct net_server *net_server_new(struct os *os, const char *name, const struct net_server_ops *ops, void *ctx)
{
    struct net_server *server = os_alloc(sizeof(*server));

    server->os = os;
    snprintf(server->name, sizeof(server->name), "%s", name);
    server->ops = *ops;
    server->ctx = ctx;
    TAILQ_INSERT_TAIL(&os->net.servers, server, link);
    net_name_point(os, name, server);
    return server;
}

/* ---- names ------------------------------------------------------------------------------------------------ */

void net_name_point(struct os *os, const char *name, struct net_server *to)
{
    struct net_name *n;

    TAILQ_FOREACH(n, &os->net.names, link)
    if (strcmp(n->name, name) == 0)
        break;
    if (!n) {
        n = os_alloc(sizeof(*n));
        snprintf(n->name, sizeof(n->name), "%s", name);
        TAILQ_INSERT_TAIL(&os->net.names, n, link);
    }
    n->server = to;
}

int net_name_number(struct os *os, const char *name)
{
    struct net_name *n;
    int number = 0;

    TAILQ_FOREACH(n, &os->net.names, link)
    {
        if (strcmp(n->name, name) == 0)
            return n->server ? number : -1;
        number++;
    }
    return -1;
}

struct net_server *net_server_by_number(struct os *os, int number)
{
    struct net_name *n;

    TAILQ_FOREACH(n, &os->net.names, link)
    if (number-- == 0)
        return n->server;
    return NULL;
}

struct net_server *net_server_by_name(struct os *os, const char *name)
{
    return net_server_by_number(os, net_name_number(os, name));
}

/* ---- receiving -------------------------------------------------------------------------------------------- */

static void server_let_go(struct net_end *end)
{
    end->open = false;
    end->peer->backlog_len = 0;
    flow_queue(net_end_out(end), SEG_FIN, NULL, 0);
    if (net_end_in(end)->readable > 0)
        flow_consume(net_end_in(end), net_end_in(end)->readable);
    if (end->peer->accepted)
        end->peer->server->ops.closed(end->peer->ctx);
    net_conn_check(end->conn);
}

static size_t server_part(struct os *os, size_t len)
{
    return len > 1 && os_chance(os, os->net.config.split_permille) ? os_random_between(os, 1, len - 1) : len;
}

void net_server_changed(struct net_end *end)
{
    struct net_peer *peer = end->peer;
    struct net_server *server = peer->server;
    struct flow *in = net_end_in(end);

    if (server->stopped || !end->open || in->delivering || peer->closing)
        return;
    in->delivering = true;
    if (!peer->accepted) {
        peer->accepted = true;
        peer->ctx = server->ops.accepted(server->ctx, peer);
    }
    while (end->open && !server->stopped && in->readable > 0) {
        size_t len = server_part(server->os, in->readable);

        server->ops.received(peer->ctx, in->bytes + in->head, len);
        if (end->open)
            flow_consume(in, len);
    }
    in->delivering = false;
    if (end->open && !server->stopped && (end->eof || end->error))
        server_let_go(end);
}

/* ---- sending ---------------------------------------------------------------------------------------------- */

void net_server_pump(struct net_peer *peer)
{
    struct flow *out = &peer->conn->flow[1];
    size_t sent;

    if (peer->backlog_len == 0 || out->ended)
        return;
    sent = flow_send(out, peer->backlog, peer->backlog_len);
    peer->backlog_len -= sent;
    memmove(peer->backlog, peer->backlog + sent, peer->backlog_len);
    if (peer->closing && peer->backlog_len == 0) {
        flow_queue(out, SEG_FIN, NULL, 0);
        peer->conn->end[1].open = false;
        net_conn_check(peer->conn);
    }
}

void net_peer_send(struct net_peer *peer, const void *bytes, size_t len)
{
    struct flow *out = &peer->conn->flow[1];
    size_t sent = 0;

    if (!peer->conn->end[1].open || peer->closing || out->ended || len == 0)
        return;
    if (peer->backlog_len == 0)
        sent = flow_send(out, bytes, len);
    if (sent == len)
        return;
    if (peer->backlog_len + len - sent > peer->backlog_room) {
        peer->backlog_room = 2 * (peer->backlog_len + len - sent);
        peer->backlog = os_grow(peer->backlog, peer->backlog_room);
    }
    memcpy(peer->backlog + peer->backlog_len, (const uint8_t *)bytes + sent, len - sent);
    peer->backlog_len += len - sent;
}

size_t net_peer_queued(const struct net_peer *peer)
{
    return peer->backlog_len + peer->conn->flow[1].total;
}

void net_peer_close(struct net_peer *peer, bool reset)
{
    struct net_end *end = &peer->conn->end[1];

    if (!end->open || peer->closing)
        return;
    if (!reset && peer->backlog_len > 0) {
        peer->closing = true;
        return;
    }
    peer->backlog_len = 0;
    flow_queue(net_end_out(end), reset ? SEG_RST : SEG_FIN, NULL, 0);
    end->open = false;
    net_conn_check(peer->conn);
}

struct os_process *net_peer_process(const struct net_peer *peer)
{
    return peer->conn->process;
}

/* ---- the server's own state ------------------------------------------------------------------------------- */

/* The first connection of the server with a number above `after`, or NULL. */
static struct net_conn *server_next(const struct net_server *server, uint64_t after)
{
    struct net_conn *conn;

    TAILQ_FOREACH(conn, &server->os->net.conns, link_all)
    if (conn->id > after && conn->server == server && conn->end[1].open)
        return conn;
    return NULL;
}

void net_server_stop(struct net_server *server)
{
    server->stopped = true;
}

void net_server_resume(struct net_server *server)
{
    struct net_conn *conn;

    server->stopped = false;
    for (uint64_t after = 0; (conn = server_next(server, after)) != NULL; after = conn->id)
        net_server_changed(&conn->end[1]);
}

void net_server_down(struct net_server *server)
{
    struct net_conn *conn;

    server->down = true;
    for (uint64_t after = 0; (conn = server_next(server, after)) != NULL; after = conn->id) {
        flow_queue(&conn->flow[1], SEG_RST, NULL, 0);
        server_let_go(&conn->end[1]);
    }
}

void net_server_up(struct net_server *server)
{
    server->down = false;
    server->stopped = false;
}

bool net_server_is_stopped(const struct net_server *server)
{
    return server->stopped;
}

bool net_server_is_up(const struct net_server *server)
{
    return !server->down;
}
