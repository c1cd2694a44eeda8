/* The flight recorder: by itself, and what the core puts into it. */
#include "tests/unit/core_rig.h"

#include "daemon/core/trace.h"

/* ---- the ring ----------------------------------------------------------------------------------------------- */

static void add(struct trace *trace, enum trace_kind kind, uint64_t hash, uint64_t at)
{
    trace_add(trace, &(struct trace_event){.kind = kind, .hash = hash, .at = at, .version = at});
}

static void the_last_events_come_oldest_first_and_of_this_key_and_of_every_key(void **state)
{
    (void)state;
    struct trace_record records[8];
    struct trace *trace;
    assert_int_equal(trace_new(&trace, 16), 0);
    add(trace, TRACE_FILL, 5, 1);
    add(trace, TRACE_FILL, 6, 2);
    add(trace, TRACE_EPOCH, 0, 3);
    add(trace, TRACE_EVICT, 5, 4);
    assert_int_equal(trace_last(trace, 5, 8, records), 3);
    assert_int_equal(records[0].at, 1);
    assert_int_equal(records[1].kind, TRACE_EPOCH);
    assert_int_equal(records[2].kind, TRACE_EVICT);
    assert_int_equal(trace_last(trace, 5, 2, records), 2);
    assert_int_equal(records[0].kind, TRACE_EPOCH);
    assert_int_equal(trace_last(trace, 7, 8, records), 1);
    trace_free(trace);
}

static void a_full_ring_loses_its_oldest_and_says_how_far_back_it_reaches(void **state)
{
    (void)state;
    struct trace_record records[8];
    struct trace_stats stats;
    struct trace *trace;
    assert_int_equal(trace_new(&trace, 4), 0);
    trace_get_stats(trace, &stats);
    assert_int_equal(stats.oldest, 0);
    for (uint64_t at = 1; at <= 10; at++)
        add(trace, TRACE_FILL, 5, at);
    assert_int_equal(trace_last(trace, 5, 8, records), 4);
    assert_int_equal(records[0].at, 7);
    assert_int_equal(records[3].at, 10);
    trace_get_stats(trace, &stats);
    assert_int_equal(stats.recorded, 10);
    assert_int_equal(stats.held, 4);
    assert_int_equal(stats.oldest, 7);
    assert_in_range(stats.bytes, 4 * TRACE_RECORD_BYTES, 4 * TRACE_RECORD_BYTES + TRACE_FIXED_BYTES);
    trace_free(trace);
}

static void refusals_in_a_row_are_one_record_that_counts_them(void **state)
{
    (void)state;
    struct trace_record records[8];
    struct trace *trace;
    assert_int_equal(trace_new(&trace, 8), 0);
    for (uint64_t i = 0; i < 100; i++) {
        add(trace, TRACE_REFUSE, 5, 10 * MS + i * MS);
        add(trace, TRACE_REFUSE, 6, 10 * MS + i * MS);
    }
    assert_int_equal(trace_last(trace, 5, 8, records), 1);
    assert_int_equal(records[0].other, 99);
    assert_int_equal(records[0].age_ms, 99);
    /* What concerns every key, and what happened to this one, end the row. */
    add(trace, TRACE_READY, 0, 200 * MS);
    add(trace, TRACE_REFUSE, 5, 201 * MS);
    add(trace, TRACE_FILL, 5, 202 * MS);
    add(trace, TRACE_REFUSE, 5, 203 * MS);
    assert_int_equal(trace_last(trace, 5, 8, records), 5);
    assert_int_equal(records[4].other, 0);
    trace_free(trace);
}

static void a_record_that_was_overwritten_is_not_counted_into(void **state)
{
    (void)state;
    struct trace_record records[8];
    struct trace *trace;
    assert_int_equal(trace_new(&trace, 2), 0);
    add(trace, TRACE_REFUSE, 5, 1);
    add(trace, TRACE_FILL, 6, 2);
    add(trace, TRACE_FILL, 7, 3);
    add(trace, TRACE_REFUSE, 5, 4);
    assert_int_equal(trace_last(trace, 5, 8, records), 1);
    assert_int_equal(records[0].at, 4);
    assert_int_equal(records[0].other, 0);
    trace_free(trace);
}

static void sources_have_names_until_there_are_too_many(void **state)
{
    (void)state;
    struct trace_record records[1];
    struct trace *trace;
    char name[SOURCE_MAX + 1];
    unsigned known = 0;
    assert_int_equal(trace_new(&trace, 4), 0);
    for (unsigned i = 0; i < 4 * TRACE_SOURCES; i++) {
        snprintf(name, sizeof(name), "pod-%u", i);
        trace_add(trace, &(struct trace_event){.kind = TRACE_FILL, .hash = 5, .source = slice_text(name)});
        trace_last(trace, 5, 1, records);
        struct slice got = trace_source(trace, &records[0]);
        assert_true(got.len == 0 || slice_equal(got, slice_text(name)));
        known += got.len > 0;
    }
    assert_in_range(known, TRACE_SOURCES / 2, TRACE_SOURCES);
    trace_free(trace);
}

static void every_kind_has_a_name_and_words(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < TRACE_KIND_COUNT; kind++) {
        assert_non_null(trace_kind_name((enum trace_kind)kind));
        assert_true(trace_kind_words((enum trace_kind)kind)[0] != '\0');
        for (unsigned detail = 0; detail < 256; detail++) {
            struct trace_record record = {.kind = (uint8_t)kind, .detail = (uint8_t)detail};
            assert_non_null(trace_detail_name(&record));
        }
    }
}

static void every_reason_has_a_word(void **state)
{
    (void)state;
    for (unsigned reason = 1; reason < REASON_COUNT; reason++) {
        struct trace_record record = {.kind = TRACE_REFUSE, .detail = (uint8_t)reason};
        assert_true(trace_detail_name(&record)[0] != '\0');
    }
}

/* ---- what the core records ---------------------------------------------------------------------------------- */

static void rig_open_tracing(struct rig *rig)
{
    struct core_config config = config_default();
    config.trace_events = 100;
    rig_open(rig, &config);
    make_ready(rig);
}

/* The kinds of the key's own events, in order. */
static void assert_trace(const struct rig *rig, const char *key, const char *expected)
{
    struct trace_record records[100];
    unsigned count = core_trace(rig->core, slice_text(key), 100, records);
    char got[1000] = "";
    for (unsigned i = 0; i < count; i++) {
        const char *detail = trace_detail_name(&records[i]);
        if (records[i].hash == 0)
            continue;
        size_t len = strlen(got);
        snprintf(got + len, sizeof(got) - len, "%s%s%s%s", len > 0 ? " " : "",
                 trace_kind_name((enum trace_kind)records[i].kind), detail[0] ? ":" : "", detail);
    }
    assert_string_equal(got, expected);
}

static void a_miss_is_a_fill_and_a_hit_is_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_open_tracing(&rig);
    get(&rig, "k");
    fetched(&rig, want(&rig, FX_FETCH)->fetch.id, FETCH_RECORD, record_of(5, 1, "one"));
    for (unsigned i = 0; i < 10; i++)
        get(&rig, "k");
    assert_read(&rig, READ_FRESH, "one", 1);
    assert_trace(&rig, "k", "fill:fetch");
    rig_close(&rig);
}

static void an_own_write_is_sent_answered_cached_and_heard_of(void **state)
{
    (void)state;
    struct trace_record records[100];
    struct rig rig;
    rig_open_tracing(&rig);
    set_with(&rig, "k", "v", (struct write_request){.version = 3});
    written(&rig, want(&rig, FX_WRITE)->write.id, SCRIPT_ACCEPTED, 3, 11);
    message(&rig, "k", record_of(11, 3, "v"));
    assert_trace(&rig, "k", "write:set acknowledge:accepted fill:write receive:repeated");
    unsigned count = core_trace(rig.core, slice_text("k"), 100, records);
    assert_int_equal(records[count - 1].version, 3);
    assert_int_equal(records[count - 1].seq, 11);
    assert_true(slice_equal(trace_source(core_get_trace(rig.core), &records[count - 1]), slice_text("pod-b")));
    rig_close(&rig);
}

static void messages_are_applied_invalidate_or_are_rejected_with_both_versions(void **state)
{
    (void)state;
    struct trace_record records[100];
    struct record bare = record_of(13, 6, "five");
    struct rig rig;
    rig_open_tracing(&rig);
    message(&rig, "k", record_of(11, 4, "four"));
    message(&rig, "k", record_of(12, 5, "five"));
    message(&rig, "k", record_of(11, 4, "four"));
    bare.kind = RECORD_BARE;
    message(&rig, "k", bare);
    assert_trace(&rig, "k", "receive:applied receive:applied receive:late reject:message receive:invalidated");
    unsigned count = core_trace(rig.core, slice_text("k"), 100, records);
    assert_int_equal(records[count - 2].version, 4);
    assert_int_equal(records[count - 2].other, 5);
    rig_close(&rig);
}

static void a_refusal_has_its_reason_beside_what_made_the_pod_unready(void **state)
{
    (void)state;
    struct trace_record records[100];
    struct rig rig;
    rig_open_tracing(&rig);
    message(&rig, "k", record_of(11, 4, "four"));
    link_down(&rig, LINK_DATA);
    rig.now += 2 * D;
    tick(&rig);
    get(&rig, "k");
    assert_refused(&rig, REASON_NO_LINK);
    get(&rig, "k");
    assert_trace(&rig, "k", "receive:applied refuse:no_link");
    unsigned count = core_trace(rig.core, slice_text("k"), 100, records);
    assert_int_equal(records[count - 2].kind, TRACE_NOT_READY);
    assert_int_equal(records[count - 1].other, 1);
    rig_close(&rig);
}

static void what_concerns_every_key_is_in_the_trace_of_each(void **state)
{
    (void)state;
    struct trace_record records[100];
    struct rig rig;
    unsigned epochs = 0, generations = 0, gaps = 0;
    rig_open_tracing(&rig);
    message(&rig, "k", record_of(15, 4, "four"));
    unsigned count = core_trace(rig.core, slice_text("other"), 100, records);
    for (unsigned i = 0; i < count; i++) {
        epochs += records[i].kind == TRACE_EPOCH;
        generations += records[i].kind == TRACE_GENERATION;
        gaps += records[i].kind == TRACE_GAP;
    }
    assert_int_equal(epochs, 1);
    assert_true(generations >= 2);
    assert_int_equal(gaps, 1);
    rig_close(&rig);
}

static void eviction_and_expiry_are_recorded(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct core_event event = {.type = EV_MESSAGE, .message = {.key = slice_text("t"), .ttl_ms = 1000}};
    struct rig rig;
    char key[16];
    config.trace_events = 100;
    config.max_entries = 8;
    rig_open(&rig, &config);
    make_ready(&rig);
    strcpy(event.message.epoch.text, epoch_a);
    event.message.record = record_of(11, 1, "v");
    rig.seq = 11;
    step(&rig, &event);
    rig.now += 3 * D;
    get(&rig, "t");
    assert_trace(&rig, "t", "receive:applied expire");
    for (unsigned i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        message(&rig, key, record_of(12 + i, 1, "v"));
    }
    assert_trace(&rig, "key-0", "receive:applied evict");
    rig_close(&rig);
}

static void without_a_recorder_there_is_no_trace(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct trace_record records[8];
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 4, "four"));
    assert_int_equal(core_trace(rig.core, slice_text("k"), 8, records), 0);
    assert_null(core_get_trace(rig.core));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_events_come_oldest_first_and_of_this_key_and_of_every_key),
        cmocka_unit_test(a_full_ring_loses_its_oldest_and_says_how_far_back_it_reaches),
        cmocka_unit_test(refusals_in_a_row_are_one_record_that_counts_them),
        cmocka_unit_test(a_record_that_was_overwritten_is_not_counted_into),
        cmocka_unit_test(sources_have_names_until_there_are_too_many),
        cmocka_unit_test(every_kind_has_a_name_and_words),
        cmocka_unit_test(every_reason_has_a_word),
        cmocka_unit_test(a_miss_is_a_fill_and_a_hit_is_nothing),
        cmocka_unit_test(an_own_write_is_sent_answered_cached_and_heard_of),
        cmocka_unit_test(messages_are_applied_invalidate_or_are_rejected_with_both_versions),
        cmocka_unit_test(a_refusal_has_its_reason_beside_what_made_the_pod_unready),
        cmocka_unit_test(what_concerns_every_key_is_in_the_trace_of_each),
        cmocka_unit_test(eviction_and_expiry_are_recorded),
        cmocka_unit_test(without_a_recorder_there_is_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
