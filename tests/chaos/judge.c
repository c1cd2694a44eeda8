#include "tests/chaos/judge.h"

#include <stdlib.h>

static void *lines_new(size_t size)
{
    void *lines = calloc(KEYS_MAX, size);

    if (!lines)
        abort();
    return lines;
}

void judge_init(struct judge *j, struct truth *truth, struct report *report, uint64_t bound_ns,
                uint64_t max_stale_ns)
{
    *j = (struct judge){.truth = truth,
                        .report = report,
                        .bound_ns = bound_ns,
                        .max_stale_ns = max_stale_ns,
                        .faults_from = UINT64_MAX,
                        .acks = lines_new(sizeof(struct line)),
                        .converged = lines_new(sizeof(uint32_t)),
                        .converged_known = lines_new(sizeof(bool))};
    for (int p = 0; p < PODS_MAX; p++) {
        j->reads[p] = lines_new(sizeof(struct line));
        j->own[p] = lines_new(sizeof(struct line));
    }
}

static void lines_free(struct line *lines)
{
    for (unsigned k = 0; k < KEYS_MAX; k++)
        free(lines[k].demands);
    free(lines);
}

void judge_deinit(struct judge *j)
{
    lines_free(j->acks);
    for (int p = 0; p < PODS_MAX; p++) {
        lines_free(j->reads[p]);
        lines_free(j->own[p]);
    }
    free(j->clears.demands);
    free(j->losses.demands);
    free(j->converged);
    stalls_deinit(&j->stalls);
    free(j->late);
    free(j->converged_known);
}

void judge_violate(struct judge *j, enum promise promise, const struct history_record *r,
                   const struct history_more *more, const struct demand *d, const char *what)
{
    char text[2048];
    size_t n = (size_t)snprintf(text, sizeof(text), "%s\n  ", what);
    unsigned kind = r->kind & 15, outcome = r->kind >> 4;

    if (j->report->violations[promise] >= EXAMPLES_MAX) {
        report_violate(j->report, promise, "");
        return;
    }
    n += (size_t)history_format(r, more, text + n, sizeof(text) - n);
    if (kind == HISTORY_ANSWERED || outcome == OUT_VALUE || outcome == OUT_STALE)
        n += (size_t)truth_write_print(j->truth, r->what & NUMBER_MASK, text + n, sizeof(text) - n);
    if (d) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "  but at t=%.6f in pod %u there was order=%llu of\n",
                              (double)d->at / 1e6, d->pod, (unsigned long long)d->order);
        if (d->number)
            truth_write_print(j->truth, d->number, text + n, sizeof(text) - n);
    }
    report_violate(j->report, promise, text);
}

bool judge_record(struct judge *j, const struct history_record *r, const struct history_more *more, bool final)
{
    unsigned kind = r->kind & 15;

    j->now = r->time;
    late_judge(j, false);
    if (!j->begun)
        j->begun = r->time;
    if (history_is_read(kind)) {
        if (!judge_read(j, r, final))
            return false;
        judge_availability(j, r);
    } else if (kind == HISTORY_INVOKED) {
        judge_invoked(j, r, more);
    } else if (kind == HISTORY_ANSWERED) {
        if (!judge_answered(j, r, more, final))
            return false;
    } else if (kind == HISTORY_PHASE) {
        if (!judge_phase(j, r, more, final))
            return false;
    } else {
        if (kind == HISTORY_TICK)
            stalls_note(j, r);
        return true;
    }
    j->report->records++;
    j->report->outcomes[kind][r->kind >> 4]++;
    return true;
}

void judge_end(struct judge *j)
{
    judge_hits_end(j);
    late_judge(j, true);
    j->report->ticks = j->stalls.ticks;
    j->report->ticks_stalled = j->stalls.stalled;
    truth_check_end(j->truth);
    j->report->seconds = (double)(j->now - j->begun) / 1e9;
}
