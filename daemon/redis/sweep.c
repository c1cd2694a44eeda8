/*
 * After a clear, the pod that cleared removes the old records in the background: SCAN gives some keys, the
 * sweep script looks at each header again and removes what is cleared, and after a pause the next step follows.
 * A lost connection lets it begin anew, also one that took the answer to the clear with it. It is given up when
 * Redis refuses SCAN or the script for good.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/redis/internal.h"

static void sweep_step(uv_timer_t *timer);

static void sweep_next(struct redis *redis)
{
    if (strcmp(redis->sweep.cursor, "0") != 0) {
        uv_timer_start(&redis->sweep.timer, sweep_step, SWEEP_INTERVAL_MS, 0);
        return;
    }
    redis->sweep.active = false;
    redis_log(redis, 2, "cleared records are removed", "removed=%llu", (unsigned long long)redis->sweep.removed);
}

static const char *sweep_refused(struct redis *redis, struct pending *p, const redisReply *reply)
{
    struct slice text = reply_is_error(reply) ? error_text(p->text, sizeof(p->text), reply)
                                              : slice_text("answer in another shape");

    redis->sweep.active = false;
    redis_log(redis, 1, "cleared records stay in Redis until overwritten", "reason=\"%.*s\"", (int)text.len,
              (const char *)text.data);
    return NULL;
}

static const char *removed_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    redis->sweep.waiting = false;
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer < 0)
        return sweep_refused(redis, p, reply);
    redis->sweep.removed += (uint64_t)reply->integer;
    sweep_next(redis);
    return NULL;
}

static void sweep_remove(struct redis *redis, const redisReply *keys)
{
    struct buffer *out = &redis->data.out;

    if (!pending_new(redis, 1, removed_on_reply))
        return;
    redis->sweep.waiting = true;
    data_script(redis, LUA_SWEEP, 1 + (unsigned)keys->elements, 0);
    resp_argument_text(out, redis->meta_key);
    for (size_t i = 0; i < keys->elements; i++)
        resp_argument(out, reply_text(keys->element[i]));
    connection_flush(&redis->data);
}

static bool keys_are_ours(const struct redis *redis, const redisReply *keys)
{
    for (size_t i = 0; i < keys->elements; i++) {
        if (!reply_is_string(keys->element[i]) ||
            !slice_has_prefix(reply_text(keys->element[i]), slice_text(redis->record_prefix)))
            return false;
    }
    return true;
}

static const char *scan_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    const redisReply *cursor;

    redis->sweep.waiting = false;
    if (!reply_is_array(reply, 2) || !reply_is_string(reply->element[0]) || reply->element[0]->len == 0 ||
        reply->element[0]->len >= sizeof(redis->sweep.cursor) || reply->element[1]->type != REDIS_REPLY_ARRAY ||
        !keys_are_ours(redis, reply->element[1]))
        return sweep_refused(redis, p, reply);
    cursor = reply->element[0];
    memcpy(redis->sweep.cursor, cursor->str, cursor->len);
    redis->sweep.cursor[cursor->len] = '\0';
    if (reply->element[1]->elements > 0)
        sweep_remove(redis, reply->element[1]);
    else
        sweep_next(redis);
    return redis->exhausted ? "out of memory" : NULL;
}

static void sweep_step(uv_timer_t *timer)
{
    struct redis *redis = timer->data;
    struct buffer *out = &redis->data.out;

    if (!redis->sweep.active || redis->sweep.waiting || !connection_is_ready(&redis->data))
        return;
    if (!pending_new(redis, 1, scan_on_reply)) {
        uv_timer_start(timer, sweep_step, SWEEP_INTERVAL_MS, 0);
        return;
    }
    redis->sweep.waiting = true;
    resp_command(out, 6);
    resp_argument_text(out, "SCAN");
    resp_argument_text(out, redis->sweep.cursor);
    resp_argument_text(out, "MATCH");
    resp_argument_text(out, redis->sweep_pattern);
    resp_argument_text(out, "COUNT");
    resp_argument_number(out, SWEEP_COUNT);
    connection_flush(&redis->data);
}

void sweep_start(struct redis *redis)
{
    redis->sweep.active = true;
    redis->sweep.removed = 0;
    sweep_resume(redis);
}

void sweep_resume(struct redis *redis)
{
    if (!redis->sweep.active)
        return;
    strcpy(redis->sweep.cursor, "0");
    uv_timer_start(&redis->sweep.timer, sweep_step, SWEEP_INTERVAL_MS, 0);
}
