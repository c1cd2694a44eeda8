#include <stdlib.h>

#include "tests/chaos/judge.h"

void judge_invoked(struct judge *j, const struct history_record *r, const struct history_more *more)
{
    struct truth_write *w = truth_write_at(j->truth, r->what & NUMBER_MASK);
    bool first = !w->invoked;

    if (first)
        w->invoked = r->time;
    if (first && w->order && (w->key != r->key || (more->write.version && w->version != more->write.version)))
        judge_violate(j, P_NOGARB, r, more, NULL, "committed under another key or version than was asked for:");
    w->key = r->key;
    w->kind = more->write.kind;
    w->asked = more->write.version;
    w->expires |= more->write.ttl_ms > 0;
}

static void demand_all(struct judge *j, const struct demand *d, uint16_t key)
{
    uint64_t horizon = 2 * j->bound_ns + UINT64_C(10000000000);

    line_push(&j->acks[key], *d, horizon);
    line_push(&j->own[d->pod][key], *d, horizon);
}

/* A loss makes a new epoch: what is written after it may not be of an epoch from before it. */
static void check_epoch(struct judge *j, const struct history_record *r, const struct history_more *more,
                        struct truth_epoch *e)
{
    if (!e->first_ack)
        e->first_ack = r->time;
    if (j->loss_to && record_invoked(r) > j->loss_to && e->first_ack < j->loss_from)
        judge_violate(j, P_LOSSVIS, r, more, NULL, "acknowledged in an epoch that a loss had ended:");
}

/* It is demanded unless a loss may have undone it. */
static bool accept_clear(struct judge *j, const struct history_record *r, const struct history_more *more,
                         struct truth_epoch *e, bool final)
{
    struct demand d = {.at = r->time, .since = record_invoked(r), .order = e->cleared, .pod = r->pod_flags & 15};

    if (j->truth->total && !e->begun && !final)
        return false;
    check_epoch(j, r, more, e);
    j->report->clears++;
    if (j->truth->total && !e->cleared)
        judge_violate(j, P_ACKDUR, r, more, NULL, "a clear acknowledged, but never in the append-only file:");
    else if (j->truth->total && record_invoked(r) > j->loss_to)
        line_push(&j->clears, d, 2 * j->bound_ns + UINT64_C(10000000000));
    return true;
}

/* Its commit is not in the append-only file: it may be another's tombstone of the same version. */
static bool accept_missing(struct judge *j, const struct history_record *r, const struct history_more *more,
                           bool final)
{
    struct truth_absent absent;

    if (r->kind >> 4 == OUT_DUPLICATE && more->write.kind == WRITE_DELETE &&
        truth_find_absent(j->truth, r->key, more->write.version, r->time, &absent)) {
        struct demand d = {.at = r->time,
                           .since = record_invoked(r),
                           .order = absent.order,
                           .epoch = absent.epoch,
                           .number = absent.number,
                           .pod = r->pod_flags & 15,
                           .is_delete = true};

        demand_all(j, &d, r->key);
        return true;
    }
    if (!final)
        return false;
    judge_violate(j, P_ACKDUR, r, more, NULL, "acknowledged, but never in the append-only file:");
    return true;
}

/* A retry that finds what is stored answers with the epoch of then: one that began after the commit. */
static bool found_later(const struct judge *j, const struct history_record *r, const struct truth_write *w,
                        uint32_t epoch)
{
    const struct truth_epoch *e = &j->truth->epochs[epoch];

    return r->kind >> 4 == OUT_DUPLICATE && e->begun && e->begun > w->order;
}

static bool accept(struct judge *j, const struct history_record *r, const struct history_more *more, bool final)
{
    uint64_t number = r->what & NUMBER_MASK;
    uint32_t epoch = truth_epoch_at(j->truth, more->write.epoch);
    struct truth_write *w = truth_write_at(j->truth, number);
    struct demand d = {.at = r->time,
                       .since = record_invoked(r),
                       .number = number,
                       .pod = r->pod_flags & 15,
                       .is_delete = more->write.kind == WRITE_DELETE};

    if (more->write.kind == WRITE_CLEAR)
        return accept_clear(j, r, more, &j->truth->epochs[epoch], final);
    if (j->truth->total && !w->order && !accept_missing(j, r, more, final))
        return false;
    if (j->truth->total && !final && !j->truth->epochs[epoch].begun)
        return false;
    check_epoch(j, r, more, &j->truth->epochs[epoch]);
    j->report->acknowledged++;
    w->acked = true;
    if (w->rejected && !w->doubt)
        judge_violate(j, P_INDET, r, more, NULL, "acknowledged after it was said not to be done:");
    if (!j->truth->total) {
        if (r->kind >> 4 == OUT_DUPLICATE && !more->write.retry)
            return true; /* another's tombstone */
        w->since = record_invoked(r);
        truth_acknowledge(j->truth, number, epoch, more->write.seq, more->write.version, r->time);
    } else if (!w->order) {
        return true;
    } else if (w->version != more->write.version || w->seq != more->write.seq ||
               (w->epoch != epoch && !found_later(j, r, w, epoch))) {
        judge_violate(j, P_INDET, r, more, NULL, "acknowledged as something else than was committed:");
    }
    d.order = w->order;
    d.epoch = w->epoch;
    demand_all(j, &d, r->key);
    return true;
}

static void reject(struct judge *j, const struct history_record *r, const struct history_more *more)
{
    struct truth_write *w = truth_write_at(j->truth, r->what & NUMBER_MASK);

    w->rejected = true;
    if (w->order && !w->doubt && !w->acked)
        judge_violate(j, P_INDET, r, more, NULL, "said not to be done, but committed:");
}

bool judge_answered(struct judge *j, const struct history_record *r, const struct history_more *more, bool final)
{
    switch (r->kind >> 4) {
    case OUT_ACCEPTED:
    case OUT_DUPLICATE:
        return accept(j, r, more, final);
    case OUT_INDETERMINATE:
        truth_write_at(j->truth, r->what & NUMBER_MASK)->doubt = true;
        return true;
    default:
        if (more->write.kind != WRITE_CLEAR)
            reject(j, r, more);
        return true;
    }
}
