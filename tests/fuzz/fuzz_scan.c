/*
 * The scanner in pieces against the cursor on the whole. The first byte seeds the sizes of the pieces; the rest
 * is a stream of objects.
 */
#include <stdlib.h>

#include "proto/scan.h"

#define MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Feeds one object in pieces; *ret_used is what went in. */
static enum scan_result feed_pieces(struct slice bytes, unsigned *seed, size_t *ret_used)
{
    enum scan_result result = SCAN_MORE;
    struct scan scan;
    size_t at = 0, used;

    scan_init(&scan, MAX_BYTES);
    do {
        size_t piece;

        *seed = *seed * 1103515245u + 12345u;
        piece = (*seed >> 16) % 7;
        if (piece > bytes.len - at)
            piece = bytes.len - at;
        result = scan_feed(&scan, slice_of(bytes.data + at, piece), &used);
        check(used <= piece);
        check(result != SCAN_MORE || used == piece);
        at += used;
    } while (result == SCAN_MORE && at < bytes.len);
    *ret_used = at;
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice rest;
    unsigned seed;

    if (len < 2)
        return 0;
    seed = data[0];
    rest = slice_of(data + 1, len - 1);
    while (rest.len > 0) {
        struct cursor c = cursor_of(rest);
        struct slice raw = cursor_raw(&c);
        size_t used, used_whole;
        enum scan_result result = feed_pieces(rest, &seed, &used);
        struct scan whole;

        scan_init(&whole, MAX_BYTES);
        check(scan_feed(&whole, rest, &used_whole) == result);
        check(used == used_whole);
        check((result == SCAN_DONE) == (cursor_ok(&c) && raw.len <= MAX_BYTES));
        if (result != SCAN_DONE)
            return 0;
        check(used == raw.len);
        rest = slice_of(rest.data + used, rest.len - used);
    }
    return 0;
}
