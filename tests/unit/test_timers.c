#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/core/timers.h"

#define COUNT 500

static uint64_t random_state = 1;

static uint64_t random_next(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return random_state >> 33;
}

static void the_first_timer_is_always_the_earliest_armed_one(void **state)
{
    (void)state;
    static struct timer timer[COUNT];
    struct timers timers;

    assert_int_equal(timers_init(&timers, COUNT), 0);
    for (unsigned round = 0; round < 20000; round++) {
        struct timer *t = &timer[random_next() % COUNT];
        if (t->place)
            timers_disarm(&timers, t);
        else
            timers_arm(&timers, t, random_next() % 1000);

        uint64_t earliest = UINT64_MAX;
        size_t armed = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            if (timer[i].place == 0)
                continue;
            armed++;
            assert_ptr_equal(timers.heap[timer[i].place], &timer[i]);
            if (timer[i].at < earliest)
                earliest = timer[i].at;
        }
        assert_int_equal(timers.count, armed);
        assert_int_equal(timers_first(&timers) ? timers_first(&timers)->at : UINT64_MAX, earliest);
    }
    timers_deinit(&timers);
}

static void disarming_an_unarmed_timer_does_nothing(void **state)
{
    (void)state;
    struct timers timers;
    struct timer timer = {0};

    assert_int_equal(timers_init(&timers, 1), 0);
    timers_disarm(&timers, &timer);
    timers_arm(&timers, &timer, 5);
    timers_disarm(&timers, &timer);
    timers_disarm(&timers, &timer);
    assert_null(timers_first(&timers));
    timers_deinit(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_timer_is_always_the_earliest_armed_one),
        cmocka_unit_test(disarming_an_unarmed_timer_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
