/* Connections between a pod and a server: FIFO each way, with delay and everything a network can do to them. */
#ifndef DCACHED_SIM_NET_H
#define DCACHED_SIM_NET_H

#include "tests/coresim/world.h"

void net_connect(struct world *w, int pod, enum core_link link);
struct packet *net_packet(struct world *w, enum packet_kind kind); /* zeroed */
void net_free(struct world *w, struct packet *packet);
void net_send(struct world *w, int conn, enum direction direction, struct packet *packet);

/* The pod closes: what is on the way to the server may still be executed, up to a random point. */
void net_close(struct world *w, int conn);
/* The connection breaks: some of what is on the way arrives, then the pod is told. */
void net_cut(struct world *w, int conn);
void net_cut_pod(struct world *w, int pod, unsigned links);
void net_cut_node(struct world *w, int node); /* the process died: nothing more is executed */
void net_cut_damaged(struct world *w, int pod);
void net_kick(struct world *w);           /* something may move again */
void net_hurry(struct world *w, int pod); /* its links are no longer slow: what is on the way arrives soon */
void net_deinit(struct world *w);

/* An answer has come (answered) or a request has left: keeps the answer deadline of the shell. */
void net_expect_answer(struct world *w, int conn);
void net_answered(struct world *w, int conn);
void net_check_deadlines(struct world *w, int pod); /* after a stop */

/* server.c: the request at the head of a connection is executed. Returns false if it has more stages to come. */
bool server_execute(struct world *w, struct conn *conn, struct packet *packet);
void server_publish(struct world *w, int node, const struct published *message);

#endif
