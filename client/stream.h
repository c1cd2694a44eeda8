/*
 * The socket: bytes out, whole frames in. Knows nothing of requests.
 *
 * Never blocks and never raises SIGPIPE. The peer is not trusted: a frame longer than the limit in force is
 * refused at the byte that shows it, and memory is taken only for bytes that arrived.
 */
#ifndef DCACHED_CLIENT_STREAM_H
#define DCACHED_CLIENT_STREAM_H

#include "proto/buffer.h"
#include "proto/scan.h"

struct stream {
    int fd; /* -1: closed */
    struct buffer in;
    size_t in_read; /* bytes of `in` that belong to frames already handed out */
    size_t in_seen; /* bytes of `in` the scanner has seen */
    struct scan scan;
    struct buffer out; /* packed */
    size_t out_at;     /* bytes of `out` that the kernel has taken */
};

enum {
    STREAM_OK = 0,
    STREAM_AGAIN = 1,     /* connect: the backlog is full; receive: nothing there */
    STREAM_CLOSED = 2,    /* the peer closed */
    STREAM_FRAME = 3,     /* a frame was found */
    STREAM_MALFORMED = 4, /* the bytes are no MessagePack, or too long or too deep */
};

void stream_init(struct stream *stream);
/* Closes and frees; safe on a closed stream. */
void stream_close(struct stream *stream);

/* STREAM_OK; STREAM_AGAIN; -errno. `path` fits sockaddr_un. */
int stream_connect(struct stream *stream, const char *path, size_t max_frame);

/* Bytes of `out` that the kernel has not taken yet. */
static inline size_t stream_unsent(const struct stream *stream)
{
    return stream->out.len - stream->out_at;
}

/* The kernel is given so much at a time, so that a peer that reads as fast cannot keep the caller; picked. */
#define STREAM_SEND_MAX ((size_t)128 * 1024)

/* Sends once, at most STREAM_SEND_MAX. *ret_sent may be less than there is, 0 if the kernel has no room;
 * STREAM_OK; -errno (the peer is gone: -EPIPE). `out` is empty once all of it was sent. */
int stream_send(struct stream *stream, size_t *ret_sent);
/* Forgets what stands in `out` from `at` on; nothing of it has been sent. */
void stream_take_back(struct stream *stream, size_t at);

/* Reads once, at most 256 KiB. STREAM_OK: something came; STREAM_AGAIN; STREAM_CLOSED; -errno. */
int stream_receive(struct stream *stream);

/* STREAM_FRAME: *ret_frame borrows until the next stream_receive. STREAM_AGAIN: no whole frame is there.
 * STREAM_MALFORMED: *ret_why says how; the stream has to be closed. */
int stream_next(struct stream *stream, struct slice *ret_frame, const char **ret_why);

/* For the frames after the one handed out last. */
void stream_set_max_frame(struct stream *stream, size_t max_frame);

#endif
