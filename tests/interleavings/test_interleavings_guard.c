/* Schedules of the replica guard (min_replicas = 2); see test_interleavings.c. */
#include "tests/interleavings/harness.h"

static void guard(struct rig *rig, uint64_t id, uint64_t replicas)
{
    struct core_event event = {.type = EV_GUARD, .guard = {.id = id, .replicas = replicas}};

    step(rig, &event);
}

/* Asks for the next heartbeat, which is answered but for the guard. Returns its id; the PONG is here. */
static uint64_t heartbeat_but_guard(struct rig *rig)
{
    uint64_t id = harness_ask(rig);

    pong(rig, harness_identified(rig, id));
    return id;
}

/* Ready, with k at version 5 in the cache. */
static void open_guarded(struct rig *rig)
{
    struct core_event subscribed = {.type = EV_SUBSCRIBED};
    struct core_config config = config_default();
    uint64_t id;

    config.min_replicas = 2;
    rig_open(rig, &config);
    link_up(rig, LINK_DATA);
    id = want(rig, FX_IDENTITY)->identity.id;
    identity(rig, id);
    guard(rig, id, 2);
    link_up(rig, LINK_SUBSCRIPTION);
    rig->now += 300 * MS;
    step(rig, &subscribed);
    id = want(rig, FX_IDENTITY)->identity.id;
    identity(rig, id);
    pong(rig, want(rig, FX_PING)->ping.nonce);
    guard(rig, id, 2);
    message(rig, "k", record_of(11, 5, "value"));
    harness_hit(rig, "k", "value", 5);
}

static void a_heartbeat_that_too_few_replicas_acknowledged_proves_nothing(void **state)
{
    struct rig rig;
    (void)state;

    open_guarded(&rig);
    uint64_t as_of = harness_as_of(&rig);
    guard(&rig, heartbeat_but_guard(&rig), 1);
    assert_int_equal(harness_as_of(&rig), as_of);
    assert_int_equal(harness_counters(&rig).heartbeats_unguarded, 1);
    harness_close(&rig);
}

static void a_heartbeat_counts_when_pong_and_replicas_have_both_answered(void **state)
{
    struct rig rig;
    (void)state;

    open_guarded(&rig);
    uint64_t as_of = harness_as_of(&rig), id = harness_ask(&rig), asked = rig.now;
    uint64_t nonce = harness_identified(&rig, id);
    guard(&rig, id, 2);
    assert_int_equal(harness_as_of(&rig), as_of);
    pong(&rig, nonce);
    assert_int_equal(harness_as_of(&rig), asked);

    id = harness_ask(&rig);
    as_of = rig.now;
    pong(&rig, harness_identified(&rig, id));
    assert_int_equal(harness_as_of(&rig), asked);
    guard(&rig, id, 3);
    assert_int_equal(harness_as_of(&rig), as_of);
    harness_close(&rig);
}

static void a_fetched_value_is_proven_as_far_as_the_guard_is(void **state)
{
    struct rig rig;
    (void)state;

    open_guarded(&rig);
    uint64_t proven = harness_as_of(&rig);
    rig.now += 100 * MS;
    fetched(&rig, harness_fetch(&rig, "other"), FETCH_RECORD, record_of(9, 1, "x"));
    assert_int_equal(want(&rig, FX_READ_DONE)->read_done.as_of, proven);
    harness_close(&rig);
}

static void reads_without_replicas_wait_for_a_heartbeat_and_are_refused_by_name(void **state)
{
    struct rig rig;
    (void)state;

    open_guarded(&rig);
    for (int i = 0; i < 5; i++) /* D and more, while all else answers */
        guard(&rig, heartbeat_but_guard(&rig), 0);
    get(&rig, "k");
    assert_null(find(&rig, FX_READ_DONE));
    assert_null(find(&rig, FX_FETCH));
    uint64_t id = want(&rig, FX_IDENTITY)->identity.id;
    pong(&rig, harness_identified(&rig, id));
    assert_null(find(&rig, FX_READ_DONE));
    guard(&rig, id, 0);
    assert_refused(&rig, REASON_REPLICAS);
    assert_true(slice_equal(want(&rig, FX_READ_DONE)->read_done.text, slice_text("0 of 2 replicas acknowledged")));
    harness_close(&rig);
}

static void a_waiting_read_is_served_as_soon_as_the_replicas_are_back(void **state)
{
    struct rig rig;
    (void)state;

    open_guarded(&rig);
    for (int i = 0; i < 5; i++)
        guard(&rig, heartbeat_but_guard(&rig), 0);
    get(&rig, "k");
    uint64_t id = want(&rig, FX_IDENTITY)->identity.id;
    pong(&rig, harness_identified(&rig, id));
    guard(&rig, id, 2);
    assert_read(&rig, READ_FRESH, "value", 5);
    harness_close(&rig);
}

static void a_strong_read_waits_for_the_replicas_too(void **state)
{
    struct rig rig;
    (void)state;

    open_guarded(&rig);
    rig.now += 100 * MS;
    uint64_t asked = rig.now;
    get_with(&rig, "k", (struct read_request){.strong = true});
    uint64_t id = want(&rig, FX_IDENTITY)->identity.id;
    pong(&rig, harness_identified(&rig, id));
    assert_null(find(&rig, FX_READ_DONE));
    guard(&rig, id, 2);
    assert_read(&rig, READ_FRESH, "value", 5);
    assert_true(want(&rig, FX_READ_DONE)->read_done.as_of >= asked);
    harness_close(&rig);
}

static void replicas_of_the_server_before_prove_nothing_about_the_next_one(void **state)
{
    struct rig rig;
    (void)state;

    open_guarded(&rig);
    link_down(&rig, LINK_DATA);
    rig.now += 10 * MS;
    link_up(&rig, LINK_DATA);
    uint64_t id = want(&rig, FX_IDENTITY)->identity.id;
    identity(&rig, id);
    get(&rig, "other");
    assert_null(find(&rig, FX_FETCH));
    assert_null(find(&rig, FX_READ_DONE));
    guard(&rig, id, 0);
    harness_hit(&rig, "k", "value", 5); /* what was proven then stays proven for D */
    harness_close(&rig);
}

static void a_right_that_the_guard_misses_is_named(void **state)
{
    struct rig rig;
    struct core_status status;
    struct core_event event = {.type = EV_GUARD, .guard = {.status = REPLY_DEFINITE}};
    (void)state;

    open_guarded(&rig);
    for (int i = 0; i < 5; i++) {
        event.guard.id = heartbeat_but_guard(&rig);
        event.guard.text = slice_text("WAIT: NOPERM");
        step(&rig, &event);
    }
    core_get_status(rig.core, rig.now, &status);
    assert_false(status.ready);
    assert_int_equal(status.reason, REASON_REPLICAS);
    assert_non_null(strstr(status.reason_text, "WAIT: NOPERM"));
    harness_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_heartbeat_that_too_few_replicas_acknowledged_proves_nothing),
        cmocka_unit_test(a_heartbeat_counts_when_pong_and_replicas_have_both_answered),
        cmocka_unit_test(a_fetched_value_is_proven_as_far_as_the_guard_is),
        cmocka_unit_test(reads_without_replicas_wait_for_a_heartbeat_and_are_refused_by_name),
        cmocka_unit_test(a_waiting_read_is_served_as_soon_as_the_replicas_are_back),
        cmocka_unit_test(a_strong_read_waits_for_the_replicas_too),
        cmocka_unit_test(replicas_of_the_server_before_prove_nothing_about_the_next_one),
        cmocka_unit_test(a_right_that_the_guard_misses_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
