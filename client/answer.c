#include <inttypes.h>
#include <stdio.h>

#include "client/handle.h"

/* ---- errors ----------------------------------------------------------------------------------------------- */

static dcache_result result_of_code(uint64_t code)
{
    switch (code) {
    case RPC_MALFORMED:
    case RPC_UNKNOWN_METHOD:
        return DCACHE_E_PROTOCOL;
    case RPC_INVALID:
        return DCACHE_E_INVALID;
    case RPC_TOO_LARGE:
        return DCACHE_E_TOO_LARGE;
    case RPC_REFUSED:
        return DCACHE_E_REFUSED;
    case RPC_INDETERMINATE:
        return DCACHE_E_INDETERMINATE;
    case RPC_BUSY:
        return DCACHE_E_BUSY;
    case RPC_PERMISSION:
        return DCACHE_E_PERMISSION;
    case RPC_TIMEOUT:
        return DCACHE_E_TIMEOUT;
    case RPC_STORE:
        return DCACHE_E_STORE;
    case RPC_CORRUPT:
        return DCACHE_E_CORRUPT;
    case RPC_MIN_VERSION:
        return DCACHE_E_MIN_VERSION;
    case RPC_OTHER_EPOCH:
        return DCACHE_E_OTHER_EPOCH;
    case RPC_UNAVAILABLE:
        return DCACHE_E_UNAVAILABLE;
    case RPC_INTERNAL:
    default:
        return DCACHE_E_INTERNAL;
    }
}

dcache_result answer_decode_error(struct slice error, char *ret_text, size_t size)
{
    struct cursor c = cursor_of(error);
    uint64_t code;
    struct slice text;

    if (cursor_peek(&c) != CURSOR_ARRAY || cursor_array(&c) < 2) {
        snprintf(ret_text, size, "its error is not [code, text]");
        return DCACHE_E_PROTOCOL;
    }
    code = cursor_uint(&c);
    text = cursor_bytes(&c);
    if (!cursor_ok(&c)) {
        snprintf(ret_text, size, "its error is not [code, text]");
        return DCACHE_E_PROTOCOL;
    }
    if (text.len > 0)
        snprintf(ret_text, size, "%.*s", (int)(text.len < size ? text.len : size), (const char *)text.data);
    else
        snprintf(ret_text, size, "%s", rpc_error_name((enum rpc_error)code));
    return result_of_code(code);
}

/*
 * A code this library does not know says nothing about what was done; neither does an error that is none. A
 * write is then in doubt.
 */
static bool error_leaves_doubt(struct slice error)
{
    struct cursor c = cursor_of(error);
    uint64_t code;

    if (cursor_peek(&c) != CURSOR_ARRAY || cursor_array(&c) < 2)
        return true;
    code = cursor_uint(&c);
    return !cursor_ok(&c) || code == RPC_OK || code > RPC_UNAVAILABLE;
}

/*
 * The frame of a request that is done, if it was answered with a result. Otherwise its error, with the text
 * set.
 */
static dcache_result answer_open(dcache *cache, struct request *request, struct rpc_frame *ret_frame)
{
    char text[sizeof cache->error];
    dcache_result result;

    if (request->failed)
        return handle_fail(cache, request->result, "%s", request->text);
    /* It was decoded once when it arrived. */
    rpc_decode(slice_of(request->answer.data, request->answer.len), ret_frame);
    if (answer_is_good(ret_frame))
        return DCACHE_OK;
    result = answer_decode_error(ret_frame->error, text, sizeof text);
    if (request->writes && error_leaves_doubt(ret_frame->error))
        return handle_fail(cache, DCACHE_E_INDETERMINATE, "an error of unknown meaning: %s", text);
    return handle_fail(cache, result, "%s", text);
}

static dcache_result answer_unreadable(dcache *cache, const struct request *request, const char *what)
{
    link_protocol_error(cache, what);
    if (request->writes)
        return handle_fail(cache, DCACHE_E_INDETERMINATE,
                           "the answer cannot be read (%s): the write may or may not have been done", what);
    return handle_fail(cache, DCACHE_E_PROTOCOL, "the answer cannot be read: %s", what);
}

/* ---- readings --------------------------------------------------------------------------------------------- */

/* Texts stand in front of other elements of the answer, which have been read by now. */
static const char *text_terminate(struct slice text)
{
    if (text.len == 0)
        return "";
    ((uint8_t *)(uintptr_t)text.data)[text.len] = '\0';
    return (const char *)text.data;
}

static uint64_t freshness_limit_ns(const dcache *cache, const struct request *request, enum proto_state state)
{
    uint64_t limit = cache->link.bound_ns, stale = cache->link.max_stale_ns;
    uint64_t wanted_ms = request->read.max_stale_ms;

    if (state != STATE_STALE)
        return limit;
    if (wanted_ms > 0 && wanted_ms < stale / NS_PER_MS)
        stale = wanted_ms * NS_PER_MS;
    return stale > limit ? stale : limit;
}

/* False: too old to be handed over. */
static bool reading_check(dcache *cache, const struct request *request, const struct proto_reading *reading,
                          uint64_t now_ns, dcache_reading *ret)
{
    if (reading->state == STATE_LOCAL || reading->state == STATE_FAILED)
        return true;
    if (!request->clock.known)
        return false;
    ret->as_of_ns = clock_map_here(&request->clock, reading->as_of_ns);
    return clock_is_fresh(now_ns, ret->as_of_ns, freshness_limit_ns(cache, request, reading->state), &ret->age_ns);
}

static void reading_refuse(dcache *cache, dcache_reading *ret)
{
    uint64_t age_ms = ret->age_ns / NS_PER_MS, bound_ms = cache->link.bound_ns / NS_PER_MS;

    *ret = (dcache_reading){.result = DCACHE_E_REFUSED, .source = ""};
    handle_fail(cache, DCACHE_E_REFUSED,
                "freshness cannot be proven: the answer was proven current %" PRIu64
                " ms ago when it could be handed over, twice; the bound is %" PRIu64 " ms",
                age_ms, bound_ms);
}

static void reading_fill(dcache *cache, const struct proto_reading *reading, dcache_reading *ret)
{
    if (reading->state == STATE_FAILED) {
        *ret = (dcache_reading){.result = result_of_code(reading->code), .source = ""};
        handle_fail(cache, ret->result, "%.*s", (int)(reading->text.len < 400 ? reading->text.len : 400),
                    reading->text.len ? (const char *)reading->text.data : "");
        return;
    }
    ret->result = reading->state == STATE_ABSENT ? DCACHE_ABSENT : DCACHE_OK;
    ret->state = (dcache_state)reading->state;
    ret->value = reading->state == STATE_ABSENT ? NULL : reading->value.data;
    ret->value_len = reading->state == STATE_ABSENT ? 0 : reading->value.len;
    ret->version = reading->version;
    ret->timestamp_ns = reading->timestamp_ns;
    ret->source = text_terminate(reading->source);
    ret->replaced = reading->replaced;
}

static int reading_ask_again(dcache *cache, struct request *request)
{
    request->reasked = true;
    link_refresh_clock(cache);
    request_resubmit(cache, request);
    return ANSWER_AGAIN;
}

/* Is any of them too old? What cannot be decoded is no reason to ask again. */
static bool readings_are_old(dcache *cache, const struct request *request, struct cursor c, uint64_t now_ns)
{
    bool old = false;

    for (uint32_t i = 0; i < request->count; i++) {
        struct proto_reading reading;
        dcache_reading ignored;

        if (proto_decode_reading(&c, &reading))
            return false;
        old = old || !reading_check(cache, request, &reading, now_ns, &ignored);
    }
    return old;
}

static const char *readings_count(const struct request *request, struct cursor *c)
{
    if (request->kind != REQUEST_MGET)
        return NULL;
    if (cursor_peek(c) != CURSOR_ARRAY || cursor_array(c) != request->count)
        return "an mget answer without one reading per key";
    return NULL;
}

static void readings_fail(const struct request *request, dcache_reading *rets, dcache_result result)
{
    for (uint32_t i = 0; i < request->count; i++)
        rets[i] = (dcache_reading){.result = result, .source = ""};
}

static const char *readings_fill(dcache *cache, const struct request *request, struct cursor c, uint64_t now_ns,
                                 dcache_reading *rets)
{
    for (uint32_t i = 0; i < request->count; i++) {
        struct proto_reading reading;
        const char *wrong = proto_decode_reading(&c, &reading);

        if (wrong)
            return wrong;
        if (reading.state == STATE_FAILED && request->kind == REQUEST_GET)
            return "a failure inside a get answer";
        rets[i] = (dcache_reading){.source = ""};
        if (reading_check(cache, request, &reading, now_ns, &rets[i]))
            reading_fill(cache, &reading, &rets[i]);
        else
            reading_refuse(cache, &rets[i]);
    }
    return NULL;
}

int answer_read(dcache *cache, struct request *request, dcache_reading *rets, dcache_result *ret_result)
{
    struct rpc_frame frame = {0};
    uint64_t now_ns;
    const char *wrong;

    *ret_result = answer_open(cache, request, &frame);
    if (*ret_result != DCACHE_OK) {
        readings_fail(request, rets, *ret_result);
        return ANSWER_DONE;
    }
    now_ns = clock_now_ns();
    wrong = readings_count(request, &frame.result);
    if (!wrong && !request->reasked && now_ns < request->deadline_ns &&
        readings_are_old(cache, request, frame.result, now_ns))
        return reading_ask_again(cache, request);
    if (!wrong)
        wrong = readings_fill(cache, request, frame.result, now_ns, rets);
    if (wrong) {
        *ret_result = answer_unreadable(cache, request, wrong);
        readings_fail(request, rets, *ret_result);
        return ANSWER_DONE;
    }
    *ret_result = request->kind == REQUEST_GET ? rets[0].result : DCACHE_OK;
    return ANSWER_DONE;
}

/* ---- writes ----------------------------------------------------------------------------------------------- */

static void written_fill(dcache *cache, const struct proto_written *written, dcache_written *ret)
{
    size_t len = written->epoch.len < sizeof ret->epoch ? written->epoch.len : sizeof ret->epoch - 1;

    if (written->outcome == OUTCOME_FAILED) {
        ret->result = written->code > RPC_UNAVAILABLE ? DCACHE_E_INDETERMINATE : result_of_code(written->code);
        handle_fail(cache, ret->result, "%.*s", (int)(written->text.len < 400 ? written->text.len : 400),
                    written->text.len ? (const char *)written->text.data : "");
        return;
    }
    ret->result = written->outcome == OUTCOME_ACCEPTED    ? DCACHE_OK
                  : written->outcome == OUTCOME_STALE     ? DCACHE_STALE
                  : written->outcome == OUTCOME_DUPLICATE ? DCACHE_DUPLICATE
                  : written->outcome == OUTCOME_CONFLICT  ? DCACHE_CONFLICT
                                                          : DCACHE_LOCAL;
    ret->version = written->version;
    ret->seq = written->seq;
    if (len > 0)
        memcpy(ret->epoch, written->epoch.data, len);
    ret->epoch[len] = '\0';
}

static const char *writes_fill(dcache *cache, const struct request *request, struct cursor c, dcache_written *rets)
{
    uint32_t count = request->kind == REQUEST_MSET ? request->count : 1;

    if (request->kind == REQUEST_MSET && (cursor_peek(&c) != CURSOR_ARRAY || cursor_array(&c) != count))
        return "an mset answer without one outcome per key";
    for (uint32_t i = 0; i < count; i++) {
        struct proto_written written;
        const char *wrong = proto_decode_written(&c, &written);

        if (wrong)
            return wrong;
        if (written.outcome == OUTCOME_FAILED && request->kind != REQUEST_MSET)
            return "a failure inside an answer";
        written_fill(cache, &written, &rets[i]);
    }
    return NULL;
}

/* Everything but the write id, which the caller knows before the write is sent. */
static void writes_fail(const struct request *request, dcache_written *rets, dcache_result result)
{
    uint32_t count = request->kind == REQUEST_MSET ? request->count : 1;

    for (uint32_t i = 0; i < count; i++) {
        rets[i].result = result;
        rets[i].version = rets[i].seq = 0;
        rets[i].epoch[0] = '\0';
    }
}

dcache_result answer_write(dcache *cache, struct request *request, dcache_written *rets)
{
    struct rpc_frame frame = {0};
    dcache_result result = answer_open(cache, request, &frame);
    const char *wrong;

    if (result == DCACHE_OK) {
        wrong = writes_fill(cache, request, frame.result, rets);
        if (wrong)
            result = answer_unreadable(cache, request, wrong);
    }
    if (result != DCACHE_OK)
        writes_fail(request, rets, result);
    else if (request->kind != REQUEST_MSET)
        result = rets[0].result;
    return result;
}

/* ---- others ----------------------------------------------------------------------------------------------- */

dcache_result answer_plain(dcache *cache, struct request *request, struct slice *ret_result)
{
    struct rpc_frame frame = {0};
    dcache_result result = answer_open(cache, request, &frame);

    if (result == DCACHE_OK)
        *ret_result = cursor_raw(&frame.result);
    return result;
}
