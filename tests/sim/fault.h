/*
 * The faults of a seed. Two to four kinds, each one to three times; the other kinds are left out, and one seed in
 * ten has none. How often a kind really had an effect is counted; a kind without effect tests nothing.
 */
#ifndef DCACHED_SIM_WORLD_FAULT_H
#define DCACHED_SIM_WORLD_FAULT_H

#include <stdio.h>

#include "tests/sim/world.h"

/* How a kind of fault begins and ends. */
struct fault_row {
    void (*begin)(struct fault *f);
    void (*end)(struct fault *f); /* NULL: it happens at one moment */
};

void fault_draw(struct world *w, uint32_t skip);
void fault_start(struct world *w);
/* Whatever is still on ends. */
void fault_heal(struct world *w);
const char *fault_text(const struct fault *f, char *text, size_t size);

void fault_fired(struct fault *f);
/* fn again, at some time before the fault ends; within `most`. */
void fault_again(struct fault *f, void (*fn)(void *fault), uint64_t most);
void fault_kill_daemon(struct pod *pod);
void fault_kill_client(struct world *w, struct client_host *host);

/* One row for each kind, in three tables by what is hit: links, servers, processes. No begin: not of this table.
 */
extern const struct fault_row fault_link_rows[KIND_COUNT];
extern const struct fault_row fault_store_rows[KIND_COUNT];
extern const struct fault_row fault_process_rows[KIND_COUNT];

/* fault_store.c: records that nobody can read are removed by somebody. */
void fault_repair_records(struct world *w);

#endif
