/* Reading: identity, and fetches behind one read of meta. */
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

/* A key of another type under the name of meta is as good as an unreadable field: a new epoch replaces it.
 * False: an error, or another shape. */
static bool meta_take(const redisReply *reply, struct meta *ret_meta)
{
    struct slice fields[4] = {{0}};

    if (reply_has_code(reply, "WRONGTYPE")) {
        *ret_meta = (struct meta){.state = META_INVALID};
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

static const char *identity_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    static const char *const failures[] = {"INFO says no run_id", "INFO says no role",
                                           "HMGET answered in another shape", "TIME answered in another shape"};
    struct core_event *e = &p->event;
    struct connection *c = &redis->data;
    bool good = false;

    switch (p->seen) {
    case 1:
        good =
            reply_is_string(reply) && info_decode_server(reply_text(reply), &e->identity.run, c->server_version);
        break;
    case 2:
        good = reply_is_string(reply) &&
               info_decode_replication(reply_text(reply), &e->identity.master, c->server_role);
        break;
    case 3:
        good = meta_take(reply, &e->identity.meta);
        break;
    case 4:
        good = time_take(reply, &e->identity.store_us);
        break;
    }
    if (!good && e->identity.status == REPLY_OK) {
        e->identity.status = REPLY_DEFINITE; /* nothing is executed that could be in doubt */
        e->identity.text = describe(p, reply, failures[p->seen - 1]);
    }
    if (p->seen == p->replies)
        redis_emit(redis, e);
    return NULL;
}

void identity_send(struct redis *redis)
{
    struct queued *q = &redis->queued;
    struct buffer *out = &redis->data.out;

    for (size_t i = 0; i < q->identity_count; i++) {
        struct pending *p = pending_new(redis, 4, identity_on_reply);

        if (!p)
            return;
        p->event.type = EV_IDENTITY;
        p->event.identity.id = q->identities[i];
        p->event.identity.status = REPLY_OK;
        resp_command(out, 2);
        resp_argument_text(out, "INFO");
        resp_argument_text(out, "server");
        resp_command(out, 2);
        resp_argument_text(out, "INFO");
        resp_argument_text(out, "replication");
        meta_command(redis);
        resp_command(out, 1);
        resp_argument_text(out, "TIME");
    }
    q->identity_count = 0;
}

/* ---- fetch ----------------------------------------------------------------------------------------------- */

static void fetch_take_record(struct redis *redis, struct core_event *e, bool header_only, const redisReply *reply)
{
    struct slice text = reply_text(reply);
    const char *error;

    e->fetched.result = FETCH_ABSENT;
    if (text.len == 0)
        return;
    error = header_only ? record_decode_head(text, &e->fetched.record) : record_decode(text, &e->fetched.record);
    if (!error && e->fetched.record.value.len > redis->config.max_value)
        error = "record: value is longer than max_value";
    e->fetched.result = error ? FETCH_INVALID : FETCH_RECORD;
    if (error)
        e->fetched.text = slice_text(error);
}

static const char *fetch_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    struct core_event e;
    struct fetch_item *item;

    if (p->seen == 1) {
        p->event.type = EV_FETCHED;
        p->event.fetched.status = REPLY_OK;
        if (!meta_take(reply, &p->event.fetched.meta)) {
            p->event.fetched.status = REPLY_DEFINITE;
            p->event.fetched.text = describe(p, reply, "HMGET answered in another shape");
        }
        return NULL;
    }
    e = p->event;
    item = &p->fetches[p->seen - 2];
    e.fetched.id = item->id;
    if (e.fetched.status != REPLY_OK) {
        /* The error of meta stands for all. */
    } else if (reply_has_code(reply, "WRONGTYPE")) {
        e.fetched.result = FETCH_INVALID;
        e.fetched.text = slice_text("record: the key holds another type than a string");
    } else if (!reply_is_string(reply)) {
        e.fetched.status = REPLY_DEFINITE;
        e.fetched.text = describe(p, reply, "GETRANGE answered in another shape");
    } else {
        fetch_take_record(redis, &e, item->header_only, reply);
    }
    redis_emit(redis, &e);
    return NULL;
}

/* GETRANGE also for whole records: its end bounds the answer, however long the string is. */
void fetch_send(struct redis *redis)
{
    struct queued *q = &redis->queued;
    struct buffer *out = &redis->data.out;
    struct pending *p;

    if (q->fetch_count == 0)
        return;
    p = pending_new(redis, (unsigned)q->fetch_count + 1, fetch_on_reply);
    if (!p)
        return;
    p->count = (unsigned)q->fetch_count;
    p->fetches = q->fetches;
    q->fetches = NULL;
    q->fetch_count = q->fetch_room = 0;
    meta_command(redis);
    for (unsigned i = 0; i < p->count; i++) {
        resp_command(out, 4);
        resp_argument_text(out, "GETRANGE");
        resp_argument_pair(out, slice_text(redis->record_prefix), p->fetches[i].key);
        resp_argument_text(out, "0");
        resp_argument_number(out, RECORD_HEAD_MAX + (p->fetches[i].header_only ? 0 : redis->config.max_value));
    }
}
