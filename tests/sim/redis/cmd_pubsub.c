/* PUBLISH, SUBSCRIBE, UNSUBSCRIBE. Subscribers get a message in the order in which they subscribed. */
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

static void send_message(struct conn *conn, struct slice channel, struct slice payload)
{
    buffer_append(&conn->out, "*3\r\n$7\r\nmessage\r\n", 17);
    resp_put_bulk(&conn->out, channel);
    resp_put_bulk(&conn->out, payload);
    conn_dirty(conn);
}

/* Who is over its limit is closed after the round, so that the list stays as it is during it. */
static void close_slow(struct server *server)
{
    size_t i = 0;

    while (i < server->subscription_count) {
        struct conn *conn = server->subscriptions[i].conn;

        if (server->pubsub_limit == 0 || conn->out.len <= server->pubsub_limit) {
            i++;
            continue;
        }
        conn_end(conn);
        i = 0;
    }
}

void cmd_publish(struct call *call)
{
    struct server *server = call->server;
    int64_t receivers = 0;

    for (size_t i = 0; i < server->subscription_count; i++) {
        struct subscription *s = &server->subscriptions[i];

        if (!slice_equal(s->channel, call->argv[1]))
            continue;
        receivers++;
        send_message(s->conn, call->argv[1], call->argv[2]);
    }
    if (receivers > 0)
        close_slow(server);
    unit_publish(call, call->argv[1], call->argv[2]);
    effect_call(call);
    reply_integer(call, receivers);
}

/* ---- subscriptions --------------------------------------------------------------------------------------- */

static size_t subscription_find(const struct conn *conn, struct slice channel)
{
    const struct server *server = conn->server;
    size_t i = 0;

    while (i < server->subscription_count &&
           (server->subscriptions[i].conn != conn || !slice_equal(server->subscriptions[i].channel, channel)))
        i++;
    return i;
}

static void subscription_remove(struct server *server, size_t index)
{
    struct subscription *s = &server->subscriptions[index];

    s->conn->subscriptions--;
    free((void *)s->channel.data);
    server->subscription_count--;
    memmove(s, s + 1, (server->subscription_count - index) * sizeof(*s));
}

static void subscription_add(struct conn *conn, struct slice channel)
{
    struct server *server = conn->server;
    uint8_t *copy = memory_new(channel.len);

    if (channel.len > 0)
        memcpy(copy, channel.data, channel.len);
    if (server->subscription_count == server->subscription_room) {
        server->subscription_room = server->subscription_room > 0 ? 2 * server->subscription_room : 8;
        server->subscriptions =
            memory_grow(server->subscriptions, server->subscription_room * sizeof(*server->subscriptions));
    }
    server->subscriptions[server->subscription_count++] =
        (struct subscription){.conn = conn, .channel = slice_of(copy, channel.len)};
    conn->subscriptions++;
}

static void confirm(struct call *call, const char *what, struct slice channel)
{
    reply_array(call, 3);
    reply_text(call, what);
    if (channel.data)
        reply_bulk(call, channel);
    else
        reply_nil(call);
    reply_integer(call, call->conn->subscriptions);
}

void cmd_subscribe(struct call *call)
{
    for (size_t i = 1; i < call->argc; i++) {
        if (subscription_find(call->conn, call->argv[i]) == call->server->subscription_count)
            subscription_add(call->conn, call->argv[i]);
        confirm(call, "subscribe", call->argv[i]);
    }
}

static void unsubscribe_all(struct call *call)
{
    struct server *server = call->server;

    if (call->conn->subscriptions == 0) {
        confirm(call, "unsubscribe", slice_of(NULL, 0));
        return;
    }
    for (size_t i = 0; i < server->subscription_count;) {
        struct subscription s = server->subscriptions[i];
        size_t len = s.channel.len;
        uint8_t *channel;

        if (s.conn != call->conn) {
            i++;
            continue;
        }
        channel = memory_new(len);
        if (len > 0)
            memcpy(channel, s.channel.data, len);
        subscription_remove(server, i);
        confirm(call, "unsubscribe", slice_of(channel, len));
        free(channel);
    }
}

void cmd_unsubscribe(struct call *call)
{
    if (call->argc == 1)
        unsubscribe_all(call);
    for (size_t i = 1; i < call->argc; i++) {
        size_t index = subscription_find(call->conn, call->argv[i]);

        if (index < call->server->subscription_count)
            subscription_remove(call->server, index);
        confirm(call, "unsubscribe", call->argv[i]);
    }
}

void conn_unsubscribe_all(struct conn *conn)
{
    for (size_t i = conn->server->subscription_count; i-- > 0;) {
        if (conn->server->subscriptions[i].conn == conn)
            subscription_remove(conn->server, i);
    }
}
