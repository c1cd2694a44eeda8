/*
 * Writing: the scripts write.lua, clear.lua and propose.lua.
 *
 * Several writes of a turn share a call as long as they stand on the same epoch and run. Redis may have lost
 * the script of writes; NOSCRIPT comes before execution, so the call is made again with the text of the script,
 * and nobody notices. The other scripts run rarely: their text goes along each time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/redis/internal.h"

static const char other_shape[] = "the script answered in another shape";

static void argument_digits(struct buffer *out, uint64_t number)
{
    char text[24];

    /* Nineteen digits hold every version and every time; what is beyond is as good as the highest. */
    if (number > UINT64_C(9999999999999999999))
        number = UINT64_C(9999999999999999999);
    snprintf(text, sizeof(text), "%019" PRIu64, number);
    resp_argument_text(out, text);
}

static void epoch_draw(struct redis *redis, struct epoch *ret)
{
    uint8_t bytes[16];

    redis->config.random(redis->config.ctx, bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), ret->text);
}

/* ---- answers --------------------------------------------------------------------------------------------- */

/* Letter, then version, seq and timestamp. False: another shape. */
static bool answer_take_stored(struct slice text, struct core_event *e)
{
    return text.len == 57 && take_number(&text, 19, &e->written.version) &&
           take_number(&text, 19, &e->written.seq) && take_number(&text, 19, &e->written.timestamp_ns) &&
           e->written.version <= VERSION_MAX && e->written.seq <= SEQ_MAX;
}

static bool answer_take(struct slice text, struct core_event *e)
{
    static const struct {
        char letter;
        bool stored; /* the stored record is described */
        enum script_result result;
    } letters[] = {
        {'A', true, SCRIPT_ACCEPTED},     {'S', true, SCRIPT_STALE},         {'D', true, SCRIPT_DUPLICATE},
        {'C', true, SCRIPT_CONFLICT},     {'I', true, SCRIPT_INDETERMINATE}, {'L', true, SCRIPT_CLEARED},
        {'W', false, SCRIPT_WRONG_EPOCH}, {'X', false, SCRIPT_EXPIRED},      {'B', false, SCRIPT_CORRUPT},
        {'H', false, SCRIPT_EXHAUSTED},
    };
    struct slice rest;

    if (text.len == 0)
        return false;
    rest = slice_of(text.data + 1, text.len - 1);
    if (text.data[0] == 'E' || text.data[0] == 'U') {
        e->written.status = text.data[0] == 'E' ? REPLY_DEFINITE : REPLY_UNKNOWN;
        e->written.text = rest;
        return true;
    }
    for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        if (letters[i].letter != text.data[0])
            continue;
        e->written.status = REPLY_OK;
        e->written.result = letters[i].result;
        if (!letters[i].stored)
            return rest.len == 0;
        return answer_take_stored(rest, e) &&
               (text.data[0] == 'L' || (e->written.version > 0 && e->written.seq > 0));
    }
    return false;
}

static void written_emit(struct redis *redis, struct pending *p, const struct write_item *item,
                         const redisReply *reply)
{
    bool clear = item->request->op == OP_CLEAR;
    struct core_event e = {.type = EV_WRITTEN};

    if (!reply || !reply_is_string(reply) || !answer_take(reply_text(reply), &e) ||
        (e.written.status == REPLY_OK && e.written.result == SCRIPT_CLEARED && !clear)) {
        e = (struct core_event){.type = EV_WRITTEN};
        e.written.status = REPLY_UNKNOWN;
        e.written.text = slice_text(other_shape);
    }
    e.written.id = item->id;
    if (e.written.status == REPLY_OK && e.written.result == SCRIPT_CLEARED) {
        e.written.epoch = p->epoch;
        sweep_start(redis, &p->epoch, e.written.seq);
    }
    redis_emit(redis, &e);
}

static void written_emit_error(struct redis *redis, struct pending *p, const redisReply *reply)
{
    struct slice text = error_text(p->text, sizeof(p->text), reply);

    for (unsigned i = 0; i < p->count; i++) {
        struct core_event e = {.type = EV_WRITTEN};

        e.written.id = p->writes[i].id;
        e.written.status = reply_error_status(reply);
        e.written.text = text;
        redis_emit(redis, &e);
    }
}

static void batch_send(struct redis *redis, struct write_item *items, unsigned count, bool with_text);

static const char *write_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    if (reply_has_code(reply, "NOSCRIPT") && p->by_sha) {
        batch_send(redis, p->writes, p->count, true);
        connection_flush(&redis->data);
        return redis->exhausted ? "out of memory" : NULL;
    }
    if (reply_is_error(reply)) {
        written_emit_error(redis, p, reply);
        return NULL;
    }
    for (unsigned i = 0; i < p->count; i++)
        written_emit(redis, p, &p->writes[i], reply_is_array(reply, p->count) ? reply->element[i] : NULL);
    return NULL;
}

/* ---- write and clear ------------------------------------------------------------------------------------- */

static struct pending *write_pending(struct redis *redis, const struct write_item *items, unsigned count)
{
    struct pending *p;
    struct write_item *copy = calloc(count, sizeof(*copy));

    p = copy ? pending_new(redis, 1, write_on_reply) : NULL;
    if (!p) {
        free(copy);
        redis->exhausted = true;
        return NULL;
    }
    memcpy(copy, items, count * sizeof(*copy));
    p->writes = copy;
    p->count = count;
    return p;
}

static void write_arguments(struct redis *redis, const struct write_item *item)
{
    const struct write_request *w = item->request;
    struct buffer *out = &redis->data.out;
    bool set = w->op == OP_SET;
    char id[2 * WRITE_ID_BYTES + 1];

    hex_encode(w->write_id, WRITE_ID_BYTES, id);
    resp_argument_text(out, set ? "s" : "d");
    resp_argument(out, w->key);
    if (w->version == 0)
        resp_argument_text(out, "");
    else
        argument_digits(out, w->version);
    resp_argument_number(out, w->ttl_ms < TTL_MAX_MS ? w->ttl_ms : TTL_MAX_MS);
    resp_argument_text(out, id);
    resp_argument_text(out, w->retry ? "1" : "0");
    resp_argument_text(out, w->carry_value && w->value.len <= MESSAGE_CARRY_MAX ? "1" : "0");
    argument_digits(out, item->deadline_store_us);
    resp_argument(out, set ? w->value : slice_of(NULL, 0));
}

static void batch_send(struct redis *redis, struct write_item *items, unsigned count, bool with_text)
{
    struct buffer *out = &redis->data.out;
    struct pending *p = write_pending(redis, items, count);

    if (!p)
        return;
    p->by_sha = !with_text && redis->write_sha[0] != '\0';
    if (p->by_sha) {
        resp_command(out, 3 + 1 + count + 4 + 9 * count);
        resp_argument_text(out, "EVALSHA");
        resp_argument_text(out, redis->write_sha);
        resp_argument_number(out, 1 + count);
    } else {
        data_script(redis, LUA_WRITE, 1 + count, 4 + 9 * count);
    }
    resp_argument_text(out, redis->meta_key);
    for (unsigned i = 0; i < count; i++)
        resp_argument_pair(out, slice_text(redis->record_prefix), items[i].request->key);
    resp_argument_text(out, items[0].epoch.text);
    resp_argument_text(out, items[0].run.text);
    resp_argument_text(out, redis->channel);
    resp_argument_text(out, redis->config.source);
    for (unsigned i = 0; i < count; i++)
        write_arguments(redis, &items[i]);
}

static void clear_send(struct redis *redis, struct write_item *item)
{
    struct buffer *out = &redis->data.out;
    struct pending *p = write_pending(redis, item, 1);

    if (!p)
        return;
    epoch_draw(redis, &p->epoch);
    data_script(redis, LUA_CLEAR, 1, 5);
    resp_argument_text(out, redis->meta_key);
    resp_argument_text(out, item->epoch.text);
    resp_argument_text(out, item->run.text);
    argument_digits(out, item->deadline_store_us);
    resp_argument_text(out, redis->channel);
    resp_argument_text(out, p->epoch.text);
}

static bool writes_share(const struct write_item *a, const struct write_item *b)
{
    return a->request->op != OP_CLEAR && b->request->op != OP_CLEAR && epoch_equal(&a->epoch, &b->epoch) &&
           run_id_equal(&a->run, &b->run);
}

void write_send(struct redis *redis)
{
    struct queued *q = &redis->queued;
    size_t from = 0;

    while (from < q->write_count) {
        struct write_item *first = &q->writes[from];
        size_t to = from + 1, bytes = first->request->value.len;

        while (to < q->write_count && to - from < WRITE_BATCH_MAX && writes_share(first, &q->writes[to])) {
            bytes += q->writes[to].request->value.len;
            if (bytes > WRITE_BATCH_BYTES)
                break;
            to++;
        }
        if (first->request->op == OP_CLEAR)
            clear_send(redis, first);
        else
            batch_send(redis, first, (unsigned)(to - from), false);
        from = to;
    }
    q->write_count = 0;
}

/* ---- propose --------------------------------------------------------------------------------------------- */

static const char *propose_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    struct core_event e = {.type = EV_PROPOSED};

    if (reply_is_error(reply)) {
        e.proposed.status = reply_error_status(reply);
        e.proposed.text = error_text(p->text, sizeof(p->text), reply);
    } else if (!reply_is_string(reply) || reply->len != 1 || (reply->str[0] != 'P' && reply->str[0] != 'O')) {
        e.proposed.status = REPLY_UNKNOWN;
        e.proposed.text = slice_text(other_shape);
    }
    redis_emit(redis, &e);
    return NULL;
}

static bool propose_call(struct redis *redis, const struct propose_item *item)
{
    struct buffer *out = &redis->data.out;
    struct pending *p = pending_new(redis, 1, propose_on_reply);
    struct epoch epoch;

    if (!p)
        return false;
    epoch_draw(redis, &epoch);
    data_script(redis, LUA_PROPOSE, 1, 6);
    resp_argument_text(out, redis->meta_key);
    resp_argument_text(out, item->seen.epoch.text);
    resp_argument_text(out, item->seen.run.text);
    resp_argument_text(out, epoch.text);
    resp_argument_text(out, item->run.text);
    argument_digits(out, item->min_seq);
    argument_digits(out, item->min_cleared);
    return true;
}

void propose_send(struct redis *redis)
{
    struct queued *q = &redis->queued;

    for (size_t i = 0; i < q->proposal_count; i++) {
        if (!propose_call(redis, &q->proposals[i]))
            return;
    }
    q->proposal_count = 0;
}
