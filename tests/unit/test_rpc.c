#include "tests/unit/exact.h"

#include "proto/rpc.h"

static const char *decode(const char *hex, struct rpc_frame *ret_frame, struct slice *ret_bytes)
{
    *ret_bytes = exact_hex(hex);
    return rpc_decode(*ret_bytes, ret_frame);
}

static void assert_malformed(const char *hex, const char *error, uint32_t id)
{
    struct rpc_frame frame;
    struct slice bytes;
    const char *got = decode(hex, &frame, &bytes);

    assert_non_null(got);
    if (error)
        assert_string_equal(got, error);
    assert_int_equal(frame.id, id);
    exact_free(bytes);
}

static void request_is_decoded(void **state)
{
    static const struct {
        const char *hex;
        uint32_t id;
    } rows[] = {{"94 00 05 a3 67 65 74 91 c4 01 6b", 5},
                {"94 00 cc ff a3 67 65 74 91 c4 01 6b", 255},
                {"94 00 cd ff ff a3 67 65 74 91 c4 01 6b", 65535},
                {"94 00 ce ff ff ff ff a3 67 65 74 91 c4 01 6b", UINT32_MAX},
                {"94 00 cf 00 00 00 00 00 00 00 09 a3 67 65 74 91 c4 01 6b", 9},
                {"94 00 d0 07 d9 03 67 65 74 dc 00 01 c4 01 6b", 7},
                {"dc 00 04 00 05 c4 03 67 65 74 dd 00 00 00 01 a1 6b", 5}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rpc_frame frame;
        struct slice bytes;

        assert_null(decode(rows[i].hex, &frame, &bytes));
        assert_int_equal(frame.type, RPC_REQUEST);
        assert_int_equal(frame.id, rows[i].id);
        assert_true(slice_equal(frame.method, slice_text("get")));
        assert_int_equal(cursor_array(&frame.params), 1);
        assert_true(slice_equal(cursor_bytes(&frame.params), slice_text("k")));
        assert_true(cursor_at_end(&frame.params));
        exact_free(bytes);
    }
}

static void response_is_decoded(void **state)
{
    struct rpc_frame frame;
    struct slice bytes;

    (void)state;
    assert_null(decode("94 01 05 c0 a4 70 6f 6e 67", &frame, &bytes));
    assert_int_equal(frame.type, RPC_RESPONSE);
    assert_int_equal(frame.id, 5);
    assert_int_equal(frame.error.len, 1);
    assert_int_equal(frame.error.data[0], 0xc0);
    assert_true(slice_equal(cursor_bytes(&frame.result), slice_text("pong")));
    assert_true(cursor_at_end(&frame.result));
    exact_free(bytes);
}

static void notification_is_decoded(void **state)
{
    struct rpc_frame frame;
    struct slice bytes;

    (void)state;
    assert_null(decode("93 02 a5 65 76 65 6e 74 92 01 80", &frame, &bytes));
    assert_int_equal(frame.type, RPC_NOTIFICATION);
    assert_true(slice_equal(frame.method, slice_text("event")));
    assert_int_equal(cursor_array(&frame.params), 2);
    exact_free(bytes);
}

static void malformed_envelope_is_named_and_keeps_its_id(void **state)
{
    (void)state;
    assert_malformed("", NULL, 0);
    assert_malformed("c0", NULL, 0);
    assert_malformed("90", NULL, 0);
    assert_malformed("80", NULL, 0);
    assert_malformed("94 03 05 a1 78 90", "not a message: array expected that starts with 0, 1 or 2", 0);
    assert_malformed("94 cb 00 00 00 00 00 00 00 00 05 a1 78 90", NULL, 0);
    assert_malformed("94 00 ff a1 78 90", "id: integer in 0 .. 2^32-1 expected", 0);
    assert_malformed("94 00 a1 35 a1 78 90", "id: integer in 0 .. 2^32-1 expected", 0);
    assert_malformed("94 00 cf 00 00 00 01 00 00 00 00 a1 78 90", "id: integer in 0 .. 2^32-1 expected", 0);
    assert_malformed("94 00 05 07 90 00", "method: str expected", 5);
    assert_malformed("94 00 05 a1 78 80", "params: array expected", 5);
    assert_malformed("94 00 05 a1 78 c0", "params: array expected", 5);
    assert_malformed("94 00 05 a1 78 d4 01 00", "params: array expected", 5);
    assert_malformed("93 00 05 a1 78", "a message of this type has another number of elements", 5);
    assert_malformed("95 00 05 a1 78 90 90", "a message of this type has another number of elements", 5);
    assert_malformed("94 02 a1 78 90 90", "a message of this type has another number of elements", 0);
    assert_malformed("94 00 05 a1 78 90 00", "bytes follow the message", 5);
    assert_malformed("94 00 05 a3 67 65 74 91 c4 01 6b 00", "bytes follow the message", 5);
    assert_malformed("94 01 05 c0 01 00", "bytes follow the message", 5);
    assert_malformed("94 00 05 a1 78 91 c1", "byte 0xc1 is not MessagePack", 5);
    assert_malformed("dd ff ff ff ff 00 05 a1 78 90", NULL, 0);
    assert_malformed("94 00 05 a1 78 dd ff ff ff ff", "count is larger than the message", 5);
    assert_malformed("94 00 05 db ff ff ff ff 78 90", "method: str expected", 5);
}

static void other_protocols_are_malformed(void **state)
{
    static const char *const texts[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                                        "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "get k\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice bytes = exact_copy(texts[i], strlen(texts[i]));
        struct rpc_frame frame;

        assert_non_null(rpc_decode(bytes, &frame));
        exact_free(bytes);
    }
}

static void every_truncation_of_a_message_is_malformed(void **state)
{
    static const char *const messages[] = {
        "94 00 ce ff ff ff ff a3 67 65 74 92 c4 01 6b 81 a6 73 74 72 6f 6e 67 c3",
        "94 00 05 a3 67 65 74 91 c4 01 6b",
        "94 00 05 a0 90",
        "94 01 05 92 03 a3 62 61 64 c0",
        "93 02 a5 65 76 65 6e 74 92 01 81 a4 6b 69 6e 64 a3 67 61 70",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        struct slice whole = exact_hex(messages[i]);

        for (size_t len = 0; len <= whole.len; len++) {
            struct slice part = exact_copy(whole.data, len);
            struct rpc_frame frame;

            assert_int_equal(rpc_decode(part, &frame) == NULL, len == whole.len);
            exact_free(part);
        }
        exact_free(whole);
    }
}

static void error_response_goes_both_ways(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct rpc_frame frame;
    enum rpc_error code;
    struct slice text, bytes;

    (void)state;
    rpc_pack_error(&b, 77, RPC_REFUSED, "as_of is too old");
    bytes = exact_copy(b.data, b.len);
    assert_null(rpc_decode(bytes, &frame));
    assert_int_equal(frame.id, 77);
    assert_true(cursor_nil(&frame.result));
    assert_null(rpc_decode_error(frame.error, &code, &text));
    assert_int_equal(code, RPC_REFUSED);
    assert_true(slice_equal(text, slice_text("as_of is too old")));
    exact_free(bytes);
    buffer_deinit(&b);
}

static void error_of_another_shape_is_refused(void **state)
{
    static const char *const errors[] = {"c0",
                                         "90",
                                         "91 05",
                                         "92 00 a0",
                                         "92 a1 35 a0",
                                         "92 05 06",
                                         "a3 62 61 64",
                                         "92 cf ff ff ff ff ff ff ff ff a0",
                                         ""};

    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct slice bytes = exact_hex(errors[i]), text;
        enum rpc_error code;

        assert_non_null(rpc_decode_error(bytes, &code, &text));
        assert_int_equal(code, RPC_OK);
        exact_free(bytes);
    }
}

static void every_error_has_a_name(void **state)
{
    (void)state;
#define X(name, code, help)                                         \
    assert_string_not_equal(rpc_error_name(RPC_##name), "unknown"); \
    assert_int_equal(RPC_##name, code);
    RPC_ERRORS(X)
#undef X
    assert_string_equal(rpc_error_name((enum rpc_error)4711), "unknown");
    assert_string_equal(rpc_error_name(RPC_OTHER_EPOCH), "other_epoch");
}

static void packed_envelopes_have_their_published_form(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct slice expected;

    (void)state;
    rpc_pack_request(&b, 300, "ping");
    pack_array(&b, 0);
    rpc_pack_response(&b, 300);
    pack_bool(&b, true);
    rpc_pack_notification(&b, "event");
    pack_array(&b, 0);
    pack_int(&b, -7);
    expected = exact_hex("94 00 cd 01 2c a4 70 69 6e 67 90  94 01 cd 01 2c c0 c3  93 02 a5 65 76 65 6e 74 90  f9");
    assert_int_equal(b.len, expected.len);
    assert_memory_equal(b.data, expected.data, b.len);
    exact_free(expected);
    buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_is_decoded),
        cmocka_unit_test(response_is_decoded),
        cmocka_unit_test(notification_is_decoded),
        cmocka_unit_test(malformed_envelope_is_named_and_keeps_its_id),
        cmocka_unit_test(other_protocols_are_malformed),
        cmocka_unit_test(every_truncation_of_a_message_is_malformed),
        cmocka_unit_test(error_response_goes_both_ways),
        cmocka_unit_test(error_of_another_shape_is_refused),
        cmocka_unit_test(every_error_has_a_name),
        cmocka_unit_test(packed_envelopes_have_their_published_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
