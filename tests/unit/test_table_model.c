/*
 * The table against a model that is an array: any sequence of operations, and after it the same content.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/core/table_layout.h"

#define KEYS      600
#define VALUE_MAX 20000

static const uint8_t secret[HASH_SECRET_BYTES] = {3, 1, 4, 1, 5, 9, 2, 6};

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return scale((uint32_t)(random_state >> 32), n);
}

static struct table_stats stats_of(const struct table *t)
{
    struct table_stats stats;

    table_get_stats(t, &stats);
    return stats;
}

/* ---- the segment is sound ---------------------------------------------------------------------------------- */

/* From tail to head the ring is a chain of records that adds up, and the index knows exactly the live ones. */
static void check_ring(struct table *t, const struct ring *r)
{
    uint64_t at = r->tail, used = 0, live = 0, entries = 0;

    while (used < r->used) {
        struct entry *e = entry_at(t, r->offset + at);
        const uint64_t size = e->flags & ENTRY_FILLER ? (uint64_t)e->value_len * 8 : entry_size(e);

        if (!(e->flags & ENTRY_OWN)) {
            assert_ptr_equal(table_find(t, table_hash(t, entry_key(e)), entry_key(e)), e);
            live += size;
            entries++;
        }
        used += size;
        at += size;
        assert_true(at <= r->size);
        at = at == r->size ? 0 : at;
    }
    assert_int_equal(used, r->used);
    assert_int_equal(live, r->live);
    assert_int_equal(entries, r->entries);
    assert_int_equal(at, r->head);
}

/* No hole before the end of a chain, no empty overflow bucket, none lost. */
static void check_index(const struct table *t)
{
    uint32_t overflow = 0;

    for (uint32_t i = 0; i < t->bucket_count; i++) {
        unsigned length = 1;

        for (const struct bucket *b = &t->buckets[i];; b = &t->buckets[b->overflow]) {
            unsigned slots = 0;

            for (unsigned s = 0; s < BUCKET_SLOTS; s++)
                slots += b->slots[s] != 0;
            assert_true(b->overflow == 0 || slots == BUCKET_SLOTS);
            assert_true(length == 1 || slots > 0);
            if (b->overflow == 0)
                break;
            length++;
            overflow++;
        }
        assert_true(length <= CHAIN_MAX);
    }
    for (uint32_t i = t->free_overflow; i; i = t->buckets[i].overflow)
        overflow++;
    assert_int_equal(overflow, t->overflow_count);
}

static void check_segment(struct table *t)
{
    check_ring(t, &t->small);
    check_ring(t, &t->main);
    check_index(t);
}

/* ---- the model --------------------------------------------------------------------------------------------- */

struct model_entry {
    bool present;
    size_t key_len, source_len, value_len;
    uint64_t version;
    uint32_t generation, expires;
    uint8_t flags, fill;
    uint8_t key[80];
};

struct model {
    struct table *table;
    size_t max_value;
    uint64_t present, bytes, evictions, met;
    struct model_entry entries[KEYS];
};

static uint8_t value_buffer[VALUE_MAX];

static struct slice model_key(const struct model_entry *m)
{
    return slice_of(m->key, m->key_len);
}

/* Key 0 is empty; the others start with their number and have different lengths. */
static void model_name(struct model_entry *m, uint32_t number)
{
    memset(m->key, 'k', sizeof m->key);
    memcpy(m->key, &number, sizeof number);
    m->key_len = number ? 4 + number % 70 : 0;
}

static uint32_t model_number(struct slice key)
{
    uint32_t number = 0;

    if (key.len)
        memcpy(&number, key.data, sizeof number);
    return number;
}

static void model_take(struct model *model, struct model_entry *m)
{
    assert_true(m->present);
    m->present = false;
    model->present--;
    model->bytes -= record_size(m->key_len, m->source_len, m->value_len);
}

static void model_evicted(void *ctx, const struct entry *entry)
{
    struct model *model = ctx;

    model_take(model, &model->entries[model_number(entry_key(entry))]);
    model->evictions++;
}

static void fill_value(const struct model_entry *m)
{
    for (size_t i = 0; i < m->value_len; i++)
        value_buffer[i] = (uint8_t)(m->fill + i);
}

static void check_same(const struct model_entry *m, const struct entry *e)
{
    fill_value(m);
    assert_true(slice_equal(entry_key(e), model_key(m)));
    assert_true(slice_equal(entry_value(e), slice_of(value_buffer, m->value_len)));
    assert_true(slice_equal(entry_source(e), slice_of("source-of-eleven", m->source_len)));
    assert_int_equal(e->version, m->version);
    assert_int_equal(e->seq, m->version + 1);
    assert_int_equal(e->timestamp_ns, m->version + 2);
    assert_int_equal(e->generation, m->generation);
    assert_int_equal(e->expires, m->expires);
    assert_int_equal(e->flags, m->flags);
}

static size_t random_value_len(const struct model *model)
{
    switch (random_below(8)) {
    case 0:
        return 0;
    case 1:
        return random_below((uint32_t)model->max_value + 1);
    default:
        return random_below((uint32_t)(model->max_value < 120 ? model->max_value : 120) + 1);
    }
}

static void model_put(struct model *model, struct model_entry *m)
{
    struct model_entry next = *m;
    struct table_item item;
    struct entry *e = NULL;

    next.value_len = random_below(3) && m->present ? m->value_len : random_value_len(model);
    next.source_len = random_below(12);
    next.version = random_below(1000);
    next.generation = random_below(5);
    next.expires = random_below(5);
    next.flags = (uint8_t)random_below(8);
    next.fill = (uint8_t)random_below(256);
    fill_value(&next);
    item = (struct table_item){
        .source = slice_of("source-of-eleven", next.source_len),
        .value = slice_of(value_buffer, next.value_len),
        .version = next.version,
        .seq = next.version + 1,
        .timestamp_ns = next.version + 2,
        .generation = next.generation,
        .expires = next.expires,
        .flags = next.flags,
    };
    if (record_size(next.key_len, next.source_len, next.value_len) > model->table->max_record) {
        assert_int_equal(table_put(model->table, table_hash(model->table, model_key(m)), model_key(m), &item, &e),
                         TABLE_TOO_LARGE);
        return;
    }
    if (m->present)
        model_take(model, m);
    next.present = false;
    *m = next;
    assert_int_equal(table_put(model->table, table_hash(model->table, model_key(m)), model_key(m), &item, &e),
                     TABLE_OK);
    m->present = true;
    model->present++;
    model->bytes += record_size(m->key_len, m->source_len, m->value_len);
    check_same(m, e);
}

static void model_step(struct model *model)
{
    struct model_entry *m = &model->entries[random_below(4) ? random_below(KEYS / 10) : random_below(KEYS)];
    const uint64_t hash = table_hash(model->table, model_key(m));
    struct entry *e = table_find(model->table, hash, model_key(m));

    assert_int_equal(e != NULL, m->present);
    if (e)
        check_same(m, e);
    switch (random_below(8)) {
    case 0:
        if (!e)
            break;
        table_remove(model->table, hash, e);
        model_take(model, m);
        assert_null(table_find(model->table, hash, model_key(m)));
        break;
    case 1:
    case 2:
    case 3:
        if (e)
            table_touch(model->table, hash, e);
        break;
    default:
        model_put(model, m);
    }
}

static void model_meet(void *ctx, const struct entry *entry)
{
    struct model *model = ctx;
    const struct model_entry *m = &model->entries[model_number(entry_key(entry))];

    assert_true(m->present);
    check_same(m, entry);
    model->met++;
}

static void model_check(struct model *model, size_t max_entries)
{
    const struct table_stats stats = stats_of(model->table);
    uint64_t cursor = 0;

    assert_int_equal(stats.entries, model->present);
    assert_int_equal(stats.entries_bytes, model->bytes);
    assert_int_equal(stats.evictions, model->evictions);
    assert_true(stats.entries_bytes < stats.bytes);
    if (max_entries)
        assert_true(stats.entries <= max_entries);
    model->met = 0;
    do {
        table_walk(model->table, &cursor, 1 + random_below(9), model_meet, model);
    } while (cursor);
    assert_int_equal(model->met, model->present);
    check_segment(model->table);
}

static uint64_t model_run(uint64_t seed, const struct table_config *like, size_t max_value, unsigned steps)
{
    static struct model model;
    struct table_config config = *like;

    memset(&model, 0, sizeof model);
    random_state = seed;
    memcpy(config.hash_key, secret, sizeof secret);
    config.evicted = model_evicted;
    config.evicted_ctx = &model;
    model.max_value = max_value;
    assert_int_equal(table_new(&model.table, &config), 0);
    for (uint32_t i = 0; i < KEYS; i++)
        model_name(&model.entries[i], i);
    for (unsigned i = 0; i < steps; i++) {
        model_step(&model);
        if (i % 128 == 0)
            model_check(&model, config.max_entries);
    }
    model_check(&model, config.max_entries);
    table_free(model.table);
    return model.evictions;
}

static void table_agrees_with_the_model(void **state)
{
    static const struct {
        struct table_config config;
        size_t max_value;
    } runs[] = {
        {{.bytes = 16384, .entry_bytes = 100}, 300},   /* both rings, wrapping often */
        {{.bytes = 65536, .entry_bytes = 100}, 2000},  /* page-sized header */
        {{.bytes = 65536, .entry_bytes = 16}, 20000},  /* values that are too large */
        {{.bytes = 400, .entry_bytes = 60}, 300},      /* one record */
        {{.bytes = 1500, .entry_bytes = 60}, 100},     /* M alone */
        {{.bytes = 65536, .entry_bytes = 20000}, 100}, /* few buckets: long chains, eviction within them */
        {{.bytes = 200000, .entry_bytes = 4000}, 0},   /* chains of three with overflow to spare */
        {{.bytes = 32768, .entry_bytes = 100, .max_entries = 1}, 200},
        {{.bytes = 32768, .entry_bytes = 100, .max_entries = 2}, 4000},
        {{.bytes = 65536, .entry_bytes = 100, .max_entries = 50}, 500},
        {{.bytes = 65536, .entry_bytes = 0}, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        for (uint64_t seed = 1; seed <= 4; seed++)
            assert_true(model_run(seed, &runs[i].config, runs[i].max_value, 10000) > 0);
}

static void nothing_is_evicted_while_everything_fits(void **state)
{
    const struct table_config config = {.bytes = 1 << 20, .entry_bytes = 150};

    (void)state;
    assert_int_equal(model_run(5, &config, 400, 60000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_agrees_with_the_model),
        cmocka_unit_test(nothing_is_evicted_while_everything_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
