#include "daemon/redis/connection.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/redis/internal.h"
#include "daemon/redis/link.h"

#define BACKOFF_MIN_MS 10
#define READY_MIN_MS   20 /* picked: twice the first wait */

/* A look-up runs in another thread and cannot always be cancelled. */
struct resolving {
    uv_getaddrinfo_t request;
    struct connection *owner; /* NULL: given up */
};

static void connection_move(struct connection *c, enum connection_state state);

static void connection_drop_link(struct connection *c)
{
    link_drop(c);
    if (c->resolving) {
        c->resolving->owner = NULL;
        uv_cancel((uv_req_t *)&c->resolving->request);
        c->resolving = NULL;
    }
}

static void connection_forget_addresses(struct connection *c)
{
    if (c->addresses)
        uv_freeaddrinfo(c->addresses);
    c->addresses = c->address = NULL;
}

/* ---- failing and waiting ------------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

static void connection_wait(struct connection *c)
{
    uint64_t cap_ms = c->config->backoff_max_ns / NS_PER_MS, wait_ms;
    uint32_t jitter;

    wait_ms = BACKOFF_MIN_MS << (c->attempts < 16 ? c->attempts : 16);
    if (wait_ms > cap_ms)
        wait_ms = cap_ms > 2 ? cap_ms : 2;
    c->config->random(c->config->ctx, &jitter, sizeof(jitter));
    c->wait_ms = wait_ms / 2 + jitter % (wait_ms / 2 + 1);
    c->attempts++;
    c->state = CONNECTION_WAITING;
    uv_timer_start(&c->timer, on_timer, c->wait_ms, 0);
}

/* The reason once as a warning; the same reason again and again is only worth a debug line. */
static void connection_log_failure(struct connection *c, bool was_ready)
{
    bool repeated = strcmp(c->reason, c->logged) == 0;

    memcpy(c->logged, c->reason, sizeof(c->logged));
    redis_log(c->redis, repeated && (c->brief || !was_ready) ? 3 : 1,
              was_ready ? "connection to Redis lost" : "cannot connect to Redis",
              "connection=%s addr=%s reason=\"%s\"", c->role->name, c->redis->addr, c->reason);
}

void connection_fail(struct connection *c, const char *reason)
{
    bool was_ready = c->state == CONNECTION_READY;

    if (c->state == CONNECTION_STOPPED || c->state == CONNECTION_WAITING)
        return;
    if (reason != c->reason)
        snprintf(c->reason, sizeof(c->reason), "%s", reason);
    connection_drop_link(c);
    if (c->state == CONNECTION_CONNECTING && c->address && c->address->ai_next) {
        c->address = c->address->ai_next;
        connection_move(c, CONNECTION_CONNECTING);
        return;
    }
    connection_forget_addresses(c);
    if (was_ready)
        c->brief = uv_hrtime() - c->ready_at_ns < NS_PER_S;
    connection_log_failure(c, was_ready);
    if (was_ready) {
        /* One that falls down at once is not to be tried in a tight circle. */
        if (uv_hrtime() - c->ready_at_ns > READY_MIN_MS * NS_PER_MS)
            c->attempts = 0;
        c->role->on_lost(c);
    } else {
        c->connect_failures++;
    }
    connection_wait(c);
}

void connection_reset(struct connection *c, const char *reason)
{
    unsigned attempts = c->attempts;

    if (c->state != CONNECTION_READY)
        return;
    /* A server that is no use stays no use for a while: keep backing off. */
    if (uv_hrtime() - c->ready_at_ns > NS_PER_S)
        attempts = 0;
    connection_fail(c, reason);
    c->attempts = attempts;
    connection_wait(c);
}

/* An answer that is late may already lie in the socket, after a stop of this process for instance: the
 * connection is given up only if a second look, a turn of the loop later, finds it missing still. */
static void connection_check_answers(struct connection *c)
{
    uint64_t oldest = c->role->oldest_ns(c), check_ms = c->config->answer_deadline_ns / NS_PER_MS / 8;
    bool late = oldest != 0 && uv_hrtime() - oldest > c->config->answer_deadline_ns;

    if (late && c->overdue) {
        connection_fail(c, "no answer within the staleness bound");
        return;
    }
    c->overdue = late;
    uv_timer_start(&c->timer, on_timer, late || check_ms < 5 ? 5 : check_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *c = timer->data;

    switch (c->state) {
    case CONNECTION_WAITING:
        connection_move(c, c->config->unix_path ? CONNECTION_CONNECTING : CONNECTION_RESOLVING);
        break;
    case CONNECTION_READY:
        connection_check_answers(c);
        break;
    case CONNECTION_STOPPED:
        break;
    default:
        connection_fail(c, c->state == CONNECTION_RESOLVING    ? "name could not be resolved in time"
                           : c->state == CONNECTION_CONNECTING ? "no connection in time"
                                                               : "no answer in time");
    }
}

/* ---- the states --------------------------------------------------------------------------------------------- */

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct resolving *resolving = request->data;
    struct connection *c = resolving->owner;

    free(resolving);
    if (!c) {
        uv_freeaddrinfo(addresses);
        return;
    }
    c->resolving = NULL;
    if (status < 0) {
        connection_fail(c, uv_strerror(status));
        return;
    }
    c->addresses = c->address = addresses;
    connection_move(c, CONNECTION_CONNECTING);
}

static void enter_resolving(struct connection *c)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC, .ai_flags = AI_ADDRCONFIG};
    struct resolving *resolving = calloc(1, sizeof(*resolving));
    struct sockaddr_storage numeric;
    char port[8];
    int r;

    /* An address needs no look-up, and AI_ADDRCONFIG must not hide it. */
    if (uv_ip4_addr(c->config->host, 0, (struct sockaddr_in *)&numeric) == 0 ||
        uv_ip6_addr(c->config->host, 0, (struct sockaddr_in6 *)&numeric) == 0)
        hints.ai_flags = AI_NUMERICHOST;
    if (!resolving) {
        connection_fail(c, "out of memory");
        return;
    }
    snprintf(port, sizeof(port), "%u", c->config->port);
    resolving->owner = c;
    resolving->request.data = resolving;
    r = uv_getaddrinfo(c->loop, &resolving->request, on_resolved, c->config->host, port, &hints);
    if (r < 0) {
        free(resolving);
        connection_fail(c, uv_strerror(r));
        return;
    }
    c->resolving = resolving;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct link *link = request->handle->data;
    struct connection *c = link->owner;

    if (!c)
        return;
    if (status == 0)
        status = link_start_reading(link);
    if (status < 0) {
        connection_fail(c, uv_strerror(status));
        return;
    }
    connection_forget_addresses(c);
    link_set_options(c);
    c->connects++;
    connection_move(c, CONNECTION_AUTHENTICATING);
}

static void enter_connecting(struct connection *c)
{
    int r = link_new(c);

    if (r == 0 && c->config->unix_path)
        uv_pipe_connect(&c->link->connect, &c->link->pipe, c->config->unix_path, on_connected);
    else if (r == 0)
        r = uv_tcp_connect(&c->link->connect, &c->link->tcp, c->address->ai_addr, on_connected);
    if (r < 0)
        connection_fail(c, uv_strerror(r));
}

/* Without AUTH this would be the default user. A nopass user may give any password, an empty one too. */
static void enter_authenticating(struct connection *c)
{
    const char *username = c->config->username, *password = c->config->password;

    if (!username && !password) {
        connection_move(c, CONNECTION_SELECTING);
        return;
    }
    resp_command(&c->out, username ? 3 : 2);
    resp_argument_text(&c->out, "AUTH");
    if (username)
        resp_argument_text(&c->out, username);
    resp_argument_text(&c->out, password ? password : "");
    c->expected = 1;
}

static void enter_selecting(struct connection *c)
{
    if (c->config->db == 0) {
        connection_move(c, CONNECTION_IDENTIFYING);
        return;
    }
    resp_command(&c->out, 2);
    resp_argument_text(&c->out, "SELECT");
    resp_argument_number(&c->out, c->config->db);
    c->expected = 1;
}

static void enter_identifying(struct connection *c)
{
    static const char *const sections[] = {"server", "replication"};

    for (int i = 0; i < 2; i++) {
        resp_command(&c->out, 2);
        resp_argument_text(&c->out, "INFO");
        resp_argument_text(&c->out, sections[i]);
    }
    c->expected = 2;
}

static void enter_preparing(struct connection *c)
{
    c->expected = c->role->prepare(c);
    if (c->expected == 0)
        connection_move(c, CONNECTION_READY);
}

static void enter_ready(struct connection *c)
{
    c->ready_at_ns = uv_hrtime();
    c->overdue = false;
    redis_log(c->redis, c->brief ? 3 : 2, "connected to Redis", "connection=%s addr=%s version=%s role=%s run=%s",
              c->role->name, c->redis->addr, c->server_version, c->server_role, c->run.text);
    connection_check_answers(c);
    c->role->on_ready(c);
}

static const char *simple_on_reply(struct connection *c, const redisReply *reply)
{
    (void)c;
    return reply->type == REDIS_REPLY_STATUS ? NULL : "unexpected answer to AUTH or SELECT";
}

static const char *identifying_on_reply(struct connection *c, const redisReply *reply)
{
    struct run_id history; /* can change while connected: every heartbeat reads it */

    if (!reply_is_string(reply))
        return "unexpected answer to INFO";
    if (c->seen == 1 && !info_decode_server(reply_text(reply), &c->run, c->server_version))
        return "INFO says no run_id";
    if (c->seen == 2 && !info_decode_replication(reply_text(reply), &c->master, &history, c->server_role))
        return "INFO says no role";
    return NULL;
}

static const char *preparing_on_reply(struct connection *c, const redisReply *reply)
{
    return c->role->on_prepared(c, c->seen - 1, reply);
}

/* Before ready, every state asks its questions, takes its answers and moves to the next. */
static const struct {
    const char *name;
    void (*enter)(struct connection *c);
    const char *(*on_reply)(struct connection *c, const redisReply *reply);
    uint64_t deadline_ms; /* 1 s per question; name servers take longer. Picked. */
} states[] = {
    [CONNECTION_WAITING] = {"waiting", NULL, NULL, 0},
    [CONNECTION_RESOLVING] = {"resolving", enter_resolving, NULL, 5000},
    [CONNECTION_CONNECTING] = {"connecting", enter_connecting, NULL, 1000},
    [CONNECTION_AUTHENTICATING] = {"authenticating", enter_authenticating, simple_on_reply, 1000},
    [CONNECTION_SELECTING] = {"selecting the database", enter_selecting, simple_on_reply, 1000},
    [CONNECTION_IDENTIFYING] = {"asking for INFO", enter_identifying, identifying_on_reply, 1000},
    [CONNECTION_PREPARING] = {"preparing", enter_preparing, preparing_on_reply, 1000},
    [CONNECTION_READY] = {"ready", enter_ready, NULL, 0},
    [CONNECTION_STOPPED] = {"stopped", NULL, NULL, 0},
};

/* How long the state may take. A connect that got no answer within H is better tried anew: the kernel repeats
 * a lost SYN only after 1 s. */
static uint64_t state_deadline_ms(const struct connection *c, enum connection_state state)
{
    uint64_t deadline_ms = states[state].deadline_ms, backoff_ms = c->config->backoff_max_ns / NS_PER_MS;

    if (state == CONNECTION_CONNECTING && backoff_ms < deadline_ms)
        return backoff_ms < 200 ? 200 : backoff_ms;
    return deadline_ms;
}

static void connection_move(struct connection *c, enum connection_state state)
{
    uint64_t deadline_ms = state_deadline_ms(c, state);

    c->state = state;
    c->expected = c->seen = 0;
    if (deadline_ms > 0)
        uv_timer_start(&c->timer, on_timer, deadline_ms, 0);
    states[state].enter(c);
    if (c->state == state)
        connection_flush(c);
}

static const char *handshake_on_reply(struct connection *c, const redisReply *reply)
{
    char printable[128];
    const char *error;

    if (c->seen == c->expected)
        return "an answer to no question";
    c->seen++;
    if (c->state != CONNECTION_PREPARING && reply_is_error(reply)) {
        struct slice text = error_text(printable, sizeof(printable), reply);

        snprintf(c->reason, sizeof(c->reason), "%s: %.*s", states[c->state].name, (int)text.len, printable);
        if (reply_has_code(reply, "NOPERM") && strcmp(c->reason, c->logged) != 0)
            redis_log(c->redis, 0, "this Redis user needs the right to INFO and SELECT", "connection=%s user=%s",
                      c->role->name, c->config->username ? c->config->username : "default");
        return c->reason;
    }
    error = states[c->state].on_reply(c, reply);
    if (error)
        return error;
    if (c->seen == c->expected)
        connection_move(c, c->state + 1);
    return NULL;
}

const char *connection_on_reply(struct connection *c, const redisReply *reply)
{
    return c->state == CONNECTION_READY ? c->role->on_reply(c, reply) : handshake_on_reply(c, reply);
}

/* ---- from outside ------------------------------------------------------------------------------------------- */

int connection_init(struct connection *c, struct redis *redis, const struct redis_config *config, uv_loop_t *loop,
                    const struct connection_role *role)
{
    c->redis = redis;
    c->config = config;
    c->loop = loop;
    c->role = role;
    /* The longest string we ask for is a record; the longest we are sent is a message. */
    c->bulk_max = MESSAGE_HEAD_BYTES + config->max_key + RECORD_HEAD_MAX + 1 +
                  (config->max_value > MESSAGE_CARRY_MAX ? config->max_value : MESSAGE_CARRY_MAX);
    c->out_max = CONNECTION_OUT_MAX + 2 * (config->max_key + config->max_value);
    c->timer.data = c;
    return uv_timer_init(loop, &c->timer);
}

void connection_start(struct connection *c)
{
    uv_timer_start(&c->timer, on_timer, 0, 0);
}

void connection_describe(const struct connection *c, char *ret, size_t len)
{
    if (c->state == CONNECTION_WAITING && c->reason[0] != '\0')
        snprintf(ret, len, "waiting %llu ms: %s", (unsigned long long)c->wait_ms, c->reason);
    else if (c->state != CONNECTION_READY && c->reason[0] != '\0')
        snprintf(ret, len, "%s; before: %s", states[c->state].name, c->reason);
    else
        snprintf(ret, len, "%s", states[c->state].name);
}

void connection_stop(struct connection *c)
{
    c->state = CONNECTION_STOPPED;
    connection_drop_link(c);
    connection_forget_addresses(c);
    buffer_deinit(&c->out);
    uv_timer_stop(&c->timer);
}
