/*
 * The option maps and positional parameters of requests: one table of all options, of which each method names
 * those it takes. Internal to proto/.
 */
#ifndef DCACHED_PROTO_OPTIONS_H
#define DCACHED_PROTO_OPTIONS_H

#include "proto/methods.h"

#define OPTIONS(X)          \
    X(strong, BOOL)         \
    X(min_version, VERSION) \
    X(epoch, EPOCH)         \
    X(max_stale_ms, MS)     \
    X(timeout_ms, MS)       \
    X(version, VERSION)     \
    X(ttl_ms, MS)           \
    X(invalidate, BOOL)     \
    X(write_id, WRITE_ID)   \
    X(retry, BOOL)          \
    X(deadline, UINT)       \
    X(client, TEXT)         \
    X(protocol, UINT)

enum option_index {
#define X(name, kind) OPTION_INDEX_##name,
    OPTIONS(X)
#undef X
};

enum option_bit {
#define X(name, kind) OPTION_##name = 1 << OPTION_INDEX_##name,
    OPTIONS(X)
#undef X
};

struct options {
    unsigned given; /* of enum option_bit */
    bool strong, invalidate, retry;
    uint64_t min_version, version;
    uint64_t max_stale_ms, timeout_ms, ttl_ms;
    uint64_t protocol, deadline;
    struct slice epoch, write_id, client;
};

/* Reads a map whose keys are among `allowed`, each at most once. NULL, or what was wrong. */
const char *options_decode(struct cursor *c, unsigned allowed, struct options *ret_options);

/* The array of params, which has `min` to `max` elements; `usage` is returned for any other. */
const char *params_open(struct cursor *c, uint32_t min, uint32_t max, const char *usage, uint32_t *ret_count);
/* The params end here; there was exactly one array. */
const char *params_close(const struct cursor *c);

const char *params_key(struct cursor *c, struct slice *ret_key); /* not empty */
const char *params_bytes(struct cursor *c, struct slice *ret_bytes, const char *error);
const char *params_uint(struct cursor *c, uint64_t max, uint64_t *ret_value, const char *error);
/* [{timeout_ms}?] at the end of params, if `given`. */
const char *params_timeout(struct cursor *c, bool given, uint64_t *ret_timeout_ms);

#endif
