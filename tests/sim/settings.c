/* What is drawn for a seed, beside its faults. */
#include <stdio.h>

#include "tests/sim/world.h"

#define START_NS (200 * OS_MS) /* until every pod is ready; H may add to it */

static void draw_times(struct world *w)
{
    struct rng *r = &w->plan_rng;
    static const uint64_t bounds_ms[] = {100, 200, 250, 500, 500, 1000, 1000};

    w->bound_ns = bounds_ms[rng_below(r, 7)] * OS_MS;
    w->ready_by = START_NS + w->bound_ns;
    w->work_at = w->ready_by + 60 * OS_MS;
    w->heal_at = w->work_at + w->bound_ns * rng_between(r, 6, 12);
    w->end_at = w->heal_at + 2 * OS_S + w->bound_ns;
    w->gap_ns = (w->heal_at - w->work_at) / rng_between(r, 60, 160);
}

void settings_draw(struct world *w)
{
    struct rng *r = &w->plan_rng;

    draw_times(w);
    w->pods_count = (int)rng_between(r, 1, SIM_PODS);
    w->keys_count = (int)rng_between(r, 1, SIM_CLIENT_KEYS);
    w->auto_permille = (unsigned[]){0, 0, 500, 1000}[rng_below(r, 4)];
    w->write_permille = (unsigned)rng_between(r, 30, 180);
    w->invalidate_permille = 200;
    w->clear_permille = rng_chance(r, 300) ? 40 : 0;
    w->ttl_permille = rng_chance(r, 120) ? 500 : 100;
    w->guarded = rng_chance(r, 80);
    w->persistence = (enum server_persistence)rng_below(r, PERSIST_AOF_NO + 1);
    w->crowd_pod = w->tiny_pod = -1;
    w->version_base = rng_chance(r, 250) ? UINT64_C(1) << 60 : 0;
    w->crowd_fetches = NEVER;
    for (int k = 0; k < SIM_KEYS; k++)
        snprintf(w->keys[k], sizeof(w->keys[k]), k == SIM_CROWD_KEY ? "crowd" : "key-%d", k);
}

static void draw_tables(struct world *w, struct pod *pod)
{
    struct rng *r = &w->plan_rng;

    /* 0: as many as fit. A cache that is too small for all keys makes misses: half of the reads have to hit. */
    pod->max_entries = rng_chance(r, 250) ? (size_t)rng_between(r, 1, 4) : 0;
    pod->max_floors = rng_chance(r, 400) ? (size_t)rng_between(r, 1, 4) : 0;
    pod->max_waiting = w->faults_count && rng_chance(r, 60) ? 8 : 0;
    pod->max_in_flight = w->faults_count && rng_chance(r, 100) ? 1 : 0;
    pod->hooked = rng_chance(r, 80);
    if (pod->number == w->tiny_pod) {
        pod->max_entries = (size_t)rng_between(r, 1, 2);
        pod->max_floors = 1;
    }
}

static void draw_config(struct world *w, struct pod *pod)
{
    struct rng *r = &w->plan_rng;
    struct config *c = &pod->config;

    daemon_config_default(c);
    pod->may_write = pod->number == 0 || !rng_chance(r, 150);
    c->pod.id = pod->name;
    c->pod.role = pod->may_write ? ROLE_WRITER : ROLE_READER;
    c->pod.may_write = pod->may_write;
    c->listen.socket = pod->socket;
    c->redis.username = (char *)(uintptr_t)SIM_USER;
    c->redis.password = (char *)(uintptr_t) "first";
    c->staleness.bound_ns = w->bound_ns;
    c->staleness.on_partition = rng_chance(r, 150) ? ON_PARTITION_STALE : ON_PARTITION_REFUSE;
    c->staleness.max_stale_ns = w->bound_ns * rng_between(r, 1, 6);
    c->staleness.min_replicas = w->guarded ? 1 : 0;
    c->cache.propagate = rng_chance(r, 300) ? PROPAGATE_INVALIDATE : PROPAGATE_VALUE;
    c->cache.default_ttl_ns = rng_chance(r, 80) ? w->bound_ns * 4 / OS_MS * OS_MS : 0;
    if (rng_chance(r, 150))
        c->staleness.tombstone_ttl_ns = w->bound_ns * rng_between(r, 2, 8) / OS_MS * OS_MS;
}

static int64_t draw_offset(struct world *w)
{
    return rng_chance(&w->plan_rng, 300) ? (int64_t)rng_between(&w->plan_rng, 1, 1000) * (int64_t)OS_S : 0;
}

static void make_clients(struct world *w, struct pod *pod)
{
    char name[32];

    for (int c = 0; c <= SIM_CLIENTS; c++) {
        struct client_host_config config = {
            .name = name,
            .socket = pod->socket,
            .handles = c < SIM_CLIENTS ? SIM_HANDLES : 1,
            .timeout_ms = 1000,
            .boottime_offset_ns = c == 0 ? 0 : draw_offset(w),
        };

        snprintf(name, sizeof(name), c < SIM_CLIENTS ? "app-%d-%d" : "prober-%d", pod->number, c);
        if (c < SIM_CLIENTS)
            pod->clients[c] = client_host_new(w->os, &config);
        else
            pod->prober = client_host_new(w->os, &config);
    }
}

void settings_make_pods(struct world *w)
{
    for (int i = 0; i < w->pods_count; i++) {
        struct pod *pod = &w->pods[i];

        *pod = (struct pod){.world = w, .number = i, .hit_at = NEVER};
        for (int k = 0; k < SIM_KEYS; k++)
            pod->told_epoch[k] = -1;
        snprintf(pod->name, sizeof(pod->name), "pod-%d", i);
        snprintf(pod->socket, sizeof(pod->socket), "/run/pod-%d.sock", i);
        draw_tables(w, pod);
        draw_config(w, pod);
        pod->host = daemon_host_new(w->os, pod->name, &pod->config, draw_offset(w));
        make_clients(w, pod);
    }
}
