#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "daemon/core/table_layout.h"

/* ---- layout ------------------------------------------------------------------------------------------------ */

struct plan {
    uint64_t header, buckets, overflow, ghost_sets, index_bytes, arena;
};

static uint64_t align_to(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static uint64_t square_root(uint64_t n)
{
    uint64_t root = 0;

    for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1)
        if ((root | bit) * (root | bit) <= n)
            root |= bit;
    return root;
}

/* False if no record of `record` bytes fits beside the index. */
static bool finish_plan(struct plan *p, uint64_t bytes, uint64_t record)
{
    const uint64_t slots = (p->buckets + p->overflow) * BUCKET_SLOTS;
    const uint64_t buckets_bytes = (p->buckets + p->overflow) * sizeof(struct bucket);
    const uint64_t ghosts_bytes = p->ghost_sets * GHOST_WAYS * sizeof(uint16_t);

    p->index_bytes = align_to(buckets_bytes + ghosts_bytes + slots, 8);
    if (p->header + p->index_bytes + record > bytes)
        return false;
    p->arena = (bytes - p->header - p->index_bytes) & ~UINT64_C(7);
    return true;
}

/*
 * At 5 entries per bucket on average 13.3 % of the buckets (Poisson: more than 7) need an overflow bucket; 1/7
 * and a square root cover that and, in small tables, its spread.
 */
static bool make_plan(struct plan *p, const struct table_config *config, uint64_t record)
{
    /* Index bytes per entry times 35: 8/7 buckets of 64 + 7 bytes per 5 entries, and 0.9 ghosts of 2 bytes. */
    const uint64_t index_35 = 8 * (sizeof(struct bucket) + BUCKET_SLOTS) + 63;
    uint64_t entries;

    p->header = config->bytes < SEGMENT_SMALL ? align_to(sizeof(struct segment_header), 64) : SEGMENT_PAGE;
    if (config->bytes <= p->header || config->bytes > SEGMENT_MAX)
        return false;
    entries = (config->bytes - p->header) * 35 / (record * 35 + index_35);
    if (config->max_entries && entries > config->max_entries)
        entries = config->max_entries;

    p->buckets = align_to(entries + 1, BUCKET_LOAD) / BUCKET_LOAD;
    p->overflow = p->buckets / 7 + square_root(p->buckets) + 1;
    p->ghost_sets = align_to(entries * 9 / 10 + 1, GHOST_WAYS) / GHOST_WAYS;
    if (p->buckets + p->overflow < UINT32_MAX && finish_plan(p, config->bytes, record))
        return true;

    p->buckets = 1;
    p->overflow = p->ghost_sets = 0;
    return finish_plan(p, config->bytes, record);
}

static void set_layout(struct table *t, const struct plan *p, uint64_t record)
{
    struct segment_header *h = (struct segment_header *)(void *)t->base;
    uint64_t small = p->arena / 10 & ~UINT64_C(7);

    if (small / 4 < record)
        small = 0; /* S would take next to nothing: M alone, a FIFO with re-insertion */
    h->layout = SEGMENT_LAYOUT;
    h->header_bytes = (uint32_t)p->header;
    h->bytes = t->bytes;
    h->buckets = (uint32_t)p->buckets;
    h->overflow_buckets = (uint32_t)p->overflow;
    h->ghost_sets = (uint32_t)p->ghost_sets;
    h->buckets_offset = p->header;
    h->ghosts_offset = h->buckets_offset + (p->buckets + p->overflow) * sizeof(struct bucket);
    h->freq_offset = h->ghosts_offset + p->ghost_sets * GHOST_WAYS * sizeof(uint16_t);
    h->small_offset = p->header + p->index_bytes;
    h->small_bytes = small;
    h->main_offset = h->small_offset + small;
    h->main_bytes = p->arena - small;
    memcpy(h->hash_key, t->hash_key, sizeof h->hash_key);
    memcpy(h->magic, SEGMENT_MAGIC, sizeof h->magic);
}

/* Pointers and numbers of the own process, taken from the header. */
static void attach(struct table *t)
{
    const struct segment_header *h = (const struct segment_header *)(const void *)t->base;

    t->buckets = (struct bucket *)(void *)(t->base + h->buckets_offset);
    t->ghosts = (uint16_t *)(void *)(t->base + h->ghosts_offset);
    t->freq = t->base + h->freq_offset;
    t->bucket_count = h->buckets;
    t->overflow_count = h->overflow_buckets;
    t->ghost_sets = h->ghost_sets;
    t->small = (struct ring){.offset = h->small_offset, .size = h->small_bytes};
    t->main = (struct ring){.offset = h->main_offset, .size = h->main_bytes};
}

int table_new(struct table **ret, const struct table_config *config)
{
    const uint64_t record = record_size(config->entry_bytes, 0, 0);
    struct plan plan;
    struct table *t;

    if (config->entry_bytes > SEGMENT_MAX || !make_plan(&plan, config, record))
        return -EINVAL;
    t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->bytes = config->bytes;
    t->base = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t->base == MAP_FAILED) {
        free(t);
        return -ENOMEM;
    }
    memcpy(t->hash_key, config->hash_key, sizeof t->hash_key);
    set_layout(t, &plan, record);
    attach(t);
    index_init(t);
    t->max_entries = config->max_entries;
    t->max_record = t->main.size / 2 & ~UINT64_C(7);
    if (t->max_record < record)
        t->max_record = record;
    t->evicted = config->evicted;
    t->evicted_ctx = config->evicted_ctx;
    *ret = t;
    return 0;
}

struct table *table_free(struct table *table)
{
    if (!table)
        return NULL;
    munmap(table->base, table->bytes);
    free(table);
    return NULL;
}

/* ---- lookups ----------------------------------------------------------------------------------------------- */

uint64_t table_hash(const struct table *table, struct slice key)
{
    return hash_bytes(table->hash_key, key);
}

void table_prefetch(const struct table *table, uint64_t hash)
{
    __builtin_prefetch(&table->buckets[index_bucket(table, hash)]);
}

struct entry *table_find(struct table *table, uint64_t hash, struct slice key)
{
    const uint64_t *slot = index_find_key(table, hash, key);

    return slot ? slot_entry(table, *slot) : NULL;
}

void table_touch(struct table *table, uint64_t hash, const struct entry *entry)
{
    const uint64_t *slot = index_find_entry(table, hash, entry);
    uint8_t *freq;

    if (!slot)
        return;
    freq = index_freq(table, slot);
    if (*freq < FREQ_MAX)
        ++*freq;
}

/* ---- changes ----------------------------------------------------------------------------------------------- */

static void append(uint8_t **at, struct slice bytes)
{
    if (bytes.len)
        memcpy(*at, bytes.data, bytes.len);
    *at += bytes.len;
}

static void write_entry(struct entry *e, struct slice key, const struct table_item *item)
{
    uint8_t *at = e->bytes;

    *e = (struct entry){
        .key_len = (uint16_t)key.len,
        .source_len = (uint8_t)item->source.len,
        .flags = item->flags & (uint8_t)~ENTRY_OWN,
        .value_len = (uint32_t)item->value.len,
        .generation = item->generation,
        .expires = item->expires,
        .version = item->version,
        .seq = item->seq,
        .timestamp_ns = item->timestamp_ns,
    };
    append(&at, key);
    append(&at, item->source);
    append(&at, item->value);
}

static bool fits(const struct table *t, struct slice key, const struct table_item *item)
{
    return key.len <= UINT16_MAX && item->source.len <= UINT8_MAX && item->value.len <= UINT32_MAX &&
           record_size(key.len, item->source.len, item->value.len) <= t->max_record;
}

int table_put(struct table *table, uint64_t hash, struct slice key, const struct table_item *item,
              struct entry **ret_entry)
{
    const uint64_t size = record_size(key.len, item->source.len, item->value.len);
    struct entry *e = NULL;
    struct ring *ring;
    uint64_t *slot;
    uint8_t freq = 0;

    if (!fits(table, key, item))
        return TABLE_TOO_LARGE;
    slot = index_find_key(table, hash, key);
    if (slot) {
        e = slot_entry(table, *slot);
        freq = *index_freq(table, slot);
        ring = ring_of(table, e);
    } else {
        ring = ghost_take(table, hash) ? &table->main : &table->small;
    }
    if (!e || entry_size(e) != size) {
        if (e)
            table_remove(table, hash, e);
        if (size > table->small.size / 4)
            ring = &table->main;
        e = ring_allocate(table, ring, size);
        index_insert(table, hash, e, freq);
    }
    write_entry(e, key, item);
    if (ret_entry)
        *ret_entry = e;
    return TABLE_OK;
}

void table_remove(struct table *table, uint64_t hash, struct entry *entry)
{
    uint64_t *slot = index_find_entry(table, hash, entry);

    if (!slot)
        return;
    index_clear(table, hash, slot);
    ring_drop(table, entry);
}

/* ---- looking in -------------------------------------------------------------------------------------------- */

void table_walk(struct table *table, uint64_t *cursor, unsigned max_buckets,
                void (*each)(void *ctx, const struct entry *entry), void *ctx)
{
    uint64_t at = *cursor;

    for (; at < table->bucket_count && max_buckets > 0; at++, max_buckets--) {
        for (const struct bucket *b = &table->buckets[at];; b = &table->buckets[b->overflow]) {
            for (unsigned i = 0; i < BUCKET_SLOTS; i++)
                if (b->slots[i])
                    each(ctx, slot_entry(table, b->slots[i]));
            if (b->overflow == 0)
                break;
        }
    }
    *cursor = at < table->bucket_count ? at : 0;
}

#define PICK_CHAINS 1024 /* looked at in vain before a pick ends: 64 KiB of index; picked */

const struct entry *table_pick(const struct table *table, uint64_t random)
{
    uint32_t at = scale((uint32_t)(random >> 32), table->bucket_count);
    uint32_t nth = (uint32_t)random;

    for (unsigned chains = 0; chains < PICK_CHAINS; chains++, at = (at + 1) % table->bucket_count) {
        uint64_t slots[CHAIN_MAX * BUCKET_SLOTS];
        unsigned count = 0;

        for (const struct bucket *b = &table->buckets[at];; b = &table->buckets[b->overflow]) {
            for (unsigned i = 0; i < BUCKET_SLOTS; i++)
                if (b->slots[i])
                    slots[count++] = b->slots[i];
            if (b->overflow == 0)
                break;
        }
        if (count > 0)
            return slot_entry(table, slots[nth % count]);
    }
    return NULL;
}

void table_get_stats(const struct table *table, struct table_stats *ret_stats)
{
    *ret_stats = (struct table_stats){
        .entries = table->small.entries + table->main.entries,
        .entries_bytes = table->small.live + table->main.live,
        .evictions = table->evictions,
        .bytes = table->bytes,
    };
}
