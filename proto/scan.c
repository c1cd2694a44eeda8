#include "proto/scan.h"

#include "proto/wire.h"

void scan_init(struct scan *scan, size_t max_bytes)
{
    *scan = (struct scan){.max_bytes = max_bytes, .owed = 1, .left = {1}};
}

/* Levels are not told apart: an object of at most CURSOR_DEPTH_MAX containers cannot be nested deeper. */
size_t wire_measure_small(struct slice bytes)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.len;
    uint64_t owed = 1;
    unsigned containers = 0;

    while (owed > 0) {
        struct wire_head head;
        uint64_t size;

        if (left == 0)
            return 0;
        head = wire_head_of(*at);
        owed--;
        size = 1u + head.length_bytes + head.payload;
        if (head.type == CURSOR_ARRAY || head.type == CURSOR_MAP) {
            if (++containers > CURSOR_DEPTH_MAX || head.length_bytes > 0)
                return 0;
            owed += head.children;
        } else if (head.length_bytes > 0) {
            if (left <= head.length_bytes)
                return 0;
            size += wire_load(at + 1, head.length_bytes);
        } else if (head.type == CURSOR_NONE) {
            return 0;
        }
        if (size > left)
            return 0;
        at += size;
        left -= (size_t)size;
    }
    return (size_t)(at - bytes.data);
}

/* The head of an object is complete: what has to come now. SCAN_MORE is "go on". */
static enum scan_result scan_enter(struct scan *scan, struct wire_head head)
{
    uint64_t children;

    scan->left[scan->depth]--;
    scan->owed--;
    if (head.type == CURSOR_ARRAY || head.type == CURSOR_MAP) {
        if (scan->depth == CURSOR_DEPTH_MAX)
            return SCAN_TOO_DEEP;
        children = head.children + scan->length * (head.type == CURSOR_MAP ? 2 : 1);
        scan->left[++scan->depth] = children;
        scan->owed += children;
    } else {
        scan->skip = scan->length + head.payload;
    }
    /* Every object still owed takes at least one byte. */
    if (scan->skip + scan->owed > scan->max_bytes - scan->seen)
        return SCAN_TOO_LARGE;
    while (scan->left[scan->depth] == 0 && scan->depth > 0)
        scan->depth--;
    return SCAN_MORE;
}

/* One byte of a head. */
static enum scan_result scan_head_byte(struct scan *scan, uint8_t byte)
{
    struct wire_head head;

    if (scan->seen == scan->max_bytes)
        return SCAN_TOO_LARGE;
    scan->seen++;
    if (scan->length_left == 0) {
        scan->first = byte;
        scan->length = 0;
        head = wire_head_of(byte);
        if (head.type == CURSOR_NONE)
            return SCAN_MALFORMED;
        scan->length_left = head.length_bytes;
    } else {
        head = wire_head_of(scan->first);
        scan->length = scan->length << 8 | byte;
        scan->length_left--;
    }
    return scan->length_left == 0 ? scan_enter(scan, head) : SCAN_MORE;
}

static enum scan_result scan_step(struct scan *scan, struct slice bytes, size_t *ret_used)
{
    size_t used = 0;
    enum scan_result result = SCAN_MORE;

    while (result == SCAN_MORE) {
        uint64_t step = bytes.len - used;

        if (scan->skip > 0) {
            step = step < scan->skip ? step : scan->skip;
            scan->skip -= step;
            scan->seen += (size_t)step;
            used += (size_t)step;
        }
        if (scan->skip == 0 && scan->owed == 0)
            result = SCAN_DONE;
        else if (used == bytes.len)
            break;
        else
            result = scan_head_byte(scan, bytes.data[used++]);
    }
    *ret_used = used;
    return result;
}

enum scan_result scan_feed(struct scan *scan, struct slice bytes, size_t *ret_used)
{
    enum scan_result result;

    if (scan->seen == 0) {
        size_t len = bytes.len < scan->max_bytes ? bytes.len : scan->max_bytes;

        *ret_used = wire_measure_small(slice_of(bytes.data, len));
        if (*ret_used > 0)
            return SCAN_DONE;
    }
    result = scan_step(scan, bytes, ret_used);
    if (result == SCAN_DONE)
        scan_init(scan, scan->max_bytes);
    return result;
}
