/* set, mset, delete and clear. */
#include <stdio.h>

#include "daemon/ops/internal.h"

#define CANARY_PREFIX CORE_RESERVED_PREFIX "canary:"
#define CANARY_TTL_MS 60000 /* picked */

/* NULL, or what is wrong. */
static const char *check_write(const struct ops *ops, const struct proto_write *write, enum rpc_error *ret_code)
{
    const char *error = check_key(ops, write->key, ret_code);

    if (error)
        return error;
    if (write->value.len > ops->config.max_value)
        return "value: longer than [cache] max_value"; /* the code is TOO_LARGE still */
    *ret_code = RPC_INVALID;
    if (write->has_ttl && write->ttl_ms > OPS_TTL_MAX_MS)
        return "ttl_ms: more than ten years; leave it out, or give 0, for no end";
    if (write->version > VERSION_MAX)
        return "version: integer in 1 .. 2^63-1 expected";
    if (write->retry && write->write_id.len == 0)
        return "retry: needs the write_id of the first attempt";
    return NULL;
}

static void fill_write(struct ops *ops, enum write_op op, const struct proto_write *write, uint64_t token,
                       uint64_t deadline, struct write_request *ret)
{
    *ret = (struct write_request){
        .token = token,
        .op = op,
        .key = write->key,
        .value = write->value,
        .version = write->version,
        .ttl_ms = write->has_ttl ? write->ttl_ms : ops->config.default_ttl_ms,
        .carry_value = write->has_invalidate ? !write->invalidate : ops->config.carry_value,
        .retry = write->retry,
        .at_once = share_is_used_up(ops, call_of(ops, token)->client),
        .deadline = deadline,
    };
    if (write->deadline_ns > 0 && write->deadline_ns < deadline)
        ret->deadline = write->deadline_ns;
    if (op == OP_DELETE && !write->has_ttl)
        ret->ttl_ms = ops->config.tombstone_ttl_ms;
    if (write->write_id.len == PROTO_WRITE_ID_BYTES)
        memcpy(ret->write_id, write->write_id.data, PROTO_WRITE_ID_BYTES);
    else
        ops->config.random(ops->config.ctx, ret->write_id, sizeof(ret->write_id));
}

static void run_write(struct ops *ops, const struct request *request, enum write_op op,
                      const struct proto_write *write)
{
    struct core_event event = {.type = EV_WRITE, .now = request->now};
    uint64_t token;

    if (!call_take(ops, CALL_WRITE, request->client, request->id, write->key.len + write->value.len, &token)) {
        answer_error(ops, request->client, request->id, RPC_BUSY, core_reason_text(REASON_BUSY));
        return;
    }
    fill_write(ops, op, write, token, deadline_of(ops, request->now, write->timeout_ms), &event.write);
    ops->config.step(ops->config.ctx, &event);
}

static void run_keyed(struct ops *ops, const struct request *request, enum write_op op, const char *error,
                      const struct proto_write *write)
{
    enum rpc_error code = RPC_INVALID;

    if (!error)
        error = check_write(ops, write, &code);
    if (error)
        answer_error(ops, request->client, request->id, code, error);
    else
        run_write(ops, request, op, write);
}

void run_set(struct ops *ops, const struct request *request)
{
    struct proto_write write = {0};
    const char *error = proto_decode_set(request->params, &write);

    run_keyed(ops, request, OP_SET, error, &write);
}

void run_delete(struct ops *ops, const struct request *request)
{
    struct proto_write write = {0};
    const char *error = proto_decode_delete(request->params, &write);

    run_keyed(ops, request, OP_DELETE, error, &write);
}

void run_clear(struct ops *ops, const struct request *request)
{
    struct proto_write write;
    const char *error = proto_decode_clear(request->params, &write);

    if (error)
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
    else
        run_write(ops, request, OP_CLEAR, &write);
}

/* A write of the daemon's own, through the whole way a client's takes: nobody else's key is touched. */
void run_canary(struct ops *ops, const struct request *request)
{
    char key[sizeof(CANARY_PREFIX) + SOURCE_MAX];
    struct proto_write write = {
        .has_ttl = true, .ttl_ms = CANARY_TTL_MS, .has_invalidate = true, .invalidate = true};
    const char *error = proto_decode_empty(request->params);

    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    snprintf(key, sizeof(key), CANARY_PREFIX "%s", ops->config.pod);
    write.key = slice_text(key);
    write.value = slice_text("canary");
    run_write(ops, request, OP_SET, &write);
}

static bool written_of(const struct core_effect *effect, struct proto_written *ret)
{
    static const enum proto_outcome outcomes[] = {
        [WRITE_ACCEPTED] = OUTCOME_ACCEPTED, [WRITE_STALE] = OUTCOME_STALE, [WRITE_DUPLICATE] = OUTCOME_DUPLICATE,
        [WRITE_CONFLICT] = OUTCOME_CONFLICT, [WRITE_LOCAL] = OUTCOME_LOCAL,
    };

    if (effect->write_done.outcome > WRITE_LOCAL)
        return false;
    *ret = (struct proto_written){
        .outcome = outcomes[effect->write_done.outcome],
        .version = effect->write_done.version,
        .seq = effect->write_done.seq,
        .epoch = slice_text(effect->write_done.epoch.text),
    };
    return true;
}

static enum rpc_error failure_of(const struct ops *ops, const struct core_effect *effect, struct slice *ret_text)
{
    *ret_text = reason_slice(ops, effect->write_done.reason, effect->write_done.text);
    if (effect->write_done.outcome == WRITE_INDETERMINATE) {
        if (ret_text->len == 0)
            *ret_text = slice_text("the answer of Redis was lost: retry with the same write_id and retry = true");
        return RPC_INDETERMINATE;
    }
    if (ret_text->len == 0)
        *ret_text = slice_text("Redis refused; nothing was done");
    return effect->write_done.outcome == WRITE_ERROR ? RPC_STORE : reason_code(effect->write_done.reason, true);
}

/* ---- mset ------------------------------------------------------------------------------------------------- */

static bool put_failure(struct ops *ops, struct gather *g, uint32_t index, enum rpc_error code, struct slice text)
{
    struct proto_written written = {.outcome = OUTCOME_FAILED, .code = code, .text = gather_text(ops, g, text)};

    g->items[index].at = g->bytes.len;
    proto_pack_written(&g->bytes, &written);
    return gather_put_end(ops, g, index, 0);
}

static bool put_written(struct ops *ops, struct gather *g, uint32_t index, const struct core_effect *effect)
{
    struct proto_written written;
    struct slice text;
    enum rpc_error code;

    if (!written_of(effect, &written)) {
        code = failure_of(ops, effect, &text);
        return put_failure(ops, g, index, code, text);
    }
    g->items[index].at = g->bytes.len;
    proto_pack_written(&g->bytes, &written);
    return gather_put_end(ops, g, index, 0);
}

static void ask_item(struct ops *ops, struct gather *g, uint32_t index, uint64_t now, uint64_t deadline)
{
    const struct proto_write *write = &ops->writes[index];
    struct core_event event = {.type = EV_WRITE, .now = now};
    enum rpc_error code;
    const char *error = check_write(ops, write, &code);
    uint64_t token;

    if (error) {
        put_failure(ops, g, index, code, slice_text(error));
        return;
    }
    if (!call_take(ops, CALL_MSET_ITEM, g->client, g->id, write->key.len + write->value.len, &token)) {
        put_failure(ops, g, index, RPC_BUSY, slice_text(core_reason_text(REASON_BUSY)));
        return;
    }
    call_of(ops, token)->gather = g;
    call_of(ops, token)->index = index;
    fill_write(ops, OP_SET, write, token, deadline, &event.write);
    ops->config.step(ops->config.ctx, &event);
}

void run_mset(struct ops *ops, const struct request *request)
{
    struct gather *g;
    uint32_t count;
    uint64_t timeout_ms, deadline;
    const char *error = proto_decode_mset(request->params, ops->writes, &count, &timeout_ms);

    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    g = gather_new(ops, request, count);
    if (!g) {
        answer_error(ops, request->client, request->id, RPC_BUSY, GATHER_BUSY);
        return;
    }
    g->writes = true;
    ops->config.spend(ops->config.ctx, request->client, count);
    deadline = deadline_of(ops, request->now, timeout_ms);
    for (uint32_t i = 0; i < count; i++)
        ask_item(ops, g, i, request->now, deadline);
    g->all_asked = true;
    if (g->left > 0)
        return;
    gather_answer(ops, g, request->now);
    gather_free(ops, g);
}

static void answer_write(struct ops *ops, const struct call *call, const struct core_effect *effect)
{
    struct proto_written written;
    struct slice text;
    struct buffer *b;

    if (!written_of(effect, &written)) {
        enum rpc_error code = failure_of(ops, effect, &text);

        answer_error_slice(ops, call->client, call->id, code, text);
        return;
    }
    b = answer_begin(ops, call->client, call->id);
    if (!b)
        return;
    proto_pack_written(b, &written);
    answer_end(ops, call->client);
}

void write_answered(struct ops *ops, const struct call *call, const struct core_effect *effect, uint64_t now)
{
    if (call->kind == CALL_WRITE) {
        answer_write(ops, call, effect);
    } else if (put_written(ops, call->gather, call->index, effect)) {
        gather_answer(ops, call->gather, now);
        gather_free(ops, call->gather);
    }
}
