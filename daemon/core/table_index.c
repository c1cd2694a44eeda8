#include "daemon/core/table_layout.h"

static struct bucket *next_bucket(const struct table *t, const struct bucket *b)
{
    return b->overflow ? &t->buckets[b->overflow] : NULL;
}

void index_init(struct table *t)
{
    const uint32_t end = t->bucket_count + t->overflow_count;

    t->free_overflow = t->overflow_count ? t->bucket_count : 0;
    for (uint32_t i = t->bucket_count; i < end; i++)
        t->buckets[i].overflow = i + 1 < end ? i + 1 : 0;
}

uint64_t *index_find_key(const struct table *t, uint64_t hash, struct slice key)
{
    const uint64_t tag = hash & 0xffffff;

    for (struct bucket *b = &t->buckets[index_bucket(t, hash)]; b; b = next_bucket(t, b)) {
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            if (b->slots[i] >> 40 != tag || b->slots[i] == 0)
                continue;
            if (slice_equal(entry_key(slot_entry(t, b->slots[i])), key))
                return &b->slots[i];
        }
    }
    return NULL;
}

uint64_t *index_find_entry(const struct table *t, uint64_t hash, const struct entry *e)
{
    const uint64_t slot = slot_make(t, hash, e);

    for (struct bucket *b = &t->buckets[index_bucket(t, hash)]; b; b = next_bucket(t, b))
        for (unsigned i = 0; i < BUCKET_SLOTS; i++)
            if (b->slots[i] == slot)
                return &b->slots[i];
    return NULL;
}

uint8_t *index_freq(const struct table *t, const uint64_t *slot)
{
    const size_t word = (size_t)(slot - (const uint64_t *)(const void *)t->buckets);

    return &t->freq[word / 8 * BUCKET_SLOTS + word % 8 - 1];
}

static void set_slot(struct table *t, uint64_t *slot, uint64_t content, uint8_t freq)
{
    *slot = content;
    *index_freq(t, slot) = freq;
}

static uint64_t *empty_slot(struct bucket *b)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        if (b->slots[i] == 0)
            return &b->slots[i];
    return NULL;
}

static uint64_t *least_frequent(struct table *t, struct bucket *b)
{
    uint64_t *least = &b->slots[0];

    for (; b; b = next_bucket(t, b))
        for (unsigned i = 0; i < BUCKET_SLOTS; i++)
            if (*index_freq(t, &b->slots[i]) < *index_freq(t, least))
                least = &b->slots[i];
    return least;
}

static uint64_t *evict_within(struct table *t, struct bucket *chain)
{
    uint64_t *slot = least_frequent(t, chain);
    struct entry *e = slot_entry(t, *slot);

    ring_evict(t, table_hash(t, entry_key(e)), e);
    return slot;
}

void index_insert(struct table *t, uint64_t hash, const struct entry *e, uint8_t freq)
{
    struct bucket *chain = &t->buckets[index_bucket(t, hash)], *last = chain;
    uint64_t *slot = empty_slot(chain);
    unsigned length = 1;

    while (!slot && last->overflow) {
        last = next_bucket(t, last);
        slot = empty_slot(last);
        length++;
    }
    if (!slot && length < CHAIN_MAX && t->free_overflow) {
        last->overflow = t->free_overflow;
        last = next_bucket(t, last);
        t->free_overflow = last->overflow;
        last->overflow = 0;
        slot = &last->slots[0];
    }
    if (!slot)
        slot = evict_within(t, chain);
    set_slot(t, slot, slot_make(t, hash, e), freq);
}

static uint64_t *last_slot(struct bucket *b)
{
    for (unsigned i = BUCKET_SLOTS; i-- > 0;)
        if (b->slots[i])
            return &b->slots[i];
    return NULL;
}

void index_clear(struct table *t, uint64_t hash, uint64_t *slot)
{
    struct bucket *before = NULL, *last = &t->buckets[index_bucket(t, hash)];

    while (last->overflow) {
        before = last;
        last = next_bucket(t, last);
    }
    if (before) {
        uint64_t *moved = last_slot(last);

        set_slot(t, slot, *moved, *index_freq(t, moved));
        slot = moved;
    }
    set_slot(t, slot, 0, 0);
    if (!before || last_slot(last))
        return;
    last->overflow = t->free_overflow;
    t->free_overflow = before->overflow;
    before->overflow = 0;
}
