/*
 * What daemon.c (start, stop), wiring.c (everything in between) and report.c (what systemd hears) share. Nobody
 * else includes this.
 *
 * One turn of the loop, in order:
 *   prepare   before_poll: Redis' queues leave, then what clients were answered; the core's timer is set
 *   poll      answers and messages of Redis: each is an event of the core, whose effects are carried out at once
 *   check     clients' turns (net): each request is an event of the core; hits are answered on the spot
 * So a message that arrived in the same turn as a read has been applied when the read is looked at.
 */
#ifndef DCACHED_WIRING_H
#define DCACHED_WIRING_H

#include <uv.h>

#include "daemon/core/trace.h"
#include "daemon/daemon.h"
#include "daemon/host/hook.h"
#include "daemon/host/progress.h"
#include "daemon/metrics/metrics.h"
#include "daemon/net/connection.h"
#include "daemon/ops/ops.h"
#include "daemon/redis/redis.h"

#define RANDOM_POOL 4096

/* The listeners. */
enum { DOOR_MAIN, DOOR_ADMIN, DOOR_COUNT };
_Static_assert(DOOR_COUNT == CONNECTION_DOORS, "net counts the clients of each");
#define ADMIN_CONNECTIONS 16 /* of the admin socket, beside those of [limits] connections; picked */

/* A configuration that is being read in a thread, so that a slow disk or name service holds nobody up. */
struct reload {
    const struct config_source *source; /* NULL: there is nothing to read anew */
    uv_work_t work;
    bool under_way, again; /* again: another SIGHUP came meanwhile */
    int result;            /* of config_load */
    struct config loaded;
    struct config_report report;
    uint64_t loaded_at_ms; /* since 1970 */
    char *error;           /* of the last one; NULL: it was good */
    char *restart;         /* what waits for a restart; NULL: nothing */
};

struct daemon {
    struct config *config;
    struct log *log;
    struct notify *notify;
    uv_loop_t loop;
    struct core *core;
    struct redis *redis;
    struct ops *ops;
    struct connections *conns;
    struct listener *listener, *admin_listener; /* admin_listener: NULL without [listen] admin_socket */
    struct hook *hook;
    struct metrics *metrics; /* NULL: not configured */
    uv_prepare_t prepare;
    uv_timer_t tick, report, stop_limit;
    uv_signal_t sigterm, sigint, sighup;
    uint64_t started_at;
    uint64_t tick_due; /* what `tick` is set to; UINT64_MAX: nothing */
    bool asked_redis;  /* redis_flush has something to do */
    bool stopping, finished;
    struct progress progress;
    struct reload reload;
    uint64_t heartbeats_asked;
    uint64_t fed_at; /* the watchdog; uv_hrtime */
    size_t max_message;
    uint64_t pending_bytes_max; /* of the core */
    struct histogram loop_lag;
    uint64_t started_ms; /* since 1970 */
    uint8_t random[RANDOM_POOL];
    size_t random_used; /* of `random` */
};

uint64_t daemon_clock(void); /* CLOCK_BOOTTIME, read now */
/* Every second at least (report.c): tells systemd how things are, and feeds its watchdog if the core makes
 * progress. */
void daemon_report(struct daemon *d);
/* Steps the core and carries out all effects. */
void daemon_step(struct daemon *d, const struct core_event *event);
void daemon_random(struct daemon *d, void *bytes, size_t len);
void daemon_before_poll(struct daemon *d);

/* ---- reload.c: the configuration, anew --------------------------------------------------------------------- */

void reload_init(struct daemon *d);
void daemon_reload(struct daemon *d);
void reload_deinit(struct daemon *d);

/* ---- permit.c: who may what -------------------------------------------------------------------------------- */

/* Looks at the lists and notes with the client what it may do. */
void permit_client(struct daemon *d, uint64_t client);
/* After the lists have changed: for all clients. Who may not read any more loses its watches. */
void permit_all(struct daemon *d);
/* ops_config.refuse */
const char *permit_refuse(void *ctx, uint64_t client, enum proto_method method);

/* ---- about.c: what the daemon says of itself; the callbacks of ops_config ----------------------------------- */

void about_describe(void *ctx, struct ops_surroundings *ret);
/* Why Redis cannot be reached, valid until the next call; "": it can. */
const char *about_trouble(void *ctx);
/* Why reads are not served, with what the connections say. */
const char *about_reason(const struct daemon *d, const struct core_status *status);
void about_client_named(void *ctx, uint64_t client, struct slice name);
bool about_client_at(void *ctx, uint32_t *index, struct ops_client *ret);
bool about_setting_at(void *ctx, unsigned index, struct ops_setting *ret);
bool about_log_level(void *ctx, uint64_t client, struct slice name, const char **ret_level,
                     const char **ret_configured);

/* ---- wiring.c ---------------------------------------------------------------------------------------------- */

/* The callbacks that tie the parts together; d is their ctx. */
struct ops_config wiring_ops_config(struct daemon *d);
struct connections_config wiring_connections_config(struct daemon *d, unsigned max_connections);
struct redis_config wiring_redis_config(struct daemon *d);
/* wiring_metrics.c. False: not as configured; the log says why. Nothing is done where nothing is configured. */
bool wiring_metrics_start(struct daemon *d);
/* Those of the listener among them. */
void wiring_net_counters(const struct daemon *d, struct net_counters *ret);
void wiring_on_accept(void *ctx, int fd, const struct peer *peer);
void wiring_on_tick(uv_timer_t *timer);

#endif
