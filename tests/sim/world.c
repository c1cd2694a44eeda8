#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/calls.h"
#include "tests/sim/check.h"
#include "tests/sim/fault.h"
#include "tests/sim/node.h"
#include "tests/sim/tap.h"

#define CROWD_NS (25 * OS_MS) /* from preparing the key to asking for it, and from there to the count */

void *world_grow(void *array, int count, int *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 64;
    array = realloc(array, (size_t)*room * size);
    if (!array)
        abort();
    return array;
}

uint64_t world_now(const struct world *w)
{
    return os_now(w->os);
}

void world_at(struct world *w, uint64_t at, void (*fn)(void *arg), void *arg)
{
    os_at(w->os, at, fn, arg);
}

uint64_t world_hash(const struct world *w)
{
    return os_hash(w->os);
}

/* ---- what is told ------------------------------------------------------------------------------------------- */

void world_print(struct world *w, int pod, int key, const char *format, ...)
{
    char line[SIM_LOG_LINE];
    va_list args;
    int len;

    if ((w->log_pod >= 0 && pod >= 0 && pod != w->log_pod) || (w->log_key >= 0 && key >= 0 && key != w->log_key))
        return;
    len = snprintf(line, sizeof(line), "%12.6f ", (double)world_now(w) / 1e9);
    len += pod < 0 ? snprintf(line + len, sizeof(line) - (size_t)len, "     ")
                   : snprintf(line + len, sizeof(line) - (size_t)len, "pod%d ", pod);
    len += key < 0 ? snprintf(line + len, sizeof(line) - (size_t)len, "   ")
                   : snprintf(line + len, sizeof(line) - (size_t)len, "k%d ", key);
    va_start(args, format);
    vsnprintf(line + len, sizeof(line) - (size_t)len, format, args);
    va_end(args);
    if (!w->log)
        puts(line);
    else
        memcpy(w->log[w->log_count++ % SIM_LOG_LINES], line, sizeof(line));
}

static void on_daemon_log(void *ctx, struct os_process *process, const char *line, size_t len)
{
    struct world *w = ctx;

    for (int i = 0; i < w->pods_count; i++) {
        if (daemon_host_process(w->pods[i].host) == process)
            world_print(w, i, -1, "log: %.*s", len ? (int)len - 1 : 0, line);
    }
}

void world_violate(struct world *w, const char *promise, int pod, int key, const char *format, ...)
{
    va_list args;

    if (w->violation.promise)
        return;
    w->violation = (struct violation){.promise = promise, .at = world_now(w), .pod = pod, .key = key};
    va_start(args, format);
    vsnprintf(w->violation.text, sizeof(w->violation.text), format, args);
    va_end(args);
    world_log(w, pod, key, "VIOLATION of %s: %s", promise, w->violation.text);
}

void world_exempt(struct world *w, enum exemption reason)
{
    w->statistics->exempt[reason]++;
}

int world_key(const struct world *w, struct slice key)
{
    for (int k = 0; k < SIM_KEYS; k++) {
        if (slice_equal(key, slice_text(w->keys[k])))
            return k;
    }
    return -1;
}

int world_content(const struct world *w, struct slice value, bool *ret_replaced)
{
    static const char begin[] = "number=";
    const struct content *c;
    size_t at = sizeof(begin) - 1;
    int number = 0;

    *ret_replaced = value.len > 0 && value.data[0] == '!';
    if (*ret_replaced)
        value = slice_of(value.data + 1, value.len - 1);
    if (value.len < at || memcmp(value.data, begin, at) != 0)
        return -1;
    for (; at < value.len && value.data[at] >= '0' && value.data[at] <= '9' && number < 100000; at++)
        number = number * 10 + value.data[at] - '0';
    if (number >= w->contents_count)
        return -1;
    c = w->contents[number];
    return slice_equal(value, slice_of(c->bytes + 1, c->len)) ? number : -1;
}

/* ---- phases ------------------------------------------------------------------------------------------------- */

static void world_ready(void *arg)
{
    check_ready(arg);
}

static void crowd_prepare(void *arg)
{
    calls_crowd_prepare(arg);
}

static void crowd_count(void *arg)
{
    check_crowd(arg);
}

static void crowd_ask(void *arg)
{
    check_crowd(arg);
    calls_crowd(arg);
}

static void work_begin(void *arg)
{
    calls_start(arg);
}

/* Through a new connection, until all that is promised after healing has been seen. */
static void probe(void *arg)
{
    struct pod *pod = arg;
    struct world *w = pod->world;

    if (world_now(w) < w->end_at && calls_probe(pod))
        world_at(w, world_now(w) + w->bound_ns / 48, probe, pod);
}

static void heal(void *arg)
{
    struct world *w = arg;

    world_log(w, -1, -1, "HEALED");
    fault_heal(w);
    for (int i = 0; i < w->pods_count; i++) {
        os_process_start(client_host_process(w->pods[i].prober));
        world_at(w, world_now(w) + OS_MS, probe, &w->pods[i]);
    }
}

static bool everything_shown(const struct world *w)
{
    if (world_now(w) <= w->heal_at)
        return false;
    for (int i = 0; i < w->pods_count; i++) {
        const struct pod *p = &w->pods[i];

        for (int k = 0; k < w->keys_count; k++) {
            if (!p->converged[k])
                return false;
        }
        if (p->hit_at == NEVER)
            return false;
    }
    return w->ops_open == 0;
}

/* ---- one seed ------------------------------------------------------------------------------------------------
 */

void world_init(struct world *w, uint64_t seed, uint32_t skip, struct statistics *statistics)
{
    *w = (struct world){.seed = seed, .statistics = statistics, .log_pod = -1, .log_key = -1};
    w->call_rng = rng_stream(seed, 2);
    w->plan_rng = rng_stream(seed, 3);
    w->fault_rng = rng_stream(seed, 4);
    w->node_rng = rng_stream(seed, 5);
    settings_draw(w);
    fault_draw(w, skip);
    calls_init(w);
}

static void world_build(struct world *w)
{
    struct os_config config = {.seed = w->seed, .on_log = w->logging ? on_daemon_log : NULL, .ctx = w};

    w->os = os_new(&config);
    node_init(w, 0);
    node_init(w, 1);
    node_follow(&w->nodes[1], &w->nodes[0]);
    node_replicate(&w->nodes[1]);
    node_point_at(&w->nodes[0]);
    settings_make_pods(w);
    tap_set_world(w);
    for (int i = 0; i < w->pods_count; i++) {
        struct pod *pod = &w->pods[i];

        os_process_start(daemon_host_process(pod->host));
        for (int c = 0; c < SIM_CLIENTS; c++)
            os_process_start(client_host_process(pod->clients[c]));
    }
}

static void world_plan(struct world *w)
{
    world_at(w, w->ready_by, world_ready, w);
    if (w->crowd_pod >= 0) {
        world_at(w, w->ready_by + 1, crowd_prepare, w);
        world_at(w, w->ready_by + CROWD_NS, crowd_ask, w);
        world_at(w, w->ready_by + 2 * CROWD_NS, crowd_count, w);
    }
    world_at(w, w->work_at, work_begin, w);
    fault_start(w);
    world_at(w, w->heal_at, heal, w);
}

void world_run(struct world *w)
{
    uint64_t stop_at = w->end_at + 2 * w->bound_ns + OS_S;

    world_build(w);
    world_plan(w);
    while (!w->violation.promise && world_now(w) < stop_at && !everything_shown(w) && os_step(w->os))
        ;
    if (!w->violation.promise)
        check_end(w);
    w->statistics->seeds++;
    w->statistics->violations += w->violation.promise != NULL;
    w->statistics->virtual_ms += world_now(w) / OS_MS;
    w->statistics->bytes += net_totals(w->os).bytes;
}

void world_deinit(struct world *w)
{
    tap_set_world(NULL);
    os_free(w->os);
    node_deinit(&w->nodes[0]);
    node_deinit(&w->nodes[1]);
    truth_deinit(&w->truth);
    for (int i = 0; i < w->pods_count; i++) {
        for (int k = 0; k < SIM_KEYS; k++) {
            free(w->pods[i].answers[k]);
            free(w->pods[i].seen[k]);
        }
    }
    for (int i = 0; i < w->contents_count; i++)
        free(w->contents[i]);
    for (int i = 0; i < w->ops_count; i++)
        free(w->ops[i]);
    for (int i = 0; i < 16; i++)
        free(w->captured[i].bytes);
    free(w->contents);
    free(w->ops);
    free(w->log);
}
