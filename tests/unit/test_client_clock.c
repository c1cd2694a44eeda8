/* The freshness check of the library and the mapping of clocks. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "client/clock.h"

#define D NS_PER_S

static void a_mapped_moment_is_never_later_than_the_true_one(void **state)
{
    /* Offset of the daemon's clock, time of flight of hello; modulo 2^64 a negative offset is a huge one. */
    const uint64_t offsets[] = {0, 5 * NS_PER_S, (uint64_t)0 - 3 * NS_PER_S, UINT64_MAX, UINT64_C(1) << 63};
    const uint64_t flights[] = {0, 1, 100000, 10 * NS_PER_S};

    (void)state;
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        for (size_t j = 0; j < sizeof flights / sizeof *flights; j++) {
            uint64_t sent = 1000 * NS_PER_S, moment = 1100 * NS_PER_S;
            struct clock_map map = {0};

            clock_map_learn(&map, sent, sent + 3 * flights[j], sent + flights[j] + offsets[i]);
            assert_true(map.known);
            assert_int_equal(clock_map_here(&map, moment + offsets[i]), moment - flights[j]);
            assert_int_equal(clock_map_there(&map, moment), moment + offsets[i] - 2 * flights[j]);
        }
    }
}

static void what_hellos_tell_best_is_kept(void **state)
{
    struct clock_map map = {0};

    (void)state;
    clock_map_learn(&map, 1000, 1000 + 510, 1000 + 500 - 70);
    clock_map_learn(&map, 2000, 2000 + 60, 2000 + 20 - 70);
    clock_map_learn(&map, 3000, 3000 + 990, 3000 + 900 - 70);
    assert_int_equal(clock_map_here(&map, 10000 - 70), 10000 - 20);
    assert_int_equal(clock_map_there(&map, 10000), 10000 - 10 - 70);
}

static void an_answer_is_fresh_up_to_the_limit_and_not_a_nanosecond_longer(void **state)
{
    uint64_t age;

    (void)state;
    assert_true(clock_is_fresh(5 * D, 5 * D, D, &age));
    assert_int_equal(age, 0);
    assert_true(clock_is_fresh(5 * D, 4 * D, D, &age));
    assert_int_equal(age, D);
    assert_false(clock_is_fresh(5 * D + 1, 4 * D, D, &age));
    assert_int_equal(age, D + 1);
    assert_false(clock_is_fresh(5 * D, 0, D, &age));
}

static void a_proof_from_the_future_is_none(void **state)
{
    uint64_t age = 7;

    (void)state;
    assert_false(clock_is_fresh(5 * D, 5 * D + 1, D, &age));
    assert_int_equal(age, 0);
    assert_false(clock_is_fresh(5 * D, UINT64_MAX, UINT64_MAX, &age));
}

static void waiting_times_are_rounded_up_and_bounded(void **state)
{
    (void)state;
    assert_int_equal(clock_ms_until(1000, 1000), 0);
    assert_int_equal(clock_ms_until(1001, 1000), 0);
    assert_int_equal(clock_ms_until(0, 1), 1);
    assert_int_equal(clock_ms_until(0, NS_PER_MS), 1);
    assert_int_equal(clock_ms_until(0, NS_PER_MS + 1), 2);
    assert_int_equal(clock_ms_until(0, UINT64_MAX), INT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapped_moment_is_never_later_than_the_true_one),
        cmocka_unit_test(what_hellos_tell_best_is_kept),
        cmocka_unit_test(an_answer_is_fresh_up_to_the_limit_and_not_a_nanosecond_longer),
        cmocka_unit_test(a_proof_from_the_future_is_none),
        cmocka_unit_test(waiting_times_are_rounded_up_and_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
