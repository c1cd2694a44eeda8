/*
 * colliding_keys COUNT: COUNT keys, one per line, that fall on 1/4096 of the buckets under a secret of zeros: what
 * somebody can prepare who knows the secret. Before them a line with how many times as long as other keys they
 * take then, in a table like that of a daemon: each is looked up, and put where it is not found.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/core/hash.h"
#include "daemon/core/table.h"

#define BUCKET_SHIFT 52 /* buckets are chosen by the high bits */
#define TABLE_BYTES  (32 << 20)
#define ENTRY_BYTES  160
#define ROUNDS       16

struct key {
    char text[32];
};

static const uint8_t secret[HASH_SECRET_BYTES];

static void key_print(struct key *key, uint64_t number)
{
    snprintf(key->text, sizeof key->text, "collide:%012" PRIu64, number);
}

static struct slice key_slice(const struct key *key)
{
    return slice_of(key->text, strlen(key->text));
}

static void keys_choose(struct key *keys, unsigned long count)
{
    for (uint64_t n = 0; count > 0; n++) {
        key_print(keys, n);
        if (hash_bytes(secret, key_slice(keys)) >> BUCKET_SHIFT)
            continue;
        keys++;
        count--;
    }
}

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void look_up(struct table *t, const struct key *keys, unsigned long count)
{
    const struct table_item item = {.value = slice_of("x", 1)};

    for (unsigned long i = 0; i < count; i++) {
        const struct slice key = key_slice(&keys[i]);
        const uint64_t hash = table_hash(t, key);
        const struct entry *e = table_find(t, hash, key);

        if (e)
            table_touch(t, hash, e);
        else
            table_put(t, hash, key, &item, NULL);
    }
}

/* The first round puts them all, and does not count. */
static uint64_t time_of(const struct key *keys, unsigned long count)
{
    const struct table_config config = {.bytes = TABLE_BYTES, .entry_bytes = ENTRY_BYTES};
    struct table *t = NULL;
    uint64_t begin, took;

    if (table_new(&t, &config) != 0)
        exit(EXIT_FAILURE);
    look_up(t, keys, count);
    begin = clock_ns();
    for (int i = 0; i < ROUNDS; i++)
        look_up(t, keys, count);
    took = clock_ns() - begin;
    table_free(t);
    return took;
}

int main(int argc, char **argv)
{
    unsigned long count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    struct key *chosen = calloc(count + 1, sizeof *chosen), *others = calloc(count + 1, sizeof *others);

    if (!chosen || !others || count == 0)
        return EXIT_FAILURE;
    keys_choose(chosen, count);
    for (unsigned long i = 0; i < count; i++)
        key_print(&others[i], i);
    printf("%.2f\n", (double)time_of(chosen, count) / (double)time_of(others, count));
    for (unsigned long i = 0; i < count; i++)
        puts(chosen[i].text);
    free(chosen);
    free(others);
    return EXIT_SUCCESS;
}
