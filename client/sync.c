/*
 * Synchronous calls: one request on the stack, then link and poll until it is done. Callbacks of asynchronous
 * requests never run in here; what arrives for them waits for dcache_process.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "client/calls.h"

static void sync_wait(dcache *cache)
{
    uint64_t now_ns = clock_now_ns();
    short events = link_events(cache);
    struct pollfd pollfd = {.fd = events ? cache->link.stream.fd : -1, .events = events};
    int n = poll(&pollfd, 1, clock_ms_until(now_ns, link_wanted_at(cache, now_ns)));

    now_ns = clock_now_ns();
    if (n > 0 && (pollfd.revents & ~POLLOUT))
        link_receive(cache, now_ns);
    pending_expire(cache, now_ns);
}

/* Until the request is done; it is submitted already. */
static void sync_run(dcache *cache, struct request *request)
{
    for (;;) {
        link_advance(cache, clock_now_ns());
        if (!request->list)
            return;
        sync_wait(cache);
        if (!request->list)
            return;
    }
}

/* The answer, or its memory alone, is kept until the next call: readings borrow from it. */
static void sync_leave(dcache *cache, struct request *request)
{
    request_withdraw(cache, request);
    buffer_deinit(&cache->result);
    cache->result = request->answer;
}

/* The request takes over the memory of the last answer: a synchronous call allocates nothing. */
static dcache_result sync_submit(dcache *cache, struct request *request)
{
    request->answer = cache->result;
    cache->result = (struct buffer)BUFFER_INIT;
    buffer_clear(&request->answer);
    if (request_submit(cache, request) == 0)
        return DCACHE_OK;
    cache->result = request->answer;
    return handle_fail(cache, DCACHE_E_NOMEM, "out of memory");
}

/* ---- reads ------------------------------------------------------------------------------------------------ */

static void readings_clear(dcache_reading *rets, size_t count, dcache_result result)
{
    for (size_t i = 0; i < count; i++)
        rets[i] = (dcache_reading){.result = result, .source = ""};
}

static dcache_result sync_read(dcache *cache, struct request *request, dcache_reading *rets)
{
    dcache_result result = sync_submit(cache, request);

    if (result != DCACHE_OK) {
        readings_clear(rets, request->count, result);
        return result;
    }
    do
        sync_run(cache, request);
    while (answer_read(cache, request, rets, &result) == ANSWER_AGAIN);
    sync_leave(cache, request);
    return result;
}

dcache_result dcache_get(dcache *cache, const void *key, size_t key_len, const dcache_read_options *options,
                         dcache_reading *ret)
{
    struct slice slice = slice_of(key, key_len);
    struct request request = {.keys = &slice};
    dcache_read_options taken;
    dcache_result result = handle_enter(cache);

    if (result == DCACHE_OK)
        result = call_check_key(cache, key, key_len);
    if (result == DCACHE_OK && !handle_read_options(cache, options, &taken))
        result = DCACHE_E_INVALID;
    if (result == DCACHE_OK) {
        call_start(cache, &request, REQUEST_GET, taken.timeout_ms);
        call_set_read(&request, &taken);
        return sync_read(cache, &request, ret);
    }
    readings_clear(ret, 1, result);
    return result;
}

static dcache_result mget_check(dcache *cache, const dcache_key *keys, size_t count)
{
    dcache_result result = handle_enter(cache);

    if (result == DCACHE_OK && count > PROTO_MGET_MAX)
        return handle_fail(cache, DCACHE_E_INVALID, "at most %d keys in one call", PROTO_MGET_MAX);
    for (size_t i = 0; i < count && result == DCACHE_OK; i++)
        result = call_check_key(cache, keys[i].data, keys[i].len);
    return result;
}

dcache_result dcache_mget(dcache *cache, const dcache_key *keys, size_t count, const dcache_read_options *options,
                          dcache_reading *rets)
{
    struct slice slices[PROTO_MGET_MAX];
    struct request request = {.keys = slices};
    dcache_read_options taken;
    dcache_result result = mget_check(cache, keys, count);

    if (result == DCACHE_OK && !handle_read_options(cache, options, &taken))
        result = DCACHE_E_INVALID;
    if (result != DCACHE_OK || count == 0) {
        readings_clear(rets, count <= PROTO_MGET_MAX ? count : 0, result);
        return result;
    }
    for (size_t i = 0; i < count; i++)
        slices[i] = slice_of(keys[i].data, keys[i].len);
    call_start(cache, &request, REQUEST_MGET, taken.timeout_ms);
    call_set_read(&request, &taken);
    request.count = (uint32_t)count;
    return sync_read(cache, &request, rets);
}

/* ---- writes ----------------------------------------------------------------------------------------------- */

static dcache_result sync_write(dcache *cache, struct request *request, dcache_written *rets)
{
    dcache_result result = sync_submit(cache, request);

    if (result != DCACHE_OK)
        return result;
    sync_run(cache, request);
    result = answer_write(cache, request, rets);
    sync_leave(cache, request);
    return result;
}

static dcache_result sync_write_one(dcache *cache, enum request_kind kind, struct slice key, struct slice value,
                                    const dcache_write_options *options, dcache_written *ret)
{
    struct proto_write write;
    struct request request = {.write = &write};
    dcache_write_options taken;
    dcache_written written = {0};
    dcache_result result = handle_enter(cache);

    if (result == DCACHE_OK)
        result = call_check_key(cache, key.data, key.len);
    if (result == DCACHE_OK)
        result = call_check_value(cache, value.data, value.len);
    if (result == DCACHE_OK && !handle_write_options(cache, options, &taken))
        result = DCACHE_E_INVALID;
    if (result == DCACHE_OK) {
        call_start(cache, &request, kind, taken.timeout_ms);
        call_set_write(&write, &taken, key, value, written.write_id);
        result = sync_write(cache, &request, &written);
    }
    written.result = result;
    if (ret)
        *ret = written;
    return result;
}

dcache_result dcache_set(dcache *cache, const void *key, size_t key_len, const void *value, size_t value_len,
                         const dcache_write_options *options, dcache_written *ret)
{
    return sync_write_one(cache, REQUEST_SET, slice_of(key, key_len), slice_of(value, value_len), options, ret);
}

dcache_result dcache_delete(dcache *cache, const void *key, size_t key_len, const dcache_write_options *options,
                            dcache_written *ret)
{
    return sync_write_one(cache, REQUEST_DELETE, slice_of(key, key_len), slice_of(NULL, 0), options, ret);
}

/* options.size 0 is the struct as it stands in the item. */
static dcache_result mset_take(dcache *cache, const dcache_item *item, struct proto_write *write,
                               dcache_written *ret)
{
    dcache_write_options options = item->options, taken;
    dcache_result result = call_check_key(cache, item->key.data, item->key.len);

    if (options.size == 0)
        options.size = sizeof options;
    if (result == DCACHE_OK)
        result = call_check_value(cache, item->value, item->value_len);
    if (result == DCACHE_OK && !handle_write_options(cache, &options, &taken))
        result = DCACHE_E_INVALID;
    if (result == DCACHE_OK)
        call_set_write(write, &taken, slice_of(item->key.data, item->key.len),
                       slice_of(item->value, item->value_len), ret->write_id);
    return result;
}

static void written_clear(dcache_written *rets, size_t count, dcache_result result)
{
    for (size_t i = 0; i < count; i++)
        rets[i] = (dcache_written){.result = result};
}

dcache_result dcache_mset(dcache *cache, const dcache_item *items, size_t count, uint32_t timeout_ms,
                          dcache_written *rets)
{
    struct request request = {0};
    struct proto_write *writes;
    dcache_result result = handle_enter(cache);

    if (result == DCACHE_OK && count > PROTO_MGET_MAX)
        return handle_fail(cache, DCACHE_E_INVALID, "at most %d keys in one call", PROTO_MGET_MAX);
    written_clear(rets, count <= PROTO_MGET_MAX ? count : 0, result);
    if (result != DCACHE_OK || count == 0)
        return result;
    writes = calloc(count, sizeof *writes);
    if (!writes)
        result = handle_fail(cache, DCACHE_E_NOMEM, "out of memory");
    for (size_t i = 0; i < count && result == DCACHE_OK; i++)
        result = mset_take(cache, &items[i], &writes[i], &rets[i]);
    if (result == DCACHE_OK) {
        call_start(cache, &request, REQUEST_MSET, timeout_ms);
        request.write = writes;
        request.count = (uint32_t)count;
        result = sync_write(cache, &request, rets);
    }
    for (size_t i = 0; i < count && result < 0; i++)
        rets[i].result = result;
    free(writes);
    return result;
}

dcache_result dcache_clear(dcache *cache, dcache_written *ret)
{
    struct proto_write write = {0};
    struct request request = {.write = &write};
    dcache_written written = {0};
    dcache_result result = handle_enter(cache);

    if (result == DCACHE_OK) {
        call_start(cache, &request, REQUEST_CLEAR, 0);
        result = sync_write(cache, &request, &written);
    }
    written.result = result;
    if (ret)
        *ret = written;
    return result;
}

/* ---- others ----------------------------------------------------------------------------------------------- */

static dcache_result sync_plain(dcache *cache, struct request *request, struct slice *ret_result)
{
    dcache_result result = sync_submit(cache, request);

    if (result != DCACHE_OK)
        return result;
    sync_run(cache, request);
    result = answer_plain(cache, request, ret_result);
    sync_leave(cache, request);
    return result;
}

dcache_result dcache_ping(dcache *cache)
{
    static const uint8_t no_params[] = {0x90};
    struct request request = {.method = "ping", .params = {no_params, sizeof no_params}};
    struct slice ignored;
    dcache_result result = handle_enter(cache);

    if (result != DCACHE_OK)
        return result;
    call_start(cache, &request, REQUEST_PLAIN, 0);
    return sync_plain(cache, &request, &ignored);
}

static bool method_writes(const char *method)
{
    switch (proto_method_find(slice_text(method))) {
    case METHOD_set:
    case METHOD_mset:
    case METHOD_delete:
    case METHOD_clear:
        return true;
    default:
        return false;
    }
}

dcache_result dcache_call(dcache *cache, const char *method, const void *params, size_t params_len,
                          uint32_t timeout_ms, const void **ret_result, size_t *ret_len)
{
    struct request request = {.method = method, .params = slice_of(params, params_len)};
    struct cursor c = cursor_of(request.params);
    struct slice answer = {0};
    dcache_result result = handle_enter(cache);

    if (result != DCACHE_OK)
        return result;
    if (!method || cursor_peek(&c) != CURSOR_ARRAY || (cursor_skip(&c), !cursor_ok(&c)) || !cursor_at_end(&c))
        return handle_fail(cache, DCACHE_E_INVALID, "params: one packed array expected");
    call_start(cache, &request, REQUEST_PLAIN, timeout_ms);
    request.writes = method_writes(method);
    result = sync_plain(cache, &request, &answer);
    *ret_result = answer.data;
    *ret_len = answer.len;
    return result;
}
