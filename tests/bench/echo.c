/*
 * The least a server can do: raw epoll, one read and one write for each request, whatever is in it.
 *
 *     echo SOCKET REQUEST_BYTES ANSWER_BYTES
 *
 * For every REQUEST_BYTES that have come in it sends ANSWER_BYTES of 'v', all of one read in one write.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)
#define FDS_MAX      1024

static size_t request_bytes, answer_bytes;
static size_t unfinished[FDS_MAX]; /* bytes of a request that is not complete, by descriptor */

static int echo_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 128) < 0) {
        perror("echo");
        exit(1);
    }
    return fd;
}

static void echo_accept(int epoll_fd, int listener)
{
    struct epoll_event event = {.events = EPOLLIN};
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    event.data.fd = fd;
    if (fd >= FDS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        return;
    }
    unfinished[fd] = 0;
}

static void echo_answer(int fd)
{
    static char in[BUFFER_BYTES], out[BUFFER_BYTES];
    const ssize_t n = read(fd, in, sizeof in);
    size_t bytes, answers;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(fd);
        return;
    }
    bytes = unfinished[fd] + (size_t)n;
    unfinished[fd] = bytes % request_bytes;
    answers = bytes / request_bytes * answer_bytes;
    if (answers > sizeof out) {
        fputs("echo: too many answers for one write\n", stderr);
        exit(1);
    }
    if (out[0] != 'v')
        memset(out, 'v', sizeof out);
    if (send(fd, out, answers, MSG_NOSIGNAL) != (ssize_t)answers)
        close(fd);
}

int main(int argc, char **argv)
{
    const int listener = argc == 4 ? echo_listen(argv[1]) : -1;
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[64];

    if (listener < 0) {
        fputs("usage: echo SOCKET REQUEST_BYTES ANSWER_BYTES\n", stderr);
        return 2;
    }
    request_bytes = strtoul(argv[2], NULL, 10);
    answer_bytes = strtoul(argv[3], NULL, 10);
    if (request_bytes == 0 || answer_bytes == 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        return 1;
    for (;;) {
        const int count = epoll_wait(epoll_fd, events, 64, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                echo_accept(epoll_fd, listener);
            else
                echo_answer(events[i].data.fd);
        }
    }
}
