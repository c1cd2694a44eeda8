/*
 * Applications of all pods. Calls come in bursts, so that they meet on the wire, with pauses between. A write that
 * ended indeterminate is tried again with the same write id, by the same application or one of another pod.
 */
#ifndef DCACHED_SIM_WORLD_CALLS_H
#define DCACHED_SIM_WORLD_CALLS_H

#include "tests/sim/world.h"

void calls_init(struct world *w);
void calls_start(struct world *w); /* at work_at */
/* Many reads of the pod for one key, which was stored before by somebody else: prepare, then ask. */
void calls_crowd_prepare(struct world *w);
void calls_crowd(struct world *w);
/* All pods write one key now. */
void calls_race(struct world *w, int key);
/* This process was killed: its calls are lost. */
void calls_lost(struct world *w, struct client_host *host);

/* After healing: reads every key that is not known to be as in Redis, and one that will be a hit, until there was
 * one. False: nothing is left to be shown. */
bool calls_probe(struct pod *pod);

/* answers.c: asks within the process of the op; the callbacks end it. */
void calls_ask(void *op);
/* An attempt ended in doubt: once more, perhaps. */
void calls_retry_later(struct world *w, const struct op *op);
/* A pod kept a set for itself: the same once more, perhaps. */
void calls_repeat(struct world *w, const struct op *op);

#endif
