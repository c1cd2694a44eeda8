/*
 * How operations are judged, in the order of their answers.
 *
 * A read has a position in the truth. With every position p that had to be visible: position >= p.
 *
 *   MONO    p of every read of the pod that had returned before this one was invoked
 *   RYW     p of every write that this pod had acknowledged before; NORES if that was a delete
 *   GAP0    p of every write acknowledged anywhere before as_of
 *   BOUND   p of every write acknowledged anywhere before t - D, t being the moment of the library's check
 *   STRONG  p of every write acknowledged anywhere before a strong read was invoked
 *   LOSSVIS p of a flush that was told to be over before as_of
 *
 * What lies between invocation and answer may have happened at either end: nothing is demanded of it.
 */
#ifndef DCACHED_CHAOS_JUDGE_H
#define DCACHED_CHAOS_JUDGE_H

#include "tests/chaos/judge_stall.h"
#include "tests/chaos/truth.h"

/* Something that had to be visible from a moment on. A line of them is in the order of time, and order rises. */
struct demand {
    uint64_t at, order, number; /* number 0: no write of the load */
    uint64_t since;             /* the store had it at some time after this: as_of, or a write's invocation */
    uint32_t epoch;
    uint8_t pod;
    bool is_delete;
};

struct line {
    struct demand *demands;
    uint32_t count, room;
};

struct first_hit {
    bool wanted, asked; /* asked: somebody read before it was due */
    uint64_t invoked;
};

struct judge {
    struct truth *truth;
    struct report *report;
    uint64_t bound_ns, max_stale_ns;
    uint64_t now; /* of the history */
    uint64_t begun;

    struct line *acks;            /* per key, of all pods */
    struct line clears, losses;   /* of all keys */
    struct line *reads[PODS_MAX]; /* per key */
    struct line *own[PODS_MAX];   /* per key */
    uint32_t *converged;          /* per key, what the first pod read in this pass; version folded */
    bool *converged_known;

    uint64_t faults_from, refusals_until; /* while errors are no violation of AVAIL */
    uint64_t healed_at, first_hit_due;
    struct first_hit first_hits[PODS_MAX];
    uint64_t loss_from, loss_to; /* the last one; it ended the epoch */
    bool loss_empty;
    uint64_t lost_from, lost_to; /* the last one that may have taken something away */

    unsigned stream; /* that the record is of */
    struct stalls stalls;
    struct late *late; /* not yet decided, in the order of time */
    uint32_t late_count, late_room;
};

void judge_init(struct judge *j, struct truth *truth, struct report *report, uint64_t bound_ns,
                uint64_t max_stale_ns);
void judge_deinit(struct judge *j);
/* Records of all streams, in the order of their times. False: the truth does not know yet what it needs; ask again
 * with more of it. final: there will be no more, a missing commit is a violation. */
bool judge_record(struct judge *j, const struct history_record *r, const struct history_more *more, bool final);
void judge_end(struct judge *j);

/* judge_read.c */
bool judge_read(struct judge *j, const struct history_record *r, bool final);
/* judge_write.c */
void judge_invoked(struct judge *j, const struct history_record *r, const struct history_more *more);
bool judge_answered(struct judge *j, const struct history_record *r, const struct history_more *more, bool final);
/* judge_avail.c */
bool judge_phase(struct judge *j, const struct history_record *r, const struct history_more *more, bool final);
void judge_availability(struct judge *j, const struct history_record *r);
void judge_hits_end(struct judge *j);
/* There is no fault, and the last ones have been healed for long enough. */
bool judge_time_counts(const struct judge *j, uint64_t now);

/* judge_line.c */
void line_push(struct line *l, struct demand d, uint64_t horizon_ns);
/* The newest of before that moment, NULL: none. */
const struct demand *line_before(const struct line *l, uint64_t before);

/* text.c: the record as a line of the text form. Returns its length. */
int history_format(const struct history_record *r, const struct history_more *more, char *text, size_t size);
/* A violation by one record: the lines of the record, the demand and the writes behind them. */
void judge_violate(struct judge *j, enum promise promise, const struct history_record *r,
                   const struct history_more *more, const struct demand *d, const char *what);

static inline uint64_t record_invoked(const struct history_record *r)
{
    return r->time - (uint64_t)r->latency * HISTORY_UNIT;
}

static inline uint64_t time_before(uint64_t at, uint64_t ns)
{
    return at > ns ? at - ns : 0;
}

static inline uint64_t record_as_of(const struct history_record *r)
{
    return r->time - (uint64_t)r->as_of * HISTORY_UNIT;
}

#endif
