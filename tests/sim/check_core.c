/* What a core answers, at that very moment: its own lease check, FILL, TTL, GUARD; and what it counts, TRUTH. */
#include <inttypes.h>

#include "tests/sim/check.h"

#define WALL_NS OS_MS /* lives end by a clock of whole milliseconds */

static void check_fill(struct world *w, int pod, int key, const struct core_answer *a)
{
    const struct truth_state *got, *want;
    int position;

    if (a->epoch < 0 || a->told_epoch != a->epoch || a->unaware_until || w->truth.epochs[a->epoch].set_back)
        return;
    position = check_position(w, a->epoch, key, a->content, a->version);
    if (position < 0 || position >= a->told_position)
        return;
    got = truth_at(&w->truth, a->epoch, key, position);
    want = truth_at(&w->truth, a->epoch, key, a->told_position);
    world_violate(w, "FILL", pod, key,
                  "the core answers with version %" PRIu64 " seq %" PRIu64 " after it was told of version %" PRIu64
                  " seq %" PRIu64,
                  got->version, got->seq, want->version, want->seq);
}

/* When the life of a value has ended, in virtual time. The same payload may have been stored again: the last one.
 */
static uint64_t expiry_of(const struct world *w, int epoch, int key, int content, uint64_t version)
{
    const struct truth_line *line = &w->truth.epochs[epoch].lines[key];
    uint64_t last = 0;

    for (int i = 0; i < line->states_count; i++) {
        const struct truth_state *s = &line->states[i];

        if (s->kind != TRUTH_VALUE || s->version != version || s->content != content)
            continue;
        if (!s->expiry_ms)
            return NEVER;
        last = s->expiry_ms > last ? s->expiry_ms : last;
    }
    return last ? (last * 1000 - SERVER_WALL_BASE_US) * OS_US : NEVER;
}

/*
 * TTL: whatever a cached value came with, and however late that was, it lives no longer than in the store. What
 * was asked for was there when the store read it. A clock of a store that was set back lets it live on for as
 * long.
 */
static void check_ttl(struct world *w, int pod, int key, const struct core_answer *a)
{
    uint64_t expiry, moment = a->arrived ? a->as_of : a->at;

    if (a->epoch < 0 || a->unaware_until || a->content < 0)
        return;
    expiry = expiry_of(w, a->epoch, key, a->content, a->version);
    if (expiry != NEVER && moment > expiry + w->clock_behind_ns + WALL_NS)
        world_violate(w, "TTL", pod, key,
                      "the core answers with version %" PRIu64 ", which had expired %.6f before", a->version,
                      (double)(moment - expiry) / 1e9);
}

/* GUARD: with the replica guard on, nothing is called fresh of a moment at which another server was the primary.
 */
static void check_guard(struct world *w, int pod, int key, const struct core_answer *a)
{
    uint64_t superseded = a->epoch < 0 ? NEVER : w->truth.epochs[a->epoch].superseded;

    if (w->pods[pod].config.staleness.min_replicas > 0 && superseded != NEVER && a->as_of > superseded)
        world_violate(w, "GUARD", pod, key, "the core calls fresh %.6f after another server became the primary",
                      (double)(a->as_of - superseded) / 1e9);
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
    if (proven) {
        check_ttl(w, pod, read->key, a);
        check_guard(w, pod, read->key, a);
    }
}

/* TRUTH: the counters rise by the answers of a step, each by its outcome, and by nothing else. */
void check_core_counters(struct world *w, struct pod *pod, const struct core *core)
{
    const struct tally *t = &pod->tally;
    const struct core_counters *before = &pod->counted;
    struct core_counters c;
    uint64_t reads, hits, misses, refused, errors;

    core_get_counters(core, &c);
    reads = c.reads - before->reads, hits = c.hits - before->hits, misses = c.misses - before->misses;
    refused = c.refused - before->refused, errors = c.errors - before->errors;
    if (reads != hits + misses + refused + errors || refused != t->refused || errors != t->errors ||
        hits < t->hits || misses < t->misses || hits + misses != t->hits + t->misses + t->either)
        world_violate(w, "TRUTH", pod->number, -1,
                      "counted are reads %" PRIu64 " hits %" PRIu64 " misses %" PRIu64 " refused %" PRIu64
                      " errors %" PRIu64 ", answered hits %" PRIu64 " misses %" PRIu64 " either %" PRIu64
                      " refused %" PRIu64 " errors %" PRIu64,
                      reads, hits, misses, refused, errors, t->hits, t->misses, t->either, t->refused, t->errors);
    w->statistics->hits += hits;
    w->statistics->refused += refused;
    pod->counted = c;
    pod->tally = (struct tally){0};
}
