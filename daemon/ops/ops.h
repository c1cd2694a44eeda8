/*
 * What requests mean: decodes a frame, asks the core, packs the answer. A table has one row per method.
 *
 * The story of a get that hits: ops_request finds the row, run_get decodes and gives EV_READ to config.step, which
 * steps the core and hands its FX_READ_DONE to ops_read_done before it returns; the answer is packed straight
 * into the client's output. Of a get that misses: config.step returns without an answer; the call stays in
 * the table of calls, and its token brings the answer back to it when the core has one. If the client has gone
 * by then, the answer is dropped. mget, mset and verify are calls that gather the answers of many.
 *
 * No sockets, no clock, no random numbers in here: they are arguments and callbacks. One thread. Answers go out
 * through config.answer_begin and answer_end, exactly one pair for each OPS_TAKEN.
 *
 * Limits, each with one outcome:
 *   calls that wait for the core    OPS_CALLS_MAX: BUSY
 *   of them, of one client          OPS_CALLS_SHARE: those beyond are answered at once, or BUSY
 *   keys and values of the unfinished writes of one client
 *                                   OPS_GATHER_BYTES / 2 or the longest message: writes beyond are answered BUSY
 *   bytes of one gathered answer    max_message: the keys that do not fit are answered TOO_LARGE
 *   bytes of all unfinished ones    OPS_GATHER_BYTES, or two of the longest message: further calls, and further
 *                                   keys of those there are, are answered BUSY
 *   of them, of one client          half of that: the same
 *   an answer the client's queue has no room for: BUSY, unless it tells of writes
 *   watches of one connection       PROTO_WATCHES_MAX: BUSY; of all, OPS_WATCHES_MAX: BUSY
 *   queued events of a watcher      OPS_EVENTS_BYTES: events are dropped, then one event `lost` says how many
 */
#ifndef DCACHED_OPS_OPS_H
#define DCACHED_OPS_OPS_H

#include "daemon/core/core.h"
#include "proto/methods.h"

#define OPS_CALLS_MAX       65536                        /* picked */
#define OPS_CALLS_SHARE     2048                         /* two of the largest mget; picked */
#define OPS_GATHER_BYTES    (8u * 1024 * 1024)           /* picked */
#define OPS_WATCHES_MAX     1024                         /* picked */
#define OPS_EVENTS_BYTES    (256 * 1024)                 /* picked */
#define OPS_HOT_READS_NS    (10 * UINT64_C(1000000000))  /* half life of the counts of `top`; picked */
#define OPS_HOT_REJECTED_NS (600 * UINT64_C(1000000000)) /* picked */
#define OPS_TIMEOUT_MAX_MS  60000                        /* longer timeouts count as this; picked */
#define OPS_TTL_MAX_MS      UINT64_C(315360000000)       /* ten years: INVALID above; picked */

struct ops;

/* What `status` says beyond the core. Texts are never NULL. */
struct ops_surroundings {
    /* config_error: of the last reload, "": it was good; config_restart: changes that wait for a restart */
    const char *config_error, *config_restart;
    uint64_t config_loaded_ms; /* since 1970 */
    const char *config_path;   /* "": there is no file */
    bool redis_password;       /* one is in use */
    const char *redis_addr, *redis_data, *redis_subscription, *redis_version, *redis_role, *redis_durability;
    const char *redis_persistence_trouble, *redis_eviction;
    uint64_t redis_replicas, redis_max_bytes, redis_used_bytes, min_replicas;
    uint64_t memory_bytes; /* budget of values, index and floors */
    uint64_t uptime_ms, connections, pid;
};

/* Who is connected. Texts are static. */
struct ops_client {
    uint64_t client, uid, gid, pid; /* pid 0: of another namespace */
    const char *access;             /* what it may: "read,write,admin" */
    const char *socket;             /* the one it connected to: "main" or "admin" */
    const char *last_method;        /* NULL: it has asked nothing yet */
    const char *name;               /* what it calls itself; not static: valid until it goes */
    uint64_t opened_at, asked_at;   /* asked_at 0: nothing yet */
    uint64_t in_flight, answered, stored_bytes, queued_bytes;
};

/* One key of the configuration in force. Texts are valid until the next call. */
struct ops_setting {
    const char *section, *key, *value;
    const char *from;  /* "default", "file" or "environment" */
    const char *where; /* "PATH:LINE" or the name of the variable; "" for a default */
    bool live;         /* a reload can change it */
};

struct ops_config {
    struct core *core; /* looked into, and told what became of reads; events go through `step` */
    const char *pod;
    bool reader;
    uint64_t bound_ns, max_stale_ns;
    size_t max_key, max_value, max_message;
    uint64_t timeout_ns;       /* of a call that names none */
    uint64_t default_ttl_ms;   /* 0: none */
    uint64_t tombstone_ttl_ms; /* 0: for ever */
    bool carry_value;          /* `propagate = value` */

    /* NULL: this client may call the method; otherwise the sentence that it is answered with PERMISSION, valid
     * until the next call. May itself be NULL: everybody may everything. */
    const char *(*refuse)(void *ctx, uint64_t client, enum proto_method method);
    /* Steps the core and carries out its effects; answers come back through ops_*_done within it, or later. */
    void (*step)(void *ctx, const struct core_event *event);
    void (*random)(void *ctx, void *bytes, size_t len);
    /* NULL: the client is gone, and nothing is to follow. */
    struct buffer *(*answer_begin)(void *ctx, uint64_t client);
    void (*answer_end)(void *ctx, uint64_t client);
    /* The same for an event. */
    struct buffer *(*event_begin)(void *ctx, uint64_t client);
    void (*event_end)(void *ctx, uint64_t client);
    bool (*has_room)(void *ctx, uint64_t client, size_t len);
    size_t (*queued_bytes)(void *ctx, uint64_t client);
    /* The request under way costs as much as so many gets more. */
    void (*spend)(void *ctx, uint64_t client, unsigned gets);
    /* What the client calls itself, bytes of any kind. */
    void (*named)(void *ctx, uint64_t client, struct slice name);
    void (*describe)(void *ctx, struct ops_surroundings *ret);
    /* A sentence on why Redis cannot be reached, valid until the next call; "": it can. */
    const char *(*trouble)(void *ctx);
    /* The first client at or behind *index, which is then behind it. False: there is none. */
    bool (*client_at)(void *ctx, uint32_t *index, struct ops_client *ret);
    /* Index 0, 1, ...; false past the end. */
    bool (*setting_at)(void *ctx, unsigned index, struct ops_setting *ret);
    /* Sets the level unless `level` is empty. False: it is none, and nothing was done. */
    bool (*log_level)(void *ctx, uint64_t client, struct slice level, const char **ret_level,
                      const char **ret_configured);
    /* Counters of others for `stats`: name (static) and value of index 0, 1, ...; NULL past the end. */
    const char *(*counter)(void *ctx, unsigned index, uint64_t *ret_value);
    void *ctx;
};

/* X(name, help) */
#define OPS_COUNTERS(X)                                                           \
    X(requests, "requests received")                                              \
    X(requests_invalid, "requests answered malformed, unknown method or invalid") \
    X(requests_denied, "requests answered permission: not allowed by [access]")   \
    X(notifications_ignored, "notifications received: no method takes one")       \
    X(answers_shortened, "answers refused because the client's queue was full")   \
    X(calls_refused, "requests refused because too many wait")                    \
    X(share_used_up, "calls and keys of clients that held more than their share") \
    X(watches, "watches now")                                                     \
    X(events, "events sent to watchers")                                          \
    X(events_lost, "events dropped because a watcher did not take them")

struct ops_counters {
#define X(name, help) uint64_t name;
    OPS_COUNTERS(X)
#undef X
};

enum ops_result {
    OPS_TAKEN,      /* answered, or will be */
    OPS_UNANSWERED, /* a notification */
    OPS_MALFORMED,  /* answered with MALFORMED: the connection is to be closed */
};

int ops_new(struct ops **ret, const struct ops_config *config); /* 0 or -ENOMEM */
struct ops *ops_free(struct ops *ops);                          /* returns NULL */

/* now: CLOCK_BOOTTIME, read for this request. frame needs to live only during the call. */
/* The lower halves of the numbers of clients are small, and each means one client at a time. */
enum ops_result ops_request(struct ops *ops, uint64_t client, struct slice frame, uint64_t now);
/* An error answer to what could not be read as a frame; packs only. `begin`: as much of it as there is. */
void ops_pack_refusal(struct buffer *b, struct slice begin, enum rpc_error code, const char *text);
void ops_client_closed(struct ops *ops, uint64_t client);
/* Ends the client's watches without a word: it may not read any more. */
void ops_client_unwatch(struct ops *ops, uint64_t client);

/* What can change while it runs; the fields of ops_config. */
struct ops_policy {
    uint64_t max_stale_ns, timeout_ns, default_ttl_ms, tombstone_ttl_ms;
    bool carry_value;
};

void ops_set_policy(struct ops *ops, const struct ops_policy *policy);

/* FX_READ_DONE, FX_WRITE_DONE, FX_INSPECT_DONE. Does not step the core. */
void ops_done(struct ops *ops, const struct core_effect *effect, uint64_t now);
/* FX_NOTE: tells the watchers, and counts rejections for `top`. */
void ops_note(struct ops *ops, const struct core_effect *effect, uint64_t now);

void ops_get_counters(const struct ops *ops, struct ops_counters *ret_counters);

#endif
