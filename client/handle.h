/*
 * The handle behind dcache_*, and how its parts meet.
 *
 *   client.c   open, close, error texts, options
 *   link.c     the connection: connect, backoff, hello, receiving, loss
 *   send.c     what goes out, and what is known to have gone out
 *   request.c  lists, ids and packing of requests
 *   pending.c  requests from queue to end, deadlines
 *   answer.c   decoding of answers, the freshness check, results
 *   sync.c     synchronous calls: a request, then link and poll until it is done
 *   async.c    asynchronous calls and their callbacks
 *   watch.c    watches and their queue of events
 *
 * No part but link.c and send.c touches the stream; no part but async.c and watch.c runs callbacks.
 */
#ifndef DCACHED_CLIENT_HANDLE_H
#define DCACHED_CLIENT_HANDLE_H

#include <sys/types.h>

#include "client/clock.h"
#include "client/request.h"
#include "client/server.h"
#include "client/stream.h"

#define IN_FLIGHT_MAX       PROTO_IN_FLIGHT_MAX
#define MESSAGE_MAX_UNKNOWN ((size_t)64 << 20)  /* limit of a frame before hello was answered */
#define MESSAGE_MAX         ((size_t)256 << 20) /* whatever a daemon says in its hello; picked */
#define MESSAGE_SLACK       ((size_t)64 << 10)  /* answers may be this much longer than the longest request */
#define MESSAGE_EARLY       ((size_t)64 << 10)  /* longer requests wait for hello, which says the limit */
#define QUEUED_BYTES_MAX    ((size_t)64 << 20)  /* copies held by unanswered asynchronous calls; picked */
#define EVENT_BYTES_MAX     ((size_t)1 << 20)   /* events not yet called back; picked */
#define BACKOFF_MIN_NS      (10 * NS_PER_MS)
#define BACKOFF_MAX_NS      NS_PER_S
#define BACKLOG_RETRY_NS    (2 * NS_PER_MS) /* a full backlog cannot be waited for, only asked again */

enum link_state {
    LINK_DOWN,  /* no connection; the next attempt is due at retry_at_ns */
    LINK_HELLO, /* connected; hello was sent or is about to be, not answered */
    LINK_READY, /* hello was answered: limits, bound and clock are known */
};

struct link {
    enum link_state state;
    struct stream stream;
    uint64_t retry_at_ns;
    uint64_t backoff_ns; /* of the next failure */
    bool backlog_full;   /* the last attempt found a daemon that does not accept */
    int connect_error;   /* errno of the last attempt; 0: it failed for another reason, or did not fail */
    bool useful;         /* this connection answered something beside hello */

    int shown_fd;  /* the descriptor that the caller was told last: it may wait on it; -1: none */
    int parked_fd; /* one it was told whose connection is lost, kept so that no other gets its number; -1: none */

    bool hello_due;         /* hello is the next message to send */
    uint64_t hello_sent_ns; /* 0: none is awaited */
    unsigned hello_repeats; /* hellos sent only to get a better clock */
    struct clock_map clock;
    uint64_t bound_ns, max_stale_ns;
    size_t max_message;
    unsigned max_in_flight;
};

struct watch {
    struct request request;
    dcache_event_fn fn;
    void *ctx;
    uint64_t id; /* the daemon's; if `made` */
    bool used, made;
    bool again; /* it had been made before the connection was lost */
    bool gap;   /* events may be missing, and the callback does not know yet */
    uint8_t *prefix;
};

struct event {
    struct event *next;
    struct watch *watch; /* NULL: none is known by that id yet */
    uint64_t id;
    size_t len;
    uint8_t bytes[];
};

struct dcache {
    pid_t pid;
    bool closing;     /* callbacks of dcache_close run: nothing new begins */
    uid_t server_uid; /* that has to listen; SERVER_UID_ANY: see server.h */
    char socket[108];
    char name[64];
    uint32_t timeout_ms;
    uint64_t random; /* state of the jitter */
    char error[512];

    struct link link;
    struct request_table table;
    struct request_list queue, sent, lost, done;
    uint64_t next_deadline_ns; /* none earlier on queue, sent and lost */
    size_t queued_bytes;       /* copies held by asynchronous requests */
    unsigned async_count;      /* asynchronous requests, on all lists */

    struct buffer result; /* answer of the last synchronous call */

    struct watch watches[PROTO_WATCHES_MAX];
    struct event *events, **events_end;
    size_t event_bytes;
};

/* ---- client.c --------------------------------------------------------------------------------------------- */

/* Sets the text of dcache_error and returns `result`. */
dcache_result handle_fail(dcache *cache, dcache_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* DCACHE_OK; DCACHE_E_INVALID for NULL; DCACHE_E_FORKED; DCACHE_E_UNREACHABLE while it is closed. Every call
 * begins with it. */
dcache_result handle_enter(dcache *cache);

/* Copies the caller's options over defaults. False (with a text) if they are no options of this library. */
bool handle_read_options(dcache *cache, const dcache_read_options *options, dcache_read_options *ret);
bool handle_write_options(dcache *cache, const dcache_write_options *options, dcache_write_options *ret);

/* ---- link.c ----------------------------------------------------------------------------------------------- */

/* Connects if something waits for it and an attempt is due, and sends what may be sent. */
void link_advance(dcache *cache, uint64_t now_ns);
/* Reads what is there and completes the requests that it answers. */
void link_receive(dcache *cache, uint64_t now_ns);
/* The answer to something was not what the protocol says: closes the connection. */
void link_protocol_error(dcache *cache, const char *what);
/* Moment at which link_advance or pending_expire is wanted; UINT64_MAX: none. */
uint64_t link_wanted_at(const dcache *cache, uint64_t now_ns);
/* POLLIN, and POLLOUT while something may be sent. 0: no connection. */
short link_events(const dcache *cache);
void link_close(dcache *cache);
/* What helps against the failure of the last attempt to connect; static. */
const char *link_remedy(const struct link *link);
/* If the caller was told another descriptor since the connection was lost, the number of the lost one is free. */
void link_unpark(dcache *cache);
/* A fresh hello goes out before the next request, for a better clock. */
void link_refresh_clock(dcache *cache);

/* The connection broke: errno, or 0 if the daemon closed it. */
void link_lose_broken(dcache *cache, int error);

/* ---- send.c ----------------------------------------------------------------------------------------------- */

#define HELLO_ID 0

/* Sends what may be sent, until the kernel takes no more or 2 MiB went out: deadlines are looked at then. */
void link_send(dcache *cache, uint64_t now_ns);
/* May the first of the queue go out now? */
bool link_may_send(const dcache *cache);

/* ---- pending.c -------------------------------------------------------------------------------------------- */

/* Puts a new request on the queue. 0, or -ENOMEM (not queued). */
int request_submit(dcache *cache, struct request *request);
/* Again, as the next to be sent: its answer cannot be used. */
void request_resubmit(dcache *cache, struct request *request);
/* Takes it off all lists; its id is free. */
void request_withdraw(dcache *cache, struct request *request);
/* Ends it without an answer. */
void request_fail(dcache *cache, struct request *request, dcache_result result, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* It was answered, or failed: on to whoever asked. */
void request_finish(dcache *cache, struct request *request);
/* Fails all that have not been sent, watches excepted: they wait for the next connection. */
void pending_fail_queue(dcache *cache, dcache_result result, const char *text);
/* Ends the requests whose deadline has passed. */
void pending_expire(dcache *cache, uint64_t now_ns);

/* ---- answer.c --------------------------------------------------------------------------------------------- */

static inline bool answer_is_good(const struct rpc_frame *frame)
{
    return frame->error.len == 1 && frame->error.data[0] == 0xc0; /* nil */
}
/* Result and text of the error object of a response. */
dcache_result answer_decode_error(struct slice error, char *ret_text, size_t size);

enum { ANSWER_DONE = 0, ANSWER_AGAIN = 1 /* too old: the request is on its way again */ };

/*
 * Turn what a request came back with into what the caller sees: *ret_result of the call, rets[] of its keys.
 * The text of an error becomes that of dcache_error. Readings borrow from request->answer, which is changed
 * (texts get their NUL): to be called once for each answer. GET and MGET; SET, DELETE, MSET and clear.
 */
int answer_read(dcache *cache, struct request *request, dcache_reading *rets, dcache_result *ret_result);
dcache_result answer_write(dcache *cache, struct request *request, dcache_written *rets);
/* For the others: DCACHE_OK with *ret_result at the packed result, or an error. */
dcache_result answer_plain(dcache *cache, struct request *request, struct slice *ret_result);

/* ---- async.c ---------------------------------------------------------------------------------------------- */

/* The handle is closed: ends all asynchronous requests, in a forked child without a word. */
void async_abandon(dcache *cache, bool call_back);

/* ---- watch.c ---------------------------------------------------------------------------------------------- */

/* The connection was lost: all watches are to be made again. */
void watch_interrupt(dcache *cache);
/* A notification arrived; unknown ones are ignored. */
void watch_receive(dcache *cache, struct slice method, struct cursor params);
/* Takes in the answers to watch requests. An error of the daemon ends the watch and is the result. */
dcache_result watch_settle(dcache *cache);
/* Runs callbacks of queued events. */
void watch_deliver(dcache *cache);
bool watch_is_due(const dcache *cache);
void watch_deinit(dcache *cache);

#endif
