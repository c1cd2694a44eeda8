/*
 * After a clear, the old records are removed in the background: SCAN gives some keys, the sweep script looks at
 * each header again and removes what is cleared, and after a pause the next step follows. The last step notes in
 * meta what is swept.
 *
 * The pod that cleared begins at once. If it dies, or the answer to the clear was lost, others see at their
 * heartbeats that `cleared` is above `swept` and nobody is at it: the first whose patience ends goes on. Each has
 * its own, so that one is the first; two at a time harm nothing. A lost connection or another clear lets a sweep
 * begin anew, after the answer that is still awaited: that is none of the new sweep's. It is given up when Redis
 * refuses SCAN or the script for good.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/redis/internal.h"

static void sweep_step(uv_timer_t *timer);

static void sweep_next(struct redis *redis)
{
    if (redis->sweep.anew || strcmp(redis->sweep.cursor, "0") != 0) {
        redis->sweep.anew = false;
        uv_timer_start(&redis->sweep.timer, sweep_step, SWEEP_INTERVAL_MS, 0);
        return;
    }
    redis->sweep.active = false;
    redis->sweep.swept = redis->sweep.target;
    redis->sweep.swept_epoch = redis->sweep.epoch;
    redis_log(redis, 2, "cleared records are removed", "removed=%llu", (unsigned long long)redis->sweep.removed);
}

static const char *sweep_refused(struct redis *redis, struct pending *p, const redisReply *reply)
{
    struct slice text = reply_is_error(reply) ? error_text(p->text, sizeof(p->text), reply)
                                              : slice_text("answer in another shape");

    redis->sweep.active = false;
    redis->sweep.swept = redis->sweep.target; /* not by this pod */
    redis->sweep.swept_epoch = redis->sweep.epoch;
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
    bool last = strcmp(redis->sweep.cursor, "0") == 0;
    char target[24];

    if (!pending_new(redis, 1, removed_on_reply))
        return;
    redis->sweep.waiting = true;
    data_script(redis, LUA_SWEEP, 1 + (unsigned)keys->elements, last ? 2 : 0);
    resp_argument_text(out, redis->meta_key);
    for (size_t i = 0; i < keys->elements; i++)
        resp_argument(out, reply_text(keys->element[i]));
    if (last) {
        snprintf(target, sizeof(target), "%019" PRIu64, redis->sweep.target);
        resp_argument_text(out, redis->sweep.epoch.text);
        resp_argument_text(out, target);
    }
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
    if (redis->sweep.anew) {
        sweep_next(redis);
        return NULL;
    }
    cursor = reply->element[0];
    memcpy(redis->sweep.cursor, cursor->str, cursor->len);
    redis->sweep.cursor[cursor->len] = '\0';
    sweep_remove(redis, reply->element[1]);
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

void sweep_start(struct redis *redis, const struct epoch *epoch, uint64_t cleared)
{
    redis->sweep.active = true;
    redis->sweep.removed = 0;
    redis->sweep.epoch = *epoch;
    redis->sweep.target = cleared;
    sweep_resume(redis);
}

void sweep_resume(struct redis *redis)
{
    if (!redis->sweep.active)
        return;
    strcpy(redis->sweep.cursor, "0");
    redis->sweep.anew = redis->sweep.waiting;
    uv_timer_start(&redis->sweep.timer, sweep_step, SWEEP_INTERVAL_MS, 0);
}

/* ---- sweeps that others have left ------------------------------------------------------------------------ */

static void watch_begin(struct redis *redis, const struct sweep_watch *seen)
{
    uint32_t jitter;

    redis->config.random(redis->config.ctx, &jitter, sizeof(jitter));
    redis->sweep.watch = *seen;
    redis->sweep.watch.since_ns = uv_hrtime();
    redis->sweep.watch.patience_ns = SWEEP_PATIENCE_NS + jitter * SWEEP_PATIENCE_NS / UINT32_MAX;
}

static const char *watch_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    struct sweep_watch seen = {.epoch = p->event.identity.meta.epoch, .cleared = p->event.identity.meta.cleared};
    struct sweep_watch *watch = &redis->sweep.watch;
    struct slice text;
    uint64_t swept = 0;

    if (!reply_is_array(reply, 2))
        return NULL; /* no right, or an oddity: nothing depends on it */
    text = reply_is_string(reply->element[0]) ? reply_text(reply->element[0]) : slice_of(NULL, 0);
    if (text.len > 0 && text.len < 20 && take_number(&text, text.len, &swept) && swept >= seen.cleared) {
        redis->sweep.swept = seen.cleared;
        redis->sweep.swept_epoch = seen.epoch;
        return NULL;
    }
    if (reply_is_string(reply->element[1]))
        snprintf(seen.sweeping, sizeof(seen.sweeping), "%.*s", (int)reply->element[1]->len,
                 reply->element[1]->str);
    if (watch->cleared != seen.cleared || strcmp(watch->sweeping, seen.sweeping) != 0 ||
        !epoch_equal(&watch->epoch, &seen.epoch))
        watch_begin(redis, &seen);
    else if (!redis->sweep.active && uv_hrtime() - watch->since_ns > watch->patience_ns)
        sweep_start(redis, &seen.epoch, seen.cleared);
    return NULL;
}

void sweep_watch(struct redis *redis, const struct meta *meta)
{
    struct sweep *sweep = &redis->sweep;
    struct buffer *out = &redis->data.out;
    struct pending *p;

    if (!redis->config.may_write || meta->state != META_OK || meta->cleared == 0 || sweep->active)
        return;
    if (sweep->swept >= meta->cleared && epoch_equal(&sweep->swept_epoch, &meta->epoch))
        return;
    p = pending_new(redis, 1, watch_on_reply);
    if (!p)
        return;
    p->event.identity.meta = *meta;
    resp_command(out, 4);
    resp_argument_text(out, "HMGET");
    resp_argument_text(out, redis->meta_key);
    resp_argument_text(out, "swept");
    resp_argument_text(out, "sweeping");
    connection_flush(&redis->data);
}
