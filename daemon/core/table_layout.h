/*
 * The inside of the table; only table*.c and their tests include this.
 *
 * The segment, by offsets from its start:
 *
 *     header     one page (compact where the budget is below SEGMENT_SMALL)
 *     buckets    main buckets, then overflow buckets; 64 bytes each
 *     freq       a byte per slot, 0 .. 3, in the order of the slots
 *     ghosts     sets of GHOST_WAYS 16-bit fingerprints, newest first; 0 is free
 *     S, M       the two rings of records
 *
 * A ring is a FIFO of records of any length: new ones at `head`, old ones leave at `tail`. A record never wraps;
 * where it does not fit before the end of the ring, a filler takes the rest. A record that was removed or
 * replaced stays where it is, marked gone, until the tail passes it.
 *
 * A chain is a main bucket and up to two overflow buckets. All buckets of a chain but the last are full, so
 * that most lookups, of absent keys too, touch one bucket.
 */
#ifndef DCACHED_CORE_TABLE_LAYOUT_H
#define DCACHED_CORE_TABLE_LAYOUT_H

#include "daemon/core/hash.h"
#include "daemon/core/table.h"

#define SEGMENT_MAGIC  "dcached\n"
#define SEGMENT_LAYOUT 1
#define SEGMENT_SMALL  ((size_t)64 * 1024)
#define SEGMENT_PAGE   4096
#define SEGMENT_MAX    (UINT64_C(8) << 40) /* what 40 bits of offset / 8 reach */

enum {
    BUCKET_SLOTS = 7,
    BUCKET_LOAD = 5, /* entries per bucket the index is sized for */
    CHAIN_MAX = 3,
    GHOST_WAYS = 32, /* one cache line; 1 of 2048 keys is taken for a ghost by mistake */
    FREQ_MAX = 3,
    KEPT_MAX = 32, /* records moved instead of evicted during one insertion */
};

/* Bits of entry.flags that belong to the table. */
enum { ENTRY_GONE = 0x40, ENTRY_FILLER = 0x80, ENTRY_OWN = ENTRY_GONE | ENTRY_FILLER };

struct segment_header {
    char magic[8];
    uint32_t layout, header_bytes;
    uint64_t bytes;
    uint64_t buckets_offset, freq_offset, ghosts_offset;
    uint32_t buckets, overflow_buckets, ghost_sets, reserved;
    uint64_t small_offset, small_bytes, main_offset, main_bytes;
    uint8_t hash_key[HASH_SECRET_BYTES];
};

struct bucket {
    uint32_t sequence; /* reserved for processes that map the segment: odd while the bucket changes */
    uint32_t overflow; /* number of the next bucket of the chain; 0: none. In free buckets: the next free one */
    uint64_t slots[BUCKET_SLOTS]; /* tag << 40 | offset / 8; 0: empty */
};

_Static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");
_Static_assert(sizeof(struct entry) == 40, "the head of a record");

struct ring {
    uint64_t offset, size;
    uint64_t head, tail; /* within the ring */
    uint64_t used;       /* bytes from tail to head: records, gone ones and fillers included */
    uint64_t live;       /* bytes of records that are in the index */
    uint64_t entries;    /* records that are in the index */
};

struct table {
    uint8_t *base;
    size_t bytes;
    struct bucket *buckets;
    uint8_t *freq;
    uint16_t *ghosts;
    uint32_t bucket_count, overflow_count, ghost_sets;
    uint32_t free_overflow; /* 0: none */
    struct ring small, main;
    uint64_t max_entries; /* 0: none */
    uint64_t max_record;
    uint64_t evictions;
    void (*evicted)(void *ctx, const struct entry *entry);
    void *evicted_ctx;
    uint8_t hash_key[HASH_SECRET_BYTES];
};

static inline uint64_t record_size(size_t key_len, size_t source_len, size_t value_len)
{
    return (sizeof(struct entry) + key_len + source_len + value_len + 7) & ~UINT64_C(7);
}

static inline uint64_t entry_offset(const struct table *t, const struct entry *e)
{
    return (uint64_t)((const uint8_t *)e - t->base);
}

static inline struct entry *entry_at(const struct table *t, uint64_t offset)
{
    return (struct entry *)(void *)(t->base + offset);
}

static inline struct ring *ring_of(struct table *t, const struct entry *e)
{
    return entry_offset(t, e) < t->main.offset ? &t->small : &t->main;
}

/* Maps 32 bits evenly onto 0 .. n-1. */
static inline uint32_t scale(uint32_t bits, uint32_t n)
{
    return (uint32_t)((uint64_t)bits * n >> 32);
}

/* ---- table_index.c: which slot holds a key -------------------------------------------------------------- */

static inline uint64_t slot_make(const struct table *t, uint64_t hash, const struct entry *e)
{
    return hash << 40 | entry_offset(t, e) >> 3;
}

static inline struct entry *slot_entry(const struct table *t, uint64_t slot)
{
    return entry_at(t, (slot & ((UINT64_C(1) << 40) - 1)) << 3);
}

static inline uint32_t index_bucket(const struct table *t, uint64_t hash)
{
    return scale((uint32_t)(hash >> 32), t->bucket_count);
}

void index_init(struct table *t);
/* NULL if there is none. Valid until a slot is inserted or cleared. */
uint64_t *index_find_key(const struct table *t, uint64_t hash, struct slice key);
uint64_t *index_find_entry(const struct table *t, uint64_t hash, const struct entry *e);
uint8_t *index_freq(const struct table *t, const uint64_t *slot);
/* Where the chain is full, its least frequent entry is evicted. */
void index_insert(struct table *t, uint64_t hash, const struct entry *e, uint8_t freq);
void index_clear(struct table *t, uint64_t hash, uint64_t *slot);

/* ---- table_ring.c: which records stay ------------------------------------------------------------------- */

/* Makes room for one more record of `size` bytes in the ring and for one more entry, and takes the bytes. */
struct entry *ring_allocate(struct table *t, struct ring *ring, uint64_t size);
/* Marks the record gone and takes it out of the ring's sums; the index is the caller's. */
void ring_drop(struct table *t, struct entry *e);
/* The same for an entry that gives way to others: counted, reported, remembered as a ghost if it was in S. */
void ring_evict(struct table *t, uint64_t hash, struct entry *e);
/* Whether the key left S lately; forgets it. */
bool ghost_take(struct table *t, uint64_t hash);

#endif
