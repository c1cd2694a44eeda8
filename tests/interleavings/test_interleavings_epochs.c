/* Schedules around the end of an epoch, two servers, expiry and forgotten floors; see test_interleavings.c. */
#include "tests/interleavings/harness.h"

/* ---- epochs and servers ------------------------------------------------------------------------------------- */

static void a_deleted_meta_and_many_writes_within_one_heartbeat_are_noticed(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "old epoch"));
    for (uint64_t seq = 1; seq <= 50; seq++)
        harness_message_of(&rig, epoch_b, "k", record_of(seq, seq, "new epoch"));
    harness_hit(&rig, "k", "old epoch", 5); /* within the lease */
    harness_identified_as(&rig, harness_ask(&rig), epoch_b, 50);
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void a_seq_that_went_back_ends_the_epoch(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "value"));
    harness_identified_as(&rig, harness_ask(&rig), epoch_a, 4);
    assert_non_null(find(&rig, FX_PROPOSE));
    get(&rig, "k");
    const struct core_effect *done = find(&rig, FX_READ_DONE);
    assert_true(!done || done->read_done.outcome != READ_FRESH || done->read_done.as_of < rig.now);
    harness_close(&rig);
}

/* Reads go on by asking Redis each time. What such an answer has brought is no hit: the next flush shows nowhere.
 */
static void without_meta_nothing_is_a_hit(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    struct core_event beat = {.type = EV_IDENTITY,
                              .identity = {.master = true, .run = run_now(), .meta = {.state = META_MISSING}}};
    struct core_event event = {.type = EV_FETCHED,
                               .fetched = {.result = FETCH_RECORD, .record = record_of(9, 4, "v")}};
    struct core_status status;
    (void)state;

    config.may_write = false;
    rig_open(&rig, &config);
    make_ready(&rig);
    beat.identity.id = harness_ask(&rig);
    step(&rig, &beat);
    assert_null(find(&rig, FX_PING));
    event.fetched.meta = event.fetched.closing = (struct meta){.state = META_MISSING};
    for (int i = 0; i < 2; i++) {
        event.fetched.id = harness_no_hit(&rig, "k");
        step(&rig, &event);
        assert_int_equal(want(&rig, FX_READ_DONE)->read_done.outcome, READ_FRESH);
        rig.now += MS;
    }
    core_get_status(rig.core, rig.now, &status);
    assert_false(status.ready);
    assert_int_equal(status.reason, REASON_NO_EPOCH);
    harness_close(&rig);
}

/* A pod that may not set the next epoch reads on. Whatever else is wrong with meta: what it says to be cleared is.
 */
static void what_was_cleared_stays_absent_while_meta_is_unreadable(void **state)
{
    static const enum meta_state lost[] = {META_MISSING, META_INVALID};
    (void)state;

    for (unsigned i = 0; i < 2; i++) {
        struct rig rig;
        struct core_config config = config_default();
        struct core_event beat = {
            .type = EV_IDENTITY,
            .identity = {.master = true, .run = run_now(), .meta = {.state = lost[i], .cleared = 7}}};
        struct core_event event = {.type = EV_FETCHED,
                                   .fetched = {.result = FETCH_RECORD, .record = record_of(6, 6, "cleared")}};

        config.may_write = false;
        rig_open(&rig, &config);
        rig.cleared = 7;
        make_ready(&rig);
        event.fetched.meta = event.fetched.closing = beat.identity.meta;
        beat.identity.id = harness_ask(&rig);
        step(&rig, &beat);
        event.fetched.id = harness_no_hit(&rig, "k");
        step(&rig, &event);
        assert_read(&rig, READ_ABSENT, NULL, 0);
        event.fetched.record = record_of(8, 8, "written since");
        rig.now += MS;
        event.fetched.id = harness_no_hit(&rig, "k");
        step(&rig, &event);
        assert_read(&rig, READ_FRESH, "written since", 8);
        harness_close(&rig);
    }
}

/* What was cleared must not come back because somebody deleted meta, or put it back by hand. */
static void a_clear_that_was_lost_with_meta_is_kept(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    struct core_event event = {.type = EV_IDENTITY, .identity = {.master = true, .run = run_now()}};
    (void)state;

    rig_open(&rig, &config);
    rig.cleared = 7;
    make_ready(&rig);
    event.identity.id = harness_ask(&rig);
    event.identity.meta.state = META_MISSING;
    step(&rig, &event);
    assert_int_equal(want(&rig, FX_PROPOSE)->propose.min_cleared, 7);
    harness_close(&rig);
}

static void a_clear_that_meta_has_forgotten_ends_the_epoch_and_is_kept(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    (void)state;

    rig_open(&rig, &config);
    rig.cleared = 7;
    make_ready(&rig);
    rig.cleared = 0;
    get(&rig, "k");
    uint64_t fetch = want(&rig, FX_FETCH)->fetch.id;
    fetched(&rig, fetch, FETCH_RECORD, record_of(6, 6, "cleared"));
    assert_null(find(&rig, FX_READ_DONE));
    harness_identified_as(&rig, harness_ask(&rig), epoch_a, 10);
    assert_int_equal(want(&rig, FX_PROPOSE)->propose.min_cleared, 7);
    harness_close(&rig);
}

/* Connects `newer` to another server than the one the first is on; the first has to be made again, and no more. */
static void connect_elsewhere(enum core_link newer)
{
    struct rig rig;
    struct core_config config = config_default();
    struct core_event event = {.type = EV_LINK_UP, .link_up = {.link = newer, .master = true}};
    unsigned resets = 0;

    rig_open(&rig, &config);
    link_up(&rig, newer == LINK_DATA ? LINK_SUBSCRIPTION : LINK_DATA);
    strcpy(event.link_up.run.text, "run-b");
    step(&rig, &event);
    for (unsigned i = 0; i < rig.count; i++)
        resets += rig.effects[i].type == FX_RESET;
    assert_int_equal(resets, 1);
    assert_int_equal(want(&rig, FX_RESET)->reset.link, newer == LINK_DATA ? LINK_SUBSCRIPTION : LINK_DATA);
    assert_null(find(&rig, FX_SUBSCRIBE));
    rig_close(&rig);
}

static void of_two_connections_on_two_servers_the_older_is_made_again(void **state)
{
    (void)state;
    connect_elsewhere(LINK_DATA);
    connect_elsewhere(LINK_SUBSCRIPTION);
}

static void nothing_is_a_hit_any_more_once_the_server_was_seen_demoted(void **state)
{
    struct rig rig;
    struct core_event event = {.type = EV_IDENTITY, .identity = {.run = run_now()}};
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "of the old primary"));
    harness_hit(&rig, "k", "of the old primary", 5);
    event.identity.id = harness_ask(&rig);
    event.identity.meta = meta_now(&rig);
    step(&rig, &event);
    want(&rig, FX_RESET);
    get(&rig, "k"); /* well within the lease */
    assert_null(find(&rig, FX_READ_DONE));
    assert_int_equal(harness_as_of(&rig), 0);
    harness_close(&rig);
}

/* ---- expiry, floors ----------------------------------------------------------------------------------------- */

static void a_lower_version_after_an_expiry_is_served(void **state)
{
    struct rig rig;
    struct core_event event = {.type = EV_MESSAGE, .message = {.key = slice_text("k"), .ttl_ms = TTL_MS}};
    (void)state;

    harness_open(&rig);
    strcpy(event.message.epoch.text, epoch_a);
    event.message.record = record_of(11, 9, "short-lived");
    rig.seq = 11;
    step(&rig, &event);
    rig.now += 2 * TTL_MS * MS;
    fetched(&rig, harness_no_hit(&rig, "k"), FETCH_ABSENT, (struct record){0});
    assert_int_equal(want(&rig, FX_READ_DONE)->read_done.outcome, READ_ABSENT);
    message(&rig, "k", record_of(12, 1, "begins again"));
    harness_hit(&rig, "k", "begins again", 1);
    harness_close(&rig);
}

static void raising_a_floor_removes_the_cached_entry_below_it(void **state)
{
    struct rig rig;
    struct core_view view;
    (void)state;

    harness_open(&rig);
    message(&rig, "k", record_of(11, 5, "value"));
    harness_invalidate(&rig, "k", 12, 6);
    core_view(rig.core, rig.now, slice_text("k"), &view);
    assert_false(view.cached);
    assert_int_equal(view.floor_version, 6);
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void a_forgotten_floor_brings_nothing_older_back(void **state)
{
    struct rig rig;
    (void)state;

    harness_open_small(&rig, 1);
    message(&rig, "k", record_of(11, 5, "value"));
    harness_invalidate(&rig, "k", 12, 6);
    message(&rig, "other", record_of(13, 1, "x")); /* the only floor is now of another key */
    message(&rig, "k", record_of(11, 5, "value")); /* again */
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void messages_older_than_a_forgotten_own_write_do_not_hide_it(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    (void)state;

    config.max_floors = 1;
    config.max_entries = 1;
    rig_open(&rig, &config);
    make_ready(&rig);
    written(&rig, harness_set(&rig, "k", "own", 7), SCRIPT_ACCEPTED, 7, 13);
    written(&rig, harness_set(&rig, "other", "x", 1), SCRIPT_ACCEPTED, 1, 14); /* takes the only places */
    message(&rig, "k", record_of(11, 5, "older"));
    message(&rig, "k", record_of(12, 6, "older too"));
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void an_acknowledgement_later_than_a_forgotten_message_brings_nothing_older_back(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    (void)state;

    config.max_floors = 1;
    config.max_entries = 1;
    rig_open(&rig, &config);
    make_ready(&rig);
    uint64_t id = harness_set(&rig, "k", "own", 5);
    message(&rig, "k", record_of(11, 5, "own"));
    message(&rig, "k", record_of(12, 6, "newer"));
    message(&rig, "other", record_of(13, 1, "x")); /* takes the only places */
    written(&rig, id, SCRIPT_ACCEPTED, 5, 11);
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void an_acknowledgement_later_than_a_message_forgotten_while_subscribing_brings_nothing_older_back(
    void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    struct core_event subscribed = {.type = EV_SUBSCRIBED};
    (void)state;

    config.max_floors = 1;
    config.max_entries = 1;
    rig_open(&rig, &config);
    make_ready(&rig);
    link_down(&rig, LINK_SUBSCRIPTION);
    uint64_t id = harness_set(&rig, "k", "own", 5);
    link_up(&rig, LINK_SUBSCRIPTION);
    step(&rig, &subscribed); /* no heartbeat since: `last` stays */
    message(&rig, "k", record_of(11, 5, "own"));
    message(&rig, "k", record_of(12, 6, "newer"));
    message(&rig, "other", record_of(13, 1, "x")); /* takes the only places */
    written(&rig, id, SCRIPT_ACCEPTED, 5, 11);
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void no_tick_is_due_in_the_past_while_a_failed_probe_cannot_start(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    (void)state;

    config.probe = true;
    rig_open(&rig, &config);
    make_ready(&rig);
    rig.now += 3000 * MS; /* the probe is not answered */
    tick(&rig);
    uint64_t id = want(&rig, FX_IDENTITY)->identity.id;
    link_down(&rig, LINK_SUBSCRIPTION);
    for (int i = 0; i < 20; i++) { /* long after the probe is to be tried again */
        identity(&rig, id);
        id = harness_ask(&rig);
    }
    identity(&rig, id);
    assert_true(core_next_deadline(rig.core) > rig.now);
    harness_close(&rig);
}

/* A network that loses the message loses it for good: writes must not be refused for ever. */
static void a_probe_whose_message_was_lost_is_tried_again(void **state)
{
    struct rig rig;
    struct core_config config = config_default();
    struct core_status status;
    (void)state;

    config.probe = true;
    rig_open(&rig, &config);
    make_ready(&rig);
    uint64_t write = want(&rig, FX_WRITE)->write.id;
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_ABSENT, record_of(0, 0, ""));
    written(&rig, write, SCRIPT_ACCEPTED, 11, 11);
    assert_true(core_next_deadline(rig.core) <= rig.now + config.bound_ns);
    uint64_t lost_at = rig.now += config.bound_ns;
    tick(&rig);
    core_get_status(rig.core, rig.now, &status);
    assert_string_equal(status.writes_text, "the message of the probe did not come back");
    while (!find(&rig, FX_WRITE)) {
        assert_true(rig.now < lost_at + 2000 * MS);
        rig.now = core_next_deadline(rig.core);
        tick(&rig);
        if (find(&rig, FX_IDENTITY))
            heartbeat_answered(&rig);
    }
    assert_true(want(&rig, FX_WRITE)->write.id != write);
    harness_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deleted_meta_and_many_writes_within_one_heartbeat_are_noticed),
        cmocka_unit_test(a_seq_that_went_back_ends_the_epoch),
        cmocka_unit_test(without_meta_nothing_is_a_hit),
        cmocka_unit_test(what_was_cleared_stays_absent_while_meta_is_unreadable),
        cmocka_unit_test(a_clear_that_was_lost_with_meta_is_kept),
        cmocka_unit_test(a_clear_that_meta_has_forgotten_ends_the_epoch_and_is_kept),
        cmocka_unit_test(of_two_connections_on_two_servers_the_older_is_made_again),
        cmocka_unit_test(nothing_is_a_hit_any_more_once_the_server_was_seen_demoted),
        cmocka_unit_test(a_lower_version_after_an_expiry_is_served),
        cmocka_unit_test(raising_a_floor_removes_the_cached_entry_below_it),
        cmocka_unit_test(a_forgotten_floor_brings_nothing_older_back),
        cmocka_unit_test(messages_older_than_a_forgotten_own_write_do_not_hide_it),
        cmocka_unit_test(an_acknowledgement_later_than_a_forgotten_message_brings_nothing_older_back),
        cmocka_unit_test(
            an_acknowledgement_later_than_a_message_forgotten_while_subscribing_brings_nothing_older_back),
        cmocka_unit_test(no_tick_is_due_in_the_past_while_a_failed_probe_cannot_start),
        cmocka_unit_test(a_probe_whose_message_was_lost_is_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
