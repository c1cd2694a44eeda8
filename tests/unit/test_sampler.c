/* The sampler in virtual time: what it asks, when it looks again, and what it calls an inconsistency. */
#include "tests/unit/core_rig.h"

#include "daemon/core/sampler.h"
#include "daemon/core/trace.h"

#define ROUND (10 * MS) /* between two rounds */

static void rig_open_sampling(struct rig *rig, struct core_config config)
{
    config.sampler_interval_ns = ROUND;
    config.sampler_samples = 1;
    config.trace_events = 100;
    config.max_entries = 1000; /* a small index: every pick meets something */
    rig_open(rig, &config);
    make_ready(rig);
}

static struct core_counters counters(const struct rig *rig)
{
    struct core_counters c;
    core_get_counters(rig->core, &c);
    return c;
}

/* Time passes, with the heartbeats that fall into it, until the sampler asks. Its id, or 0: it did not. */
static uint64_t until_asked(struct rig *rig, uint64_t ns)
{
    uint64_t end = rig->now + ns;
    while (core_next_deadline(rig->core) <= end) {
        if (core_next_deadline(rig->core) > rig->now)
            rig->now = core_next_deadline(rig->core);
        tick(rig);
        const struct core_effect *fetch = find(rig, FX_FETCH);
        uint64_t id = fetch ? fetch->fetch.id : 0;
        if (fetch)
            assert_true(fetch->fetch.header_only);
        if (find(rig, FX_IDENTITY))
            heartbeat_answered(rig);
        if (id)
            return id;
    }
    rig->now = end;
    tick(rig);
    return 0;
}

static struct record header_of(uint64_t seq, uint64_t version)
{
    struct record record = record_of(seq, version, "");
    return record;
}

/* Answers everything it asks with this record for so long. */
static void answer_for(struct rig *rig, uint64_t ns, enum fetch_result result, struct record record)
{
    uint64_t end = rig->now + ns, id;
    while (rig->now < end && (id = until_asked(rig, end - rig->now)))
        fetched(rig, id, result, record);
}

static void it_compares_a_cached_entry_with_the_header_in_redis_and_counts_no_read(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    assert_int_equal(until_asked(&rig, 5 * ROUND), 0); /* nothing is cached */
    message(&rig, "k", record_of(11, 4, "four"));
    answer_for(&rig, 10 * ROUND, FETCH_RECORD, header_of(11, 4));
    struct core_counters c = counters(&rig);
    assert_in_range(c.verify_checked, 8, 11);
    assert_int_equal(c.verify_differs, 0);
    assert_int_equal(c.reads + c.hits + c.misses + c.fetches + c.confirms, 0);
    rig_close(&rig);
}

static void a_difference_that_its_message_explains_is_no_inconsistency(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    message(&rig, "k", record_of(11, 4, "four"));
    fetched(&rig, until_asked(&rig, 5 * ROUND), FETCH_RECORD, header_of(12, 5));
    assert_int_equal(counters(&rig).verify_differs, 1);
    message(&rig, "k", record_of(12, 5, "five"));
    answer_for(&rig, 2 * D, FETCH_RECORD, header_of(12, 5));
    assert_int_equal(counters(&rig).verify_differs, 1);
    assert_int_equal(counters(&rig).verify_differs_bound, 0);
    get(&rig, "k");
    assert_read(&rig, READ_FRESH, "five", 5);
    rig_close(&rig);
}

static void what_a_clear_or_a_new_epoch_overtook_is_no_difference(void **state)
{
    (void)state;
    struct rig rig;
    struct core_event event = {.type = EV_FETCHED};
    rig_open_sampling(&rig, config_default());
    message(&rig, "k", record_of(11, 4, "four"));
    event.fetched.id = until_asked(&rig, 5 * ROUND);
    event.fetched.meta = event.fetched.closing = meta_now(&rig);
    memset(event.fetched.closing.epoch.text, 'f', strlen(epoch_a));
    event.fetched.result = FETCH_ABSENT;
    step(&rig, &event);
    assert_int_equal(counters(&rig).verify_differs, 0);
    rig_close(&rig);
}

/* From the first look to the second: the entry that is cached at seq 11 is answered with this. */
static void differ_past_the_bound(struct rig *rig, enum fetch_result result, struct record record)
{
    message(rig, "k", record_of(11, 4, "four"));
    answer_for(rig, D - ROUND, result, record);
    assert_int_equal(counters(rig).verify_differs_bound, 0);
    answer_for(rig, 5 * ROUND, result, record);
}

static void a_key_that_waits_for_its_second_look_is_not_picked_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    message(&rig, "k", record_of(11, 4, "four"));
    fetched(&rig, until_asked(&rig, 5 * ROUND), FETCH_RECORD, header_of(12, 5));
    assert_int_equal(until_asked(&rig, D - 5 * ROUND), 0);
    assert_int_equal(counters(&rig).verify_differs, 1);
    rig_close(&rig);
}

static void what_still_differs_after_the_bound_is_counted_told_and_dropped(void **state)
{
    (void)state;
    struct trace_record records[100];
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    message(&rig, "k", record_of(11, 4, "four"));
    uint64_t begin = rig.now, id;
    /* The entry is what a plain read is given until then: that is what makes it an inconsistency. */
    while (counters(&rig).verify_differs_bound == 0) {
        assert_true(rig.now < begin + 2 * D);
        get(&rig, "k");
        assert_read(&rig, READ_FRESH, "four", 4);
        id = until_asked(&rig, 2 * ROUND);
        if (id)
            fetched(&rig, id, FETCH_RECORD, header_of(12, 5));
    }
    assert_in_range(rig.now - begin, D, D + 5 * ROUND);
    const struct core_effect *note = want(&rig, FX_NOTE);
    assert_int_equal(note->note.kind, NOTE_INCONSISTENT);
    assert_int_equal(note->note.version, 4);
    assert_int_equal(note->note.current_version, 5);
    assert_int_equal(note->note.current_seq, 12);
    unsigned count = core_trace(rig.core, slice_text("k"), 100, records);
    assert_int_equal(records[count - 1].kind, TRACE_INCONSISTENT);
    assert_true(counters(&rig).verify_inconsistent_ppm > 0);
    get(&rig, "k");
    assert_null(find(&rig, FX_READ_DONE));
    assert_false(want(&rig, FX_FETCH)->fetch.header_only);
    rig_close(&rig);
}

static void each_contradiction_of_the_proof_counts(void **state)
{
    (void)state;
    struct record expiring = header_of(11, 4), tombstone = header_of(11, 4);
    expiring.expiry_ms = STORE_US / 1000 + 3600000;
    tombstone.kind = RECORD_TOMBSTONE;
    const struct {
        enum fetch_result result;
        struct record record;
        uint64_t bound, lost;
    } table[] = {
        {FETCH_RECORD, header_of(12, 5), 1, 0},   {FETCH_RECORD, header_of(12, 3), 1, 0},
        {FETCH_RECORD, header_of(11, 5), 1, 0},   {FETCH_RECORD, expiring, 1, 0},
        {FETCH_RECORD, tombstone, 1, 0},          {FETCH_INVALID, (struct record){0}, 1, 0},
        {FETCH_ABSENT, (struct record){0}, 0, 1}, {FETCH_RECORD, header_of(9, 3), 0, 1},
        {FETCH_RECORD, header_of(11, 4), 0, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct rig rig;
        rig_open_sampling(&rig, config_default());
        differ_past_the_bound(&rig, table[i].result, table[i].record);
        assert_int_equal(counters(&rig).verify_differs_bound, table[i].bound);
        assert_int_equal(counters(&rig).verify_lost, table[i].lost);
        rig_close(&rig);
    }
}

static void an_inconsistency_that_comes_back_is_counted_after_10_s(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    differ_past_the_bound(&rig, FETCH_RECORD, header_of(12, 5));
    assert_int_equal(counters(&rig).verify_differs_bound, 1);
    /* What is fetched then is the old record again. */
    get(&rig, "k");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record_of(11, 4, "four"));
    assert_read(&rig, READ_FRESH, "four", 4);
    uint64_t begin = rig.now;
    while (counters(&rig).verify_differs_10s == 0 && rig.now < begin + 20 * D) {
        uint64_t id = until_asked(&rig, ROUND);
        /* First looks agree; the third look is due 10 s after the first. */
        if (id)
            fetched(&rig, id, FETCH_RECORD, rig.now < begin + 8 * D ? header_of(11, 4) : header_of(12, 5));
    }
    assert_int_equal(counters(&rig).verify_differs_10s, 1);
    assert_in_range(rig.now - begin, 8 * D, 10 * D);
    rig_close(&rig);
}

static void an_entry_that_was_healed_is_not_counted_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    differ_past_the_bound(&rig, FETCH_RECORD, header_of(12, 5));
    message(&rig, "k", record_of(12, 5, "five"));
    answer_for(&rig, 12 * D, FETCH_RECORD, header_of(12, 5));
    assert_int_equal(counters(&rig).verify_differs_bound, 1);
    assert_int_equal(counters(&rig).verify_differs_10s, 0);
    rig_close(&rig);
}

static void a_suspect_entry_proves_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    message(&rig, "k", record_of(11, 4, "four"));
    fetched(&rig, until_asked(&rig, 5 * ROUND), FETCH_RECORD, header_of(12, 5));
    /* A gap: the pod knows that it has missed something. */
    message(&rig, "other", record_of(14, 1, "one"));
    answer_for(&rig, 3 * D, FETCH_RECORD, header_of(12, 5));
    assert_int_equal(counters(&rig).verify_differs_bound, 0);
    rig_close(&rig);
}

static void it_asks_nothing_while_redis_is_not_ready_or_somebody_waits(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    config.max_in_flight = 2;
    rig_open_sampling(&rig, config);
    message(&rig, "k", record_of(11, 4, "four"));
    get(&rig, "a");
    uint64_t a = want(&rig, FX_FETCH)->fetch.id;
    assert_int_equal(until_asked(&rig, 10 * ROUND), 0);
    fetched(&rig, a, FETCH_ABSENT, (struct record){0});
    assert_int_not_equal(until_asked(&rig, 2 * ROUND), 0);
    link_down(&rig, LINK_DATA);
    assert_int_equal(until_asked(&rig, 10 * ROUND), 0);
    rig_close(&rig);
}

static void a_look_without_an_answer_is_unknown_and_the_next_round_waits_for_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    message(&rig, "k", record_of(11, 4, "four"));
    uint64_t id = until_asked(&rig, 5 * ROUND);
    assert_int_equal(until_asked(&rig, 5 * ROUND), 0);
    struct core_event event = {.type = EV_FETCHED, .fetched = {.id = id, .status = REPLY_UNKNOWN}};
    step(&rig, &event);
    assert_int_equal(counters(&rig).verify_unknown, 1);
    assert_int_equal(counters(&rig).verify_checked, 0);
    assert_int_not_equal(until_asked(&rig, 2 * ROUND), 0);
    rig_close(&rig);
}

static void local_entries_and_those_of_the_hook_are_left_out(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    config.may_write = false;
    rig_open_sampling(&rig, config);
    set_with(&rig, "k", "mine", (struct write_request){.version = 3});
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.outcome, WRITE_LOCAL);
    assert_int_equal(until_asked(&rig, 20 * ROUND), 0);
    rig_close(&rig);
}

static void more_differences_than_can_wait_are_counted_as_dropped(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    char key[16];
    rig_open_sampling(&rig, config);
    for (unsigned i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        message(&rig, key, record_of(11 + i, 1, "v"));
    }
    answer_for(&rig, D - 2 * ROUND, FETCH_RECORD, header_of(4000, 9));
    struct core_counters c = counters(&rig);
    assert_true(c.verify_differs > SAMPLER_CANDIDATES);
    assert_in_range(c.verify_dropped, 1, c.verify_differs - SAMPLER_CANDIDATES);
    rig_close(&rig);
}

static void the_ratio_is_of_the_last_hour(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_sampling(&rig, config_default());
    differ_past_the_bound(&rig, FETCH_RECORD, header_of(12, 5));
    assert_true(counters(&rig).verify_inconsistent_ppm > 0);
    rig.now += 3500 * (1000 * MS);
    tick(&rig);
    assert_true(counters(&rig).verify_inconsistent_ppm > 0);
    rig.now += 161 * (1000 * MS);
    tick(&rig);
    assert_int_equal(counters(&rig).verify_inconsistent_ppm, 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_compares_a_cached_entry_with_the_header_in_redis_and_counts_no_read),
        cmocka_unit_test(a_difference_that_its_message_explains_is_no_inconsistency),
        cmocka_unit_test(what_a_clear_or_a_new_epoch_overtook_is_no_difference),
        cmocka_unit_test(a_key_that_waits_for_its_second_look_is_not_picked_again),
        cmocka_unit_test(what_still_differs_after_the_bound_is_counted_told_and_dropped),
        cmocka_unit_test(each_contradiction_of_the_proof_counts),
        cmocka_unit_test(an_inconsistency_that_comes_back_is_counted_after_10_s),
        cmocka_unit_test(an_entry_that_was_healed_is_not_counted_again),
        cmocka_unit_test(a_suspect_entry_proves_nothing),
        cmocka_unit_test(it_asks_nothing_while_redis_is_not_ready_or_somebody_waits),
        cmocka_unit_test(a_look_without_an_answer_is_unknown_and_the_next_round_waits_for_it),
        cmocka_unit_test(local_entries_and_those_of_the_hook_are_left_out),
        cmocka_unit_test(more_differences_than_can_wait_are_counted_as_dropped),
        cmocka_unit_test(the_ratio_is_of_the_last_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
