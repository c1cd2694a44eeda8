/*
 * The StaleDetector: the table of floors and the compare-and-record decision on it. A floor is the newest
 * (seq, version) the pod has seen of a key in this epoch; it outlives the cached value.
 *
 * Bounded: when the table is full, floors that nobody asked for are forgotten. That opens no hole, because
 * raising a floor removes the cached entry below it in the same step (see apply.c); what it costs is the
 * rejection being counted.
 */
#ifndef DCACHED_CORE_STALE_H
#define DCACHED_CORE_STALE_H

#include "daemon/core/types.h"

struct stale_detector;

struct floor {
    uint64_t seq, version;
    uint64_t seen_ns; /* when it was recorded, by the caller's clock */
};

enum {
    STALE_NEWER = 0,   /* recorded: the floor is now (seq, version) */
    STALE_SAME = 1,    /* the same seq is recorded already */
    STALE_REJECTED = 2 /* something newer is recorded */
};

/* bytes: of the whole table. max_floors 0: bounded by bytes alone. 0, -ENOMEM, -EINVAL as table_new. */
int stale_detector_new(struct stale_detector **ret, size_t bytes, size_t max_floors, const uint8_t hash_key[16]);
struct stale_detector *stale_detector_free(struct stale_detector *detector);

/*
 * Compare-and-record: one call, no other order of the two. `ret_floor` (may be NULL) gets the floor as it was
 * before; seq 0 if there was none. Decides by seq alone, so that a lower version after an expiry is taken.
 */
int stale_detector_record(struct stale_detector *detector, struct slice key, uint64_t seq, uint64_t version,
                          uint64_t now_ns, struct floor *ret_floor);
/* Touches the memory that stale_detector_record and _find will need. A hint. */
void stale_detector_prefetch(const struct stale_detector *detector, struct slice key);
/* False if there is none. */
bool stale_detector_find(struct stale_detector *detector, struct slice key, struct floor *ret_floor);

/* A new epoch: all floors are forgotten, at once. */
void stale_detector_reset(struct stale_detector *detector);

/* Walks all floors; as table_walk. */
void stale_detector_walk(struct stale_detector *detector, uint64_t *cursor, unsigned max_buckets,
                         void (*each)(void *ctx, struct slice key, const struct floor *floor), void *ctx);
uint64_t stale_detector_count(const struct stale_detector *detector);
uint64_t stale_detector_bytes(const struct stale_detector *detector);

#endif
