/*
 * Nanoseconds per lookup of a random cached key: hash, find, touch, and a look at the value's first byte.
 * One by one, then in bursts of 64 whose buckets are prefetched first, as a multi-get does. Median of 9 rounds.
 *
 *     table_find [KEYS ...]      (100000 and 1000000)
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/core/table.h"

#define KEY_BYTES   12
#define VALUE_BYTES 100
#define LOOKUPS     1000000
#define BURST       64
#define ROUNDS      9

static uint64_t sum; /* keeps the compiler from dropping the lookups */

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void look_up(struct table *t, uint64_t hash, struct slice key)
{
    const struct entry *e = table_find(t, hash, key);

    if (!e)
        return;
    table_touch(t, hash, e);
    sum += entry_value(e).data[0];
}

static void one_by_one(struct table *t, const char *wanted)
{
    for (unsigned i = 0; i < LOOKUPS; i++) {
        const struct slice key = slice_of(wanted + (size_t)i * KEY_BYTES, KEY_BYTES);

        look_up(t, table_hash(t, key), key);
    }
}

static void in_bursts(struct table *t, const char *wanted)
{
    uint64_t hashes[BURST];

    for (unsigned i = 0; i + BURST <= LOOKUPS; i += BURST) {
        for (unsigned j = 0; j < BURST; j++) {
            hashes[j] = table_hash(t, slice_of(wanted + (size_t)(i + j) * KEY_BYTES, KEY_BYTES));
            table_prefetch(t, hashes[j]);
        }
        for (unsigned j = 0; j < BURST; j++)
            look_up(t, hashes[j], slice_of(wanted + (size_t)(i + j) * KEY_BYTES, KEY_BYTES));
    }
}

static double median_ns(struct table *t, const char *wanted, void (*run)(struct table *t, const char *wanted))
{
    double rounds[ROUNDS];

    for (unsigned i = 0; i < ROUNDS; i++) {
        const uint64_t start = clock_ns();

        run(t, wanted);
        rounds[i] = (double)(clock_ns() - start) / LOOKUPS;
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare_doubles);
    return rounds[ROUNDS / 2];
}

static void name_key(char *to, unsigned number)
{
    char text[KEY_BYTES + 1];

    snprintf(text, sizeof text, "key:%08x", number);
    memcpy(to, text, KEY_BYTES);
}

static int measure(unsigned keys)
{
    static const uint8_t value[VALUE_BYTES];
    const struct table_config config = {
        .bytes = (size_t)keys * 200 + 65536,
        .entry_bytes = KEY_BYTES + VALUE_BYTES,
    };
    const struct table_item item = {.value = slice_of(value, sizeof value)};
    char *wanted = malloc((size_t)LOOKUPS * KEY_BYTES);
    struct table_stats stats;
    struct table *t = NULL;
    uint64_t random = 1;

    if (!wanted || table_new(&t, &config) != 0) {
        free(wanted);
        return 1;
    }
    for (unsigned i = 0; i < keys; i++) {
        char text[KEY_BYTES];

        name_key(text, i);
        table_put(t, table_hash(t, slice_of(text, KEY_BYTES)), slice_of(text, KEY_BYTES), &item, NULL);
    }
    for (unsigned i = 0; i < LOOKUPS; i++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        name_key(wanted + (size_t)i * KEY_BYTES, (unsigned)((random >> 32) * keys >> 32));
    }
    table_get_stats(t, &stats);
    printf("%8u keys (%8u cached): %6.1f ns one by one, %6.1f ns in bursts of %d\n", keys, (unsigned)stats.entries,
           median_ns(t, wanted, one_by_one), median_ns(t, wanted, in_bursts), BURST);
    table_free(t);
    free(wanted);
    return 0;
}

int main(int argc, char **argv)
{
    int r = 0;

    if (argc < 2)
        return measure(100000) | measure(1000000);
    for (int i = 1; i < argc; i++)
        r |= measure((unsigned)strtoul(argv[i], NULL, 10));
    return r;
}
