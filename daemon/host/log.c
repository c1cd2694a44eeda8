#include "daemon/host/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND UINT64_C(1000000000)

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return names[level];
}

/* "DEVICE:INODE" of the stream that systemd connected; stderr may have been redirected since. */
static bool is_journal(const struct stat *st, const char *journal_stream)
{
    if (!journal_stream)
        return false;
    char expected[64];
    snprintf(expected, sizeof expected, "%ju:%ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
    return strcmp(expected, journal_stream) == 0;
}

void log_init(struct log *log, int fd, enum log_level level, const char *journal_stream)
{
    memset(log, 0, sizeof *log);
    log->fd = fd;
    log->level = level;
    log->format = LOG_FORMAT_TEXT;
    log->journal_fd = -1;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return;
    log->is_socket = S_ISSOCK(st.st_mode);
    log->journal = is_journal(&st, journal_stream);
}

void log_deinit(struct log *log)
{
    if (log->journal_fd >= 0)
        close(log->journal_fd);
    log->journal_fd = -1;
}

void log_set_format(struct log *log, enum log_format format, const char *journal_socket)
{
    if (format == LOG_FORMAT_AUTO)
        format = log->journal ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT;
    log->format = format;
    if (format != LOG_FORMAT_JOURNAL || log->journal_fd >= 0)
        return;
    log->journal_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(log->journal_addr.sun_path, sizeof log->journal_addr.sun_path, "%s", journal_socket);
    log->journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* ---- rate limit ----------------------------------------------------------------------------------------- */

static uint64_t kind_of(const char *message)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a: messages are fixed texts, nobody picks them */
    for (const char *c = message; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
    return hash ? hash : 1;
}

static struct log_bucket *bucket_of(struct log *log, uint64_t now, const char *message)
{
    uint64_t kind = kind_of(message);
    struct log_bucket *bucket = &log->buckets[LOG_KINDS];
    for (size_t i = 0; i < LOG_KINDS; i++) {
        struct log_bucket *b = &log->buckets[(kind + i) % LOG_KINDS];
        if (b->kind == kind)
            return b;
        if (b->kind == 0) {
            bucket = b;
            break;
        }
    }
    if (bucket->kind == 0)
        *bucket = (struct log_bucket){.kind = kind, .refilled_at = now, .tokens = LOG_BURST};
    return bucket;
}

bool log_admit(struct log *log, uint64_t now, const char *message, uint64_t *ret_suppressed)
{
    const uint64_t period = NS_PER_SECOND / LOG_RATE;
    struct log_bucket *bucket = bucket_of(log, now, message);
    if (now > bucket->refilled_at) {
        uint64_t tokens = (now - bucket->refilled_at) / period;
        bucket->refilled_at += tokens * period;
        bucket->tokens = tokens >= LOG_BURST - bucket->tokens ? LOG_BURST : bucket->tokens + (uint32_t)tokens;
    }
    *ret_suppressed = 0;
    if (bucket->tokens == 0) {
        bucket->suppressed++;
        log->suppressed_total++;
        return false;
    }
    bucket->tokens--;
    *ret_suppressed = bucket->suppressed;
    bucket->suppressed = 0;
    return true;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

/* A blocked log would stop heartbeats and answers. A pipe that polls writable takes a line of this size whole. */
static ssize_t write_now(const struct log *log, const char *line, size_t len)
{
    if (log->is_socket)
        return send(log->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    struct pollfd pfd = {.fd = log->fd, .events = POLLOUT};
    if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
        return -1;
    return write(log->fd, line, len);
}

/* Above 0: written; 0: to be held back; below 0: the journal is away. */
static ssize_t write_journal(const struct log *log, const struct log_entry *entry)
{
    char data[LOG_JOURNAL_MAX];
    size_t len = log_format_journal(data, entry);
    /* By name each time: a journald that was started again has another socket. */
    ssize_t n = sendto(log->journal_fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL,
                       (const struct sockaddr *)&log->journal_addr, sizeof log->journal_addr);
    if (n >= 0)
        return 1;
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? 0 : -1;
}

static ssize_t write_entry(const struct log *log, const struct log_entry *entry)
{
    char line[LOG_JSON_MAX];
    if (log->format == LOG_FORMAT_JOURNAL && log->journal_fd >= 0) {
        ssize_t n = write_journal(log, entry);
        if (n >= 0)
            return n;
    }
    size_t len = log->format == LOG_FORMAT_JSON
                     ? log_format_json(line, entry)
                     : log_format_text(line, log->journal ? LOG_START_PRIORITY : LOG_START_TIME, entry);
    return write_now(log, line, len);
}

void log_write(struct log *log, uint64_t now, enum log_level level, const char *message,
               const struct log_field *fields, size_t count)
{
    if (!log_wants(log, level))
        return;
    uint64_t suppressed = 0;
    /* Who asked for debug lines wants each of them. */
    if (level != LOG_LEVEL_DEBUG && !log_admit(log, now, message, &suppressed))
        return;

    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    struct log_entry entry = {
        .wall_ns = (uint64_t)wall.tv_sec * NS_PER_SECOND + (uint64_t)wall.tv_nsec,
        .level = level,
        .message = message,
        .fields = fields,
        .count = count,
        .suppressed = suppressed,
    };
    int saved_errno = errno;
    if (write_entry(log, &entry) <= 0) {
        log->suppressed_total++;
        bucket_of(log, now, message)->suppressed += suppressed + 1;
    }
    errno = saved_errno;
}
