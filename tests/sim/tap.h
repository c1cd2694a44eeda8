/*
 * What goes in and out of each core: the linker sends calls of core_new, core_step and core_next_effect here first
 * (--wrap). So the world knows which messages a core was given and in which epoch it answered a read, which the
 * answer that reaches the application does not say; and it can make caches, floor tables and queues tiny and add a
 * hook.
 */
#ifndef DCACHED_SIM_WORLD_TAP_H
#define DCACHED_SIM_WORLD_TAP_H

#include "tests/sim/world.h"

/* The world whose daemons run; NULL: none. */
void tap_set_world(struct world *w);
/* The daemon of this pod is gone. */
void tap_forget(struct pod *pod);
/* Whether the hook of this pod, if it has one, rejects that payload. */
bool tap_hook_rejects(const struct pod *pod, int content);

#endif
