/*
 * What connection.c (one connection) and connections.c (all of them: turns, budget, numbers) share. Nobody else
 * includes this.
 *
 * The states of a connection. Every change is made by connection_move:
 *
 *               EOF,          ERROR,
 *               MALFORMED,    DRAINED,
 *               STOP          STALLED
 *   OPEN        DRAINING      CLOSING
 *   DRAINING    DRAINING      CLOSING
 *   CLOSING     CLOSING       CLOSING
 *
 * OPEN: reads, hands on, answers. DRAINING: reads nothing more; frames that are here already are handed on
 * (after EOF and STOP; what follows a malformed frame is dropped), and when the last answer is out, DRAINED.
 * CLOSING: the descriptor is closed, the client's number means nobody; the memory goes when libuv lets the
 * handle go.
 */
#ifndef DCACHED_NET_INTERNAL_H
#define DCACHED_NET_INTERNAL_H

#include <sys/queue.h>

#include "daemon/net/connection.h"

enum connection_state { CONNECTION_OPEN, CONNECTION_DRAINING, CONNECTION_CLOSING, CONNECTION_STATES };

enum connection_event {
    CONNECTION_EOF,       /* the client sends no more */
    CONNECTION_MALFORMED, /* what it sent cannot be read; an error was answered */
    CONNECTION_STOP,      /* the daemon ends */
    CONNECTION_ERROR,     /* the socket is broken, or memory is out */
    CONNECTION_DRAINED,   /* the last answer is out */
    CONNECTION_STALLED,   /* it takes nothing, or holds memory that others need */
    CONNECTION_EVENTS
};

struct connection {
    struct connections *conns;
    uv_poll_t poll;
    int fd;
    struct peer peer;
    struct connection_note note;
    uint32_t slot, generation; /* the client's number */
    enum connection_state state;
    int armed;      /* uv_poll_event mask that libuv was given; 0: stopped */
    bool readable;  /* reported in this turn */
    bool paused;    /* frames wait for answers to go out: see connection_resume */
    bool listed;    /* in conns->ready */
    bool unflushed; /* in conns->flush */
    bool waiting;   /* in conns->waiters: unread for want of memory */
    unsigned in_flight;
    uint64_t answered;
    unsigned turn_frames;
    unsigned in_idle_s, out_idle_s; /* sweeps since an unfinished frame grew, queued output shrank */
    struct scan scan;
    struct buffer in;  /* from in_at: the unfinished frame, or frames that wait for a turn */
    struct buffer out; /* from out_at: not taken by the socket */
    size_t in_at, out_at;
    size_t charged; /* of the budget */
    TAILQ_ENTRY(connection) ready_link, flush_link, waiter_link;
};

TAILQ_HEAD(connection_list, connection);

struct connection_slot {
    struct connection *connection; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

struct connections {
    struct connections_config config;
    uv_loop_t *loop;
    uv_check_t check;
    uv_idle_t idle;   /* active while a turn is due: the loop must not block */
    uv_timer_t sweep; /* once a second while anything is queued or unfinished */
    struct connection_slot *slots;
    uint32_t slots_count, first_free;
    unsigned through[CONNECTION_DOORS]; /* connections that came through each */
    struct connection_list ready, flush, waiters;
    unsigned ready_count;
    struct connection *current;    /* whose turn it is: its answers are packed into `out` */
    struct connection *privileged; /* may exceed the budget to finish its frame, so that somebody always can */
    struct buffer out;
    uint8_t *read_buffer;
    size_t used; /* of the budget */
    bool closing;
    unsigned open_handles; /* of conns itself and of its connections */
    struct net_counters counters;
};

/* ---- connection.c ---------------------------------------------------------------------------------------- */

/* NULL: the descriptor cannot be used, or no memory. */
struct connection *connection_new(struct connections *conns, int fd, uint32_t slot, uint32_t generation);
void connection_move(struct connection *c, enum connection_event event);
void connection_turn(struct connection *c);
/* Writes what is queued, then sees whether the connection is done. */
void connection_write_queued(struct connection *c);
/* Part of an answer's end: the buffer has grown by one message. */
void connection_packed(struct connection *c, struct buffer *packed);
struct buffer *connection_buffer(struct connection *c);
void connection_resume(struct connection *c);

static inline size_t connection_stored(const struct connection *c)
{
    return c->in.len - c->in_at;
}

static inline size_t connection_queued(const struct connection *c)
{
    return c->out.len - c->out_at;
}

static inline uint64_t connection_client(const struct connection *c)
{
    return (uint64_t)c->generation << 32 | c->slot;
}

/* ---- connections.c --------------------------------------------------------------------------------------- */

void connections_mark_ready(struct connections *conns, struct connection *c);
void connections_mark_flush(struct connections *conns, struct connection *c);
void connections_mark_waiting(struct connections *conns, struct connection *c);
/* A second went by: who has taken nothing for too long, or holds back others beyond the budget, is closed. */
void connections_sweep(struct connections *conns);
/* The connection's buffers have changed. */
void connections_charge(struct connections *conns, struct connection *c);
/* How much may be read for c now; 0: it has to wait. */
size_t connections_read_size(struct connections *conns, struct connection *c);
/* Its unfinished frame is complete or gone. */
void connections_unprivilege(struct connections *conns, struct connection *c);
/* Takes c out of every list and gives its number up. */
void connections_forget(struct connections *conns, struct connection *c);
void connections_handle_gone(struct connections *conns);

#endif
