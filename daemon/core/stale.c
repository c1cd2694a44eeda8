#include <errno.h>
#include <stdlib.h>

#include "daemon/core/stale.h"
#include "daemon/core/table.h"

/* Picked: sizes the index for keys of this length; others cost only index space or depth. */
#define TYPICAL_KEY_BYTES 24

/*
 * A floor is an entry without value of the current generation. A reset begins a new generation; the older
 * entries stay in the table, count as absent, and are overwritten or pushed out by and by.
 */
struct stale_detector {
    struct table *table;
    uint32_t generation;
    uint64_t count, bytes; /* floors of the current generation */
};

static void floor_evicted(void *ctx, const struct entry *entry)
{
    struct stale_detector *d = ctx;

    if (entry->generation != d->generation)
        return;
    d->count--;
    d->bytes -= entry_size(entry);
}

int stale_detector_new(struct stale_detector **ret, size_t bytes, size_t max_floors, const uint8_t hash_key[16])
{
    struct stale_detector *d = calloc(1, sizeof *d);
    struct table_config config = {
        .bytes = bytes,
        .entry_bytes = TYPICAL_KEY_BYTES,
        .max_entries = max_floors,
        .evicted = floor_evicted,
        .evicted_ctx = d,
    };
    int r;

    if (!d)
        return -ENOMEM;
    memcpy(config.hash_key, hash_key, sizeof config.hash_key);
    r = table_new(&d->table, &config);
    if (r < 0) {
        free(d);
        return r;
    }
    *ret = d;
    return 0;
}

struct stale_detector *stale_detector_free(struct stale_detector *detector)
{
    if (!detector)
        return NULL;
    table_free(detector->table);
    free(detector);
    return NULL;
}

static struct floor floor_of(const struct entry *e)
{
    return (struct floor){.seq = e->seq, .version = e->version, .seen_ns = e->timestamp_ns};
}

/* NULL if the key has no floor in the current generation. */
static struct entry *find_floor(struct stale_detector *d, uint64_t hash, struct slice key)
{
    struct entry *e = table_find(d->table, hash, key);

    return e && e->generation == d->generation ? e : NULL;
}

static void add_floor(struct stale_detector *d, uint64_t hash, struct slice key, const struct floor *floor)
{
    const struct table_item item = {
        .version = floor->version,
        .seq = floor->seq,
        .timestamp_ns = floor->seen_ns,
        .generation = d->generation,
    };
    struct entry *e;

    /* A key too large for the table is one whose floor is forgotten at once. */
    if (table_put(d->table, hash, key, &item, &e) != TABLE_OK)
        return;
    d->count++;
    d->bytes += entry_size(e);
}

int stale_detector_record(struct stale_detector *detector, struct slice key, uint64_t seq, uint64_t version,
                          uint64_t now_ns, struct floor *ret_floor)
{
    const uint64_t hash = table_hash(detector->table, key);
    const struct floor floor = {.seq = seq, .version = version, .seen_ns = now_ns};
    struct entry *e = find_floor(detector, hash, key);

    if (ret_floor)
        *ret_floor = e ? floor_of(e) : (struct floor){0};
    if (!e) {
        add_floor(detector, hash, key, &floor);
        return STALE_NEWER;
    }
    table_touch(detector->table, hash, e);
    if (seq <= e->seq)
        return seq == e->seq ? STALE_SAME : STALE_REJECTED;
    e->seq = seq;
    e->version = version;
    e->timestamp_ns = now_ns;
    return STALE_NEWER;
}

void stale_detector_prefetch(const struct stale_detector *detector, struct slice key)
{
    table_prefetch(detector->table, table_hash(detector->table, key));
}

bool stale_detector_find(struct stale_detector *detector, struct slice key, struct floor *ret_floor)
{
    const struct entry *e = find_floor(detector, table_hash(detector->table, key), key);

    if (!e)
        return false;
    if (ret_floor)
        *ret_floor = floor_of(e);
    return true;
}

void stale_detector_reset(struct stale_detector *detector)
{
    detector->generation++;
    detector->count = detector->bytes = 0;
}

struct walk {
    const struct stale_detector *detector;
    void (*each)(void *ctx, struct slice key, const struct floor *floor);
    void *ctx;
};

static void walk_entry(void *ctx, const struct entry *entry)
{
    const struct walk *walk = ctx;
    const struct floor floor = floor_of(entry);

    if (entry->generation == walk->detector->generation)
        walk->each(walk->ctx, entry_key(entry), &floor);
}

void stale_detector_walk(struct stale_detector *detector, uint64_t *cursor, unsigned max_buckets,
                         void (*each)(void *ctx, struct slice key, const struct floor *floor), void *ctx)
{
    struct walk walk = {.detector = detector, .each = each, .ctx = ctx};

    table_walk(detector->table, cursor, max_buckets, walk_entry, &walk);
}

uint64_t stale_detector_count(const struct stale_detector *detector)
{
    return detector->count;
}

uint64_t stale_detector_bytes(const struct stale_detector *detector)
{
    return detector->bytes;
}
