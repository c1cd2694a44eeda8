/* The clients: random calls, retries, and the last check of the client library. */
#ifndef DCACHED_SIM_CLIENT_H
#define DCACHED_SIM_CLIENT_H

#include "tests/coresim/world.h"

void client_start(struct world *w);
void client_probe(struct world *w, int pod, int unused);     /* after healing: a read now and then, until a hit */
void client_converge(struct world *w, int unused, int also); /* at the end: every key in every pod */
void client_return(struct world *w, int op, int unused);     /* the answer is at the client */
void client_lost(struct world *w, int op);                   /* the daemon died */
struct slice client_bytes(const struct world *w, int content);

#endif
