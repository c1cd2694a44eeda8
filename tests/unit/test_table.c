/*
 * The rules of the table one by one: sizes, updates, and who stays when it is full.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/core/table_layout.h"

static const uint8_t secret[HASH_SECRET_BYTES] = {3, 1, 4, 1, 5, 9, 2, 6};

static struct table *new_table(size_t bytes, size_t entry_bytes, size_t max_entries)
{
    struct table_config config = {.bytes = bytes, .entry_bytes = entry_bytes, .max_entries = max_entries};
    struct table *t = NULL;

    memcpy(config.hash_key, secret, sizeof secret);
    assert_int_equal(table_new(&t, &config), 0);
    return t;
}

static int put_sized(struct table *t, const char *key, size_t value_len)
{
    static const uint8_t zeros[80000];
    const struct table_item item = {.value = slice_of(zeros, value_len), .version = 1};

    return table_put(t, table_hash(t, slice_text(key)), slice_text(key), &item, NULL);
}

static struct entry *find(struct table *t, const char *key)
{
    return table_find(t, table_hash(t, slice_text(key)), slice_text(key));
}

static void touch(struct table *t, const char *key)
{
    table_touch(t, table_hash(t, slice_text(key)), find(t, key));
}

static struct table_stats stats_of(const struct table *t)
{
    struct table_stats stats;

    table_get_stats(t, &stats);
    return stats;
}

/* ---- sizes ------------------------------------------------------------------------------------------------- */

static void too_small_a_budget_is_invalid(void **state)
{
    struct table_config config = {.entry_bytes = 100};
    struct table *t = NULL;
    size_t least = 0;

    (void)state;
    for (config.bytes = 0; config.bytes < 2048 && least == 0; config.bytes += 8) {
        const int r = table_new(&t, &config);

        assert_true(r == 0 || r == -EINVAL);
        least = r == 0 ? config.bytes : 0;
    }
    assert_in_range(least, 64 + 144, 64 + 144 + 256);
    assert_int_equal(put_sized(t, "key", 97), TABLE_OK);
    assert_non_null(find(t, "key"));
    assert_int_equal(put_sized(t, "other", 95), TABLE_OK);
    assert_null(find(t, "key"));
    assert_non_null(find(t, "other"));
    table_free(t);
    config.bytes = SIZE_MAX;
    assert_int_equal(table_new(&t, &config), -EINVAL);
    config = (struct table_config){.bytes = 65536, .entry_bytes = SIZE_MAX - 3};
    assert_int_equal(table_new(&t, &config), -EINVAL);
}

static void record_too_large_changes_nothing(void **state)
{
    struct table *t = new_table(32768, 100, 0);

    (void)state;
    assert_int_equal(put_sized(t, "a", 10), TABLE_OK);
    assert_int_equal(put_sized(t, "a", 30000), TABLE_TOO_LARGE);
    assert_int_equal(put_sized(t, "b", 30000), TABLE_TOO_LARGE);
    assert_int_equal(find(t, "a")->value_len, 10);
    assert_null(find(t, "b"));
    assert_int_equal(stats_of(t).entries, 1);
    table_free(t);
}

static void key_and_source_longer_than_their_fields_are_too_large(void **state)
{
    static const uint8_t zeros[65536];
    struct table *t = new_table(4 << 20, 100, 0);
    struct table_item item = {0};

    (void)state;
    assert_int_equal(table_put(t, 1, slice_of(zeros, 65536), &item, NULL), TABLE_TOO_LARGE);
    assert_int_equal(table_put(t, 1, slice_of(zeros, 65535), &item, NULL), TABLE_OK);
    item.source = slice_of(zeros, 256);
    assert_int_equal(table_put(t, 2, slice_of(zeros, 1), &item, NULL), TABLE_TOO_LARGE);
    item.source = slice_of(zeros, 255);
    assert_int_equal(table_put(t, 2, slice_of(zeros, 1), &item, NULL), TABLE_OK);
    table_free(t);
}

static void same_rounded_size_is_updated_in_place(void **state)
{
    struct table *t = new_table(32768, 100, 0);
    const struct entry *e;

    (void)state;
    put_sized(t, "b", 50); /* an empty ring would begin anew at the same place */
    put_sized(t, "a", 50);
    e = find(t, "a");
    put_sized(t, "a", 51);
    assert_ptr_equal(find(t, "a"), e);
    assert_int_equal(e->value_len, 51);
    put_sized(t, "a", 60);
    assert_ptr_not_equal(find(t, "a"), e);
    assert_int_equal(stats_of(t).entries, 2);
    assert_int_equal(stats_of(t).entries_bytes, 96 + 104);
    table_free(t);
}

static void flags_of_the_table_cannot_be_set_from_outside(void **state)
{
    struct table *t = new_table(32768, 100, 0);
    const struct table_item item = {.flags = 0xff};

    (void)state;
    assert_int_equal(table_put(t, 1, slice_text("a"), &item, NULL), TABLE_OK);
    assert_int_equal(table_find(t, 1, slice_text("a"))->flags, 0x3f);
    table_free(t);
}

static void keys_of_one_hash_are_told_apart(void **state)
{
    struct table *t = new_table(65536, 100, 0);
    struct table_item item = {0};
    char key[8];

    (void)state;
    for (unsigned i = 0; i < BUCKET_SLOTS * CHAIN_MAX; i++) {
        item.version = i;
        snprintf(key, sizeof key, "%u", i);
        assert_int_equal(table_put(t, 42, slice_text(key), &item, NULL), TABLE_OK);
    }
    for (unsigned i = 0; i < BUCKET_SLOTS * CHAIN_MAX; i++) {
        snprintf(key, sizeof key, "%u", i);
        assert_int_equal(table_find(t, 42, slice_text(key))->version, i);
    }
    assert_int_equal(stats_of(t).evictions, 0);
    table_free(t);
}

/* ---- who stays --------------------------------------------------------------------------------------------- */

static void fill_with(struct table *t, const char *prefix, unsigned count)
{
    char key[24];

    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s%06u", prefix, i);
        assert_int_equal(put_sized(t, key, 100), TABLE_OK);
    }
}

/* A few may go: 1 of 2048 new keys is taken for a ghost and enters M, where the 33rd in a row gives way. */
static void scan_does_not_drive_out_what_is_in_use(void **state)
{
    struct table *t = new_table(1 << 20, 110, 0);
    unsigned kept = 0;
    char key[24];

    (void)state;
    fill_with(t, "used", 2000);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "used%06u", i);
        touch(t, key);
    }
    fill_with(t, "once", 20000);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "used%06u", i);
        kept += find(t, key) != NULL;
    }
    assert_in_range(kept, 1980, 2000);
    table_free(t);
}

static void key_that_left_small_lately_enters_main_at_once(void **state)
{
    struct table *t = new_table(1 << 20, 110, 0);

    (void)state;
    fill_with(t, "fill", 20000);
    put_sized(t, "back", 100);
    assert_true(ring_of(t, find(t, "back")) == &t->small);
    fill_with(t, "push", 1000);
    assert_null(find(t, "back"));
    put_sized(t, "back", 100);
    assert_true(ring_of(t, find(t, "back")) == &t->main);
    table_free(t);
}

static void key_asked_for_in_small_moves_to_main(void **state)
{
    struct table *t = new_table(1 << 20, 110, 0);

    (void)state;
    fill_with(t, "fill", 20000);
    put_sized(t, "asked", 100);
    touch(t, "asked");
    touch(t, "asked");
    fill_with(t, "push", 1000);
    assert_true(ring_of(t, find(t, "asked")) == &t->main);
    table_free(t);
}

static void large_record_enters_main_directly(void **state)
{
    struct table *t = new_table(1 << 20, 110, 0);

    (void)state;
    assert_int_equal(put_sized(t, "large", 60000), TABLE_OK);
    assert_true(ring_of(t, find(t, "large")) == &t->main);
    assert_int_equal(put_sized(t, "small", 20000), TABLE_OK);
    assert_true(ring_of(t, find(t, "small")) == &t->small);
    table_free(t);
}

static void small_keeps_a_tenth_of_max_entries(void **state)
{
    struct table *t = new_table(1 << 20, 110, 1000);
    char key[24];

    (void)state;
    fill_with(t, "used", 1000);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "used%06u", i);
        touch(t, key);
    }
    fill_with(t, "new", 200);
    assert_int_equal(stats_of(t).entries, 1000);
    for (unsigned i = 110; i < 200; i++) {
        snprintf(key, sizeof key, "new%06u", i);
        assert_non_null(find(t, key));
    }
    table_free(t);
}

static void full_chain_loses_its_least_frequent_entry(void **state)
{
    struct table *t = new_table(65536, 100, 0);
    const struct table_item item = {0};
    char key[8];

    (void)state;
    for (unsigned i = 0; i < BUCKET_SLOTS * CHAIN_MAX; i++) {
        snprintf(key, sizeof key, "%u", i);
        table_put(t, 42, slice_text(key), &item, NULL);
        if (i != 15)
            table_touch(t, 42, table_find(t, 42, slice_text(key)));
    }
    assert_int_equal(stats_of(t).evictions, 0);
    table_put(t, 42, slice_text("x"), &item, NULL);
    assert_int_equal(stats_of(t).evictions, 1);
    assert_int_equal(stats_of(t).entries, BUCKET_SLOTS * CHAIN_MAX);
    assert_null(table_find(t, 42, slice_text("15")));
    assert_non_null(table_find(t, 42, slice_text("x")));
    table_free(t);
}

static uint64_t freq_sum(const struct table *t)
{
    const uint32_t slots = (t->bucket_count + t->overflow_count) * BUCKET_SLOTS;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < slots; i++)
        sum += t->freq[i];
    return sum;
}

/* 100 records go; the 32 that were kept before have been paid for with their frequency, no others. */
static void one_insertion_keeps_a_bounded_number_of_records(void **state)
{
    struct table *t = new_table(1 << 20, 110, 0);
    uint64_t evictions, freq;
    char key[24];

    (void)state;
    fill_with(t, "used", 20000);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "used%06u", i);
        if (find(t, key))
            touch(t, key);
    }
    evictions = stats_of(t).evictions;
    freq = freq_sum(t);
    assert_int_equal(freq, stats_of(t).entries);
    put_sized(t, "large", 100 * 152 - 45);
    assert_int_equal(stats_of(t).evictions - evictions, 100);
    assert_int_equal(freq_sum(t), freq - 100 - KEPT_MAX);
    table_free(t);
}

/* Values of changing size leave much of the rings gone; keys that are only read now and then must outlive that. */
static void rewriting_one_key_does_not_drive_out_the_others(void **state)
{
    struct table *t = new_table(1 << 20, 110, 0);
    char key[24];

    (void)state;
    fill_with(t, "kept", 2000);
    for (unsigned i = 0; i < 100000; i++) {
        put_sized(t, "rewritten", i % 200);
        touch(t, "rewritten"); /* it moves to M in time, so that both rings turn */
        if (i == 50000)
            fill_with(t, "push", 1000);
    }
    assert_true(ring_of(t, find(t, "rewritten")) == &t->main);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "kept%06u", i);
        assert_non_null(find(t, key));
    }
    assert_int_equal(stats_of(t).evictions, 0);
    table_free(t);
}

static void table_of_100000_entries_needs_no_more_than_59_bytes_beside_each(void **state)
{
    struct table *t = new_table(20 << 20, 112, 0);
    struct table_stats stats;

    (void)state;
    fill_with(t, "abcdef", 250000);
    stats = stats_of(t);
    assert_true(stats.entries > 100000);
    assert_in_range(stats.bytes / stats.entries - 112, 48, 59);
    table_free(t);
}

static void index_sized_for_max_entries_holds_them_all(void **state)
{
    static const unsigned sizes[] = {1, 2, 7, 8, 50, 100, 1000, 10000};

    (void)state;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct table *t = new_table(8 << 20, 112, sizes[i]);

        fill_with(t, "abcdef", sizes[i]);
        assert_int_equal(stats_of(t).entries, sizes[i]);
        assert_int_equal(stats_of(t).evictions, 0);
        fill_with(t, "ghijkl", 2 * sizes[i]);
        assert_int_equal(stats_of(t).entries, sizes[i]);
        table_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_small_a_budget_is_invalid),
        cmocka_unit_test(record_too_large_changes_nothing),
        cmocka_unit_test(key_and_source_longer_than_their_fields_are_too_large),
        cmocka_unit_test(same_rounded_size_is_updated_in_place),
        cmocka_unit_test(flags_of_the_table_cannot_be_set_from_outside),
        cmocka_unit_test(keys_of_one_hash_are_told_apart),
        cmocka_unit_test(scan_does_not_drive_out_what_is_in_use),
        cmocka_unit_test(key_that_left_small_lately_enters_main_at_once),
        cmocka_unit_test(key_asked_for_in_small_moves_to_main),
        cmocka_unit_test(large_record_enters_main_directly),
        cmocka_unit_test(small_keeps_a_tenth_of_max_entries),
        cmocka_unit_test(full_chain_loses_its_least_frequent_entry),
        cmocka_unit_test(one_insertion_keeps_a_bounded_number_of_records),
        cmocka_unit_test(rewriting_one_key_does_not_drive_out_the_others),
        cmocka_unit_test(table_of_100000_entries_needs_no_more_than_59_bytes_beside_each),
        cmocka_unit_test(index_sized_for_max_entries_holds_them_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
