/* What the tests of the simulated system stand on: a world of one Redis, one daemon and one client. */
#ifndef DCACHED_SIM_TEST_WORLD_H
#define DCACHED_SIM_TEST_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/sim/os/client_host.h"
#include "tests/sim/os/daemon_host.h"
#include "tests/sim/os/net.h"
#include "tests/sim/redis/server.h"

struct world {
    struct os *os;
    struct server *redis;
    struct net_server *port;
    struct config config;
    struct daemon_host *daemon;
    struct os_process *pod, *app;
    struct client_host *client;
    /* the last call */
    int calls;
    dcache_result result;
    dcache_state state;
    char value[32];
    uint64_t done_at, age_ns;
    struct dcache_written written;
};

void world_begin(struct world *w, uint64_t seed);
void world_run(struct world *w, uint64_t ns);
/* Daemon and client are started, and the daemon has time to become ready. */
void world_start(struct world *w);
void world_end(struct world *w);

/* A call of the client, to be posted; its outcome stands in the world. */
void post_get(void *ctx);
void post_set(void *ctx);
void post_clear(void *ctx);
/* The result of such a call, which is over within `ns`. */
dcache_result call(struct world *w, void (*post)(void *ctx), uint64_t ns);

#endif
