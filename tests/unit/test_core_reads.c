/* How reads are decided, and what the hook can do. The order of things is tested in tests/interleavings. */
#include "tests/unit/core_rig.h"

/* ---- reads
 * ------------------------------------------------------------------------------------------------------ */

static void without_redis_a_read_waits_for_the_bound_and_is_refused(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    tick(&rig);
    get(&rig, "k");
    assert_null(find(&rig, FX_READ_DONE));
    rig.now += D;
    tick(&rig);
    assert_refused(&rig, REASON_NO_LINK);
    get(&rig, "k");
    assert_refused(&rig, REASON_NO_LINK);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_miss_is_fetched_once_and_then_served_from_the_cache(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    struct core_counters c;
    rig_open(&rig, &config);
    make_ready(&rig);
    get(&rig, "k");
    uint64_t id = want(&rig, FX_FETCH)->fetch.id;
    get(&rig, "k");
    assert_null(find(&rig, FX_FETCH));
    fetched(&rig, id, FETCH_RECORD, record_of(5, 3, "three"));
    assert_int_equal(rig.count, 2);
    assert_read(&rig, READ_FRESH, "three", 3);
    get(&rig, "k");
    assert_read(&rig, READ_FRESH, "three", 3);
    core_get_counters(rig.core, &c);
    assert_int_equal(c.misses, 2);
    assert_int_equal(c.hits, 1);
    assert_int_equal(c.fetches_joined, 1);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_fetch_that_nobody_waits_for_any_more_is_not_sent(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    config.max_in_flight = 1;
    rig_open(&rig, &config);
    make_ready(&rig);
    get(&rig, "first");
    uint64_t id = want(&rig, FX_FETCH)->fetch.id;
    get_with(&rig, "impatient", (struct read_request){.deadline = rig.now + MS});
    get(&rig, "patient");
    rig.now += 2 * MS;
    tick(&rig);
    assert_refused(&rig, REASON_TIMEOUT);
    fetched(&rig, id, FETCH_ABSENT, record_of(0, 0, ""));
    const struct core_effect *next = want(&rig, FX_FETCH);
    assert_true(slice_equal(next->fetch.key, slice_text("patient")));
    fetched(&rig, next->fetch.id, FETCH_ABSENT, record_of(0, 0, ""));
    assert_null(find(&rig, FX_FETCH));
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_hit_is_served_until_exactly_the_bound(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    uint64_t as_of = rig.now;
    message(&rig, "k", record_of(11, 1, "one"));
    rig.now = as_of + D;
    get(&rig, "k");
    assert_read(&rig, READ_FRESH, "one", 1);
    rig.now = as_of + D + 1;
    get(&rig, "k");
    assert_null(find(&rig, FX_READ_DONE));
    assert_true(want(&rig, FX_FETCH)->fetch.header_only);
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record_of(11, 1, ""));
    assert_read(&rig, READ_FRESH, "one", 1);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_tombstone_is_confirmed_by_its_seq_alone(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct core_counters c;
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 1, "one"));
    rig.now += D + 1;
    rig.seq = 12;
    get(&rig, "k");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record_of(12, 2, NULL));
    assert_read(&rig, READ_ABSENT, NULL, 2);
    core_get_counters(rig.core, &c);
    assert_int_equal(c.misses, 1); /* what was cached is not what is stored */
    assert_int_equal(c.hits, 0);
    rig.now += D + 1;
    get(&rig, "k");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record_of(12, 2, NULL));
    assert_read(&rig, READ_ABSENT, NULL, 2);
    core_get_counters(rig.core, &c);
    assert_int_equal(c.misses, 1);
    assert_int_equal(c.hits, 1);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_read_is_refused_at_its_own_deadline(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    get(&rig, "k");
    rig.now += 500 * MS;
    tick(&rig);
    assert_refused(&rig, REASON_TIMEOUT);
    rig_close(&rig);
}

static void permitted_staleness_is_served_with_its_age_when_redis_is_gone(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    uint64_t as_of = rig.now;
    message(&rig, "k", record_of(11, 1, "one"));
    link_down(&rig, LINK_DATA);
    link_down(&rig, LINK_SUBSCRIPTION);
    rig.now = as_of + 3 * D;
    get(&rig, "k");
    assert_refused(&rig, REASON_NO_LINK);
    get_with(&rig, "k", (struct read_request){.max_stale_ns = 3 * D});
    assert_read(&rig, READ_STALE, "one", 1);
    assert_int_equal(want(&rig, FX_READ_DONE)->read_done.age_ns, 3 * D);
    rig.now++;
    get_with(&rig, "k", (struct read_request){.max_stale_ns = 3 * D});
    assert_refused(&rig, REASON_NO_LINK);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_call_that_says_how_stale_gets_nothing_staler_whatever_the_policy(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    config.stale_on_partition = true;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 1, "one"));
    link_down(&rig, LINK_DATA);
    link_down(&rig, LINK_SUBSCRIPTION);
    rig.now += 4 * D;
    get_with(&rig, "k", (struct read_request){.max_stale_ns = 3 * D});
    assert_refused(&rig, REASON_NO_LINK);
    get(&rig, "k");
    assert_read(&rig, READ_STALE, "one", 1);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_deleted_key_has_no_stale_answer(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct core_view view;
    struct rig rig;
    config.stale_on_partition = true;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 1, NULL));
    get(&rig, "k");
    assert_read(&rig, READ_ABSENT, NULL, 1);
    link_down(&rig, LINK_DATA);
    link_down(&rig, LINK_SUBSCRIPTION);
    rig.now += 3 * D;
    get_with(&rig, "k", (struct read_request){.max_stale_ns = 30 * D});
    assert_refused(&rig, REASON_NO_LINK);
    core_view(rig.core, rig.now, slice_text("k"), &view);
    assert_int_equal(view.verdict, READ_REFUSED);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_heartbeat_that_redis_refuses_is_said_once_and_is_the_reason(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct core_status status;
    struct rig rig;
    struct core_event refused = {
        .type = EV_IDENTITY,
        .identity = {.status = REPLY_DEFINITE, .text = slice_text("NOPERM no right to TIME")}};
    rig_open(&rig, &config);
    link_up(&rig, LINK_DATA);
    refused.identity.id = want(&rig, FX_IDENTITY)->identity.id;
    step(&rig, &refused);
    assert_int_equal(want(&rig, FX_NOTE)->note.kind, NOTE_NOT_READY);
    assert_non_null(strstr(want(&rig, FX_NOTE)->note.text, "NOPERM no right to TIME"));
    core_get_status(rig.core, rig.now, &status);
    assert_non_null(strstr(status.reason_text, "NOPERM no right to TIME"));
    rig.now = core_next_deadline(rig.core);
    tick(&rig);
    refused.identity.id = want(&rig, FX_IDENTITY)->identity.id;
    step(&rig, &refused);
    assert_null(find(&rig, FX_NOTE));
    rig_close(&rig);
}

static void min_version_is_fetched_and_refused_if_the_store_holds_less(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 1, "one"));
    get_with(&rig, "k", (struct read_request){.min_version = 2});
    assert_false(want(&rig, FX_FETCH)->fetch.header_only);
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record_of(11, 1, "one"));
    assert_refused(&rig, REASON_MIN_VERSION);
    rig_close(&rig);
}

static void min_version_of_another_epoch_is_an_outcome_of_its_own(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 1, "one"));
    get_with(&rig, "k", (struct read_request){.min_version = 1, .min_epoch = {"ffff"}});
    assert_null(find(&rig, FX_READ_DONE));
    heartbeat_answered(&rig);
    assert_refused(&rig, REASON_OTHER_EPOCH);
    rig_close(&rig);
}

static void an_unreadable_record_is_an_error_of_its_readers_and_drops_the_copy(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    struct core_view view;
    rig_open(&rig, &config);
    make_ready(&rig);
    get(&rig, "k");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_INVALID, record_of(0, 0, ""));
    assert_int_equal(want(&rig, FX_READ_DONE)->read_done.outcome, READ_ERROR);
    want(&rig, FX_NOTE);
    core_view(rig.core, rig.now, slice_text("k"), &view);
    assert_false(view.cached);
    assert_truth(&rig);
    rig_close(&rig);
}

static void one_call_more_than_may_wait_is_refused_as_busy(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    config.max_waiting = 2;
    rig_open(&rig, &config);
    make_ready(&rig);
    get(&rig, "a");
    get(&rig, "b");
    get(&rig, "c");
    assert_refused(&rig, REASON_BUSY);
    rig_close(&rig);
}

/* ---- hook
 * ------------------------------------------------------------------------------------------------------- */

static enum hook_verdict hook(void *ctx, struct slice key, struct slice value, uint64_t version,
                              struct slice source, bool local, struct slice *ret_value)
{
    (void)key, (void)version, (void)source, (void)local;
    *ret_value = slice_text("replaced");
    (*(unsigned *)ctx)++;
    return slice_equal(value, slice_text("bad")) ? HOOK_REJECT : HOOK_REPLACE;
}

static void the_hook_replaces_what_readers_see_and_rejects_into_fetches(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    struct core_view view;
    unsigned calls = 0;
    config.hook = hook;
    config.hook_ctx = &calls;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 1, "one"));
    get(&rig, "k");
    assert_read(&rig, READ_FRESH, "replaced", 1);
    assert_true(want(&rig, FX_READ_DONE)->read_done.replaced);
    message(&rig, "k", record_of(12, 2, "bad"));
    core_view(rig.core, rig.now, slice_text("k"), &view);
    assert_false(view.cached);
    assert_int_equal(view.floor_version, 2);
    get(&rig, "k");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record_of(12, 2, "bad"));
    assert_read(&rig, READ_FRESH, "bad", 2);
    assert_int_equal(calls, 3);
    rig_close(&rig);
}

static void a_life_that_ends_soon_after_the_start_of_the_daemon_is_not_lengthened(void **state)
{
    struct rig rig;
    struct core_view view;
    struct core_config config = config_default();
    struct record record = record_of(5, 1, "value");
    (void)state;

    rig_open(&rig, &config);
    link_up(&rig, LINK_DATA);
    identity(&rig, want(&rig, FX_IDENTITY)->identity.id);
    record.expiry_ms = (STORE_US + rig.now / NS_PER_US) / 1000 + 5;
    get(&rig, "k");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record);
    assert_read(&rig, READ_FRESH, "value", 1);
    rig.now += 6 * MS;
    core_view(rig.core, rig.now, slice_text("k"), &view);
    assert_false(view.cached);
    rig_close(&rig);
}

/* The store's clock was an hour ahead when the record was written, or has been set back since. */
static void a_life_is_never_longer_than_it_was_given(void **state)
{
    struct rig rig;
    struct core_view view;
    struct core_config config = config_default();
    struct record record = record_of(5, 1, "value");
    uint64_t hour_later_us;
    (void)state;

    rig_open(&rig, &config);
    make_ready(&rig);
    hour_later_us = STORE_US + rig.now / NS_PER_US + UINT64_C(3600000000);
    record.timestamp_ns = hour_later_us * NS_PER_US;
    record.expiry_ms = hour_later_us / 1000 + 200;
    get(&rig, "k");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record);
    rig.now += 150 * MS;
    core_view(rig.core, rig.now, slice_text("k"), &view);
    assert_true(view.cached);
    rig.now += 51 * MS;
    core_view(rig.core, rig.now, slice_text("k"), &view);
    assert_false(view.cached);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_redis_a_read_waits_for_the_bound_and_is_refused),
        cmocka_unit_test(a_miss_is_fetched_once_and_then_served_from_the_cache),
        cmocka_unit_test(a_fetch_that_nobody_waits_for_any_more_is_not_sent),
        cmocka_unit_test(a_hit_is_served_until_exactly_the_bound),
        cmocka_unit_test(a_tombstone_is_confirmed_by_its_seq_alone),
        cmocka_unit_test(a_read_is_refused_at_its_own_deadline),
        cmocka_unit_test(permitted_staleness_is_served_with_its_age_when_redis_is_gone),
        cmocka_unit_test(a_call_that_says_how_stale_gets_nothing_staler_whatever_the_policy),
        cmocka_unit_test(a_deleted_key_has_no_stale_answer),
        cmocka_unit_test(a_heartbeat_that_redis_refuses_is_said_once_and_is_the_reason),
        cmocka_unit_test(min_version_is_fetched_and_refused_if_the_store_holds_less),
        cmocka_unit_test(min_version_of_another_epoch_is_an_outcome_of_its_own),
        cmocka_unit_test(an_unreadable_record_is_an_error_of_its_readers_and_drops_the_copy),
        cmocka_unit_test(one_call_more_than_may_wait_is_refused_as_busy),
        cmocka_unit_test(the_hook_replaces_what_readers_see_and_rejects_into_fetches),
        cmocka_unit_test(a_life_that_ends_soon_after_the_start_of_the_daemon_is_not_lengthened),
        cmocka_unit_test(a_life_is_never_longer_than_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
