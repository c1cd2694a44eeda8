/*
 * The sampler: every interval it picks some cached entries at random and compares each with the header of its
 * record in Redis. It counts no read and no hit, touches no frequency, and asks only while Redis is ready and
 * nobody waits for it.
 *
 * A difference is no inconsistency yet: the message that explains it may be on its way. So every difference is
 * looked at again, when it has lasted for D, and the keys of inconsistencies once more 10 s after the first look.
 *
 * What counts as an inconsistency, and why it is one. The first look ended at t1 and showed that Redis holds
 * something else than the entry: a higher seq (`newer`), the same seq with another version, kind or with an end of
 * life the entry has not (`changed`), or no readable record at all (`unreadable`). So it was committed before t1.
 * The second look ends at t2 >= t1 + D. If then Redis still holds something else, in the same epoch, and the entry
 * is the same, of the current generation and under a lease that holds, then as_of >= t2 - D >= t1: the proof says
 * that everything committed up to a moment after t1 has been delivered, and the entry contradicts it. A plain read
 * at t2 would have been answered with it: BOUND broken. No clock but the pod's own is part of this argument. An
 * entry that has changed, gone or become suspect between the looks proves nothing and is let go.
 *
 * Redis holding less than the entry (`lost`: no record, or one with a lower seq) breaks no promise as long as it
 * is the same epoch: Redis evicted the record, or something removed it past dcached. It is counted apart.
 *
 * Both are healed: the entry goes, and the next read fetches. So what is still counted after 10 s came back: the
 * entry that is cached then is proven to after t1 and older than what the second look showed. A hit between t1 and
 * t2 is not undone by that; an inconsistency is a defect, or something writes to Redis past dcached.
 *
 * Limits: samples in a round and looks under way, SAMPLER_SAMPLES_MAX (a round waits for the one before);
 * differences that wait for their second look, SAMPLER_CANDIDATES: the next one is counted as dropped. A key that
 * waits is not picked again.
 */
#ifndef DCACHED_CORE_SAMPLER_H
#define DCACHED_CORE_SAMPLER_H

#include "daemon/core/types.h"

#define SAMPLER_SAMPLES_MAX 100 /* picked */
#define SAMPLER_CANDIDATES  64  /* picked */
#define SAMPLER_LATE_NS     (10000 * NS_PER_MS)
#define SAMPLER_MINUTES     60 /* of which the ratio is made */

/* What one look was sent with. */
struct sampler_look {
    unsigned candidate; /* its place plus 1; 0: a first look */
    uint64_t seq;       /* of the entry */
    uint64_t highest;   /* core->highest: less in meta means that the store lost writes */
};

/* An entry that differed, until it is settled. */
struct sampler_candidate {
    uint8_t *bytes; /* of `key`, owned; NULL: the place is free */
    struct slice key;
    uint64_t first_at;  /* when the first look ended */
    uint64_t look_at;   /* when the next one is due */
    uint64_t seq;       /* of the entry at the first look */
    uint64_t store_seq; /* inconsistent: cached entries below this are older than what Redis held */
    bool looking;       /* one is under way */
    bool inconsistent;  /* the second look was had */
};

struct sampler_minute {
    uint64_t minute; /* since boot */
    uint64_t checked, inconsistent;
};

struct sampler {
    uint64_t random;
    uint64_t round_at; /* when the next round is due */
    unsigned under_way;
    unsigned candidates_count;
    struct sampler_candidate candidates[SAMPLER_CANDIDATES];
    struct sampler_minute minutes[SAMPLER_MINUTES];
};

void sampler_init(struct sampler *sampler, uint64_t seed);
void sampler_deinit(struct sampler *sampler);
/* Inconsistencies per million entries compared, in this minute and the 59 before it; 0 if none was compared. */
uint64_t sampler_inconsistent_ppm(const struct sampler *sampler, uint64_t now);

#endif
