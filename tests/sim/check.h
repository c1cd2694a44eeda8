/*
 * The promises of ARCHITECTURE.md, judged against the truth. Every function may end the run by world_violate
 * with the promise's name.
 */
#ifndef DCACHED_SIM_WORLD_CHECK_H
#define DCACHED_SIM_WORLD_CHECK_H

#include "tests/sim/world.h"

/* check_core.c: a core answered a read; a step of it is over. */
void check_core_answer(struct world *w, int pod, const struct core_read *read, const struct core_answer *answer);
void check_core_counters(struct world *w, struct pod *pod, const struct core *core);

/* check.c: the application has the answer to a read. */
void check_read_return(struct world *w, struct op *op);
/* Position of what was read on the timeline of that epoch; -1: it never was there. */
int check_position(struct world *w, int epoch, int key, int content, uint64_t version);
/*
 * The core's server was demoted, or has followed another one, and no heartbeat since has been answered. Until when
 * that can be; 0: it is not so.
 */
uint64_t check_unaware_until(const struct world *w, const struct pod *pod, const struct run_id *run);

/* check_writes.c */
void check_write_return(struct world *w, struct op *op);
/* A write was executed in a store. */
void check_commit(struct world *w, int epoch, int key, int position);
/* The first attempt of the call with this write id; NULL: no application's. */
struct op *check_writer(const struct world *w, const uint8_t *write_id);

/* check_seen.c: from now on this pod has seen these positions of the key; -1: none. */
void check_seen(struct world *w, struct pod *pod, int key, int epoch, int read_position, int own_position,
                bool own_is_delete);
/* The newest entry of this epoch that is older than `before`; NULL: none. */
const struct seen *check_seen_before(const struct pod *pod, int key, int epoch, uint64_t before);

/* check_end.c: whole pods. */
void check_ready(struct world *w); /* after start-up */
void check_crowd(struct world *w); /* F25: before its calls, then after them */
bool check_converged(struct world *w, const struct op *op);
void check_end(struct world *w);

#endif
