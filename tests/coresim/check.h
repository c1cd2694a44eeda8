/*
 * The promises of CONTRACT.md section 3, judged against the truth. Every function may end the run by
 * world_violate with the promise's name.
 */
#ifndef DCACHED_SIM_CHECK_H
#define DCACHED_SIM_CHECK_H

#include "tests/coresim/world.h"

/* A genuine message went into the core of a pod (before: the step was not made yet). */
void check_message(struct world *w, int pod, const struct published *message);
/* The core gave its answer; op->state is OP_ANSWERED. */
void check_answer(struct world *w, int op);
/* The client has the answer. Returns false if the library dropped it as too old. */
bool check_read_return(struct world *w, int op);
void check_write_return(struct world *w, int op);
/* A write was executed in the store. */
void check_commit(struct world *w, int op, const struct published *message);
void check_ready(struct world *w, int unused, int also); /* after start-up */
void check_pod_counters(struct world *w, int pod);       /* before a core goes */
void check_end(struct world *w);

/* From now on this pod has seen these positions of the key; -1: none. */
void check_seen(struct world *w, struct pod *pod, int key, int epoch, int read_position, int own_position,
                bool own_is_delete);

#endif
