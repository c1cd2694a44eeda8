#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/core/stale.h"

static const uint8_t secret[16] = {7, 1, 8, 2, 8, 1, 8, 2, 8};

static struct stale_detector *new_detector(size_t bytes, size_t max_floors)
{
    struct stale_detector *d = NULL;

    assert_int_equal(stale_detector_new(&d, bytes, max_floors, secret), 0);
    return d;
}

static int record(struct stale_detector *d, const char *key, uint64_t seq, uint64_t version)
{
    return stale_detector_record(d, slice_text(key), seq, version, seq * 1000, NULL);
}

static void assert_floor(struct stale_detector *d, const char *key, uint64_t seq, uint64_t version)
{
    struct floor floor;

    assert_true(stale_detector_find(d, slice_text(key), &floor));
    assert_int_equal(floor.seq, seq);
    assert_int_equal(floor.version, version);
    assert_int_equal(floor.seen_ns, seq * 1000);
}

static void first_record_of_a_key_is_newer(void **state)
{
    struct stale_detector *d = new_detector(16384, 0);
    struct floor before = {9, 9, 9};

    (void)state;
    assert_false(stale_detector_find(d, slice_text("a"), NULL));
    assert_int_equal(stale_detector_record(d, slice_text("a"), 5, 1, 5000, &before), STALE_NEWER);
    assert_int_equal(before.seq, 0);
    assert_floor(d, "a", 5, 1);
    stale_detector_free(d);
}

static void lower_seq_is_rejected_and_not_recorded(void **state)
{
    struct stale_detector *d = new_detector(16384, 0);
    struct floor before;

    (void)state;
    record(d, "a", 5, 4);
    assert_int_equal(stale_detector_record(d, slice_text("a"), 4, 9, 1, &before), STALE_REJECTED);
    assert_int_equal(before.seq, 5);
    assert_int_equal(before.version, 4);
    assert_int_equal(before.seen_ns, 5000);
    assert_floor(d, "a", 5, 4);
    stale_detector_free(d);
}

static void equal_seq_is_the_same_and_not_recorded(void **state)
{
    struct stale_detector *d = new_detector(16384, 0);

    (void)state;
    record(d, "a", 5, 4);
    assert_int_equal(stale_detector_record(d, slice_text("a"), 5, 6, 1, NULL), STALE_SAME);
    assert_floor(d, "a", 5, 4);
    stale_detector_free(d);
}

static void higher_seq_wins_even_with_a_lower_version(void **state)
{
    struct stale_detector *d = new_detector(16384, 0);
    struct floor before;

    (void)state;
    record(d, "a", 5, 4);
    assert_int_equal(stale_detector_record(d, slice_text("a"), 6, 1, 6000, &before), STALE_NEWER);
    assert_int_equal(before.version, 4);
    assert_floor(d, "a", 6, 1);
    assert_int_equal(stale_detector_count(d), 1);
    stale_detector_free(d);
}

static void largest_seq_and_version_are_kept_exactly(void **state)
{
    struct stale_detector *d = new_detector(16384, 0);
    struct floor floor;

    (void)state;
    stale_detector_record(d, slice_text("a"), VERSION_MAX - 1, 1, 1, NULL);
    assert_int_equal(stale_detector_record(d, slice_text("a"), VERSION_MAX, VERSION_MAX, 2, NULL), STALE_NEWER);
    assert_true(stale_detector_find(d, slice_text("a"), &floor));
    assert_int_equal(floor.seq, VERSION_MAX);
    assert_int_equal(floor.version, VERSION_MAX);
    stale_detector_free(d);
}

static void reset_forgets_all_floors(void **state)
{
    struct stale_detector *d = new_detector(16384, 0);
    struct floor before;

    (void)state;
    record(d, "a", 5, 4);
    record(d, "b", 6, 4);
    assert_int_equal(stale_detector_count(d), 2);
    stale_detector_reset(d);
    assert_int_equal(stale_detector_count(d), 0);
    assert_int_equal(stale_detector_bytes(d), 0);
    assert_false(stale_detector_find(d, slice_text("a"), NULL));
    assert_int_equal(stale_detector_record(d, slice_text("a"), 1, 1, 1000, &before), STALE_NEWER);
    assert_int_equal(before.seq, 0);
    assert_floor(d, "a", 1, 1);
    assert_int_equal(stale_detector_count(d), 1);
    stale_detector_free(d);
}

static void count_floor(void *ctx, struct slice key, const struct floor *floor)
{
    uint64_t *count = ctx;

    assert_true(key.len > 0);
    assert_true(floor->seq > 0);
    ++*count;
}

static uint64_t walk_count(struct stale_detector *d)
{
    uint64_t cursor = 0, count = 0;

    do {
        stale_detector_walk(d, &cursor, 3, count_floor, &count);
    } while (cursor);
    return count;
}

static void walk_meets_the_floors_that_count_and_no_others(void **state)
{
    struct stale_detector *d = new_detector(16384, 0);
    char key[16];

    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "old%u", i);
        record(d, key, 1 + i, 1);
    }
    assert_int_equal(walk_count(d), 30);
    stale_detector_reset(d);
    assert_int_equal(walk_count(d), 0);
    for (unsigned i = 0; i < 7; i++) {
        snprintf(key, sizeof key, "new%u", i);
        record(d, key, 1 + i, 1);
    }
    assert_int_equal(walk_count(d), 7);
    assert_int_equal(stale_detector_count(d), 7);
    stale_detector_free(d);
}

/* Floors of both generations are pushed out here; only those that count may be taken off the count. */
static void count_agrees_with_the_walk_under_eviction_and_resets(void **state)
{
    struct stale_detector *d = new_detector(8192, 0);
    uint64_t seed = 1, most = 0;
    char key[16];

    (void)state;
    for (unsigned i = 1; i < 20000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        snprintf(key, sizeof key, "k%u", (unsigned)(seed >> 33) % 400);
        record(d, key, i, 1);
        assert_true(stale_detector_find(d, slice_text(key), NULL));
        if (i % 64 == 0)
            assert_int_equal(walk_count(d), stale_detector_count(d));
        if (stale_detector_count(d) > most)
            most = stale_detector_count(d);
        if (i % 997 == 0)
            stale_detector_reset(d);
    }
    assert_true(most > 50);
    assert_true(stale_detector_bytes(d) <= 8192);
    stale_detector_free(d);
}

static void one_floor_is_enough_to_work(void **state)
{
    struct stale_detector *d = new_detector(4096, 1);

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(record(d, i % 2 ? "a" : "b", 10 + i, 1), STALE_NEWER);
        assert_int_equal(record(d, i % 2 ? "a" : "b", 9 + i, 1), STALE_REJECTED);
        assert_int_equal(stale_detector_count(d), 1);
        if (i % 10 == 0)
            stale_detector_reset(d);
    }
    stale_detector_free(d);
}

static void floor_of_a_key_too_long_for_the_table_is_forgotten(void **state)
{
    static char key[4000];
    struct stale_detector *d = new_detector(2048, 0);

    (void)state;
    memset(key, 'k', sizeof key);
    assert_int_equal(stale_detector_record(d, slice_of(key, sizeof key), 2, 1, 1, NULL), STALE_NEWER);
    assert_false(stale_detector_find(d, slice_of(key, sizeof key), NULL));
    assert_int_equal(stale_detector_count(d), 0);
    stale_detector_free(d);
}

static void floors_in_use_outlive_those_nobody_asked_for(void **state)
{
    struct stale_detector *d = new_detector(16384, 0);
    char key[16];

    (void)state;
    for (unsigned i = 1; i < 5000; i++) {
        snprintf(key, sizeof key, "once%u", i);
        record(d, key, i, 1);
        if (i >= 2000 && i % 10 == 0) /* the table is full by then */
            assert_int_equal(record(d, "used", i, 1), STALE_NEWER);
        if (i >= 2000)
            assert_true(stale_detector_find(d, slice_text("used"), NULL));
    }
    assert_false(stale_detector_find(d, slice_text("once1"), NULL));
    stale_detector_free(d);
}

static void too_small_a_budget_is_invalid(void **state)
{
    struct stale_detector *d = NULL;

    (void)state;
    assert_int_equal(stale_detector_new(&d, 0, 0, secret), -EINVAL);
    assert_int_equal(stale_detector_new(&d, 128, 1, secret), -EINVAL);
    assert_null(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_record_of_a_key_is_newer),
        cmocka_unit_test(lower_seq_is_rejected_and_not_recorded),
        cmocka_unit_test(equal_seq_is_the_same_and_not_recorded),
        cmocka_unit_test(higher_seq_wins_even_with_a_lower_version),
        cmocka_unit_test(largest_seq_and_version_are_kept_exactly),
        cmocka_unit_test(reset_forgets_all_floors),
        cmocka_unit_test(walk_meets_the_floors_that_count_and_no_others),
        cmocka_unit_test(count_agrees_with_the_walk_under_eviction_and_resets),
        cmocka_unit_test(one_floor_is_enough_to_work),
        cmocka_unit_test(floor_of_a_key_too_long_for_the_table_is_forgotten),
        cmocka_unit_test(floors_in_use_outlive_those_nobody_asked_for),
        cmocka_unit_test(too_small_a_budget_is_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
