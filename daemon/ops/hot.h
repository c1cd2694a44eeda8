/*
 * The most frequent keys of a stream, in bounded memory: a space-saving sketch (Metwally et al., 2005). A key that
 * is not among the HOT_KEYS takes the place of the least frequent one and its count, which is kept as `error`: a
 * count is never too low, and at most `error` too high.
 *
 * Counts are halved every half_life, so the list tells of lately. Keys are known by their first HOT_KEY_BYTES.
 * An addition costs a walk over HOT_KEYS places of one cache line each at most: whoever feeds it from a hot path
 * samples.
 */
#ifndef DCACHED_OPS_HOT_H
#define DCACHED_OPS_HOT_H

#include <stdbool.h>

#include "proto/slice.h"

#define HOT_KEYS      64  /* picked */
#define HOT_KEY_BYTES 128 /* picked */

struct hot_key {
    uint64_t count, error;
    uint32_t len; /* 0: a free place */
    uint8_t bytes[HOT_KEY_BYTES];
};

struct hot {
    uint64_t half_life_ns;
    uint64_t halved_at; /* 0: nothing was added yet */
    uint64_t total;
    struct hot_key keys[HOT_KEYS];
};

void hot_add(struct hot *hot, struct slice key, uint64_t now);
/* Sorts by count, most frequent first; returns how many keys there are. */
unsigned hot_sort(struct hot *hot, uint64_t now);

#endif
