/* Phases of the run: while there are faults refusals and errors are right, afterwards they are not. */
#include <string.h>

#include "tests/chaos/judge.h"

#define HIT_NS UINT64_C(100000000) /* AVAIL: the first hit comes within H + 100 ms */

static void hits_missing(struct judge *j)
{
    for (unsigned pod = 0; pod < PODS_MAX; pod++) {
        struct first_hit *h = &j->first_hits[pod];

        if (h->wanted && h->asked && j->now > j->first_hit_due) {
            struct late l = {.promise = P_AVAIL,
                             .what = "no hit after healing in",
                             .record = {.time = j->now, .pod_flags = (uint8_t)pod}};

            l.excuses[0].from = j->healed_at;
            l.excuses[0].excess = j->now - j->first_hit_due;
            late_add(j, &l);
        }
        *h = (struct first_hit){0};
    }
}

static void healed(struct judge *j, uint64_t at, uint64_t slack)
{
    hits_missing(j);
    j->healed_at = at;
    j->first_hit_due = at + j->bound_ns / 4 + HIT_NS + slack;
    j->refusals_until = j->first_hit_due;
    for (unsigned pod = 0; pod < PODS_MAX; pod++)
        j->first_hits[pod] = (struct first_hit){.wanted = true};
}

/* With a file for truth it says which of its places was before the end of the loss. */
static bool emptied(struct judge *j, uint64_t from, uint64_t to, bool final)
{
    struct demand d = {.at = to};

    if (!j->truth->total)
        return true;
    if (truth_find_emptied(j->truth, from, &d.order))
        line_push(&j->losses, d, UINT64_MAX);
    else if (!final)
        return false;
    else
        report_refuse(j->report, "the note of a flush is not in the append-only file");
    return true;
}

static bool lost(struct judge *j, const struct history_record *r, uint64_t to, bool final)
{
    uint64_t from = r->what;

    if (r->key == PHASE_EMPTIED && !emptied(j, from, to, final))
        return false;
    j->loss_from = from;
    j->loss_to = to;
    j->loss_empty = r->key == PHASE_EMPTIED;
    j->clears.count = 0; /* a loss of meta alone may bring back what was cleared */
    if (r->key == PHASE_KEPT)
        return true;
    j->lost_from = from;
    j->lost_to = to;
    return true;
}

bool judge_phase(struct judge *j, const struct history_record *r, const struct history_more *more, bool final)
{
    switch (r->key) {
    case PHASE_FAULTS:
        hits_missing(j);
        j->faults_from = r->what;
        break;
    case PHASE_HEALED:
        healed(j, r->what, more->argument);
        j->faults_from = UINT64_MAX;
        break;
    case PHASE_LOSS:
    case PHASE_EMPTIED:
    case PHASE_KEPT:
        return lost(j, r, more->argument, final);
    case PHASE_CONVERGE:
        memset(j->converged_known, 0, KEYS_MAX * sizeof(*j->converged_known));
        break;
    default:
        break;
    }
    return true;
}

bool judge_time_counts(const struct judge *j, uint64_t now)
{
    return now < j->faults_from && now > j->refusals_until;
}

static bool errors_are_right(const struct judge *j, const struct history_record *r)
{
    return r->time >= j->faults_from || record_invoked(r) <= j->refusals_until;
}

static void judge_hit(struct judge *j, const struct history_record *r, struct first_hit *h)
{
    uint64_t invoked = record_invoked(r), delay = r->time - j->healed_at;

    if (r->time < j->healed_at)
        return;
    h->asked |= invoked < j->first_hit_due;
    if (r->kind >> 4 != OUT_VALUE || record_as_of(r) >= invoked)
        return;
    h->wanted = false;
    if (!h->asked)
        return;
    histogram_add(&j->report->first_hit, delay);
    if (r->time > j->first_hit_due) {
        struct late l = {.promise = P_AVAIL, .what = "the first hit after healing comes late:", .record = *r};

        l.excuses[0].from = j->healed_at;
        l.excuses[0].excess = r->time - j->first_hit_due;
        l.excuses[0].own_from = j->healed_at; /* it would have asked earlier */
        late_add(j, &l);
    }
}

/*
 * A proof is made every H and holds for D. With a heartbeat's length for itself it is there in time unless the
 * machine takes the rest of D; or it is still late by what the machine took since healing.
 */
static void unserved(struct judge *j, const struct history_record *r)
{
    uint64_t invoked = record_invoked(r);
    struct late l = {.promise = P_AVAIL, .what = "refused without a fault:", .record = *r};

    if (r->kind >> 4 != OUT_REFUSED)
        l.what = "an error without a fault:";
    l.excuses[0].from = time_before(invoked, j->bound_ns);
    l.excuses[0].excess = j->bound_ns / 2;
    l.excuses[0].own_from = invoked;
    l.excuses[1].from = j->healed_at;
    l.excuses[1].excess = j->healed_at ? invoked - j->refusals_until : 0;
    late_add(j, &l);
}

void judge_availability(struct judge *j, const struct history_record *r)
{
    struct first_hit *h = &j->first_hits[r->pod_flags & 15];
    unsigned outcome = r->kind >> 4;
    bool converges = (r->kind & 15) == HISTORY_CONVERGE; /* CONV judges it */

    if (h->wanted)
        judge_hit(j, r, h);
    if (outcome <= OUT_LOCAL || outcome == OUT_VERSION || converges || errors_are_right(j, r))
        return;
    unserved(j, r);
}

void judge_hits_end(struct judge *j)
{
    hits_missing(j);
}
