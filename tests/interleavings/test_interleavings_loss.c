/* Schedules in which the store is lost, rolled back or replaced; see test_interleavings.c. */
#include "tests/interleavings/harness.h"

static const char *const history_a = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char *const history_b = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

static struct run_id id_of(const char *text)
{
    struct run_id id = {0};

    snprintf(id.text, sizeof(id.text), "%s", text);
    return id;
}

/* ---- the store is replaced between the commands of a fetch ---------------------------------------------------
 */

/* An answer whose opening meta is the known one. */
static struct core_event answer_to(struct rig *rig, uint64_t id, enum fetch_result result, struct record record)
{
    struct core_event event = {.type = EV_FETCHED};

    event.fetched.id = id;
    event.fetched.meta = event.fetched.closing = meta_now(rig);
    event.fetched.result = result;
    event.fetched.record = record;
    return event;
}

static void an_absence_is_not_believed_if_meta_is_another_one_after_it(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    struct core_event event = answer_to(&rig, harness_fetch(&rig, "k"), FETCH_ABSENT, (struct record){0});
    event.fetched.closing = (struct meta){.state = META_MISSING}; /* flushed after meta was read */
    step(&rig, &event);
    assert_null(find(&rig, FX_READ_DONE));
    harness_close(&rig);
}

static void a_record_is_neither_cached_nor_returned_if_meta_is_another_one_after_it(void **state)
{
    struct rig rig;
    struct core_view view;
    (void)state;

    harness_open(&rig);
    struct core_event event = answer_to(&rig, harness_fetch(&rig, "k"), FETCH_RECORD, record_of(11, 1, "new"));
    strcpy(event.fetched.closing.epoch.text, epoch_b);
    step(&rig, &event);
    assert_null(find(&rig, FX_READ_DONE));
    core_view(rig.core, rig.now, slice_text("k"), &view);
    assert_false(view.cached || view.floor);
    harness_close(&rig);
}

static void a_record_is_not_returned_if_the_store_went_back_after_it(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    rig.seq = 20; /* written by others, not heard of yet */
    struct core_event event = answer_to(&rig, harness_fetch(&rig, "k"), FETCH_RECORD, record_of(18, 1, "lost"));
    event.fetched.closing.seq = 15;
    step(&rig, &event);
    assert_null(find(&rig, FX_READ_DONE));
    harness_close(&rig);
}

static void an_absence_counts_from_the_meta_before_it(void **state)
{
    struct rig rig;
    (void)state;

    harness_open(&rig);
    struct core_event event = answer_to(&rig, harness_fetch(&rig, "k"), FETCH_ABSENT, (struct record){0});
    event.fetched.closing.seq = 11; /* written between the record and the second look at meta */
    message(&rig, "k", record_of(11, 1, "first"));
    step(&rig, &event);
    assert_read(&rig, READ_FRESH, "first", 1);
    harness_close(&rig);
}

/* ---- a rollback inside one server process ------------------------------------------------------------------- */

/* The next heartbeat is answered by the same process with this replication id; meta is `epoch` on `stands_on`. */
static void heartbeat_with_history(struct rig *rig, const char *history, const char *epoch,
                                   struct run_id stands_on)
{
    struct core_event event = {.type = EV_IDENTITY, .identity = {.master = true, .run = run_now()}};

    event.identity.id = want(rig, FX_IDENTITY)->identity.id;
    event.identity.history = id_of(history);
    event.identity.meta = meta_now(rig);
    event.identity.meta.run = stands_on;
    snprintf(event.identity.meta.epoch.text, sizeof(event.identity.meta.epoch.text), "%s", epoch);
    event.identity.store_us = STORE_US + rig->now / NS_PER_US;
    step(rig, &event);
}

static void next_heartbeat(struct rig *rig)
{
    rig->now = core_next_deadline(rig->core);
    tick(rig);
}

/* A pod that knows epoch_a, on run-a with history_a, and has k at version 5. */
static struct run_id open_with_history(struct rig *rig, bool may_write)
{
    struct run_id server = run_now(), history = id_of(history_a), run = run_join(&server, &history);
    struct core_event subscribed = {.type = EV_SUBSCRIBED};
    struct core_config config = config_default();

    config.may_write = may_write;
    rig_open(rig, &config);
    link_up(rig, LINK_DATA);
    heartbeat_with_history(rig, history_a, epoch_a, run);
    link_up(rig, LINK_SUBSCRIPTION);
    rig->now += 300 * MS;
    step(rig, &subscribed);
    heartbeat_with_history(rig, history_a, epoch_a, run);
    pong(rig, want(rig, FX_PING)->ping.nonce);
    message(rig, "k", record_of(11, 5, "old"));
    harness_hit(rig, "k", "old", 5);
    return run;
}

static void another_replication_history_in_the_same_process_ends_the_epoch(void **state)
{
    struct rig rig;
    (void)state;

    struct run_id run = open_with_history(&rig, true);
    next_heartbeat(&rig);
    heartbeat_with_history(&rig, history_b, epoch_a, run);
    const struct core_effect *propose = want(&rig, FX_PROPOSE);
    struct run_id server = run_now(), history = id_of(history_b), renewed = run_join(&server, &history);
    assert_true(run_id_equal(&propose->propose.run, &renewed));
    assert_true(run_id_equal(&propose->propose.seen.run, &run));
    get(&rig, "k"); /* nothing of the old epoch from this moment on */
    assert_null(find(&rig, FX_READ_DONE));
    harness_close(&rig);
}

static void an_epoch_that_another_pod_has_renewed_is_not_renewed_again(void **state)
{
    struct rig rig;
    struct run_id server = run_now(), history = id_of(history_b), renewed = run_join(&server, &history);
    (void)state;

    open_with_history(&rig, true);
    for (int i = 0; i < 3; i++) {
        next_heartbeat(&rig);
        heartbeat_with_history(&rig, history_b, epoch_b, renewed);
        assert_null(find(&rig, FX_PROPOSE));
        pong(&rig, want(&rig, FX_PING)->ping.nonce);
    }
    assert_int_equal(harness_counters(&rig).epochs, 2);
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void a_reader_drops_what_it_has_when_the_replication_history_changes(void **state)
{
    struct rig rig;
    (void)state;

    struct run_id run = open_with_history(&rig, false);
    next_heartbeat(&rig);
    heartbeat_with_history(&rig, history_b, epoch_a, run);
    assert_null(find(&rig, FX_PROPOSE));
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

/* ---- messages while no epoch is valid ----------------------------------------------------------------------- */

/* The reader's meta still stands on the history that is over: nothing may be committed under it. */
static void a_message_while_meta_stands_on_another_run_is_not_cached(void **state)
{
    struct rig rig;
    (void)state;

    struct run_id run = open_with_history(&rig, false);
    next_heartbeat(&rig);
    heartbeat_with_history(&rig, history_b, epoch_a, run);
    pong(&rig, want(&rig, FX_PING)->ping.nonce);
    message(&rig, "k", record_of(12, 6, "of no epoch"));
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

static void a_message_while_meta_stands_on_another_run_removes_what_it_overtakes(void **state)
{
    struct rig rig;
    (void)state;

    struct run_id run = open_with_history(&rig, false);
    next_heartbeat(&rig);
    heartbeat_with_history(&rig, history_b, epoch_a, run);
    pong(&rig, want(&rig, FX_PING)->ping.nonce);
    uint64_t id = harness_fetch(&rig, "k");
    struct core_event event = answer_to(&rig, id, FETCH_RECORD, record_of(9, 4, "stored"));
    event.fetched.meta.run = event.fetched.closing.run = run;
    step(&rig, &event);
    harness_hit(&rig, "k", "stored", 4);
    message(&rig, "k", record_of(12, 6, "of no epoch"));
    harness_no_hit(&rig, "k");
    harness_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absence_is_not_believed_if_meta_is_another_one_after_it),
        cmocka_unit_test(a_record_is_neither_cached_nor_returned_if_meta_is_another_one_after_it),
        cmocka_unit_test(a_record_is_not_returned_if_the_store_went_back_after_it),
        cmocka_unit_test(an_absence_counts_from_the_meta_before_it),
        cmocka_unit_test(another_replication_history_in_the_same_process_ends_the_epoch),
        cmocka_unit_test(an_epoch_that_another_pod_has_renewed_is_not_renewed_again),
        cmocka_unit_test(a_reader_drops_what_it_has_when_the_replication_history_changes),
        cmocka_unit_test(a_message_while_meta_stands_on_another_run_is_not_cached),
        cmocka_unit_test(a_message_while_meta_stands_on_another_run_removes_what_it_overtakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
