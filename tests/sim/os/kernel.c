/* Descriptors and system calls. What a simulated process calls ends here; what the world calls is the real thing.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "tests/sim/os/internal.h"

#define BACKLOG_MAX 1024 /* LISTENER_BACKLOG */

/* ---- descriptors ------------------------------------------------------------------------------------------ */

int kernel_new_fd(enum fd_kind kind)
{
    struct os_process *p = os_running;
    unsigned i = 0;

    if (p->fd_used >= p->fd_limit || p->dying)
        return -EMFILE;
    while (i < p->fd_room && p->fds[i].kind != FD_FREE)
        i++;
    if (i == p->fd_room) {
        unsigned room = p->fd_room > 0 ? 2 * p->fd_room : 16;

        p->fds = os_grow(p->fds, room * sizeof(*p->fds));
        memset(p->fds + p->fd_room, 0, (room - p->fd_room) * sizeof(*p->fds));
        p->fd_room = room;
    }
    p->fds[i] = (struct os_fd){.kind = kind};
    p->fd_used++;
    return FD_BASE + (int)p->number * FD_PER_PROCESS + (int)i;
}

struct os_fd *kernel_fd(int fd)
{
    int index = os_running ? fd - FD_BASE - (int)os_running->number * FD_PER_PROCESS : -1;

    if (index < 0 || index >= (int)os_running->fd_room || os_running->fds[index].kind == FD_FREE)
        return NULL;
    return &os_running->fds[index];
}

static void listener_gone(struct net_listener *l)
{
    struct net_conn *conn;

    while ((conn = TAILQ_FIRST(&l->pending)) != NULL) {
        TAILQ_REMOVE(&l->pending, conn, link_pending);
        net_end_close(&conn->end[1]);
    }
    TAILQ_REMOVE(&l->process->os->net.listeners, l, link);
    free(l);
}

static void fd_release(struct os_fd *f)
{
    if (f->end)
        net_end_close(f->end);
    if (f->listener)
        listener_gone(f->listener);
    f->end = NULL;
    f->listener = NULL;
}

int kernel_close(int fd)
{
    struct os_fd *f = kernel_fd(fd);

    if (!f)
        return -EBADF;
    fd_release(f);
    f->kind = FD_FREE;
    if (os_running->fd_used > 0)
        os_running->fd_used--;
    return 0;
}

void kernel_close_all(struct os_process *process)
{
    for (unsigned i = 0; i < process->fd_room; i++) {
        fd_release(&process->fds[i]);
        if (process->fds[i].kind != FD_FREE)
            process->fds[i].kind = FD_DEAD;
    }
}

/* ---- reading and writing ---------------------------------------------------------------------------------- */

ssize_t kernel_read(int fd, void *bytes, size_t len)
{
    struct os_fd *f = kernel_fd(fd);
    struct net_end *end = f ? f->end : NULL;
    struct flow *in;

    if (!end)
        return !f ? -EBADF : f->kind == FD_DEAD ? -ECONNRESET : -ENOTCONN;
    in = net_end_in(end);
    if (in->readable > 0 && !end->shut) {
        struct os *os = os_running->os;

        len = len < in->readable ? len : in->readable;
        if (len > 1 && os_chance(os, os->net.config.split_permille))
            len = os_random_between(os, 1, len - 1);
        memcpy(bytes, in->bytes + in->head, len);
        os_mix(os, len);
        flow_consume(in, len);
        return (ssize_t)len;
    }
    if (end->error)
        return -end->error;
    return end->eof || end->shut ? 0 : -EAGAIN;
}

ssize_t kernel_write(int fd, const void *bytes, size_t len)
{
    struct os_fd *f = kernel_fd(fd);
    struct net_end *end;
    size_t sent;

    if (f && f->kind == FD_LOG) {
        struct os *os = os_running->os;

        if (os->config.on_log && !os_running->dying)
            os->config.on_log(os->config.ctx, os_running, bytes, len);
        return (ssize_t)len;
    }
    if (f && f->end)
        process_before_write(os_running, f->end->conn->link);
    f = kernel_fd(fd); /* the process may have been stopped for long, and killed */
    if (!f)
        return -EBADF;
    end = f->end;
    if (!end)
        return -EPIPE;
    if (end->error)
        return -end->error;
    if (end->shut || net_end_out(end)->ended || (end->conn->local && !end->conn->end[1 - end->index].open))
        return -EPIPE;
    if (!end->connected)
        return -EAGAIN;
    sent = flow_send(net_end_out(end), bytes, len);
    return sent > 0 || len == 0 ? (ssize_t)sent : -EAGAIN;
}

static short end_events(struct net_end *end)
{
    const struct flow *in = net_end_in(end), *out = net_end_out(end);
    short events = 0;

    if (end->error)
        return POLLIN | POLLOUT | POLLERR | POLLHUP;
    if (!end->connected)
        return 0;
    if (in->readable > 0 || end->eof || end->shut)
        events |= POLLIN;
    if (flow_room(out) >= out->limit / 4 || out->ended)
        events |= POLLOUT;
    if ((end->eof && end->conn->local) || (end->eof && end->shut))
        events |= POLLHUP;
    return events;
}

short kernel_events(int fd)
{
    struct os_fd *f = kernel_fd(fd);

    if (!f)
        return POLLNVAL;
    switch (f->kind) {
    case FD_END:
        return end_events(f->end);
    case FD_LISTENER:
        return TAILQ_EMPTY(&f->listener->pending) ? 0 : POLLIN;
    case FD_LOG:
        return POLLOUT;
    case FD_DEAD:
        return POLLERR;
    default:
        return POLLHUP;
    }
}

static int gather(struct pollfd *fds, nfds_t count)
{
    int ready = 0;

    for (nfds_t i = 0; i < count; i++) {
        short always = POLLERR | POLLHUP | POLLNVAL;

        fds[i].revents = fds[i].fd < 0 ? 0 : (short)(kernel_events(fds[i].fd) & (fds[i].events | always));
        ready += fds[i].revents != 0;
    }
    return ready;
}

int kernel_poll(struct pollfd *fds, nfds_t count, const uint64_t *deadline)
{
    struct os *os = os_running->os;
    int ready = gather(fds, count);

    if (count == 1 && fds[0].fd >= 0 && kernel_fd(fds[0].fd) && kernel_fd(fds[0].fd)->kind == FD_LOG)
        return ready;
    if (ready > 0 || *deadline <= os->now) {
        process_step();
        return os_dying() ? 0 : gather(fds, count);
    }
    while (ready == 0 && os->now < *deadline && !os_dying()) {
        process_wait(*deadline);
        ready = gather(fds, count);
    }
    return os_dying() ? 0 : ready;
}

/* ---- connecting ------------------------------------------------------------------------------------------- */

int kernel_socket_error(int fd)
{
    struct os_fd *f = kernel_fd(fd);

    return f && f->end ? f->end->error : ECONNRESET;
}

int kernel_connect_server(int fd, struct net_server *server)
{
    struct os *os = os_running->os;
    struct os_fd *f = kernel_fd(fd);

    if (!f || f->kind != FD_SOCKET)
        return -EBADF;
    if (!server)
        return -ECONNREFUSED;
    f->end = &net_conn_new(os, os_running, rules_redirect(os, os_running, server), false)->end[0];
    f->kind = FD_END;
    flow_queue(net_end_out(f->end), SEG_SYN, NULL, 0);
    return -EINPROGRESS;
}

static int kernel_connect_local(struct os_fd *f, const char *path)
{
    struct os *os = os_running->os;
    struct net_listener *l;
    struct net_conn *conn;

    TAILQ_FOREACH(l, &os->net.listeners, link)
    if (strcmp(l->path, path) == 0 && !l->unlinked)
        break;
    if (!l)
        return -ECONNREFUSED;
    if (l->count >= BACKLOG_MAX)
        return -EAGAIN;
    conn = net_conn_new(os, os_running, NULL, true);
    if (rules_find_refusal(os, conn)) {
        conn->end[0].open = false;
        net_conn_check(conn);
        return -ECONNREFUSED;
    }
    conn->end[0].connected = conn->end[1].connected = true;
    conn->end[1].open = true;
    conn->end[1].process = l->process;
    TAILQ_INSERT_TAIL(&l->pending, conn, link_pending);
    l->count++;
    f->end = &conn->end[0];
    f->kind = FD_END;
    process_notify(l->process);
    return 0;
}

int kernel_listen(const char *path)
{
    struct os *os = os_running->os;
    struct net_listener *l;
    int fd;

    TAILQ_FOREACH(l, &os->net.listeners, link)
    if (strcmp(l->path, path) == 0)
        return -EADDRINUSE;
    fd = kernel_new_fd(FD_LISTENER);
    if (fd < 0)
        return fd;
    l = os_alloc(sizeof(*l));
    l->process = os_running;
    snprintf(l->path, sizeof(l->path), "%s", path);
    TAILQ_INIT(&l->pending);
    TAILQ_INSERT_TAIL(&os->net.listeners, l, link);
    kernel_fd(fd)->listener = l;
    return fd;
}

void kernel_unlisten(int fd)
{
    struct os_fd *f = kernel_fd(fd);

    if (f && f->listener)
        f->listener->unlinked = true;
}

int kernel_accept(int fd)
{
    struct os_fd *f = kernel_fd(fd);
    struct net_listener *l = f ? f->listener : NULL;
    struct net_conn *conn;
    int accepted;

    if (!l)
        return -EBADF;
    conn = TAILQ_FIRST(&l->pending);
    if (!conn)
        return -EAGAIN;
    accepted = kernel_new_fd(FD_END);
    if (accepted < 0)
        return accepted;
    TAILQ_REMOVE(&l->pending, conn, link_pending);
    l->count--;
    kernel_fd(accepted)->end = &conn->end[1];
    return accepted;
}

pid_t kernel_accepted_pid(int fd)
{
    return PID_BASE + (pid_t)kernel_fd(fd)->end->conn->process->number;
}

/* ---- clock, random numbers -------------------------------------------------------------------------------- */

uint64_t kernel_clock(void)
{
    return os_process_boottime(os_running) + (os_running->dying ? DYING_ADVANCE : 0);
}

void kernel_random(struct os *os, void *bytes, size_t len)
{
    uint8_t *at = bytes;

    while (len > 0) {
        uint64_t word = os_random(os);
        size_t part = len < sizeof(word) ? len : sizeof(word);

        memcpy(at, &word, part);
        at += part;
        len -= part;
    }
}

/* ---- the system calls ------------------------------------------------------------------------------------- */

/* errno and -1, as the C library gives them. */
static ssize_t result(ssize_t r)
{
    if (r >= 0)
        return r;
    errno = (int)-r;
    return -1;
}

/* The names that -Wl,--wrap makes of calls, and of what they replace. */
#define WRAPPED(ret, name, ...)     \
    ret __real_##name(__VA_ARGS__); \
    ret __wrap_##name(__VA_ARGS__); \
    ret __wrap_##name(__VA_ARGS__)

static void stop_unknown(const char *what)
{
    fprintf(stderr, "a simulated process calls %s, which is not simulated\n", what);
    abort();
}

WRAPPED(int, clock_gettime, clockid_t clock, struct timespec *ret)
{
    uint64_t ns;

    if (!os_running)
        return __real_clock_gettime(clock, ret);
    ns = kernel_clock();
    if (clock == CLOCK_REALTIME)
        ns = WALL_BASE + os_running->os->now + (uint64_t)os_running->wall_jump_ns;
    ret->tv_sec = (time_t)(ns / OS_S);
    ret->tv_nsec = (long)(ns % OS_S);
    return 0;
}

WRAPPED(ssize_t, getrandom, void *bytes, size_t len, unsigned flags)
{
    if (!os_running)
        return __real_getrandom(bytes, len, flags);
    kernel_random(os_running->os, bytes, len);
    return (ssize_t)len;
}

/* A dying process is nobody's child: the client library then frees without calling anybody back. */
WRAPPED(pid_t, getpid, void)
{
    if (!os_running)
        return __real_getpid();
    return os_running->dying ? 1 : PID_BASE + (pid_t)os_running->number;
}

WRAPPED(int, socket, int domain, int type, int protocol)
{
    if (!os_running)
        return __real_socket(domain, type, protocol);
    if (domain != AF_UNIX)
        stop_unknown("socket() of that domain");
    return (int)result(kernel_new_fd(FD_SOCKET));
}

WRAPPED(int, connect, int fd, const struct sockaddr *address, socklen_t len)
{
    struct os_fd *f;

    if (fd < FD_BASE)
        return __real_connect(fd, address, len);
    f = kernel_fd(fd);
    if (!f || f->kind != FD_SOCKET || address->sa_family != AF_UNIX)
        return (int)result(-EBADF);
    return (int)result(kernel_connect_local(f, ((const struct sockaddr_un *)(const void *)address)->sun_path));
}

WRAPPED(int, shutdown, int fd, int how)
{
    struct os_fd *f;

    if (fd < FD_BASE)
        return __real_shutdown(fd, how);
    f = kernel_fd(fd);
    if (!f || !f->end)
        return (int)result(-ENOTCONN);
    if (how != SHUT_RDWR)
        stop_unknown("shutdown() of one direction");
    f->end->shut = true;
    flow_queue(net_end_out(f->end), SEG_FIN, NULL, 0);
    return 0;
}

WRAPPED(int, close, int fd)
{
    return fd < FD_BASE ? __real_close(fd) : (int)result(kernel_close(fd));
}

WRAPPED(ssize_t, read, int fd, void *bytes, size_t len)
{
    return fd < FD_BASE ? __real_read(fd, bytes, len) : result(kernel_read(fd, bytes, len));
}

WRAPPED(ssize_t, recv, int fd, void *bytes, size_t len, int flags)
{
    return fd < FD_BASE ? __real_recv(fd, bytes, len, flags) : result(kernel_read(fd, bytes, len));
}

WRAPPED(ssize_t, write, int fd, const void *bytes, size_t len)
{
    return fd < FD_BASE ? __real_write(fd, bytes, len) : result(kernel_write(fd, bytes, len));
}

WRAPPED(ssize_t, send, int fd, const void *bytes, size_t len, int flags)
{
    return fd < FD_BASE ? __real_send(fd, bytes, len, flags) : result(kernel_write(fd, bytes, len));
}

WRAPPED(int, poll, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    uint64_t deadline = UINT64_MAX;

    if (!os_running)
        return __real_poll(fds, count, timeout_ms);
    if (timeout_ms >= 0)
        deadline = os_running->os->now + (uint64_t)timeout_ms * OS_MS;
    return kernel_poll(fds, count, &deadline);
}

WRAPPED(int, setsockopt, int fd, int level, int name, const void *value, socklen_t len)
{
    return fd < FD_BASE ? __real_setsockopt(fd, level, name, value, len) : 0;
}
