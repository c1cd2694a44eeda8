/*
 * Latencies in buckets of 1/32 of a power of two, hence at most 3 % off; 0 to about 8 s.
 */
#ifndef DCACHED_BENCH_LOAD_HISTOGRAM_H
#define DCACHED_BENCH_LOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 960

struct histogram {
    uint64_t count;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t ns);

/* Upper end of the bucket that holds this share (0..1) of all; 0 if there is nothing. */
uint64_t histogram_quantile(const struct histogram *h, double share);

#endif
