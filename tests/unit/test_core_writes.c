/* How writes end, the probe of the write path, and the sets of reader pods. The order of things is tested in
 * tests/interleavings. */
#include "tests/unit/core_rig.h"

/* ---- writes
 * ----------------------------------------------------------------------------------------------------- */

static void an_acknowledged_write_is_served_from_the_cache(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    set_with(&rig, "k", "one", (struct write_request){.version = 1});
    uint64_t id = want(&rig, FX_WRITE)->write.id;
    get(&rig, "k");
    uint64_t flight = want(&rig, FX_FETCH)->fetch.id;
    fetched(&rig, flight, FETCH_ABSENT, record_of(0, 0, ""));
    assert_read(&rig, READ_ABSENT, NULL, 0);
    written(&rig, id, SCRIPT_ACCEPTED, 1, 11);
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.outcome, WRITE_ACCEPTED);
    get(&rig, "k");
    assert_read(&rig, READ_FRESH, "one", 1);
    written(&rig, id, SCRIPT_ACCEPTED, 1, 11); /* no request has this id any more */
    assert_null(find(&rig, FX_WRITE_DONE));
    rig_close(&rig);
}

static void a_write_that_was_never_sent_is_refused_at_its_deadline(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    tick(&rig);
    set_with(&rig, "k", "one", (struct write_request){.version = 1});
    assert_null(find(&rig, FX_WRITE));
    rig.now += 500 * MS;
    tick(&rig);
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.outcome, WRITE_REFUSED);
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.reason, REASON_NO_LINK);
    rig_close(&rig);
}

static void a_lost_answer_is_indeterminate_but_only_after_the_deadline(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    set_with(&rig, "k", "one", (struct write_request){.version = 1});
    want(&rig, FX_WRITE);
    rig.now += 100 * MS;
    link_down(&rig, LINK_DATA);
    assert_null(find(&rig, FX_WRITE_DONE));
    rig.now += 399 * MS;
    tick(&rig);
    assert_null(find(&rig, FX_WRITE_DONE));
    rig.now += MS;
    tick(&rig);
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.outcome, WRITE_INDETERMINATE);
    rig_close(&rig);
}

static void a_write_with_the_wrong_epoch_is_sent_again_after_meta_was_read(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    set_with(&rig, "k", "one", (struct write_request){.version = 1});
    uint64_t id = want(&rig, FX_WRITE)->write.id;
    rig.now += 100 * MS;
    written(&rig, id, SCRIPT_WRONG_EPOCH, 0, 0);
    assert_null(find(&rig, FX_WRITE));
    identity(&rig, want(&rig, FX_IDENTITY)->identity.id);
    assert_int_equal(want(&rig, FX_WRITE)->write.id, id);
    written(&rig, id, SCRIPT_ACCEPTED, 1, 11);
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.outcome, WRITE_ACCEPTED);
    get(&rig, "k");
    assert_read(&rig, READ_FRESH, "one", 1);
    rig_close(&rig);
}

static void the_deadline_in_store_time_is_never_later_than_the_callers(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    set_with(&rig, "k", "one", (struct write_request){.version = 1});
    uint64_t deadline = rig.now + 500 * MS;
    assert_true(want(&rig, FX_WRITE)->write.deadline_store_us <= STORE_US + deadline / NS_PER_US);
    assert_true(want(&rig, FX_WRITE)->write.deadline_store_us + 1000 >= STORE_US + deadline / NS_PER_US);
    rig_close(&rig);
}

static void writes_wait_until_the_right_to_write_is_proven(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    struct core_status status;
    config.probe = true;
    rig_open(&rig, &config);
    make_ready(&rig);
    const struct core_effect *probe = want(&rig, FX_WRITE);
    struct write_request request = *probe->write.request;
    uint64_t probe_id = probe->write.id, inspect_id = want(&rig, FX_FETCH)->fetch.id;
    assert_true(slice_has_prefix(request.key, slice_text(CORE_RESERVED_PREFIX)));

    set_with(&rig, "k", "one", (struct write_request){.version = 1});
    assert_null(find(&rig, FX_WRITE));
    fetched(&rig, inspect_id, FETCH_ABSENT, record_of(0, 0, ""));
    struct record echo = record_of(11, 11, NULL);
    memcpy(echo.write_id, request.write_id, sizeof(echo.write_id));
    message(&rig, "!dcached:probe:pod-a", echo);
    assert_null(find(&rig, FX_WRITE));
    written(&rig, probe_id, SCRIPT_ACCEPTED, 11, 11);
    want(&rig, FX_WRITE);
    core_get_status(rig.core, rig.now, &status);
    assert_true(status.writes_ok);
    rig_close(&rig);
}

static void a_refused_probe_is_said_and_refuses_writes(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    struct core_status status;
    config.probe = true;
    rig_open(&rig, &config);
    make_ready(&rig);
    struct core_event event = {
        .type = EV_WRITTEN,
        .written = {.id = want(&rig, FX_WRITE)->write.id, .status = REPLY_DEFINITE, .text = slice_text("NOPERM")}};
    step(&rig, &event);
    core_get_status(rig.core, rig.now, &status);
    assert_false(status.writes_ok);
    assert_string_equal(status.writes_text, "no right to write: NOPERM");
    rig_close(&rig);
}

static void a_probe_that_went_with_its_connection_is_repeated_as_soon_as_there_is_another(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    struct core_status status;
    config.probe = true;
    rig_open(&rig, &config);
    make_ready(&rig);
    want(&rig, FX_WRITE);
    rig.now += 10 * MS;
    link_down(&rig, LINK_DATA);
    rig.now += 10 * MS;
    link_up(&rig, LINK_DATA);
    identity(&rig, want(&rig, FX_IDENTITY)->identity.id);
    want(&rig, FX_WRITE);
    core_get_status(rig.core, rig.now, &status);
    assert_string_equal(status.writes_text, "");
    rig_close(&rig);
}

/* The start-up probe passes; answers what it asks. */
static void prove_writes(struct rig *rig)
{
    const struct core_effect *probe = want(rig, FX_WRITE);
    struct write_request request = *probe->write.request;
    struct record echo = record_of(rig->seq + 1, rig->seq + 1, NULL);
    uint64_t id = probe->write.id, inspect_id = want(rig, FX_FETCH)->fetch.id;

    memcpy(echo.write_id, request.write_id, sizeof(echo.write_id));
    fetched(rig, inspect_id, FETCH_ABSENT, record_of(0, 0, ""));
    message(rig, "!dcached:probe:pod-a", echo);
    rig->seq++;
    written(rig, id, SCRIPT_ACCEPTED, rig->seq, rig->seq);
}

static void refuse_write(struct rig *rig, uint64_t id)
{
    struct core_event event = {.type = EV_WRITTEN,
                               .written = {.id = id, .status = REPLY_DEFINITE, .text = slice_text("NOPERM")}};
    step(rig, &event);
}

static void a_right_that_is_withdrawn_is_said_until_it_is_back_and_refuses_nothing_itself(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    struct core_status status;
    config.probe = true;
    rig_open(&rig, &config);
    make_ready(&rig);
    prove_writes(&rig);
    rig.now += 1000 * MS;
    set_with(&rig, "k", "one", (struct write_request){.version = 1});
    refuse_write(&rig, want(&rig, FX_WRITE)->write.id);
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.outcome, WRITE_ERROR);
    uint64_t probe = want(&rig, FX_WRITE)->write.id;
    core_get_status(rig.core, rig.now, &status);
    assert_true(status.writes_ok);
    refuse_write(&rig, probe);
    core_get_status(rig.core, rig.now, &status);
    assert_false(status.writes_ok);
    assert_string_equal(status.writes_text, "no right to write: NOPERM");
    set_with(&rig, "k", "two", (struct write_request){.version = 2});
    want(&rig, FX_WRITE);
    while (!find(&rig, FX_FETCH)) { /* until it is tried again */
        rig.now = core_next_deadline(rig.core);
        tick(&rig);
        if (find(&rig, FX_IDENTITY))
            heartbeat_answered(&rig);
    }
    prove_writes(&rig);
    core_get_status(rig.core, rig.now, &status);
    assert_true(status.writes_ok);
    rig_close(&rig);
}

static void after_a_clear_nothing_is_said_of_links(void **state)
{
    (void)state;
    struct rig rig;
    struct core_status status;
    struct core_config config = config_default();
    rig_open(&rig, &config);
    make_ready(&rig);
    struct core_event event = {.type = EV_WRITE,
                               .write = {.token = 7, .op = OP_CLEAR, .deadline = rig.now + 500 * MS}};
    step(&rig, &event);
    event = (struct core_event){
        .type = EV_WRITTEN,
        .written = {.id = want(&rig, FX_WRITE)->write.id, .result = SCRIPT_CLEARED, .seq = rig.seq}};
    memset(event.written.epoch.text, 'f', strlen(epoch_a));
    step(&rig, &event);
    core_get_status(rig.core, rig.now, &status);
    assert_false(status.ready);
    assert_string_equal(status.reason_text, "an epoch of the store has just begun; the next heartbeat proves it");
    rig_close(&rig);
}

static void writes_without_a_link_are_said_to_be_impossible_and_why(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct core_status status;
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    core_get_status(rig.core, rig.now, &status);
    assert_true(status.writes_ok);
    link_down(&rig, LINK_DATA);
    core_get_status(rig.core, rig.now, &status);
    assert_false(status.writes_ok);
    assert_string_equal(status.writes_text, "no usable connection to Redis");
    rig_close(&rig);
}

/* ---- reader pods
 * ------------------------------------------------------------------------------------------------ */

static struct core_config config_reader(void)
{
    struct core_config config = config_default();
    config.may_write = false;
    return config;
}

static enum write_outcome set_local(struct rig *rig, const char *value, uint64_t version)
{
    set_with(rig, "k", value, (struct write_request){.version = version});
    assert_null(find(rig, FX_WRITE));
    return want(rig, FX_WRITE_DONE)->write_done.outcome;
}

static void a_readers_set_stays_local_and_yields_to_committed_news(void **state)
{
    (void)state;
    struct core_config config = config_reader();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 5, "five"));
    assert_int_equal(set_local(&rig, "four", 4), WRITE_STALE);
    assert_int_equal(set_local(&rig, "other", 5), WRITE_CONFLICT);
    assert_int_equal(set_local(&rig, "five", 5), WRITE_DUPLICATE);
    assert_int_equal(set_local(&rig, "nine", 9), WRITE_LOCAL);
    assert_int_equal(set_local(&rig, "other", 9), WRITE_CONFLICT);
    get(&rig, "k");
    assert_read(&rig, READ_LOCAL, "nine", 9);
    get_with(&rig, "k", (struct read_request){.strong = true});
    want(&rig, FX_FETCH);
    message(&rig, "k", record_of(12, 6, "six"));
    get(&rig, "k");
    assert_read(&rig, READ_FRESH, "six", 6);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_local_set_is_never_called_stored_however_often(void **state)
{
    (void)state;
    struct core_config config = config_reader();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    assert_int_equal(set_local(&rig, "nine", 9), WRITE_LOCAL);
    assert_int_equal(set_local(&rig, "nine", 9), WRITE_LOCAL);
    assert_truth(&rig);
    rig_close(&rig);
}

/* A floor alone: the version is known, the value is not, so it can be called neither the same nor another. */
static void a_local_set_at_a_version_whose_value_is_not_here_is_refused(void **state)
{
    (void)state;
    struct core_config config = config_reader();
    struct rig rig;
    config.max_value = 4;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 5, "does not fit"));
    assert_int_equal(set_local(&rig, "five", 5), WRITE_REFUSED);
    assert_int_equal(find(&rig, FX_WRITE_DONE)->write_done.reason, REASON_READER);
    assert_int_equal(set_local(&rig, "four", 4), WRITE_STALE);
    assert_int_equal(set_local(&rig, "six", 6), WRITE_LOCAL);
    assert_truth(&rig);
    rig_close(&rig);
}

static void a_reader_may_not_delete_clear_or_set_without_a_version(void **state)
{
    (void)state;
    struct core_config config = config_reader();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    assert_int_equal(set_local(&rig, "x", 0), WRITE_REFUSED);
    set_with(&rig, "k", "", (struct write_request){.op = OP_DELETE, .version = 3});
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.reason, REASON_READER);
    set_with(&rig, "", "", (struct write_request){.op = OP_CLEAR});
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.reason, REASON_READER);
    rig_close(&rig);
}

static void a_local_set_goes_at_a_new_generation(void **state)
{
    (void)state;
    struct core_config config = config_reader();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    assert_int_equal(set_local(&rig, "nine", 9), WRITE_LOCAL);
    message(&rig, "other", record_of(13, 1, "gap"));
    get(&rig, "k");
    want(&rig, FX_FETCH);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledged_write_is_served_from_the_cache),
        cmocka_unit_test(a_write_that_was_never_sent_is_refused_at_its_deadline),
        cmocka_unit_test(a_lost_answer_is_indeterminate_but_only_after_the_deadline),
        cmocka_unit_test(a_write_with_the_wrong_epoch_is_sent_again_after_meta_was_read),
        cmocka_unit_test(the_deadline_in_store_time_is_never_later_than_the_callers),
        cmocka_unit_test(writes_wait_until_the_right_to_write_is_proven),
        cmocka_unit_test(a_refused_probe_is_said_and_refuses_writes),
        cmocka_unit_test(a_probe_that_went_with_its_connection_is_repeated_as_soon_as_there_is_another),
        cmocka_unit_test(after_a_clear_nothing_is_said_of_links),
        cmocka_unit_test(a_right_that_is_withdrawn_is_said_until_it_is_back_and_refuses_nothing_itself),
        cmocka_unit_test(a_readers_set_stays_local_and_yields_to_committed_news),
        cmocka_unit_test(writes_without_a_link_are_said_to_be_impossible_and_why),
        cmocka_unit_test(a_local_set_is_never_called_stored_however_often),
        cmocka_unit_test(a_local_set_at_a_version_whose_value_is_not_here_is_refused),
        cmocka_unit_test(a_reader_may_not_delete_clear_or_set_without_a_version),
        cmocka_unit_test(a_local_set_goes_at_a_new_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
