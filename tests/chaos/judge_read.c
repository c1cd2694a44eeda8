#include <string.h>

#include "tests/chaos/judge.h"

#define HORIZON_NS (UINT64_C(10) * 1000000000)

/* A read while it is judged. */
struct seen {
    struct judge *j;
    const struct history_record *r;
    struct truth_write *write; /* NULL: absent */
    uint64_t number, order;
    uint32_t epoch;
    unsigned pod, outcome;
    uint64_t invoked, as_of, check;
};

static void violate(const struct seen *s, enum promise promise, const struct demand *d, const char *what)
{
    judge_violate(s->j, promise, s->r, NULL, d, what);
}

/* ---- position --------------------------------------------------------------------------------------------- */

enum position { KNOWN, NOT_YET, UNKNOWN };

static enum position missing(struct seen *s, bool final, const char *what)
{
    if (!s->j->truth->total)
        return UNKNOWN;
    if (!final)
        return NOT_YET;
    violate(s, P_NOGARB, NULL, what);
    return UNKNOWN;
}

static enum position position_of_value(struct seen *s, bool final)
{
    struct truth_write *w;

    s->number = s->r->what & NUMBER_MASK;
    if (s->number >> COUNTER_BITS >= STREAMS_MAX) {
        violate(s, P_NOGARB, NULL, "a value that nobody wrote:");
        return UNKNOWN;
    }
    w = s->write = truth_write_at(s->j->truth, s->number);
    if (!w->invoked) {
        violate(s, P_NOGARB, NULL, "a value that nobody had written:");
        return UNKNOWN;
    }
    if (w->key != s->r->key || (w->rejected && !w->doubt && !w->acked)) {
        violate(s, P_NOGARB, NULL, "the value of another key, or of a write that was rejected:");
        return UNKNOWN;
    }
    if (!w->order)
        return missing(s, final, "a value that was never committed:");
    if (w->twice)
        return UNKNOWN;
    if (history_fold(w->version) != s->r->what >> NUMBER_BITS) {
        /* Known is the version of the attempt that was acknowledged; an earlier one got its own, and was lost
         * since. */
        if (!s->j->truth->total && w->doubt && !w->asked)
            return UNKNOWN;
        violate(s, P_NOGARB, NULL, "the value under another version than it was committed with:");
    }
    s->order = w->order;
    s->epoch = w->epoch;
    return KNOWN;
}

static enum position position_of_absent(struct seen *s, bool final)
{
    struct truth_absent absent;

    if (s->r->what == 0 && !s->j->truth->total)
        return UNKNOWN;
    if (!truth_find_absent(s->j->truth, s->r->key, s->r->what, s->r->time, &absent))
        return missing(s, final, "a tombstone that was never committed:");
    s->order = absent.order;
    s->epoch = absent.epoch;
    s->number = absent.number;
    return absent.number && truth_write_at(s->j->truth, absent.number)->twice ? UNKNOWN : KNOWN;
}

/* ---- demands ---------------------------------------------------------------------------------------------- */

/* Nothing may be demanded of a key that has expired since. */
static bool excused(const struct seen *s, const struct demand *d)
{
    return !s->write && d->number && truth_write_at(s->j->truth, d->number)->expires;
}

/*
 * What a loss took away is demanded of nobody: nothing shows that the store had it after the newest loss that took
 * anything, and the read did not end before that. (A record that survives a loss keeps the epoch that it was
 * written in, so that epochs do not show it; with a file for truth, positions do.)
 */
static bool lost_since(const struct seen *s, uint64_t since)
{
    const struct judge *j = s->j;

    return !j->truth->total && j->lost_to && since < j->lost_to && s->r->time > j->lost_from;
}

/* A newer state of the key was known by then, and is not known to be lost. */
static bool superseded_before(const struct seen *s, uint64_t before)
{
    const struct truth_write *w = s->write;

    return w && w->superseded && w->superseded < before &&
           !lost_since(s, truth_write_at(s->j->truth, w->superseded_by)->since);
}

/* Without a file for truth positions of two epochs are compared only as far as the newest loss lies between them.
 */
static bool is_behind(const struct seen *s, const struct demand *d)
{
    const struct judge *j = s->j;
    const struct truth_epoch *seen = &j->truth->epochs[s->epoch], *wanted = &j->truth->epochs[d->epoch];

    if (j->truth->total || s->epoch == d->epoch)
        return s->order < d->order;
    return j->loss_to && s->write && d->number && d->since > j->loss_to && wanted->first_ack > j->loss_to &&
           seen->first_ack && seen->first_ack < j->loss_from;
}

static bool require(const struct seen *s, enum promise promise, const struct demand *d, const char *what)
{
    if (!d || !is_behind(s, d) || excused(s, d) || lost_since(s, d->since))
        return true;
    violate(s, promise, d, what);
    return false;
}

static void judge_pod(const struct seen *s)
{
    const struct demand *own = line_before(&s->j->own[s->pod][s->r->key], s->invoked);

    require(s, own && own->is_delete ? P_NORES : P_RYW, own, "older than what this pod had acknowledged:");
    require(s, P_MONO, line_before(&s->j->reads[s->pod][s->r->key], s->invoked),
            "older than what this pod had read:");
}

static void judge_anywhere(const struct seen *s)
{
    const struct line *lines[] = {&s->j->acks[s->r->key], &s->j->clears};
    uint64_t bound = s->check > s->j->bound_ns ? s->check - s->j->bound_ns : 0;

    for (int i = 0; i < 2; i++) {
        if (!lines[i]->count)
            continue;
        if (s->outcome != OUT_STALE && !require(s, P_BOUND, line_before(lines[i], bound), "older than D:"))
            continue;
        require(s, P_GAP0, line_before(lines[i], s->as_of), "as_of passes what it does not reflect:");
        if ((s->r->kind & 15) == HISTORY_STRONG)
            require(s, P_STRONG, line_before(lines[i], s->invoked), "a strong read misses:");
    }
}

static void judge_loss(const struct seen *s)
{
    const struct judge *j = s->j;
    const struct truth_epoch *e = &j->truth->epochs[s->epoch];

    require(s, P_LOSSVIS, line_before(&j->losses, s->as_of), "served from before a flush that was over by as_of:");
    if (j->loss_empty && !j->truth->total && s->write && s->as_of > j->loss_to && e->first_ack &&
        e->first_ack < j->loss_from)
        violate(s, P_LOSSVIS, NULL, "served from before Redis came back empty:");
}

/* ---- after healing ---------------------------------------------------------------------------------------- */

/* Due 2 s + D after healing, and as much later as the machine held the pod back since. */
static void unconverged(const struct seen *s, const char *what)
{
    struct judge *j = s->j;
    uint64_t due = j->healed_at + 2 * UINT64_C(1000000000) + j->bound_ns;
    struct late l = {.promise = P_CONV, .what = what, .record = *s->r};

    l.excuses[0].from = j->healed_at;
    l.excuses[0].excess = j->healed_at && s->invoked > due ? s->invoked - due : 0;
    if (s->outcome == OUT_REFUSED) {
        l.excuses[1].from = time_before(s->invoked, j->bound_ns);
        l.excuses[1].excess = j->bound_ns / 2;
        l.excuses[1].own_from = s->invoked;
    } else if (s->outcome > OUT_LOCAL) { /* a call that took its whole time, most of it without a CPU */
        l.excuses[1].from = s->invoked;
        l.excuses[1].excess = s->r->latency * (uint64_t)HISTORY_UNIT / 2;
        l.excuses[1].own_from = s->invoked;
    }
    late_add(j, &l);
}

static void judge_converged(const struct seen *s, enum position position)
{
    struct judge *j = s->j;
    const struct truth_key *k = &j->truth->keys[s->r->key];
    uint32_t what = (uint32_t)(s->r->what ^ s->r->what >> 32) ^ (uint32_t)(s->outcome == OUT_ABSENT);
    bool lives = k->kind == TRUTH_VALUE && k->order > j->truth->none_order && k->number;

    if (s->outcome != OUT_VALUE && s->outcome != OUT_ABSENT) {
        unconverged(s, "no answer after all faults were healed:");
        return;
    }
    if (position == KNOWN && superseded_before(s, s->invoked))
        unconverged(s, "not what Redis holds:");
    if (!s->write && j->truth->total && lives) {
        const struct truth_write *w = truth_write_at(j->truth, k->number);

        if (!w->expires && w->committed && w->committed < s->invoked)
            unconverged(s, "absent, but Redis holds a value:");
    }
    if (s->write && s->write->expires)
        return;
    if (j->converged_known[s->r->key] && j->converged[s->r->key] != what && !(!s->write && s->r->what == 0))
        unconverged(s, "not what another pod read in the same pass:");
    j->converged[s->r->key] = what;
    j->converged_known[s->r->key] = s->write || s->r->what;
}

/* ---- all -------------------------------------------------------------------------------------------------- */

static void judge_flags(const struct seen *s)
{
    unsigned flags = s->r->pod_flags >> 4;

    if (flags & FLAG_GARBAGE)
        violate(s, P_NOGARB, NULL, "the payload is not what was written:");
    if (flags & FLAG_LOWER)
        violate(s, P_MINVERSION, NULL, "below the min_version of the call:");
    if (flags & FLAG_STALER)
        violate(s, P_BOUND, NULL, "staler than the call permits:");
    if (s->outcome == OUT_LOCAL)
        violate(s, P_NOGARB, NULL, "a local value in a pod that writes:");
}

static void judge_age(const struct seen *s)
{
    uint64_t age = (uint64_t)s->r->age * HISTORY_UNIT;

    histogram_add(s->outcome == OUT_STALE ? &s->j->report->stale_age : &s->j->report->age, age);
    if (age > (s->outcome == OUT_STALE ? s->j->max_stale_ns : s->j->bound_ns))
        violate(s, P_BOUND, NULL, "the proof was older than permitted when it was handed over:");
    if (s->outcome != OUT_STALE && superseded_before(s, s->check))
        histogram_add(&s->j->report->staleness, s->check - s->write->superseded);
}

static void remember(const struct seen *s)
{
    struct demand d = {.at = s->r->time,
                       .since = s->as_of,
                       .order = s->order,
                       .number = s->number,
                       .epoch = s->epoch,
                       .pod = (uint8_t)s->pod};

    if (!s->write && s->r->what == 0)
        return; /* the history of the key had ended: this binds no later read */
    line_push(&s->j->reads[s->pod][s->r->key], d, HORIZON_NS);
}

bool judge_read(struct judge *j, const struct history_record *r, bool final)
{
    struct seen s = {.j = j,
                     .r = r,
                     .pod = r->pod_flags & 15,
                     .outcome = r->kind >> 4,
                     .invoked = record_invoked(r),
                     .as_of = record_as_of(r)};
    bool answered = s.outcome <= OUT_STALE, converges = (r->kind & 15) == HISTORY_CONVERGE;
    enum position position = UNKNOWN;

    s.check = s.as_of + (uint64_t)r->age * HISTORY_UNIT;
    if (answered && !(r->pod_flags >> 4 & FLAG_GARBAGE))
        position = s.outcome == OUT_ABSENT ? position_of_absent(&s, final) : position_of_value(&s, final);
    if (position == NOT_YET)
        return false;
    j->report->reads++;
    judge_flags(&s);
    if (converges)
        judge_converged(&s, position);
    if (!answered)
        return true;
    judge_age(&s);
    j->report->hits += s.as_of < s.invoked;
    if (position == UNKNOWN) {
        j->report->unjudged++;
        return true;
    }
    j->report->checked++;
    judge_pod(&s);
    judge_anywhere(&s);
    judge_loss(&s);
    remember(&s);
    return true;
}
