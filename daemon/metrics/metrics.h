/*
 * Metrics and health over HTTP, for Prometheus and for probes.
 *
 *   /metrics   everything of the table in table.c, in Prometheus' text format
 *   /livez     200 while the loop goes round, whatever Redis does
 *   /readyz    200 while plain reads are served; 503 and one line that says why not
 *   /          lists them
 *
 * GET and HEAD; other methods 405, other paths 404. HTTP is libmicrohttpd's, polled from the daemon's own loop:
 * no thread. Its epoll descriptor is watched; a turn handles whatever is ready.
 *
 * Limits, each with one outcome:
 *   turns                       one in HTTP_TURN_MS: clients of the cache have the loop in between
 *   connections                 HTTP_CONNECTIONS_MAX: the next wait in the backlog of the kernel, and those that
 *                               have not finished a request for HTTP_CROWDED_MS give way (counter evicted)
 *   time between two requests   HTTP_IDLE_MS: closed (evicted)
 *   line and headers            HTTP_REQUEST_BYTES with all that libmicrohttpd needs: 414 or 431, and closed
 *   body                        none is read: answered at once, and closed
 *   text of /metrics            made once in a turn, for all who ask for it
 *
 * There is no authentication and no encryption: listen on loopback, on a Unix socket, or behind something that has
 * both. One thread.
 */
#ifndef DCACHED_METRICS_METRICS_H
#define DCACHED_METRICS_METRICS_H

#include <sys/types.h>
#include <uv.h>

#include "daemon/core/measure.h"
#include "daemon/net/connection.h"
#include "daemon/ops/ops.h"
#include "daemon/redis/redis.h"

#define HTTP_TURN_MS         5    /* picked: 200 turns a second */
#define HTTP_CONNECTIONS_MAX 32   /* picked */
#define HTTP_CROWDED_MS      50   /* picked: a request comes right behind its connection */
#define HTTP_IDLE_MS         5000 /* picked */
#define HTTP_REQUEST_BYTES   8192 /* picked */
#define HTTP_BACKLOG         1024 /* picked: with the two above, waited through in about 2 s */
#define HTTP_FDS             (HTTP_CONNECTIONS_MAX + 4) /* descriptors it needs at most */

/* X(name, help) */
#define HTTP_COUNTERS(X)                                           \
    X(requests, "HTTP requests answered")                          \
    X(requests_refused, "HTTP requests of another method or path") \
    X(connections, "HTTP connections accepted")                    \
    X(evicted, "HTTP connections closed because they finished no request")

struct http_counters {
#define X(name, help) uint64_t name;
    HTTP_COUNTERS(X)
#undef X
};

/* What the daemon's process is. */
struct process_status {
    uint64_t started_ms; /* since 1970 */
    uint64_t resident_bytes, cpu_ns;
};

/* All that the table speaks of. Texts are borrowed until the callback's caller has used them. */
struct metrics_input {
    struct core_counters core;
    struct core_measures measures;
    struct core_status status;
    struct net_counters net;
    struct ops_counters ops;
    struct redis_status redis;
    struct histogram loop_lag;
    const char *pod, *role;
    bool stopping;
    uint64_t now;              /* CLOCK_BOOTTIME */
    bool config_good;          /* the last reload was, or there was none */
    uint64_t config_loaded_ms; /* since 1970 */
    uint64_t bound_ns;
    struct {
        uint64_t cache, trace, buffers, pending;
    } budget; /* bytes that are configured or fixed */
    /* Filled in here. */
    struct http_counters http;
    struct process_status process; /* but for started_ms */
    uint64_t proof_age_ns;         /* UINT64_MAX: there never was a proof */
    uint64_t not_ready[REASON_COUNT];
};

struct metrics_config {
    const char *host; /* name or address; NULL: every interface, unless unix_path is set */
    uint16_t port;
    const char *unix_path; /* NULL: TCP */
    unsigned mode;         /* of the Unix socket */
    gid_t gid;             /* (gid_t)-1: leave it */

    void (*collect)(void *ctx, struct metrics_input *ret);
    void *ctx;
};

struct metrics;

enum {
    METRICS_OK = 0,
    METRICS_UNUSABLE = 1, /* error says why, in one sentence: cause and remedy */
};

/* Listens when it returns METRICS_OK. METRICS_UNUSABLE or -errno otherwise. */
int metrics_new(struct metrics **ret, uv_loop_t *loop, const struct metrics_config *config, char *error,
                size_t error_size);
/* Closes everything at once; frees itself once the loop has closed its handles. NULL is fine. */
void metrics_close(struct metrics *metrics);

#endif
