/* How a write is judged: INDET, UNIQ, and what its acknowledgement binds from then on. */
#include "tests/coresim/check.h"

#include <inttypes.h>

void check_commit(struct world *w, int number, const struct published *m)
{
    struct op *op;

    if (m->kind == MESSAGE_RECORD && m->truth_epoch < 0)
        world_violate(w, "LOSSVIS", -1, m->key, "a write was committed where no epoch stands");
    if (w->nodes[0].foreign_commits || w->nodes[1].foreign_commits)
        world_violate(w, "LOSSVIS", -1, m->key, "a write was committed under the epoch of another process");
    if (number < 0 || m->kind != MESSAGE_RECORD)
        return;
    op = &w->ops[number];
    op->commits++;
    op->commit_epoch = m->truth_epoch;
    op->commit_position = m->position;
    op->commit_at = w->now;
    if (op->commits > 1)
        world_violate(w, "INDET", op->pod, op->key, "op %d was committed twice", number);
    if (op->state == OP_RETURNED && !w->clock_jumped)
        world_violate(w, "INDET", op->pod, op->key, "op %d was committed after its answer", number);
    for (int i = op->first; i < number; i++) {
        const struct op *o = &w->ops[i];
        bool between = false;

        if (o->first != op->first || !o->commits || o->commit_epoch != op->commit_epoch)
            continue;
        /* Where nothing was stored in between (expiry, eviction), the key began anew. */
        for (int p = o->commit_position; p <= op->commit_position; p++)
            between |= truth_at(&w->truth, o->commit_epoch, o->key, p)->kind == TRUTH_NONE;
        if (!between)
            world_violate(w, "INDET", op->pod, op->key, "ops %d and %d committed the same write twice", i, number);
    }
}

/* The position of what the pod says is stored; -1: not in this epoch. */
static int written_position(const struct world *w, const struct op *op, int epoch)
{
    if (op->kind == CALL_DELETE)
        return truth_find_tombstone(&w->truth, epoch, op->key, op->got_version);
    return truth_find_value(&w->truth, epoch, op->key, op->got_version, op->content);
}

static void check_acknowledged(struct world *w, const struct op *op)
{
    int number = (int)(op - w->ops), position = -1;

    for (int e = w->truth.count - 1; e >= 0 && position < 0; e--) {
        if (!epoch_equal(&w->truth.epochs[e].id, &op->epoch_text))
            continue;
        position = written_position(w, op, e);
        if (position < 0)
            continue;
        truth_acknowledge(&w->truth, e, op->key, w->now, position);
        check_seen(w, &w->pods[op->pod], op->key, e, -1, position, op->kind == CALL_DELETE);
    }
    if (position < 0)
        world_violate(w, "INDET", op->pod, op->key, "op %d is acknowledged and was not committed in epoch %.6s",
                      number, op->epoch_text.text);
    else if (op->written == WRITE_ACCEPTED && op->commits != 1)
        world_violate(w, "INDET", op->pod, op->key, "op %d is accepted, but not by its own commit", number);
    else if (op->version && op->got_version != op->version)
        world_violate(w, "UNIQ", op->pod, op->key, "op %d asked for version %" PRIu64 " and got %" PRIu64, number,
                      op->version, op->got_version);
}

void check_write_return(struct world *w, int number)
{
    const struct op *op = &w->ops[number];

    if (op->written == WRITE_INDETERMINATE || op->kind == CALL_CLEAR)
        return;
    if (!w->pods[op->pod].config.may_write && !op->commits)
        return; /* a local set is judged by this pod alone */
    if (op->written == WRITE_ACCEPTED || op->written == WRITE_DUPLICATE) {
        check_acknowledged(w, op);
        return;
    }
    if (op->commits)
        world_violate(w, "INDET", op->pod, op->key, "op %d was committed, but the answer is %d", number,
                      op->written);
    if (!w->faults_count && op->written != WRITE_STALE && op->written != WRITE_CONFLICT &&
        op->reason != REASON_READER)
        world_violate(w, "AVAIL", op->pod, op->key, "op %d: outcome %d reason %d without any fault", number,
                      op->written, op->reason);
}
