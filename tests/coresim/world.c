#include "tests/coresim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/coresim/check.h"
#include "tests/coresim/client.h"
#include "tests/coresim/fault.h"
#include "tests/coresim/net.h"
#include "tests/coresim/pod.h"

#define WORLD_BEGIN_NS (1000 * NS_PER_S)

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

/* ---- the heap: earliest first, then in the order of asking -------------------------------------------------- */

static bool wake_before(const struct wake *a, const struct wake *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void world_at(struct world *w, uint64_t at, wake_fn fn, int a, int b)
{
    struct wake wake = {at < w->now ? w->now : at, w->order++, fn, a, b};
    size_t i = w->heap_count++;

    if (w->heap_count > w->heap_room) {
        w->heap_room = w->heap_room ? w->heap_room * 2 : 1024;
        w->heap = realloc(w->heap, w->heap_room * sizeof(*w->heap));
        if (!w->heap)
            abort();
    }
    while (i > 0 && wake_before(&wake, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = wake;
}

static struct wake world_next(struct world *w)
{
    struct wake first = w->heap[0], last = w->heap[--w->heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && wake_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!wake_before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

/* ---- what is told ------------------------------------------------------------------------------------------- */

void world_mix(struct world *w, uint64_t a, uint64_t b)
{
    w->hash = (w->hash ^ a ^ w->now) * UINT64_C(0x9fb21c651e98df25);
    w->hash = (w->hash ^ (w->hash >> 29) ^ b) * UINT64_C(0x9fb21c651e98df25);
}

void world_print(struct world *w, int pod, int key, const char *format, ...)
{
    char line[240];
    va_list args;
    int len;

    if ((w->log_pod >= 0 && pod >= 0 && pod != w->log_pod) || (w->log_key >= 0 && key >= 0 && key != w->log_key))
        return;
    len = snprintf(line, sizeof(line), "%12.6f ", (double)w->now / 1e9);
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

void world_violate(struct world *w, const char *promise, int pod, int key, const char *format, ...)
{
    va_list args;

    if (w->violation.promise)
        return;
    w->violation = (struct violation){.promise = promise, .at = w->now, .pod = pod, .key = key};
    va_start(args, format);
    vsnprintf(w->violation.text, sizeof(w->violation.text), format, args);
    va_end(args);
    world_log(w, pod, key, "VIOLATION of %s: %s", promise, w->violation.text);
}

int world_key(struct world *w, struct slice key)
{
    for (int k = 0; k < w->keys_known; k++) {
        if (slice_equal(key, slice_text(w->keys[k])))
            return k;
    }
    if (w->keys_known == SIM_KEYS || key.len >= sizeof(w->keys[0])) {
        world_violate(w, "NOGARB", -1, -1, "an unknown key is asked for: %.*s", (int)key.len,
                      (const char *)key.data);
        return 0;
    }
    if (key.len)
        memcpy(w->keys[w->keys_known], key.data, key.len);
    return w->keys_known++;
}

/* ---- phases ------------------------------------------------------------------------------------------------- */

static void world_sweep(struct world *w, int unused, int also)
{
    for (int n = 0; n < 2; n++) {
        if (w->nodes[n].alive && w->nodes[n].master)
            node_sweep(&w->nodes[n], w->now);
    }
    if (w->now < w->heal_at)
        world_at(w, w->now + rng_between(&w->net_rng, w->bound_ns / 8, w->bound_ns), world_sweep, unused, also);
}

/* No fault is left: one master, its replica, every pod running and pointed at the master. */
static void world_heal(struct world *w, int unused, int also)
{
    struct node *primary = &w->nodes[w->primary], *other = &w->nodes[1 - w->primary];

    (void)unused, (void)also;
    world_log(w, -1, -1, "HEALED");
    if (!primary->alive)
        node_start(primary, w->now, true);
    node_set_master(primary, w->now, true);
    if (other->alive)
        node_set_master(other, w->now, false);
    other->follows = w->primary;
    primary->failing_scripts = 0;
    primary->refuses_writes = primary->refuses_reads = false;
    for (int i = 0; i < w->pods_count; i++) {
        struct pod *p = &w->pods[i];
        struct core_counters counters;

        p->target[0] = p->target[1] = w->primary;
        p->stalled[0] = p->stalled[1] = 0;
        pod_start(w, i, 0);
        if (p->stopped)
            pod_resume(w, i);
        core_get_counters(p->core, &counters);
        p->hits_known = counters.hits;
        world_at(w, w->now + 1, client_probe, i, 0);
    }
    net_kick(w);
}

static void world_settings(struct world *w)
{
    struct rng *r = &w->pod_rng;
    static const uint64_t bounds_ms[] = {100, 200, 500, 1000, 1000, 3000, 10000};

    w->bound_ns = bounds_ms[rng_below(r, 7)] * NS_PER_MS;
    w->pods_count = (int)rng_between(r, 1, SIM_PODS);
    w->keys_count = (int)rng_between(r, 1, SIM_CLIENT_KEYS);
    w->work_at = w->now + w->bound_ns + NS_PER_S;
    w->heal_at = w->work_at + w->bound_ns * rng_between(r, 8, 24);
    w->end_at = w->heal_at + 2 * NS_PER_S + w->bound_ns;
    w->gap_ns = (w->heal_at - w->work_at) / rng_between(r, 200, 700);
    w->auto_permille = (unsigned[]){0, 0, 500, 1000}[rng_below(r, 4)];
    w->write_permille = (unsigned)rng_between(r, 20, 180);
    w->hooked = rng_chance(r, 120);
    w->link_down_after_reset = rng_chance(r, 500);
    for (int k = 0; k < w->keys_count; k++)
        snprintf(w->keys[k], sizeof(w->keys[k]), "key-%d", k);
    w->keys_known = w->keys_count;
}

void world_init(struct world *w, uint64_t seed, uint32_t skip, struct statistics *statistics)
{
    *w = (struct world){
        .seed = seed, .now = WORLD_BEGIN_NS, .statistics = statistics, .log_pod = -1, .log_key = -1};
    w->net_rng = rng_stream(seed, 1);
    w->client_rng = rng_stream(seed, 2);
    w->pod_rng = rng_stream(seed, 3);
    w->fault_rng = rng_stream(seed, 4);
    world_settings(w);
    fault_draw(w, skip);
    for (int n = 0; n < 2; n++)
        node_init(&w->nodes[n], n, &w->truth, seed);
    for (int i = 0; i < w->pods_count; i++)
        pod_configure(w, i);
}

void world_run(struct world *w)
{
    uint64_t stop_at = w->end_at + 4 * w->bound_ns + NS_PER_S;

    node_start(&w->nodes[0], w->now, true);
    node_start(&w->nodes[1], w->now, false);
    for (int i = 0; i < w->pods_count; i++)
        world_at(w, w->now + rng_below(&w->pod_rng, NS_PER_S / 2), pod_start, i, 0);
    world_at(w, w->work_at, check_ready, 0, 0);
    world_at(w, w->work_at, world_sweep, 0, 0);
    client_start(w);
    fault_start(w);
    world_at(w, w->heal_at, world_heal, 0, 0);
    world_at(w, w->end_at, client_converge, 0, 0);
    while (w->heap_count > 0 && w->heap[0].at < stop_at && !w->violation.promise) {
        struct wake wake = world_next(w);

        w->now = wake.at;
        wake.fn(w, wake.a, wake.b);
    }
    if (!w->violation.promise)
        check_end(w);
    w->statistics->seeds++;
    w->statistics->violations += w->violation.promise != NULL;
}

void world_deinit(struct world *w)
{
    for (int i = 0; i < w->pods_count; i++)
        pod_deinit(w, i);
    net_deinit(w);
    truth_deinit(&w->truth);
    for (int i = 0; i < w->contents_count; i++)
        free(w->contents[i]);
    free(w->contents);
    free(w->ops);
    free(w->heap);
    free(w->log);
}
