/* What the core measures beside its counters: durations, refusals by reason, gaps by what showed them. */
#include "daemon/core/measure.h"
#include "tests/unit/core_rig.h"

static uint64_t count_of(struct histogram h)
{
    uint64_t count = 0;

    for (unsigned i = 0; i <= HISTOGRAM_FINITE; i++)
        count += h.counts[i];
    return count;
}

static unsigned bucket_of(uint64_t ns)
{
    struct histogram h = {0};
    unsigned i = 0;

    histogram_add(&h, ns);
    assert_int_equal(h.sum_ns, ns);
    assert_int_equal(count_of(h), 1);
    while (h.counts[i] == 0)
        i++;
    return i;
}

static void a_duration_is_counted_by_the_first_bucket_that_ends_at_or_after_it(void **state)
{
    (void)state;
    assert_int_equal(bucket_of(0), 0);
    assert_int_equal(bucket_of(1), 0);
    for (unsigned i = 0; i < HISTOGRAM_FINITE; i++) {
        assert_int_equal(bucket_of(histogram_end_ns(i)), i);
        assert_int_equal(bucket_of(histogram_end_ns(i) + 1), i + 1);
    }
    assert_int_equal(bucket_of(UINT64_MAX), HISTOGRAM_FINITE);
    assert_int_equal(histogram_end_ns(0), UINT64_C(1) << HISTOGRAM_FIRST);
}

static struct core_measures measures_of(const struct rig *rig)
{
    struct core_measures measures;

    core_get_measures(rig->core, &measures);
    return measures;
}

static void ready_with_a_value(struct rig *rig)
{
    struct core_config config = config_default();

    rig_open(rig, &config);
    make_ready(rig);
    message(rig, "k", record_of(11, 1, "one"));
}

static void the_age_of_the_proof_is_measured_at_each_hit(void **state)
{
    (void)state;
    struct rig rig;
    ready_with_a_value(&rig);
    get(&rig, "k");
    rig.now += 400 * MS;
    get(&rig, "k");
    assert_int_equal(count_of(measures_of(&rig).staleness), 2);
    assert_int_equal(measures_of(&rig).staleness.sum_ns, 400 * MS);
    rig_close(&rig);
}

static void a_confirmed_hit_is_as_old_as_its_confirmation(void **state)
{
    (void)state;
    struct rig rig;
    ready_with_a_value(&rig);
    rig.now += D + 1;
    get(&rig, "k");
    uint64_t id = want(&rig, FX_FETCH)->fetch.id;
    rig.now += 3 * MS;
    fetched(&rig, id, FETCH_RECORD, record_of(11, 1, ""));
    assert_read(&rig, READ_FRESH, "one", 1);
    assert_int_equal(count_of(measures_of(&rig).staleness), 1);
    assert_int_equal(measures_of(&rig).staleness.sum_ns, 3 * MS);
    rig_close(&rig);
}

static void a_miss_has_no_age(void **state)
{
    (void)state;
    struct rig rig;
    ready_with_a_value(&rig);
    get(&rig, "other");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_ABSENT, record_of(0, 0, ""));
    assert_read(&rig, READ_ABSENT, NULL, 0);
    get(&rig, "third");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record_of(5, 3, "three"));
    assert_read(&rig, READ_FRESH, "three", 3);
    assert_int_equal(count_of(measures_of(&rig).staleness), 0);
    rig_close(&rig);
}

/* In the rig the store's clock and ours run together, STORE_US apart. */
static void the_lag_of_a_message_counts_from_its_commit_by_the_stores_clock(void **state)
{
    (void)state;
    struct rig rig;
    struct record record = record_of(12, 2, "two");
    ready_with_a_value(&rig);
    struct core_measures before = measures_of(&rig);
    record.timestamp_ns = (STORE_US + rig.now / NS_PER_US) * NS_PER_US;
    rig.now += 7 * MS;
    message(&rig, "k", record);
    assert_int_equal(measures_of(&rig).lag.sum_ns - before.lag.sum_ns, 7 * MS);
    assert_int_equal(count_of(measures_of(&rig).lag) - count_of(before.lag), 1);
    message(&rig, "k", record); /* late: not applied */
    assert_int_equal(count_of(measures_of(&rig).lag) - count_of(before.lag), 1);
    rig_close(&rig);
}

static void a_commit_that_seems_to_lie_ahead_has_no_lag(void **state)
{
    (void)state;
    struct rig rig;
    struct record record = record_of(12, 2, "two");
    ready_with_a_value(&rig);
    struct core_measures before = measures_of(&rig);
    record.timestamp_ns = (STORE_US + rig.now / NS_PER_US + 5000000) * NS_PER_US;
    message(&rig, "k", record);
    assert_int_equal(measures_of(&rig).lag.sum_ns, before.lag.sum_ns);
    assert_int_equal(count_of(measures_of(&rig).lag) - count_of(before.lag), 1);
    rig_close(&rig);
}

static void a_heartbeat_is_measured_from_its_start_to_its_pong(void **state)
{
    (void)state;
    struct rig rig;
    ready_with_a_value(&rig);
    struct core_measures before = measures_of(&rig);
    rig.now = core_next_deadline(rig.core);
    tick(&rig);
    uint64_t id = want(&rig, FX_IDENTITY)->identity.id;
    rig.now += 2 * MS;
    identity(&rig, id);
    uint64_t nonce = want(&rig, FX_PING)->ping.nonce;
    rig.now += 3 * MS;
    pong(&rig, nonce);
    assert_int_equal(measures_of(&rig).heartbeat.sum_ns - before.heartbeat.sum_ns, 5 * MS);
    assert_int_equal(count_of(measures_of(&rig).heartbeat) - count_of(before.heartbeat), 1);
    rig_close(&rig);
}

static uint64_t sum(const uint64_t *counts, unsigned count)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < count; i++)
        total += counts[i];
    return total;
}

static void refusals_are_counted_by_reason_and_their_sum_is_refused(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct core_counters counters;
    struct rig rig;
    rig_open(&rig, &config);
    tick(&rig);
    set_with(&rig, "k", "one", (struct write_request){.version = 1});
    rig.now += D;
    tick(&rig);
    get(&rig, "k");
    assert_refused(&rig, REASON_NO_LINK);
    core_get_counters(rig.core, &counters);
    struct core_measures m = measures_of(&rig);
    assert_int_equal(m.reads_refused[REASON_NO_LINK], 1);
    assert_int_equal(m.writes_refused[REASON_NO_LINK], 1);
    assert_int_equal(sum(m.reads_refused, REASON_COUNT), counters.refused);
    assert_int_equal(sum(m.writes_refused, REASON_COUNT), counters.writes_refused);
    rig_close(&rig);
}

static void a_write_that_is_refused_at_once_is_counted_by_its_reason(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    config.may_write = false;
    rig_open(&rig, &config);
    tick(&rig);
    set_with(&rig, "k", "one", (struct write_request){.op = OP_DELETE});
    assert_int_equal(want(&rig, FX_WRITE_DONE)->write_done.reason, REASON_READER);
    assert_int_equal(measures_of(&rig).writes_refused[REASON_READER], 1);
    rig_close(&rig);
}

static void gaps_are_counted_by_what_showed_them(void **state)
{
    (void)state;
    struct core_counters counters;
    struct rig rig;
    ready_with_a_value(&rig);
    message(&rig, "k", record_of(13, 3, "three")); /* 12 is missing */
    rig.seq = 20;                                  /* and so are 14 to 20 */
    heartbeat(&rig);
    core_get_counters(rig.core, &counters);
    struct core_measures m = measures_of(&rig);
    assert_int_equal(m.gaps[GAP_MESSAGE], 1);
    assert_int_equal(m.gaps[GAP_HEARTBEAT], 1);
    assert_int_equal(sum(m.gaps, GAP_REASON_COUNT), counters.gaps);
    rig_close(&rig);
}

static void every_reason_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        assert_true(core_reason_name((enum core_reason)i)[0] != '\0');
        for (int j = REASON_NONE; j < i; j++)
            assert_string_not_equal(core_reason_name((enum core_reason)i), core_reason_name((enum core_reason)j));
    }
    for (int i = 0; i < GAP_REASON_COUNT; i++)
        assert_true(core_gap_name((enum gap_reason)i)[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duration_is_counted_by_the_first_bucket_that_ends_at_or_after_it),
        cmocka_unit_test(the_age_of_the_proof_is_measured_at_each_hit),
        cmocka_unit_test(a_confirmed_hit_is_as_old_as_its_confirmation),
        cmocka_unit_test(a_miss_has_no_age),
        cmocka_unit_test(the_lag_of_a_message_counts_from_its_commit_by_the_stores_clock),
        cmocka_unit_test(a_commit_that_seems_to_lie_ahead_has_no_lag),
        cmocka_unit_test(a_heartbeat_is_measured_from_its_start_to_its_pong),
        cmocka_unit_test(refusals_are_counted_by_reason_and_their_sum_is_refused),
        cmocka_unit_test(a_write_that_is_refused_at_once_is_counted_by_its_reason),
        cmocka_unit_test(gaps_are_counted_by_what_showed_them),
        cmocka_unit_test(every_reason_has_a_name_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
