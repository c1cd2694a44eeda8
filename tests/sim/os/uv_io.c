/* What happens in the poll phase: descriptors, streams, look-ups of names, signals. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/os/uv_internal.h"

#define READY_MAX      1024 /* as libuv's */
#define READS_AT_ONCE  32   /* as libuv's */
#define READ_SUGGESTED (64 * 1024)
#define RESOLVE_MIN    (50 * OS_US)
#define RESOLVE_MAX    (2 * OS_MS)
#define ADDRESS_BASE   0x0a4d0000u /* 10.77.0.0 and the number of the name */

struct ready {
    struct sim_handle *h;
    short events;
};

/* ---- streams ---------------------------------------------------------------------------------------------- */

bool sim_io_is_active(const struct sim_handle *h)
{
    return h->io.connect || h->io.reading || h->io.write || (h->io.on_poll && h->active);
}

static int stream_init(uv_loop_t *loop, void *handle, uv_handle_type type)
{
    struct sim_handle *h = sim_handle_new(loop, handle, type, SIM_IO);

    h->io.fd = -1;
    ((uv_stream_t *)handle)->write_queue_size = 0;
    return 0;
}

int uv_tcp_init(uv_loop_t *loop, uv_tcp_t *tcp)
{
    return stream_init(loop, tcp, UV_TCP);
}

int uv_pipe_init(uv_loop_t *loop, uv_pipe_t *pipe, int ipc)
{
    (void)ipc;
    return stream_init(loop, pipe, UV_NAMED_PIPE);
}

static void stream_connect(uv_connect_t *request, struct sim_handle *h, struct net_server *server,
                           uv_connect_cb fn)
{
    int r;

    request->handle = (uv_stream_t *)h->handle;
    request->cb = fn;
    h->io.connect = request;
    h->io.fd = kernel_new_fd(FD_SOCKET);
    r = h->io.fd < 0 ? h->io.fd : kernel_connect_server(h->io.fd, server);
    h->io.connect_error = r == -EINPROGRESS ? 0 : r;
}

int uv_tcp_connect(uv_connect_t *request, uv_tcp_t *tcp, const struct sockaddr *address, uv_connect_cb fn)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
    int number = (int)(ntohl(in->sin_addr.s_addr) - ADDRESS_BASE);

    stream_connect(request, sim_of(tcp), net_server_by_number(os_running->os, number), fn);
    return 0;
}

void uv_pipe_connect(uv_connect_t *request, uv_pipe_t *pipe, const char *name, uv_connect_cb fn)
{
    stream_connect(request, sim_of(pipe), net_server_by_name(os_running->os, name), fn);
}

int uv_tcp_nodelay(uv_tcp_t *tcp, int enable)
{
    (void)tcp;
    (void)enable;
    return 0;
}

int uv_tcp_keepalive(uv_tcp_t *tcp, int enable, unsigned delay)
{
    (void)tcp;
    (void)enable;
    (void)delay;
    return 0;
}

int uv_fileno(const uv_handle_t *handle, uv_os_fd_t *ret)
{
    const struct sim_handle *h = sim_of(handle);

    if (h->kind != SIM_IO || h->io.fd < 0)
        return UV_EBADF;
    *ret = h->io.fd;
    return 0;
}

int uv_read_start(uv_stream_t *stream, uv_alloc_cb alloc, uv_read_cb fn)
{
    struct sim_handle *h = sim_of(stream);

    if (h->closing)
        return UV_EINVAL;
    h->io.reading = true;
    h->io.alloc = alloc;
    h->io.on_read = fn;
    return 0;
}

int uv_try_write(uv_stream_t *stream, const uv_buf_t bufs[], unsigned count)
{
    struct sim_handle *h = sim_of(stream);

    if (count != 1)
        abort();
    if (h->io.connect || h->io.write)
        return UV_EAGAIN;
    return (int)kernel_write(h->io.fd, bufs[0].base, bufs[0].len);
}

static void stream_write(struct sim_handle *h)
{
    ssize_t n = kernel_write(h->io.fd, h->io.rest, h->io.rest_len);

    if (n == -EAGAIN)
        return;
    if (n >= 0) {
        h->io.rest += n;
        h->io.rest_len -= (size_t)n;
        if (h->io.rest_len > 0)
            return;
    }
    h->io.write_status = n < 0 ? (int)n : 0;
    h->io.written = true;
}

int uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t bufs[], unsigned count, uv_write_cb fn)
{
    struct sim_handle *h = sim_of(stream);

    if (count != 1 || h->io.write)
        abort();
    request->handle = stream;
    h->io.write = request;
    h->io.on_written = fn;
    h->io.rest = bufs[0].base;
    h->io.rest_len = bufs[0].len;
    h->io.written = false;
    if (!h->io.connect)
        stream_write(h);
    return 0;
}

static void stream_connected(struct sim_handle *h, int status)
{
    uv_connect_t *request = h->io.connect;

    h->io.connect = NULL;
    request->cb(request, status);
}

static void stream_read(struct sim_handle *h)
{
    uv_stream_t *stream = (uv_stream_t *)h->handle;

    for (int i = 0; i < READS_AT_ONCE && h->io.reading; i++) {
        uv_buf_t buf = {0};
        ssize_t n;

        h->io.alloc(h->handle, READ_SUGGESTED, &buf);
        if (!buf.base || buf.len == 0) {
            h->io.on_read(stream, UV_ENOBUFS, &buf);
            return;
        }
        n = kernel_read(h->io.fd, buf.base, buf.len);
        if (n == 0 || (n < 0 && n != -EAGAIN))
            h->io.reading = false;
        h->io.on_read(stream, n == 0 ? UV_EOF : n == -EAGAIN ? 0 : n, &buf);
        if (n < (ssize_t)buf.len)
            return;
    }
}

static void written_callback(struct sim_handle *h, int status)
{
    uv_write_t *request = h->io.write;

    h->io.write = NULL;
    h->io.written = false;
    if (h->io.on_written)
        h->io.on_written(request, status);
}

void sim_io_close(struct sim_handle *h)
{
    h->io.reading = false;
    if (h->handle->type != UV_POLL && h->io.fd >= 0) {
        kernel_close(h->io.fd);
        h->io.fd = -1;
    }
}

void sim_io_cancel(struct sim_handle *h)
{
    if (h->io.connect)
        stream_connected(h, UV_ECANCELED);
    if (h->io.write)
        written_callback(h, h->io.written ? h->io.write_status : UV_ECANCELED);
}

/* ---- polls ------------------------------------------------------------------------------------------------ */

int uv_poll_init(uv_loop_t *loop, uv_poll_t *poll, int fd)
{
    sim_handle_new(loop, poll, UV_POLL, SIM_IO)->io.fd = fd;
    return 0;
}

int uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb fn)
{
    struct sim_handle *h = sim_of(poll);

    if (h->closing)
        return UV_EINVAL;
    h->active = events != 0;
    h->io.poll_events = events;
    h->io.on_poll = fn;
    return 0;
}

int uv_poll_stop(uv_poll_t *poll)
{
    sim_of(poll)->active = false;
    return 0;
}

static void poll_ready(struct sim_handle *h, short events)
{
    uv_poll_t *poll = (uv_poll_t *)h->handle;
    int seen = 0;

    /* libuv gives up a descriptor in error. */
    if (events & POLLERR) {
        h->active = false;
        h->io.on_poll(poll, UV_EBADF, 0);
        return;
    }
    if (events & POLLHUP)
        events |= POLLIN | POLLOUT;
    if ((events & POLLIN) && (h->io.poll_events & UV_READABLE))
        seen |= UV_READABLE;
    if ((events & POLLOUT) && (h->io.poll_events & UV_WRITABLE))
        seen |= UV_WRITABLE;
    h->io.on_poll(poll, 0, seen);
}

/* ---- pending ---------------------------------------------------------------------------------------------- */

bool sim_has_pending(const struct sim_loop *l)
{
    const struct sim_handle *h;

    TAILQ_FOREACH(h, &l->kinds[SIM_IO], link)
    if (h->io.written || (h->io.connect && h->io.connect_error))
        return true;
    return false;
}

static bool run_one_pending(struct sim_loop *l)
{
    struct sim_handle *h;

    TAILQ_FOREACH(h, &l->kinds[SIM_IO], link)
    {
        if (h->io.connect && h->io.connect_error) {
            stream_connected(h, h->io.connect_error);
            return true;
        }
        if (h->io.written) {
            written_callback(h, h->io.write_status);
            return true;
        }
    }
    return false;
}

bool sim_run_pending(struct sim_loop *l)
{
    unsigned count = 0;

    for (; count < READY_MAX && run_one_pending(l); count++)
        ;
    return count > 0;
}

/* ---- names ------------------------------------------------------------------------------------------------ */

static void on_looked_up(void *arg)
{
    struct sim_resolve *r = arg;

    r->event = NULL;
    r->done = true;
    process_notify(r->loop->process);
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb fn, const char *node,
                   const char *service, const struct addrinfo *hints)
{
    struct sim_resolve *r = os_alloc(sizeof(*r));
    struct os *os = os_running->os;

    (void)hints;
    r->request = request;
    r->fn = fn;
    r->loop = sim_loop_of(loop);
    snprintf(r->name, sizeof(r->name), "%s", node);
    r->port = atoi(service);
    r->event = os_at(os, os->now + os_random_between(os, RESOLVE_MIN, RESOLVE_MAX), on_looked_up, r);
    TAILQ_INSERT_TAIL(&r->loop->resolves, r, link);
    return 0;
}

/* As for a look-up that a thread has begun: it ends in its time. */
int uv_cancel(uv_req_t *request)
{
    (void)request;
    return UV_EBUSY;
}

void uv_freeaddrinfo(struct addrinfo *addresses)
{
    free(addresses);
}

static struct addrinfo *make_address(int number, int port)
{
    struct {
        struct addrinfo info;
        struct sockaddr_in in;
    } *a = os_alloc(sizeof(*a));

    a->in.sin_family = AF_INET;
    a->in.sin_port = htons((uint16_t)port);
    a->in.sin_addr.s_addr = htonl(ADDRESS_BASE + (unsigned)number);
    a->info.ai_family = AF_INET;
    a->info.ai_socktype = SOCK_STREAM;
    a->info.ai_addrlen = sizeof(a->in);
    a->info.ai_addr = (struct sockaddr *)(void *)&a->in;
    return &a->info;
}

static bool resolve_one(struct sim_loop *l)
{
    struct os *os = os_running->os;
    struct sim_resolve *r;
    int number;

    TAILQ_FOREACH(r, &l->resolves, link)
    if (r->done || os_dying())
        break;
    if (!r)
        return false;
    TAILQ_REMOVE(&l->resolves, r, link);
    os_forget(os, &r->event);
    number = net_name_number(os, r->name);
    if (os_dying())
        r->fn(r->request, UV_ECANCELED, NULL);
    else if (number < 0)
        r->fn(r->request, UV_EAI_NONAME, NULL);
    else
        r->fn(r->request, 0, make_address(number, r->port));
    free(r);
    return true;
}

/* ---- the phase -------------------------------------------------------------------------------------------- */

static short io_wanted(const struct sim_handle *h)
{
    short wanted = 0;

    if (h->io.on_poll) {
        if (!h->active)
            return 0;
        return (short)((h->io.poll_events & UV_READABLE ? POLLIN : 0) |
                       (h->io.poll_events & UV_WRITABLE ? POLLOUT : 0) | POLLERR | POLLHUP);
    }
    if (h->io.connect)
        return h->io.connect_error ? 0 : POLLOUT | POLLERR | POLLHUP;
    if (h->io.reading)
        wanted |= POLLIN | POLLERR | POLLHUP;
    if (h->io.write && !h->io.written)
        wanted |= POLLOUT | POLLERR | POLLHUP;
    return wanted;
}

static unsigned gather(struct sim_loop *l, struct ready *ready)
{
    struct sim_handle *h;
    unsigned count = 0;

    TAILQ_FOREACH(h, &l->kinds[SIM_IO], link)
    {
        short wanted = h->io.fd < 0 ? 0 : io_wanted(h), events;

        if (!wanted)
            continue;
        events = (short)(kernel_events(h->io.fd) & wanted);
        if (events && count < READY_MAX)
            ready[count++] = (struct ready){h, events};
    }
    return count;
}

static bool has_other(const struct sim_loop *l)
{
    const struct sim_resolve *r;

    TAILQ_FOREACH(r, &l->resolves, link)
    if (r->done)
        return true;
    return l->process->pending_signals != 0;
}

static void run_signals(struct sim_loop *l)
{
    unsigned signals = l->process->pending_signals;
    struct sim_handle *h, *all[8];
    unsigned count = 0;

    if (signals == 0)
        return;
    l->process->pending_signals = 0;
    TAILQ_FOREACH(h, &l->kinds[SIM_SIGNAL], link)
    if (h->active && (signals & (1u << h->signal.signum)) && count < 8)
        all[count++] = h;
    for (unsigned i = 0; i < count; i++)
        if (all[i]->active)
            all[i]->signal.fn((uv_signal_t *)all[i]->handle, all[i]->signal.signum);
}

static void io_ready(struct sim_handle *h, short events)
{
    if (h->closing)
        return;
    if (h->io.on_poll) {
        if (h->active)
            poll_ready(h, events);
        return;
    }
    if (h->io.connect) {
        stream_connected(h, -kernel_socket_error(h->io.fd));
        return;
    }
    if (h->io.reading && (events & (POLLIN | POLLERR | POLLHUP)))
        stream_read(h);
    if (!h->closing && h->io.write && !h->io.written && (events & (POLLOUT | POLLERR | POLLHUP)))
        stream_write(h);
}

static void dispatch(struct os *os, struct ready *ready, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned at = i + (count - i > 1 ? (unsigned)(os_random(os) % (count - i)) : 0);
        struct ready next = ready[at];

        ready[at] = ready[i];
        io_ready(next.h, next.events);
    }
}

void sim_poll(struct sim_loop *l, int64_t timeout_ms)
{
    struct os *os = os_running->os;
    struct ready ready[READY_MAX];
    uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : os->now + (uint64_t)timeout_ms * OS_MS;
    unsigned count = gather(l, ready);

    if (count > 0 || has_other(l) || timeout_ms == 0)
        process_step();
    else
        do
            process_wait(deadline);
        while (gather(l, ready) == 0 && !has_other(l) && os->now < deadline && !os_dying());
    sim_update_time(l);
    if (!os_dying())
        dispatch(os, ready, gather(l, ready));
    run_signals(l);
    while (resolve_one(l))
        ;
}
