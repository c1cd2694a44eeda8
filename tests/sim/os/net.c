#include "tests/sim/os/net.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/sim/os/internal.h"

void net_config_default(struct net_config *ret)
{
    *ret = (struct net_config){
        .latency_min_ns = 20 * OS_US,
        .latency_max_ns = 120 * OS_US,
        .local_min_ns = 1 * OS_US,
        .local_max_ns = 10 * OS_US,
        .split_permille = 30,
        .tcp_buffer = 256 * 1024,
        .unix_buffer = 200 * 1024,
    };
}

void net_configure(struct os *os, const struct net_config *config)
{
    os->net.config = *config;
}

void net_init(struct os *os)
{
    net_config_default(&os->net.config);
    TAILQ_INIT(&os->net.conns);
    TAILQ_INIT(&os->net.dead);
    TAILQ_INIT(&os->net.servers);
    TAILQ_INIT(&os->net.names);
    TAILQ_INIT(&os->net.listeners);
    TAILQ_INIT(&os->net.rules);
}

/* ---- life ------------------------------------------------------------------------------------------------- */

struct net_conn *net_conn_new(struct os *os, struct os_process *process, struct net_server *server, bool local)
{
    struct net_conn *conn = os_alloc(sizeof(*conn));

    conn->os = os;
    conn->id = ++os->net.totals.connections;
    conn->local = local;
    conn->link = local ? OS_LINK_CLIENT : OS_LINK_DATA;
    conn->process = process;
    conn->server = server;
    for (unsigned i = 0; i < 2; i++) {
        conn->flow[i].conn = conn->end[i].conn = conn;
        conn->end[i].index = i;
        conn->flow[i].limit = local ? os->net.config.unix_buffer : os->net.config.tcp_buffer;
    }
    conn->end[0].open = true;
    conn->end[0].process = process;
    conn->peer.conn = conn;
    conn->peer.server = server;
    conn->end[1].peer = server ? &conn->peer : NULL;
    TAILQ_INSERT_TAIL(&os->net.conns, conn, link_all);
    rules_apply(conn);
    return conn;
}

static void net_conn_free(struct net_conn *conn)
{
    flow_deinit(&conn->flow[0]);
    flow_deinit(&conn->flow[1]);
    free(conn->peer.backlog);
    free(conn);
}

void net_conn_check(struct net_conn *conn)
{
    struct net *net = &conn->os->net;

    if (conn->dead || conn->end[0].open || conn->end[1].open)
        return;
    conn->dead = true;
    flow_clear(&conn->flow[0]);
    flow_clear(&conn->flow[1]);
    TAILQ_REMOVE(&net->conns, conn, link_all);
    TAILQ_INSERT_TAIL(&net->dead, conn, link_all);
}

void net_reap(struct os *os)
{
    struct net_conn *conn;

    while ((conn = TAILQ_FIRST(&os->net.dead)) != NULL) {
        TAILQ_REMOVE(&os->net.dead, conn, link_all);
        net_conn_free(conn);
    }
}

void net_deinit(struct os *os)
{
    struct net_server *server;
    struct net_conn *conn;
    struct net_name *name;
    struct net_rule_handle *rule;

    TAILQ_FOREACH(server, &os->net.servers, link)
    net_server_down(server);
    while ((conn = TAILQ_FIRST(&os->net.conns)) != NULL) {
        conn->end[0].open = conn->end[1].open = false;
        net_conn_check(conn);
    }
    net_reap(os);
    while ((server = TAILQ_FIRST(&os->net.servers)) != NULL) {
        TAILQ_REMOVE(&os->net.servers, server, link);
        free(server);
    }
    while ((name = TAILQ_FIRST(&os->net.names)) != NULL) {
        TAILQ_REMOVE(&os->net.names, name, link);
        free(name);
    }
    while ((rule = TAILQ_FIRST(&os->net.rules)) != NULL) {
        TAILQ_REMOVE(&os->net.rules, rule, link);
        free(rule);
    }
}

/* ---- ends ------------------------------------------------------------------------------------------------- */

void net_end_changed(struct net_end *end)
{
    if (!end->open)
        net_conn_check(end->conn);
    else if (end->peer)
        net_server_changed(end);
    else if (end->process)
        process_notify(end->process);
}

void net_end_close(struct net_end *end)
{
    struct flow *in = net_end_in(end), *out = net_end_out(end);
    bool unread = in->readable > 0;

    if (!end->open)
        return;
    end->open = false;
    if (end->index == 0 && end->conn->server && !end->conn->end[1].open)
        flow_clear(out); /* a SYN that nobody waits for */
    else
        flow_queue(out, unread ? SEG_RST : SEG_FIN, NULL, 0);
    if (unread)
        flow_consume(in, in->readable);
    net_conn_check(end->conn);
}

void net_conn_reset(struct net_conn *conn, int error)
{
    for (unsigned i = 0; i < 2; i++) {
        flow_clear(&conn->flow[i]);
        conn->flow[i].ended = true;
        conn->end[i].error = error;
        conn->peer.backlog_len = 0;
    }
    for (unsigned i = 0; i < 2; i++)
        net_end_changed(&conn->end[i]);
}

/* ---- from outside ----------------------------------------------------------------------------------------- */

/* The first with a number above `after` that these select, or NULL. */
static struct net_conn *net_next(const struct os *os, const struct net_rule *select, uint64_t after)
{
    struct net_conn *conn;

    TAILQ_FOREACH(conn, &os->net.conns, link_all)
    if (conn->id > after && rule_selects(select, conn))
        return conn;
    return NULL;
}

unsigned net_cut(struct os *os, const struct net_rule *select, bool reset)
{
    struct net_conn *conn;
    unsigned count = 0;

    for (uint64_t after = 0; (conn = net_next(os, select, after)) != NULL; after = conn->id) {
        if (reset) {
            net_conn_reset(conn, ECONNRESET);
        } else {
            flow_queue(&conn->flow[0], SEG_FIN, NULL, 0);
            flow_queue(&conn->flow[1], SEG_FIN, NULL, 0);
        }
        count++;
    }
    return count;
}

unsigned net_count(const struct os *os, const struct net_rule *select)
{
    const struct net_conn *conn;
    unsigned count = 0;

    for (uint64_t after = 0; (conn = net_next(os, select, after)) != NULL; after = conn->id)
        count++;
    return count;
}

struct net_totals net_totals(const struct os *os)
{
    return os->net.totals;
}
