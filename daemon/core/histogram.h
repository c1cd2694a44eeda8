/*
 * Durations counted by powers of two, so that adding one costs a bit scan and two additions: it stands in the path
 * of every hit.
 */
#ifndef DCACHED_CORE_HISTOGRAM_H
#define DCACHED_CORE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_FIRST  14 /* the first bucket ends at 2^14 ns (16 us), each next one at twice that; picked */
#define HISTOGRAM_FINITE 22 /* the last one with an end: 2^35 ns (34 s) */

struct histogram {
    uint64_t counts[HISTOGRAM_FINITE + 1]; /* of each bucket alone; the last has no end */
    uint64_t sum_ns;
};

/* The last duration that bucket `index` counts, 0 .. HISTOGRAM_FINITE - 1. */
static inline uint64_t histogram_end_ns(unsigned index)
{
    return UINT64_C(1) << (HISTOGRAM_FIRST + index);
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    /* A duration of exactly 2^n belongs below 2^n, hence the 1 that is taken off. */
    uint64_t below = (ns - (ns > 0)) | (UINT64_C(1) << (HISTOGRAM_FIRST - 1));
    unsigned index = 64 - HISTOGRAM_FIRST - (unsigned)__builtin_clzll(below);

    h->counts[index < HISTOGRAM_FINITE ? index : HISTOGRAM_FINITE]++;
    h->sum_ns += ns;
}

#endif
