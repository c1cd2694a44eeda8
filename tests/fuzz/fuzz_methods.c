/* The envelope and the params and results of every method, whatever the envelope said. */
#include <stdlib.h>

#include "tests/fuzz/any_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void decode_results(struct cursor result)
{
    struct cursor c = result;
    struct proto_reading reading;
    struct proto_written written;
    struct proto_hello hello;

    proto_decode_reading(&c, &reading);
    c = result;
    proto_decode_written(&c, &written);
    proto_decode_hello_result(result, &hello);
}

/* What decodes as get packs again to params of the same meaning. */
static void check_get(struct cursor params)
{
    struct proto_read_options options, again;
    struct buffer b = BUFFER_INIT;
    struct rpc_frame frame;
    struct slice key, key_again;

    if (proto_decode_get(params, &key, &options))
        return;
    proto_pack_get(&b, 7, key, &options);
    if (rpc_decode(slice_of(b.data, b.len), &frame) || proto_decode_get(frame.params, &key_again, &again) ||
        !slice_equal(key, key_again) || options.min_version != again.min_version ||
        options.strong != again.strong || !slice_equal(options.epoch, again.epoch) ||
        options.max_stale_ms != again.max_stale_ms)
        abort();
    buffer_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice bytes = slice_of(data, len), text;
    enum rpc_error code;
    struct rpc_frame frame;

    if (!rpc_decode(bytes, &frame) && frame.type != RPC_RESPONSE)
        check_get(frame.params);
    for (unsigned method = 0; method < METHOD_COUNT; method++) {
        any_request_decode((enum proto_method)method, frame.params);
        any_request_decode((enum proto_method)method, cursor_of(bytes));
    }
    rpc_decode_error(frame.error, &code, &text);
    rpc_decode_error(bytes, &code, &text);
    decode_results(frame.result);
    decode_results(cursor_of(bytes));
    return 0;
}
