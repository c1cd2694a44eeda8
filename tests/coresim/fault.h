/* The faults of a seed: drawn beforehand, begun and ended at their times, all ended at heal_at. */
#ifndef DCACHED_SIM_FAULT_H
#define DCACHED_SIM_FAULT_H

#include "tests/coresim/world.h"

void fault_draw(struct world *w, uint32_t skip);
void fault_start(struct world *w);
const char *fault_text(const struct fault *fault, char *text, size_t size);

#endif
