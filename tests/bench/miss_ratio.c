/*
 * Miss ratio of the table beside that of an exact LRU of as many entries, on the same requests.
 *
 *     miss_ratio [--short]
 *
 * No time is involved and the seeds are fixed: the same build prints the same figures. Exit 1 if a gated ratio
 * (Zipf 0.99, cache 1 % and 10 % of the keys) is above its gate: 0.88, with --short (fewer keys) 0.92.
 *
 * Misses count from the first tenth of the requests on, for both alike, so that filling the cache is left out.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/core/table.h"

#define VALUE_BYTES 100
#define GATE        0.88
#define GATE_SHORT  0.92

static void *must(void *memory)
{
    if (!memory) {
        fputs("miss_ratio: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

/* ---- random numbers and Zipf ---------------------------------------------------------------------------- */

static uint64_t random_next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double random_unit(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

struct zipf {
    double *cumulative;
    uint32_t count;
};

static void zipf_init(struct zipf *z, uint32_t count, double exponent)
{
    double sum = 0;

    z->count = count;
    z->cumulative = must(malloc(count * sizeof *z->cumulative));
    for (uint32_t i = 0; i < count; i++) {
        sum += pow(i + 1.0, -exponent);
        z->cumulative[i] = sum;
    }
}

static uint32_t zipf_draw(const struct zipf *z, uint64_t *random)
{
    const double wanted = random_unit(random) * z->cumulative[z->count - 1];
    uint32_t low = 0, high = z->count - 1;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (z->cumulative[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- traces --------------------------------------------------------------------------------------------- */

struct trace {
    uint32_t *keys;
    uint32_t count, universe;
};

static struct trace trace_new(uint32_t count, uint32_t universe)
{
    return (struct trace){must(malloc(count * sizeof(uint32_t))), count, universe};
}

static struct trace trace_zipf(uint32_t keys, uint32_t count, double exponent)
{
    struct trace trace = trace_new(count, keys);
    uint64_t random = 1;
    struct zipf z;

    zipf_init(&z, keys, exponent);
    for (uint32_t i = 0; i < count; i++)
        trace.keys[i] = zipf_draw(&z, &random);
    free(z.cumulative);
    return trace;
}

/* Zipf 0.99; once in 10,000 requests 2,000 keys that are never asked for again. */
static struct trace trace_scans(uint32_t keys, uint32_t count)
{
    struct trace trace = trace_zipf(keys, count, 0.99);

    for (uint32_t i = 0; i < count; i++)
        if (i % 10000 < 2000)
            trace.keys[i] = trace.universe++;
    return trace;
}

/* Zipf 0.99 whose most popular keys become other ones ten times. */
static struct trace trace_shifts(uint32_t keys, uint32_t count)
{
    struct trace trace = trace_zipf(keys, count, 0.99);

    for (uint32_t i = 0; i < count; i++)
        trace.keys[i] = (uint32_t)((trace.keys[i] + (uint64_t)(i / (count / 10)) * (keys / 10)) % keys);
    return trace;
}

/* ---- exact LRU ------------------------------------------------------------------------------------------ */

/* A ring of links through an array; the last element is its anchor. */
struct lru {
    uint32_t *before, *after;
    bool *present;
    uint32_t anchor, entries, capacity;
};

static void lru_unlink(struct lru *l, uint32_t key)
{
    l->after[l->before[key]] = l->after[key];
    l->before[l->after[key]] = l->before[key];
    l->present[key] = false;
    l->entries--;
}

static void lru_push(struct lru *l, uint32_t key)
{
    l->after[key] = l->after[l->anchor];
    l->before[key] = l->anchor;
    l->before[l->after[key]] = key;
    l->after[l->anchor] = key;
    l->present[key] = true;
    l->entries++;
}

static bool lru_request(struct lru *l, uint32_t key)
{
    const bool hit = l->present[key];

    if (hit)
        lru_unlink(l, key);
    else if (l->entries == l->capacity)
        lru_unlink(l, l->before[l->anchor]);
    lru_push(l, key);
    return hit;
}

static double lru_miss_ratio(const struct trace *trace, uint32_t capacity)
{
    const uint32_t first = trace->count / 10;
    struct lru l = {
        .before = must(calloc(trace->universe + 1, sizeof(uint32_t))),
        .after = must(calloc(trace->universe + 1, sizeof(uint32_t))),
        .present = must(calloc(trace->universe + 1, sizeof(bool))),
        .anchor = trace->universe,
        .capacity = capacity,
    };
    uint32_t misses = 0;

    l.before[l.anchor] = l.after[l.anchor] = l.anchor;
    for (uint32_t i = 0; i < trace->count; i++)
        misses += !lru_request(&l, trace->keys[i]) && i >= first;
    free(l.before);
    free(l.after);
    free(l.present);
    return (double)misses / (trace->count - first);
}

/* ---- the table ------------------------------------------------------------------------------------------ */

static bool table_request(struct table *t, uint32_t number)
{
    static const uint8_t value[VALUE_BYTES];
    const struct table_item item = {.value = slice_of(value, sizeof value)};
    struct entry *e;
    uint64_t hash;
    char text[16];
    struct slice key;

    snprintf(text, sizeof text, "key:%08x", number);
    key = slice_of(text, 12);
    hash = table_hash(t, key);
    e = table_find(t, hash, key);
    if (e)
        table_touch(t, hash, e);
    else
        table_put(t, hash, key, &item, NULL);
    return e != NULL;
}

/* Bounded by bytes as the daemon's cache is, or by entries; *ret_entries: how many it held at the end. */
static double table_miss_ratio(const struct trace *trace, uint32_t capacity, bool by_entries,
                               uint32_t *ret_entries)
{
    const struct table_config config = {
        /* 170: 152 of the record and 18 of the index; twice that where it is not to be the limit. */
        .bytes = (size_t)capacity * 170 * (by_entries ? 2 : 1),
        .entry_bytes = 12 + VALUE_BYTES,
        .max_entries = by_entries ? capacity : 0,
        .hash_key = {1},
    };
    const uint32_t first = trace->count / 10;
    struct table_stats stats;
    struct table *t = NULL;
    uint32_t misses = 0;

    if (table_new(&t, &config) != 0)
        must(NULL);
    for (uint32_t i = 0; i < trace->count; i++)
        misses += !table_request(t, trace->keys[i]) && i >= first;
    table_get_stats(t, &stats);
    *ret_entries = (uint32_t)stats.entries;
    table_free(t);
    return (double)misses / (trace->count - first);
}

/* ---- the figures ---------------------------------------------------------------------------------------- */

/* 1 if the gate (0: none) is missed. */
static int compare(const char *name, const struct trace *trace, uint32_t capacity, bool by_entries, double gate)
{
    uint32_t entries;
    const double table = table_miss_ratio(trace, capacity, by_entries, &entries);
    const double lru = lru_miss_ratio(trace, entries);
    const bool missed = gate > 0 && table > gate * lru;

    printf("%-24s %-8s %8u   %.4f   %.4f   %.3f", name, by_entries ? "entries" : "bytes", entries, table, lru,
           table / lru);
    if (gate > 0)
        printf("   <= %.2f %s", gate, missed ? "MISSED" : "ok");
    putchar('\n');
    fflush(stdout);
    return missed;
}

static int compare_sizes(const char *name, struct trace trace, uint32_t keys, double gate)
{
    int missed = 0;

    missed += compare(name, &trace, keys / 100, false, gate);
    missed += compare(name, &trace, keys / 100, true, gate);
    missed += compare(name, &trace, keys / 10, false, gate);
    missed += compare(name, &trace, keys / 10, true, gate);
    free(trace.keys);
    return missed;
}

int main(int argc, char **argv)
{
    const bool brief = argc > 1 && strcmp(argv[1], "--short") == 0;
    const uint32_t keys = brief ? 100000 : 1000000, requests = brief ? 500000 : 5000000;
    int missed;

    printf("%u keys, %u requests; cache 1 %% and 10 %% of the keys\n", keys, requests);
    printf("%-24s %-8s %8s   %-6s   %-6s   %-5s   gate\n", "trace", "bound by", "entries", "table", "LRU",
           "ratio");
    missed = compare_sizes("Zipf 0.99", trace_zipf(keys, requests, 0.99), keys, brief ? GATE_SHORT : GATE);
    compare_sizes("Zipf 0.99 with scans", trace_scans(keys, requests), keys, 0);
    compare_sizes("Zipf 0.99 that shifts", trace_shifts(keys, requests), keys, 0);
    if (!brief) {
        compare_sizes("Zipf 0.8", trace_zipf(keys, requests, 0.8), keys, 0);
        compare_sizes("Zipf 1.2", trace_zipf(keys, requests, 1.2), keys, 0);
    }
    return missed ? 1 : 0;
}
