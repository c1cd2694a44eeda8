/*
 * The store side: two connections to Redis, each a state machine over a libuv stream, parsing with hiredis'
 * reader behind a scan of its own. The only folder that knows hiredis, RESP and the Redis layout.
 *
 * It carries out the effects of the core that concern Redis and gives back events. It connects, authenticates,
 * selects, reads INFO and reconnects by itself (exponential backoff with jitter); it has a deadline of its own
 * for every answer and closes a connection whose oldest request is older than that. What anything means is
 * decided in the core.
 *
 * One thread, that of the loop. Events are delivered from the loop, never from within redis_execute.
 */
#ifndef DCACHED_REDIS_REDIS_H
#define DCACHED_REDIS_REDIS_H

#include <uv.h>

#include "daemon/core/core.h"

struct redis;

struct redis_config {
    const char *host; /* name or address; NULL: unix_path */
    uint16_t port;
    const char *unix_path;
    const char *username; /* NULL: the default user */
    const char *password; /* NULL: none, which lets only a nopass user in; never logged */
    unsigned db;
    const char *key_prefix; /* "dc:" */
    const char *channel;    /* "cache:invalidate"; the real one is <channel>:<db>:<key_prefix>{0} */
    const char *source;     /* pod id */
    size_t max_key, max_value;
    uint64_t answer_deadline_ns; /* D: an older unanswered request closes its connection */
    uint64_t backoff_max_ns;     /* H: cap of the wait between two attempts */
    bool may_write;              /* this pod removes what a clear has left */
    unsigned min_replicas;       /* that a heartbeat waits for, H/2 at most; 0: none */

    /* Called from the loop, with event->now unset: the receiver reads the clock. */
    void (*on_event)(void *ctx, struct core_event *event);
    /* One line for the log. level: 0 error, 1 warning, 2 info, 3 debug. fields is "key=value key=value". */
    void (*on_log)(void *ctx, int level, const char *message, const char *fields);
    /* Fills with random bytes; epochs and jitter come from here. */
    void (*random)(void *ctx, void *bytes, size_t len);
    void *ctx;
};

/* What `status` says about the server behind the data connection. Texts are "" while unknown. */
struct redis_status {
    const char *addr;
    const char *data_state, *subscription_state; /* "connecting", "ready", "waiting 120 ms: connection refused" */
    const char *trouble; /* "no usable connection to Redis: connection refused"; "": both are ready */
    const char *server_version, *role;
    const char *durability;          /* "aof everysec", "rdb", "none", "unknown: no right to CONFIG GET" */
    const char *persistence_trouble; /* "the last write to the AOF failed"; "" if none is known */
    const char *eviction;            /* what it does when its memory is full: "noeviction", "allkeys-lru" */
    uint64_t max_bytes, used_bytes;  /* of its memory; 0: no limit, unknown */
    unsigned replicas;               /* that are connected to it */
    uint64_t connects, connect_failures, bytes_in, bytes_out;
};

/* 0, -ENOMEM, or -EINVAL: not exactly one of host and unix_path, or a path or source that is too long. Copies all
 * texts of the config. */
int redis_new(struct redis **ret, uv_loop_t *loop, const struct redis_config *config);
void redis_start(struct redis *redis);

/* FX_RESET, FX_SUBSCRIBE, FX_PING, FX_IDENTITY, FX_PROPOSE, FX_FETCH, FX_WRITE. Queues; see redis_flush. */
void redis_execute(struct redis *redis, const struct core_effect *effect);

/*
 * Sends what was queued: fetches share the two reads of meta around them, writes of one turn go into as few script
 * calls as possible, everything leaves in one write per connection. Called once at the end of each loop turn.
 */
void redis_flush(struct redis *redis);

void redis_get_status(const struct redis *redis, struct redis_status *ret_status);

/*
 * Closes both connections; no event comes any more. on_closed runs from the loop when all handles are gone and the
 * memory is free. A look-up of a name that cannot be cancelled ends later, by itself, if the loop goes on.
 */
void redis_stop(struct redis *redis, void (*on_closed)(void *ctx), void *ctx);

#endif
