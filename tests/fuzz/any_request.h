/* Decodes the params of a request of any method, as the daemon would. */
#ifndef DCACHED_TESTS_ANY_REQUEST_H
#define DCACHED_TESTS_ANY_REQUEST_H

#include "proto/methods.h"

static inline const char *any_request_decode(enum proto_method method, struct cursor params)
{
    static struct slice keys[PROTO_MGET_MAX];
    static struct proto_write writes[PROTO_MGET_MAX];
    struct proto_read_options read;
    struct slice bytes;
    uint64_t number, timeout_ms;
    uint32_t count;

    switch (method) {
    case METHOD_hello:
        return proto_decode_hello_params(params, &bytes, &number);
    case METHOD_get:
        return proto_decode_get(params, &bytes, &read);
    case METHOD_mget:
        return proto_decode_mget(params, keys, &count, &read);
    case METHOD_set:
        return proto_decode_set(params, writes);
    case METHOD_mset:
        return proto_decode_mset(params, writes, &count, &timeout_ms);
    case METHOD_delete:
        return proto_decode_delete(params, writes);
    case METHOD_clear:
        return proto_decode_clear(params, writes);
    case METHOD_inspect:
        return proto_decode_inspect(params, &bytes, &timeout_ms);
    case METHOD_versions:
        return proto_decode_versions(params, &bytes, &number, &count);
    case METHOD_verify:
        return proto_decode_verify(params, &number, &count, &timeout_ms);
    case METHOD_clients:
        return proto_decode_clients(params, &number, &count);
    case METHOD_log_level:
        return proto_decode_log_level(params, &bytes);
    case METHOD_trace:
        return proto_decode_trace(params, &bytes, &count);
    case METHOD_watch:
        return proto_decode_watch(params, &bytes);
    case METHOD_unwatch:
        return proto_decode_unwatch(params, &number);
    case METHOD_ping:
    case METHOD_stats:
    case METHOD_status:
    case METHOD_top:
    case METHOD_canary:
    case METHOD_config:
        return proto_decode_empty(params);
    case METHOD_COUNT:
        break;
    }
    return "no such method";
}

#endif
