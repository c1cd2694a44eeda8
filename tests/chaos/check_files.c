#include "tests/chaos/check_files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/json.h"

#define FAULTS_MAX 128

/* ---- stats ------------------------------------------------------------------------------------------------ */

static const char *const stat_names[] = {"reads", "hits", "misses", "refused", "errors"};

enum { STATS = 5 };

/* Consecutive numbers of one object. */
struct stats {
    struct report *report;
    char life[32];
    double values[STATS];
    bool known[STATS];
    unsigned pod;
};

static void stats_judge(struct stats *s)
{
    const double *v = s->values;
    char text[256];
    bool complete = true;

    if (!s->life[0])
        return;
    for (int i = 0; i < STATS; i++)
        complete &= s->known[i];
    s->report->stats_lives++;
    s->report->stats_reads += (uint64_t)v[0];
    s->report->stats_hits += (uint64_t)v[1];
    snprintf(text, sizeof(text),
             "stats number %s of pod %u: reads %.0f, hits %.0f, misses %.0f, refused %.0f, errors %.0f%s\n",
             s->life, s->pod, v[0], v[1], v[2], v[3], v[4], complete ? "" : " (one is missing)");
    if (!complete || v[0] != v[1] + v[2] + v[3] + v[4])
        report_violate(s->report, P_TRUTH, text);
}

static void stats_number(void *ctx, const char *path, double value)
{
    struct stats *s = ctx;
    const char *dot = strchr(path, '.');
    size_t len = dot ? (size_t)(dot - path) : 0;

    if (!dot || len >= sizeof(s->life))
        return;
    if (strncmp(s->life, path, len) != 0 || s->life[len]) {
        stats_judge(s);
        *s = (struct stats){.report = s->report};
        memcpy(s->life, path, len);
    }
    if (strcmp(dot + 1, "pod") == 0)
        s->pod = (unsigned)value;
    for (int i = 0; i < STATS; i++) {
        if (strcmp(dot + 1, stat_names[i]) != 0)
            continue;
        s->values[i] = value;
        s->known[i] = true;
    }
}

static int check_stats(const char *path, struct report *report)
{
    struct stats s = {.report = report};
    int r = json_read(path, stats_number, &s);

    if (r < 0)
        return r;
    stats_judge(&s);
    if (report->stats_hits * 2 <= report->stats_reads)
        report_refuse(report, "hits were %" PRIu64 " of %" PRIu64 " reads, not more than half", report->stats_hits,
                      report->stats_reads);
    return 0;
}

/* ---- faults ----------------------------------------------------------------------------------------------- */

struct fired {
    char names[FAULTS_MAX][48];
    double values[FAULTS_MAX];
    int count;
};

static void fired_number(void *ctx, const char *path, double value)
{
    struct fired *f = ctx;

    if (f->count == FAULTS_MAX || strlen(path) >= sizeof(f->names[0]))
        return;
    memcpy(f->names[f->count], path, strlen(path) + 1);
    f->values[f->count++] = value;
}

static double fired_value(const struct fired *f, const char *fault, const char *what)
{
    char path[48];

    snprintf(path, sizeof(path), "%s.%s", fault, what);
    for (int i = 0; i < f->count; i++) {
        if (strcmp(f->names[i], path) == 0)
            return f->values[i];
    }
    return 0;
}

static int check_fired(const struct check_config *config, struct report *report)
{
    static struct fired f;
    char *names = strdup(config->require), *state = NULL;
    int r = config->fired ? json_read(config->fired, fired_number, &f) : 0;

    for (char *name = strtok_r(names, ",", &state); name && r == 0; name = strtok_r(NULL, ",", &state)) {
        if (fired_value(&f, name, "count") <= 0)
            report_refuse(report, "%s did not fire", name);
        else if (fired_value(&f, name, "effect") <= 0)
            report_refuse(report, "%s had no effect", name);
    }
    free(names);
    return r;
}

int check_files(const struct check_config *config, struct report *report)
{
    int r = config->stats ? check_stats(config->stats, report) : 0;

    if (r < 0) {
        fprintf(stderr, "chaos-check: %s: %s\n", config->stats, strerror(-r));
        return -1;
    }
    r = config->require ? check_fired(config, report) : 0;
    if (r < 0)
        fprintf(stderr, "chaos-check: %s: %s\n", config->fired, strerror(-r));
    return r < 0 ? -1 : 0;
}
