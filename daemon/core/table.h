/*
 * The segment: an index of 64-byte buckets and an arena of records in two rings, with S3-FIFO eviction. It
 * knows keys, bytes and how often they were asked for; nothing of freshness.
 *
 * Laid out with offsets instead of pointers, so that other processes can map it one day. Two instances exist:
 * the local cache, and (with empty values) the floors of the StaleDetector.
 *
 * S3-FIFO: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023. New keys enter the small
 * ring S (10 % of the arena); those asked for again move to M (90 %); a key that left S lately (its 16-bit
 * fingerprint is among the ghosts) goes to M at once.
 */
#ifndef DCACHED_CORE_TABLE_H
#define DCACHED_CORE_TABLE_H

#include "daemon/core/types.h"

struct table;

enum {
    TABLE_OK = 0,
    TABLE_TOO_LARGE = 1, /* the record is larger than the table can take; nothing was changed */
};

/* The bits 0x40 and 0x80 belong to the table. */
enum entry_flags {
    ENTRY_TOMBSTONE = 1,
    ENTRY_LOCAL = 2,
    ENTRY_REPLACED = 4,
};

/* Head of a record in the arena: key, source and value follow it. 8-aligned. */
struct entry {
    uint16_t key_len;
    uint8_t source_len;
    uint8_t flags;
    uint32_t value_len;
    uint32_t generation;
    uint32_t expires; /* ticks of TABLE_TICK_NS since the table was made; 0: never */
    uint64_t version;
    uint64_t seq;
    uint64_t timestamp_ns;
    uint8_t bytes[];
};

#define TABLE_TICK_NS (UINT64_C(16) * NS_PER_MS) /* 2^32 ticks are 2 years; times to live are rounded down */

static inline struct slice entry_key(const struct entry *e)
{
    return slice_of(e->bytes, e->key_len);
}

static inline struct slice entry_source(const struct entry *e)
{
    return slice_of(e->bytes + e->key_len, e->source_len);
}

static inline struct slice entry_value(const struct entry *e)
{
    return slice_of(e->bytes + e->key_len + e->source_len, e->value_len);
}

/* Bytes the record takes in the arena. */
static inline uint64_t entry_size(const struct entry *e)
{
    return (sizeof *e + e->key_len + e->source_len + (uint64_t)e->value_len + 7) & ~UINT64_C(7);
}

struct table_config {
    size_t bytes;       /* everything: header, index, frequencies, ghosts, arena */
    size_t entry_bytes; /* expected key + source + value; sizes the index at 5 entries per bucket */
    size_t max_entries; /* 0: bounded by bytes alone */
    uint8_t hash_key[16];

    /* Called for each entry that gives way to others, before it goes; must not change the table. May be NULL. */
    void (*evicted)(void *ctx, const struct entry *entry);
    void *evicted_ctx;
};

/* What goes into a new entry beside its key. */
struct table_item {
    struct slice source, value;
    uint64_t version, seq, timestamp_ns;
    uint32_t generation, expires;
    uint8_t flags;
};

struct table_stats {
    uint64_t entries, entries_bytes; /* live records, heads included */
    uint64_t evictions;
    uint64_t bytes; /* of the whole segment */
};

/* 0; -ENOMEM; -EINVAL if `bytes` cannot hold header, one bucket and one record. */
int table_new(struct table **ret, const struct table_config *config);
struct table *table_free(struct table *table);

/* SipHash-1-3 with the table's secret. */
uint64_t table_hash(const struct table *table, struct slice key);
void table_prefetch(const struct table *table, uint64_t hash);

/* NULL if absent. Valid until the next table_put or table_remove. Does not count as asking for the key. */
struct entry *table_find(struct table *table, uint64_t hash, struct slice key);
/* Counts as asking for the key: raises its frequency, 0 .. 3. */
void table_touch(struct table *table, uint64_t hash, const struct entry *entry);

/*
 * Stores the item under key, replacing what was there; may evict others. TABLE_OK or TABLE_TOO_LARGE. key and
 * the slices of the item must not point into this table. *ret_entry may be NULL; it is valid like that of
 * table_find.
 */
int table_put(struct table *table, uint64_t hash, struct slice key, const struct table_item *item,
              struct entry **ret_entry);
void table_remove(struct table *table, uint64_t hash, struct entry *entry);

/*
 * Walks all entries in bucket order. *cursor starts at 0; 0 again: the end was reached. Visits at most
 * `max_buckets` buckets (with their overflow). `each` must not change the table.
 */
void table_walk(struct table *table, uint64_t *cursor, unsigned max_buckets,
                void (*each)(void *ctx, const struct entry *entry), void *ctx);

/* An entry chosen by a random number; NULL: a nearly empty table. Does not count as asking for the key. */
const struct entry *table_pick(const struct table *table, uint64_t random);

void table_get_stats(const struct table *table, struct table_stats *ret_stats);

#endif
