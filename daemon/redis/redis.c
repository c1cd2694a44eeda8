/*
 * The outside of the store side: takes effects, gives events, and keeps the two connections.
 *
 * An effect is put into a queue and leaves with redis_flush. A lost connection is announced from a timer of
 * its own (EV_LINK_DOWN), because it may be noticed in the middle of a flush; only then are the requests
 * forgotten that will get no answer. A request for a connection that is not up is answered REPLY_NOT_SENT, from
 * the same timer.
 */
#include "daemon/redis/redis.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "daemon/redis/internal.h"

void redis_log(struct redis *redis, int level, const char *message, const char *format, ...)
{
    char fields[640];
    va_list args;

    if (!redis->config.on_log)
        return;
    va_start(args, format);
    vsnprintf(fields, sizeof(fields), format, args);
    va_end(args);
    redis->config.on_log(redis->config.ctx, level, message, fields);
}

void redis_emit(struct redis *redis, struct core_event *event)
{
    if (!redis->stopping)
        redis->config.on_event(redis->config.ctx, event);
}

/* ---- links going up and down ----------------------------------------------------------------------------- */

static void announce_down(struct redis *redis, enum core_link link)
{
    struct core_event e = {.type = EV_LINK_DOWN};
    bool was_up = redis->up[link];

    if (!redis->down[link])
        return;
    redis->down[link] = redis->up[link] = false;
    if (link == LINK_DATA)
        data_drop(redis);
    else
        subscription_drop(redis);
    e.link_down.link = link;
    if (was_up)
        redis_emit(redis, &e);
}

static void answer_unsent(struct redis *redis)
{
    struct queued q = redis->unsent;
    struct core_event e;

    redis->unsent = (struct queued){0};
    for (size_t i = 0; i < q.identity_count; i++) {
        e = (struct core_event){.type = EV_IDENTITY};
        e.identity.id = q.identities[i];
        e.identity.status = REPLY_NOT_SENT;
        redis_emit(redis, &e);
    }
    for (size_t i = 0; i < q.fetch_count; i++) {
        e = (struct core_event){.type = EV_FETCHED};
        e.fetched.id = q.fetches[i].id;
        e.fetched.status = REPLY_NOT_SENT;
        redis_emit(redis, &e);
    }
    for (size_t i = 0; i < q.write_count; i++) {
        e = (struct core_event){.type = EV_WRITTEN};
        e.written.id = q.writes[i].id;
        e.written.status = REPLY_NOT_SENT;
        redis_emit(redis, &e);
    }
    for (size_t i = 0; i < q.proposal_count; i++) {
        e = (struct core_event){.type = EV_PROPOSED};
        e.proposed.status = REPLY_NOT_SENT;
        redis_emit(redis, &e);
    }
    queued_clear(&q);
}

static void on_deferred(uv_timer_t *timer)
{
    struct redis *redis = timer->data;

    announce_down(redis, LINK_DATA);
    announce_down(redis, LINK_SUBSCRIPTION);
    answer_unsent(redis);
}

static void redis_defer(struct redis *redis)
{
    if (!redis->stopping)
        uv_timer_start(&redis->deferred, on_deferred, 0, 0);
}

void redis_link_up(struct redis *redis, struct connection *c)
{
    struct core_event e = {.type = EV_LINK_UP};

    announce_down(redis, c->role->link);
    redis->up[c->role->link] = true;
    e.link_up.link = c->role->link;
    e.link_up.master = c->master;
    e.link_up.run = c->run;
    redis_emit(redis, &e);
}

void redis_link_lost(struct redis *redis, struct connection *c)
{
    redis->down[c->role->link] = true;
    redis_defer(redis);
}

/* ---- effects --------------------------------------------------------------------------------------------- */

/* Room for one more in a growing array; NULL on ENOMEM, which resets the data connection at the next flush. */
static void *queue_more(struct redis *redis, void **items, size_t *count, size_t *room, size_t size)
{
    if (*count == *room) {
        size_t more = *room > 0 ? 2 * *room : 16;
        void *grown = realloc(*items, more * size);

        if (!grown) {
            redis->exhausted = true;
            return NULL;
        }
        *items = grown;
        *room = more;
    }
    return (uint8_t *)*items + size * (*count)++;
}

#define QUEUE_MORE(redis, q, name, plural) \
    queue_more(redis, (void **)&(q)->plural, &(q)->name##_count, &(q)->name##_room, sizeof(*(q)->plural))

static void queue_data(struct redis *redis, const struct core_effect *fx)
{
    bool up = redis->up[LINK_DATA];
    struct queued *q = up ? &redis->queued : &redis->unsent;

    if (!up)
        redis_defer(redis);
    if (fx->type == FX_IDENTITY) {
        uint64_t *id = QUEUE_MORE(redis, q, identity, identities);

        if (id)
            *id = fx->identity.id;
    } else if (fx->type == FX_PROPOSE) {
        struct propose_item *item = QUEUE_MORE(redis, q, proposal, proposals);

        if (item)
            *item = (struct propose_item){fx->propose.seen, fx->propose.run, fx->propose.min_seq,
                                          fx->propose.min_cleared};
    } else if (fx->type == FX_FETCH) {
        struct fetch_item *item = QUEUE_MORE(redis, q, fetch, fetches);

        if (item)
            *item = (struct fetch_item){
                .id = fx->fetch.id, .key = fx->fetch.key, .header_only = fx->fetch.header_only};
    } else {
        struct write_item *item = QUEUE_MORE(redis, q, write, writes);

        if (item)
            *item = (struct write_item){fx->write.id, fx->write.epoch, fx->write.run, fx->write.deadline_store_us,
                                        fx->write.request};
    }
}

void redis_execute(struct redis *redis, const struct core_effect *fx)
{
    if (redis->stopping)
        return;
    switch (fx->type) {
    case FX_RESET:
        redis->reset[fx->reset.link] = true;
        snprintf(redis->reset_text[fx->reset.link], sizeof(redis->reset_text[0]), "%s",
                 fx->reset.text ? fx->reset.text : "reset");
        break;
    case FX_SUBSCRIBE:
        if (redis->up[LINK_SUBSCRIPTION] && !redis->subscribed && redis->subscribe_sent_ns == 0)
            redis->subscribe_wanted = true;
        break;
    case FX_PING:
        if (redis->up[LINK_SUBSCRIPTION] && (redis->subscribed || redis->subscribe_sent_ns != 0))
            subscription_ping(redis, fx->ping.nonce);
        break;
    case FX_IDENTITY:
    case FX_PROPOSE:
    case FX_FETCH:
    case FX_WRITE:
        queue_data(redis, fx);
        break;
    default:
        break; /* not for Redis */
    }
}

void redis_flush(struct redis *redis)
{
    struct connection *connections[] = {&redis->data, &redis->subscription};

    if (redis->stopping)
        return;
    for (int link = 0; link < 2; link++) {
        if (redis->reset[link])
            connection_reset(connections[link], redis->reset_text[link]);
        redis->reset[link] = false;
    }
    data_flush(redis);
    subscription_flush(redis);
}

/* ---- status ---------------------------------------------------------------------------------------------- */

static void describe_trouble(const struct redis *redis)
{
    const struct connection *connections[] = {&redis->data, &redis->subscription};
    struct status_texts *texts = redis->texts;

    texts->trouble[0] = '\0';
    for (int link = 0; link < 2 && !texts->trouble[0]; link++) {
        const struct connection *c = connections[link];

        if (c->state != CONNECTION_READY)
            snprintf(texts->trouble, sizeof(texts->trouble), "no usable connection to Redis: %s",
                     c->reason[0] ? c->reason : "it is being made");
    }
}

void redis_get_status(const struct redis *redis, struct redis_status *ret_status)
{
    struct status_texts *texts = redis->texts;
    const struct connection *d = &redis->data, *s = &redis->subscription;

    connection_describe(d, texts->data_state, sizeof(texts->data_state));
    connection_describe(s, texts->subscription_state, sizeof(texts->subscription_state));
    describe_trouble(redis);
    *ret_status = (struct redis_status){
        .addr = redis->addr,
        .data_state = texts->data_state,
        .subscription_state = texts->subscription_state,
        .trouble = texts->trouble,
        .server_version = d->server_version,
        .role = d->server_role,
        .replicas = d->server_replicas,
        .durability = redis->durability.text,
        .persistence_trouble = redis->durability.trouble,
        .eviction = redis->durability.eviction,
        .max_bytes = redis->durability.max_bytes,
        .used_bytes = redis->durability.used_bytes,
        .connects = d->connects + s->connects,
        .connect_failures = d->connect_failures + s->connect_failures,
        .bytes_in = d->bytes_in + s->bytes_in,
        .bytes_out = d->bytes_out + s->bytes_out,
    };
}

/* ---- life ------------------------------------------------------------------------------------------------ */

static void redis_free(struct redis *redis)
{
    struct redis_config *c = &redis->config;
    const char *owned[] = {c->host,        c->unix_path,         c->username,
                           c->password,    c->key_prefix,        c->channel,
                           c->source,      redis->meta_key,      redis->record_prefix,
                           redis->channel, redis->pulse_channel, redis->sweep_pattern};

    data_drop(redis);
    queued_clear(&redis->unsent);
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
        free((void *)(uintptr_t)owned[i]);
    free(redis->texts);
    free(redis);
}

/* A copy that belongs to `redis`; *failed on ENOMEM. */
static char *copy_text(const char *text, bool *failed)
{
    char *copy = text ? strdup(text) : NULL;

    *failed = *failed || (text && !copy);
    return copy;
}

__attribute__((format(printf, 2, 3))) static char *make_text(bool *failed, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        text = NULL;
        *failed = true;
    }
    va_end(args);
    return text;
}

/* The pattern that SCAN matches the names of records with: no byte of the prefix may act as a wildcard. */
static char *make_pattern(const char *prefix, bool *failed)
{
    char *pattern = malloc(2 * strlen(prefix) + 2), *at = pattern;

    if (!pattern) {
        *failed = true;
        return NULL;
    }
    for (; *prefix != '\0'; prefix++) {
        if (strchr("*?[]^-\\", *prefix))
            *at++ = '\\';
        *at++ = *prefix;
    }
    *at++ = '*';
    *at = '\0';
    return pattern;
}

static int redis_make_texts(struct redis *redis, const struct redis_config *config)
{
    struct redis_config *c = &redis->config;
    bool failed = false;

    c->host = copy_text(config->host, &failed);
    c->unix_path = copy_text(config->unix_path, &failed);
    c->username = copy_text(config->username, &failed);
    c->password = copy_text(config->password, &failed);
    c->key_prefix = copy_text(config->key_prefix, &failed);
    c->channel = copy_text(config->channel, &failed);
    c->source = copy_text(config->source, &failed);
    redis->meta_key = make_text(&failed, "%s{0}!meta", config->key_prefix);
    redis->record_prefix = make_text(&failed, "%s{0}:", config->key_prefix);
    redis->channel = make_text(&failed, "%s:%u:%s{0}", config->channel, config->db, config->key_prefix);
    redis->pulse_channel =
        make_text(&failed, "%s:%u:%s{0}:pulse", config->channel, config->db, config->key_prefix);
    redis->texts = calloc(1, sizeof(*redis->texts));
    if (!failed)
        redis->sweep_pattern = make_pattern(redis->record_prefix, &failed);
    if (config->host)
        snprintf(redis->addr, sizeof(redis->addr), "%s:%u", config->host, config->port);
    else
        snprintf(redis->addr, sizeof(redis->addr), "unix:%s", config->unix_path);
    return failed || !redis->texts ? -ENOMEM : 0;
}

int redis_new(struct redis **ret, uv_loop_t *loop, const struct redis_config *config)
{
    struct redis *redis;
    int r;

    if (!config->host == !config->unix_path || strlen(config->source) > SOURCE_MAX ||
        (config->unix_path && strlen(config->unix_path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)))
        return -EINVAL;
    redis = calloc(1, sizeof(*redis));
    if (!redis)
        return -ENOMEM;
    redis->config = *config;
    redis->loop = loop;
    redis->last = &redis->first;
    r = redis_make_texts(redis, config);
    if (r < 0) {
        redis_free(redis);
        return r;
    }
    /* Initialising a timer cannot fail. */
    connection_init(&redis->data, redis, &redis->config, loop, &data_role);
    connection_init(&redis->subscription, redis, &redis->config, loop, &subscription_role);
    uv_timer_init(loop, &redis->deferred);
    uv_timer_init(loop, &redis->sweep.timer);
    redis->deferred.data = redis->sweep.timer.data = redis;
    redis->handles = 4;
    *ret = redis;
    return 0;
}

void redis_start(struct redis *redis)
{
    connection_start(&redis->data);
    connection_start(&redis->subscription);
}

void redis_handle_closed(struct redis *redis)
{
    void (*on_closed)(void *) = redis->on_closed;
    void *ctx = redis->closed_ctx;

    if (--redis->handles > 0)
        return;
    redis_free(redis);
    if (on_closed)
        on_closed(ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
    redis_handle_closed(handle->data);
}

static void on_connection_timer_closed(uv_handle_t *handle)
{
    redis_handle_closed(((struct connection *)handle->data)->redis);
}

void redis_stop(struct redis *redis, void (*on_closed)(void *ctx), void *ctx)
{
    redis->stopping = true;
    redis->on_closed = on_closed;
    redis->closed_ctx = ctx;
    connection_stop(&redis->data);
    connection_stop(&redis->subscription);
    uv_close((uv_handle_t *)&redis->data.timer, on_connection_timer_closed);
    uv_close((uv_handle_t *)&redis->subscription.timer, on_connection_timer_closed);
    uv_close((uv_handle_t *)&redis->deferred, on_timer_closed);
    uv_close((uv_handle_t *)&redis->sweep.timer, on_timer_closed);
}
