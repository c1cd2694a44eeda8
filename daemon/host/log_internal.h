/* What the three forms of the log share. Nobody else includes this. */
#ifndef DCACHED_HOST_LOG_INTERNAL_H
#define DCACHED_HOST_LOG_INTERNAL_H

#include "daemon/host/log.h"

/* Text of bounded length, in pieces that are never split: the first that does not fit ends it, so that what stands
 * is valid. The bytes are the caller's. */
struct log_out {
    char *bytes;
    size_t len, cap;
    bool full;
};

void log_put(struct log_out *out, const char *piece, size_t len);
void log_put_text(struct log_out *out, const char *text);

/* Length of the well-formed UTF-8 sequence at s and its code point; 0: there is none. left > 0. */
size_t log_utf8_decode(const uint8_t *s, size_t left, uint32_t *ret);
/* Code points that change how a terminal shows what stands around them, or that nobody can see. */
bool log_is_deceptive(uint32_t c);
/* 3, 4, 6, 7: of syslog(3). */
int log_priority(enum log_level level);
/* RFC 3339 in UTC with so many digits of the second's fraction; returns its length. 40 bytes are enough. */
size_t log_put_time(char *text, size_t size, uint64_t wall_ns, int digits);

#endif
