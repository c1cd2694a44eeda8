/* Connections: bytes to commands in, answers out, and the ways in which a connection ends. */
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

#define INLINE_MAX (64 * 1024) /* as in Redis */
#define BULK_MAX   (512LL * 1024 * 1024)

/* ---- reading commands ------------------------------------------------------------------------------------ */

static void argv_add(struct argv *argv, struct slice item)
{
    if (argv->count == argv->room) {
        argv->room = argv->room > 0 ? 2 * argv->room : 16;
        argv->items = memory_grow(argv->items, argv->room * sizeof(*argv->items));
    }
    argv->items[argv->count++] = item;
}

static enum resp_parse parse_inline(struct slice bytes, struct argv *ret_argv, size_t *ret_used,
                                    const char **ret_error)
{
    const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
    size_t len, at = 0;

    if (!end) {
        *ret_error = "too big inline request";
        return bytes.len > INLINE_MAX ? RESP_BROKEN : RESP_MORE;
    }
    len = (size_t)(end - bytes.data);
    *ret_used = len + 1;
    if (len > 0 && bytes.data[len - 1] == '\r')
        len--;
    while (at < len) {
        size_t begin = at;

        while (at < len && bytes.data[at] != ' ')
            at++;
        if (at > begin)
            argv_add(ret_argv, slice_of(bytes.data + begin, at - begin));
        at++;
    }
    return RESP_COMMAND;
}

/* The number of a line like "*3\r\n" at *at, behind its first byte. */
static enum resp_parse parse_head(struct slice bytes, size_t *at, int64_t *ret)
{
    const uint8_t *begin = bytes.data + *at + 1, *end;

    end = *at + 1 < bytes.len ? memchr(begin, '\r', bytes.len - *at - 1) : NULL;
    if (!end)
        return bytes.len - *at > INLINE_MAX ? RESP_BROKEN : RESP_MORE;
    if ((size_t)(end - bytes.data) + 2 > bytes.len)
        return RESP_MORE;
    if (!slice_to_int(slice_of(begin, (size_t)(end - begin)), ret))
        *ret = INT64_MIN;
    *at = (size_t)(end - bytes.data) + 2;
    return RESP_COMMAND;
}

static enum resp_parse parse_bulk(struct slice bytes, bool limited, size_t *at, struct argv *ret_argv,
                                  const char **ret_error)
{
    enum resp_parse result;
    int64_t len;

    if (*at == bytes.len)
        return RESP_MORE;
    result = parse_head(bytes, at, &len);
    if (result == RESP_BROKEN)
        *ret_error = "too big bulk count string";
    if (result != RESP_COMMAND)
        return result;
    *ret_error = len < 0 || len > BULK_MAX ? "invalid bulk length"
                 : limited && len > 16384  ? "unauthenticated bulk length"
                                           : NULL;
    if (*ret_error)
        return RESP_BROKEN;
    if (bytes.len - *at < (size_t)len + 2)
        return RESP_MORE;
    argv_add(ret_argv, slice_of(bytes.data + *at, (size_t)len));
    *at += (size_t)len + 2;
    return RESP_COMMAND;
}

enum resp_parse resp_parse(struct slice bytes, bool limited, struct argv *ret_argv, size_t *ret_used,
                           const char **ret_error)
{
    enum resp_parse result;
    size_t at = 0;
    int64_t count;

    ret_argv->count = 0;
    if (bytes.len == 0)
        return RESP_MORE;
    if (bytes.data[0] != '*')
        return parse_inline(bytes, ret_argv, ret_used, ret_error);
    result = parse_head(bytes, &at, &count);
    if (result == RESP_BROKEN)
        *ret_error = "too big mbulk count string";
    if (result != RESP_COMMAND)
        return result;
    *ret_error = count == INT64_MIN || count > INT32_MAX ? "invalid multibulk length"
                 : limited && count > 10                 ? "unauthenticated multibulk length"
                                                         : NULL;
    if (*ret_error)
        return RESP_BROKEN;
    for (; count > 0; count--) {
        if (at < bytes.len && bytes.data[at] != '$') {
            static char unexpected[] = "expected '$', got '?'";

            unexpected[sizeof(unexpected) - 3] = (char)bytes.data[at];
            *ret_error = unexpected;
            return RESP_BROKEN;
        }
        result = parse_bulk(bytes, limited, &at, ret_argv, ret_error);
        if (result != RESP_COMMAND)
            return result;
    }
    *ret_used = at;
    return RESP_COMMAND;
}

static void conn_execute(struct conn *conn, uint64_t now)
{
    struct server *server = conn->server;
    size_t done = 0, used = 0;
    const char *error = NULL;

    while (conn->open && !conn->blocked && done < conn->in.len && server_can_execute(server, now)) {
        struct slice rest = slice_of(conn->in.data + done, conn->in.len - done);
        bool limited = !conn->authenticated && user_needs_password(user_default(server));
        enum resp_parse result = resp_parse(rest, limited, &conn->argv, &used, &error);

        if (result == RESP_MORE)
            break;
        if (result == RESP_BROKEN) {
            buffer_text(&conn->out, "-ERR Protocol error: %s\r\n", error);
            conn_finish(conn);
            break;
        }
        done += used;
        if (conn->argv.count > 0)
            call_from_conn(conn, now, conn->argv.items, conn->argv.count);
    }
    buffer_consume(&conn->in, done);
}

void conn_feed(struct conn *conn, uint64_t now, struct slice bytes)
{
    struct server *server = conn->server;

    if (!conn->open || bytes.len == 0)
        return;
    if (conn->in.len == 0)
        conn->arrival = ++server->arrivals;
    buffer_append(&conn->in, bytes.data, bytes.len);
    if (!server_can_execute(server, now)) {
        server->backlogged = true;
        server->hindered++;
    } else if (server->backlogged) {
        conns_run(server, now);
    } else {
        conn_execute(conn, now);
    }
    conns_tell(server);
}

static struct conn *first_after(struct server *server, uint64_t arrival)
{
    struct conn *first = NULL;

    for (struct conn *c = server->conns; c; c = c->next) {
        if (c->open && c->in.len > 0 && c->arrival > arrival && (!first || c->arrival < first->arrival))
            first = c;
    }
    return first;
}

void conns_run(struct server *server, uint64_t now)
{
    uint64_t arrival = 0;

    server->backlogged = false;
    for (struct conn *c; (c = first_after(server, arrival));) {
        arrival = c->arrival;
        conn_execute(c, now);
    }
}

void conns_check_waits(struct server *server, uint64_t now)
{
    for (struct conn *c = server->conns; c && server->blocked_count > 0; c = c->next) {
        unsigned acked;

        if (!c->blocked)
            continue;
        acked = replicas_that_acked(server, c->wait_offset);
        if (acked < c->wait_replicas && now < c->wait_until)
            continue;
        resp_put_head(&c->out, ':', acked);
        conn_dirty(c);
        c->blocked = false;
        server->blocked_count--;
        conn_execute(c, now);
    }
}

/* ---- life of a connection -------------------------------------------------------------------------------- */

struct conn *server_connect(struct server *server, uint64_t now, void *ctx)
{
    struct conn *conn;

    (void)now;
    if (!server->running || !server->listening)
        return NULL;
    conn = memory_zero(sizeof(*conn));
    conn->server = server;
    conn->ctx = ctx;
    conn->id = ++server->next_conn_id;
    conn->user = user_default(server);
    conn->authenticated = !user_needs_password(conn->user);
    conn->previous = server->conns_last;
    if (conn->previous)
        conn->previous->next = conn;
    else
        server->conns = conn;
    server->conns_last = conn;
    conn->open = true;
    if (++server->conn_count > server->max_clients) {
        buffer_text(&conn->out, "-ERR max number of clients reached\r\n");
        conn_finish(conn);
        conns_tell(server);
    }
    return conn;
}

void conn_dirty(struct conn *conn)
{
    struct server *server = conn->server;
    struct conn **at = &server->dirty;

    if (conn->dirty)
        return;
    while (*at)
        at = &(*at)->dirty_next;
    conn->dirty = true;
    conn->dirty_next = NULL;
    *at = conn;
}

void conn_finish(struct conn *conn)
{
    if (!conn->open)
        return;
    conn->open = false;
    conn->server->conn_count--;
    if (conn->blocked)
        conn->server->blocked_count--;
    conn->blocked = false;
    conn_unsubscribe_all(conn);
    conn_dirty(conn);
}

void conn_end(struct conn *conn)
{
    conn_finish(conn);
    buffer_clear(&conn->out);
}

void conns_end_blocked(struct server *server)
{
    for (struct conn *c = server->conns; c; c = c->next) {
        if (!c->blocked)
            continue;
        buffer_text(&c->out, "-UNBLOCKED force unblock from blocking operation, instance state changed "
                             "(master -> replica?)\r\n");
        conn_finish(c);
    }
}

void conns_tell(struct server *server)
{
    const struct server_hooks *hooks = &server->hooks;

    for (struct conn *c; (c = server->dirty);) {
        server->dirty = c->dirty_next;
        c->dirty = false;
        if (c->out.len > 0 && hooks->output)
            hooks->output(hooks->ctx, c);
        if (!c->open && !c->closed_told) {
            c->closed_told = true;
            if (hooks->closed)
                hooks->closed(hooks->ctx, c);
        }
    }
}

void conn_close(struct conn *conn)
{
    struct server *server = conn->server;

    conn->closed_told = true;
    conn_end(conn);
    for (struct conn **at = &server->dirty; *at; at = &(*at)->dirty_next) {
        if (*at == conn) {
            *at = conn->dirty_next;
            break;
        }
    }
    *(conn->previous ? &conn->previous->next : &server->conns) = conn->next;
    *(conn->next ? &conn->next->previous : &server->conns_last) = conn->previous;
    buffer_deinit(&conn->in);
    buffer_deinit(&conn->out);
    free(conn->argv.items);
    free(conn);
}

struct buffer *conn_output(struct conn *conn)
{
    return &conn->out;
}

void *conn_ctx(const struct conn *conn)
{
    return conn->ctx;
}

struct server *conn_server(const struct conn *conn)
{
    return conn->server;
}

bool conn_is_open(const struct conn *conn)
{
    return conn->open;
}

uint64_t conn_id(const struct conn *conn)
{
    return conn->id;
}

bool conn_is_subscribed(const struct conn *conn)
{
    return conn->subscriptions > 0;
}
