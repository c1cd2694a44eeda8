#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/host/progress.h"

#define SECOND UINT64_C(1000000000)
#define START  (1000 * SECOND)

static struct progress begin(uint64_t bound_ns)
{
    struct progress progress;

    progress_init(&progress, bound_ns, START);
    return progress;
}

static void a_core_that_settles_and_attempts_makes_progress(void **state)
{
    struct progress progress = begin(SECOND);

    (void)state;
    for (uint64_t i = 1; i < 100; i++) {
        progress_settled(&progress, START + i * SECOND);
        assert_true(progress_look(&progress, i, START + i * SECOND));
    }
}

static void a_core_that_never_settles_makes_none(void **state)
{
    struct progress progress = begin(SECOND);

    (void)state;
    for (uint64_t i = 1; i <= 15; i++)
        assert_true(progress_look(&progress, i, START + i * SECOND));
    assert_false(progress_look(&progress, 16, START + 16 * SECOND));
    progress_settled(&progress, START + 17 * SECOND);
    assert_true(progress_look(&progress, 17, START + 17 * SECOND));
}

static void a_core_that_attempts_nothing_makes_none(void **state)
{
    struct progress progress = begin(SECOND);

    (void)state;
    assert_true(progress_look(&progress, 7, START));
    progress_settled(&progress, START + 16 * SECOND);
    assert_false(progress_look(&progress, 7, START + 16 * SECOND));
    assert_true(progress_look(&progress, 8, START + 16 * SECOND));
}

static void a_long_staleness_bound_is_more_patience(void **state)
{
    struct progress progress = begin(60 * SECOND);

    (void)state;
    assert_true(progress_look(&progress, 0, START + 180 * SECOND));
    assert_false(progress_look(&progress, 0, START + 181 * SECOND));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_core_that_settles_and_attempts_makes_progress),
        cmocka_unit_test(a_core_that_never_settles_makes_none),
        cmocka_unit_test(a_core_that_attempts_nothing_makes_none),
        cmocka_unit_test(a_long_staleness_bound_is_more_patience),
    };
    alarm(20);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
