#include "daemon/ops/ops.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/ops/internal.h"

#define NO_CALL UINT32_MAX

static const method_run methods[METHOD_COUNT] = {
#define X(name, class) [METHOD_##name] = run_##name,
    PROTO_METHODS(X)
#undef X
};

int ops_new(struct ops **ret, const struct ops_config *config)
{
    struct ops *ops = calloc(1, sizeof(*ops));

    if (!ops)
        return -ENOMEM;
    ops->config = *config;
    ops->first_free = NO_CALL;
    ops->next_watch = 1;
    ops->read_countdown = 1;
    ops->gather_max = 2 * config->max_message > OPS_GATHER_BYTES ? 2 * config->max_message : OPS_GATHER_BYTES;
    ops->hot_reads.half_life_ns = OPS_HOT_READS_NS;
    ops->hot_rejected.half_life_ns = OPS_HOT_REJECTED_NS;
    *ret = ops;
    return 0;
}

struct ops *ops_free(struct ops *ops)
{
    if (!ops)
        return NULL;
    /* A gathering is freed with the last of its calls. */
    for (uint32_t i = 0; i < ops->call_count; i++) {
        struct call *call = &ops->calls[i];

        if (call->kind != CALL_FREE && call->gather && --call->gather->left == 0)
            gather_free(ops, call->gather);
    }
    gather_free_spare(ops);
    for (unsigned i = 0; i < ops->watch_count; i++)
        free(ops->watches[i].prefix);
    free(ops->watches);
    free(ops->calls);
    free(ops->shares);
    buffer_deinit(&ops->scratch);
    free(ops);
    return NULL;
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

static bool calls_grow(struct ops *ops)
{
    uint32_t count = ops->call_count ? ops->call_count * 2 : 256;
    struct call *calls;

    if (count > OPS_CALLS_MAX)
        return false;
    calls = realloc(ops->calls, count * sizeof(*calls));
    if (!calls)
        return false;
    for (uint32_t i = ops->call_count; i < count; i++)
        calls[i] = (struct call){.generation = 1, .next_free = i + 1 < count ? i + 1 : NO_CALL};
    ops->first_free = ops->call_count;
    ops->calls = calls;
    ops->call_count = count;
    return true;
}

bool call_take(struct ops *ops, enum call_kind kind, uint64_t client, uint32_t id, size_t write_bytes,
               uint64_t *ret_token)
{
    struct share *share = share_of(ops, client);
    struct call *call;
    uint32_t index;

    if (!share || (ops->first_free == NO_CALL && !calls_grow(ops))) {
        ops->counters.calls_refused++;
        return false;
    }
    index = ops->first_free;
    call = &ops->calls[index];
    ops->first_free = call->next_free;
    call->kind = kind;
    call->client = client;
    call->id = id;
    call->gather = NULL;
    call->write_bytes = write_bytes;
    share->calls++;
    share->write_bytes += write_bytes;
    *ret_token = (uint64_t)call->generation << 32 | index;
    return true;
}

struct call *call_of(struct ops *ops, uint64_t token)
{
    uint32_t index = (uint32_t)token;

    if (index >= ops->call_count || ops->calls[index].generation != token >> 32)
        return NULL;
    return ops->calls[index].kind == CALL_FREE ? NULL : &ops->calls[index];
}

static void call_release(struct ops *ops, uint64_t token)
{
    struct call *call = &ops->calls[(uint32_t)token];

    share_release(ops, call->client, 1, 0, call->write_bytes);
    call->kind = CALL_FREE;
    call->generation++;
    call->next_free = ops->first_free;
    ops->first_free = (uint32_t)token;
}

void ops_done(struct ops *ops, const struct core_effect *effect, uint64_t now)
{
    uint64_t token = effect->type == FX_READ_DONE    ? effect->read_done.token
                     : effect->type == FX_WRITE_DONE ? effect->write_done.token
                                                     : effect->inspect_done.token;
    struct call *found = call_of(ops, token);
    struct call call;

    if (!found)
        return;
    call = *found;
    call_release(ops, token);
    switch (call.kind) {
    case CALL_READ:
    case CALL_MGET_KEY:
        read_answered(ops, &call, effect, now);
        break;
    case CALL_WRITE:
    case CALL_MSET_ITEM:
        write_answered(ops, &call, effect, now);
        break;
    case CALL_INSPECT:
        inspect_answered(ops, &call, effect, now);
        break;
    case CALL_VERIFY_KEY:
        verify_answered(ops, &call, effect);
        break;
    case CALL_FREE:
        break;
    }
}

/* ---- answers ---------------------------------------------------------------------------------------------- */

struct buffer *answer_begin(struct ops *ops, uint64_t client, uint32_t id)
{
    struct buffer *b = ops->config.answer_begin(ops->config.ctx, client);

    if (b)
        rpc_pack_response(b, id);
    return b;
}

void answer_end(struct ops *ops, uint64_t client)
{
    ops->config.answer_end(ops->config.ctx, client);
}

void answer_error_slice(struct ops *ops, uint64_t client, uint32_t id, enum rpc_error code, struct slice text)
{
    struct buffer *b = ops->config.answer_begin(ops->config.ctx, client);

    if (!b)
        return;
    pack_array(b, 4);
    pack_uint(b, RPC_RESPONSE);
    pack_uint(b, id);
    pack_array(b, 2);
    pack_uint(b, code);
    pack_str(b, text);
    pack_nil(b);
    answer_end(ops, client);
}

void answer_error(struct ops *ops, uint64_t client, uint32_t id, enum rpc_error code, const char *text)
{
    if (code == RPC_INVALID || code == RPC_UNKNOWN_METHOD || code == RPC_MALFORMED)
        ops->counters.requests_invalid++;
    answer_error_slice(ops, client, id, code, slice_text(text));
}

const char *check_key(const struct ops *ops, struct slice key, enum rpc_error *ret_code)
{
    *ret_code = RPC_INVALID;
    if (key.len == 0)
        return "key: at least one byte expected";
    if (slice_has_prefix(key, slice_text(CORE_RESERVED_PREFIX)))
        return "key: those that begin with " CORE_RESERVED_PREFIX " are reserved for the daemon";
    *ret_code = RPC_TOO_LARGE;
    return key.len > ops->config.max_key ? "key: longer than [cache] max_key" : NULL;
}

uint64_t deadline_of(const struct ops *ops, uint64_t now, uint64_t timeout_ms)
{
    if (timeout_ms == 0)
        return now + ops->config.timeout_ns;
    return now + (timeout_ms < OPS_TIMEOUT_MAX_MS ? timeout_ms : OPS_TIMEOUT_MAX_MS) * NS_PER_MS;
}

enum rpc_error reason_code(enum core_reason reason, bool write)
{
    switch (reason) {
    case REASON_MIN_VERSION:
        return RPC_MIN_VERSION;
    case REASON_OTHER_EPOCH:
        return RPC_OTHER_EPOCH;
    case REASON_BUSY:
        return RPC_BUSY;
    case REASON_TIMEOUT:
        /* For a reader the outcome is the same: freshness was not proven. */
        return write ? RPC_TIMEOUT : RPC_REFUSED;
    case REASON_READER:
        return RPC_PERMISSION;
    case REASON_STORE:
        return RPC_STORE;
    case REASON_NONE:
        return write ? RPC_STORE : RPC_REFUSED;
    default:
        return write ? RPC_UNAVAILABLE : RPC_REFUSED;
    }
}

struct slice reason_slice(const struct ops *ops, enum core_reason reason, struct slice text)
{
    if (text.len == 0 && reason == REASON_NO_LINK)
        text = slice_text(ops->config.trouble(ops->config.ctx));
    return text.len > 0 ? text : slice_text(core_reason_text(reason));
}

void ops_pack_refusal(struct buffer *b, struct slice begin, enum rpc_error code, const char *text)
{
    struct rpc_frame frame = {0};

    /* The beginning of a request may show its id. */
    rpc_decode(begin, &frame);
    rpc_pack_error(b, frame.id, code, text);
}

/* ---- requests --------------------------------------------------------------------------------------------- */

static enum ops_result refuse_frame(struct ops *ops, uint64_t client, uint32_t id, const char *text)
{
    answer_error(ops, client, id, RPC_MALFORMED, text);
    return OPS_MALFORMED;
}

enum ops_result ops_request(struct ops *ops, uint64_t client, struct slice bytes, uint64_t now)
{
    struct rpc_frame frame;
    struct request request = {.client = client, .now = now};
    enum proto_method method;
    const char *error = rpc_decode(bytes, &frame);

    if (error)
        return refuse_frame(ops, client, frame.id, error);
    if (frame.type == RPC_RESPONSE)
        return refuse_frame(ops, client, frame.id, "a response, though the daemon asked nothing");
    if (frame.type == RPC_NOTIFICATION) {
        ops->counters.notifications_ignored++;
        return OPS_UNANSWERED;
    }
    ops->counters.requests++;
    if (!share_begin(ops, client)) {
        answer_error(ops, client, frame.id, RPC_BUSY, "out of memory");
        return OPS_TAKEN;
    }
    method = proto_method_find(frame.method);
    if (method == METHOD_COUNT) {
        answer_error(ops, client, frame.id, RPC_UNKNOWN_METHOD, "no such method; PROTOCOL.md lists them");
        return OPS_TAKEN;
    }
    error = ops->config.refuse ? ops->config.refuse(ops->config.ctx, client, method) : NULL;
    if (error) {
        ops->counters.requests_denied++;
        answer_error(ops, client, frame.id, RPC_PERMISSION, error);
        return OPS_TAKEN;
    }
    request.id = frame.id;
    request.params = frame.params;
    methods[method](ops, &request);
    return OPS_TAKEN;
}

void ops_client_closed(struct ops *ops, uint64_t client)
{
    watches_forget(ops, client);
}

void ops_client_unwatch(struct ops *ops, uint64_t client)
{
    watches_forget(ops, client);
}

void ops_set_policy(struct ops *ops, const struct ops_policy *policy)
{
    ops->config.max_stale_ns = policy->max_stale_ns;
    ops->config.timeout_ns = policy->timeout_ns;
    ops->config.default_ttl_ms = policy->default_ttl_ms;
    ops->config.tombstone_ttl_ms = policy->tombstone_ttl_ms;
    ops->config.carry_value = policy->carry_value;
}

void ops_get_counters(const struct ops *ops, struct ops_counters *ret_counters)
{
    *ret_counters = ops->counters;
    ret_counters->watches = ops->watch_count;
}
