/*
 * libdcache-client: reads and writes through the dcached of this pod.
 *
 * Two ways to use it:
 *   - synchronous calls (dcache_get, dcache_set, ...), each with a deadline;
 *   - asynchronous: dcache_*_async start a request; the caller's own loop waits on dcache_fd for dcache_events,
 *     at most dcache_timeout_ms, then calls dcache_process, which runs the callbacks.
 *
 * The library checks freshness itself, after the daemon did: an answer whose proof is older than the staleness
 * bound D at the moment it is handed over is dropped, asked for once more, then refused.
 *
 * Connections: dcache_open does not connect; the first call does. A lost connection is made again by later
 * calls, after a backoff of 10 ms doubling to 1 s, with jitter.
 *
 * Threads: a dcache handle belongs to one thread at a time; different handles are independent. The library has
 * no global state and starts no thread.
 * Fork: the child may only call dcache_close on a handle made before the fork (it closes the child's descriptor
 * and does not disturb the parent); every other call returns DCACHE_E_FORKED.
 * Signals: calls are restarted on EINTR until their deadline. SIGPIPE is never raised.
 */
#ifndef DCACHE_CLIENT_H
#define DCACHE_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Visible to others whatever the library is compiled with. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define DCACHE_DEFAULT_SOCKET "/run/dcached/dcached.sock"

typedef struct dcache dcache;

/* Results >= 0 are answers; results < 0 are errors: nothing was read, and unless it says INDETERMINATE
 * nothing was written. */
typedef enum dcache_result {
    DCACHE_OK = 0,        /* found; accepted */
    DCACHE_ABSENT = 1,    /* proven: the key has no value */
    DCACHE_STALE = 2,     /* write rejected: a newer version is stored */
    DCACHE_DUPLICATE = 3, /* this very write is stored already */
    DCACHE_CONFLICT = 4,  /* write rejected: other content is stored at this version */
    DCACHE_LOCAL = 5,     /* write kept in this reader pod's own cache only */

    DCACHE_E_REFUSED = -1,       /* freshness cannot be proven; never an old value instead */
    DCACHE_E_UNREACHABLE = -2,   /* no daemon at the socket, or no way to it; or the handle is being closed */
    DCACHE_E_TIMEOUT = -3,       /* the deadline passed; a write was not done */
    DCACHE_E_INDETERMINATE = -4, /* the write may or may not have been done: retry with its write id */
    DCACHE_E_PERMISSION = -5,
    DCACHE_E_INVALID = -6,
    DCACHE_E_TOO_LARGE = -7,
    DCACHE_E_BUSY = -8,      /* a limit is reached; nothing was done */
    DCACHE_E_STORE = -9,     /* Redis refused; nothing was done */
    DCACHE_E_CORRUPT = -10,  /* what Redis holds under the key cannot be read */
    DCACHE_E_PROTOCOL = -11, /* the peer does not speak this protocol */
    DCACHE_E_NOMEM = -12,
    DCACHE_E_MIN_VERSION = -13, /* the store itself holds less than min_version */
    DCACHE_E_OTHER_EPOCH = -14, /* min_version was given in another epoch */
    DCACHE_E_UNAVAILABLE = -15, /* the daemon has no usable connection to Redis; nothing was done */
    DCACHE_E_FORKED = -16,      /* the handle was made in a parent process */
    DCACHE_E_INTERNAL = -17
} dcache_result;

/* "ok", "refused", ...; static. */
const char *dcache_result_name(dcache_result result);

typedef enum dcache_state {
    DCACHE_STATE_ABSENT,
    DCACHE_STATE_FRESH,
    DCACHE_STATE_STALE,
    DCACHE_STATE_LOCAL
} dcache_state;

typedef struct dcache_options {
    size_t size;         /* sizeof(dcache_options), for later versions */
    const char *socket;  /* NULL: $DCACHED_SOCKET, or DCACHE_DEFAULT_SOCKET */
    const char *name;    /* of this client, for `dcachectl clients`; NULL: the program's name */
    uint32_t timeout_ms; /* of every call; 0: 1000 */
    /* User, by name or number, that has to listen at the socket: calls fail with DCACHE_E_PERMISSION if it is
     * another. NULL: $DCACHED_SERVER_UID, or if that is not set: root, the caller's own user, the owner of the
     * socket's directory or, unless that is one like /tmp where everybody may make names, the owner of the socket.
     */
    const char *server_user;
} dcache_options;

/* options may be NULL. DCACHE_OK, DCACHE_E_INVALID (socket path too long, no such user) or DCACHE_E_NOMEM. */
dcache_result dcache_open(dcache **ret, const dcache_options *options);
/* Unanswered asynchronous requests are called back with DCACHE_E_UNREACHABLE (writes that were sent:
 * DCACHE_E_INDETERMINATE) before this returns. What those callbacks call gives DCACHE_E_UNREACHABLE: nothing is
 * begun on a handle that is being closed. NULL is fine. */
void dcache_close(dcache *cache);
/* One sentence about the last error of this handle: cause and, where there is one, remedy. Never NULL; valid
 * until the next call. */
const char *dcache_error(const dcache *cache);

/* ---- reading -------------------------------------------------------------------------------------------- */

typedef struct dcache_read_options {
    size_t size;           /* sizeof(dcache_read_options) */
    int strong;            /* reflect everything acknowledged, in any pod, before this call began */
    uint64_t min_version;  /* 0: none. Reading after another pod's write */
    const char *epoch;     /* epoch min_version was given in, as in dcache_written; NULL: any */
    uint32_t max_stale_ms; /* 0: never stale (unless the daemon's policy says otherwise) */
    uint32_t timeout_ms;   /* 0: the handle's */
} dcache_read_options;

typedef struct dcache_reading {
    dcache_result result; /* of this key: DCACHE_OK, DCACHE_ABSENT or an error */
    dcache_state state;
    const void *value; /* valid until the next call on the handle; in a callback: until it returns */
    size_t value_len;
    uint64_t version;
    uint64_t timestamp_ns; /* commit time by the store's clock, since 1970 */
    const char *source;    /* id of the pod that wrote it; NUL-terminated */
    uint64_t as_of_ns;     /* CLOCK_BOOTTIME here: the moment up to which this is proven current */
    uint64_t age_ns;       /* now - as_of when it was handed over */
    int replaced;          /* a hook replaced the value */
} dcache_reading;

/* options may be NULL in all calls. */
dcache_result dcache_get(dcache *cache, const void *key, size_t key_len, const dcache_read_options *options,
                         dcache_reading *ret);

typedef struct dcache_key {
    const void *data;
    size_t len;
} dcache_key;

/* rets[i] answers keys[i]. count <= 1024. The result is DCACHE_OK when the call as a whole was answered; each
 * key has its own result. */
dcache_result dcache_mget(dcache *cache, const dcache_key *keys, size_t count, const dcache_read_options *options,
                          dcache_reading *rets);

/* ---- writing -------------------------------------------------------------------------------------------- */

typedef struct dcache_write_options {
    size_t size;         /* sizeof(dcache_write_options) */
    uint64_t version;    /* 0: auto */
    int has_ttl;         /* 0: the daemon's default_ttl; of a delete: its tombstone_ttl */
    uint64_t ttl_ms;     /* 0 with has_ttl: none */
    int invalidate;      /* 1: other pods only drop their copy; 0: the daemon's `propagate` */
    uint32_t timeout_ms; /* 0: the handle's */
    /* To retry a write that ended DCACHE_E_INDETERMINATE: the write_id it reported, and retry = 1. A retry
     * commits once, whatever happened the first time. */
    const uint8_t *write_id; /* 16 bytes; NULL: drawn at random */
    int retry;
} dcache_write_options;

typedef struct dcache_written {
    dcache_result result;
    uint64_t version; /* the one now stored */
    uint64_t seq;
    char epoch[33];
    uint8_t write_id[16];
} dcache_written;

/* ret may be NULL. */
dcache_result dcache_set(dcache *cache, const void *key, size_t key_len, const void *value, size_t value_len,
                         const dcache_write_options *options, dcache_written *ret);
dcache_result dcache_delete(dcache *cache, const void *key, size_t key_len, const dcache_write_options *options,
                            dcache_written *ret);

typedef struct dcache_item {
    dcache_key key;
    const void *value;
    size_t value_len;
    dcache_write_options options; /* timeout_ms is ignored here */
} dcache_item;

/* Each key is its own write with its own outcome in rets[i]; not a transaction. count <= 1024. */
dcache_result dcache_mset(dcache *cache, const dcache_item *items, size_t count, uint32_t timeout_ms,
                          dcache_written *rets);
/* Empties the whole partition, in all pods. The timeout is the handle's. */
dcache_result dcache_clear(dcache *cache, dcache_written *ret);
dcache_result dcache_ping(dcache *cache);

/*
 * Any method of the protocol, for tools: params is one packed MessagePack array; *ret_result borrows the packed
 * result until the next call on the handle. The freshness of readings inside is not checked here, and a write has
 * the deadline that its params give. PROTOCOL.md names methods, params and results.
 */
dcache_result dcache_call(dcache *cache, const char *method, const void *params, size_t params_len,
                          uint32_t timeout_ms, const void **ret_result, size_t *ret_len);

/* ---- asynchronous --------------------------------------------------------------------------------------- */

typedef void (*dcache_read_fn)(void *ctx, const dcache_reading *reading);
typedef void (*dcache_write_fn)(void *ctx, const dcache_written *written);
typedef void (*dcache_event_fn)(void *ctx, const void *event, size_t event_len); /* packed [watch, map] */

/* Keys and values are copied before the call returns. A request that was taken (DCACHE_OK) is called back
 * exactly once, from dcache_process or dcache_close, never from within the call itself. */
dcache_result dcache_get_async(dcache *cache, const void *key, size_t key_len, const dcache_read_options *options,
                               dcache_read_fn fn, void *ctx);
dcache_result dcache_set_async(dcache *cache, const void *key, size_t key_len, const void *value, size_t value_len,
                               const dcache_write_options *options, dcache_write_fn fn, void *ctx);
dcache_result dcache_delete_async(dcache *cache, const void *key, size_t key_len,
                                  const dcache_write_options *options, dcache_write_fn fn, void *ctx);
/* Events of keys that start with prefix. One watch per handle and prefix; fn runs in dcache_process. After a
 * lost connection the watch is made again and fn is called once with event == NULL: events may be missing; so
 * it is when more events came than dcache_process took. At most 16 watches: DCACHE_E_BUSY. */
dcache_result dcache_watch(dcache *cache, const void *prefix, size_t prefix_len, dcache_event_fn fn, void *ctx);

/* The descriptor to wait on, or -1 while there is none: wait on no former one then, dcache_timeout_ms says when to
 * process. It can change in any call: ask again before each wait. A new connection never gets the number of the
 * one it replaces, so a loop that watches by number notices. */
int dcache_fd(const dcache *cache);
/* POLLIN, POLLOUT or both. */
short dcache_events(const dcache *cache);
/* Milliseconds until dcache_process is wanted without the descriptor being ready; -1: no limit. */
int dcache_timeout_ms(const dcache *cache);
/* Does what can be done without blocking, a long request goes out over several calls; runs callbacks, from which
 * every call but dcache_close is allowed. DCACHE_OK; DCACHE_E_FORKED; or the error with which the daemon refused a
 * watch, which is over then. */
dcache_result dcache_process(dcache *cache);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
