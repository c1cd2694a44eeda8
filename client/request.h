/*
 * One call under way: what to ask, until when, and what came back. Requests of synchronous calls stand on the
 * stack of the call and borrow from the caller; those of asynchronous ones own copies.
 *
 * A request is on at most one list at a time:
 *   queue   no byte of it has been sent on the present connection
 *   sent    (part of) it was sent; its answer is awaited
 *   lost    a write whose connection was lost after that: it waits for its deadline, then is indeterminate
 *   done    asynchronous, answered or failed: its callback is due
 *   none    synchronous, answered or failed: the call takes it from here
 */
#ifndef DCACHED_CLIENT_REQUEST_H
#define DCACHED_CLIENT_REQUEST_H

#include "client/clock.h"
#include "client/include/dcache/client.h"
#include "proto/methods.h"

struct watch;

enum request_kind {
    REQUEST_GET,
    REQUEST_MGET,
    REQUEST_SET,
    REQUEST_DELETE,
    REQUEST_MSET,
    REQUEST_CLEAR,
    REQUEST_PLAIN, /* any other: method and packed params */
    REQUEST_WATCH,
};

struct request {
    struct request *previous, *next;
    struct request_list *list; /* the one it is on; NULL: none */
    uint32_t id;
    enum request_kind kind;
    bool writes;   /* it can change the store: once sent, a lost answer is indeterminate */
    bool async;    /* owned by the library; calls back */
    bool repeated; /* sent again on another connection */
    bool reasked;  /* asked once more because its answer was too old */
    uint64_t deadline_ns;
    uint32_t timeout_ms; /* the whole time it had, for texts */

    const struct slice *keys; /* GET and MGET */
    uint32_t count;           /* MGET and MSET */
    struct proto_read_options read;
    struct proto_write *write; /* SET, DELETE, CLEAR; MSET: `count` of them */
    const char *method;        /* PLAIN */
    struct slice params;       /* PLAIN: one packed array */
    struct watch *watch;       /* WATCH */

    bool failed; /* done without an answer: `result` and `text` */
    dcache_result result;
    char text[256];
    struct buffer answer;   /* done with an answer: the whole frame */
    struct clock_map clock; /* of the connection it came over */

    union {
        dcache_read_fn read_fn;
        dcache_write_fn write_fn;
    };
    void *ctx;
    uint8_t write_id[PROTO_WRITE_ID_BYTES];
};

struct request_list {
    struct request *first, *last;
    unsigned count;
};

void request_list_append(struct request_list *list, struct request *request);
void request_list_prepend(struct request_list *list, struct request *request);
void request_list_remove(struct request *request);

/*
 * Packs the request as it is to be sent at `now_ns`: its timeout is the time it has left, less a tenth (at most
 * 100 ms) for the way back, so that the daemon's own reason arrives before the deadline here, and a write is
 * dropped by the store before a retry of it can be under way. `clock`, if known, turns that into a moment of the
 * daemon's own clock, which holds even for a daemon that was stopped meanwhile. Check buffer->failed.
 */
void request_pack(const struct request *request, struct buffer *buffer, uint64_t now_ns,
                  const struct clock_map *clock);

/* ---- ids -------------------------------------------------------------------------------------------------- */

/*
 * Finds requests by id. The low 16 bits of an id are its slot, the others count the uses of the slot, so that
 * the answer to a request that was given up finds nothing. Slot 0 is that of hello.
 */
struct request_table {
    struct request_slot {
        struct request *request;
        uint16_t uses;
        uint16_t next_free;
    } * slots;
    unsigned size;
    uint16_t first_free; /* 0: none */
};

#define REQUEST_SLOTS_MAX 65535

/* Gives the request an id. 0, or -ENOMEM. */
int request_table_add(struct request_table *table, struct request *request);
void request_table_remove(struct request_table *table, struct request *request);
/* NULL if nobody waits for that id. */
struct request *request_table_find(const struct request_table *table, uint32_t id);
void request_table_deinit(struct request_table *table);

#endif
