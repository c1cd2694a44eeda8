/*
 * From a write's moment inside Redis to the notice of it at a subscriber, one write at a time.
 *
 *     event_delay REDIS_SOCKET REQUESTS REQUEST_BYTES NOTIFIER_SOCKET GREETING PAUSE_US
 *
 * REQUESTS holds calls of write.lua, each of REQUEST_BYTES and for one key; the answer says the store's time of
 * the write. GREETING is a file of what the notifier wants to be told first (empty: nothing). For each write one
 * line: ns from the write's time to the notice's arrival here, and the first eight bytes of the notice, as a
 * number, less the write's time.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS      2000
#define TIME_DIGITS  19
#define ANSWER_BYTES (4 + 5 + 58 + 2) /* *1, $58, letter and three numbers of 19 digits */

struct delays {
    int redis, notifier;
    uint8_t *requests;
    size_t request_bytes, count;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "event_delay: %s\n", what);
    exit(1);
}

static uint8_t *file_read(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    long size;

    if (!file || fseek(file, 0, SEEK_END) < 0 || (size = ftell(file)) < 0)
        die("a file cannot be read");
    rewind(file);
    bytes = malloc((size_t)size + 1);
    if (!bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size)
        die("a file cannot be read");
    fclose(file);
    *ret_bytes = (size_t)size;
    return bytes;
}

static int stream_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("a server cannot be reached");
    return fd;
}

static void notifier_greet(int fd, const char *path)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    uint8_t answer[256];
    size_t bytes;
    uint8_t *greeting = file_read(path, &bytes);

    if (bytes > 0 && (send(fd, greeting, bytes, MSG_NOSIGNAL) != (ssize_t)bytes || poll(&ready, 1, WAIT_MS) != 1 ||
                      read(fd, answer, sizeof answer) <= 0))
        die("the notifier does not answer");
    free(greeting);
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t answer_read(int fd)
{
    char answer[ANSWER_BYTES + 1] = {0};
    const ssize_t n = read(fd, answer, ANSWER_BYTES);

    if (n != ANSWER_BYTES || strncmp(answer, "*1\r\n$58\r\nA", 10) != 0)
        die("a write was not accepted");
    answer[ANSWER_BYTES - 2] = '\0';
    return strtoll(answer + ANSWER_BYTES - 2 - TIME_DIGITS, NULL, 10);
}

static void delay_measure(const struct delays *d, size_t i)
{
    struct pollfd ready[] = {{.fd = d->redis, .events = POLLIN}, {.fd = d->notifier, .events = POLLIN}};
    int64_t written = 0, noticed = 0, stamp = 0;
    uint8_t notice[512];

    if (send(d->redis, d->requests + i * d->request_bytes, d->request_bytes, MSG_NOSIGNAL) < 0)
        die("Redis has gone");
    while (written == 0 || noticed == 0) {
        if (poll(ready, 2, WAIT_MS) <= 0)
            die("a write or its notice is missing");
        if (ready[1].revents) {
            noticed = now_ns();
            if (read(d->notifier, notice, sizeof notice) < (ssize_t)sizeof stamp)
                die("the notifier has gone");
            memcpy(&stamp, notice, sizeof stamp);
        }
        if (ready[0].revents)
            written = answer_read(d->redis);
    }
    printf("%" PRId64 " %" PRId64 "\n", noticed - written, stamp - written);
}

int main(int argc, char **argv)
{
    struct delays d;
    struct timespec pause;
    size_t bytes;

    if (argc != 7)
        die("usage: event_delay REDIS_SOCKET REQUESTS REQUEST_BYTES NOTIFIER_SOCKET GREETING PAUSE_US");
    d.requests = file_read(argv[2], &bytes);
    d.request_bytes = strtoul(argv[3], NULL, 10);
    d.count = d.request_bytes > 0 ? bytes / d.request_bytes : 0;
    d.redis = stream_connect(argv[1]);
    d.notifier = stream_connect(argv[4]);
    notifier_greet(d.notifier, argv[5]);
    pause = (struct timespec){.tv_nsec = 1000 * strtol(argv[6], NULL, 10)};
    for (size_t i = 0; i < d.count; i++) {
        delay_measure(&d, i);
        nanosleep(&pause, NULL);
    }
    free(d.requests);
    return 0;
}
