#include "client/calls.h"

#include <errno.h>
#include <sys/random.h>

dcache_result call_check_key(dcache *cache, const void *key, size_t key_len)
{
    if (!key || key_len == 0)
        return handle_fail(cache, DCACHE_E_INVALID, "the key is empty");
    if (key_len > UINT32_MAX)
        return handle_fail(cache, DCACHE_E_TOO_LARGE, "the key is longer than any limit");
    return DCACHE_OK;
}

dcache_result call_check_value(dcache *cache, const void *value, size_t value_len)
{
    if (!value && value_len > 0)
        return handle_fail(cache, DCACHE_E_INVALID, "the value is missing");
    if (value_len > MESSAGE_MAX)
        return handle_fail(cache, DCACHE_E_TOO_LARGE, "the value is longer than any limit");
    return DCACHE_OK;
}

void call_start(dcache *cache, struct request *request, enum request_kind kind, uint32_t timeout_ms)
{
    request->kind = kind;
    request->writes =
        kind == REQUEST_SET || kind == REQUEST_DELETE || kind == REQUEST_MSET || kind == REQUEST_CLEAR;
    request->count = 1;
    request->timeout_ms = timeout_ms ? timeout_ms : cache->timeout_ms;
    request->deadline_ns = clock_now_ns() + request->timeout_ms * NS_PER_MS;
}

void call_set_read(struct request *request, const dcache_read_options *options)
{
    request->read = (struct proto_read_options){
        .strong = options->strong != 0,
        .min_version = options->min_version,
        .epoch = options->epoch ? slice_text(options->epoch) : slice_of(NULL, 0),
        .max_stale_ms = options->max_stale_ms,
    };
}

/* The kernel's pool is ready long before any client runs; if it ever is not, waiting is right. */
static void draw_write_id(uint8_t ret[PROTO_WRITE_ID_BYTES])
{
    ssize_t n;

    do
        n = getrandom(ret, PROTO_WRITE_ID_BYTES, 0);
    while (n < 0 && errno == EINTR);
}

void call_set_write(struct proto_write *write, const dcache_write_options *options, struct slice key,
                    struct slice value, uint8_t ret_write_id[PROTO_WRITE_ID_BYTES])
{
    if (options->write_id)
        memcpy(ret_write_id, options->write_id, PROTO_WRITE_ID_BYTES);
    else
        draw_write_id(ret_write_id);
    *write = (struct proto_write){
        .key = key,
        .value = value,
        .version = options->version,
        .has_ttl = options->has_ttl != 0,
        .ttl_ms = options->ttl_ms,
        .has_invalidate = options->invalidate != 0,
        .invalidate = options->invalidate != 0,
        .write_id = slice_of(ret_write_id, PROTO_WRITE_ID_BYTES),
        .retry = options->retry != 0,
    };
}
