/* Looks at what a server really stores, whenever it changes, and writes it into the truth. */
#ifndef DCACHED_SIM_WORLD_WITNESS_H
#define DCACHED_SIM_WORLD_WITNESS_H

#include "daemon/core/core.h"
#include "tests/sim/world.h"

/* The hook of the server: this key was changed or removed; empty: all of them. */
void witness_changed(struct node *node, struct slice key);
/* The hook of the server: this key is about to be changed once more by the script that changed it. */
void witness_passing(struct node *node, struct slice key);
/* The process started or ended, or its role changed. */
void witness_refresh(struct node *node);
/* Has the key expired meanwhile? To be asked before something is judged. */
void witness_settle(struct world *w, int key);
/* ACKDUR, when a process came back that forgets nothing. */
void witness_check_durability(struct node *node, int epoch_before);

void witness_read_meta(const struct node *node, struct meta *ret_meta);
/* What a reader of this server would find now: TRUTH_NONE if nothing. False: something unreadable. */
bool witness_read_key(const struct node *node, int key, struct truth_state *ret_state);

#endif
