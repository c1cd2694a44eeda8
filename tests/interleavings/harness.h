/*
 * Hand-made interleavings: the rig of the core's unit tests, and what only schedules need: a heartbeat in its
 * halves, another epoch or server, messages that carry nothing, the lease as the core sees it.
 */
#ifndef DCACHED_SIM_HARNESS_H
#define DCACHED_SIM_HARNESS_H

#include "tests/unit/core_rig.h"

#define TTL_MS 50

static const char *const epoch_b = "ffffffffffffffffffffffffffffffff"; /* another than epoch_a */

/* Pods. */
void harness_open(struct rig *rig);                          /* ready, meta seq 10 */
void harness_open_small(struct rig *rig, size_t max_floors); /* the same with a small table of floors */
void harness_close(struct rig *rig);                         /* checks TRUTH */

/* Halves of a heartbeat. */
uint64_t harness_ask(struct rig *rig);                     /* ticks when it is due; id of the identity */
uint64_t harness_identified(struct rig *rig, uint64_t id); /* meta seq is rig->seq; nonce of the PING */
void harness_identified_as(struct rig *rig, uint64_t id, const char *epoch, uint64_t seq);

/* Reads and writes up to what is sent to Redis. */
uint64_t harness_fetch(struct rig *rig, const char *key); /* a read that misses; id of the fetch */
uint64_t harness_set(struct rig *rig, const char *key, const char *value, uint64_t version); /* id of the write */
/* Reads and expects a hit. */
void harness_hit(struct rig *rig, const char *key, const char *value, uint64_t version);
/* Reads and expects that Redis is asked; returns the id. */
uint64_t harness_no_hit(struct rig *rig, const char *key);

void harness_invalidate(struct rig *rig, const char *key, uint64_t seq, uint64_t version);
void harness_message_of(struct rig *rig, const char *epoch, const char *key, struct record record);
void harness_cleared(struct rig *rig, const char *new_epoch);

uint64_t harness_as_of(const struct rig *rig);
struct core_counters harness_counters(const struct rig *rig);

#endif
