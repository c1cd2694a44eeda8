/*
 * S3-FIFO on two rings.
 *
 * Allocation takes bytes at the head. What still lives at the tail goes first: from S, entries that were asked
 * for move to M, others are evicted and remembered as ghosts; from M, entries that were asked for move to the
 * head of M with one less, others are evicted. Where M has room to spare (the table is still filling up, or
 * removed records take much of it) nothing needs to be evicted, and entries are kept whatever their frequency.
 *
 * One insertion keeps at most KEPT_MAX records, then evicts regardless, so its work is bounded.
 */
#include "daemon/core/table_layout.h"

/* Times an entry has to be asked for while in S. */
#define PROMOTE_FREQ 1

/* M counts as having room to spare while at least 1/8 of it is free or gone. Picked: keeping a record then
 * moves at most 7 bytes for each byte allocated. */
static bool has_room(const struct ring *r, uint64_t size)
{
    return r->live + size <= r->size - r->size / 8;
}

/* ---- ghosts --------------------------------------------------------------------------------------------- */

static uint16_t *ghost_set(const struct table *t, uint64_t hash)
{
    return &t->ghosts[(size_t)scale((uint32_t)hash, t->ghost_sets) * GHOST_WAYS];
}

static uint16_t ghost_print(uint64_t hash)
{
    const uint16_t print = (uint16_t)(hash >> 32);

    return print ? print : 1;
}

static void ghost_add(struct table *t, uint64_t hash)
{
    uint16_t *set = ghost_set(t, hash);

    if (t->ghost_sets == 0)
        return;
    memmove(set + 1, set, (GHOST_WAYS - 1) * sizeof *set);
    set[0] = ghost_print(hash);
}

bool ghost_take(struct table *t, uint64_t hash)
{
    uint16_t *set = ghost_set(t, hash);
    const uint16_t print = ghost_print(hash);

    for (unsigned i = 0; t->ghost_sets && i < GHOST_WAYS; i++) {
        if (set[i] != print)
            continue;
        memmove(set + i, set + i + 1, (GHOST_WAYS - 1 - i) * sizeof *set);
        set[GHOST_WAYS - 1] = 0;
        return true;
    }
    return false;
}

/* ---- moving head and tail ------------------------------------------------------------------------------- */

static struct entry *ring_tail(const struct table *t, const struct ring *r)
{
    return entry_at(t, r->offset + r->tail);
}

static void advance_tail(struct ring *r, uint64_t size)
{
    r->used -= size;
    r->tail += size;
    if (r->tail == r->size)
        r->tail = 0;
}

static void advance_head(struct ring *r, uint64_t size)
{
    r->used += size;
    r->head += size;
    if (r->head == r->size)
        r->head = 0;
}

/* Only 8 bytes may be left at the end of a ring: a filler has a valid first word and nothing else. */
static void fill_to_end(const struct table *t, struct ring *r)
{
    const uint64_t size = r->size - r->head;
    const struct entry filler = {.flags = ENTRY_FILLER, .value_len = (uint32_t)(size / 8)};

    memcpy(entry_at(t, r->offset + r->head), &filler, 8);
    advance_head(r, size);
}

/* `size` free bytes are known to follow the head, if necessary after the end of the ring. */
static struct entry *take_head(const struct table *t, struct ring *r, uint64_t size)
{
    struct entry *e;

    if (r->size - r->head < size)
        fill_to_end(t, r);
    e = entry_at(t, r->offset + r->head);
    advance_head(r, size);
    return e;
}

static void count_in(struct ring *r, uint64_t size)
{
    r->live += size;
    r->entries++;
}

static void count_out(struct ring *r, uint64_t size)
{
    r->live -= size;
    r->entries--;
}

void ring_drop(struct table *t, struct entry *e)
{
    e->flags |= ENTRY_GONE;
    count_out(ring_of(t, e), entry_size(e));
}

void ring_evict(struct table *t, uint64_t hash, struct entry *e)
{
    if (t->evicted)
        t->evicted(t->evicted_ctx, e);
    if (ring_of(t, e) == &t->small)
        ghost_add(t, hash);
    t->evictions++;
    ring_drop(t, e);
}

/* ---- what happens at the tail --------------------------------------------------------------------------- */

/* The wish that makes room: bytes in a ring, or (size 0) one entry less. */
struct wish {
    uint64_t size;
    unsigned kept;
};

static bool skip_gone(const struct table *t, struct ring *r)
{
    const struct entry *e = ring_tail(t, r);

    if (e->flags & ENTRY_FILLER)
        advance_tail(r, (uint64_t)e->value_len * 8);
    else if (e->flags & ENTRY_GONE)
        advance_tail(r, entry_size(e));
    else
        return false;
    return true;
}

static void evict_tail(struct table *t, struct ring *r, uint64_t hash, uint64_t *slot)
{
    struct entry *e = ring_tail(t, r);
    const uint64_t size = entry_size(e);

    index_clear(t, hash, slot);
    ring_evict(t, hash, e);
    advance_tail(r, size);
}

/*
 * The gap between head and tail may be smaller than the record: then source and target overlap. A record that
 * lies behind the head also fits before the end of the ring; otherwise the filler lies behind the record.
 */
static void pop_main(struct table *t, struct wish *wish)
{
    struct ring *r = &t->main;
    struct entry *e = ring_tail(t, r), *to;
    const bool room = wish->size && has_room(r, wish->size);
    uint64_t hash, size, *slot;
    uint8_t freq;

    if (skip_gone(t, r))
        return;
    hash = table_hash(t, entry_key(e));
    slot = index_find_entry(t, hash, e);
    freq = *index_freq(t, slot);
    if (wish->kept == KEPT_MAX || (freq == 0 && !room)) {
        evict_tail(t, r, hash, slot);
        return;
    }
    wish->kept++;
    size = entry_size(e);
    advance_tail(r, size);
    to = take_head(t, r, size);
    memmove(to, e, size);
    *slot = slot_make(t, hash, to);
    *index_freq(t, slot) = room ? freq : (uint8_t)(freq - 1);
}

static void make_bytes(struct table *t, struct ring *r, struct wish *wish);
static bool has_bytes(const struct ring *r, uint64_t size);

static void pop_small(struct table *t, struct wish *wish)
{
    struct ring *r = &t->small;
    struct entry *e = ring_tail(t, r), *to;
    struct wish move = {.kept = wish->kept};
    uint64_t hash, *slot;
    bool asked, room;

    if (skip_gone(t, r))
        return;
    hash = table_hash(t, entry_key(e));
    slot = index_find_entry(t, hash, e);
    move.size = entry_size(e);
    asked = *index_freq(t, slot) >= PROMOTE_FREQ && wish->kept < KEPT_MAX;
    room = wish->size && (has_bytes(&t->main, move.size) || has_room(&t->main, move.size));
    if (!asked && !room) {
        evict_tail(t, r, hash, slot);
        return;
    }
    if (!room)
        move.kept++;
    make_bytes(t, &t->main, &move);
    wish->kept = move.kept;

    to = take_head(t, &t->main, move.size);
    memcpy(to, e, move.size);
    slot = index_find_entry(t, hash, e); /* evictions from M may have moved it within its chain */
    *slot = slot_make(t, hash, to);
    *index_freq(t, slot) = 0;
    count_out(r, move.size);
    count_in(&t->main, move.size);
    advance_tail(r, move.size);
}

/* ---- making room ---------------------------------------------------------------------------------------- */

static bool has_bytes(const struct ring *r, uint64_t size)
{
    if (r->used > 0 && r->head <= r->tail)
        return r->tail - r->head >= size;
    return r->size - r->head >= size || r->tail >= size;
}

/*
 * Where removed records take much of M, a long run of live ones may lie between them and the tail, and moving
 * 32 of these frees nothing. So the tail is kept ahead of the need: 1/16 of M is free before it is asked for.
 */
static void clean_ahead(struct table *t, struct wish *wish)
{
    const struct ring *r = &t->main;

    while (wish->kept < KEPT_MAX && r->size - r->used < r->size / 16 && has_room(r, wish->size))
        pop_main(t, wish);
}

static void make_bytes(struct table *t, struct ring *r, struct wish *wish)
{
    if (r == &t->main)
        clean_ahead(t, wish);
    for (;;) {
        if (r->entries == 0)
            r->head = r->tail = r->used = 0;
        if (has_bytes(r, wish->size))
            return;
        if (r == &t->small)
            pop_small(t, wish);
        else
            pop_main(t, wish);
    }
}

static void make_entry(struct table *t, struct wish *wish)
{
    const struct ring *s = &t->small, *m = &t->main;

    while (s->entries + m->entries >= t->max_entries) {
        if (s->entries > 0 && (s->entries * 10 >= t->max_entries || m->entries == 0))
            pop_small(t, wish);
        else
            pop_main(t, wish);
    }
}

struct entry *ring_allocate(struct table *t, struct ring *ring, uint64_t size)
{
    struct wish wish = {0};

    if (t->max_entries)
        make_entry(t, &wish);
    wish.size = size;
    make_bytes(t, ring, &wish);
    count_in(ring, size);
    return take_head(t, ring, size);
}
