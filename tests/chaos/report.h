/*
 * What the checker found: violations by promise, with the lines that prove them, counts, and the distribution of
 * staleness.
 */
#ifndef DCACHED_CHAOS_REPORT_H
#define DCACHED_CHAOS_REPORT_H

#include <stdio.h>

#include "tests/chaos/history.h"

enum promise {
    P_MONO,
    P_RYW,
    P_BOUND,
    P_NORES,
    P_NOGARB,
    P_UNIQ,
    P_ACKDUR,
    P_LOSSVIS,
    P_GAP0,
    P_CONV,
    P_AVAIL,
    P_INDET,
    P_TRUTH,
    P_STRONG,     /* a strong read misses what was acknowledged before it began */
    P_MINVERSION, /* a read is below the min_version it was given */
    P_COUNT
};

#define EXAMPLES_MAX 8 /* kept per promise */
/* Of so much of the time in which there was no fault the machine may hold a pod back for half of D. Picked. */
#define STALLED_SHARE_MAX 0.1

/* Buckets of 1/16 of a power of two, from 1 us. */
struct histogram {
    uint64_t buckets[1024];
    uint64_t count, max_ns;
};

struct report {
    uint64_t violations[P_COUNT];
    uint64_t excused[P_COUNT]; /* late, but no later than what the machine was seen to hold back */
    char *examples[P_COUNT][EXAMPLES_MAX];
    char excuse[512]; /* the last one: what it was, and what was measured */

    uint64_t outcomes[HISTORY_END + 1][OUT_COUNT];
    uint64_t records, reads, checked, hits, unjudged, bytes;
    uint64_t commits, acknowledged, clears, epochs, streams_cut;
    struct histogram age;       /* of proofs, at the library's check */
    struct histogram stale_age; /* of those of values that are marked stale */
    struct histogram staleness; /* of values read as fresh: for how long a newer one had been committed */
    struct histogram first_hit; /* since healing */
    double seconds;             /* of the history */
    /* Looks at a pod while there was no fault, and those that found the machine to have held it back. */
    uint64_t ticks, ticks_stalled;

    /* From the files of --stats and --fired. */
    uint64_t stats_reads, stats_hits, stats_lives;
    char refusals[1024]; /* why the run proves nothing; empty: it does */
};

void histogram_add(struct histogram *h, uint64_t ns);
/* At least this share of all is at or below the result. */
uint64_t histogram_quantile(const struct histogram *h, double share);

const char *promise_name(enum promise promise);
/* As in the text form; NULL: there is none of that number. */
const char *report_kind_name(unsigned kind);
const char *report_outcome_name(unsigned outcome);
/* proof: lines, each with its newline. */
void report_violate(struct report *r, enum promise promise, const char *proof);
/* A reason why the run cannot pass. */
void report_refuse(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t report_violations(const struct report *r);
/* The machine was too slow for upper limits of time to be judged: AVAIL and CONV mean nothing. */
bool report_is_stalled(const struct report *r);
/* Those that the speed of the machine has nothing to do with. */
uint64_t report_timeless_violations(const struct report *r);
double report_stalled_share(const struct report *r);
void report_print_text(const struct report *r, FILE *to);
void report_print_json(const struct report *r, FILE *to);
void report_deinit(struct report *r);

#endif
