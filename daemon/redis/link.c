/* The socket of a connection: bytes in, replies out; commands in, bytes out. */
#include "daemon/redis/link.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/redis/internal.h"

/* One large value must not cost its memory for as long as the connection lives. */
static void queue_clear(struct buffer *queue)
{
    if (queue->capacity > CONNECTION_KEEP_MAX)
        buffer_deinit(queue);
    else
        buffer_clear(queue);
}

static void link_on_close(uv_handle_t *handle)
{
    struct link *link = handle->data;
    struct redis *redis = link->redis;

    resp_deinit(&link->resp);
    buffer_deinit(&link->writing);
    free(link);
    redis_handle_closed(redis);
}

void link_drop(struct connection *c)
{
    if (c->link) {
        c->link->owner = NULL;
        uv_close(&c->link->handle, link_on_close);
        c->link = NULL;
    }
    queue_clear(&c->out);
}

int link_new(struct connection *c)
{
    struct link *link = calloc(1, sizeof(*link));
    int r;

    if (!link)
        return -ENOMEM;
    r = resp_init(&link->resp, c->bulk_max);
    if (r == 0)
        r = c->config->unix_path ? uv_pipe_init(c->loop, &link->pipe, 0) : uv_tcp_init(c->loop, &link->tcp);
    if (r < 0) {
        resp_deinit(&link->resp);
        free(link);
        return r;
    }
    link->handle.data = link;
    link->redis = c->redis;
    link->owner = c;
    c->link = link;
    c->redis->handles++;
    return 0;
}

void link_set_options(struct connection *c)
{
    unsigned user_timeout_ms = (unsigned)(2 * c->config->answer_deadline_ns / NS_PER_MS);
    int fd;

    if (c->config->unix_path)
        return;
    if (user_timeout_ms < 2000)
        user_timeout_ms = 2000;
    uv_tcp_nodelay(&c->link->tcp, 1);
    uv_tcp_keepalive(&c->link->tcp, 1, 1 + (unsigned)(c->config->answer_deadline_ns / NS_PER_S));
    if (uv_fileno(&c->link->handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct link *link = handle->data;

    (void)suggested;
    if (!link->owner) {
        *ret = uv_buf_init(NULL, 0);
        return;
    }
    *ret = uv_buf_init((char *)link->owner->redis->read_buffer, sizeof(link->owner->redis->read_buffer));
}

/* The link stays in memory during the loop even if a callback closes it: only its owner is gone then. */
static void link_deliver(struct link *link)
{
    while (link->owner) {
        struct connection *c = link->owner;
        redisReply *reply;
        const char *error;

        if (resp_next(&link->resp, &reply) != RESP_OK) {
            connection_fail(c, link->resp.error);
            return;
        }
        if (!reply)
            return;
        error = connection_on_reply(c, reply);
        if (error && link->owner)
            connection_fail(c, error);
        freeReplyObject(reply);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct link *link = stream->data;
    struct connection *c = link->owner;

    if (!c || n == 0)
        return;
    if (n < 0) {
        connection_fail(c, n == UV_EOF ? "closed by Redis" : uv_strerror((int)n));
        return;
    }
    c->bytes_in += (uint64_t)n;
    c->overdue = false;
    if (resp_feed(&link->resp, slice_of(buffer->base, (size_t)n)) == RESP_OK) {
        link_deliver(link);
        return;
    }
    /* What came whole before the malformed bytes still counts. */
    link_deliver(link);
    if (link->owner)
        connection_fail(link->owner, link->resp.error);
}

int link_start_reading(struct link *link)
{
    return uv_read_start(&link->stream, on_alloc, on_read);
}

static void on_written(uv_write_t *request, int status)
{
    struct link *link = request->handle->data;

    link->write_busy = false;
    queue_clear(&link->writing);
    if (!link->owner)
        return;
    if (status < 0)
        connection_fail(link->owner, uv_strerror(status));
    else
        connection_flush(link->owner);
}

/* For a kernel that has been offered something and has not taken all of it. */
static void link_check_queue(const struct link *link, struct connection *c)
{
    if (c->out.len + link->writing.len <= c->out_max)
        return;
    snprintf(c->reason, sizeof(c->reason), "Redis takes nothing: more than %zu MiB are queued", c->out_max >> 20);
    connection_fail(c, c->reason);
}

void connection_flush(struct connection *c)
{
    struct link *link = c->link;
    struct buffer swap;
    uv_buf_t rest;
    int n;

    if (!link || c->state < CONNECTION_AUTHENTICATING)
        return;
    if (c->out.failed) {
        connection_fail(c, "out of memory");
        return;
    }
    if (link->write_busy) {
        link_check_queue(link, c);
        return;
    }
    if (c->out.len == 0)
        return;
    rest = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
    n = uv_try_write(&link->stream, &rest, 1);
    if (n < 0 && n != UV_EAGAIN) {
        connection_fail(c, uv_strerror(n));
        return;
    }
    n = n < 0 ? 0 : n;
    c->bytes_out += c->out.len;
    if ((size_t)n == c->out.len) {
        queue_clear(&c->out);
        return;
    }
    swap = link->writing;
    link->writing = c->out;
    c->out = swap;
    rest = uv_buf_init((char *)link->writing.data + n, (unsigned)(link->writing.len - (size_t)n));
    link->write_busy = true;
    n = uv_write(&link->write, &link->stream, &rest, 1, on_written);
    if (n < 0)
        connection_fail(c, uv_strerror(n));
}
