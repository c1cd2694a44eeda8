/* Commands about the connection and its user: PING, ECHO, QUIT, AUTH, SELECT, CLIENT, ACL, WAIT. */
#include <stdio.h>

#include "tests/sim/redis/internal.h"

void cmd_ping(struct call *call)
{
    if (call->argc > 2) {
        reply_error(call, "ERR wrong number of arguments for 'ping' command");
        return;
    }
    if (call->conn && call->conn->subscriptions > 0) {
        reply_array(call, 2);
        reply_text(call, "pong");
        reply_bulk(call, call->argc == 2 ? call->argv[1] : slice_text(""));
    } else if (call->argc == 2) {
        reply_bulk(call, call->argv[1]);
    } else {
        reply_status(call, "PONG");
    }
}

void cmd_echo(struct call *call)
{
    reply_bulk(call, call->argv[1]);
}

void cmd_quit(struct call *call)
{
    reply_status(call, "OK");
    conn_finish(call->conn);
}

void cmd_auth(struct call *call)
{
    struct server *server = call->server;
    struct user *user = user_default(server);

    if (call->argc > 3) {
        reply_error(call, "%s", error_syntax);
        return;
    }
    if (call->argc == 2 && !user_needs_password(user)) {
        reply_error(call, "ERR AUTH <password> called without any password configured for the default user. Are "
                          "you sure your configuration is correct?");
        return;
    }
    if (call->argc == 3)
        user = user_find(server, call->argv[1]);
    if (!user || !user_takes(user, call->argv[call->argc - 1])) {
        server->hindered++;
        reply_error(call, "WRONGPASS invalid username-password pair or user is disabled.");
        return;
    }
    call->conn->user = user;
    call->conn->authenticated = true;
    reply_status(call, "OK");
}

void cmd_select(struct call *call)
{
    int64_t db;

    if (!argument_int(call, 1, &db))
        return;
    if (db < 0 || db >= SERVER_DATABASES) {
        reply_error(call, "ERR DB index is out of range");
        return;
    }
    *call->db = (unsigned)db;
    reply_status(call, "OK");
}

/* ---- CLIENT ---------------------------------------------------------------------------------------------- */

void cmd_client_id(struct call *call)
{
    reply_integer(call, (int64_t)call->conn->id);
}

void cmd_client_setname(struct call *call)
{
    struct slice name = call->argv[2];

    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] < '!' || name.data[i] > '~') {
            reply_error(call, "ERR Client names cannot contain spaces, newlines or special characters.");
            return;
        }
    }
    snprintf(call->conn->name, sizeof(call->conn->name), "%.*s", (int)name.len, (const char *)name.data);
    reply_status(call, "OK");
}

void cmd_client_getname(struct call *call)
{
    if (call->conn->name[0] != '\0')
        reply_text(call, call->conn->name);
    else
        reply_nil(call);
}

struct kill {
    int64_t id;
    int pubsub; /* 1: subscribers, 0: the others, -1: all */
    struct user *user;
    bool skip_me;
};

static bool kill_parse_type(struct call *call, struct slice type, struct kill *k)
{
    static const char *const others[] = {"normal", "master", "slave", "replica"};

    if (slice_is(type, "pubsub")) {
        k->pubsub = 1;
        return true;
    }
    for (size_t i = 0; i < 4; i++) {
        if (slice_is(type, others[i])) {
            k->pubsub = i == 0 ? 0 : 2; /* nobody is of the others */
            return true;
        }
    }
    reply_error(call, "ERR Unknown client type '%.*s'", (int)type.len, (const char *)type.data);
    return false;
}

static bool kill_parse_pair(struct call *call, struct slice name, struct slice value, struct kill *k)
{
    if (slice_is(name, "id")) {
        if (slice_to_int(value, &k->id) && k->id > 0)
            return true;
        reply_error(call, "ERR client-id should be greater than 0");
        return false;
    }
    if (slice_is(name, "type"))
        return kill_parse_type(call, value, k);
    if (slice_is(name, "user")) {
        k->user = user_find(call->server, value);
        if (!k->user)
            reply_error(call, "ERR No such user '%.*s'", (int)value.len, (const char *)value.data);
        return k->user;
    }
    if (slice_is(name, "skipme") && (slice_is(value, "yes") || slice_is(value, "no"))) {
        k->skip_me = slice_is(value, "yes");
        return true;
    }
    reply_error(call, "%s", error_syntax);
    return false;
}

/* Connections have no addresses here: CLIENT KILL ADDR is a syntax error, the form with one argument finds none.
 */
void cmd_client_kill(struct call *call)
{
    struct kill k = {.pubsub = -1, .skip_me = true};
    int64_t killed = 0;

    if (call->argc == 3) {
        reply_error(call, "ERR No such client");
        return;
    }
    if (call->argc % 2 != 0) {
        reply_error(call, "%s", error_syntax);
        return;
    }
    for (size_t i = 2; i < call->argc; i += 2) {
        if (!kill_parse_pair(call, call->argv[i], call->argv[i + 1], &k))
            return;
    }
    for (struct conn *c = call->server->conns; c; c = c->next) {
        if (!c->open || (k.id && c->id != (uint64_t)k.id) || (k.user && c->user != k.user) ||
            (k.pubsub >= 0 && k.pubsub != (c->subscriptions > 0)) || (c == call->conn && k.skip_me))
            continue;
        killed++;
        if (c != call->conn)
            conn_end(c);
    }
    reply_integer(call, killed);
    if (!k.skip_me && (!k.id || call->conn->id == (uint64_t)k.id) && k.pubsub <= 0)
        conn_finish(call->conn); /* it still gets its answer */
}

/* ---- ACL ------------------------------------------------------------------------------------------------- */

void cmd_acl_setuser(struct call *call)
{
    size_t bad = 0;
    const char *error = user_change(call->server, call->argv[2], call->argv + 3, call->argc - 3, &bad);

    if (error)
        reply_error(call, "ERR Error in ACL SETUSER modifier '%.*s': %s", (int)call->argv[3 + bad].len,
                    (const char *)call->argv[3 + bad].data, error);
    else
        reply_status(call, "OK");
}

void cmd_acl_whoami(struct call *call)
{
    reply_text(call, user_name(call->user));
}

/* ---- WAIT ------------------------------------------------------------------------------------------------ */

void cmd_wait(struct call *call)
{
    struct conn *conn = call->conn;
    int64_t replicas, timeout;
    unsigned acked;

    if (!server_is_master(call->server)) {
        reply_error(call,
                    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if "
                    "a replica is configured to be writable (which is not the default) writes to replicas "
                    "are just local and are not propagated.");
        return;
    }
    if (!argument_int(call, 1, &replicas))
        return;
    if (!slice_to_int(call->argv[2], &timeout)) {
        reply_error(call, "ERR timeout is not an integer or out of range");
        return;
    }
    if (timeout < 0) {
        reply_error(call, "ERR timeout is negative");
        return;
    }
    acked = replicas_that_acked(call->server, conn->written);
    if ((int64_t)acked >= replicas) {
        reply_integer(call, acked);
        return;
    }
    conn->blocked = true;
    conn->wait_offset = conn->written;
    conn->wait_replicas = replicas < UINT32_MAX ? (unsigned)replicas : UINT32_MAX;
    conn->wait_until =
        timeout > 0 && timeout < INT64_MAX / 1000000 ? call->now + (uint64_t)timeout * 1000000 : UINT64_MAX;
    call->server->blocked_count++;
}
