/*
 * The methods of the socket and their parameters and results, for both sides: the daemon decodes what the
 * library encodes, and the other way round. PROTOCOL.md is the normative text; this header is its C form.
 *
 * Slices borrow from the frame that was decoded. Decoders return NULL or static text that names the field that
 * was wrong. Trailing elements of an array and unknown keys of an option map: unknown option keys are an error
 * in requests (a misspelt option must not be ignored), trailing elements of results are skipped.
 */
#ifndef DCACHED_PROTO_METHODS_H
#define DCACHED_PROTO_METHODS_H

#include "proto/rpc.h"

#define PROTO_VERSION        1
#define PROTO_EPOCH_TEXT     32
#define PROTO_WRITE_ID_BYTES 16
#define PROTO_VERSION_MAX    INT64_MAX
#define PROTO_MS_MAX         (INT64_MAX / 1000000) /* largest duration in ms: as ns it still fits 63 bits */

/* Limits a client meets; `hello` says those in force. Each has one named outcome, in PROTOCOL.md. */
#define PROTO_MGET_MAX      1024 /* keys in one mget or mset: INVALID */
#define PROTO_IN_FLIGHT_MAX 1024 /* of one connection, unanswered: no more is read until some are answered */
#define PROTO_VERSIONS_MAX  1000 /* entries of one page of versions, verify or clients */
#define PROTO_TRACE_MAX     1000 /* events of one trace */
#define PROTO_TRACE_DEFAULT 100
#define PROTO_WATCHES_MAX   16 /* watches of one connection: BUSY */

/*
 * What a method does, for the daemon's lists of who may (`[access]`):
 *   open   says nothing of keys and changes nothing of others: everybody who can connect
 *   read   keys, versions, values, events
 *   write  changes single keys
 *   admin  concerns everybody: empties the partition, makes the daemon or Redis work at length, tells of other
 *          clients and of the machine, or changes how the daemon runs. On the admin socket alone, where there is
 * one
 */
enum proto_class { CLASS_open, CLASS_read, CLASS_write, CLASS_admin, CLASS_COUNT };

/* X(name, class) for every method, in the order of PROTOCOL.md. */
#define PROTO_METHODS(X) \
    X(hello, open)       \
    X(ping, open)        \
    X(get, read)         \
    X(mget, read)        \
    X(set, write)        \
    X(mset, write)       \
    X(delete, write)     \
    X(clear, admin)      \
    X(inspect, read)     \
    X(versions, read)    \
    X(stats, open)       \
    X(status, open)      \
    X(watch, read)       \
    X(unwatch, open)     \
    X(verify, admin)     \
    X(trace, read)       \
    X(top, read)         \
    X(canary, write)     \
    X(clients, admin)    \
    X(log_level, admin)  \
    X(config, admin)

enum proto_method {
#define X(name, class) METHOD_##name,
    PROTO_METHODS(X)
#undef X
        METHOD_COUNT
};

/* METHOD_COUNT if there is none of that name. */
enum proto_method proto_method_find(struct slice name);
const char *proto_method_name(enum proto_method method);
enum proto_class proto_method_class(enum proto_method method);
const char *proto_class_name(enum proto_class what); /* "open", "read", "write", "admin" */

/* ---- get, mget ------------------------------------------------------------------------------------------
 * get    [key, {options}?]              -> reading
 * mget   [[key, ...], {options}?]       -> [reading or refusal, ...] in the order of the keys
 * options: strong bool; min_version uint; epoch str (of min_version); max_stale_ms uint; timeout_ms uint
 * reading: [state, as_of, value, version, timestamp, source, age_ms, replaced]
 *   state 0 absent (value nil; version of the tombstone or 0), 1 fresh, 2 stale, 3 local
 *   as_of uint ns of the daemon's CLOCK_BOOTTIME; value bin; version uint; timestamp uint ns since 1970;
 *   source str; age_ms uint (0 unless stale); replaced bool (by the hook)
 * refusal (mget only): [4, code, text]
 */
enum proto_state {
    STATE_ABSENT = 0,
    STATE_FRESH = 1,
    STATE_STALE = 2,
    STATE_LOCAL = 3,
    STATE_FAILED = 4, /* mget: this key alone; code and text */
};

struct proto_read_options {
    bool strong;
    uint64_t min_version;  /* 0: none */
    struct slice epoch;    /* empty: none */
    uint64_t max_stale_ms; /* 0: none */
    uint64_t timeout_ms;   /* 0: the daemon's default */
};

struct proto_reading {
    enum proto_state state;
    uint64_t as_of_ns;
    struct slice value;
    uint64_t version, timestamp_ns;
    struct slice source;
    uint64_t age_ms;
    bool replaced;
    enum rpc_error code; /* STATE_FAILED */
    struct slice text;   /* STATE_FAILED */
};

void proto_pack_get(struct buffer *b, uint32_t id, struct slice key, const struct proto_read_options *options);
const char *proto_decode_get(struct cursor params, struct slice *ret_key, struct proto_read_options *ret_options);
void proto_pack_mget(struct buffer *b, uint32_t id, const struct slice *keys, uint32_t count,
                     const struct proto_read_options *options);
/* ret_keys has room for PROTO_MGET_MAX. */
const char *proto_decode_mget(struct cursor params, struct slice *ret_keys, uint32_t *ret_count,
                              struct proto_read_options *ret_options);
void proto_pack_reading(struct buffer *b, const struct proto_reading *reading); /* one result, no envelope */
const char *proto_decode_reading(struct cursor *c, struct proto_reading *ret_reading);

/* ---- set, mset, delete, clear ----------------------------------------------------------------------------
 * set    [key, value, {options}?]                   -> written
 * mset   [[[key, value, {options}?], ...], {timeout_ms}?] -> [written or failure, ...]
 * delete [key, {options}?]                          -> written
 * clear  [{deadline, timeout_ms}?]                  -> written (epoch is the new one)
 * options: version uint (absent: auto); ttl_ms uint; invalidate bool; write_id bin 16; retry bool; deadline uint;
 *          timeout_ms uint (not inside mset)
 * written: [outcome, version, seq, epoch]; outcome 0 accepted, 1 stale, 2 duplicate, 3 conflict, 4 local
 * failure (mset only): [5, code, text]
 */
enum proto_outcome {
    OUTCOME_ACCEPTED = 0,
    OUTCOME_STALE = 1,
    OUTCOME_DUPLICATE = 2,
    OUTCOME_CONFLICT = 3,
    OUTCOME_LOCAL = 4,
    OUTCOME_FAILED = 5,
};

struct proto_write {
    struct slice key, value; /* value: set only */
    uint64_t version;        /* 0: auto */
    bool has_ttl;            /* false: the daemon's default_ttl */
    uint64_t ttl_ms;         /* 0 with has_ttl: explicitly none */
    bool has_invalidate;     /* false: the daemon's `propagate` */
    bool invalidate;
    struct slice write_id; /* empty or PROTO_WRITE_ID_BYTES */
    bool retry;
    uint64_t deadline_ns; /* daemon's CLOCK_BOOTTIME after which nothing is executed; 0: timeout_ms alone counts */
    uint64_t timeout_ms;  /* 0: the daemon's default */
};

struct proto_written {
    enum proto_outcome outcome;
    uint64_t version, seq;
    struct slice epoch;
    enum rpc_error code; /* OUTCOME_FAILED */
    struct slice text;   /* OUTCOME_FAILED */
};

void proto_pack_set(struct buffer *b, uint32_t id, const struct proto_write *write);
const char *proto_decode_set(struct cursor params, struct proto_write *ret_write);
void proto_pack_mset(struct buffer *b, uint32_t id, const struct proto_write *writes, uint32_t count,
                     uint64_t timeout_ms);
const char *proto_decode_mset(struct cursor params, struct proto_write *ret_writes, uint32_t *ret_count,
                              uint64_t *ret_timeout_ms);
void proto_pack_delete(struct buffer *b, uint32_t id, const struct proto_write *write);
const char *proto_decode_delete(struct cursor params, struct proto_write *ret_write);
/* deadline_ns and timeout_ms alone are packed, and decoded. */
void proto_pack_clear(struct buffer *b, uint32_t id, const struct proto_write *write);
const char *proto_decode_clear(struct cursor params, struct proto_write *ret_write);
void proto_pack_written(struct buffer *b, const struct proto_written *written);
const char *proto_decode_written(struct cursor *c, struct proto_written *ret_written);

/* ---- the others -------------------------------------------------------------------------------------------
 * hello    [{client: str, protocol: uint}?]  -> map, below
 * ping     []                                -> "pong"
 * inspect  [key, {timeout_ms}?]              -> map, below
 * versions [prefix?, cursor?, limit?]        -> {"cursor": uint (0: end), "entries": [entry, ...]}
 * verify   [cursor?, limit?, {timeout_ms}?]  -> {"cursor": uint, "checked": uint, "unknown": uint,
 *                                                "different": [{key, cached_version, cached_seq, redis_version,
 *                                                               redis_seq, differs_ms}]}
 * trace    [key, last?]                      -> map, below: the last events of the key, oldest first
 * top      []                                -> map: the keys read and rejected most
 * canary   []                                -> written, of a key of the daemon's own
 * clients  [cursor?, limit?]                 -> {"cursor": uint (0: end), "clients": [client, ...]}
 * log_level [level?]                         -> {"level": str, "configured": str}
 * config   []                                -> {"path": str, "password": bool, "keys": [key, ...]}
 * stats    []                                -> map of counters, str -> uint
 * status   []                                -> map, str -> str, uint, bool
 * watch    [prefix?]                         -> uint watch id; then notifications
 *                                               event [watch, {"kind": str, "key": bin, ...}]
 * unwatch  [watch id]                        -> bool: there was one
 *
 * These results are maps because people read them; their keys are in PROTOCOL.md and are the JSON names of
 * dcachectl.
 */
struct proto_hello {
    struct slice server; /* "dcached 0.1.0" */
    uint64_t protocol;
    struct slice pod;
    struct slice role; /* "writer", "reader" */
    uint64_t bound_ns, max_stale_ns;
    uint64_t clock_ns; /* the daemon's CLOCK_BOOTTIME when it answered */
    struct slice epoch;
    uint64_t max_message, max_key, max_value, max_in_flight;
};

void proto_pack_hello(struct buffer *b, uint32_t id, const char *client);
const char *proto_decode_hello_params(struct cursor params, struct slice *ret_client, uint64_t *ret_protocol);
void proto_pack_hello_result(struct buffer *b, const struct proto_hello *hello);
const char *proto_decode_hello_result(struct cursor c, struct proto_hello *ret_hello);

const char *proto_decode_versions(struct cursor params, struct slice *ret_prefix, uint64_t *ret_cursor,
                                  uint32_t *ret_limit);
const char *proto_decode_verify(struct cursor params, uint64_t *ret_cursor, uint32_t *ret_limit,
                                uint64_t *ret_timeout_ms);
const char *proto_decode_trace(struct cursor params, struct slice *ret_key, uint32_t *ret_last);
const char *proto_decode_inspect(struct cursor params, struct slice *ret_key, uint64_t *ret_timeout_ms);
const char *proto_decode_clients(struct cursor params, uint64_t *ret_cursor, uint32_t *ret_limit);
/* An empty slice: none is given. */
const char *proto_decode_log_level(struct cursor params, struct slice *ret_level);
const char *proto_decode_watch(struct cursor params, struct slice *ret_prefix);
const char *proto_decode_unwatch(struct cursor params, uint64_t *ret_watch);
/* For methods without parameters. */
const char *proto_decode_empty(struct cursor params);

#endif
