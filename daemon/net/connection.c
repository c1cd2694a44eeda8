#include "daemon/net/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const enum connection_state moves[CONNECTION_STATES][CONNECTION_EVENTS] = {
    [CONNECTION_OPEN] =
        {
            [CONNECTION_EOF] = CONNECTION_DRAINING,
            [CONNECTION_MALFORMED] = CONNECTION_DRAINING,
            [CONNECTION_STOP] = CONNECTION_DRAINING,
            [CONNECTION_ERROR] = CONNECTION_CLOSING,
            [CONNECTION_DRAINED] = CONNECTION_CLOSING,
            [CONNECTION_STALLED] = CONNECTION_CLOSING,
        },
    [CONNECTION_DRAINING] =
        {
            [CONNECTION_EOF] = CONNECTION_DRAINING,
            [CONNECTION_MALFORMED] = CONNECTION_DRAINING,
            [CONNECTION_STOP] = CONNECTION_DRAINING,
            [CONNECTION_ERROR] = CONNECTION_CLOSING,
            [CONNECTION_DRAINED] = CONNECTION_CLOSING,
            [CONNECTION_STALLED] = CONNECTION_CLOSING,
        },
    [CONNECTION_CLOSING] =
        {
            [CONNECTION_EOF] = CONNECTION_CLOSING,
            [CONNECTION_MALFORMED] = CONNECTION_CLOSING,
            [CONNECTION_STOP] = CONNECTION_CLOSING,
            [CONNECTION_ERROR] = CONNECTION_CLOSING,
            [CONNECTION_DRAINED] = CONNECTION_CLOSING,
            [CONNECTION_STALLED] = CONNECTION_CLOSING,
        },
};

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_handle_closed(uv_handle_t *handle);

static void drop_input(struct connection *c)
{
    buffer_deinit(&c->in);
    c->in_at = 0;
    c->in_idle_s = 0;
    scan_init(&c->scan, c->conns->config.max_message);
    connections_unprivilege(c->conns, c);
    connections_charge(c->conns, c);
}

void connection_move(struct connection *c, enum connection_event event)
{
    struct connections *conns = c->conns;
    enum connection_state from = c->state;

    c->state = moves[from][event];
    if (event == CONNECTION_MALFORMED)
        drop_input(c);
    if (c->state == from)
        return;
    if (c->state == CONNECTION_DRAINING) {
        connections_mark_ready(conns, c); /* it may be done already: its turn finds out */
        return;
    }
    /* The buffers stay until the handle is gone: a frame in one of them may be in the receiver's hands. */
    connections_forget(conns, c);
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    close(c->fd);
    c->fd = -1;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct connections *conns = c->conns;

    buffer_deinit(&c->in);
    buffer_deinit(&c->out);
    free(c);
    connections_handle_gone(conns);
}

struct connection *connection_new(struct connections *conns, int fd, uint32_t slot, uint32_t generation)
{
    struct connection *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct connection){.conns = conns, .fd = fd, .slot = slot, .generation = generation};
    scan_init(&c->scan, conns->config.max_message);
    if (uv_poll_init(conns->loop, &c->poll, fd) < 0) {
        free(c);
        return NULL;
    }
    c->poll.data = c;
    c->armed = UV_READABLE;
    uv_poll_start(&c->poll, UV_READABLE, on_poll);
    return c;
}

/* ---- what may be done ------------------------------------------------------------------------------------ */

static bool may_hand_on(const struct connection *c)
{
    const struct connections *conns = c->conns;
    size_t queued = connection_queued(c);

    if (c->state == CONNECTION_CLOSING || c->in_flight >= conns->config.in_flight_max)
        return false;
    return queued < CONNECTION_OUTPUT_HIGH && (queued == 0 || conns->used < conns->config.budget_bytes);
}

/* Frames (not only the beginning of one) wait in c->in. */
static bool has_unscanned(const struct connection *c)
{
    return connection_stored(c) > c->scan.seen;
}

static bool may_read(const struct connection *c)
{
    return c->state == CONNECTION_OPEN && !c->waiting && !c->paused && !has_unscanned(c);
}

/*
 * Wishes are armed at once; what is no longer wished is disarmed only when it fires, since each change costs
 * system calls and most pauses end before anything comes.
 */
static void update_poll(struct connection *c, int fired)
{
    int wanted = (may_read(c) ? UV_READABLE : 0) | (connection_queued(c) > 0 ? UV_WRITABLE : 0);
    int armed = (c->armed & ~fired) | wanted;

    if (c->state == CONNECTION_CLOSING || armed == c->armed)
        return;
    c->armed = armed;
    if (armed == 0)
        uv_poll_stop(&c->poll);
    else
        uv_poll_start(&c->poll, armed, on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;

    if (status < 0) {
        /*
         * libuv stopped the handle: the client is gone and left answers unread. What it sent before is still
         * read, as far as its turn has come; reading finds the error at the end.
         */
        c->armed = 0;
        events = UV_READABLE;
        if (!may_read(c)) {
            connection_move(c, CONNECTION_ERROR);
            return;
        }
    }
    if ((events & UV_READABLE) && may_read(c))
        c->readable = true;
    else if ((events & UV_READABLE) && !c->listed)
        update_poll(c, UV_READABLE);
    if (c->readable || (events & UV_WRITABLE))
        connections_mark_ready(c->conns, c);
}

/* A paused connection goes on well below its limits, so that it does not pause at every answer. */
void connection_resume(struct connection *c)
{
    const struct connections *conns = c->conns;

    if (!c->paused || c->in_flight > conns->config.in_flight_max / 4 * 3 ||
        connection_queued(c) > CONNECTION_OUTPUT_HIGH / 2 || !may_hand_on(c))
        return;
    c->paused = false;
    connections_mark_ready(c->conns, c);
}

/* ---- output ---------------------------------------------------------------------------------------------- */

/* Bytes taken by the socket; 0 if it is full, or broken (then the connection is closing). */
static size_t write_some(struct connection *c, const uint8_t *data, size_t len)
{
    ssize_t n;

    do
        n = write(c->fd, data, len);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        c->conns->counters.bytes_out += (uint64_t)n;
        return (size_t)n;
    }
    if (errno != EAGAIN)
        connection_move(c, CONNECTION_ERROR);
    return 0;
}

/* The shared buffer goes out; what the socket does not take is queued. */
static void flush_shared(struct connection *c)
{
    struct connections *conns = c->conns;
    size_t sent;

    if (conns->out.failed)
        connection_move(c, CONNECTION_ERROR);
    if (c->state == CONNECTION_CLOSING || conns->out.len == 0) {
        buffer_clear(&conns->out);
        conns->out.failed = false;
        return;
    }
    sent = write_some(c, conns->out.data, conns->out.len);
    if (sent < conns->out.len && c->state != CONNECTION_CLOSING) {
        buffer_append(&c->out, conns->out.data + sent, conns->out.len - sent);
        connections_charge(conns, c);
        if (c->out.failed)
            connection_move(c, CONNECTION_ERROR);
    }
    buffer_clear(&conns->out);
    if (conns->out.capacity > 4 * CONNECTION_READ_BYTES)
        buffer_deinit(&conns->out);
}

static void flush_queued(struct connection *c)
{
    size_t sent;

    if (c->state == CONNECTION_CLOSING || connection_queued(c) == 0)
        return;
    sent = write_some(c, c->out.data + c->out_at, connection_queued(c));
    if (c->state == CONNECTION_CLOSING || sent == 0)
        return;
    c->out_idle_s = 0;
    c->out_at += sent;
    if (connection_queued(c) == 0) {
        buffer_deinit(&c->out);
        c->out_at = 0;
    } else if (c->out_at > c->out.len / 2) {
        buffer_consume(&c->out, c->out_at);
        c->out_at = 0;
    }
    connections_charge(c->conns, c);
}

struct buffer *connection_buffer(struct connection *c)
{
    /* Bytes that are queued already have to go first. */
    return c == c->conns->current && connection_queued(c) == 0 ? &c->conns->out : &c->out;
}

void connection_packed(struct connection *c, struct buffer *packed)
{
    if (packed->failed) {
        connection_move(c, CONNECTION_ERROR);
    } else if (packed == &c->conns->out) {
        if (packed->len >= CONNECTION_READ_BYTES)
            flush_shared(c);
    } else {
        connections_charge(c->conns, c);
        connections_mark_flush(c->conns, c);
    }
}

/* ---- input ----------------------------------------------------------------------------------------------- */

static void refuse_input(struct connection *c, struct slice begin, enum scan_result what)
{
    struct connections *conns = c->conns;

    conns->counters.frames_bad++;
    c->in_flight++;
    conns->config.on_bad_frame(conns->config.ctx, connection_client(c), begin, what);
    connection_move(c, CONNECTION_MALFORMED);
}

/* False: nothing after this frame is to be looked at. */
static bool hand_on(struct connection *c, struct slice frame)
{
    struct connections *conns = c->conns;

    conns->counters.frames++;
    c->turn_frames++;
    c->in_flight++;
    switch (conns->config.on_frame(conns->config.ctx, connection_client(c), frame)) {
    case FRAME_TAKEN:
        break;
    case FRAME_UNANSWERED:
        c->in_flight--;
        break;
    case FRAME_MALFORMED:
        conns->counters.frames_bad++;
        connection_move(c, CONNECTION_MALFORMED);
        return false;
    }
    return c->state != CONNECTION_CLOSING;
}

static bool turn_is_over(const struct connection *c)
{
    const struct connections *conns = c->conns;

    /* Without memory to queue in, the socket is asked often how much it takes. */
    if (conns->used >= conns->config.budget_bytes && conns->out.len >= CONNECTION_SHORT_BYTES)
        return true;
    return c->turn_frames >= CONNECTION_TURN_FRAMES || !may_hand_on(c);
}

static void store(struct connection *c, struct slice bytes)
{
    buffer_append(&c->in, bytes.data, bytes.len);
    connections_charge(c->conns, c);
    if (c->in.failed)
        connection_move(c, CONNECTION_ERROR);
}

/* Hands on what stands in the shared read buffer; c->in is empty. */
static void take_shared(struct connection *c, struct slice bytes)
{
    while (bytes.len > 0 && !turn_is_over(c)) {
        size_t used;
        enum scan_result result = scan_feed(&c->scan, bytes, &used);

        if (result == SCAN_MORE)
            break;
        if (result != SCAN_DONE) {
            refuse_input(c, bytes, result);
            return;
        }
        if (!hand_on(c, slice_of(bytes.data, used)))
            return;
        bytes = slice_of(bytes.data + used, bytes.len - used);
    }
    if (bytes.len > 0 && c->state != CONNECTION_CLOSING)
        store(c, bytes);
}

/* c->in holds the beginning of a frame, all of it scanned: bytes go on from there. */
static void take_continuation(struct connection *c, struct slice bytes)
{
    size_t used;
    enum scan_result result = scan_feed(&c->scan, bytes, &used);
    bool go_on;

    c->in_idle_s = 0;
    store(c, slice_of(bytes.data, used));
    if (c->state == CONNECTION_CLOSING || result == SCAN_MORE)
        return;
    if (result != SCAN_DONE) {
        refuse_input(c, slice_of(c->in.data + c->in_at, connection_stored(c)), result);
        return;
    }
    go_on = hand_on(c, slice_of(c->in.data + c->in_at, connection_stored(c)));
    drop_input(c);
    if (go_on)
        take_shared(c, slice_of(bytes.data + used, bytes.len - used));
}

/* Frames left over from an earlier turn. */
static void take_stored(struct connection *c)
{
    while (has_unscanned(c) && !turn_is_over(c)) {
        const uint8_t *frame = c->in.data + c->in_at;
        size_t seen = c->scan.seen, used;
        enum scan_result result = scan_feed(&c->scan, slice_of(frame + seen, connection_stored(c) - seen), &used);

        if (result == SCAN_MORE)
            break;
        if (result != SCAN_DONE) {
            refuse_input(c, slice_of(frame, connection_stored(c)), result);
            return;
        }
        if (!hand_on(c, slice_of(frame, seen + used)))
            return;
        c->in_at += seen + used;
    }
    if (connection_stored(c) == 0)
        drop_input(c);
    else if (c->in_at > c->in.len / 2) {
        buffer_consume(&c->in, c->in_at);
        c->in_at = 0;
    }
}

static void read_some(struct connection *c)
{
    struct connections *conns = c->conns;
    size_t size = connections_read_size(conns, c);
    struct slice bytes;
    ssize_t n;

    if (size == 0) {
        connections_mark_waiting(conns, c);
        return;
    }
    n = read(c->fd, conns->read_buffer, size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        connection_move(c, n == 0 ? CONNECTION_EOF : CONNECTION_ERROR);
        return;
    }
    conns->counters.bytes_in += (uint64_t)n;
    bytes = slice_of(conns->read_buffer, (size_t)n);
    if (connection_stored(c) > 0)
        take_continuation(c, bytes);
    else
        take_shared(c, bytes);
}

/* ---- the turn -------------------------------------------------------------------------------------------- */

static void see_whether_done(struct connection *c)
{
    if (c->state == CONNECTION_DRAINING && c->in_flight == 0 && connection_queued(c) == 0 && !has_unscanned(c))
        connection_move(c, CONNECTION_DRAINED);
}

void connection_turn(struct connection *c)
{
    struct connections *conns = c->conns;
    bool readable = c->readable;

    c->readable = false;
    c->turn_frames = 0;
    flush_queued(c);
    connection_resume(c);
    conns->current = c;
    if (has_unscanned(c))
        take_stored(c);
    else if (readable && may_read(c))
        read_some(c);
    flush_shared(c);
    conns->current = NULL;

    if (c->state != CONNECTION_CLOSING && has_unscanned(c)) {
        if (may_hand_on(c))
            connections_mark_ready(conns, c);
        else
            c->paused = true;
    } else if (c->state == CONNECTION_OPEN && !may_hand_on(c)) {
        c->paused = true;
    }
    see_whether_done(c);
    update_poll(c, connection_queued(c) > 0 ? 0 : UV_WRITABLE);
}

void connection_write_queued(struct connection *c)
{
    flush_queued(c);
    connection_resume(c);
    see_whether_done(c);
    update_poll(c, connection_queued(c) > 0 ? 0 : UV_WRITABLE);
}
