/*
 * Asynchronous calls: requests of their own with copies of everything, and the callbacks, which run in
 * dcache_process and dcache_close alone.
 */
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/calls.h"

/* A request with what it borrows: the slices point into `bytes`. */
struct async {
    struct request request; /* first, as a request is freed through it */
    struct slice key;
    struct proto_write write;
    size_t len;
    uint8_t bytes[];
};

static dcache_result async_check_room(dcache *cache, size_t len)
{
    if (cache->async_count >= cache->link.max_in_flight)
        return handle_fail(cache, DCACHE_E_BUSY, "%u requests are unanswered: no more are taken until some are",
                           cache->async_count);
    if (cache->queued_bytes > 0 && len > QUEUED_BYTES_MAX - cache->queued_bytes)
        return handle_fail(cache, DCACHE_E_BUSY, "%zu bytes are held by unanswered requests", cache->queued_bytes);
    return DCACHE_OK;
}

static struct slice async_copy(struct async *async, struct slice bytes)
{
    uint8_t *at = async->bytes + async->len;

    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    async->len += bytes.len;
    return slice_of(at, bytes.len);
}

/* DCACHE_OK with *ret, which has room for `len` more bytes. */
static dcache_result async_new(dcache *cache, size_t len, struct async **ret)
{
    dcache_result result = async_check_room(cache, len);

    if (result != DCACHE_OK)
        return result;
    *ret = calloc(1, sizeof **ret + len);
    if (!*ret)
        return handle_fail(cache, DCACHE_E_NOMEM, "out of memory");
    (*ret)->request.async = true;
    return DCACHE_OK;
}

static dcache_result async_submit(dcache *cache, struct async *async, void *ctx)
{
    async->request.ctx = ctx;
    if (request_submit(cache, &async->request) < 0) {
        free(async);
        return handle_fail(cache, DCACHE_E_NOMEM, "out of memory");
    }
    cache->async_count++;
    cache->queued_bytes += async->len;
    return DCACHE_OK;
}

/* It no longer counts, so that its callback finds room for the next call. */
static void async_withdraw(dcache *cache, struct request *request)
{
    request_withdraw(cache, request);
    cache->async_count--;
    cache->queued_bytes -= ((struct async *)request)->len;
}

static void async_free(struct request *request)
{
    buffer_deinit(&request->answer);
    free((struct async *)request);
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

dcache_result dcache_get_async(dcache *cache, const void *key, size_t key_len, const dcache_read_options *options,
                               dcache_read_fn fn, void *ctx)
{
    dcache_read_options taken;
    struct async *async;
    dcache_result result = handle_enter(cache);

    if (result == DCACHE_OK)
        result = call_check_key(cache, key, key_len);
    if (result == DCACHE_OK && !handle_read_options(cache, options, &taken))
        result = DCACHE_E_INVALID;
    if (result == DCACHE_OK)
        result = async_new(cache, key_len + PROTO_EPOCH_TEXT, &async);
    if (result != DCACHE_OK)
        return result;
    call_start(cache, &async->request, REQUEST_GET, taken.timeout_ms);
    call_set_read(&async->request, &taken);
    async->key = async_copy(async, slice_of(key, key_len));
    async->request.keys = &async->key;
    async->request.read.epoch = async_copy(async, async->request.read.epoch);
    async->request.read_fn = fn;
    return async_submit(cache, async, ctx);
}

static dcache_result async_write(dcache *cache, enum request_kind kind, struct slice key, struct slice value,
                                 const dcache_write_options *options, dcache_write_fn fn, void *ctx)
{
    dcache_write_options taken;
    struct async *async;
    dcache_result result = handle_enter(cache);

    if (result == DCACHE_OK)
        result = call_check_key(cache, key.data, key.len);
    if (result == DCACHE_OK)
        result = call_check_value(cache, value.data, value.len);
    if (result == DCACHE_OK && !handle_write_options(cache, options, &taken))
        result = DCACHE_E_INVALID;
    if (result == DCACHE_OK)
        result = async_new(cache, key.len + value.len, &async);
    if (result != DCACHE_OK)
        return result;
    call_start(cache, &async->request, kind, taken.timeout_ms);
    key = async_copy(async, key);
    value = async_copy(async, value);
    call_set_write(&async->write, &taken, key, value, async->request.write_id);
    async->request.write = &async->write;
    async->request.write_fn = fn;
    return async_submit(cache, async, ctx);
}

dcache_result dcache_set_async(dcache *cache, const void *key, size_t key_len, const void *value, size_t value_len,
                               const dcache_write_options *options, dcache_write_fn fn, void *ctx)
{
    return async_write(cache, REQUEST_SET, slice_of(key, key_len), slice_of(value, value_len), options, fn, ctx);
}

dcache_result dcache_delete_async(dcache *cache, const void *key, size_t key_len,
                                  const dcache_write_options *options, dcache_write_fn fn, void *ctx)
{
    return async_write(cache, REQUEST_DELETE, slice_of(key, key_len), slice_of(NULL, 0), options, fn, ctx);
}

/* ---- callbacks -------------------------------------------------------------------------------------------- */

/* By then the request is on no list and has no id: the callback may make other calls, and even process. */
static void async_call_back(dcache *cache, struct request *request)
{
    if (request->kind == REQUEST_GET) {
        dcache_reading reading;
        dcache_result ignored;

        if (answer_read(cache, request, &reading, &ignored) == ANSWER_AGAIN)
            return;
        async_withdraw(cache, request);
        if (request->read_fn)
            request->read_fn(request->ctx, &reading);
    } else {
        dcache_written written = {0};

        memcpy(written.write_id, request->write_id, sizeof written.write_id);
        written.result = answer_write(cache, request, &written);
        async_withdraw(cache, request);
        if (request->write_fn)
            request->write_fn(request->ctx, &written);
    }
    async_free(request);
}

/* Those that are done now; what callbacks add is for the next time. */
static void async_deliver(dcache *cache)
{
    for (unsigned left = cache->done.count; left > 0 && cache->done.first; left--) {
        struct request *request = cache->done.first;

        request_list_remove(request);
        async_call_back(cache, request);
    }
}

static void async_abandon_list(dcache *cache, struct request_list *list, bool call_back)
{
    while (list->first) {
        struct request *request = list->first;
        bool doubt = list == &cache->lost || (list == &cache->sent && request->writes);

        if (!request->async) {
            request_withdraw(cache, request); /* a watch */
            continue;
        }
        if (list != &cache->done)
            request_fail(cache, request, doubt ? DCACHE_E_INDETERMINATE : DCACHE_E_UNREACHABLE,
                         "the handle was closed before the answer came%s",
                         doubt ? ": the write may or may not have been done" : "");
        request_list_remove(request);
        request->reasked = true; /* nothing is asked again */
        if (call_back) {
            async_call_back(cache, request);
        } else {
            async_withdraw(cache, request);
            async_free(request);
        }
    }
}

void async_abandon(dcache *cache, bool call_back)
{
    async_abandon_list(cache, &cache->done, call_back);
    async_abandon_list(cache, &cache->lost, call_back);
    async_abandon_list(cache, &cache->sent, call_back);
    async_abandon_list(cache, &cache->queue, call_back);
}

/* ---- the caller's loop ------------------------------------------------------------------------------------ */

/* Is there anything that the loop could wait for? Not in a child, and not in callbacks of dcache_close. */
static bool loop_is_served(const dcache *cache)
{
    return cache && cache->pid == getpid() && !cache->closing;
}

int dcache_fd(const dcache *cache)
{
    if (!loop_is_served(cache))
        return -1;
    /* A note to ourselves, not a change that the caller could see. The one before is closed in a later call: the
     * loop still has it in its epoll. */
    if (cache->link.stream.fd >= 0)
        ((dcache *)(uintptr_t)cache)->link.shown_fd = cache->link.stream.fd;
    return cache->link.stream.fd;
}

short dcache_events(const dcache *cache)
{
    return loop_is_served(cache) ? link_events(cache) : 0;
}

int dcache_timeout_ms(const dcache *cache)
{
    uint64_t now_ns, at_ns;

    if (!loop_is_served(cache))
        return -1;
    if (cache->done.first || watch_is_due(cache))
        return 0;
    now_ns = clock_now_ns();
    at_ns = link_wanted_at(cache, now_ns);
    return at_ns == UINT64_MAX ? -1 : clock_ms_until(now_ns, at_ns);
}

dcache_result dcache_process(dcache *cache)
{
    dcache_result result = handle_enter(cache);

    if (result != DCACHE_OK)
        return result;
    link_unpark(cache);
    link_receive(cache, clock_now_ns());
    pending_expire(cache, clock_now_ns());
    link_advance(cache, clock_now_ns());
    result = watch_settle(cache);
    watch_deliver(cache);
    async_deliver(cache);
    link_advance(cache, clock_now_ns());
    return result;
}
