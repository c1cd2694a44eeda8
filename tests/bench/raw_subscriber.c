/*
 * A subscriber and nothing else: what dcached's subscription is measured against.
 *
 *     raw_subscriber REDIS_SOCKET CHANNEL SOCKET
 *
 * Subscribes, and takes observers at SOCKET; the newest counts. For each message the callback sends it
 * NOTICE_BYTES: the CLOCK_REALTIME at which it was called, in ns, and zeros, so that a notice is as long as an
 * event of `watch`.
 */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NOTICE_BYTES 100

static void die(const char *what)
{
    fprintf(stderr, "raw_subscriber: %s\n", what);
    exit(1);
}

static int stream_open(const char *path, bool to_listen)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd < 0)
        die("no socket");
    if (!to_listen && connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("no Redis");
    if (to_listen && (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0))
        die("nothing to listen at");
    return fd;
}

static void callback(int observer, const redisReply *message)
{
    uint8_t notice[NOTICE_BYTES] = {0};
    struct timespec now;
    uint64_t now_ns;

    if (message->type != REDIS_REPLY_ARRAY || message->elements != 3 ||
        strcmp(message->element[0]->str, "message"))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    memcpy(notice, &now_ns, sizeof now_ns);
    if (send(observer, notice, sizeof notice, MSG_NOSIGNAL) != NOTICE_BYTES)
        die("the observer has gone");
}

static void messages_read(int fd, redisReader *reader, int observer)
{
    static char buffer[1 << 16];
    const ssize_t n = read(fd, buffer, sizeof buffer);
    void *reply;

    if (n <= 0)
        die("Redis has gone");
    redisReaderFeed(reader, buffer, (size_t)n);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        callback(observer, reply);
        freeReplyObject(reply);
    }
}

int main(int argc, char **argv)
{
    redisReader *reader = redisReaderCreate();
    struct epoll_event event = {.events = EPOLLIN}, listening = {.events = EPOLLIN};
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    char subscribe[256];
    int fd, listener, observer = -1;

    if (argc != 4 || !reader)
        die("usage: raw_subscriber REDIS_SOCKET CHANNEL SOCKET");
    fd = stream_open(argv[1], false);
    snprintf(subscribe, sizeof subscribe, "SUBSCRIBE %.200s\r\n", argv[2]);
    event.data.fd = fd;
    listening.data.fd = listener = stream_open(argv[3], true);
    if (send(fd, subscribe, strlen(subscribe), MSG_NOSIGNAL) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &listening) < 0)
        die("no subscription");
    for (;;) {
        if (epoll_wait(epoll_fd, &event, 1, -1) != 1)
            continue;
        if (event.data.fd == fd) {
            messages_read(fd, reader, observer);
        } else {
            close(observer);
            observer = accept(listener, NULL, NULL);
        }
    }
}
