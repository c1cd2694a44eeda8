#include "client/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Picked: one read holds a burst of small answers; larger frames take several reads. */
#define RECEIVE_MAX ((size_t)256 * 1024)
#define RECEIVE_MIN ((size_t)16 * 1024)

void stream_init(struct stream *stream)
{
    *stream = (struct stream){.fd = -1};
}

void stream_close(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    buffer_deinit(&stream->in);
    buffer_deinit(&stream->out);
    stream_init(stream);
}

int stream_connect(struct stream *stream, const char *path, size_t max_frame)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;

        close(fd);
        return error == EAGAIN || error == EINTR ? STREAM_AGAIN : -error;
    }
    stream->fd = fd;
    scan_init(&stream->scan, max_frame);
    return STREAM_OK;
}

/* What was sent makes room once all of it was: nothing is moved, however many sends a long message takes. */
static void stream_settle(struct stream *stream)
{
    if (stream_unsent(stream) > 0)
        return;
    buffer_clear(&stream->out);
    stream->out_at = 0;
}

int stream_send(struct stream *stream, size_t *ret_sent)
{
    size_t len = stream_unsent(stream) < STREAM_SEND_MAX ? stream_unsent(stream) : STREAM_SEND_MAX;
    ssize_t n;

    *ret_sent = 0;
    if (len == 0)
        return STREAM_OK;
    do
        n = send(stream->fd, stream->out.data + stream->out_at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? STREAM_OK : -errno;
    *ret_sent = (size_t)n;
    stream->out_at += (size_t)n;
    stream_settle(stream);
    return STREAM_OK;
}

void stream_take_back(struct stream *stream, size_t at)
{
    stream->out.len = at;
    stream_settle(stream);
}

/* Frames that were handed out make room, but only once all of them are: one move for a burst. */
static void stream_compact(struct stream *stream)
{
    if (stream->in_read == 0)
        return;
    buffer_consume(&stream->in, stream->in_read);
    stream->in_seen -= stream->in_read;
    stream->in_read = 0;
}

int stream_receive(struct stream *stream)
{
    size_t room;
    uint8_t *at;
    ssize_t n;

    stream_compact(stream);
    room = stream->in.capacity - stream->in.len;
    if (room < RECEIVE_MIN)
        room = RECEIVE_MIN;
    if (room > RECEIVE_MAX)
        room = RECEIVE_MAX;
    at = buffer_reserve(&stream->in, room);
    if (!at)
        return -ENOMEM;
    do
        n = recv(stream->fd, at, room, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? STREAM_AGAIN : -errno;
    if (n == 0)
        return STREAM_CLOSED;
    stream->in.len += (size_t)n;
    return STREAM_OK;
}

int stream_next(struct stream *stream, struct slice *ret_frame, const char **ret_why)
{
    struct slice bytes = slice_of(stream->in.data + stream->in_seen, stream->in.len - stream->in_seen);
    size_t used = 0;

    if (bytes.len == 0)
        return STREAM_AGAIN;
    switch (scan_feed(&stream->scan, bytes, &used)) {
    case SCAN_DONE:
        stream->in_seen += used;
        *ret_frame = slice_of(stream->in.data + stream->in_read, stream->in_seen - stream->in_read);
        stream->in_read = stream->in_seen;
        return STREAM_FRAME;
    case SCAN_MORE:
        stream->in_seen += used;
        return STREAM_AGAIN;
    case SCAN_TOO_LARGE:
        *ret_why = "a message longer than the limit";
        return STREAM_MALFORMED;
    case SCAN_TOO_DEEP:
        *ret_why = "a message nested too deep";
        return STREAM_MALFORMED;
    case SCAN_MALFORMED:
        break;
    }
    *ret_why = "bytes that are no MessagePack";
    return STREAM_MALFORMED;
}

void stream_set_max_frame(struct stream *stream, size_t max_frame)
{
    stream->scan.max_bytes = max_frame;
}
