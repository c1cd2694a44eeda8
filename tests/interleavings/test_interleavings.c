/*
 * Schedules that a reader of the contract would ask for by name. Each drives one core with hand-made events; the
 * rig begins ready, with meta seq 10 and everything up to 10 delivered.
 */
#include "tests/interleavings/harness.h"

/* ---- own acknowledgements and messages ---------------------------------------------------------------------- */

static void an_own_write_acknowledged_before_its_message_is_served_at_once(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    written(&rig, harness_set(&rig, "k", "own", 5), SCRIPT_ACCEPTED, 5, 11);
    harness_hit(&rig, "k", "own", 5);
    message(&rig, "k", record_of(11, 5, "own"));
    harness_hit(&rig, "k", "own", 5);
    harness_close(&rig);
}

static void an_own_write_acknowledged_after_its_message_changes_nothing(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_set(&rig, "k", "own", 5);
    message(&rig, "k", record_of(11, 5, "own"));
    written(&rig, id, SCRIPT_ACCEPTED, 5, 11);
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.outcome, WRITE_ACCEPTED);
    harness_hit(&rig, "k", "own", 5);
    harness_close(&rig);
}

static void an_acknowledgement_older_than_a_message_does_not_bring_the_older_value_back(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_set(&rig, "k", "own", 5);
    message(&rig, "k", record_of(11, 5, "own"));
    message(&rig, "k", record_of(12, 6, "newer"));
    written(&rig, id, SCRIPT_ACCEPTED, 5, 11);
    harness_hit(&rig, "k", "newer", 6);
    harness_close(&rig);
}

static void an_acknowledgement_newer_than_the_messages_still_on_their_way_hides_them(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    written(&rig, harness_set(&rig, "k", "own", 6), SCRIPT_ACCEPTED, 6, 12);
    message(&rig, "k", record_of(11, 5, "older"));
    harness_hit(&rig, "k", "own", 6);
    harness_close(&rig);
}

/* The answer names the version that is stored: the pod has seen it, and its message may come late or never. */
static void what_an_answer_says_is_stored_hides_what_is_older(void **state)
{
    static const enum script_result lost[] = {SCRIPT_STALE, SCRIPT_CONFLICT, SCRIPT_INDETERMINATE};
    (void)state;

    for (unsigned i = 0; i < 3; i++) {
        struct rig rig;

        harness_open(&rig);
        message(&rig, "k", record_of(11, 5, "old"));
        harness_hit(&rig, "k", "old", 5);
        written(&rig, harness_set(&rig, "k", "own", 7), lost[i], 9, 13);
        message(&rig, "k", record_of(12, 6, "older than what was named"));
        get(&rig, "k");
        assert_null(find(&rig, FX_READ_DONE));
        message(&rig, "k", record_of(13, 9, "named"));
        harness_hit(&rig, "k", "named", 9);
        rig.now += 500 * MS; /* the deadline of the read that was left waiting */
        tick(&rig);
        harness_close(&rig);
    }
}

static void an_answer_that_names_less_than_the_messages_showed_changes_nothing(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_set(&rig, "k", "own", 4);
    message(&rig, "k", record_of(11, 5, "stored then"));
    message(&rig, "k", record_of(12, 6, "newer"));
    written(&rig, id, SCRIPT_STALE, 5, 11);
    harness_hit(&rig, "k", "newer", 6);
    harness_close(&rig);
}

static void a_seq_that_was_given_out_before_hides_no_own_write(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "old"));
    harness_hit(&rig, "k", "old", 5);
    written(&rig, harness_set(&rig, "k", "own", 6), SCRIPT_ACCEPTED, 6, 3);
    get(&rig, "k");
    assert_null(find(&rig, FX_READ_DONE));
    rig.now += 500 * MS;
    tick(&rig); /* the read's deadline; refused, not old */
    assert_int_equal(want(&rig, FX_READ_DONE)->read_done.outcome, READ_REFUSED);
    harness_close(&rig);
}

static void a_duplicate_stored_below_a_seq_seen_before_is_not_hidden_by_the_cached_copy(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "old"));
    written(&rig, harness_set(&rig, "k", "own", 6), SCRIPT_DUPLICATE, 6, 3); /* another pod stored the same */
    get(&rig, "k");
    assert_null(find(&rig, FX_READ_DONE));
    harness_identified_as(&rig, harness_ask(&rig), epoch_a, 3);
    want(&rig, FX_PROPOSE);
    harness_close(&rig);
}

/* ---- fetches that are overtaken ----------------------------------------------------------------------------- */

static void a_fetch_overtaken_by_a_message_yields_to_it(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_fetch(&rig, "k");
    message(&rig, "k", record_of(11, 5, "newer"));
    fetched(&rig, id, FETCH_RECORD, record_of(9, 4, "older"));
    assert_read(&rig, READ_FRESH, "newer", 5);
    harness_hit(&rig, "k", "newer", 5);
    harness_close(&rig);
}

static void a_fetch_overtaken_by_an_invalidation_is_repeated(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_fetch(&rig, "k");
    harness_invalidate(&rig, "k", 11, 5);
    fetched(&rig, id, FETCH_RECORD, record_of(9, 4, "older"));
    assert_null(find(&rig, FX_READ_DONE));
    id = want(&rig, FX_FETCH)->fetch.id;
    fetched(&rig, id, FETCH_RECORD, record_of(11, 5, "newer"));
    assert_read(&rig, READ_FRESH, "newer", 5);
    harness_close(&rig);
}

static void an_absent_key_overtaken_by_a_message_yields_to_it(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_fetch(&rig, "k");
    message(&rig, "k", record_of(11, 1, "first"));
    rig.seq = 10; /* meta was read before that write */
    fetched(&rig, id, FETCH_ABSENT, (struct record){0});
    assert_read(&rig, READ_FRESH, "first", 1);
    harness_close(&rig);
}

static void a_value_fetched_across_a_gap_is_suspect(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_fetch(&rig, "k");
    message(&rig, "other", record_of(13, 1, "x")); /* 11 and 12 are missing; one of them may be of k */
    rig.seq = 10;
    fetched(&rig, id, FETCH_RECORD, record_of(9, 4, "value"));
    get(&rig, "k");
    assert_true(want(&rig, FX_FETCH)->fetch.header_only);
    harness_close(&rig);
}

static void a_fetch_overtaken_by_an_epoch_is_discarded(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_fetch(&rig, "k");
    uint64_t asked = harness_ask(&rig);
    harness_identified_as(&rig, asked, epoch_b, 20);
    fetched(&rig, id, FETCH_RECORD, record_of(9, 4, "of the old epoch"));
    const struct core_effect *done = find(&rig, FX_READ_DONE);
    assert_true(!done || done->read_done.outcome == READ_REFUSED);
    harness_close(&rig);
}

static void a_record_that_a_clear_covers_is_absent(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    (void)state;

    rig_open(&rig, &config);
    rig.cleared = 9;
    make_ready(&rig);
    fetched(&rig, harness_fetch(&rig, "k"), FETCH_RECORD, record_of(9, 4, "cleared"));
    assert_int_equal(want(&rig, FX_READ_DONE)->read_done.outcome, READ_ABSENT);
    harness_close(&rig);
}

static void a_clear_between_meta_and_record_leaves_nothing_behind_in_the_new_epoch(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_fetch(&rig, "k");
    harness_cleared(&rig, epoch_b);
    fetched(&rig, id, FETCH_RECORD, record_of(11, 1, "of the new epoch")); /* with meta of the old one */
    rig.seq = 11;
    harness_identified_as(&rig, harness_ask(&rig), epoch_b, 11);
    get(&rig, "k");
    assert_null(find(&rig, FX_READ_DONE));
    assert_false(want(&rig, FX_FETCH)->fetch.header_only);
    harness_close(&rig);
}

static void a_reader_that_joins_an_older_fetch_sees_its_own_write(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_fetch(&rig, "k");
    message(&rig, "other", record_of(11, 1, "x"));
    message(&rig, "other", record_of(12, 2, "x"));
    uint64_t write = harness_set(&rig, "k", "own", 6);
    message(&rig, "other", record_of(14, 3, "x")); /* a gap, so that the acknowledgement cannot be cached */
    written(&rig, write, SCRIPT_ACCEPTED, 6, 13);
    get(&rig, "k"); /* joins */
    assert_null(find(&rig, FX_FETCH));
    rig.seq = 10;
    fetched(&rig, id, FETCH_RECORD, record_of(9, 4, "older"));
    assert_null(find(&rig, FX_READ_DONE));
    want(&rig, FX_FETCH);
    harness_close(&rig);
}

/* ---- gaps and heartbeats ------------------------------------------------------------------------------------ */

static void messages_of_a_gap_that_arrive_late_are_not_applied(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(13, 7, "newest"));
    message(&rig, "k", record_of(11, 5, "late"));
    message(&rig, "k", record_of(12, 6, "late too"));
    assert_int_equal(harness_counters(&rig).gaps, 1);
    assert_int_equal(harness_counters(&rig).messages_late, 2);
    harness_hit(&rig, "k", "newest", 7);
    harness_close(&rig);
}

static void a_gap_makes_what_was_cached_before_suspect(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "value"));
    harness_hit(&rig, "k", "value", 5);
    message(&rig, "other", record_of(13, 1, "x"));
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void a_lost_message_is_noticed_by_the_next_heartbeat_and_moves_no_proof(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "value"));
    uint64_t as_of = harness_as_of(&rig);
    rig.seq = 12; /* somebody wrote k; its message is lost */
    pong(&rig, harness_identified(&rig, harness_ask(&rig)));
    assert_int_equal(harness_as_of(&rig), as_of);
    assert_int_equal(harness_counters(&rig).gaps, 1);
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void a_heartbeat_proves_the_moment_it_was_asked_not_the_one_it_was_answered(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    uint64_t id = harness_ask(&rig), asked = rig.now;
    uint64_t nonce = harness_identified(&rig, id);
    rig.now += 20 * MS;
    pong(&rig, nonce);
    assert_int_equal(harness_as_of(&rig), asked);
    harness_close(&rig);
}

static void an_idle_store_is_proven_as_any_other(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "value"));
    for (int i = 0; i < 40; i++)
        heartbeat(&rig);
    harness_hit(&rig, "k", "value", 5);
    assert_int_equal(harness_counters(&rig).gaps, 0);
    harness_close(&rig);
}

static void a_strong_read_does_not_join_a_heartbeat_that_was_asked_before_it(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "value"));
    uint64_t nonce = harness_identified(&rig, harness_ask(&rig));
    rig.now += MS;
    get_with(&rig, "k", (struct read_request){.strong = true});
    assert_null(find(&rig, FX_READ_DONE));
    pong(&rig, nonce);
    assert_null(find(&rig, FX_READ_DONE));
    heartbeat_answered(&rig);
    assert_read(&rig, READ_FRESH, "value", 5);
    harness_close(&rig);
}

static void messages_before_the_first_heartbeat_of_a_subscription_are_not_lost(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    struct core_event subscribed = {.type = EV_SUBSCRIBED};
    (void)state;

    rig_open(&rig, &config);
    link_up(&rig, LINK_DATA);
    identity(&rig, want(&rig, FX_IDENTITY)->identity.id);
    link_up(&rig, LINK_SUBSCRIPTION);
    rig.now += 300 * MS;
    step(&rig, &subscribed);
    uint64_t id = want(&rig, FX_IDENTITY)->identity.id;
    message(&rig, "k", record_of(11, 5, "value"));
    rig.seq = 10; /* meta was read just before that write */
    pong(&rig, harness_identified(&rig, id));
    rig.seq = 11;
    heartbeat(&rig);
    assert_int_equal(harness_counters(&rig).gaps, 0);
    message(&rig, "k", record_of(12, 6, "next"));
    harness_hit(&rig, "k", "next", 6);
    harness_close(&rig);
}

static void nothing_is_current_before_a_heartbeat_sent_after_the_subscription(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    struct core_event subscribed = {.type = EV_SUBSCRIBED};
    (void)state;

    rig_open(&rig, &config);
    link_up(&rig, LINK_DATA);
    uint64_t id = want(&rig, FX_IDENTITY)->identity.id;
    link_up(&rig, LINK_SUBSCRIPTION);
    step(&rig, &subscribed);
    identity(&rig, id); /* asked before the subscription stood: proves nothing of it */
    assert_null(find(&rig, FX_PING));
    assert_int_equal(harness_as_of(&rig), 0);
    harness_close(&rig);
}

static void a_message_repeated_on_a_new_subscription_makes_no_suspect_copy_current(void **state)
{
    struct core_event subscribed = {.type = EV_SUBSCRIBED};
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 1, "old"));
    message(&rig, "other", record_of(13, 1, "value")); /* the one between was of k */
    rig.seq = 13;
    heartbeat(&rig);
    link_down(&rig, LINK_SUBSCRIPTION);
    link_up(&rig, LINK_SUBSCRIPTION);
    step(&rig, &subscribed);
    message(&rig, "k", record_of(11, 1, "old"));
    harness_hit(&rig, "other", "value", 1);
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_own_write_acknowledged_before_its_message_is_served_at_once),
        cmocka_unit_test(an_own_write_acknowledged_after_its_message_changes_nothing),
        cmocka_unit_test(an_acknowledgement_older_than_a_message_does_not_bring_the_older_value_back),
        cmocka_unit_test(an_acknowledgement_newer_than_the_messages_still_on_their_way_hides_them),
        cmocka_unit_test(what_an_answer_says_is_stored_hides_what_is_older),
        cmocka_unit_test(an_answer_that_names_less_than_the_messages_showed_changes_nothing),
        cmocka_unit_test(a_seq_that_was_given_out_before_hides_no_own_write),
        cmocka_unit_test(a_duplicate_stored_below_a_seq_seen_before_is_not_hidden_by_the_cached_copy),
        cmocka_unit_test(a_fetch_overtaken_by_a_message_yields_to_it),
        cmocka_unit_test(a_fetch_overtaken_by_an_invalidation_is_repeated),
        cmocka_unit_test(an_absent_key_overtaken_by_a_message_yields_to_it),
        cmocka_unit_test(a_value_fetched_across_a_gap_is_suspect),
        cmocka_unit_test(a_fetch_overtaken_by_an_epoch_is_discarded),
        cmocka_unit_test(a_record_that_a_clear_covers_is_absent),
        cmocka_unit_test(a_clear_between_meta_and_record_leaves_nothing_behind_in_the_new_epoch),
        cmocka_unit_test(a_reader_that_joins_an_older_fetch_sees_its_own_write),
        cmocka_unit_test(messages_of_a_gap_that_arrive_late_are_not_applied),
        cmocka_unit_test(a_gap_makes_what_was_cached_before_suspect),
        cmocka_unit_test(a_lost_message_is_noticed_by_the_next_heartbeat_and_moves_no_proof),
        cmocka_unit_test(a_heartbeat_proves_the_moment_it_was_asked_not_the_one_it_was_answered),
        cmocka_unit_test(an_idle_store_is_proven_as_any_other),
        cmocka_unit_test(a_strong_read_does_not_join_a_heartbeat_that_was_asked_before_it),
        cmocka_unit_test(messages_before_the_first_heartbeat_of_a_subscription_are_not_lost),
        cmocka_unit_test(nothing_is_current_before_a_heartbeat_sent_after_the_subscription),
        cmocka_unit_test(a_message_repeated_on_a_new_subscription_makes_no_suspect_copy_current),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
