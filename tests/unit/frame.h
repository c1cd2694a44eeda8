/* From packed bytes to the frame they are. */
#ifndef DCACHED_TESTS_FRAME_H
#define DCACHED_TESTS_FRAME_H

#include "tests/unit/exact.h"

#include "proto/rpc.h"
#include "proto/scan.h"

/* The one frame in `b`, in memory of its exact size. */
static inline struct slice frame_take(struct buffer *b, struct rpc_frame *ret_frame)
{
    struct slice bytes = exact_copy(b->data, b->len);
    struct scan scan;
    size_t used;

    assert_false(b->failed);
    scan_init(&scan, 1 << 24);
    assert_int_equal(scan_feed(&scan, bytes, &used), SCAN_DONE);
    assert_int_equal(used, bytes.len);
    assert_null(rpc_decode(bytes, ret_frame));
    return bytes;
}

#endif
