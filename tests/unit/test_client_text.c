/* What dcachectl prints: JSON, escaped text, durations, sizes, tables; and what it reads: durations and versions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

static char *memory;
static size_t memory_len;

static FILE *capture(void)
{
    return open_memstream(&memory, &memory_len);
}

static void check(FILE *out, const char *expected)
{
    fclose(out);
    assert_string_equal(memory, expected);
    free(memory);
}

#define BYTES(text) slice_of(text, sizeof(text) - 1)

static void json_is_escaped_and_separated(void **state)
{
    FILE *out = capture();
    struct json json = json_to(out);

    (void)state;
    json_open_object(&json);
    json_name(&json, "a\"\\");
    json_text(&json, BYTES("\x01\n\x7f\xc2\x9b\xe2\x80\xa8\"\\\xff\xc3\xa4"));
    json_bytes(&json, "key", BYTES("k"));
    json_bytes(&json, "value", BYTES("\xff\x00"));
    json_name(&json, "list");
    json_open_array(&json);
    json_uint(&json, UINT64_MAX);
    json_int(&json, INT64_MIN);
    json_bool(&json, true);
    json_null(&json);
    json_open_object(&json);
    json_close_object(&json);
    json_close_array(&json);
    json_name(&json, "last");
    json_uint(&json, 1);
    json_close_object(&json);
    check(out, "{\"a\\\"\\\\\":\"\\u0001\\n\\u007f\\u009b\\u2028\\\"\\\\\\ufffd\xc3\xa4\",\"key\":\"k\","
               "\"value_base64\":\"/wA=\",\"list\":[18446744073709551615,-9223372036854775808,true,null,{}],"
               "\"last\":1}\n");
}

static void base64_is_padded(void **state)
{
    const struct {
        struct slice bytes;
        const char *expected;
    } cases[] = {
        {BYTES("\xff"), "{\"v_base64\":\"/w==\"}\n"},
        {BYTES("\xff\xfe"), "{\"v_base64\":\"//4=\"}\n"},
        {BYTES("\xff\xfe\xfd"), "{\"v_base64\":\"//79\"}\n"},
        {BYTES("\xff\xfe\xfd\xfc"), "{\"v_base64\":\"//79/A==\"}\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *out = capture();
        struct json json = json_to(out);

        json_open_object(&json);
        json_bytes(&json, "v", cases[i].bytes);
        json_close_object(&json);
        check(out, cases[i].expected);
    }
}

static void utf8_is_told_from_other_bytes(void **state)
{
    const char *const good[] = {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    const char *const bad[] = {
        "\x80", "\xc3",     "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
        "\xff", "a\xe2\x82"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_is_valid(slice_text(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_is_valid(slice_text(bad[i])));
}

static void nothing_that_steers_a_terminal_gets_through(void **state)
{
    FILE *out = capture();

    (void)state;
    text_escaped(out, BYTES("a\0\x1b[31m\r\n\t\x7f\xff\\\xc2\x9b\xe2\x80\xae\xef\xbb\xbf\xc3\xa4"));
    check(out, "a\\x00\\x1b[31m\\x0d\\x0a\\x09\\x7f\\xff\\\\\\u{9b}\\u{202e}\\u{feff}\xc3\xa4");
}

static void durations_and_sizes_read_well(void **state)
{
    char text[TEXT_SMALL];

    (void)state;
    assert_string_equal(text_duration(text, 0), "0 ms");
    assert_string_equal(text_duration(text, 999), "999 ms");
    assert_string_equal(text_duration(text, 1000), "1 s");
    assert_string_equal(text_duration(text, 59999), "59.9 s");
    assert_string_equal(text_duration(text, 60000), "1 min 0 s");
    assert_string_equal(text_duration(text, 3600000), "1 h 0 min");
    assert_string_equal(text_duration(text, 90000000), "1 d 1 h");
    assert_string_equal(text_size(text, 1023), "1023 B");
    assert_string_equal(text_size(text, 1536), "1.5 KiB");
    assert_string_equal(text_size(text, UINT64_MAX), "16.0 EiB");
}

static void later_rows_are_aligned_with_cleared_ones(void **state)
{
    FILE *out = capture();
    struct grid grid;

    (void)state;
    grid_init(&grid, 3);
    grid_add(&grid, (const char *[]){"a long one", "1", "x"});
    grid_print(&grid, out, "> ", 1 << 1);
    grid_clear(&grid);
    grid_add(&grid, (const char *[]){"\xc3\xa4", "1234", NULL});
    grid_print(&grid, out, "> ", 1 << 1);
    grid_deinit(&grid);
    check(out, "> a long one  1  x\n> \xc3\xa4           1234\n");
}

static void durations_have_units_and_versions_are_plain_numbers(void **state)
{
    const char *const bad[] = {
        "",    "5",  "-1s", "1e3s", "1.5s", "5 s", "5S", "s", "18446744073709551616ms", "9223372036855ms",
        " 5s", "5sx"};
    uint64_t value;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(parse_duration_ms(bad[i], &value));
    assert_true(parse_duration_ms("0", &value) && value == 0);
    assert_true(parse_duration_ms("500ms", &value) && value == 500);
    assert_true(parse_duration_ms("2h", &value) && value == 7200000);
    assert_true(parse_version("9223372036854775807", &value) && value == INT64_MAX);
    assert_false(parse_version("9223372036854775808", &value));
    assert_false(parse_version("0", &value));
    assert_false(parse_version("0x1", &value));
    assert_false(parse_version("+1", &value));
}

static void a_write_id_is_read_as_it_is_printed(void **state)
{
    uint8_t id[16], again[16];
    char text[33];

    (void)state;
    for (unsigned i = 0; i < 16; i++)
        id[i] = (uint8_t)(i * 17);
    format_write_id(id, text);
    assert_string_equal(text, "00112233445566778899aabbccddeeff");
    assert_true(parse_write_id(text, again));
    assert_memory_equal(id, again, 16);
    assert_false(parse_write_id("00112233445566778899aabbccddeef", again));
    assert_false(parse_write_id("00112233445566778899aabbccddeefg", again));
}

static void a_map_without_the_key_or_cut_short_gives_empty_values(void **state)
{
    /* {"a": 7, 5: nil, "b": true, "c": {"d": "x"}} */
    static const char bytes[] = "\x84\xa1\x61\x07\x05\xc0\xa1\x62\xc3\xa1\x63\x81\xa1\x64\xa1\x78";
    struct slice map = BYTES(bytes);

    (void)state;
    assert_int_equal(map_uint(map, "a"), 7);
    assert_true(map_bool(map, "b"));
    assert_int_equal(map_bytes(map_map(map, "c"), "d").len, 1);
    assert_false(map_has(map, "x"));
    assert_int_equal(map_uint(map, "b"), 0);
    assert_false(map_bool(map, "a"));
    for (size_t len = 0; len < map.len; len++) {
        struct slice cut = slice_of(map.data, len);

        assert_int_equal(map_bytes(map_map(cut, "c"), "d").len, 0);
    }
}

static void every_answer_is_rendered_without_harm(void **state)
{
    /* What is no map at all, and maps that say nothing. */
    static const char *const answers[] = {
        "", "\xc0", "\x80", "\x90", "\x81\xa6\x63\x61\x63hed\x07", "\xdf\xff\xff\xff\xff"};

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct slice answer = slice_text(answers[i]);
        FILE *out = capture();

        inspect_render(out, answer, 0, true);
        status_render(out, answer, true);
        stats_render(out, answer);
        event_render(out, answer, "");
        trace_render(out, answer, 0);
        fclose(out);
        assert_true(memory_len > 0);
        free(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_escaped_and_separated),
        cmocka_unit_test(base64_is_padded),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(nothing_that_steers_a_terminal_gets_through),
        cmocka_unit_test(durations_and_sizes_read_well),
        cmocka_unit_test(later_rows_are_aligned_with_cleared_ones),
        cmocka_unit_test(durations_have_units_and_versions_are_plain_numbers),
        cmocka_unit_test(a_write_id_is_read_as_it_is_printed),
        cmocka_unit_test(a_map_without_the_key_or_cut_short_gives_empty_values),
        cmocka_unit_test(every_answer_is_rendered_without_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
