/*
 * The log: one entry per event, in one of three forms.
 *
 * Text, to stderr, at most LOG_LINE_MAX bytes; longer values end in "...":
 *     [<priority> | timestamp ]level message key=value key="value with blanks"
 * with the journal's priority prefix when stderr is the journal, a UTC timestamp otherwise.
 *
 * JSON, to stderr, one object on a line of at most LOG_JSON_MAX bytes, always valid:
 *     {"time":"2026-01-02T03:04:05.123456789Z","level":"info","message":"...","fields":{"key":"...","version":7}}
 * A value that is not UTF-8 stands as base64 under its name with "_base64"; one longer than LOG_JSON_VALUE bytes
 * is cut and followed by its length under its name with "_bytes".
 *
 * Journal, a datagram to journald's socket: MESSAGE (the text form), PRIORITY, SYSLOG_IDENTIFIER, DCACHED_EVENT
 * (the message alone) and each field as DCACHED_NAME with its own bytes. While the socket is away, text to stderr.
 *
 * What comes from outside (keys, sources, error texts) is escaped: no control byte, terminal escape or invalid
 * UTF-8 is ever written raw to stderr.
 *
 *     log_event(log, now, LOG_LEVEL_WARNING, "STALE DATA REJECTED",
 *               LOG_SLICE("key", key), LOG_UINT("version", version), LOG_TEXT("source", source));
 *     log_line(log, now, LOG_LEVEL_INFO, "ready");
 *
 * The message is a fixed text and names the kind of event. Each kind has a token bucket (LOG_BURST lines,
 * LOG_RATE more per second, debug lines excepted); what is held back is counted and said in the next line of
 * that kind: suppressed=N. `now` is CLOCK_BOOTTIME in nanoseconds. Writing never blocks: what stderr or the
 * journal does not take at once is held back and counted too.
 *
 * One thread.
 */
#ifndef DCACHED_HOST_LOG_H
#define DCACHED_HOST_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "proto/slice.h"

#define LOG_LINE_MAX       2048        /* below PIPE_BUF, so that a line goes out whole or not at all */
#define LOG_JSON_MAX       4096        /* PIPE_BUF */
#define LOG_JSON_VALUE     256         /* picked: keys of usual length fit */
#define LOG_JOURNAL_MAX    (32 * 1024) /* holds the longest key, source and text; far below a datagram's limit */
#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"
#define LOG_BURST          20  /* picked */
#define LOG_RATE           5   /* lines per second and kind; picked */
#define LOG_KINDS          128 /* kinds told apart; further ones share one bucket. Picked: the daemon has fewer */

/* The order is that of redis_config.on_log. */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* auto: the journal's protocol where stderr is the journal, otherwise text. The order is that of the words of
 * `[log] format`. */
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNAL };

/* "error", "warning", "info", "debug" */
const char *log_level_name(enum log_level level);

enum log_field_type { LOG_FIELD_UINT, LOG_FIELD_INT, LOG_FIELD_BYTES, LOG_FIELD_RAW };

struct log_field {
    const char *name; /* a literal: letters, digits, _ */
    enum log_field_type type;
    uint64_t number;
    struct slice bytes;
};

/* C string; NULL prints as "". */
#define LOG_TEXT(name_, text_)   log_field_text(name_, text_)
#define LOG_SLICE(name_, slice_) ((struct log_field){.name = (name_), .type = LOG_FIELD_BYTES, .bytes = (slice_)})
#define LOG_UINT(name_, number_) \
    ((struct log_field){.name = (name_), .type = LOG_FIELD_UINT, .number = (uint64_t)(number_)})
#define LOG_INT(name_, number_) \
    ((struct log_field){.name = (name_), .type = LOG_FIELD_INT, .number = (uint64_t)(int64_t)(number_)})
/* "name=value name=value" made by another module: copied, with unsafe bytes escaped. NULL prints nothing. */
#define LOG_RAW(text_) log_field_raw(text_)

struct log_field log_field_text(const char *name, const char *text);
struct log_field log_field_raw(const char *text);

struct log_bucket {
    uint64_t kind; /* hash of the message; 0: free */
    uint64_t refilled_at;
    uint32_t tokens;
    uint64_t suppressed;
};

struct log {
    int fd;
    bool is_socket;
    bool journal; /* fd is a stream that the journal reads */
    enum log_format format;
    enum log_level level;
    int journal_fd; /* for its datagrams; -1: none. Closed by log_deinit */
    struct sockaddr_un journal_addr;
    uint64_t suppressed_total;
    struct log_bucket buckets[LOG_KINDS + 1];
};

/* fd stays the caller's. journal_stream: $JOURNAL_STREAM or NULL; fd is the journal when it names that file. */
void log_init(struct log *log, int fd, enum log_level level, const char *journal_stream);
void log_deinit(struct log *log);
/* journal_socket: the path of journald's, LOG_JOURNAL_SOCKET. Without log_set_format: text. */
void log_set_format(struct log *log, enum log_format format, const char *journal_socket);
static inline void log_set_level(struct log *log, enum log_level level)
{
    log->level = level;
}

static inline bool log_wants(const struct log *log, enum log_level level)
{
    return level <= log->level;
}

/* Use log_event or log_line. */
void log_write(struct log *log, uint64_t now, enum log_level level, const char *message,
               const struct log_field *fields, size_t count);

/* The fields are evaluated only when the level is wanted. At least one field. */
#define log_event(log_, now_, level_, message_, ...)                                                 \
    do {                                                                                             \
        if (log_wants((log_), (level_)))                                                             \
            log_write((log_), (now_), (level_), (message_), (const struct log_field[]){__VA_ARGS__}, \
                      sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field));   \
    } while (0)

static inline void log_line(struct log *log, uint64_t now, enum log_level level, const char *message)
{
    log_write(log, now, level, message, NULL, 0);
}

/* ---- the parts without I/O ------------------------------------------------------------------------------ */

/* Takes a token of the message's bucket. True: write the line, *ret_suppressed lines were held back before. */
bool log_admit(struct log *log, uint64_t now, const char *message, uint64_t *ret_suppressed);

/* One entry for the three forms; wall_ns: CLOCK_REALTIME. */
struct log_entry {
    uint64_t wall_ns;
    enum log_level level;
    const char *message;
    const struct log_field *fields;
    size_t count;
    uint64_t suppressed;
};

enum log_start { LOG_START_TIME, LOG_START_PRIORITY, LOG_START_NONE };

/* A line of text with its newline, <= LOG_LINE_MAX bytes, not NUL-terminated; returns its length. LOG_START_NONE:
 * no level either. */
size_t log_format_text(char line[static LOG_LINE_MAX], enum log_start start, const struct log_entry *entry);
/* A line of JSON with its newline; not NUL-terminated; returns its length. */
size_t log_format_json(char line[static LOG_JSON_MAX], const struct log_entry *entry);
/* A datagram of the journal's native protocol; fields that do not fit are left out, and DCACHED_TRUNCATED=1 says
 * so. */
size_t log_format_journal(char data[static LOG_JOURNAL_MAX], const struct log_entry *entry);

#endif
