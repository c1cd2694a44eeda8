/* The table of metrics is complete, and its text is what Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/metrics/pages.h"
#include "daemon/metrics/table.h"
#include "daemon/metrics/text.h"

static char *written(struct buffer *b)
{
    buffer_append(b, "", 1);
    assert_false(b->failed);
    return (char *)b->data;
}

/* ---- the table -------------------------------------------------------------------------------------------- */

static bool has_a_row(size_t at)
{
    const struct metric_family *family;

    for (unsigned i = 0; (family = metric_family_at(i)); i++)
        for (unsigned j = 0; j < family->sample_count; j++)
            if (family->samples[j].at == at)
                return true;
    return false;
}

/* These are the sums of rows that labels tell apart. */
static bool is_a_sum(const char *name)
{
    return strcmp(name, "reads") == 0 || strcmp(name, "version_checks") == 0 || strcmp(name, "gaps") == 0;
}

static void every_counter_of_the_daemon_has_a_metric(void **state)
{
    (void)state;
#define X(name, help)                                                              \
    if (!is_a_sum(#name) && !has_a_row(offsetof(struct metrics_input, core.name))) \
        fail_msg("core: %s", #name);
    CORE_COUNTERS(X)
#undef X
#define X(name, help)                                         \
    if (!has_a_row(offsetof(struct metrics_input, net.name))) \
        fail_msg("net: %s", #name);
    NET_COUNTERS(X)
#undef X
#define X(name, help)                                         \
    if (!has_a_row(offsetof(struct metrics_input, ops.name))) \
        fail_msg("ops: %s", #name);
    OPS_COUNTERS(X)
#undef X
#define X(name, help)                                          \
    if (!has_a_row(offsetof(struct metrics_input, http.name))) \
        fail_msg("http: %s", #name);
    HTTP_COUNTERS(X)
#undef X
}

static void every_metric_has_a_name_of_its_own_and_a_help_and_counters_end_in_total(void **state)
{
    const struct metric_family *family;

    (void)state;
    for (unsigned i = 0; (family = metric_family_at(i)); i++) {
        size_t len = strlen(family->name);
        bool total = len > 6 && strcmp(family->name + len - 6, "_total") == 0;

        assert_int_equal(total, family->kind == METRIC_COUNTER);
        assert_true(metric_family_help(family)[0] != '\0');
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(family->name, metric_family_at(j)->name);
    }
}

static void a_value_goes_into_its_own_sample(void **state)
{
    static struct metrics_input in = {.pod = "p", .role = "writer"};
    struct buffer b = BUFFER_INIT;

    (void)state;
    in.core.misses = 1234567890123456789;
    in.measures.reads_refused[REASON_LEASE] = 3;
    in.measures.writes_refused[REASON_LEASE] = 4;
    in.proof_age_ns = 1500000000;
    in.core.verify_inconsistent_ppm = 250000;
    in.process.started_ms = 1700000000123;
    metrics_write(&b, &in);
    const char *text = written(&b);
    assert_non_null(strstr(text, "dcached_lookups_total{result=\"miss\"} 1234567890123456789\n"));
    assert_non_null(strstr(text, "dcached_refusals_total{operation=\"read\",reason=\"lease\"} 3\n"));
    assert_non_null(strstr(text, "dcached_refusals_total{operation=\"write\",reason=\"lease\"} 4\n"));
    assert_non_null(strstr(text, "dcached_proof_age_seconds 1.500000000\n"));
    assert_non_null(strstr(text, "dcached_verify_inconsistent_ratio 0.250000\n"));
    assert_non_null(strstr(text, "process_start_time_seconds 1700000000.123\n"));
    buffer_deinit(&b);
}

/* ---- text ------------------------------------------------------------------------------------------------- */

static void buckets_of_a_histogram_are_cumulative(void **state)
{
    struct histogram h = {0};
    struct buffer b = BUFFER_INIT;

    (void)state;
    histogram_add(&h, 1);
    histogram_add(&h, histogram_end_ns(0) + 1);
    histogram_add(&h, UINT64_C(100000000000));
    text_histogram(&b, "x", &h);
    const char *text = written(&b);
    assert_non_null(strstr(text, "x_bucket{le=\"0.000016384\"} 1\n"));
    assert_non_null(strstr(text, "x_bucket{le=\"0.000032768\"} 2\n"));
    assert_non_null(strstr(text, "x_bucket{le=\"34.359738368\"} 2\n"));
    assert_non_null(strstr(text, "x_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "x_sum 100.000016386\nx_count 3\n"));
    buffer_deinit(&b);
}

static void quotes_backslashes_and_newlines_of_a_label_are_escaped(void **state)
{
    struct buffer b = BUFFER_INIT;

    (void)state;
    text_label(&b, "{", "pod", "a\"b\\c\nd");
    assert_string_equal(written(&b), "{pod=\"a\\\"b\\\\c\\nd\"");
    buffer_deinit(&b);
}

/* ---- pages ------------------------------------------------------------------------------------------------ */

static void the_reason_is_one_line_whatever_redis_said(void **state)
{
    static struct metrics_input in = {.status.reason_text = "ERR two\r\nlines\x1b[31m", .pod = "", .role = ""};
    struct buffer b = BUFFER_INIT;

    (void)state;
    assert_int_equal(page_write(PAGE_READY, &b, &in), 503);
    assert_string_equal(written(&b), "not ready: ERR two??lines?[31m\n");
    buffer_deinit(&b);
}

static void a_ready_daemon_that_stops_is_not_ready(void **state)
{
    static struct metrics_input in = {.status.ready = true, .stopping = true};
    struct buffer b = BUFFER_INIT;

    (void)state;
    assert_int_equal(page_write(PAGE_READY, &b, &in), 503);
    assert_string_equal(written(&b), "not ready: the daemon is stopping\n");
    buffer_deinit(&b);
}

static void only_whole_paths_are_pages(void **state)
{
    (void)state;
    assert_int_equal(page_find("/"), PAGE_INDEX);
    assert_int_equal(page_find("/metrics"), PAGE_METRICS);
    assert_int_equal(page_find("/livez"), PAGE_LIVE);
    assert_int_equal(page_find("/readyz"), PAGE_READY);
    assert_int_equal(page_find(""), PAGE_UNKNOWN);
    assert_int_equal(page_find("/metric"), PAGE_UNKNOWN);
    assert_int_equal(page_find("/metricsx"), PAGE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_counter_of_the_daemon_has_a_metric),
        cmocka_unit_test(every_metric_has_a_name_of_its_own_and_a_help_and_counters_end_in_total),
        cmocka_unit_test(a_value_goes_into_its_own_sample),
        cmocka_unit_test(buckets_of_a_histogram_are_cumulative),
        cmocka_unit_test(quotes_backslashes_and_newlines_of_a_label_are_escaped),
        cmocka_unit_test(the_reason_is_one_line_whatever_redis_said),
        cmocka_unit_test(a_ready_daemon_that_stops_is_not_ready),
        cmocka_unit_test(only_whole_paths_are_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
