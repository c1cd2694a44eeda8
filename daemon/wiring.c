#include "daemon/wiring.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

uint64_t daemon_clock(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

void daemon_random(struct daemon *d, void *bytes, size_t len)
{
    uint8_t *to = bytes;

    while (len > 0) {
        size_t part;

        if (d->random_used == RANDOM_POOL) {
            /* Up to 256 bytes at a time getrandom is neither interrupted nor short once the kernel is seeded. */
            for (size_t at = 0; at < RANDOM_POOL; at += 256)
                while (getrandom(d->random + at, 256, 0) != 256)
                    ;
            d->random_used = 0;
        }
        part = RANDOM_POOL - d->random_used < len ? RANDOM_POOL - d->random_used : len;
        memcpy(to, d->random + d->random_used, part);
        explicit_bzero(d->random + d->random_used, part);
        d->random_used += part;
        to += part;
        len -= part;
    }
}

/* ---- effects ---------------------------------------------------------------------------------------------- */

static void log_rejected(struct daemon *d, const struct core_effect *effect, uint64_t now)
{
    log_event(d->log, now, LOG_LEVEL_INFO, "STALE DATA REJECTED", LOG_SLICE("key", effect->note.key),
              LOG_UINT("stale_version", effect->note.version),
              LOG_UINT("current_version", effect->note.current_version),
              LOG_UINT("version_diff", effect->note.current_version - effect->note.version),
              LOG_SLICE("source", effect->note.source), LOG_TEXT("origin", effect->note.origin));
}

#define EVENTS_LOGGED 12 /* picked: they fit into a line */
#define EVENT_TEXT    112
#define EVENTS_TEXT   (16 + EVENTS_LOGGED * EVENT_TEXT)

static int event_text(const struct trace_record *r, uint64_t now, char text[EVENT_TEXT])
{
    const char *detail = trace_detail_name(r);
    char version[32] = "", seq[32] = "";

    if (r->version > 0)
        snprintf(version, sizeof(version), " version %llu", (unsigned long long)r->version);
    if (r->seq > 0)
        snprintf(seq, sizeof(seq), " seq %llu", (unsigned long long)r->seq);
    return snprintf(text, EVENT_TEXT, "%llu ms before: %s%s%s%s%s%s",
                    (unsigned long long)((now - r->at) / NS_PER_MS), trace_kind_words((enum trace_kind)r->kind),
                    detail[0] ? " (" : "", detail, detail[0] ? ")" : "", version, seq);
}

/* events="1204 ms before: message received (applied) version 3 seq 17; ...": nothing but the daemon's own words.
 */
static void events_text(const struct daemon *d, struct slice key, uint64_t now, char text[EVENTS_TEXT])
{
    struct trace_record records[EVENTS_LOGGED];
    unsigned count = core_trace(d->core, key, EVENTS_LOGGED, records);
    size_t len = (size_t)snprintf(text, EVENTS_TEXT, "events=\"");

    for (unsigned i = 0; i < count; i++) {
        char one[EVENT_TEXT];

        if (event_text(&records[i], now, one) >= EVENT_TEXT - 2)
            continue;
        len += (size_t)snprintf(text + len, EVENTS_TEXT - len, "%s%s", i > 0 ? "; " : "", one);
    }
    snprintf(text + len, EVENTS_TEXT - len, "\"");
}

static void log_inconsistent(struct daemon *d, const struct core_effect *effect, uint64_t now)
{
    char events[EVENTS_TEXT];

    events_text(d, effect->note.key, now, events);
    log_event(d->log, now, LOG_LEVEL_ERROR, "INCONSISTENT: the cached copy was dropped",
              LOG_SLICE("key", effect->note.key), LOG_UINT("cached_version", effect->note.version),
              LOG_UINT("cached_seq", effect->note.seq), LOG_UINT("redis_version", effect->note.current_version),
              LOG_UINT("redis_seq", effect->note.current_seq), LOG_TEXT("cause", effect->note.text),
              LOG_RAW(events));
}

static void log_readiness(struct daemon *d, const struct core_effect *effect, uint64_t now)
{
    bool ready = effect->note.kind == NOTE_READY;

    if (ready)
        log_line(d->log, now, LOG_LEVEL_INFO, "ready");
    else
        log_event(d->log, now, LOG_LEVEL_WARNING, "not ready: reads are refused unless Redis can be asked",
                  LOG_TEXT("cause", effect->note.text));
    daemon_report(d);
}

static void log_note(struct daemon *d, const struct core_effect *effect, uint64_t now)
{
    const char *text = effect->note.text ? effect->note.text : "";

    switch (effect->note.kind) {
    case NOTE_REJECTED:
        log_rejected(d, effect, now);
        break;
    case NOTE_READY:
    case NOTE_NOT_READY:
        log_readiness(d, effect, now);
        break;
    case NOTE_HOOK:
        log_event(d->log, now, LOG_LEVEL_INFO, "the hook rejected a value", LOG_SLICE("key", effect->note.key),
                  LOG_UINT("version", effect->note.version), LOG_SLICE("source", effect->note.source));
        break;
    case NOTE_GAP:
        log_event(d->log, now, LOG_LEVEL_WARNING, "messages are missing: a new generation begins",
                  LOG_UINT("seq", effect->note.seq), LOG_UINT("last", effect->note.current_seq));
        break;
    case NOTE_EPOCH:
        log_event(d->log, now, LOG_LEVEL_WARNING, "new epoch", LOG_TEXT("cause", text));
        break;
    case NOTE_BAD_MESSAGE:
        log_event(d->log, now, LOG_LEVEL_WARNING, "unreadable message", LOG_TEXT("text", text));
        break;
    case NOTE_BAD_RECORD:
        log_event(d->log, now, LOG_LEVEL_WARNING, "unreadable record in Redis", LOG_SLICE("key", effect->note.key),
                  LOG_TEXT("text", text));
        break;
    case NOTE_INCONSISTENT:
        log_inconsistent(d, effect, now);
        break;
    case NOTE_WRITES:
        if (text[0])
            log_event(d->log, now, LOG_LEVEL_WARNING, "writes are not possible", LOG_TEXT("cause", text));
        else
            log_line(d->log, now, LOG_LEVEL_INFO, "the write path is proven");
        break;
    case NOTE_UPDATE:
    case NOTE_DELETE:
    case NOTE_LOCAL:
        break; /* for watchers only */
    }
}

static void carry_out(struct daemon *d, const struct core_effect *effect, uint64_t now)
{
    switch (effect->type) {
    case FX_READ_DONE:
    case FX_WRITE_DONE:
    case FX_INSPECT_DONE:
        ops_done(d->ops, effect, now);
        break;
    case FX_NOTE:
        log_note(d, effect, now);
        ops_note(d->ops, effect, now);
        break;
    default:
        d->heartbeats_asked += effect->type == FX_IDENTITY;
        d->asked_redis = true;
        redis_execute(d->redis, effect);
        break;
    }
}

void daemon_step(struct daemon *d, const struct core_event *event)
{
    const struct core_effect *effect;

    core_step(d->core, event);
    while ((effect = core_next_effect(d->core)) != NULL)
        carry_out(d, effect, event->now);
}

void wiring_on_tick(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    struct core_event event = {.type = EV_TICK, .now = daemon_clock()};

    if (d->tick_due > 0 && event.now > d->tick_due) /* 0: as soon as possible */
        histogram_add(&d->loop_lag, event.now - d->tick_due);
    d->tick_due = UINT64_MAX;
    daemon_step(d, &event);
    if (core_next_deadline(d->core) > event.now)
        progress_settled(&d->progress, uv_hrtime());
}

static void set_tick(struct daemon *d)
{
    uint64_t due = core_next_deadline(d->core), now;

    if (due == d->tick_due)
        return;
    d->tick_due = due;
    if (due == UINT64_MAX) {
        uv_timer_stop(&d->tick);
        return;
    }
    now = daemon_clock();
    /* Rounded up: a tick before its time would do nothing. */
    uv_timer_start(&d->tick, wiring_on_tick, due > now ? (due - now + NS_PER_MS - 1) / NS_PER_MS : 0, 0);
}

void daemon_before_poll(struct daemon *d)
{
    /* What Redis could not take may come back as answers, which may ask again. */
    for (int i = 0; i < 4 && (d->asked_redis || i == 0); i++) {
        d->asked_redis = false;
        redis_flush(d->redis);
    }
    connections_before_poll(d->conns);
    set_tick(d);
}

/* ---- net -------------------------------------------------------------------------------------------------- */

void wiring_on_accept(void *ctx, int fd, const struct peer *peer)
{
    struct daemon *d = ctx;

    connections_adopt(d->conns, fd, peer);
}

static void on_opened(void *ctx, uint64_t client, const struct peer *peer)
{
    struct daemon *d = ctx;

    connection_get_note(d->conns, client)->opened_at = daemon_clock();
    permit_client(d, client);
    if (log_wants(d->log, LOG_LEVEL_DEBUG))
        log_event(d->log, daemon_clock(), LOG_LEVEL_DEBUG, "client connected", LOG_UINT("client", client),
                  LOG_UINT("uid", peer->uid), LOG_UINT("pid", peer->pid));
}

static void on_closed(void *ctx, uint64_t client)
{
    struct daemon *d = ctx;

    ops_client_closed(d->ops, client);
    if (log_wants(d->log, LOG_LEVEL_DEBUG))
        log_event(d->log, daemon_clock(), LOG_LEVEL_DEBUG, "client gone", LOG_UINT("client", client));
}

static enum frame_result on_frame(void *ctx, uint64_t client, struct slice frame)
{
    static const enum frame_result results[] = {
        [OPS_TAKEN] = FRAME_TAKEN,
        [OPS_UNANSWERED] = FRAME_UNANSWERED,
        [OPS_MALFORMED] = FRAME_MALFORMED,
    };
    struct daemon *d = ctx;
    struct connection_note *note = connection_get_note(d->conns, client);

    note->asked_at = daemon_clock();
    note->method = METHOD_COUNT; /* until ops has found it */
    return results[ops_request(d->ops, client, frame, note->asked_at)];
}

static void on_bad_frame(void *ctx, uint64_t client, struct slice begin, enum scan_result what)
{
    struct daemon *d = ctx;
    struct buffer *b = connection_answer_begin(d->conns, client);

    if (!b)
        return;
    if (what == SCAN_TOO_LARGE)
        ops_pack_refusal(b, begin, RPC_TOO_LARGE, "the message is longer than max_message, which hello says");
    else if (what == SCAN_TOO_DEEP)
        ops_pack_refusal(b, begin, RPC_MALFORMED, "the message is nested too deeply");
    else
        ops_pack_refusal(b, begin, RPC_MALFORMED, "not MessagePack: a byte 0xc1");
    connection_answer_end(d->conns, client);
}

static void on_full(void *ctx, const struct peer *peer, struct buffer *message)
{
    struct daemon *d = ctx;
    bool admin = peer->door == DOOR_ADMIN;

    log_event(d->log, daemon_clock(), LOG_LEVEL_WARNING, "client turned away: there are as many as may be",
              LOG_TEXT("socket", admin ? "admin" : "main"), LOG_UINT("uid", peer->uid),
              LOG_UINT("pid", peer->pid));
    rpc_pack_error(message, 0, RPC_BUSY,
                   admin ? "the admin socket has as many clients as it may"
                         : "the daemon has as many clients as it may: [limits] connections, dcachectl clients");
}

struct connections_config wiring_connections_config(struct daemon *d, unsigned max_connections)
{
    return (struct connections_config){
        .max_connections = {max_connections, d->config->listen.admin_socket[0] ? ADMIN_CONNECTIONS : 0},
        .in_flight_max = PROTO_IN_FLIGHT_MAX,
        .max_message = d->max_message,
        .budget_bytes = d->config->limits.buffers,
        .on_frame = on_frame,
        .on_bad_frame = on_bad_frame,
        .on_opened = on_opened,
        .on_full = on_full,
        .on_closed = on_closed,
        .ctx = d,
    };
}

/* ---- ops -------------------------------------------------------------------------------------------------- */

static void ops_step(void *ctx, const struct core_event *event)
{
    daemon_step(ctx, event);
}

static void random_bytes(void *ctx, void *bytes, size_t len)
{
    daemon_random(ctx, bytes, len);
}

static struct buffer *on_answer_begin(void *ctx, uint64_t client)
{
    return connection_answer_begin(((struct daemon *)ctx)->conns, client);
}

static void on_answer_end(void *ctx, uint64_t client)
{
    connection_answer_end(((struct daemon *)ctx)->conns, client);
}

static struct buffer *on_event_begin(void *ctx, uint64_t client)
{
    return connection_event_begin(((struct daemon *)ctx)->conns, client);
}

static void on_event_end(void *ctx, uint64_t client)
{
    connection_event_end(((struct daemon *)ctx)->conns, client);
}

static bool has_room(void *ctx, uint64_t client, size_t len)
{
    return connection_has_room(((struct daemon *)ctx)->conns, client, len);
}

static size_t queued_bytes(void *ctx, uint64_t client)
{
    return connection_queued_bytes(((struct daemon *)ctx)->conns, client);
}

static void spend(void *ctx, uint64_t client, unsigned gets)
{
    connection_spend(((struct daemon *)ctx)->conns, client, gets);
}

#define REDIS_COUNTERS(X) X(connects) X(connect_failures) X(bytes_in) X(bytes_out)

void wiring_net_counters(const struct daemon *d, struct net_counters *ret)
{
    struct listener_counters listener;

    connections_get_counters(d->conns, ret);
    listener_get_counters(d->listener, &listener);
    ret->accept_pauses = listener.accept_pauses;
    ret->accept_errors = listener.accept_errors;
}

/* Those of net, then those of redis (with `redis_` before their names). */
static const char *counter_at(void *ctx, unsigned index, uint64_t *ret_value)
{
    static const char *const names[] = {
#define X(name, help) #name,
        NET_COUNTERS(X)
#undef X
#define X(name) "redis_" #name,
            REDIS_COUNTERS(X)
#undef X
    };
    struct daemon *d = ctx;
    struct net_counters net;
    struct redis_status redis;

    if (index >= sizeof(names) / sizeof(names[0]))
        return NULL;
    wiring_net_counters(d, &net);
    redis_get_status(d->redis, &redis);
    *ret_value = (const uint64_t[]){
#define X(name, help) net.name,
        NET_COUNTERS(X)
#undef X
#define X(name) redis.name,
            REDIS_COUNTERS(X)
#undef X
    }[index];
    return names[index];
}

struct ops_config wiring_ops_config(struct daemon *d)
{
    const struct config *c = d->config;

    return (struct ops_config){
        .core = d->core,
        .pod = c->pod.id,
        .reader = c->pod.role == ROLE_READER,
        .bound_ns = c->staleness.bound_ns,
        .max_stale_ns = c->staleness.max_stale_ns,
        .max_key = c->cache.max_key,
        .max_value = c->cache.max_value,
        .max_message = d->max_message,
        .timeout_ns = c->limits.timeout_ns,
        .default_ttl_ms = c->cache.default_ttl_ns / NS_PER_MS,
        .tombstone_ttl_ms = c->staleness.tombstone_ttl_ns / NS_PER_MS,
        .carry_value = c->cache.propagate == PROPAGATE_VALUE,
        .refuse = permit_refuse,
        .step = ops_step,
        .random = random_bytes,
        .answer_begin = on_answer_begin,
        .answer_end = on_answer_end,
        .event_begin = on_event_begin,
        .event_end = on_event_end,
        .has_room = has_room,
        .queued_bytes = queued_bytes,
        .spend = spend,
        .describe = about_describe,
        .trouble = about_trouble,
        .named = about_client_named,
        .client_at = about_client_at,
        .setting_at = about_setting_at,
        .log_level = about_log_level,
        .counter = counter_at,
        .ctx = d,
    };
}

/* ---- redis ------------------------------------------------------------------------------------------------ */

static void on_redis_event(void *ctx, struct core_event *event)
{
    struct daemon *d = ctx;

    /* At the end nobody is left to be answered. */
    if (d->finished)
        return;
    event->now = daemon_clock();
    daemon_step(d, event);
}

static void on_redis_log(void *ctx, int level, const char *message, const char *fields)
{
    struct daemon *d = ctx;

    log_event(d->log, daemon_clock(), (enum log_level)level, message, LOG_RAW(fields));
}

struct redis_config wiring_redis_config(struct daemon *d)
{
    const struct config *c = d->config;

    return (struct redis_config){
        .host = c->redis.host,
        .port = c->redis.port,
        .unix_path = c->redis.unix_path,
        .username = c->redis.username[0] ? c->redis.username : NULL,
        .password = c->redis.password,
        .db = c->redis.db,
        .key_prefix = c->redis.key_prefix,
        .channel = c->redis.invalidation_channel,
        .source = c->pod.id,
        .max_key = c->cache.max_key,
        .max_value = c->cache.max_value,
        .answer_deadline_ns = c->staleness.bound_ns,
        .backoff_max_ns = c->staleness.bound_ns / 4,
        .may_write = c->pod.may_write,
        .min_replicas = c->staleness.min_replicas,
        .on_event = on_redis_event,
        .on_log = on_redis_log,
        .random = random_bytes,
        .ctx = d,
    };
}
