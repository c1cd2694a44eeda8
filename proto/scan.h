/*
 * Finds the end of a MessagePack object in a stream that arrives in any pieces, without decoding it.
 *
 * Resumable: bytes already seen are not looked at again, so one byte at a time costs linear time. Bounded: an
 * object longer than `max_bytes` or nested deeper than CURSOR_DEPTH_MAX is refused at the byte that shows it.
 */
#ifndef DCACHED_PROTO_SCAN_H
#define DCACHED_PROTO_SCAN_H

#include "proto/cursor.h"

enum scan_result {
    SCAN_DONE,      /* one whole object; *ret_used is where it ends */
    SCAN_MORE,      /* all bytes are used up, the object is not complete */
    SCAN_TOO_LARGE, /* the object is, or says it will be, longer than max_bytes */
    SCAN_TOO_DEEP,
    SCAN_MALFORMED, /* a byte that MessagePack does not use (0xc1) */
};

struct scan {
    size_t max_bytes;
    size_t seen;         /* bytes of the current object scanned so far */
    uint64_t skip;       /* payload bytes still to come before the next type byte */
    uint64_t owed;       /* objects still to come at all levels together */
    uint64_t length;     /* length or count of the object whose head is being read, as far as it is here */
    uint8_t first;       /* its first byte */
    uint8_t length_left; /* bytes of its length that are still to come */
    unsigned depth;
    uint64_t left[CURSOR_DEPTH_MAX + 1]; /* objects still to come at each level */
};

void scan_init(struct scan *scan, size_t max_bytes);

/*
 * `bytes` starts where the last call stopped: after SCAN_MORE the bytes that follow those given before, after
 * SCAN_DONE the bytes after the object. *ret_used is how many of `bytes` belong to this object.
 */
enum scan_result scan_feed(struct scan *scan, struct slice bytes, size_t *ret_used);

#endif
