/* The simulated system with the real daemon, the real client library and a simulated Redis on it. */
#include "tests/sim/os/test_world.h"

static void a_daemon_serves_a_client_in_virtual_time(void **state)
{
    struct core_status status;
    struct world w;

    (void)state;
    world_begin(&w, 1);
    world_start(&w);
    assert_true(daemon_host_status(w.daemon, &status));
    assert_true(status.ready);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_ABSENT);
    assert_int_equal(call(&w, post_set, 10 * OS_MS), DCACHE_OK);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_OK);
    assert_string_equal(w.value, "one");
    assert_true(w.age_ns < 300 * OS_MS);
    assert_int_equal(call(&w, post_clear, 10 * OS_MS), DCACHE_OK);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_ABSENT);
    world_end(&w);
}

static void a_stopped_daemon_answers_when_it_is_resumed(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w, 2);
    world_start(&w);
    assert_int_equal(call(&w, post_set, 10 * OS_MS), DCACHE_OK);
    os_process_stop(w.pod);
    w.calls = 0;
    client_host_post(w.client, os_now(w.os), post_get, &w);
    world_run(&w, 500 * OS_MS);
    assert_int_equal(w.calls, 0);
    os_process_resume(w.pod);
    world_run(&w, 10 * OS_MS);
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.result, DCACHE_OK);
    world_end(&w);
}

static bool it_happened;

static void happened(void *arg)
{
    (void)arg;
    it_happened = true;
}

/* F9: the daemon has checked the lease, and is stopped before it writes. The value that leaves when it goes on is
 * older than D: the library may not hand it over. */
static void a_daemon_can_be_stopped_between_its_check_and_its_write(void **state)
{
    struct core_counters before, after;
    struct world w;

    (void)state;
    world_begin(&w, 3);
    world_start(&w);
    assert_int_equal(call(&w, post_set, 10 * OS_MS), DCACHE_OK);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_OK);
    daemon_host_counters(w.daemon, &before);
    it_happened = false;
    os_process_at_write(w.pod, OS_AT_WRITE_STOP, 1, OS_LINK_CLIENT, happened, NULL);
    w.calls = 0;
    client_host_post(w.client, os_now(w.os), post_get, &w);
    world_run(&w, 5 * OS_MS);
    assert_true(it_happened);
    assert_int_equal(os_process_state(w.pod), OS_STOPPED);
    daemon_host_counters(w.daemon, &after);
    assert_int_equal(after.hits, before.hits + 1);
    world_run(&w, 990 * OS_MS);
    assert_int_equal(w.calls, 0);
    os_process_resume(w.pod);
    world_run(&w, 200 * OS_MS);
    assert_int_equal(w.calls, 1);
    daemon_host_counters(w.daemon, &after);
    if (w.result == DCACHE_OK)
        assert_true(w.age_ns <= OS_S);
    world_end(&w);
}

static void a_killed_daemon_is_gone_at_once_and_serves_again_after_a_start(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w, 4);
    world_start(&w);
    assert_int_equal(call(&w, post_set, 10 * OS_MS), DCACHE_OK);
    os_process_kill(w.pod);
    assert_int_equal(os_process_state(w.pod), OS_ENDED);
    assert_int_equal(call(&w, post_get, 2 * OS_S), DCACHE_E_UNREACHABLE);
    assert_int_equal(net_count(w.os, &(struct net_rule){.link = OS_LINK_REDIS}), 0);
    os_process_start(w.pod);
    world_run(&w, 100 * OS_MS);
    assert_int_equal(call(&w, post_get, 1100 * OS_MS), DCACHE_OK);
    assert_string_equal(w.value, "one");
    assert_int_equal(daemon_host_starts(w.daemon), 2);
    world_end(&w);
}

static void a_daemon_can_be_killed_in_the_middle_of_what_it_does(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 25; n++) {
        struct world w;

        world_begin(&w, 100 + n);
        os_process_at_write(w.pod, OS_AT_WRITE_KILL, n, OS_LINK_ANY, NULL, NULL);
        world_start(&w);
        client_host_post(w.client, os_now(w.os), post_set, &w);
        client_host_post(w.client, os_now(w.os), post_get, &w);
        world_run(&w, 3 * OS_S);
        assert_int_equal(os_process_state(w.pod), OS_ENDED);
        os_process_start(w.pod);
        world_run(&w, 3 * OS_S);
        assert_int_equal(call(&w, post_set, 2 * OS_S), DCACHE_OK);
        world_end(&w);
    }
}

static void what_a_killed_daemon_was_about_to_write_never_leaves(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w, 5);
    world_start(&w);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_ABSENT);
    os_process_at_write(w.pod, OS_AT_WRITE_KILL, 1, OS_LINK_CLIENT, NULL, NULL);
    assert_int_equal(call(&w, post_set, 3 * OS_S), DCACHE_E_INDETERMINATE);
    os_process_start(w.pod);
    assert_int_equal(call(&w, post_get, 2 * OS_S), DCACHE_OK);
    assert_string_equal(w.value, "one");
    world_end(&w);
}

static void a_signal_ends_a_daemon_gracefully(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w, 5);
    world_start(&w);
    assert_int_equal(call(&w, post_set, 10 * OS_MS), DCACHE_OK);
    os_process_signal(w.pod, 15);
    world_run(&w, 10 * OS_MS);
    assert_int_equal(os_process_state(w.pod), OS_ENDED);
    world_end(&w);
}

static void a_killed_client_is_never_called_back(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w, 6);
    world_start(&w);
    client_host_post(w.client, os_now(w.os), post_set, &w);
    world_run(&w, 30 * OS_US);
    os_process_kill(w.app);
    world_run(&w, OS_S);
    assert_int_equal(w.calls, 0);
    os_process_start(w.app);
    world_run(&w, 10 * OS_MS);
    assert_true(call(&w, post_get, 10 * OS_MS) >= 0);
    world_end(&w);
}

/* ---- determinism and speed -------------------------------------------------------------------------------- */

static uint64_t busy_run(uint64_t seed, unsigned calls)
{
    struct world w;
    uint64_t hash;

    world_begin(&w, seed);
    world_start(&w);
    for (unsigned i = 0; i < calls; i++)
        client_host_post(w.client, os_now(w.os) + i * 10 * OS_MS, i % 4 == 0 ? post_set : post_get, &w);
    world_run(&w, OS_S);
    os_process_stop(w.pod);
    world_run(&w, 700 * OS_MS);
    os_process_resume(w.pod);
    world_run(&w, OS_S);
    os_process_kill(w.pod);
    os_process_start(w.pod);
    world_run(&w, (uint64_t)calls * 10 * OS_MS);
    assert_int_equal(w.calls, calls);
    hash = os_hash(w.os);
    world_end(&w);
    return hash;
}

static void a_seed_is_the_same_byte_for_byte(void **state)
{
    uint64_t first = busy_run(11, 200);

    (void)state;
    for (uint64_t seed = 20; seed < 25; seed++)
        assert_true(busy_run(seed, 200) != first);
    assert_true(busy_run(11, 200) == first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_daemon_serves_a_client_in_virtual_time),
        cmocka_unit_test(a_stopped_daemon_answers_when_it_is_resumed),
        cmocka_unit_test(a_daemon_can_be_stopped_between_its_check_and_its_write),
        cmocka_unit_test(a_killed_daemon_is_gone_at_once_and_serves_again_after_a_start),
        cmocka_unit_test(a_daemon_can_be_killed_in_the_middle_of_what_it_does),
        cmocka_unit_test(what_a_killed_daemon_was_about_to_write_never_leaves),
        cmocka_unit_test(a_signal_ends_a_daemon_gracefully),
        cmocka_unit_test(a_killed_client_is_never_called_back),
        cmocka_unit_test(a_seed_is_the_same_byte_for_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
