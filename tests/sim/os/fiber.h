/* A stack of its own for each process: resume runs it until it yields or ends. */
#ifndef DCACHED_SIM_FIBER_H
#define DCACHED_SIM_FIBER_H

#include <stdbool.h>

struct fiber;

/* Stacks are used again, also by later worlds. */
struct fiber *fiber_new(void (*fn)(void *arg), void *arg);
/* False: it has ended, and is gone. From any stack but its own. */
bool fiber_resume(struct fiber *fiber);
/* Back to where it was resumed. On its own stack. */
void fiber_yield(struct fiber *fiber);

#endif
