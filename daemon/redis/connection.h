/*
 * One connection to Redis as a state machine: finds the address, connects, authenticates, selects the database,
 * reads INFO, lets its role prepare, and is then ready. What it is used for is the role's business.
 *
 * The happy path goes through the states in their order. Every failure, in any state, leads to
 * CONNECTION_WAITING and from there to a new attempt: after 5 to 10 ms at first, doubled with every attempt up
 * to redis_config.backoff_max_ns, with jitter. Each state before ready has a deadline; when ready, the oldest
 * unanswered request has one.
 *
 * Nothing is called back from within a function of this header, so that they can be used from any callback.
 */
#ifndef DCACHED_REDIS_CONNECTION_H
#define DCACHED_REDIS_CONNECTION_H

#include <uv.h>

#include "daemon/redis/redis.h"
#include "daemon/redis/resp.h"

/* Of what the kernel does not take so much and two of the largest writes are kept: all that the core has under way
 * fits. More closes the connection. Picked. */
#define CONNECTION_OUT_MAX  (64u << 20)
#define CONNECTION_KEEP_MAX (4u << 20) /* a queue of more gives its memory back when it is empty; picked */

enum connection_state {
    CONNECTION_WAITING, /* for the next attempt */
    CONNECTION_RESOLVING,
    CONNECTION_CONNECTING,
    CONNECTION_AUTHENTICATING,
    CONNECTION_SELECTING,
    CONNECTION_IDENTIFYING, /* INFO */
    CONNECTION_PREPARING,   /* what the role wants to ask first */
    CONNECTION_READY,
    CONNECTION_STOPPED,
};

struct connection;

/* Called from the loop. Functions that return text return NULL if all is well, or why to close. */
struct connection_role {
    const char *name;
    enum core_link link;
    /* Queues commands and returns how many replies will come. */
    unsigned (*prepare)(struct connection *c);
    const char *(*on_prepared)(struct connection *c, unsigned index, const redisReply *reply);
    void (*on_ready)(struct connection *c);
    const char *(*on_reply)(struct connection *c, const redisReply *reply);
    /* uv_hrtime at which the oldest unanswered request was sent; 0: none is out. */
    uint64_t (*oldest_ns)(const struct connection *c);
    /* A ready connection was lost, or reset. Only takes note: nothing may be called back from here. */
    void (*on_lost)(struct connection *c);
};

struct link;

struct connection {
    struct redis *redis;
    const struct redis_config *config;
    const struct connection_role *role;
    uv_loop_t *loop;
    size_t bulk_max, out_max;

    enum connection_state state;
    struct link *link;           /* NULL: there is no socket */
    struct addrinfo *addresses;  /* all that the name stands for */
    struct addrinfo *address;    /* the one being tried */
    struct resolving *resolving; /* NULL: no look-up is under way */
    struct buffer out;           /* queued, not yet given to the kernel */
    uv_timer_t timer;
    unsigned expected, seen; /* replies of this state */
    unsigned attempts;       /* that failed in a row */
    bool brief;              /* it was ready for less than 1 s the last time */
    bool overdue;            /* the last look found an answer too late */
    uint64_t wait_ms, ready_at_ns;
    char reason[160]; /* why the last attempt failed or the connection was lost */
    char logged[160]; /* the reason last logged as a warning */

    bool master;
    struct run_id run;
    char server_version[32], server_role[16];
    unsigned server_replicas;

    uint64_t connects, connect_failures, bytes_in, bytes_out;
};

int connection_init(struct connection *c, struct redis *redis, const struct redis_config *config, uv_loop_t *loop,
                    const struct connection_role *role);
void connection_start(struct connection *c);

static inline bool connection_is_ready(const struct connection *c)
{
    return c->state == CONNECTION_READY;
}

/* Sends what is in c->out as far as the kernel takes it. */
void connection_flush(struct connection *c);

/* Closes a ready connection and makes a new one. In other states nothing happens: an attempt is under way. */
void connection_reset(struct connection *c, const char *reason);

/* "ready", "connecting; before: connection refused", "waiting 120 ms: connection refused". */
void connection_describe(const struct connection *c, char *ret, size_t len);

/* Closes everything. The timer is closed by the caller's uv_close, after which the memory may go. */
void connection_stop(struct connection *c);

/* The text after "name:" at the start of a line, up to the end of the line. */
bool info_find(struct slice info, const char *name, struct slice *ret);

/* Takes role, run id and version from the answer to INFO. False: fields are missing or unreadable. Without a
 * replication id *ret_history is empty. */
bool info_decode_server(struct slice info, struct run_id *ret_run, char ret_version[32]);
bool info_decode_replication(struct slice info, bool *ret_master, struct run_id *ret_history, char ret_role[16]);
unsigned info_decode_replicas(struct slice info); /* 0 if it does not say */

#endif
