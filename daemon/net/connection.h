/*
 * The connections of all clients: bytes in, whole MessagePack objects out to a callback, answers back. Knows
 * nothing of what a frame means.
 *
 * A turn. Readiness only marks a connection; what it sent is handled after the poll phase of the loop (uv_check),
 * so whatever Redis sent in the same turn has been applied first. One turn of one connection reads at most
 * CONNECTION_TURN_BYTES and hands on at most CONNECTION_TURN_FRAMES frames; the rest waits for the next turn.
 * Input stands in one buffer shared by all; only what is left over (the unfinished frame at the end, or
 * frames beyond the limit of the turn) is copied to its connection. Answers given during the connection's own turn
 * are packed into one shared buffer and leave in one write; what the socket does not take, and answers given at
 * other times, are queued per connection and written before the loop polls again.
 *
 * Limits, each with one outcome:
 *   frames without an answer, per connection   in_flight_max: no more is handed on until some are answered
 *   queued output, per connection              CONNECTION_OUTPUT_HIGH: no more is handed on until it has shrunk;
 *                                              connection_has_room is false above HIGH + max_message
 *   a client that takes no output              CONNECTION_STALL_S seconds: closed (counter closed_stalled)
 *   all unfinished and unsent bytes together   budget_bytes: who has more to send waits unread; who has taken no
 *                                              output for a second gives way to others' answers (closed_budget);
 *                                              connection_has_room is false if that was not enough
 *   one frame                                  max_message: on_bad_frame, then closed
 *   connections through one door               max_connections: told so and closed (connections_refused)
 * Beyond the budget each connection may hold CONNECTION_FREE_BYTES of input and, if it has taken all answers so
 * far, CONNECTION_SHORT_BYTES of output, so that small requests always get through; two messages of max_message
 * more are there for the larger answers of such clients.
 *
 * One thread. A client is named by a number that is never reused while its answers may be on their way; calls
 * with the number of one that is gone do nothing.
 */
#ifndef DCACHED_NET_CONNECTION_H
#define DCACHED_NET_CONNECTION_H

#include <uv.h>

#include "daemon/net/listener.h"
#include "proto/buffer.h"
#include "proto/scan.h"

#define CONNECTION_READ_BYTES  (256 * 1024) /* the shared read buffer */
#define CONNECTION_TURN_BYTES  (64 * 1024)
#define CONNECTION_TURN_FRAMES 256
#define CONNECTION_OUTPUT_HIGH (1024 * 1024)
#define CONNECTION_FREE_BYTES  4096
#define CONNECTION_SHORT_BYTES (16 * 1024)
#define CONNECTION_STALL_S     30   /* picked */
#define CONNECTION_SWEEP_MS    1000 /* the second of stalls and of the budget */

struct connections;

/* What the receiver did with a frame. */
enum frame_result {
    FRAME_TAKEN,      /* answered, or will be: connection_answer_end is called once for it */
    FRAME_UNANSWERED, /* needs no answer */
    FRAME_MALFORMED,  /* answered with an error; the connection is to be closed when all is sent */
};

#define CONNECTION_NAME_MAX 32 /* picked */

/* Belongs to the owner. */
struct connection_note {
    char name[CONNECTION_NAME_MAX]; /* what the client calls itself */
    unsigned rights;
    unsigned method; /* of the last request */
    uint64_t opened_at, asked_at;
};

struct connections_config {
    unsigned max_connections[CONNECTION_DOORS];
    unsigned in_flight_max;
    size_t max_message;
    size_t budget_bytes;

    /* `frame` is valid during the call. */
    enum frame_result (*on_frame)(void *ctx, uint64_t client, struct slice frame);
    /* What came is no frame; `begin` is as much of it as is at hand. To be answered, once and at once. */
    void (*on_bad_frame)(void *ctx, uint64_t client, struct slice begin, enum scan_result what);
    void (*on_opened)(void *ctx, uint64_t client, const struct peer *peer);
    /* There are max_connections already: `message` goes to this one as far as the kernel takes it, then it is
     * closed. */
    void (*on_full)(void *ctx, const struct peer *peer, struct buffer *message);
    /* After this the client's number means nobody. */
    void (*on_closed)(void *ctx, uint64_t client);
    void *ctx;
};

/* X(name, help) */
#define NET_COUNTERS(X)                                                           \
    X(connections, "clients connected now")                                       \
    X(connections_accepted, "clients that connected")                             \
    X(connections_refused, "clients turned away at the connection limit")         \
    X(frames, "messages received from clients")                                   \
    X(frames_bad, "clients that sent something malformed or too large")           \
    X(bytes_in, "bytes received from clients")                                    \
    X(bytes_out, "bytes sent to clients")                                         \
    X(closed_stalled, "clients closed because they took no answers for 30 s")     \
    X(closed_budget, "clients closed for memory while they took or sent nothing") \
    X(answers_dropped, "answers whose client was gone")                           \
    X(input_waits, "times a client waited unread for memory")                     \
    X(buffered_bytes, "unfinished and unsent bytes of all clients now")           \
    X(accept_pauses, "times accepting paused for want of descriptors")            \
    X(accept_errors, "other failures of accept")

struct net_counters {
#define X(name, help) uint64_t name;
    NET_COUNTERS(X)
#undef X
};

/* 0 or -ENOMEM. Ignores SIGPIPE for the process. */
int connections_new(struct connections **ret, uv_loop_t *loop, const struct connections_config *config);
/* Takes the descriptor over, whatever happens. */
void connections_adopt(struct connections *conns, int fd, const struct peer *peer);
/*
 * To be called last before the loop polls (from a uv_prepare callback): writes what was answered outside the
 * connections' own turns, and keeps the loop from blocking while a turn is due.
 */
void connections_before_poll(struct connections *conns);
/* No more is read; each is closed when its answers are out. */
void connections_drain(struct connections *conns);
unsigned connections_count(const struct connections *conns);
/* The budget is a plain number: a smaller one is kept to from now on. */
void connections_set_budget(struct connections *conns, size_t budget_bytes);
/* Calls fn for every client there is; fn closes none. */
void connections_each(struct connections *conns, void (*fn)(void *ctx, uint64_t client), void *ctx);

/* Who the client is. Its descriptor, to ask the kernel for more, or -1: the client is gone. */
int connection_get_peer(const struct connections *conns, uint64_t client, struct peer *ret_peer);
/* What the owner keeps with the client, all 0 at first; net does not look at it. Valid until the client is gone.
 * NULL: it is. */
struct connection_note *connection_get_note(const struct connections *conns, uint64_t client);

/* What net knows of a client. */
struct connection_facts {
    uint64_t client;
    struct peer peer;
    struct connection_note note;
    unsigned in_flight; /* handed on and not answered */
    uint64_t answered;
    size_t stored_bytes; /* read and not handed on */
    size_t queued_bytes; /* answered and not taken */
};

/* The first client at or behind *index, which is then behind it. False: there is none. */
bool connections_next(const struct connections *conns, uint32_t *index, struct connection_facts *ret);
/* Closes all at once; frees itself once the loop has closed its handles. NULL is fine. */
void connections_close(struct connections *conns);
/* accept_pauses and accept_errors are the listener's: left 0 here. */
void connections_get_counters(const struct connections *conns, struct net_counters *ret_counters);

/*
 * The buffer to pack one whole answer into; connection_answer_end follows at once. NULL: the client is gone
 * (and nothing is to follow). One call of the pair for each FRAME_TAKEN.
 */
struct buffer *connection_answer_begin(struct connections *conns, uint64_t client);
void connection_answer_end(struct connections *conns, uint64_t client);
/* The same for a message that answers no frame. NULL also while the connection drains. */
struct buffer *connection_event_begin(struct connections *conns, uint64_t client);
void connection_event_end(struct connections *conns, uint64_t client);

/* The frame of the turn under way was worth so many more: the turn ends sooner, and others have theirs. */
void connection_spend(struct connections *conns, uint64_t client, unsigned frames);
/* False: an answer of this length should be replaced by a short refusal. */
bool connection_has_room(struct connections *conns, uint64_t client, size_t len);
/* Bytes that wait to be taken by the client. */
size_t connection_queued_bytes(const struct connections *conns, uint64_t client);

#endif
