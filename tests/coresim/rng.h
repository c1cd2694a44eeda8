/*
 * The simulation's own random numbers: splitmix64, one stream per purpose, all derived from the seed. Nothing
 * else in the simulation is random, so a seed is a whole run.
 */
#ifndef DCACHED_SIM_RNG_H
#define DCACHED_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* An independent stream for one purpose of one seed. */
static inline struct rng rng_stream(uint64_t seed, uint64_t purpose)
{
    struct rng r = {seed * UINT64_C(0xd1342543de82ef95) + purpose * UINT64_C(0xaef17502108ef2d9)};

    rng_next(&r);
    return r;
}

/* 0 .. n-1; n > 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
    return rng_next(r) % n;
}

/* lo .. hi, both included. */
static inline uint64_t rng_between(struct rng *r, uint64_t lo, uint64_t hi)
{
    return lo + rng_below(r, hi - lo + 1);
}

/* True in `permille` of 1000 cases. */
static inline bool rng_chance(struct rng *r, unsigned permille)
{
    return rng_below(r, 1000) < permille;
}

#endif
