/*
 * The data connection: a queue of requests whose replies come in the order they were sent.
 *
 * What redis_execute took in during a turn of the loop goes out in data_flush: identities, fetches between two
 * reads of meta, proposals, writes in batches. A reply belongs to the first request of the queue. When the
 * connection is lost, queue and requests stay as they are until EV_LINK_DOWN is due; then all of it is
 * forgotten and nothing of it is answered.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/redis/internal.h"

struct slice text_printable(char *room, size_t len, struct slice text)
{
    size_t used = text.len < len ? text.len : len;

    for (size_t i = 0; i < used; i++) {
        char c = (char)text.data[i];

        room[i] = c < ' ' || c > 126 ? '?' : c == '"' ? '\'' : c;
    }
    return slice_of(room, used);
}

struct slice error_text(char *room, size_t len, const redisReply *reply)
{
    return text_printable(room, len, reply_text(reply));
}

/* ---- the queue ------------------------------------------------------------------------------------------- */

struct pending *pending_new(struct redis *redis, unsigned replies,
                            const char *(*on_reply)(struct redis *, struct pending *, const redisReply *))
{
    struct pending *p = calloc(1, sizeof(*p));

    if (!p) {
        redis->exhausted = true;
        return NULL;
    }
    p->sent_ns = uv_hrtime();
    p->replies = replies;
    p->on_reply = on_reply;
    *redis->last = p;
    redis->last = &p->next;
    return p;
}

struct pending *pending_free(struct pending *p)
{
    if (p) {
        for (unsigned i = 0; p->fetches && i < p->count; i++)
            free(p->fetches[i].bytes);
        free(p->fetches);
        free(p->writes);
        free(p);
    }
    return NULL;
}

void queued_clear(struct queued *q)
{
    free(q->fetches);
    free(q->writes);
    free(q->identities);
    free(q->proposals);
    *q = (struct queued){0};
}

void data_drop(struct redis *redis)
{
    while (redis->first) {
        struct pending *p = redis->first;

        redis->first = p->next;
        pending_free(p);
    }
    redis->last = &redis->first;
    redis->sweep.waiting = false;
    queued_clear(&redis->queued);
}

void data_flush(struct redis *redis)
{
    if (!connection_is_ready(&redis->data))
        return;
    if (redis->queued.identity_count > 0)
        durability_send(redis);
    identity_send(redis);
    fetch_send(redis);
    propose_send(redis);
    write_send(redis);
    if (redis->exhausted) {
        redis->exhausted = false;
        connection_reset(&redis->data, "out of memory");
        return;
    }
    connection_flush(&redis->data);
}

void data_script(struct redis *redis, enum script_id script, unsigned keys, unsigned arguments)
{
    struct buffer *out = &redis->data.out;

    resp_command(out, 3 + keys + arguments);
    resp_argument_text(out, "EVAL");
    resp_argument(out, slice_of(scripts[script].text, scripts[script].len));
    resp_argument_number(out, keys);
}

/* ---- the role -------------------------------------------------------------------------------------------- */

static unsigned data_prepare(struct connection *c)
{
    c->redis->write_sha[0] = '\0';
    resp_command(&c->out, 3);
    resp_argument_text(&c->out, "SCRIPT");
    resp_argument_text(&c->out, "LOAD");
    resp_argument(&c->out, slice_of(scripts[LUA_WRITE].text, scripts[LUA_WRITE].len));
    return 1 + durability_ask(c->redis);
}

/* Without the right to SCRIPT LOAD the text of the script goes along with each call. */
static const char *data_take_sha(struct redis *redis, const redisReply *reply)
{
    char *reason = redis->data.reason;
    struct slice text;

    if (reply_is_string(reply) && reply->len == 40) {
        memcpy(redis->write_sha, reply->str, 40);
        redis->write_sha[40] = '\0';
        return NULL;
    }
    if (!reply_is_error(reply))
        return "unexpected answer to SCRIPT LOAD";
    if (reply_has_code(reply, "NOPERM") || reply_has_code(reply, "ERR"))
        return NULL;
    text = error_text(reason, sizeof(redis->data.reason) - 1, reply);
    reason[text.len] = '\0';
    return reason;
}

static const char *data_on_prepared(struct connection *c, unsigned index, const redisReply *reply)
{
    if (index == 0)
        return data_take_sha(c->redis, reply);
    durability_take(c->redis, index - 1, reply);
    return NULL;
}

static void data_on_ready(struct connection *c)
{
    redis_link_up(c->redis, c);
    sweep_resume(c->redis);
}

static const char *data_on_reply(struct connection *c, const redisReply *reply)
{
    struct redis *redis = c->redis;
    struct pending *p = redis->first;
    const char *error;
    bool last;

    if (!p)
        return "an answer to no question";
    last = ++p->seen == p->replies;
    if (last) {
        redis->first = p->next;
        if (!redis->first)
            redis->last = &redis->first;
    }
    error = p->on_reply(redis, p, reply);
    if (last)
        pending_free(p);
    return error;
}

static uint64_t data_oldest_ns(const struct connection *c)
{
    return c->redis->first ? c->redis->first->sent_ns : 0;
}

static void data_on_lost(struct connection *c)
{
    redis_link_lost(c->redis, c);
}

const struct connection_role data_role = {
    .name = "data",
    .link = LINK_DATA,
    .prepare = data_prepare,
    .on_prepared = data_on_prepared,
    .on_ready = data_on_ready,
    .on_reply = data_on_reply,
    .oldest_ns = data_oldest_ns,
    .on_lost = data_on_lost,
};
