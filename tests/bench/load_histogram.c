#include "tests/bench/load_histogram.h"

#define STEPS_BITS 5
#define STEPS      (1u << STEPS_BITS)

static unsigned bucket_of(uint64_t ns)
{
    const unsigned magnitude = ns < STEPS ? 0 : 63 - (unsigned)__builtin_clzll(ns) - STEPS_BITS;
    const uint64_t bucket = (uint64_t)magnitude * STEPS + (ns >> magnitude);

    return bucket < HISTOGRAM_BUCKETS ? (unsigned)bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t bucket_end(unsigned bucket)
{
    const unsigned magnitude = bucket < 2 * STEPS ? 0 : bucket / STEPS - 1;

    return (uint64_t)(bucket - magnitude * STEPS + 1) << magnitude;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->count++;
    h->buckets[bucket_of(ns)]++;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
    const double wanted = share * (double)h->count;
    uint64_t seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > 0 && (double)seen >= wanted)
            return bucket_end(i);
    }
    return 0;
}
