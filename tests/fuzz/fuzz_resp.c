/* RESP in pieces against RESP as a whole; what the scan lets through, the reader takes. The first byte is the size
   of the pieces. */
#include <stdlib.h>

#include "daemon/redis/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int feed(struct slice bytes, size_t piece, unsigned *ret_replies)
{
    struct resp_reader resp;
    redisReply *reply;
    int r = RESP_OK;

    *ret_replies = 0;
    if (resp_init(&resp, 256) < 0)
        abort();
    for (size_t at = 0; at < bytes.len && r == RESP_OK; at += piece) {
        r = resp_feed(&resp, slice_of(bytes.data + at, piece < bytes.len - at ? piece : bytes.len - at));
        for (;;) {
            if (resp_next(&resp, &reply) != RESP_OK)
                abort();
            if (!reply)
                break;
            (*ret_replies)++;
            freeReplyObject(reply);
        }
    }
    resp_deinit(&resp);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned replies, replies_in_pieces;
    struct slice bytes;

    if (len < 2)
        return 0;
    bytes = slice_of(data + 1, len - 1);
    if (feed(bytes, bytes.len, &replies) != feed(bytes, 1 + data[0] % 16, &replies_in_pieces) ||
        replies != replies_in_pieces)
        abort();
    return 0;
}
