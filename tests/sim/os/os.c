#include "tests/sim/os/internal.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct os *os_world;

void *os_alloc(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory)
        abort();
    return memory;
}

void *os_grow(void *memory, size_t size)
{
    void *grown = realloc(memory, size);

    if (!grown)
        abort();
    return grown;
}

void os_own(struct os *os, void *memory)
{
    if (os->owned_count == PROCESSES_MAX)
        abort();
    os->owned[os->owned_count++] = memory;
}

/* ---- random numbers, the hash ----------------------------------------------------------------------------- */

uint64_t os_random(struct os *os)
{
    uint64_t z = (os->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t os_random_between(struct os *os, uint64_t lo, uint64_t hi)
{
    return hi <= lo ? lo : lo + os_random(os) % (hi - lo + 1);
}

bool os_chance(struct os *os, unsigned permille)
{
    return permille > 0 && os_random(os) % 1000 < permille;
}

uint64_t os_step_time(struct os *os)
{
    return os_random_between(os, os->config.step_min_ns, os->config.step_max_ns);
}

uint64_t os_hash(const struct os *os)
{
    return os->hash;
}

void os_hash_add(struct os *os, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t word;

    os_mix(os, len);
    for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        os_mix(os, word);
    }
    word = 0;
    memcpy(&word, at, len);
    os_mix(os, word);
}

/* ---- the heap of events ----------------------------------------------------------------------------------- */

static bool event_before(const struct os_event *a, const struct os_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_put(struct os *os, size_t place, struct os_event *event)
{
    os->heap[place] = event;
    event->place = place;
}

static void heap_rise(struct os *os, size_t place, struct os_event *event)
{
    while (place > 0 && event_before(event, os->heap[(place - 1) / 2])) {
        heap_put(os, place, os->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_put(os, place, event);
}

static void heap_sink(struct os *os, size_t place, struct os_event *event)
{
    size_t child;

    while ((child = 2 * place + 1) < os->events) {
        if (child + 1 < os->events && event_before(os->heap[child + 1], os->heap[child]))
            child++;
        if (!event_before(os->heap[child], event))
            break;
        heap_put(os, place, os->heap[child]);
        place = child;
    }
    heap_put(os, place, event);
}

static void heap_remove(struct os *os, struct os_event *event)
{
    size_t place = event->place;
    struct os_event *last = os->heap[--os->events];

    if (last == event)
        return;
    if (place > 0 && event_before(last, os->heap[(place - 1) / 2]))
        heap_rise(os, place, last);
    else
        heap_sink(os, place, last);
}

static void event_free(struct os *os, struct os_event *event)
{
    if (os->spares < sizeof(os->spare) / sizeof(os->spare[0]))
        os->spare[os->spares++] = event;
    else
        free(event);
}

struct os_event *os_at(struct os *os, uint64_t at, void (*fn)(void *arg), void *arg)
{
    struct os_event *event = os->spares > 0 ? os->spare[--os->spares] : os_alloc(sizeof(*event));

    *event = (struct os_event){.at = at < os->now ? os->now : at, .order = os->orders++, .fn = fn, .arg = arg};
    if (os->events == os->room) {
        os->room = os->room > 0 ? 2 * os->room : 256;
        os->heap = os_grow(os->heap, os->room * sizeof(struct os_event *));
    }
    heap_rise(os, os->events++, event);
    return event;
}

void os_cancel(struct os *os, struct os_event *event)
{
    heap_remove(os, event);
    event_free(os, event);
}

void os_forget(struct os *os, struct os_event **event)
{
    if (*event)
        os_cancel(os, *event);
    *event = NULL;
}

/* ---- time ------------------------------------------------------------------------------------------------- */

uint64_t os_now(const struct os *os)
{
    return os->now;
}

bool os_step(struct os *os)
{
    struct os_event *event;
    void (*fn)(void *arg);
    void *arg;

    if (os->events == 0)
        return false;
    event = os->heap[0];
    heap_remove(os, event);
    os->now = event->at;
    fn = event->fn;
    arg = event->arg;
    event_free(os, event);
    net_reap(os);
    fn(arg);
    return true;
}

void os_run_until(struct os *os, uint64_t until)
{
    while (os->events > 0 && os->heap[0]->at <= until)
        os_step(os);
    if (os->now < until)
        os->now = until;
}

/* ---- the world -------------------------------------------------------------------------------------------- */

struct os *os_new(const struct os_config *config)
{
    struct os *os = os_alloc(sizeof(*os));

    if (os_world) {
        fputs("two simulated worlds at the same time\n", stderr);
        abort();
    }
    /* One world after another takes and gives back the same memory: the kernel need not see it. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
    os->config = *config;
    if (os->config.step_max_ns == 0) {
        os->config.step_min_ns = 1 * OS_US;
        os->config.step_max_ns = 20 * OS_US;
    }
    os->random = config->seed * UINT64_C(0xd1342543de82ef95) + 1;
    os->hash = config->seed;
    os_random(os);
    os_world = os;
    net_init(os);
    return os;
}

void os_free(struct os *os)
{
    for (unsigned i = 0; i < os->process_count; i++)
        os_process_kill(os->processes[i]);
    net_deinit(os);
    for (unsigned i = 0; i < os->process_count; i++) {
        free(os->processes[i]->fds);
        free(os->processes[i]);
    }
    for (unsigned i = 0; i < os->owned_count; i++)
        free(os->owned[i]);
    while (os->events > 0)
        os_cancel(os, os->heap[os->events - 1]);
    while (os->spares > 0)
        free(os->spare[--os->spares]);
    free(os->heap);
    free(os);
    os_world = NULL;
}
