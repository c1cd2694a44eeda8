/* get and mget. */
#include "daemon/ops/internal.h"

/* Longer values are packed only if the client's queue has room for them. */
#define SMALL_VALUE 256

static void fill_read(struct ops *ops, const struct request *request, const struct proto_read_options *options,
                      struct core_event *ret_event)
{
    struct read_request *read = &ret_event->read;

    ret_event->type = EV_READ;
    ret_event->now = request->now;
    *read = (struct read_request){
        .strong = options->strong,
        .min_version = options->min_version,
        .max_stale_ns = options->max_stale_ms < ops->config.max_stale_ns / NS_PER_MS
                            ? options->max_stale_ms * NS_PER_MS
                            : ops->config.max_stale_ns,
        .deadline = deadline_of(ops, request->now, options->timeout_ms),
    };
    if (options->epoch.len > 0)
        memcpy(read->min_epoch.text, options->epoch.data, options->epoch.len);
}

/* NULL, or what is wrong with options. */
static const char *check_options(const struct proto_read_options *options)
{
    return options->epoch.len == 0 || options->epoch.len == PROTO_EPOCH_TEXT ? NULL
                                                                             : "epoch: 32 hex digits expected";
}

void run_get(struct ops *ops, const struct request *request)
{
    struct proto_read_options options;
    struct core_event event;
    enum rpc_error code = RPC_INVALID;
    struct slice key;
    uint64_t token;
    const char *error = proto_decode_get(request->params, &key, &options);

    if (!error)
        error = check_options(&options);
    if (!error)
        error = check_key(ops, key, &code);
    if (error) {
        answer_error(ops, request->client, request->id, code, error);
        return;
    }
    if (!call_take(ops, CALL_READ, request->client, request->id, 0, &token)) {
        core_count_refused(ops->config.core, COUNTED_NOT, REASON_BUSY);
        answer_error(ops, request->client, request->id, RPC_BUSY, core_reason_text(REASON_BUSY));
        return;
    }
    if (--ops->read_countdown == 0)
        top_sample_read(ops, key, request->now);
    fill_read(ops, request, &options, &event);
    event.read.at_once = share_is_used_up(ops, request->client);
    event.read.key = key;
    event.read.token = token;
    ops->config.step(ops->config.ctx, &event);
}

static bool reading_of(const struct core_effect *effect, struct proto_reading *ret)
{
    static const enum proto_state states[] = {
        [READ_ABSENT] = STATE_ABSENT,
        [READ_FRESH] = STATE_FRESH,
        [READ_STALE] = STATE_STALE,
        [READ_LOCAL] = STATE_LOCAL,
    };

    if (effect->read_done.outcome > READ_LOCAL)
        return false;
    *ret = (struct proto_reading){
        .state = states[effect->read_done.outcome],
        .as_of_ns = effect->read_done.as_of,
        .value = effect->read_done.value,
        .version = effect->read_done.version,
        .timestamp_ns = effect->read_done.timestamp_ns,
        .source = effect->read_done.source,
        .age_ms = effect->read_done.outcome == READ_STALE ? effect->read_done.age_ns / NS_PER_MS : 0,
        .replaced = effect->read_done.replaced,
    };
    return true;
}

static enum rpc_error failure_of(const struct ops *ops, const struct core_effect *effect, struct slice *ret_text)
{
    *ret_text = reason_slice(ops, effect->read_done.reason, effect->read_done.text);
    if (effect->read_done.outcome == READ_ERROR)
        return effect->read_done.reason == REASON_STORE ? RPC_STORE : RPC_CORRUPT;
    return reason_code(effect->read_done.reason, false);
}

static void answer_get(struct ops *ops, const struct call *call, const struct core_effect *effect)
{
    struct proto_reading reading;
    struct slice text;
    struct buffer *b;

    if (!reading_of(effect, &reading)) {
        enum rpc_error code = failure_of(ops, effect, &text);

        answer_error_slice(ops, call->client, call->id, code, text);
        return;
    }
    if (reading.value.len > SMALL_VALUE &&
        !ops->config.has_room(ops->config.ctx, call->client, reading.value.len)) {
        ops->counters.answers_shortened++;
        core_count_refused(ops->config.core, effect->read_done.counted, REASON_BUSY);
        answer_error(ops, call->client, call->id, RPC_BUSY, "too many answers wait to be taken by this client");
        return;
    }
    b = answer_begin(ops, call->client, call->id);
    if (!b)
        return;
    proto_pack_reading(b, &reading);
    answer_end(ops, call->client);
}

/* ---- mget ------------------------------------------------------------------------------------------------- */

static void pack_failure(struct buffer *b, enum rpc_error code, struct slice text)
{
    struct proto_reading reading = {.state = STATE_FAILED, .code = code, .text = text};

    proto_pack_reading(b, &reading);
}

static bool put_failure(struct ops *ops, struct gather *g, uint32_t index, enum rpc_error code, struct slice text)
{
    g->items[index].at = g->bytes.len;
    pack_failure(&g->bytes, code, gather_text(ops, g, text));
    return gather_put_end(ops, g, index, 0);
}

/* The same for a key that is refused here, whatever it was counted as. */
static bool put_refused(struct ops *ops, struct gather *g, uint32_t index, enum rpc_error code, struct slice text)
{
    core_count_refused(ops->config.core, g->items[index].counted, REASON_BUSY);
    g->items[index].counted = COUNTED_REFUSED;
    return put_failure(ops, g, index, code, text);
}

/* True: it was the last key. */
static bool put_reading(struct ops *ops, struct gather *g, uint32_t index, const struct core_effect *effect)
{
    struct proto_reading reading;
    const char *text = NULL;
    enum rpc_error code;
    struct slice failure;

    g->items[index].counted = effect->read_done.counted;
    if (!reading_of(effect, &reading)) {
        code = failure_of(ops, effect, &failure);
        return put_failure(ops, g, index, code, failure);
    }
    if (!gather_put(ops, g, index, reading.value.len + reading.source.len + 64, &code, &text))
        return put_refused(ops, g, index, code, slice_text(text));
    proto_pack_reading(&g->bytes, &reading);
    /* What was permitted to be stale, and local sets, rest on no proof. */
    return gather_put_end(ops, g, index,
                          reading.state == STATE_FRESH || reading.state == STATE_ABSENT ? reading.as_of_ns : 0);
}

static void ask_key(struct ops *ops, struct gather *g, uint32_t index, struct core_event *event)
{
    enum rpc_error code;
    const char *error = check_key(ops, ops->keys[index], &code);
    uint64_t token;

    if (error) {
        put_failure(ops, g, index, code, slice_text(error));
        return;
    }
    if (!call_take(ops, CALL_MGET_KEY, g->client, g->id, 0, &token)) {
        put_refused(ops, g, index, RPC_BUSY, slice_text(core_reason_text(REASON_BUSY)));
        return;
    }
    call_of(ops, token)->gather = g;
    call_of(ops, token)->index = index;
    event->read.at_once = share_is_used_up(ops, g->client);
    event->read.key = ops->keys[index];
    event->read.token = token;
    ops->config.step(ops->config.ctx, event);
}

void run_mget(struct ops *ops, const struct request *request)
{
    struct proto_read_options options;
    struct core_event event;
    struct gather *g;
    uint32_t count;
    const char *error = proto_decode_mget(request->params, ops->keys, &count, &options);

    if (!error)
        error = check_options(&options);
    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    g = gather_new(ops, request, count);
    if (!g) {
        for (uint32_t i = 0; i < count; i++)
            core_count_refused(ops->config.core, COUNTED_NOT, REASON_BUSY);
        answer_error(ops, request->client, request->id, RPC_BUSY, GATHER_BUSY);
        return;
    }
    ops->config.spend(ops->config.ctx, request->client, count / 4);
    for (uint32_t i = 0; i < count; i++)
        core_prefetch(ops->config.core, ops->keys[i]);
    for (uint32_t i = 0; i < count; i++)
        if (--ops->read_countdown == 0)
            top_sample_read(ops, ops->keys[i], request->now);
    fill_read(ops, request, &options, &event);
    for (uint32_t i = 0; i < count; i++)
        ask_key(ops, g, i, &event);
    g->all_asked = true;
    if (g->left > 0)
        return;
    gather_answer(ops, g, request->now);
    gather_free(ops, g);
}

void read_answered(struct ops *ops, const struct call *call, const struct core_effect *effect, uint64_t now)
{
    if (call->kind == CALL_READ) {
        answer_get(ops, call, effect);
    } else if (put_reading(ops, call->gather, call->index, effect)) {
        gather_answer(ops, call->gather, now);
        gather_free(ops, call->gather);
    }
}
