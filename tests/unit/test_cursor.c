#include "tests/unit/exact.h"

#include "proto/cursor.h"
#include "proto/rpc.h"

static void assert_uint(const char *hex, uint64_t expected)
{
    struct slice bytes = exact_hex(hex);
    struct cursor c = cursor_of(bytes);

    assert_int_equal(cursor_peek(&c), CURSOR_UINT);
    assert_true(cursor_uint(&c) == expected);
    assert_true(cursor_ok(&c));
    assert_true(cursor_at_end(&c));
    exact_free(bytes);
}

static void assert_int(const char *hex, int64_t expected)
{
    struct slice bytes = exact_hex(hex);
    struct cursor c = cursor_of(bytes);

    assert_true(cursor_int(&c) == expected);
    assert_true(cursor_ok(&c));
    assert_true(cursor_at_end(&c));
    exact_free(bytes);
}

/* Reads as an integer of either kind have to fail. */
static void assert_no_integer(const char *hex)
{
    struct slice bytes = exact_hex(hex);
    struct cursor c = cursor_of(bytes);

    assert_true(cursor_uint(&c) == 0);
    assert_false(cursor_ok(&c));
    c = cursor_of(bytes);
    assert_true(cursor_int(&c) == 0);
    assert_false(cursor_ok(&c));
    exact_free(bytes);
}

static void non_negative_integers_of_every_form_are_read(void **state)
{
    (void)state;
    assert_uint("00", 0);
    assert_uint("7f", 127);
    assert_uint("cc 80", 128);
    assert_uint("cc 05", 5);
    assert_uint("cd ff ff", 65535);
    assert_uint("ce ff ff ff ff", UINT32_MAX);
    assert_uint("cf 00 20 00 00 00 00 00 01", (UINT64_C(1) << 53) + 1);
    assert_uint("cf ff ff ff ff ff ff ff ff", UINT64_MAX);
    assert_uint("d0 05", 5);
    assert_uint("d1 7f ff", 32767);
    assert_uint("d2 00 00 00 07", 7);
    assert_uint("d3 7f ff ff ff ff ff ff ff", INT64_MAX);
}

static void signed_integers_of_every_form_are_read(void **state)
{
    (void)state;
    assert_int("ff", -1);
    assert_int("e0", -32);
    assert_int("d0 80", -128);
    assert_int("d1 80 00", -32768);
    assert_int("d2 80 00 00 00", INT32_MIN);
    assert_int("d3 80 00 00 00 00 00 00 00", INT64_MIN);
    assert_int("cf 7f ff ff ff ff ff ff ff", INT64_MAX);
    assert_int("05", 5);
}

static void negative_number_is_no_uint(void **state)
{
    static const char *const negative[] = {"ff", "d0 ff", "d1 ff ff", "d2 ff ff ff ff",
                                           "d3 80 00 00 00 00 00 00 00"};

    (void)state;
    for (size_t i = 0; i < sizeof(negative) / sizeof(negative[0]); i++) {
        struct slice bytes = exact_hex(negative[i]);
        struct cursor c = cursor_of(bytes);

        assert_int_equal(cursor_peek(&c), CURSOR_INT);
        assert_true(cursor_uint(&c) == 0);
        assert_string_equal(c.error, "integer is negative");
        exact_free(bytes);
    }
}

static void number_above_int64_is_no_int(void **state)
{
    struct slice bytes = exact_hex("cf 80 00 00 00 00 00 00 00");
    struct cursor c = cursor_of(bytes);

    (void)state;
    assert_true(cursor_int(&c) == 0);
    assert_false(cursor_ok(&c));
    exact_free(bytes);
}

static void floats_bools_strings_and_containers_are_no_integers(void **state)
{
    (void)state;
    assert_no_integer("ca 3f 80 00 00");
    assert_no_integer("cb 7f f8 00 00 00 00 00 00");
    assert_no_integer("c3");
    assert_no_integer("c0");
    assert_no_integer("a1 35");
    assert_no_integer("c4 01 05");
    assert_no_integer("91 05");
    assert_no_integer("81 05 05");
    assert_no_integer("d4 01 05");
    assert_no_integer("c1");
    assert_no_integer("");
}

static void str_and_bin_of_every_form_are_bytes(void **state)
{
    static const char *const forms[] = {
        "a2 68 69",    "d9 02 68 69",    "da 00 02 68 69",      "db 00 00 00 02 68 69",
        "c4 02 68 69", "c5 00 02 68 69", "c6 00 00 00 02 68 69"};

    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct slice bytes = exact_hex(forms[i]);
        struct cursor c = cursor_of(bytes);

        assert_true(slice_equal(cursor_bytes(&c), slice_text("hi")));
        assert_true(cursor_ok(&c));
        assert_true(cursor_at_end(&c));
        exact_free(bytes);
    }
}

static void cut_objects_fail_at_every_length(void **state)
{
    static const char *const objects[] = {"cc 80",
                                          "cd ff ff",
                                          "ce ff ff ff ff",
                                          "cf ff ff ff ff ff ff ff ff",
                                          "d0 ff",
                                          "d1 ff ff",
                                          "d2 ff ff ff ff",
                                          "d3 ff ff ff ff ff ff ff ff",
                                          "ca 00 00 00 00",
                                          "cb 00 00 00 00 00 00 00 00",
                                          "a2 68 69",
                                          "d9 02 68 69",
                                          "da 00 02 68 69",
                                          "db 00 00 00 02 68 69",
                                          "c4 02 68 69",
                                          "c5 00 02 68 69",
                                          "c6 00 00 00 02 68 69",
                                          "d4 01 00",
                                          "d5 01 00 00",
                                          "d6 01 00 00 00 00",
                                          "d7 01 00 00 00 00 00 00 00 00",
                                          "d8 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
                                          "c7 02 01 00 00",
                                          "c8 00 02 01 00 00",
                                          "c9 00 00 00 02 01 00 00",
                                          "92 01 02",
                                          "82 01 02 03 04",
                                          "dc 00 02 01 02",
                                          "dd 00 00 00 02 01 02",
                                          "de 00 01 01 02",
                                          "df 00 00 00 01 01 02"};

    (void)state;
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        struct slice whole = exact_hex(objects[i]);

        for (size_t len = 0; len <= whole.len; len++) {
            struct slice part = exact_copy(whole.data, len);
            struct cursor c = cursor_of(part);
            struct slice raw = cursor_raw(&c);

            assert_int_equal(cursor_ok(&c), len == whole.len);
            assert_int_equal(raw.len, len == whole.len ? len : 0);
            for (int read = 0; read < 6; read++) {
                c = cursor_of(part);
                cursor_peek(&c);
                if (read == 0)
                    cursor_uint(&c);
                else if (read == 1)
                    cursor_int(&c);
                else if (read == 2)
                    cursor_bytes(&c);
                else if (read == 3)
                    cursor_array(&c);
                else if (read == 4)
                    cursor_map(&c);
                else
                    cursor_bool(&c);
            }
            exact_free(part);
        }
        exact_free(whole);
    }
}

static void count_beyond_the_bytes_at_hand_is_refused(void **state)
{
    static const char *const arrays[] = {"dd ff ff ff ff 01", "dc ff ff 01", "92 01", "91"};
    static const char *const maps[] = {"df ff ff ff ff 01 01", "de 00 02 01 02 03", "81 01", "df 80 00 00 00 01"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct slice array = exact_hex(arrays[i]), map = exact_hex(maps[i]);
        struct cursor c = cursor_of(array);

        assert_int_equal(cursor_array(&c), 0);
        assert_false(cursor_ok(&c));
        c = cursor_of(array);
        cursor_skip(&c);
        assert_false(cursor_ok(&c));
        c = cursor_of(map);
        assert_int_equal(cursor_map(&c), 0);
        assert_false(cursor_ok(&c));
        exact_free(array);
        exact_free(map);
    }
}

/* Arrays in arrays, with heads of one byte or of three. */
static void nest(struct buffer *b, unsigned depth, bool long_heads, uint8_t innermost)
{
    buffer_clear(b);
    for (unsigned i = 0; i < depth; i++)
        buffer_append(b, long_heads ? "\xdc\0\1" : "\x91", long_heads ? 3 : 1);
    buffer_append(b, &innermost, 1);
}

static void nesting_is_followed_up_to_the_limit_only(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct slice bytes;
    struct cursor c;

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        unsigned depth = CURSOR_DEPTH_MAX - 1 + i / 2;

        nest(&b, depth, i % 2, 0xc0);
        bytes = exact_copy(b.data, b.len);
        c = cursor_of(bytes);
        cursor_skip(&c);
        assert_int_equal(cursor_ok(&c), depth <= CURSOR_DEPTH_MAX);
        exact_free(bytes);
    }
    nest(&b, 1000000, false, 0x90);
    c = cursor_of(slice_of(b.data, b.len));
    cursor_skip(&c);
    assert_string_equal(c.error, "nested too deeply");
    buffer_deinit(&b);
}

static void many_shallow_containers_are_skipped(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct cursor c;

    (void)state;
    pack_array(&b, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        pack_map(&b, 1);
        pack_text(&b, "k");
        pack_array(&b, 0);
    }
    c = cursor_of(slice_of(b.data, b.len));
    assert_int_equal(cursor_raw(&c).len, b.len);
    assert_true(cursor_at_end(&c));
    buffer_deinit(&b);
}

static void first_failure_sticks(void **state)
{
    struct slice bytes = exact_hex("c3 05 a1 61");
    struct cursor c = cursor_of(bytes);

    (void)state;
    assert_true(cursor_uint(&c) == 0);
    assert_string_equal(c.error, "integer expected");
    assert_false(cursor_bool(&c));
    assert_false(cursor_nil(&c));
    assert_int_equal(cursor_bytes(&c).len, 0);
    assert_int_equal(cursor_array(&c), 0);
    assert_int_equal(cursor_raw(&c).len, 0);
    assert_int_equal(cursor_peek(&c), CURSOR_NONE);
    cursor_fail(&c, "another");
    assert_string_equal(c.error, "integer expected");
    exact_free(bytes);
}

static void unused_byte_is_refused(void **state)
{
    struct slice bytes = exact_hex("92 01 c1");
    struct cursor c = cursor_of(bytes);

    (void)state;
    cursor_skip(&c);
    assert_string_equal(c.error, "byte 0xc1 is not MessagePack");
    exact_free(bytes);
}

static void peek_names_every_type(void **state)
{
    static const struct {
        const char *hex;
        enum cursor_type type;
    } rows[] = {{"c0", CURSOR_NIL},     {"c2", CURSOR_BOOL},   {"00", CURSOR_UINT},  {"e0", CURSOR_INT},
                {"d0 01", CURSOR_UINT}, {"d0 80", CURSOR_INT}, {"ca", CURSOR_FLOAT}, {"cb", CURSOR_FLOAT},
                {"a0", CURSOR_STR},     {"c4 00", CURSOR_BIN}, {"90", CURSOR_ARRAY}, {"df", CURSOR_MAP},
                {"d4", CURSOR_EXT},     {"c9", CURSOR_EXT},    {"c1", CURSOR_NONE},  {"", CURSOR_NONE}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice bytes = exact_hex(rows[i].hex);
        struct cursor c = cursor_of(bytes);

        assert_int_equal(cursor_peek(&c), rows[i].type);
        exact_free(bytes);
    }
}

static void nil_and_bool_are_read(void **state)
{
    struct slice bytes = exact_hex("c0 c3 c2 01");
    struct cursor c = cursor_of(bytes);

    (void)state;
    assert_true(cursor_nil(&c));
    assert_false(cursor_nil(&c));
    assert_true(cursor_bool(&c));
    assert_false(cursor_bool(&c));
    assert_true(cursor_ok(&c));
    cursor_bool(&c);
    assert_false(cursor_ok(&c));
    exact_free(bytes);
}

static void buffer_keeps_what_is_appended_and_drops_what_is_consumed(void **state)
{
    struct buffer b = BUFFER_INIT;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t byte = (uint8_t)i;

        buffer_append(&b, &byte, 1);
    }
    buffer_append(&b, NULL, 0);
    assert_int_equal(b.len, 5000);
    buffer_consume(&b, 4990);
    assert_int_equal(b.len, 10);
    assert_int_equal(b.data[0], (uint8_t)4990);
    buffer_consume(&b, 11);
    assert_int_equal(b.len, 0);
    assert_false(b.failed);
    buffer_deinit(&b);
}

static void failed_allocation_is_remembered_until_the_buffer_is_cleared(void **state)
{
    struct buffer b = BUFFER_INIT;

    (void)state;
    buffer_append(&b, "a", 1);
    assert_null(buffer_reserve(&b, SIZE_MAX));
    assert_true(b.failed);
    buffer_append(&b, "b", 1);
    assert_int_equal(b.len, 1);
    buffer_clear(&b);
    buffer_append(&b, "c", 1);
    assert_false(b.failed);
    assert_int_equal(b.len, 1);
    buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(non_negative_integers_of_every_form_are_read),
        cmocka_unit_test(signed_integers_of_every_form_are_read),
        cmocka_unit_test(negative_number_is_no_uint),
        cmocka_unit_test(number_above_int64_is_no_int),
        cmocka_unit_test(floats_bools_strings_and_containers_are_no_integers),
        cmocka_unit_test(str_and_bin_of_every_form_are_bytes),
        cmocka_unit_test(cut_objects_fail_at_every_length),
        cmocka_unit_test(count_beyond_the_bytes_at_hand_is_refused),
        cmocka_unit_test(nesting_is_followed_up_to_the_limit_only),
        cmocka_unit_test(many_shallow_containers_are_skipped),
        cmocka_unit_test(first_failure_sticks),
        cmocka_unit_test(unused_byte_is_refused),
        cmocka_unit_test(peek_names_every_type),
        cmocka_unit_test(nil_and_bool_are_read),
        cmocka_unit_test(buffer_keeps_what_is_appended_and_drops_what_is_consumed),
        cmocka_unit_test(failed_allocation_is_remembered_until_the_buffer_is_cleared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
