/* The shell around a core: carries out effects, gives events, reconnects, keeps answer deadlines. */
#ifndef DCACHED_SIM_POD_H
#define DCACHED_SIM_POD_H

#include "tests/coresim/world.h"

void pod_configure(struct world *w, int pod);
void pod_start(struct world *w, int pod, int unused);
void pod_kill(struct world *w, int pod); /* as kill -9 */
void pod_stop(struct world *w, int pod);
void pod_resume(struct world *w, int pod);
void pod_deinit(struct world *w, int pod);

void pod_receive(struct world *w, int conn, struct packet *packet); /* does not own the packet */
void pod_link_lost(struct world *w, int conn);                      /* at the pod; it reconnects */
void pod_call(struct world *w, int op);                             /* a client's request has arrived */
bool pod_ready(struct world *w, int pod);
/* True: the daemon is stopped between its check and its write; the answer leaves when it goes on. */
bool pod_holds_answer(struct world *w, int op);

/* One event into the core, and its effects carried out. Sets event->now. */
void pod_step(struct world *w, int pod, struct core_event *event);

#endif
