/*
 * How a read is judged, at the moment the application has it from the library. Its answer has a position on the
 * timeline of the epoch that the core was in when it answered. Then, with every position p that had to be visible:
 * position >= p.
 *
 *   MONO    p of every read of the pod that had returned before this one was invoked
 *   RYW     p of every write that this pod had acknowledged before; NORES if that was a delete
 *   FILL    p of every message that went into this core before its answer (judged there, check_core.c)
 *   GAP0    p of every write acknowledged anywhere before as_of
 *   BOUND   p of every write acknowledged anywhere before t - D, t being now
 *   STRONG  p of every write acknowledged anywhere before the read was invoked
 *
 * Positions rise with time even where versions start again after an expiry, so this is the promise and more.
 * Reads of an epoch that the truth does not know cannot be: LOSSVIS.
 *
 * Several answers of the core can be the one that was handed over, if they are equal in version and payload; then
 * one of them has to be right. Exempt are, and no more (EXEMPTIONS; each is counted, and `sim --seeds` says how
 * often):
 *   - local values (by name) from all but NOGARB: they have to be this reader pod's own
 *   - stale answers from BOUND and STRONG, as far as they were permitted
 *   - a server that was demoted, or has followed another one, from all but LOSSVIS: until this core's next
 * heartbeat is answered, which has to start in time (check_unaware_until)
 *   - an epoch whose meta was put back by hand: past dcached, nothing is promised; the next one has to be right
 *   - messages of an epoch whose seq went back from FILL: they may look late until somebody notices
 *   - what is absent without a tombstone binds no later read: the key's history had ended
 * Where the wall clock of a store was set back, lives and deadlines are longer by as much as it was behind, and no
 * more (check_core.c, check_writes.c).
 * An old primary that a split keeps alive is an epoch of its own, which has not ended: its readers are judged by
 * it.
 */
#include "tests/sim/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/sim/witness.h"

#define LATE_NS (10 * OS_MS)

/* What is wrong with taking an answer of a core for what the application has. */
struct verdict {
    const char *promise; /* NULL: nothing */
    char text[300];
};

static void blame(struct verdict *v, const char *promise, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void blame(struct verdict *v, const char *promise, const char *format, ...)
{
    va_list args;

    if (v->promise)
        return;
    v->promise = promise;
    va_start(args, format);
    vsnprintf(v->text, sizeof(v->text), format, args);
    va_end(args);
}

int check_position(struct world *w, int epoch, int key, int content, uint64_t version)
{
    witness_settle(w, key);
    if (content >= 0)
        return truth_find_value(&w->truth, epoch, key, version, content);
    if (version)
        return truth_find_tombstone(&w->truth, epoch, key, version);
    return truth_find_absent(&w->truth, epoch, key);
}

/*
 * Nothing but a heartbeat shows a role and a history; what such a server copies from its new master until then is
 * not of the epoch. The next heartbeat starts H after the one before, or as soon as what keeps it waiting has
 * ended, which takes D at most.
 */
uint64_t check_unaware_until(const struct world *w, const struct pod *pod, const struct run_id *run)
{
    const struct beat *b = &pod->beat;
    uint64_t until = b->asked_at + w->bound_ns / 4;

    if (truth_run_changed(&w->truth, run) <= b->known_at)
        return 0;
    if (b->busy_since != NEVER)
        until = b->busy_since + w->bound_ns;
    if (b->free_at > until)
        until = b->free_at;
    if (pod->resumed_at > until)
        until = pod->resumed_at;
    return until + LATE_NS;
}

static void require(struct world *w, struct verdict *v, const struct op *op, int epoch, const char *promise,
                    int position, int wanted)
{
    const struct truth_state *got, *want;

    if (wanted < 0 || position >= wanted)
        return;
    got = truth_at(&w->truth, epoch, op->key, position);
    want = truth_at(&w->truth, epoch, op->key, wanted);
    blame(v, promise,
          "op %d read %s version %" PRIu64 " seq %" PRIu64 ", had to see %s version %" PRIu64 " seq %" PRIu64
          " of %.6f",
          op->number, got->kind == TRUTH_VALUE ? "value" : "absent", got->version, got->seq,
          want->kind == TRUTH_VALUE ? "value" : "absent", want->version, want->seq, (double)want->at / 1e9);
}

static void judge_floor(struct world *w, struct verdict *v, const struct op *op, int epoch, int position)
{
    const struct seen *seen = check_seen_before(&w->pods[op->pod], op->key, epoch, op->invoked_at);

    if (!seen)
        return;
    require(w, v, op, epoch, seen->own_is_delete ? "NORES" : "RYW", position, seen->own_position);
    require(w, v, op, epoch, "MONO", position, seen->read_position);
}

/* Nothing of an epoch that had ended before as_of, unless the core could not know it. */
static void judge_epoch_lives(struct world *w, struct verdict *v, const struct op *op,
                              const struct core_answer *answer)
{
    const struct truth_epoch *e = &w->truth.epochs[answer->epoch];

    if (e->ends != NEVER && answer->as_of > e->ends && answer->as_of > answer->unaware_until)
        blame(v, "LOSSVIS", "op %d is served from epoch %d, which ended %.6f before as_of", op->number,
              answer->epoch, (double)(answer->as_of - e->ends) / 1e9);
}

static void judge_freshness(struct world *w, struct verdict *v, const struct op *op,
                            const struct core_answer *answer, int position)
{
    const struct truth *t = &w->truth;
    uint64_t now = world_now(w);

    judge_epoch_lives(w, v, op, answer);
    require(w, v, op, answer->epoch, "GAP0", position, truth_required(t, answer->epoch, op->key, answer->as_of));
    if (op->read_state == DCACHE_STATE_STALE) {
        world_exempt(w, EXEMPT_stale);
        return;
    }
    require(w, v, op, answer->epoch, "BOUND", position,
            truth_required(t, answer->epoch, op->key, now - w->bound_ns));
    if (op->strong)
        require(w, v, op, answer->epoch, "STRONG", position,
                truth_required(t, answer->epoch, op->key, op->invoked_at));
}

static void judge_wishes(const struct world *w, struct verdict *v, const struct op *op,
                         const struct core_answer *answer)
{
    if (!op->min_version)
        return;
    if (op->got_version < op->min_version)
        blame(v, "MINVERSION", "op %d: %" PRIu64 " < %" PRIu64, op->number, op->got_version, op->min_version);
    if (op->min_epoch.text[0] && !epoch_equal(&op->min_epoch, &w->truth.epochs[answer->epoch].id))
        blame(v, "MINVERSION", "op %d: min_version of another epoch", op->number);
}

/* What expired more than D ago is no answer, however late its message was; by the store's clock, which may have
 * been set back. */
static void judge_expiry(const struct world *w, struct verdict *v, const struct op *op,
                         const struct core_answer *answer, int position)
{
    const struct truth_state *s = truth_at(&w->truth, answer->epoch, op->key, position);
    uint64_t expired_ns;

    if (s->kind != TRUTH_VALUE || !s->expiry_ms || op->read_state == DCACHE_STATE_STALE)
        return;
    expired_ns = (s->expiry_ms * 1000 - SERVER_WALL_BASE_US) * OS_US;
    if (world_now(w) > expired_ns + w->bound_ns + w->clock_behind_ns + LATE_NS)
        blame(v, "BOUND", "op %d read version %" PRIu64 ", which expired at %.6f", op->number, s->version,
              (double)expired_ns / 1e9);
}

/* The library maps the daemon's clock to its own, and errs towards older. */
static void judge_as_of(struct verdict *v, const struct op *op, const struct core_answer *answer)
{
    if ((int64_t)(op->as_of - answer->as_of) > 0) /* the clock may have begun after the proof */
        blame(v, "BOUND", "op %d is handed over as of %.9f, the core has proven %.9f", op->number,
              (double)op->as_of / 1e9, (double)answer->as_of / 1e9);
}

/* Returns the position that is now seen, -1: none. */
static int judge(struct world *w, struct verdict *v, const struct op *op, const struct core_answer *answer)
{
    int position;

    if (answer->epoch < 0) {
        blame(v, "LOSSVIS", "op %d is served in an epoch that never was", op->number);
        return -1;
    }
    if (w->truth.epochs[answer->epoch].set_back) {
        world_exempt(w, EXEMPT_set_back);
        return -1;
    }
    position = check_position(w, answer->epoch, op->key, op->content, op->got_version);
    if (answer->unaware_until) {
        world_exempt(w, EXEMPT_unaware);
        judge_epoch_lives(w, v, op, answer);
        return -1;
    }
    if (position < 0) {
        blame(v, "LOSSVIS", "op %d: version %" PRIu64 " content %d never was in epoch %d", op->number,
              op->got_version, op->content, answer->epoch);
        return -1;
    }
    judge_as_of(v, op, answer);
    judge_floor(w, v, op, answer->epoch, position);
    judge_freshness(w, v, op, answer, position);
    judge_expiry(w, v, op, answer, position);
    judge_wishes(w, v, op, answer);
    return position;
}

/* ---- local values, refusals --------------------------------------------------------------------------------- */

/* A local value has to be what a set in this very pod brought. */
static bool was_set_here(const struct world *w, const struct op *read)
{
    for (int i = 0; i < w->ops_count; i++) {
        const struct op *o = w->ops[i];

        if (o->kind == CALL_SET && o->pod == read->pod && o->key == read->key && o->content == read->content &&
            o->version == read->got_version)
            return true;
    }
    return false;
}

static void check_local(struct world *w, const struct op *op)
{
    if (w->pods[op->pod].may_write || op->strong || op->min_version)
        world_violate(w, "NOGARB", op->pod, op->key, "op %d: a local value where none may be", op->number);
    else if (!was_set_here(w, op))
        world_violate(w, "NOGARB", op->pod, op->key, "op %d: a local value that is not this pod's", op->number);
}

static void check_refused(struct world *w, const struct op *op)
{
    if (op->result == DCACHE_E_REFUSED && world_now(w) > op->invoked_at)
        w->statistics->library_refused++;
    if (w->faults_count || op->result == DCACHE_E_MIN_VERSION || op->result == DCACHE_E_OTHER_EPOCH)
        return;
    world_violate(w, "AVAIL", op->pod, op->key, "op %d without any fault: %s", op->number,
                  dcache_result_name(op->result));
}

static bool same_answer(const struct op *op, const struct core_answer *a)
{
    static const enum read_outcome outcomes[] = {
        [DCACHE_STATE_ABSENT] = READ_ABSENT,
        [DCACHE_STATE_FRESH] = READ_FRESH,
        [DCACHE_STATE_STALE] = READ_STALE,
        [DCACHE_STATE_LOCAL] = READ_LOCAL,
    };

    return a->outcome == outcomes[op->read_state] && a->version == op->got_version && a->content == op->content;
}

static void check_stale(struct world *w, const struct op *op)
{
    const struct pod *p = &w->pods[op->pod];
    uint64_t permitted = op->max_stale_ms * OS_MS, most = p->config.staleness.max_stale_ns;

    if (permitted == 0 && p->config.staleness.on_partition == ON_PARTITION_STALE)
        permitted = most;
    permitted = permitted < most ? permitted : most;
    /* The lease is the least that the library allows. */
    if (permitted == 0 || op->age_ns > (permitted > w->bound_ns ? permitted : w->bound_ns))
        world_violate(w, "BOUND", op->pod, op->key, "op %d: staler than permitted", op->number);
}

void check_read_return(struct world *w, struct op *op)
{
    struct pod *p = &w->pods[op->pod];
    struct verdict verdict = {0}, first = {0};
    int position = -1, found = 0;

    if (op->result != DCACHE_OK && op->result != DCACHE_ABSENT) {
        check_refused(w, op);
        return;
    }
    w->statistics->judged++;
    if (op->content >= 0 && w->contents[op->content]->key != op->key)
        world_violate(w, "NOGARB", op->pod, op->key, "op %d: the payload of another key", op->number);
    if (op->result == DCACHE_OK && op->content < 0)
        world_violate(w, "NOGARB", op->pod, op->key, "op %d: a payload that nobody wrote", op->number);
    if (op->read_state == DCACHE_STATE_LOCAL) {
        world_exempt(w, EXEMPT_local);
        check_local(w, op);
        return;
    }
    if (op->read_state == DCACHE_STATE_STALE)
        check_stale(w, op);
    for (int i = p->answers_count[op->key] - 1; i >= 0 && p->answers[op->key][i].at >= op->invoked_at; i--) {
        const struct core_answer *answer = &p->answers[op->key][i];

        if (!same_answer(op, answer))
            continue;
        found++;
        verdict = (struct verdict){0};
        position = judge(w, &verdict, op, answer);
        if (!verdict.promise) {
            /* Nothing stored and no tombstone: the history had ended, and this read binds no later one. */
            if (position >= 0 && (op->content >= 0 || op->got_version))
                check_seen(w, p, op->key, answer->epoch, position, -1, false);
            else if (position >= 0)
                world_exempt(w, EXEMPT_unbinding);
            return;
        }
        if (!first.promise)
            first = verdict;
    }
    if (!found)
        world_violate(w, "NOGARB", op->pod, op->key, "op %d: version %" PRIu64 " was not the answer of any core",
                      op->number, op->got_version);
    else
        world_violate(w, first.promise, op->pod, op->key, "%s", first.text);
}
