/* How a write is judged: INDET, UNIQ, NORES, CLEAR, and what its acknowledgement binds from then on. */
#include <inttypes.h>

#include "tests/sim/check.h"

struct op *check_writer(const struct world *w, const uint8_t *write_id)
{
    for (int i = w->ops_count - 1; i >= 0; i--) {
        struct op *op = w->ops[i];

        if ((op->kind == CALL_SET || op->kind == CALL_DELETE) &&
            memcmp(op->write_id, write_id, WRITE_ID_BYTES) == 0)
            return w->ops[op->first];
    }
    return NULL;
}

/* Was the key's history over at some state between these positions (expiry, eviction)? */
static bool history_ended(const struct world *w, int epoch, int key, int from, int to)
{
    for (int p = from; p <= to; p++) {
        if (truth_at(&w->truth, epoch, key, p)->kind == TRUTH_NONE)
            return true;
    }
    return false;
}

/* Is an attempt under way that can have been executed now? None of a reader pod's can. One that was lost with its
 * process may be, too; and where the clock of a store was set back, one whose deadline it has therefore not
 * reached. */
static bool attempt_under_way(const struct world *w, const struct op *first)
{
    for (int i = first->number; i < w->ops_count; i++) {
        const struct op *op = w->ops[i];
        uint64_t back = w->clock_behind_ns + w->clock_ahead_ns;
        uint64_t deadline = op->invoked_at + (uint64_t)op->timeout_ms * OS_MS + back;

        if (op->first != first->number || !w->pods[op->pod].may_write)
            continue;
        if (op->state == OP_ASKED || ((op->state == OP_LOST || back) && world_now(w) <= deadline))
            return true;
    }
    return false;
}

/* Is an attempt past its deadline that a clock which was set back lets through? Its write may have been retried,
 * and overwritten, since. */
static bool late_by_clock(const struct world *w, const struct op *first)
{
    uint64_t back = w->clock_behind_ns + w->clock_ahead_ns, now = world_now(w);

    for (int i = first->number; i < w->ops_count; i++) {
        const struct op *op = w->ops[i];
        uint64_t deadline = op->invoked_at + (uint64_t)op->timeout_ms * OS_MS;

        if (op->first == first->number && now > deadline && now <= deadline + back)
            return true;
    }
    return false;
}

/* Within one life of a key versions rise, whatever the application asked for. */
static void check_order(struct world *w, int epoch, int key, int position)
{
    const struct truth_state *s = truth_at(&w->truth, epoch, key, position), *before;

    if (position == 0)
        return;
    before = truth_at(&w->truth, epoch, key, position - 1);
    if (before->kind != TRUTH_NONE && s->version <= before->version)
        world_violate(w, before->kind == TRUTH_TOMBSTONE ? "NORES" : "UNIQ", -1, key,
                      "version %" PRIu64 " was committed over version %" PRIu64, s->version, before->version);
}

void check_commit(struct world *w, int epoch, int key, int position)
{
    const struct truth_state *s = truth_at(&w->truth, epoch, key, position);
    struct op *op = check_writer(w, s->write_id);

    if (!op) {
        world_violate(w, "NOGARB", -1, key, "version %" PRIu64 " was committed by nobody", s->version);
        return;
    }
    check_order(w, epoch, key, position);
    if (!attempt_under_way(w, op))
        world_violate(w, "INDET", op->pod, key, "op %d was committed after its answer", op->number);
    if (op->commits && op->commit_epoch == epoch && !late_by_clock(w, op) &&
        !history_ended(w, epoch, key, op->commit_position, position))
        world_violate(w, "INDET", op->pod, key, "op %d was committed twice", op->number);
    op->commits++;
    op->commit_epoch = epoch;
    op->commit_position = position;
    op->commit_at = world_now(w);
}

/*
 * The position of what the pod says is stored; -1: not in this epoch. What was accepted is the call's own; a
 * duplicate was met while the call was under way: the first of those that may be it, since the same can be stored
 * again once it has expired.
 */
static int written_position(const struct world *w, const struct op *op, int epoch)
{
    const struct truth_line *line = &w->truth.epochs[epoch].lines[op->key];
    enum truth_kind kind = op->kind == CALL_DELETE ? TRUTH_TOMBSTONE : TRUTH_VALUE;

    for (int i = 0; i < line->states_count; i++) {
        const struct truth_state *s = &line->states[i];

        if (s->kind != kind || s->version != op->got_version ||
            (kind == TRUTH_VALUE && s->content != op->content) ||
            (op->result == DCACHE_OK && memcmp(s->write_id, op->write_id, WRITE_ID_BYTES) != 0) ||
            (i + 1 < line->states_count && s[1].at < op->invoked_at))
            continue;
        return i;
    }
    return -1;
}

static void check_acknowledged(struct world *w, const struct op *op)
{
    const struct op *first = w->ops[op->first];
    int position = -1;

    for (int e = w->truth.count - 1; e >= 0 && position < 0; e--) {
        if (!epoch_equal(&w->truth.epochs[e].id, &op->got_epoch))
            continue;
        position = written_position(w, op, e);
        if (position < 0)
            continue;
        truth_acknowledge(&w->truth, e, op->key, world_now(w), position);
        check_seen(w, &w->pods[op->pod], op->key, e, -1, position, op->kind == CALL_DELETE);
    }
    if (position < 0)
        world_violate(w, "INDET", op->pod, op->key, "op %d is acknowledged and was not committed in epoch %.6s",
                      op->number, op->got_epoch.text);
    else if (op->result == DCACHE_OK && (!first->commits || first->commit_at < op->invoked_at))
        world_violate(w, "INDET", op->pod, op->key, "op %d is accepted, but not by its own commit", op->number);
    else if (op->version && op->got_version != op->version)
        world_violate(w, "UNIQ", op->pod, op->key, "op %d asked for version %" PRIu64 " and got %" PRIu64,
                      op->number, op->version, op->got_version);
}

/*
 * Where the clock of the store was set back, an earlier attempt can be executed after its deadline, thus while its
 * retry waits. A retry that never went to Redis is not what committed, and its answer speaks of itself alone.
 */
static bool earlier_committed(const struct world *w, const struct op *op)
{
    return w->clock_jumped && op->first != op->number && !op->sent;
}

/* Was all that was stored up to the first seq of this epoch absent in it? */
static bool clears_everything(const struct truth_epoch *e)
{
    for (int k = 0; k < SIM_KEYS; k++) {
        const struct truth_line *line = &e->lines[k];

        if (line->states_count && line->states[0].kind != TRUTH_NONE && line->states[0].seq <= e->begins_at_seq)
            return false;
    }
    return true;
}

/* CLEAR: an acknowledged one has begun an epoch while it was under way, in which nothing of before is there. */
static void check_clear(struct world *w, const struct op *op)
{
    const struct truth_epoch *e = truth_first_of(&w->truth, &op->got_epoch);

    if (op->result != DCACHE_OK) {
        if (!w->faults_count && w->pods[op->pod].may_write)
            world_violate(w, "AVAIL", op->pod, -1, "op %d without any fault: %s", op->number,
                          dcache_result_name(op->result));
        return;
    }
    if (!e || e->begins < op->invoked_at)
        world_violate(w, "CLEAR", op->pod, -1, "op %d is acknowledged, and epoch %.6s did not begin with it",
                      op->number, op->got_epoch.text);
    else if (!clears_everything(e))
        world_violate(w, "CLEAR", op->pod, -1, "op %d is acknowledged, and records of before are there",
                      op->number);
}

/* Was this very version and payload stored at any time? */
static bool ever_stored(const struct world *w, const struct op *op)
{
    for (int e = 0; e < w->truth.count; e++) {
        const struct truth_line *line = &w->truth.epochs[e].lines[op->key];

        for (int i = 0; i < line->states_count; i++) {
            const struct truth_state *s = &line->states[i];

            if (s->kind == TRUTH_VALUE && s->version == op->got_version && s->content == op->content)
                return true;
        }
    }
    return false;
}

/*
 * A reader pod keeps a set for itself, and says so; its answer is OK for none. A duplicate is one of a stored
 * value, by the copy that it has; the value can have left the store since.
 */
static void check_kept_local(struct world *w, const struct op *op)
{
    if (op->result == DCACHE_OK || (op->result == DCACHE_LOCAL && op->kind != CALL_SET) ||
        (op->result == DCACHE_DUPLICATE && !ever_stored(w, op)))
        world_violate(w, "INDET", op->pod, op->key,
                      "op %d of a reader pod was not committed, but the answer is %s", op->number,
                      dcache_result_name(op->result));
}

void check_write_return(struct world *w, struct op *op)
{
    const struct op *first = w->ops[op->first];

    if (op->result == DCACHE_E_INDETERMINATE)
        return;
    if (op->kind == CALL_CLEAR) {
        check_clear(w, op);
        return;
    }
    if (!w->pods[op->pod].may_write) {
        check_kept_local(w, op);
        return;
    }
    if (op->result == DCACHE_OK || op->result == DCACHE_DUPLICATE) {
        check_acknowledged(w, op);
        return;
    }
    if (first->commits && first->commit_at >= op->invoked_at && !earlier_committed(w, op))
        world_violate(w, "INDET", op->pod, op->key, "op %d was committed, but the answer is %s", op->number,
                      dcache_result_name(op->result));
    if (!w->faults_count && op->result != DCACHE_STALE && op->result != DCACHE_CONFLICT)
        world_violate(w, "AVAIL", op->pod, op->key, "op %d without any fault: %s", op->number,
                      dcache_result_name(op->result));
}
