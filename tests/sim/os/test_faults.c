/* Faults of links and servers, with the real daemon and the real client library. */
#include "tests/sim/os/test_world.h"

static void a_stalled_link_ends_the_lease_and_heals(void **state)
{
    struct net_rule rule = {.link = OS_LINK_REDIS, .direction = NET_BOTH, .stall = true};
    struct net_rule_handle *stall;
    struct world w;

    (void)state;
    world_begin(&w, 7);
    world_start(&w);
    assert_int_equal(call(&w, post_set, 10 * OS_MS), DCACHE_OK);
    stall = net_rule_add(w.os, &rule);
    world_run(&w, 1500 * OS_MS);
    assert_int_equal(call(&w, post_get, 1100 * OS_MS), DCACHE_E_REFUSED);
    assert_true(net_rule_counters(stall).stalled > 0);
    net_rule_remove(stall);
    world_run(&w, 350 * OS_MS);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_OK);
    world_end(&w);
}

static void a_subscription_alone_can_be_swallowed(void **state)
{
    struct net_rule rule = {.link = OS_LINK_SUBSCRIPTION, .direction = NET_IN, .swallow = true};
    struct net_rule_handle *swallow;
    struct world w;

    (void)state;
    world_begin(&w, 8);
    world_start(&w);
    assert_int_equal(net_count(w.os, &(struct net_rule){.link = OS_LINK_SUBSCRIPTION}), 1);
    assert_int_equal(net_count(w.os, &(struct net_rule){.link = OS_LINK_DATA}), 1);
    swallow = net_rule_add(w.os, &rule);
    assert_int_equal(call(&w, post_set, 3 * OS_S), DCACHE_OK);
    assert_true(net_rule_counters(swallow).swallowed > 0);
    net_rule_remove(swallow);
    world_run(&w, 2 * OS_S);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_OK);
    world_end(&w);
}

/* Whatever is done to the link: it heals, and the daemon is whole. */
static void any_fault_of_a_link_heals(void **state)
{
    const struct net_rule rules[] = {
        {.link = OS_LINK_REDIS, .direction = NET_BOTH, .delay_max_ns = 50 * OS_MS},
        {.link = OS_LINK_REDIS, .direction = NET_BOTH, .one_byte = true},
        {.link = OS_LINK_REDIS, .direction = NET_BOTH, .cut_after = 333},
        {.link = OS_LINK_REDIS, .direction = NET_IN, .corrupt_at = 55},
        {.link = OS_LINK_REDIS, .direction = NET_OUT, .swallow = true},
        {.link = OS_LINK_REDIS, .direction = NET_BOTH, .refuse = true, .cut_after = 100},
        {.link = OS_LINK_CLIENT, .direction = NET_BOTH, .one_byte = true},
        {.link = OS_LINK_CLIENT, .direction = NET_BOTH, .cut_after = 5},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        struct net_rule_handle *rule;
        struct net_rule_counters c;
        struct world w;

        world_begin(&w, 50 + i);
        world_start(&w);
        rule = net_rule_add(w.os, &rules[i]);
        client_host_post(w.client, os_now(w.os), post_set, &w);
        client_host_post(w.client, os_now(w.os), post_get, &w);
        world_run(&w, 3 * OS_S);
        assert_int_equal(w.calls, 2);
        c = net_rule_counters(rule);
        assert_true(c.delayed + c.swallowed + c.cuts + c.refusals + c.corrupted > 0 || rules[i].one_byte);
        net_rule_remove(rule);
        world_run(&w, 3 * OS_S);
        assert_int_equal(call(&w, post_set, 50 * OS_MS), DCACHE_OK);
        assert_int_equal(call(&w, post_get, 50 * OS_MS), DCACHE_OK);
        world_end(&w);
    }
}

static void a_server_can_be_stopped_and_go_down(void **state)
{
    struct world w;

    (void)state;
    world_begin(&w, 9);
    world_start(&w);
    assert_int_equal(call(&w, post_set, 10 * OS_MS), DCACHE_OK);
    net_server_stop(w.port);
    world_run(&w, 3 * OS_S);
    assert_int_equal(call(&w, post_get, 1100 * OS_MS), DCACHE_E_REFUSED);
    net_server_resume(w.port);
    world_run(&w, 600 * OS_MS);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_OK);
    net_server_down(w.port);
    world_run(&w, 3 * OS_S);
    assert_int_equal(call(&w, post_get, 1100 * OS_MS), DCACHE_E_REFUSED);
    net_server_up(w.port);
    world_run(&w, 600 * OS_MS);
    assert_int_equal(call(&w, post_get, 10 * OS_MS), DCACHE_OK);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stalled_link_ends_the_lease_and_heals),
        cmocka_unit_test(a_subscription_alone_can_be_swallowed),
        cmocka_unit_test(any_fault_of_a_link_heals),
        cmocka_unit_test(a_server_can_be_stopped_and_go_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
