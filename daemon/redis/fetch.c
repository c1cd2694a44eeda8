/* Reading: identity, and fetches between two reads of meta. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/redis/internal.h"

static void meta_command(struct redis *redis)
{
    static const char *const fields[] = {"epoch", "run", "seq", "cleared"};
    struct buffer *out = &redis->data.out;

    resp_command(out, 6);
    resp_argument_text(out, "HMGET");
    resp_argument_text(out, redis->meta_key);
    for (int i = 0; i < 4; i++)
        resp_argument_text(out, fields[i]);
}

static void info_command(struct buffer *out, const char *section)
{
    resp_command(out, 2);
    resp_argument_text(out, "INFO");
    resp_argument_text(out, section);
}

/* A key of another type under the name of meta is as good as an unreadable field: a new epoch replaces it.
 * False: an error, or another shape. */
static bool meta_take(const redisReply *reply, struct meta *ret_meta)
{
    struct slice fields[4] = {{0}};

    if (reply_has_code(reply, "WRONGTYPE")) {
        *ret_meta = (struct meta){.state = META_INVALID, .cleared_unknown = true};
        return true;
    }
    if (!reply_is_array(reply, 4))
        return false;
    for (int i = 0; i < 4; i++) {
        if (reply_is_string(reply->element[i]))
            fields[i] = reply_text(reply->element[i]);
    }
    meta_decode(fields, ret_meta);
    return true;
}

static struct slice describe(struct pending *p, const redisReply *reply, const char *otherwise)
{
    return reply_is_error(reply) ? error_text(p->text, sizeof(p->text), reply) : slice_text(otherwise);
}

/* ---- identity -------------------------------------------------------------------------------------------- */

static bool time_take(const redisReply *reply, uint64_t *ret_us)
{
    struct slice seconds, micros;
    uint64_t s, us;

    if (!reply_is_array(reply, 2) || !reply_is_string(reply->element[0]) || !reply_is_string(reply->element[1]))
        return false;
    seconds = reply_text(reply->element[0]);
    micros = reply_text(reply->element[1]);
    if (seconds.len < 1 || seconds.len > 12 || micros.len < 1 || micros.len > 6)
        return false;
    if (!take_number(&seconds, seconds.len, &s) || !take_number(&micros, micros.len, &us))
        return false;
    *ret_us = s * 1000000 + us;
    return true;
}

/* Meta comes first: an epoch that another pod has set meanwhile is then compared with by the script, never
 * replaced for a run that is over. */
static const char *identity_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    static const char *const failures[] = {"", "HMGET answered in another shape", "INFO says no run_id",
                                           "INFO says no role", "TIME answered in another shape"};
    struct core_event *e = &p->event;
    struct connection *c = &redis->data;
    bool good = false;

    switch (p->seen) {
    case 1:
        good = meta_take(reply, &e->identity.meta);
        if (good)
            sweep_watch(redis, &e->identity.meta);
        break;
    case 2:
        good =
            reply_is_string(reply) && info_decode_server(reply_text(reply), &e->identity.run, c->server_version);
        break;
    case 3:
        good = reply_is_string(reply) && info_decode_replication(reply_text(reply), &e->identity.master,
                                                                 &e->identity.history, c->server_role);
        c->server_replicas = good ? info_decode_replicas(reply_text(reply)) : 0;
        break;
    case 4:
        good = time_take(reply, &e->identity.store_us);
        break;
    }
    if (!good && e->identity.status == REPLY_OK) {
        e->identity.status = REPLY_DEFINITE; /* nothing is executed that could be in doubt */
        e->identity.text = describe(p, reply, failures[p->seen]);
    }
    if (p->seen == 4)
        redis_emit(redis, e);
    return NULL;
}

/*
 * PUBLISH moves the offset of the replication stream and changes nothing in the keyspace; nobody subscribes to its
 * channel. WAIT then waits for replicas to acknowledge an offset that did not exist when the heartbeat was
 * started.
 */
static const char *guard_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    struct core_event *e = &p->event;
    char error[160];

    if (p->seen == 5)
        *e = (struct core_event){.type = EV_GUARD, .guard = {.id = e->identity.id}};
    if (e->guard.status == REPLY_OK && (reply->type != REDIS_REPLY_INTEGER || reply->integer < 0)) {
        struct slice text = reply_is_error(reply) ? error_text(error, sizeof(error), reply)
                                                  : slice_text("answered in another shape");

        e->guard.status = REPLY_DEFINITE;
        snprintf(p->text, sizeof(p->text), "%s%s: %.*s", p->seen == 5 ? "PUBLISH " : "WAIT",
                 p->seen == 5 ? redis->pulse_channel : "", (int)text.len, (const char *)text.data);
        e->guard.text = slice_text(p->text);
    }
    if (p->seen < p->replies)
        return NULL;
    if (e->guard.status == REPLY_OK)
        e->guard.replicas = (uint64_t)reply->integer;
    redis_emit(redis, e);
    return NULL;
}

static const char *heartbeat_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    return p->seen <= 4 ? identity_on_reply(redis, p, reply) : guard_on_reply(redis, p, reply);
}

static void guard_commands(struct redis *redis)
{
    struct buffer *out = &redis->data.out;
    uint64_t wait_ms = redis->config.backoff_max_ns / 2 / NS_PER_MS;

    resp_command(out, 3);
    resp_argument_text(out, "PUBLISH");
    resp_argument_text(out, redis->pulse_channel);
    resp_argument_text(out, "");
    resp_command(out, 3);
    resp_argument_text(out, "WAIT");
    resp_argument_number(out, redis->config.min_replicas);
    resp_argument_number(out, wait_ms > 0 ? wait_ms : 1); /* 0 would be for ever */
}

void identity_send(struct redis *redis)
{
    struct queued *q = &redis->queued;
    struct buffer *out = &redis->data.out;

    for (size_t i = 0; i < q->identity_count; i++) {
        struct pending *p = pending_new(redis, redis->config.min_replicas > 0 ? 6 : 4, heartbeat_on_reply);

        if (!p)
            return;
        p->event.type = EV_IDENTITY;
        p->event.identity.id = q->identities[i];
        p->event.identity.status = REPLY_OK;
        meta_command(redis);
        info_command(out, "server");
        info_command(out, "replication");
        resp_command(out, 1);
        resp_argument_text(out, "TIME");
        if (redis->config.min_replicas > 0)
            guard_commands(redis);
    }
    q->identity_count = 0;
}

/* ---- fetch ----------------------------------------------------------------------------------------------- */

static void fetch_take_record(struct redis *redis, struct core_event *e, bool header_only, struct slice text)
{
    const char *error;

    e->fetched.result = FETCH_ABSENT;
    if (text.len == 0)
        return;
    error = header_only ? record_decode_head(text, &e->fetched.record) : record_decode(text, &e->fetched.record);
    if (!error && e->fetched.record.value.len > redis->config.max_value)
        error = "record: value is longer than max_value";
    if (!error && e->fetched.meta.cleared_unknown)
        error = "meta: the field cleared is missing or unreadable; a pod that may write sets a new one";
    e->fetched.result = error ? FETCH_INVALID : FETCH_RECORD;
    if (error)
        e->fetched.text = slice_text(error);
}

/* What a record means is known only when meta has been read again: until then its bytes are kept. */
static void fetch_keep(struct fetch_item *item, const redisReply *reply)
{
    struct slice text = {0};

    item->kept = KEPT_OTHER;
    if (reply_has_code(reply, "WRONGTYPE"))
        item->kept = KEPT_WRONG_TYPE;
    else if (reply_is_error(reply))
        item->kept = KEPT_ERROR;
    else if (reply_is_string(reply))
        item->kept = KEPT_RECORD;
    if (item->kept == KEPT_ERROR || item->kept == KEPT_RECORD)
        text = reply_text(reply);
    item->bytes = malloc(text.len + 1);
    if (!item->bytes)
        item->kept = KEPT_NOT;
    else if (text.len > 0)
        memcpy(item->bytes, text.data, text.len);
    item->len = text.len;
}

static void fetch_emit(struct redis *redis, struct pending *p, struct fetch_item *item)
{
    struct core_event e = p->event;
    struct slice bytes = slice_of(item->bytes, item->len);

    e.fetched.id = item->id;
    if (e.fetched.status != REPLY_OK) {
        redis_emit(redis, &e); /* the error of meta stands for all */
        return;
    }
    switch (item->kept) {
    case KEPT_RECORD:
        fetch_take_record(redis, &e, item->header_only, bytes);
        break;
    case KEPT_WRONG_TYPE:
        e.fetched.result = FETCH_INVALID;
        e.fetched.text = slice_text("record: the key holds another type than a string");
        break;
    case KEPT_ERROR:
        e.fetched.status = REPLY_DEFINITE;
        e.fetched.text = text_printable(p->text, sizeof(p->text), bytes);
        break;
    case KEPT_OTHER:
    case KEPT_NOT:
        e.fetched.status = REPLY_DEFINITE;
        e.fetched.text =
            slice_text(item->kept == KEPT_NOT ? "out of memory" : "GETRANGE answered in another shape");
        break;
    }
    redis_emit(redis, &e);
}

static const char *fetch_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    struct core_event *e = &p->event;
    bool opening = p->seen == 1, closing = p->seen == p->replies;

    if (!opening && !closing) {
        fetch_keep(&p->fetches[p->seen - 2], reply);
        return NULL;
    }
    e->type = EV_FETCHED;
    if (!meta_take(reply, opening ? &e->fetched.meta : &e->fetched.closing) && e->fetched.status == REPLY_OK) {
        e->fetched.status = REPLY_DEFINITE;
        e->fetched.text = describe(p, reply, "HMGET answered in another shape");
    }
    for (unsigned i = 0; closing && i < p->count; i++) {
        fetch_emit(redis, p, &p->fetches[i]);
        free(p->fetches[i].bytes);
        p->fetches[i].bytes = NULL;
    }
    return NULL;
}

static size_t fetch_bytes_max(const struct redis *redis, const struct fetch_item *item)
{
    return RECORD_HEAD_MAX + (item->header_only ? 0 : redis->config.max_value);
}

/* One read of meta, so many records, meta again. GETRANGE also for whole records: its end bounds the answer,
 * however long the string is. */
static bool fetch_send_batch(struct redis *redis, const struct fetch_item *items, unsigned count)
{
    struct buffer *out = &redis->data.out;
    struct fetch_item *copy = calloc(count, sizeof(*copy));
    struct pending *p = copy ? pending_new(redis, count + 2, fetch_on_reply) : NULL;

    if (!p) {
        free(copy);
        redis->exhausted = true;
        return false;
    }
    memcpy(copy, items, count * sizeof(*copy));
    p->fetches = copy;
    p->count = count;
    meta_command(redis);
    for (unsigned i = 0; i < count; i++) {
        resp_command(out, 4);
        resp_argument_text(out, "GETRANGE");
        resp_argument_pair(out, slice_text(redis->record_prefix), items[i].key);
        resp_argument_text(out, "0");
        resp_argument_number(out, fetch_bytes_max(redis, &items[i]));
    }
    meta_command(redis);
    return true;
}

void fetch_send(struct redis *redis)
{
    struct queued *q = &redis->queued;
    size_t from = 0;

    while (from < q->fetch_count) {
        size_t to = from + 1, bytes = fetch_bytes_max(redis, &q->fetches[from]);

        while (to < q->fetch_count && bytes + fetch_bytes_max(redis, &q->fetches[to]) <= FETCH_BATCH_BYTES)
            bytes += fetch_bytes_max(redis, &q->fetches[to++]);
        if (!fetch_send_batch(redis, &q->fetches[from], (unsigned)(to - from)))
            return;
        from = to;
    }
    q->fetch_count = 0;
}
