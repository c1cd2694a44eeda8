#include "tests/bench/load_target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX      (1u << 20)
#define ANSWER_WAIT_MS  2000
#define QUIET_MS        50      /* an answer is complete when nothing more came for so long; picked */
#define STALLED_MS      5000    /* a server that answers nothing for so long has failed */
#define GAP_NS          2000000 /* a pause above it is not the server's work; picked */
#define ANSWER_ID_AT    2       /* byte of an answer that differs: the id of a MessagePack-RPC message */
#define ANSWER_HEAD_MAX 6       /* bytes of an answer that are compared: how it begins says its outcome */

static int fail(const struct load_target *t, const char *what)
{
    fprintf(stderr, "load: %s: %s\n", t->name, what);
    return -1;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- setting up ------------------------------------------------------------------------------------------ */

static int requests_read(struct load_target *t)
{
    FILE *file = fopen(t->requests_path, "rb");
    struct stat status;
    bool good = false;

    if (file && fstat(fileno(file), &status) == 0) {
        t->requests_count = (size_t)status.st_size / t->request_bytes;
        t->requests = malloc((size_t)status.st_size + 1);
        good = t->requests && t->requests_count >= t->depth && t->requests_count % t->depth == 0 &&
               fread(t->requests, t->request_bytes, t->requests_count, file) == t->requests_count;
    }
    if (file)
        fclose(file);
    return good ? 0 : fail(t, "its requests cannot be read, or are no multiple of the depth");
}

static int link_connect(const struct load_target *t)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", t->socket);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    fail(t, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* One request, and bytes until no more come. */
static int answer_learn(struct load_target *t, int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    const size_t values_bytes = t->value_bytes * t->operations;
    size_t values = 0;

    t->answer_first = malloc(ANSWER_MAX);
    if (!t->answer_first || send(fd, t->requests, t->request_bytes, MSG_NOSIGNAL) != (ssize_t)t->request_bytes)
        return fail(t, "it takes no request");
    while (poll(&ready, 1, t->answer_bytes ? QUIET_MS : ANSWER_WAIT_MS) > 0) {
        const ssize_t n = recv(fd, t->answer_first + t->answer_bytes, ANSWER_MAX - t->answer_bytes, 0);

        if (n <= 0)
            return fail(t, "it closes the connection");
        t->answer_bytes += (size_t)n;
    }
    for (size_t i = 0; i < t->answer_bytes; i++)
        values += t->answer_first[i] == 'v';
    if (t->answer_bytes == 0 || values < values_bytes)
        return fail(t, "the answer to its first request does not hold the values");
    return 0;
}

static int links_open(struct load_target *t)
{
    const size_t bursts = t->requests_count / t->depth;

    t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    t->links = calloc(t->connections, sizeof *t->links);
    if (t->epoll_fd < 0 || !t->links)
        return fail(t, strerror(errno));
    for (unsigned i = 0; i < t->connections; i++)
        t->links[i].fd = -1;
    for (unsigned i = 0; i < t->connections; i++) {
        struct load_link *link = &t->links[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};

        link->fd = link_connect(t);
        if (link->fd < 0 || (i == 0 && answer_learn(t, link->fd) < 0))
            return -1;
        link->next = bursts * i / t->connections * t->depth;
        link->answers = malloc(t->answer_bytes * t->depth);
        if (!link->answers || epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, link->fd, &event) < 0)
            return fail(t, strerror(errno));
    }
    return 0;
}

int load_target_init(struct load_target *t)
{
    t->epoll_fd = -1;
    if (requests_read(t) < 0 || links_open(t) < 0) {
        load_target_deinit(t);
        return -1;
    }
    return 0;
}

void load_target_deinit(struct load_target *t)
{
    for (unsigned i = 0; t->links && i < t->connections; i++) {
        if (t->links[i].fd >= 0)
            close(t->links[i].fd);
        free(t->links[i].answers);
    }
    if (t->epoll_fd >= 0)
        close(t->epoll_fd);
    free(t->links);
    free(t->requests);
    free(t->answer_first);
    t->links = NULL;
    t->requests = t->answer_first = NULL;
    t->epoll_fd = -1;
}

/* ---- a turn ---------------------------------------------------------------------------------------------- */

struct turn {
    struct load_target *target;
    struct load_turn *result;
    uint64_t end_ns, last_ns;
    unsigned under_way; /* connections */
};

static int burst_send(struct turn *turn, struct load_link *link, uint64_t now)
{
    const struct load_target *t = turn->target;
    const size_t bytes = t->request_bytes * t->depth;

    link->received = 0;
    link->sent_ns = now;
    /* Nothing of this connection is under way, so the burst fits into the socket's buffer as a whole. */
    if (send(link->fd, t->requests + link->next * t->request_bytes, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
        return fail(t, "it does not take a whole burst");
    link->next += t->depth;
    if (link->next == t->requests_count)
        link->next = 0;
    turn->under_way++;
    return 0;
}

static bool answers_good(const struct load_target *t, const struct load_link *link)
{
    const size_t head = t->answer_bytes < ANSWER_HEAD_MAX ? t->answer_bytes : ANSWER_HEAD_MAX;

    for (unsigned i = 0; i < t->depth; i++) {
        const uint8_t *answer = link->answers + i * t->answer_bytes;

        for (size_t at = 0; at < head; at++)
            if (answer[at] != t->answer_first[at] && at != ANSWER_ID_AT)
                return false;
    }
    return true;
}

static int answers_complain(const struct load_target *t, const struct load_link *link)
{
    fprintf(stderr, "load: %s: answers differ from the first one: ", t->name);
    for (size_t i = 0; i < 96 && i < t->answer_bytes; i++)
        fprintf(stderr, link->answers[i] >= ' ' && link->answers[i] <= '~' ? "%c" : "\\x%02x", link->answers[i]);
    fputc('\n', stderr);
    return -1;
}

static int burst_finish(struct turn *turn, struct load_link *link)
{
    const struct load_target *t = turn->target;
    const uint64_t now = clock_ns(CLOCK_MONOTONIC);

    if (!answers_good(t, link))
        return answers_complain(t, link);
    histogram_add(&turn->result->latency, now - link->sent_ns);
    turn->result->operations += (uint64_t)t->depth * t->operations;
    if (now - turn->last_ns > GAP_NS)
        turn->result->gaps_ns += now - turn->last_ns - GAP_NS;
    turn->last_ns = now;
    turn->under_way--;
    return now < turn->end_ns ? burst_send(turn, link, now) : 0;
}

static int link_read(struct turn *turn, struct load_link *link)
{
    const struct load_target *t = turn->target;
    const size_t wanted = t->answer_bytes * t->depth;
    const ssize_t n = recv(link->fd, link->answers + link->received, wanted - link->received, 0);

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        return fail(t, "it closes the connection");
    link->received += (size_t)n;
    return link->received == wanted ? burst_finish(turn, link) : 0;
}

static int turn_run(struct turn *turn)
{
    struct load_target *t = turn->target;
    struct epoll_event events[64];
    const uint64_t start = clock_ns(CLOCK_MONOTONIC);

    turn->last_ns = start;
    for (unsigned i = 0; i < t->connections; i++)
        if (burst_send(turn, &t->links[i], start) < 0)
            return -1;
    while (turn->under_way > 0) {
        const int count = epoll_wait(t->epoll_fd, events, 64, STALLED_MS);

        if (count == 0 || (count < 0 && errno != EINTR))
            return fail(t, "it answers no more");
        for (int i = 0; i < count; i++)
            if (link_read(turn, events[i].data.ptr) < 0)
                return -1;
    }
    turn->result->duration_ns = turn->last_ns - start;
    return 0;
}

int load_target_run(struct load_target *t, uint64_t duration_ns, struct load_turn *ret_turn)
{
    struct turn turn = {.target = t, .result = ret_turn};
    struct cpu_use client, server;
    uint64_t client_ns;

    memset(ret_turn, 0, sizeof *ret_turn);
    /* Before and after a turn the server is idle: only then are its figures exact. */
    if (cpu_use_read(t->pid, &server) < 0 || cpu_use_read(getpid(), &client) < 0)
        return fail(t, "its use of the CPU cannot be read");
    client_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    turn.end_ns = clock_ns(CLOCK_MONOTONIC) + duration_ns;
    if (turn_run(&turn) < 0)
        return -1;
    ret_turn->client_run_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - client_ns;
    if (cpu_use_read(t->pid, &ret_turn->server) < 0 || cpu_use_read(getpid(), &ret_turn->client) < 0)
        return fail(t, "its use of the CPU cannot be read");
    ret_turn->server.run_ns -= server.run_ns;
    ret_turn->server.wait_ns -= server.wait_ns;
    ret_turn->client.run_ns -= client.run_ns;
    ret_turn->client.wait_ns -= client.wait_ns;
    return 0;
}
