#include "tests/chaos/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const promise_names[P_COUNT] = {
    [P_MONO] = "MONO",     [P_RYW] = "RYW",       [P_BOUND] = "BOUND",           [P_NORES] = "NORES",
    [P_NOGARB] = "NOGARB", [P_UNIQ] = "UNIQ",     [P_ACKDUR] = "ACKDUR",         [P_LOSSVIS] = "LOSSVIS",
    [P_GAP0] = "GAP0",     [P_CONV] = "CONV",     [P_AVAIL] = "AVAIL",           [P_INDET] = "INDET",
    [P_TRUTH] = "TRUTH",   [P_STRONG] = "STRONG", [P_MINVERSION] = "MINVERSION",
};
static const char *const kind_names[] = {
    [HISTORY_GET] = "get",
    [HISTORY_MGET] = "mget",
    [HISTORY_STRONG] = "strong",
    [HISTORY_MIN_VERSION] = "min_version",
    [HISTORY_MAX_STALE] = "max_stale",
    [HISTORY_CONVERGE] = "converge",
    [HISTORY_INVOKED] = "invoked",
    [HISTORY_ANSWERED] = "answered",
    [HISTORY_TICK] = "tick",
    [HISTORY_PHASE] = "phase",
    [HISTORY_END] = NULL,
};
static const char *const outcome_names[OUT_COUNT] = {
    [OUT_VALUE] = "value",
    [OUT_ABSENT] = "absent",
    [OUT_STALE] = "stale",
    [OUT_LOCAL] = "local",
    [OUT_ACCEPTED] = "accepted",
    [OUT_DUPLICATE] = "duplicate",
    [OUT_CONFLICT] = "conflict",
    [OUT_REFUSED] = "refused",
    [OUT_UNREACHABLE] = "unreachable",
    [OUT_TIMEOUT] = "timeout",
    [OUT_BUSY] = "busy",
    [OUT_VERSION] = "version",
    [OUT_ERROR] = "error",
    [OUT_INDETERMINATE] = "indeterminate",
};

/* ---- distributions ---------------------------------------------------------------------------------------- */

static unsigned bucket_of(uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned power;

    if (us < 16)
        return (unsigned)us;
    power = 63 - (unsigned)__builtin_clzll(us);
    return (power - 3) * 16 + (unsigned)((us >> (power - 4)) & 15);
}

/* The upper edge. */
static uint64_t bucket_ns(unsigned bucket)
{
    if (bucket < 16)
        return (bucket + UINT64_C(1)) * 1000;
    return ((16 + bucket % 16 + UINT64_C(1)) << (bucket / 16 - 1)) * 1000;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    unsigned bucket = bucket_of(ns);

    h->buckets[bucket < 1024 ? bucket : 1023]++;
    h->count++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
    uint64_t seen = 0;

    for (unsigned i = 0; i < 1024; i++) {
        seen += h->buckets[i];
        if (seen > 0 && (double)seen >= share * (double)h->count)
            return bucket_ns(i) < h->max_ns ? bucket_ns(i) : h->max_ns;
    }
    return h->max_ns;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

/* ---- findings --------------------------------------------------------------------------------------------- */

const char *promise_name(enum promise promise)
{
    return promise_names[promise];
}

const char *report_kind_name(unsigned kind)
{
    return kind <= HISTORY_END ? kind_names[kind] : NULL;
}

const char *report_outcome_name(unsigned outcome)
{
    return outcome < OUT_COUNT ? outcome_names[outcome] : NULL;
}

/* Kinds that say how they ended. */
static bool kind_counts(unsigned kind)
{
    return history_is_read(kind) || kind == HISTORY_ANSWERED;
}

void report_violate(struct report *r, enum promise promise, const char *proof)
{
    uint64_t n = r->violations[promise]++;

    if (n < EXAMPLES_MAX)
        r->examples[promise][n] = strdup(proof);
}

void report_refuse(struct report *r, const char *format, ...)
{
    size_t len = strlen(r->refusals);
    va_list args;

    if (len > 0 && len + 3 < sizeof(r->refusals))
        len += (size_t)snprintf(r->refusals + len, sizeof(r->refusals) - len, "; ");
    va_start(args, format);
    vsnprintf(r->refusals + len, sizeof(r->refusals) - len, format, args);
    va_end(args);
}

uint64_t report_violations(const struct report *r)
{
    uint64_t sum = 0;

    for (int i = 0; i < P_COUNT; i++)
        sum += r->violations[i];
    return sum;
}

uint64_t report_timeless_violations(const struct report *r)
{
    return report_violations(r) - r->violations[P_AVAIL] - r->violations[P_CONV];
}

double report_stalled_share(const struct report *r)
{
    return share(r->ticks_stalled, r->ticks);
}

bool report_is_stalled(const struct report *r)
{
    return report_stalled_share(r) > STALLED_SHARE_MAX;
}

void report_deinit(struct report *r)
{
    for (int i = 0; i < P_COUNT; i++) {
        for (int n = 0; n < EXAMPLES_MAX; n++)
            free(r->examples[i][n]);
    }
}

static const char *verdict(const struct report *r)
{
    if (report_is_stalled(r) && !report_timeless_violations(r))
        return "the machine was too slow";
    return report_violations(r) ? "violated" : r->refusals[0] ? "refused to pass" : "passed";
}

/* ---- as text ---------------------------------------------------------------------------------------------- */

static void print_histogram(FILE *to, const char *what, const struct histogram *h)
{
    fprintf(to, "%-34s max %.3f ms, p50 %.3f, p99 %.3f, p99.99 %.3f (%" PRIu64 ")\n", what,
            (double)h->max_ns / 1e6, (double)histogram_quantile(h, .5) / 1e6,
            (double)histogram_quantile(h, .99) / 1e6, (double)histogram_quantile(h, .9999) / 1e6, h->count);
}

static void print_outcomes(const struct report *r, FILE *to)
{
    for (unsigned kind = 0; kind < sizeof(kind_names) / sizeof(*kind_names); kind++) {
        uint64_t sum = 0;

        for (int o = 0; o < OUT_COUNT; o++)
            sum += r->outcomes[kind][o];
        if (!kind_counts(kind) || !sum)
            continue;
        fprintf(to, "  %-12s %12" PRIu64 ":", kind_names[kind], sum);
        for (int o = 0; o < OUT_COUNT; o++) {
            if (r->outcomes[kind][o])
                fprintf(to, " %s %" PRIu64, outcome_names[o], r->outcomes[kind][o]);
        }
        fprintf(to, "\n");
    }
}

void report_print_text(const struct report *r, FILE *to)
{
    fprintf(to, "operations in %.1f s, by kind and outcome:\n", r->seconds);
    print_outcomes(r, to);
    fprintf(to,
            "reads %" PRIu64 ", checked %" PRIu64 ", of unknown position %" PRIu64
            ", proof older than the call %.4f\n",
            r->reads, r->checked, r->unjudged, share(r->hits, r->reads));
    fprintf(to,
            "commits seen %" PRIu64 ", writes acknowledged %" PRIu64 ", clears %" PRIu64 ", epochs %" PRIu64 "\n",
            r->commits, r->acknowledged, r->clears, r->epochs);
    if (r->stats_lives)
        fprintf(to, "stats of %" PRIu64 " lives of daemons: reads %" PRIu64 ", hits %.4f\n", r->stats_lives,
                r->stats_reads, share(r->stats_hits, r->stats_reads));
    fprintf(to, "streams cut off %" PRIu64 ", history %.1f bytes per record\n", r->streams_cut,
            share(r->bytes, r->records));
    fprintf(to,
            "without a fault the machine held a pod back in %.4f of the time; excused: AVAIL %" PRIu64
            ", CONV %" PRIu64 "\n",
            report_stalled_share(r), r->excused[P_AVAIL], r->excused[P_CONV]);
    if (r->excuse[0])
        fprintf(to, "the last one excused: %s", r->excuse);
    print_histogram(to, "age of the proof at hand-over:", &r->age);
    print_histogram(to, "the same, of values marked stale:", &r->stale_age);
    print_histogram(to, "values read after a newer commit:", &r->staleness);
    print_histogram(to, "first hit after healing:", &r->first_hit);
    for (int i = 0; i < P_COUNT; i++) {
        if (!r->violations[i])
            continue;
        fprintf(to, "%s violated %" PRIu64 " times\n", promise_names[i], r->violations[i]);
        for (int n = 0; n < EXAMPLES_MAX && r->examples[i][n]; n++)
            fprintf(to, "%s\n", r->examples[i][n]);
    }
    if (r->refusals[0])
        fprintf(to, "refused to pass: %s\n", r->refusals);
    fprintf(to, "verdict: %s\n", verdict(r));
}

/* ---- as JSON ---------------------------------------------------------------------------------------------- */

static void json_text(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", to);
        else if (*text == '"' || *text == '\\')
            fprintf(to, "\\%c", *text);
        else if ((unsigned char)*text >= 32)
            fputc(*text, to);
    }
    fputc('"', to);
}

static void json_histogram(FILE *to, const char *name, const struct histogram *h)
{
    fprintf(to,
            "  \"%s\": {\"count\": %" PRIu64 ", \"max_ms\": %.6f, \"p50_ms\": %.6f, \"p99_ms\": %.6f, "
            "\"p9999_ms\": %.6f},\n",
            name, h->count, (double)h->max_ns / 1e6, (double)histogram_quantile(h, .5) / 1e6,
            (double)histogram_quantile(h, .99) / 1e6, (double)histogram_quantile(h, .9999) / 1e6);
}

/* Upper edges in ns and counts, so that several reports can be added up. */
static void json_buckets(FILE *to, const char *name, const struct histogram *h)
{
    const char *comma = "";

    fprintf(to, "  \"%s\": [", name);
    for (unsigned i = 0; i < 1024; i++) {
        if (!h->buckets[i])
            continue;
        fprintf(to, "%s[%" PRIu64 ", %" PRIu64 "]", comma, bucket_ns(i), h->buckets[i]);
        comma = ", ";
    }
    fprintf(to, "],\n");
}

static void json_operations(FILE *to, const struct report *r)
{
    const char *comma = "";

    fprintf(to, "  \"operations\": {");
    for (unsigned kind = 0; kind < sizeof(kind_names) / sizeof(*kind_names); kind++) {
        const char *inner = "";

        if (!kind_counts(kind))
            continue;
        fprintf(to, "%s\"%s\": {", comma, kind_names[kind]);
        comma = ", ";
        for (int o = 0; o < OUT_COUNT; o++) {
            if (!r->outcomes[kind][o])
                continue;
            fprintf(to, "%s\"%s\": %" PRIu64, inner, outcome_names[o], r->outcomes[kind][o]);
            inner = ", ";
        }
        fprintf(to, "}");
    }
    fprintf(to, "},\n");
}

static void json_violations(FILE *to, const struct report *r)
{
    const char *comma = "";

    fprintf(to, "  \"violations\": {");
    for (int i = 0; i < P_COUNT; i++) {
        if (!r->violations[i])
            continue;
        fprintf(to, "%s\"%s\": {\"count\": %" PRIu64 ", \"proof\": [", comma, promise_names[i], r->violations[i]);
        for (int n = 0; n < EXAMPLES_MAX && r->examples[i][n]; n++) {
            fputs(n ? ", " : "", to);
            json_text(to, r->examples[i][n]);
        }
        fprintf(to, "]}");
        comma = ", ";
    }
    fprintf(to, "},\n");
}

void report_print_json(const struct report *r, FILE *to)
{
    fprintf(to, "{\n");
    json_operations(to, r);
    fprintf(to,
            "  \"seconds\": %.3f, \"records\": %" PRIu64 ", \"bytes\": %" PRIu64 ",\n"
            "  \"reads\": %" PRIu64 ", \"checked_reads\": %" PRIu64 ", \"unjudged_reads\": %" PRIu64
            ", \"hits_seen\": %" PRIu64 ",\n"
            "  \"commits\": %" PRIu64 ", \"acknowledged\": %" PRIu64 ", \"clears\": %" PRIu64
            ", \"epochs\": %" PRIu64 ", \"streams_cut\": %" PRIu64 ",\n"
            "  \"stats\": {\"lives\": %" PRIu64 ", \"reads\": %" PRIu64 ", \"hits\": %" PRIu64 "},\n",
            r->seconds, r->records, r->bytes, r->reads, r->checked, r->unjudged, r->hits, r->commits,
            r->acknowledged, r->clears, r->epochs, r->streams_cut, r->stats_lives, r->stats_reads, r->stats_hits);
    json_histogram(to, "age", &r->age);
    json_buckets(to, "age_buckets", &r->age);
    json_histogram(to, "stale_age", &r->stale_age);
    json_histogram(to, "staleness", &r->staleness);
    json_buckets(to, "staleness_buckets", &r->staleness);
    json_histogram(to, "first_hit", &r->first_hit);
    json_buckets(to, "first_hit_buckets", &r->first_hit);
    json_violations(to, r);
    fprintf(to,
            "  \"stalled_share\": %.6f, \"looks\": %" PRIu64 ", \"excused\": {\"AVAIL\": %" PRIu64
            ", \"CONV\": %" PRIu64 "},\n",
            report_stalled_share(r), r->ticks, r->excused[P_AVAIL], r->excused[P_CONV]);
    fprintf(to, "  \"refused_to_pass\": ");
    json_text(to, r->refusals);
    fprintf(to, ",\n  \"verdict\": \"%s\"\n}\n", verdict(r));
}
