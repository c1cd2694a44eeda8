#include "tests/unit/exact.h"

#include <stdio.h>

#include "proto/methods.h"
#include "proto/scan.h"
#include "tests/fuzz/any_request.h"

#define EPOCH "0123456789abcdef0123456789abcdef"

/* The one frame in `b`, in memory of its exact size. */
static struct slice take_frame(struct buffer *b, struct rpc_frame *ret_frame)
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

/* ---- reads ---------------------------------------------------------------------------------------------- */

static const struct proto_read_options all_read_options = {
    .strong = true,
    .min_version = PROTO_VERSION_MAX,
    .epoch = {(const uint8_t *)EPOCH, 32},
    .max_stale_ms = 30000,
    .timeout_ms = PROTO_MS_MAX,
};

static void assert_all_read_options(const struct proto_read_options *options)
{
    assert_true(options->strong);
    assert_true(options->min_version == PROTO_VERSION_MAX);
    assert_true(slice_equal(options->epoch, slice_text(EPOCH)));
    assert_int_equal(options->max_stale_ms, 30000);
    assert_true(options->timeout_ms == PROTO_MS_MAX);
}

static void get_goes_round(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct proto_read_options options;
    struct rpc_frame frame;
    struct slice key, bytes;

    (void)state;
    proto_pack_get(&b, 1, slice_of("a\0\n\xff", 4), NULL);
    bytes = take_frame(&b, &frame);
    assert_int_equal(proto_method_find(frame.method), METHOD_get);
    assert_null(proto_decode_get(frame.params, &key, &options));
    assert_true(slice_equal(key, slice_of("a\0\n\xff", 4)));
    assert_false(options.strong);
    assert_int_equal(options.min_version, 0);
    exact_free(bytes);

    buffer_clear(&b);
    proto_pack_get(&b, 2, slice_text("k"), &all_read_options);
    bytes = take_frame(&b, &frame);
    assert_null(proto_decode_get(frame.params, &key, &options));
    assert_all_read_options(&options);
    exact_free(bytes);
    buffer_deinit(&b);
}

static void mget_goes_round(void **state)
{
    static struct slice keys[PROTO_MGET_MAX + 1], got[PROTO_MGET_MAX];
    struct buffer b = BUFFER_INIT;
    struct proto_read_options options;
    struct rpc_frame frame;
    struct slice bytes;
    uint32_t count;

    (void)state;
    for (unsigned i = 0; i <= PROTO_MGET_MAX; i++)
        keys[i] = slice_of("0123456789" + i % 10, 1);
    for (uint32_t n = 0; n <= PROTO_MGET_MAX; n += 512) {
        buffer_clear(&b);
        proto_pack_mget(&b, 1, keys, n, n == 512 ? &all_read_options : NULL);
        bytes = take_frame(&b, &frame);
        assert_int_equal(proto_method_find(frame.method), METHOD_mget);
        assert_null(proto_decode_mget(frame.params, got, &count, &options));
        assert_int_equal(count, n);
        for (uint32_t i = 0; i < n; i++)
            assert_true(slice_equal(got[i], keys[i]));
        if (n == 512)
            assert_all_read_options(&options);
        exact_free(bytes);
    }
    buffer_clear(&b);
    proto_pack_mget(&b, 1, keys, PROTO_MGET_MAX + 1, NULL);
    bytes = take_frame(&b, &frame);
    assert_string_equal(proto_decode_mget(frame.params, got, &count, &options), "keys: at most 1024 in one call");
    assert_int_equal(count, 0);
    exact_free(bytes);
    buffer_deinit(&b);
}

static void assert_reading_goes_round(const struct proto_reading *reading)
{
    struct buffer b = BUFFER_INIT;
    struct proto_reading got;
    struct rpc_frame frame;
    struct slice bytes;

    rpc_pack_response(&b, 1);
    proto_pack_reading(&b, reading);
    bytes = take_frame(&b, &frame);
    assert_null(proto_decode_reading(&frame.result, &got));
    assert_true(cursor_at_end(&frame.result));
    assert_int_equal(got.state, reading->state);
    assert_true(slice_equal(got.text, reading->text));
    assert_int_equal(got.code, reading->code);
    assert_true(got.as_of_ns == reading->as_of_ns);
    assert_true(slice_equal(got.value, reading->value));
    assert_true(got.version == reading->version);
    assert_true(got.timestamp_ns == reading->timestamp_ns);
    assert_true(slice_equal(got.source, reading->source));
    assert_true(got.age_ms == reading->age_ms);
    assert_int_equal(got.replaced, reading->replaced);
    exact_free(bytes);
    buffer_deinit(&b);
}

static void readings_of_every_state_and_size_go_round(void **state)
{
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 1 << 20};
    static const uint64_t numbers[] = {0, 127, 128, 255, 256, 65535, 65536, UINT32_MAX, UINT64_C(1) << 32, INT64_MAX};
    uint8_t *value = calloc(1, 1 << 20);

    (void)state;
    assert_non_null(value);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct proto_reading reading = {.state = STATE_FRESH,
                                        .value = slice_of(value, sizes[i]),
                                        .source = slice_of(value, sizes[i] < 300 ? sizes[i] : 63),
                                        .version = 1};

        assert_reading_goes_round(&reading);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct proto_reading reading = {.state = i % 2 ? STATE_STALE : STATE_LOCAL,
                                        .as_of_ns = numbers[i],
                                        .version = numbers[i],
                                        .timestamp_ns = numbers[i],
                                        .age_ms = numbers[i],
                                        .replaced = true};

        assert_reading_goes_round(&reading);
    }
    free(value);
    assert_reading_goes_round(&(struct proto_reading){.state = STATE_ABSENT, .as_of_ns = 5, .version = 9});
    assert_reading_goes_round(
        &(struct proto_reading){.state = STATE_FAILED, .code = RPC_REFUSED, .text = slice_text("no")});
}

static void packed_reading_is_what_msgpack_c_packs(void **state)
{
    struct buffer b = BUFFER_INIT, expected = BUFFER_INIT;
    struct proto_reading reading = {.state = STATE_FRESH, .as_of_ns = 1234567890123, .value = slice_text("hello"),
                                    .version = 300, .timestamp_ns = 1700000000000000000, .source = slice_text("pod")};

    (void)state;
    rpc_pack_response(&b, 70000);
    proto_pack_reading(&b, &reading);
    pack_array(&expected, 4);
    pack_uint(&expected, 1);
    pack_uint(&expected, 70000);
    pack_nil(&expected);
    pack_array(&expected, 8);
    pack_uint(&expected, STATE_FRESH);
    pack_uint(&expected, reading.as_of_ns);
    pack_bin(&expected, reading.value);
    pack_uint(&expected, reading.version);
    pack_uint(&expected, reading.timestamp_ns);
    pack_str(&expected, reading.source);
    pack_uint(&expected, 0);
    pack_bool(&expected, false);
    assert_int_equal(b.len, expected.len);
    assert_memory_equal(b.data, expected.data, b.len);
    buffer_deinit(&b);
    buffer_deinit(&expected);
}

static void trailing_elements_of_results_are_skipped(void **state)
{
    struct slice bytes = exact_hex("99 01 05 c4 01 61 01 00 a1 70 00 c2 81 a1 78 01  94 04 05 a1 74 c0"
                                   "95 00 01 02 a0 c3  94 05 05 a1 74 c0");
    struct cursor c = cursor_of(bytes);
    struct proto_reading reading;
    struct proto_written written;

    (void)state;
    assert_null(proto_decode_reading(&c, &reading));
    assert_int_equal(reading.as_of_ns, 5);
    assert_null(proto_decode_reading(&c, &reading));
    assert_int_equal(reading.code, RPC_REFUSED);
    assert_null(proto_decode_written(&c, &written));
    assert_int_equal(written.seq, 2);
    assert_null(proto_decode_written(&c, &written));
    assert_int_equal(written.code, RPC_REFUSED);
    assert_true(cursor_at_end(&c));
    exact_free(bytes);
}

static void results_with_a_wrong_field_are_refused(void **state)
{
    static const char *const readings[] = {
        "", "90", "c0", "97 01 05 c4 00 01 00 a0 00", "98 06 05 c4 00 01 00 a0 00 c2", "98 01 ff c4 00 01 00 a0 00 c2",
        "98 01 05 c0 01 00 a0 00 c2", "98 00 05 c4 00 01 00 a0 00 c2", "98 01 05 c4 00 ff 00 a0 00 c2",
        "98 01 05 c4 00 cf 80 00 00 00 00 00 00 00 00 a0 00 c2", "98 01 05 c4 00 01 00 a0 00 00",
        "98 01 05 c4 00 01 00 05 00 c2", "92 04 05", "93 04 00 a0", "93 04 05 05"};
    static const char *const writtens[] = {"", "90", "93 00 01 02", "94 06 01 02 a0", "94 00 ff 02 a0",
                                           "94 00 cf 80 00 00 00 00 00 00 00 02 a0", "94 00 01 a0 a0",
                                           "94 00 01 02 05", "93 05 00 a0", "94 c3 01 02 a0"};

    (void)state;
    for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
        struct slice bytes = exact_hex(readings[i]);
        struct cursor c = cursor_of(bytes);
        struct proto_reading reading;

        assert_non_null(proto_decode_reading(&c, &reading));
        exact_free(bytes);
    }
    for (size_t i = 0; i < sizeof(writtens) / sizeof(writtens[0]); i++) {
        struct slice bytes = exact_hex(writtens[i]);
        struct cursor c = cursor_of(bytes);
        struct proto_written written;

        assert_non_null(proto_decode_written(&c, &written));
        exact_free(bytes);
    }
}

/* ---- writes --------------------------------------------------------------------------------------------- */

static const struct proto_write plain_write = {.key = {(const uint8_t *)"k", 1}, .value = {(const uint8_t *)"v", 1}};
static const struct proto_write full_write = {
    .key = {(const uint8_t *)"key", 3},
    .value = {(const uint8_t *)"value", 5},
    .version = PROTO_VERSION_MAX,
    .has_ttl = true,
    .has_invalidate = true,
    .write_id = {(const uint8_t *)EPOCH, PROTO_WRITE_ID_BYTES},
    .retry = true,
    .timeout_ms = 250,
};

static void assert_write_equal(const struct proto_write *got, const struct proto_write *expected, bool value,
                               bool timeout)
{
    assert_true(slice_equal(got->key, expected->key));
    assert_true(slice_equal(got->value, value ? expected->value : slice_of(NULL, 0)));
    assert_true(got->version == expected->version);
    assert_int_equal(got->has_ttl, expected->has_ttl);
    assert_true(got->ttl_ms == expected->ttl_ms);
    assert_int_equal(got->has_invalidate, expected->has_invalidate);
    assert_int_equal(got->invalidate, expected->invalidate);
    assert_true(slice_equal(got->write_id, expected->write_id));
    assert_int_equal(got->retry, expected->retry);
    assert_int_equal(got->timeout_ms, timeout ? expected->timeout_ms : 0);
}

static void set_and_delete_go_round(void **state)
{
    static const struct proto_write *const writes[] = {&plain_write, &full_write};
    struct buffer b = BUFFER_INIT;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct proto_write *write = writes[i / 2];
        struct proto_write got;
        struct rpc_frame frame;
        struct slice bytes;

        buffer_clear(&b);
        if (i % 2)
            proto_pack_set(&b, 9, write);
        else
            proto_pack_delete(&b, 9, write);
        bytes = take_frame(&b, &frame);
        assert_int_equal(proto_method_find(frame.method), i % 2 ? METHOD_set : METHOD_delete);
        assert_null(i % 2 ? proto_decode_set(frame.params, &got) : proto_decode_delete(frame.params, &got));
        assert_write_equal(&got, write, i % 2, true);
        exact_free(bytes);
    }
    buffer_deinit(&b);
}

static void mset_goes_round(void **state)
{
    static struct proto_write writes[PROTO_MGET_MAX + 1], got[PROTO_MGET_MAX];
    struct buffer b = BUFFER_INIT;
    struct rpc_frame frame;
    struct slice bytes;
    uint64_t timeout_ms;
    uint32_t count;

    (void)state;
    for (unsigned i = 0; i <= PROTO_MGET_MAX; i++)
        writes[i] = i % 2 ? plain_write : full_write;
    for (uint32_t n = 0; n <= PROTO_MGET_MAX; n += 512) {
        buffer_clear(&b);
        proto_pack_mset(&b, 1, writes, n, n);
        bytes = take_frame(&b, &frame);
        assert_int_equal(proto_method_find(frame.method), METHOD_mset);
        assert_null(proto_decode_mset(frame.params, got, &count, &timeout_ms));
        assert_int_equal(count, n);
        assert_int_equal(timeout_ms, n);
        for (uint32_t i = 0; i < n; i++)
            assert_write_equal(&got[i], &writes[i], true, false);
        exact_free(bytes);
    }
    buffer_clear(&b);
    proto_pack_mset(&b, 1, writes, PROTO_MGET_MAX + 1, 0);
    bytes = take_frame(&b, &frame);
    assert_string_equal(proto_decode_mset(frame.params, got, &count, &timeout_ms), "items: at most 1024 in one call");
    exact_free(bytes);
    buffer_deinit(&b);
}

static void outcomes_go_round(void **state)
{
    struct buffer b = BUFFER_INIT;

    (void)state;
    for (unsigned outcome = OUTCOME_ACCEPTED; outcome <= OUTCOME_FAILED; outcome++) {
        bool failed = outcome == OUTCOME_FAILED;
        struct proto_written written = {.outcome = (enum proto_outcome)outcome}, got;
        struct rpc_frame frame;
        struct slice bytes;

        written.version = failed ? 0 : PROTO_VERSION_MAX;
        written.seq = failed ? 0 : 17;
        written.epoch = failed ? slice_of(NULL, 0) : slice_text(EPOCH);
        written.code = failed ? RPC_STORE : RPC_OK;
        written.text = failed ? slice_text("OOM") : slice_of(NULL, 0);
        buffer_clear(&b);
        rpc_pack_response(&b, 1);
        proto_pack_written(&b, &written);
        bytes = take_frame(&b, &frame);
        assert_null(proto_decode_written(&frame.result, &got));
        assert_int_equal(got.outcome, outcome);
        assert_true(got.version == written.version && got.seq == written.seq && got.code == written.code);
        assert_true(slice_equal(got.epoch, written.epoch));
        assert_true(slice_equal(got.text, written.text));
        exact_free(bytes);
    }
    buffer_deinit(&b);
}

/* ---- params that are wrong ------------------------------------------------------------------------------ */

static const char *decode_params(enum proto_method method, const char *hex)
{
    struct slice bytes = exact_hex(hex);
    const char *error = any_request_decode(method, cursor_of(bytes));

    exact_free(bytes);
    return error;
}

static void assert_wrong(enum proto_method method, const char *hex, const char *error)
{
    const char *got = decode_params(method, hex);

    assert_non_null(got);
    assert_string_equal(got, error);
}

/* get ["k", {option: value}] and set ["k", "v", {option: value}] */
static const char *decode_option(enum proto_method method, const char *name, const char *value_hex)
{
    struct buffer b = BUFFER_INIT;
    struct slice value = exact_hex(value_hex), bytes;
    const char *error;

    pack_array(&b, method == METHOD_set ? 3 : 2);
    pack_text(&b, "k");
    if (method == METHOD_set)
        pack_text(&b, "v");
    pack_map(&b, 1);
    pack_bin(&b, slice_text(name));
    buffer_append(&b, value.data, value.len);
    bytes = exact_copy(b.data, b.len);
    error = any_request_decode(method, cursor_of(bytes));
    exact_free(bytes);
    exact_free(value);
    buffer_deinit(&b);
    return error;
}

static void version_is_1_to_2_63_less_1_and_nothing_else(void **state)
{
    static const char *const good[] = {"01", "cf 00 20 00 00 00 00 00 01", "cf 7f ff ff ff ff ff ff ff",
                                       "d3 7f ff ff ff ff ff ff ff", "d0 01"};
    static const char *const bad[] = {"00", "ff", "d3 ff ff ff ff ff ff ff ff", "cf 80 00 00 00 00 00 00 00",
                                      "cf ff ff ff ff ff ff ff ff", "ca 3f 80 00 00", "cb 3f f0 00 00 00 00 00 00",
                                      "cb 7f f8 00 00 00 00 00 00", "a1 31", "c4 01 31", "c3", "c0", "90", "80",
                                      "d4 00 01", "c1", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_null(decode_option(METHOD_get, "min_version", good[i]));
        assert_null(decode_option(METHOD_set, "version", good[i]));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *get = decode_option(METHOD_get, "min_version", bad[i]);
        const char *set = decode_option(METHOD_set, "version", bad[i]);

        if (bad[i][0] == '\0') { /* the value is missing altogether */
            assert_non_null(get);
            assert_non_null(set);
            continue;
        }
        assert_string_equal(get, "min_version: integer in 1 .. 2^63-1 expected");
        assert_string_equal(set, "version: integer in 1 .. 2^63-1 expected");
    }
}

static void durations_fit_63_bits_of_nanoseconds(void **state)
{
    static const char *const bad[] = {"ff", "cf ff ff ff ff ff ff ff ff", "cf 00 00 08 63 7b d0 5a f7",
                                      "cb 3f f0 00 00 00 00 00 00", "a2 31 73", "c0", "c2"};

    (void)state;
    assert_null(decode_option(METHOD_set, "ttl_ms", "00"));
    assert_null(decode_option(METHOD_set, "ttl_ms", "cf 00 00 08 63 7b d0 5a f6"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_string_equal(decode_option(METHOD_set, "ttl_ms", bad[i]),
                            "ttl_ms: integer in 0 .. 9223372036854 expected");
        assert_string_equal(decode_option(METHOD_get, "max_stale_ms", bad[i]),
                            "max_stale_ms: integer in 0 .. 9223372036854 expected");
        assert_string_equal(decode_option(METHOD_get, "timeout_ms", bad[i]),
                            "timeout_ms: integer in 0 .. 9223372036854 expected");
    }
}

static void other_options_are_checked_and_named(void **state)
{
    static const char *const no_bools[] = {"00", "01", "c0", "a4 74 72 75 65"};
    static const char *const no_ids[] = {"c4 00", "c4 0f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
                                         "c4 11 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", "05", "c0"};

    (void)state;
    for (size_t i = 0; i < sizeof(no_bools) / sizeof(no_bools[0]); i++) {
        assert_string_equal(decode_option(METHOD_get, "strong", no_bools[i]), "strong: true or false expected");
        assert_string_equal(decode_option(METHOD_set, "retry", no_bools[i]), "retry: true or false expected");
        assert_string_equal(decode_option(METHOD_set, "invalidate", no_bools[i]),
                            "invalidate: true or false expected");
    }
    for (size_t i = 0; i < sizeof(no_ids) / sizeof(no_ids[0]); i++)
        assert_string_equal(decode_option(METHOD_set, "write_id", no_ids[i]), "write_id: 16 bytes expected");
    assert_null(decode_option(METHOD_set, "write_id", "b0 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"));
    assert_string_equal(decode_option(METHOD_set, "retry", "c3"), "retry: is given without write_id");
    assert_null(decode_option(METHOD_set, "retry", "c2"));
    assert_string_equal(decode_option(METHOD_get, "epoch", "a3 61 62 63"),
                        "epoch: 32 lower-case hex digits expected");
    assert_string_equal(decode_option(METHOD_get, "epoch",
                                      "d9 20 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 30 31 32 33 34 35 36 37"
                                      "38 39 61 62 63 64 65 46"),
                        "epoch: 32 lower-case hex digits expected");
    assert_string_equal(decode_option(METHOD_get, "epoch",
                                      "d9 20 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 30 31 32 33 34 35 36 37"
                                      "38 39 61 62 63 64 65 66"),
                        "epoch: is given without min_version");
}

static void unknown_and_repeated_options_are_refused(void **state)
{
    (void)state;
    assert_string_equal(decode_option(METHOD_get, "stong", "c3"), "unknown option");
    assert_string_equal(decode_option(METHOD_get, "", "c3"), "unknown option");
    assert_string_equal(decode_option(METHOD_get, "version", "01"), "unknown option");
    assert_string_equal(decode_option(METHOD_set, "strong", "c3"), "unknown option");
    assert_wrong(METHOD_get, "92 a1 6b 82 a6 73 74 72 6f 6e 67 c3 a6 73 74 72 6f 6e 67 c3", "strong is given twice");
    assert_wrong(METHOD_get, "92 a1 6b 81 05 c3", "name of an option: str expected");
    assert_wrong(METHOD_mset, "91 91 93 a1 6b a1 76 81 aa 74 69 6d 65 6f 75 74 5f 6d 73 05", "unknown option");
}

static void params_of_the_wrong_shape_are_refused(void **state)
{
    (void)state;
    assert_wrong(METHOD_get, "90", "params: [key, {options}?] expected");
    assert_wrong(METHOD_get, "80", "params: [key, {options}?] expected");
    assert_wrong(METHOD_get, "93 a1 6b 80 01", "params: [key, {options}?] expected");
    assert_wrong(METHOD_get, "dd ff ff ff ff a1 6b", "params: [key, {options}?] expected");
    assert_wrong(METHOD_get, "91 05", "key: str or bin expected");
    assert_wrong(METHOD_get, "91 c0", "key: str or bin expected");
    assert_wrong(METHOD_get, "91 d4 01 00", "key: str or bin expected");
    assert_wrong(METHOD_get, "91 a0", "key: is empty");
    assert_wrong(METHOD_get, "92 a1 6b c0", "options: map expected");
    assert_wrong(METHOD_get, "92 a1 6b df ff ff ff ff", "options: map expected");
    assert_wrong(METHOD_get, "91 a1 6b 00", "bytes follow the params");
    assert_wrong(METHOD_mget, "91 a1 6b", "keys: array expected");
    assert_wrong(METHOD_mget, "91 dd ff ff ff ff", "keys: array expected");
    assert_wrong(METHOD_mget, "91 92 a1 6b 05", "key: str or bin expected");
    assert_wrong(METHOD_set, "91 a1 6b", "params: [key, value, {options}?] expected");
    assert_wrong(METHOD_set, "92 a1 6b 05", "value: str or bin expected");
    assert_wrong(METHOD_set, "92 a1 6b c0", "value: str or bin expected");
    assert_wrong(METHOD_set, "92 a0 a1 76", "key: is empty");
    assert_wrong(METHOD_delete, "93 a1 6b 80 80", "params: [key, {options}?] expected");
    assert_wrong(METHOD_mset, "91 a1 6b", "items: array expected");
    assert_wrong(METHOD_mset, "91 91 a1 6b", "item: [key, value, {options}?] expected");
    assert_wrong(METHOD_mset, "91 91 94 a1 6b a1 76 80 80", "item: [key, value, {options}?] expected");
    assert_wrong(METHOD_ping, "91 c0", "params: [] expected");
    assert_wrong(METHOD_clear, "80", "params: [] expected");
    assert_wrong(METHOD_hello, "91 05", "options: map expected");
    assert_wrong(METHOD_hello, "91 81 a8 70 72 6f 74 6f 63 6f 6c a1 31",
                 "protocol: integer in 0 .. 2^64-1 expected");
    assert_wrong(METHOD_versions, "91 05", "prefix: str or bin expected");
    assert_wrong(METHOD_versions, "92 a0 ff", "cursor: integer expected");
    assert_wrong(METHOD_versions, "93 a0 00 00", "limit: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_versions, "93 a0 00 cd 03 e9", "limit: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_verify, "93 00 01 c0", "options: map expected");
    assert_wrong(METHOD_inspect, "91 a0", "key: is empty");
    assert_wrong(METHOD_watch, "91 c3", "prefix: str or bin expected");
    assert_wrong(METHOD_unwatch, "90", "params: [watch id] expected");
    assert_wrong(METHOD_unwatch, "91 ff", "watch id: integer expected");
}

static void every_truncation_of_params_is_refused(void **state)
{
    struct buffer b = BUFFER_INIT;

    (void)state;
    for (unsigned method = 0; method < 4; method++) {
        struct rpc_frame frame;
        struct slice bytes, params;

        buffer_clear(&b);
        if (method == 0)
            proto_pack_get(&b, 1, slice_text("k"), &all_read_options);
        else if (method == 1)
            proto_pack_set(&b, 1, &full_write);
        else if (method == 2)
            proto_pack_mset(&b, 1, (const struct proto_write[]){plain_write, full_write}, 2, 7);
        else
            proto_pack_hello(&b, 1, "test");
        bytes = take_frame(&b, &frame);
        params = slice_of(frame.params.at, (size_t)(frame.params.end - frame.params.at));
        for (size_t len = 0; len <= params.len; len++) {
            struct slice part = exact_copy(params.data, len);
            const char *error = any_request_decode(proto_method_find(frame.method), cursor_of(part));

            assert_int_equal(error == NULL, len == params.len);
            exact_free(part);
        }
        exact_free(bytes);
    }
    buffer_deinit(&b);
}

/* ---- the others ----------------------------------------------------------------------------------------- */

static void hello_goes_round(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct proto_hello hello = {
        .server = slice_text("dcached 0.1.0"), .protocol = PROTO_VERSION, .pod = slice_text("pod-a"),
        .role = slice_text("writer"), .bound_ns = 1000000000, .max_stale_ns = 30000000000, .clock_ns = UINT64_MAX,
        .epoch = slice_text(EPOCH), .max_message = 1 << 21, .max_key = 1024, .max_value = 1 << 20,
        .max_in_flight = PROTO_IN_FLIGHT_MAX};
    struct proto_hello got;
    struct rpc_frame frame;
    struct slice client, bytes;
    uint64_t protocol;

    (void)state;
    proto_pack_hello(&b, 1, "tool");
    bytes = take_frame(&b, &frame);
    assert_int_equal(proto_method_find(frame.method), METHOD_hello);
    assert_null(proto_decode_hello_params(frame.params, &client, &protocol));
    assert_true(slice_equal(client, slice_text("tool")));
    assert_int_equal(protocol, PROTO_VERSION);
    exact_free(bytes);

    buffer_clear(&b);
    rpc_pack_response(&b, 1);
    proto_pack_hello_result(&b, &hello);
    bytes = take_frame(&b, &frame);
    assert_null(proto_decode_hello_result(frame.result, &got));
    assert_true(slice_equal(got.server, hello.server) && slice_equal(got.pod, hello.pod));
    assert_true(slice_equal(got.role, hello.role) && slice_equal(got.epoch, hello.epoch));
    assert_true(got.bound_ns == hello.bound_ns && got.max_stale_ns == hello.max_stale_ns);
    assert_true(got.clock_ns == hello.clock_ns && got.protocol == hello.protocol);
    assert_true(got.max_message == hello.max_message && got.max_key == hello.max_key);
    assert_true(got.max_value == hello.max_value && got.max_in_flight == hello.max_in_flight);
    exact_free(bytes);
    buffer_deinit(&b);
}

static void hello_without_a_key_is_refused_and_names_it(void **state)
{
    struct slice missing = exact_hex("80"), wrong = exact_hex("81 a8 62 6f 75 6e 64 5f 6e 73 a1 31");
    struct slice array = exact_hex("90");
    struct proto_hello hello;

    (void)state;
    assert_string_equal(proto_decode_hello_result(cursor_of(missing), &hello), "hello: server is missing");
    assert_string_equal(proto_decode_hello_result(cursor_of(wrong), &hello), "hello: bound_ns is of the wrong type");
    assert_string_equal(proto_decode_hello_result(cursor_of(array), &hello), "hello: map expected");
    exact_free(missing);
    exact_free(wrong);
    exact_free(array);
}

static void optional_positions_have_defaults(void **state)
{
    struct slice none = exact_hex("90"), versions = exact_hex("93 a1 70 05 64"), verify = exact_hex("92 05 0a");
    struct slice prefix;
    uint64_t cursor, timeout_ms;
    uint32_t limit;

    (void)state;
    assert_null(proto_decode_versions(cursor_of(none), &prefix, &cursor, &limit));
    assert_int_equal(prefix.len, 0);
    assert_int_equal(cursor, 0);
    assert_int_equal(limit, PROTO_VERSIONS_MAX);
    assert_null(proto_decode_versions(cursor_of(versions), &prefix, &cursor, &limit));
    assert_true(slice_equal(prefix, slice_text("p")));
    assert_int_equal(cursor, 5);
    assert_int_equal(limit, 100);
    assert_null(proto_decode_verify(cursor_of(verify), &cursor, &limit, &timeout_ms));
    assert_int_equal(limit, 10);
    assert_int_equal(timeout_ms, 0);
    exact_free(none);
    exact_free(versions);
    exact_free(verify);
}

static void every_method_is_found_by_its_name(void **state)
{
    (void)state;
#define X(name)                                                                 \
    assert_int_equal(proto_method_find(slice_text(#name)), METHOD_##name); \
    assert_string_equal(proto_method_name(METHOD_##name), #name);
    PROTO_METHODS(X)
#undef X
    assert_int_equal(proto_method_find(slice_text("")), METHOD_COUNT);
    assert_int_equal(proto_method_find(slice_text("ge")), METHOD_COUNT);
    assert_int_equal(proto_method_find(slice_text("get2")), METHOD_COUNT);
    assert_int_equal(proto_method_find(slice_text("GET")), METHOD_COUNT);
    assert_string_equal(proto_method_name(METHOD_COUNT), "unknown");
}

/* A line of nothing but hex pairs: its bytes are added to `b`. */
static bool take_hex_line(const char *line, struct buffer *b)
{
    size_t len = strcspn(line, "\r\n");

    if (len < 2 || (len + 1) % 3 != 0)
        return false;
    for (size_t i = 0; i < len; i += 3)
        if (exact_digit(line[i]) < 0 || exact_digit(line[i + 1]) < 0 || (i + 2 < len && line[i + 2] != ' '))
            return false;
    for (size_t i = 0; i < len; i += 3) {
        uint8_t byte = (uint8_t)(exact_digit(line[i]) << 4 | exact_digit(line[i + 1]));

        buffer_append(b, &byte, 1);
    }
    return true;
}

/* The frame is whole and valid; a request is one of its method, which is remembered. */
static void check_example(struct buffer *b, bool *requested)
{
    struct rpc_frame frame;
    struct slice bytes = take_frame(b, &frame);
    enum proto_method method;

    if (frame.type == RPC_REQUEST) {
        method = proto_method_find(frame.method);
        assert_int_not_equal(method, METHOD_COUNT);
        assert_null(any_request_decode(method, frame.params));
        requested[method] = true;
    }
    exact_free(bytes);
    buffer_clear(b);
}

static void examples_of_the_protocol_are_valid_frames(void **state)
{
    bool requested[METHOD_COUNT] = {false};
    struct buffer b = BUFFER_INIT;
    FILE *file = fopen(PROTOCOL_FILE, "r");
    char line[512];

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (!take_hex_line(line, &b) && b.len > 0)
            check_example(&b, requested);
    for (unsigned i = 0; i < METHOD_COUNT; i++)
        assert_true(requested[i]);
    fclose(file);
    buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_goes_round),
        cmocka_unit_test(mget_goes_round),
        cmocka_unit_test(readings_of_every_state_and_size_go_round),
        cmocka_unit_test(packed_reading_is_what_msgpack_c_packs),
        cmocka_unit_test(trailing_elements_of_results_are_skipped),
        cmocka_unit_test(results_with_a_wrong_field_are_refused),
        cmocka_unit_test(set_and_delete_go_round),
        cmocka_unit_test(mset_goes_round),
        cmocka_unit_test(outcomes_go_round),
        cmocka_unit_test(version_is_1_to_2_63_less_1_and_nothing_else),
        cmocka_unit_test(durations_fit_63_bits_of_nanoseconds),
        cmocka_unit_test(other_options_are_checked_and_named),
        cmocka_unit_test(unknown_and_repeated_options_are_refused),
        cmocka_unit_test(params_of_the_wrong_shape_are_refused),
        cmocka_unit_test(every_truncation_of_params_is_refused),
        cmocka_unit_test(hello_goes_round),
        cmocka_unit_test(hello_without_a_key_is_refused_and_names_it),
        cmocka_unit_test(optional_positions_have_defaults),
        cmocka_unit_test(every_method_is_found_by_its_name),
        cmocka_unit_test(examples_of_the_protocol_are_valid_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
