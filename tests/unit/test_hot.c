/* The sketch behind `top`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "daemon/ops/hot.h"

#define SECOND    UINT64_C(1000000000)
#define HALF_LIFE (10 * SECOND)

static void add_number(struct hot *hot, unsigned number)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", number);
    hot_add(hot, slice_text(text), SECOND);
}

static void frequent_keys_are_found_among_many_more_than_there_are_places(void **state)
{
    static struct hot hot = {.half_life_ns = HALF_LIFE};
    unsigned found = 0, count;

    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        add_number(&hot, 1000 + i);
        if (i % 4 == 0)
            add_number(&hot, 1);
        if (i % 8 == 0)
            add_number(&hot, 2);
    }
    count = hot_sort(&hot, SECOND);
    assert_int_equal(count, HOT_KEYS);
    assert_int_equal(hot.total, 10000 + 2500 + 1250);
    assert_memory_equal(hot.keys[0].bytes, "1", 1);
    for (unsigned i = 0; i < HOT_KEYS; i++) {
        const struct hot_key *key = &hot.keys[i];
        unsigned real = key->len == 1 ? (key->bytes[0] == '1' ? 2500 : 1250) : 1;

        found += key->len == 1;
        assert_true(key->count >= real && key->count - key->error <= real);
    }
    assert_int_equal(found, 2);
}

static void a_count_is_never_too_low_though_its_key_was_displaced(void **state)
{
    static struct hot hot = {.half_life_ns = HALF_LIFE};

    (void)state;
    for (unsigned i = 0; i < 2 * HOT_KEYS; i++)
        add_number(&hot, 1000 + i);
    add_number(&hot, 1000);
    hot_sort(&hot, SECOND);
    for (unsigned i = 0; i < HOT_KEYS; i++)
        if (memcmp(hot.keys[i].bytes, "1000", 4) == 0) {
            assert_true(hot.keys[i].count >= 2);
            assert_true(hot.keys[i].count - hot.keys[i].error <= 2);
            return;
        }
    fail();
}

static void counts_are_halved_with_time_and_a_quiet_sketch_is_empty(void **state)
{
    static struct hot hot = {.half_life_ns = HALF_LIFE};

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        hot_add(&hot, slice_text("k"), SECOND);
    assert_int_equal(hot_sort(&hot, SECOND + HALF_LIFE - 1), 1);
    assert_int_equal(hot.keys[0].count, 8);
    hot_sort(&hot, SECOND + HALF_LIFE);
    assert_int_equal(hot.keys[0].count, 4);
    assert_int_equal(hot_sort(&hot, UINT64_MAX / 2), 0);
    assert_int_equal(hot.total, 0);
    hot_add(&hot, slice_text("k"), UINT64_MAX / 2);
    assert_int_equal(hot_sort(&hot, UINT64_MAX / 2), 1);
}

static void long_keys_are_known_by_their_beginning(void **state)
{
    static struct hot hot = {.half_life_ns = HALF_LIFE};
    uint8_t key[1024] = {0};

    (void)state;
    hot_add(&hot, slice_of(key, sizeof(key)), SECOND);
    key[HOT_KEY_BYTES] = 1;
    hot_add(&hot, slice_of(key, sizeof(key)), SECOND);
    hot_add(&hot, slice_of(NULL, 0), SECOND);
    assert_int_equal(hot_sort(&hot, SECOND), 1);
    assert_int_equal(hot.keys[0].count, 2);
    assert_int_equal(hot.keys[0].len, HOT_KEY_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequent_keys_are_found_among_many_more_than_there_are_places),
        cmocka_unit_test(a_count_is_never_too_low_though_its_key_was_displaced),
        cmocka_unit_test(counts_are_halved_with_time_and_a_quiet_sketch_is_empty),
        cmocka_unit_test(long_keys_are_known_by_their_beginning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
