/* The two servers of a world: what ties a simulated Redis to the simulated network, and hands that administer it.
 */
#ifndef DCACHED_SIM_WORLD_NODE_H
#define DCACHED_SIM_WORLD_NODE_H

#include "tests/sim/world.h"

void node_init(struct world *w, int index);
void node_deinit(struct node *node);

void node_start(struct node *node);
void node_kill(struct node *node); /* kill -9 */
void node_pause(struct node *node, uint64_t until);

static inline struct node *node_other(struct node *node)
{
    return &node->world->nodes[1 - node->index];
}

/* REPLICAOF and REPLICAOF NO ONE; the truth is told. */
void node_follow(struct node *node, struct node *master);
void node_lead(struct node *node);
/* Everything that waits is copied now. */
void node_replicate(struct node *replica);
/* The replica lags until it is no longer held. */
void node_hold_replication(struct node *replica, bool held);
/* New connections of all pods end here. */
void node_point_at(struct node *node);

/* CLIENT KILL of the connections of a pod (-1: all pods) of that kind. Returns how many. */
unsigned node_kill_clients(struct node *node, int pod, unsigned link);
/* A command of an administrator. The answer is not looked at. */
void node_command(struct node *node, int argc, const struct slice *argv);
void node_publish(struct node *node, struct slice payload);
void node_set_user(struct node *node, const char *rules);

#endif
