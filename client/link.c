/*
 * The connection.
 *
 * The happy path: a request is queued, link_advance connects, sends hello and the request behind it in one
 * piece; link_receive finds both answers; the request is done. Later requests find LINK_READY.
 *
 * Requests that write, and long ones, are held back until hello was answered: nothing is ever written through
 * a daemon of another protocol, and a write to a daemon that hangs from the start is definitely not done.
 *
 * What can go wrong:
 *   - No daemon: the attempt fails, all queued requests fail as unreachable, later ones wait for the backoff.
 *   - A daemon that does not accept: the backlog fills, connect says EAGAIN; asked again until the deadline.
 *   - The connection breaks: reads that were sent are sent once more on the next one; writes that were sent go
 *     to `lost` and are indeterminate at their deadline; what was not sent stays queued.
 *   - The peer talks nonsense: the connection is closed, everything that waits fails as a protocol error.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/handle.h"

#define RECEIVES_AT_ONCE  16 /* a flooding peer gets this much of one call; picked */
#define HELLO_REPEATS_MAX 3

/* ---- states ----------------------------------------------------------------------------------------------- */

/* xorshift64*: jitter needs no secrecy. */
static uint64_t link_random(dcache *cache)
{
    cache->random ^= cache->random >> 12;
    cache->random ^= cache->random << 25;
    cache->random ^= cache->random >> 27;
    return cache->random * UINT64_C(2685821657736338717);
}

/* Half to all of the backoff, which doubles. */
static void link_back_off(dcache *cache, uint64_t now_ns)
{
    struct link *link = &cache->link;
    uint64_t backoff = link->backoff_ns ? link->backoff_ns : BACKOFF_MIN_NS;

    link->retry_at_ns = now_ns + backoff / 2 + link_random(cache) % (backoff / 2 + 1);
    link->backoff_ns = backoff * 2 < BACKOFF_MAX_NS ? backoff * 2 : BACKOFF_MAX_NS;
}

void link_unpark(dcache *cache)
{
    struct link *link = &cache->link;

    if (link->parked_fd == link->shown_fd)
        return;
    if (link->parked_fd >= 0)
        close(link->parked_fd);
    link->parked_fd = -1;
}

/*
 * A caller's loop may still watch the descriptor of a lost connection. Were the next one to get its number, the
 * loop would not notice, and epoll would watch nothing. So the number that the caller was told last is never free
 * until it is told another. One that it was not told needs no such care, and one told before was replaced.
 */
static void link_park(dcache *cache)
{
    struct link *link = &cache->link;

    if (link->stream.fd < 0 || link->stream.fd != link->shown_fd)
        return;
    link_unpark(cache);
    shutdown(link->stream.fd, SHUT_RDWR);
    link->parked_fd = link->stream.fd;
    link->stream.fd = -1;
}

/* Every change of state is made here. */
static void link_set_state(dcache *cache, enum link_state state, uint64_t now_ns)
{
    struct link *link = &cache->link;

    switch (state) {
    case LINK_DOWN:
        link_park(cache);
        stream_close(&link->stream);
        link->hello_sent_ns = 0;
        /* A connection that served is replaced at once; one that did not may never do. */
        if (link->state != LINK_DOWN && link->useful) {
            link->backoff_ns = 0;
            link->retry_at_ns = now_ns;
        } else {
            link_back_off(cache, now_ns);
        }
        break;
    case LINK_HELLO:
        clock_map_reset(&link->clock);
        link->useful = false;
        link->hello_due = true;
        link->hello_sent_ns = 0;
        link->hello_repeats = 0;
        link->max_message = MESSAGE_MAX_UNKNOWN;
        link->max_in_flight = IN_FLIGHT_MAX;
        break;
    case LINK_READY:
        break;
    }
    link->state = state;
}

/* What a lost connection means for a request that was sent on it. */
static void request_lose(dcache *cache, struct request *request, bool may_repeat, dcache_result result,
                         const char *text)
{
    request_list_remove(request);
    buffer_clear(&request->answer);
    if (request->kind == REQUEST_WATCH)
        return; /* watch_interrupt queues it again */
    if (request->writes) {
        snprintf(request->text, sizeof request->text, "%s", text);
        request_list_append(&cache->lost, request);
    } else if (may_repeat && !request->repeated) {
        request->repeated = true;
        request_list_prepend(&cache->queue, request);
    } else {
        request_fail(cache, request, result, "%s", text);
    }
}

static void link_lose(dcache *cache, bool may_repeat, dcache_result result, const char *text)
{
    if (cache->link.state == LINK_DOWN)
        return;
    link_set_state(cache, LINK_DOWN, clock_now_ns());
    while (cache->sent.last) /* from the end, as repeated ones go to the front of the queue */
        request_lose(cache, cache->sent.last, may_repeat, result, text);
    if (!may_repeat)
        pending_fail_queue(cache, result, text);
    watch_interrupt(cache);
}

void link_lose_broken(dcache *cache, int error)
{
    char text[128];

    if (error == ENOMEM) {
        link_lose(cache, false, DCACHE_E_NOMEM, "out of memory");
        return;
    }
    snprintf(text, sizeof text, "the connection to dcached was lost (%s)",
             error ? strerror(error) : "closed by the daemon");
    link_lose(cache, true, DCACHE_E_UNREACHABLE, text);
}

void link_protocol_error(dcache *cache, const char *what)
{
    char text[384];

    snprintf(text, sizeof text, "the peer at %.107s does not speak this protocol: %s", cache->socket, what);
    link_lose(cache, false, DCACHE_E_PROTOCOL, text);
}

void link_close(dcache *cache)
{
    cache->link.shown_fd = -1;
    link_unpark(cache);
    stream_close(&cache->link.stream);
    cache->link.state = LINK_DOWN;
}

void link_refresh_clock(dcache *cache)
{
    if (cache->link.state != LINK_DOWN && !cache->link.hello_sent_ns)
        cache->link.hello_due = true;
}

/* ---- connecting ------------------------------------------------------------------------------------------- */

const char *link_remedy(const struct link *link)
{
    switch (link->connect_error) {
    case EACCES:
    case EPERM:
        return "the user needs to be in the socket's group";
    case EMFILE:
        return "this process has no descriptor left: close some, or raise its limit (ulimit -n)";
    case ENFILE:
        return "the machine has no descriptor left: raise fs.file-max";
    case ENOMEM:
    case ENOBUFS:
        return "the machine has no memory left for a socket";
    default:
        return "is dcached running?";
    }
}

static dcache_result link_connect_result(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return DCACHE_E_PERMISSION;
    case ENOMEM:
    case ENOBUFS:
        return DCACHE_E_NOMEM;
    default:
        return DCACHE_E_UNREACHABLE;
    }
}

static void link_connect(dcache *cache, uint64_t now_ns)
{
    struct link *link = &cache->link;
    char text[320];
    int r = stream_connect(&link->stream, cache->socket, MESSAGE_MAX_UNKNOWN);

    link->backlog_full = r == STREAM_AGAIN;
    link->connect_error = 0;
    if (r == STREAM_OK &&
        !server_is_trusted(link->stream.fd, cache->socket, cache->server_uid, text, sizeof text)) {
        stream_close(&link->stream);
        link_back_off(cache, now_ns);
        pending_fail_queue(cache, DCACHE_E_PERMISSION, text);
        return;
    }
    if (r == STREAM_OK) {
        link_set_state(cache, LINK_HELLO, now_ns);
        return;
    }
    if (r == STREAM_AGAIN) {
        link->retry_at_ns = now_ns + BACKLOG_RETRY_NS;
        return;
    }
    link_back_off(cache, now_ns);
    link->connect_error = -r;
    snprintf(text, sizeof text, "no connection to %s (%s): %s", cache->socket, strerror(-r), link_remedy(link));
    pending_fail_queue(cache, link_connect_result(-r), text);
}

/* ---- what is wanted ---------------------------------------------------------------------------------------- */

static bool link_wanted(const dcache *cache)
{
    return cache->queue.count > 0;
}

void link_advance(dcache *cache, uint64_t now_ns)
{
    struct link *link = &cache->link;

    if (link->state == LINK_DOWN && link_wanted(cache) && now_ns >= link->retry_at_ns)
        link_connect(cache, now_ns);
    if (link->state != LINK_DOWN && (stream_unsent(&link->stream) > 0 || link->hello_due || link_may_send(cache)))
        link_send(cache, now_ns);
}

/* ---- receiving -------------------------------------------------------------------------------------------- */

/* hello takes long when the daemon is busy; what is known of its clock is then as wide. Asked again, it errs less.
 */
static void link_improve_clock(dcache *cache, uint64_t round_trip_ns)
{
    struct link *link = &cache->link;

    if (round_trip_ns <= link->bound_ns / 16 || link->hello_repeats >= HELLO_REPEATS_MAX)
        return;
    link->hello_repeats++;
    link->hello_due = true;
}

static void link_refused_hello(dcache *cache, struct slice error)
{
    char text[192];
    dcache_result result = answer_decode_error(error, text, sizeof text);

    if (result == DCACHE_E_PROTOCOL || result == DCACHE_E_INVALID)
        link_protocol_error(cache, text);
    else
        link_lose(cache, false, result, text);
}

static void link_take_hello(dcache *cache, const struct rpc_frame *frame, uint64_t now_ns)
{
    struct link *link = &cache->link;
    struct proto_hello hello;
    uint64_t sent_ns = link->hello_sent_ns;
    char text[128];
    const char *wrong;

    if (!sent_ns)
        return;
    if (!answer_is_good(frame)) {
        link_refused_hello(cache, frame->error);
        return;
    }
    wrong = proto_decode_hello_result(frame->result, &hello);
    if (wrong) {
        link_protocol_error(cache, wrong);
        return;
    }
    if (hello.protocol != PROTO_VERSION) {
        snprintf(text, sizeof text, "it speaks protocol %" PRIu64 ", this library %d: install versions that match",
                 hello.protocol, PROTO_VERSION);
        link_protocol_error(cache, text);
        return;
    }
    link->hello_sent_ns = 0;
    link->bound_ns = hello.bound_ns;
    link->max_stale_ns = hello.max_stale_ns;
    link->max_message = hello.max_message < MESSAGE_MAX ? (size_t)hello.max_message : MESSAGE_MAX;
    link->max_in_flight =
        hello.max_in_flight && hello.max_in_flight < IN_FLIGHT_MAX ? (unsigned)hello.max_in_flight : IN_FLIGHT_MAX;
    stream_set_max_frame(&link->stream, link->max_message + MESSAGE_SLACK);
    clock_map_learn(&link->clock, sent_ns, clock_now_ns(), hello.clock_ns);
    link_improve_clock(cache, now_ns - sent_ns);
    if (link->state == LINK_HELLO)
        link_set_state(cache, LINK_READY, now_ns);
}

static void link_take_response(dcache *cache, struct slice bytes, const struct rpc_frame *frame, uint64_t now_ns)
{
    struct request *request;

    if (frame->id == HELLO_ID) {
        link_take_hello(cache, frame, now_ns);
        return;
    }
    request = request_table_find(&cache->table, frame->id);
    if (!request || request->list != &cache->sent)
        return; /* given up, or never asked */
    cache->link.useful = true;
    request->clock = cache->link.clock;
    buffer_append(&request->answer, bytes.data, bytes.len);
    if (request->answer.failed) {
        request_fail(cache, request, request->writes ? DCACHE_E_INDETERMINATE : DCACHE_E_NOMEM, "out of memory");
        return;
    }
    request_finish(cache, request);
}

/* False: the connection is gone. */
static bool link_take_frame(dcache *cache, struct slice bytes, uint64_t now_ns)
{
    struct rpc_frame frame;
    const char *wrong = rpc_decode(bytes, &frame);

    if (wrong)
        link_protocol_error(cache, wrong);
    else if (frame.type == RPC_RESPONSE)
        link_take_response(cache, bytes, &frame, now_ns);
    else if (frame.type == RPC_NOTIFICATION)
        watch_receive(cache, frame.method, frame.params);
    else
        link_protocol_error(cache, "it sends requests");
    return cache->link.state != LINK_DOWN;
}

void link_receive(dcache *cache, uint64_t now_ns)
{
    struct stream *stream = &cache->link.stream;
    struct slice frame;
    const char *why = NULL;

    for (int i = 0; i < RECEIVES_AT_ONCE && cache->link.state != LINK_DOWN; i++) {
        int r = stream_receive(stream);

        if (r == STREAM_AGAIN)
            return;
        if (r == STREAM_CLOSED || r < 0) {
            link_lose_broken(cache, -r * (r < 0));
            return;
        }
        while ((r = stream_next(stream, &frame, &why)) == STREAM_FRAME)
            if (!link_take_frame(cache, frame, now_ns))
                return;
        if (r == STREAM_MALFORMED) {
            link_protocol_error(cache, why);
            return;
        }
        if (stream->in.len < stream->in.capacity)
            return; /* less came than fits: there is no more */
    }
}

/* ---- for the caller's loop --------------------------------------------------------------------------------- */

uint64_t link_wanted_at(const dcache *cache, uint64_t now_ns)
{
    const struct link *link = &cache->link;
    bool waits = cache->queue.count + cache->sent.count + cache->lost.count > 0;
    uint64_t at = waits ? cache->next_deadline_ns : UINT64_MAX;

    if (link->state == LINK_DOWN && link_wanted(cache) && link->retry_at_ns < at)
        at = link->retry_at_ns;
    return at < now_ns ? now_ns : at;
}

short link_events(const dcache *cache)
{
    const struct link *link = &cache->link;

    if (link->state == LINK_DOWN)
        return 0;
    return stream_unsent(&link->stream) > 0 || link->hello_due || link_may_send(cache) ? POLLIN | POLLOUT : POLLIN;
}
