/* What a core answers, at that very moment: its own lease check, FILL, and how it counts. */
#include <inttypes.h>

#include "tests/sim/check.h"

static void check_fill(struct world *w, int pod, int key, const struct core_answer *a)
{
    const struct truth_state *got, *want;
    int position;

    if (a->epoch < 0 || a->told_epoch != a->epoch || a->unaware_until)
        return;
    position = check_position(w, a->epoch, key, a->content, a->version);
    if (position < 0 || position >= a->told_position)
        return;
    got = truth_at(&w->truth, a->epoch, key, position);
    want = truth_at(&w->truth, a->epoch, key, a->told_position);
    if (w->truth.epochs[a->epoch].records_ahead && got->seq > want->seq)
        return;
    world_violate(w, "FILL", pod, key,
                  "the core answers with version %" PRIu64 " seq %" PRIu64 " after it was told of version %" PRIu64
                  " seq %" PRIu64,
                  got->version, got->seq, want->version, want->seq);
}

void check_core_answer(struct world *w, int pod, const struct core_read *read, const struct core_answer *a)
{
    bool proven = a->outcome == READ_FRESH || a->outcome == READ_ABSENT;

    if (proven && (a->as_of > a->at || a->at - a->as_of > w->bound_ns))
        world_violate(w, "BOUND", pod, read->key, "the core answers with a proof of %.6f", (double)a->as_of / 1e9);
    if (proven && read->strong && a->as_of < read->arrived_at)
        world_violate(w, "STRONG", pod, read->key, "the proof is older than the read");
    if (proven || a->outcome == READ_STALE)
        check_fill(w, pod, read->key, a);
}

void check_core_counters(struct world *w, int pod, const struct core *core)
{
    struct core_counters c;

    core_get_counters(core, &c);
    if (c.reads != c.hits + c.misses + c.refused + c.errors)
        world_violate(w, "TRUTH", pod, -1,
                      "reads %" PRIu64 " hits %" PRIu64 " misses %" PRIu64 " refused %" PRIu64 " errors %" PRIu64,
                      c.reads, c.hits, c.misses, c.refused, c.errors);
}
