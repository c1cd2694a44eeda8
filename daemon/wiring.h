/*
 * What daemon.c (start, stop) and wiring.c (everything in between) share. Nobody else includes this.
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

#include "daemon/daemon.h"
#include "daemon/host/hook.h"
#include "daemon/net/connection.h"
#include "daemon/ops/ops.h"
#include "daemon/redis/redis.h"

#define RANDOM_POOL 4096

struct daemon {
    const struct config *config;
    struct log *log;
    struct notify *notify;
    uv_loop_t loop;
    struct core *core;
    struct redis *redis;
    struct ops *ops;
    struct connections *conns;
    struct listener *listener;
    struct hook *hook;
    uv_prepare_t prepare;
    uv_timer_t tick, watchdog, stop_limit;
    uv_signal_t sigterm, sigint, sighup;
    uint64_t started_at;
    uint64_t tick_due; /* what `tick` is set to; UINT64_MAX: nothing */
    bool asked_redis;  /* redis_flush has something to do */
    bool stopping, finished;
    size_t max_message;
    uint8_t random[RANDOM_POOL];
    size_t random_used; /* of `random` */
};

uint64_t daemon_clock(void); /* CLOCK_BOOTTIME, read now */
/* Steps the core and carries out all effects. */
void daemon_step(struct daemon *d, const struct core_event *event);
void daemon_random(struct daemon *d, void *bytes, size_t len);
void daemon_before_poll(struct daemon *d);

/* The callbacks that tie the parts together; d is their ctx. */
struct ops_config wiring_ops_config(struct daemon *d);
struct connections_config wiring_connections_config(struct daemon *d, unsigned max_connections);
struct redis_config wiring_redis_config(struct daemon *d);
void wiring_on_accept(void *ctx, int fd, const struct peer *peer);
void wiring_on_tick(uv_timer_t *timer);

#endif
