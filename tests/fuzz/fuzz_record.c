/* Records and messages: what is accepted encodes to the same bytes again. */
#include <stdlib.h>

#include "daemon/redis/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_same(struct buffer *b, struct slice text)
{
    if (!slice_equal(slice_of(b->data, b->len), text))
        abort();
    buffer_deinit(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice text = slice_of(data, len);
    struct buffer b = BUFFER_INIT;
    struct message message;
    struct record record;
    struct meta meta;
    struct slice fields[4] = {text, text, text, text};

    if (!record_decode(text, &record)) {
        record_encode(&record, &b);
        check_same(&b, text);
        if (record_decode_head(text, &record))
            abort();
    }
    if (!message_decode(text, &message)) {
        message_encode(&message, &b);
        check_same(&b, text);
    }
    meta_decode(fields, &meta);
    return 0;
}
