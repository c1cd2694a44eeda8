/* Params that are wrong are refused by name; the examples of PROTOCOL.md are right. */
#include "tests/unit/frame.h"

#include <stdio.h>

#include "tests/fuzz/any_request.h"

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
    static const char *const bad[] = {"00",
                                      "ff",
                                      "d3 ff ff ff ff ff ff ff ff",
                                      "cf 80 00 00 00 00 00 00 00",
                                      "cf ff ff ff ff ff ff ff ff",
                                      "ca 3f 80 00 00",
                                      "cb 3f f0 00 00 00 00 00 00",
                                      "cb 7f f8 00 00 00 00 00 00",
                                      "a1 31",
                                      "c4 01 31",
                                      "c3",
                                      "c0",
                                      "90",
                                      "80",
                                      "d4 00 01",
                                      "c1",
                                      ""};

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
    static const char *const bad[] = {"ff",
                                      "cf ff ff ff ff ff ff ff ff",
                                      "cf 00 00 08 63 7b d0 5a f7",
                                      "cb 3f f0 00 00 00 00 00 00",
                                      "a2 31 73",
                                      "c0",
                                      "c2"};

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
    assert_string_equal(
        decode_option(METHOD_get, "epoch",
                      "d9 20 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 30 31 32 33 34 35 36 37"
                      "38 39 61 62 63 64 65 46"),
        "epoch: 32 lower-case hex digits expected");
    assert_string_equal(
        decode_option(METHOD_get, "epoch",
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
    assert_wrong(METHOD_get, "92 a1 6b 82 a6 73 74 72 6f 6e 67 c3 a6 73 74 72 6f 6e 67 c3",
                 "strong is given twice");
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
    assert_wrong(METHOD_clear, "80", "params: [{deadline, timeout_ms}?] expected");
    assert_wrong(METHOD_clear, "92 80 80", "params: [{deadline, timeout_ms}?] expected");
    assert_wrong(METHOD_clear, "91 c0", "options: map expected");
    assert_wrong(METHOD_clear, "91 a1 6b", "options: map expected");
    assert_wrong(METHOD_clear, "91 81 05 05", "name of an option: str expected");
    assert_wrong(METHOD_clear, "91 81 a7 76 65 72 73 69 6f 6e 01", "unknown option");
    assert_wrong(METHOD_clear, "91 81 a8 64 65 61 64 6c 69 6e 65 ff", "deadline: integer in 0 .. 2^64-1 expected");
    assert_wrong(METHOD_clear, "91 81 aa 74 69 6d 65 6f 75 74 5f 6d 73 c0",
                 "timeout_ms: integer in 0 .. 9223372036854 expected");
    assert_wrong(METHOD_clear, "91 82 a8 64 65 61 64 6c 69 6e 65 05 a8 64 65 61 64 6c 69 6e 65 05",
                 "deadline is given twice");
    assert_wrong(METHOD_clear, "90 00", "bytes follow the params");
    assert_null(decode_params(METHOD_clear, "90"));
    assert_null(decode_params(METHOD_clear, "91 80"));
    assert_wrong(METHOD_hello, "91 05", "options: map expected");
    assert_wrong(METHOD_hello, "91 81 a8 70 72 6f 74 6f 63 6f 6c a1 31",
                 "protocol: integer in 0 .. 2^64-1 expected");
    assert_wrong(METHOD_versions, "91 05", "prefix: str or bin expected");
    assert_wrong(METHOD_versions, "92 a0 ff", "cursor: integer expected");
    assert_wrong(METHOD_versions, "93 a0 00 00", "limit: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_versions, "93 a0 00 cd 03 e9", "limit: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_verify, "93 00 01 c0", "options: map expected");
    assert_wrong(METHOD_inspect, "91 a0", "key: is empty");
    assert_wrong(METHOD_trace, "90", "params: [key, last?] expected");
    assert_wrong(METHOD_trace, "93 a1 6b 01 01", "params: [key, last?] expected");
    assert_wrong(METHOD_trace, "91 a0", "key: is empty");
    assert_wrong(METHOD_trace, "91 05", "key: str or bin expected");
    assert_wrong(METHOD_trace, "92 a1 6b 00", "last: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_trace, "92 a1 6b cd 03 e9", "last: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_trace, "92 a1 6b ff", "last: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_trace, "92 a1 6b a1 31", "last: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_trace, "92 a1 6b c0", "last: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_clients, "93 00 01 01", "params: [cursor?, limit?] expected");
    assert_wrong(METHOD_clients, "91 a0", "cursor: integer expected");
    assert_wrong(METHOD_clients, "92 00 00", "limit: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_clients, "92 00 cd 03 e9", "limit: integer in 1 .. 1000 expected");
    assert_wrong(METHOD_log_level, "92 a1 61 a1 62", "params: [level?] expected");
    assert_wrong(METHOD_log_level, "91 c0", "level: str expected");
    assert_wrong(METHOD_log_level, "91 01", "level: str expected");
    assert_wrong(METHOD_log_level, "91 a0", "level: is empty");
    assert_wrong(METHOD_config, "91 c0", "params: [] expected");
    assert_wrong(METHOD_watch, "91 c3", "prefix: str or bin expected");
    assert_wrong(METHOD_unwatch, "90", "params: [watch id] expected");
    assert_wrong(METHOD_unwatch, "91 ff", "watch id: integer expected");
}

#define EPOCH "0123456789abcdef0123456789abcdef"

static const struct proto_read_options read_options = {.strong = true,
                                                       .min_version = 300,
                                                       .epoch = {(const uint8_t *)EPOCH, 32},
                                                       .max_stale_ms = 1,
                                                       .timeout_ms = 70000};
static const struct proto_write plain_write = {.key = {(const uint8_t *)"k", 1},
                                               .value = {(const uint8_t *)"v", 1}};
static const struct proto_write full_write = {.key = {(const uint8_t *)"key", 3},
                                              .value = {(const uint8_t *)"value", 5},
                                              .version = PROTO_VERSION_MAX,
                                              .has_ttl = true,
                                              .has_invalidate = true,
                                              .write_id = {(const uint8_t *)EPOCH, PROTO_WRITE_ID_BYTES},
                                              .retry = true,
                                              .deadline_ns = 12345,
                                              .timeout_ms = 250};

static void every_truncation_of_params_is_refused(void **state)
{
    struct buffer b = BUFFER_INIT;

    (void)state;
    for (unsigned method = 0; method < 5; method++) {
        struct rpc_frame frame;
        struct slice bytes, params;

        buffer_clear(&b);
        if (method == 0)
            proto_pack_get(&b, 1, slice_text("k"), &read_options);
        else if (method == 1)
            proto_pack_set(&b, 1, &full_write);
        else if (method == 2)
            proto_pack_mset(&b, 1, (const struct proto_write[]){plain_write, full_write}, 2, 7);
        else if (method == 3)
            proto_pack_clear(&b, 1, &full_write);
        else
            proto_pack_hello(&b, 1, "test");
        bytes = frame_take(&b, &frame);
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
    struct slice bytes = frame_take(b, &frame);
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

static void the_protocol_names_the_class_of_every_method(void **state)
{
    (void)state;
    static char page[256 * 1024];
    FILE *file = fopen(PROTOCOL_FILE, "r");
    assert_non_null(file);
    size_t len = fread(page, 1, sizeof(page) - 1, file);
    fclose(file);
    page[len] = '\0';
#define X(name, class)                                   \
    if (!strstr(page, "\n### " #name " (" #class ")\n")) \
        fail_msg("%s is not there as %s", #name, #class);
    PROTO_METHODS(X)
#undef X
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_is_1_to_2_63_less_1_and_nothing_else),
        cmocka_unit_test(durations_fit_63_bits_of_nanoseconds),
        cmocka_unit_test(other_options_are_checked_and_named),
        cmocka_unit_test(unknown_and_repeated_options_are_refused),
        cmocka_unit_test(params_of_the_wrong_shape_are_refused),
        cmocka_unit_test(every_truncation_of_params_is_refused),
        cmocka_unit_test(examples_of_the_protocol_are_valid_frames),
        cmocka_unit_test(the_protocol_names_the_class_of_every_method),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
