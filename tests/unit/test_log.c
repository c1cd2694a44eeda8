#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/host/log.h"

#define SECOND UINT64_C(1000000000)

static char line[LOG_LINE_MAX + 1];

static const char *format_fields(const struct log_field *fields, size_t count, uint64_t suppressed)
{
    size_t len = log_format(line, true, 0, LOG_LEVEL_INFO, "m", fields, count, suppressed);
    assert_true(len <= LOG_LINE_MAX);
    line[len] = '\0';
    return line;
}

/* The value of a field as it is printed in a line. */
static const char *printed(const void *bytes, size_t len)
{
    struct log_field field = LOG_SLICE("k", slice_of(bytes, len));
    const char *text = format_fields(&field, 1, 0);
    assert_memory_equal(text, "<6>info m k=", 12);
    assert_int_equal(text[strlen(text) - 1], '\n');
    line[strlen(text) - 1] = '\0';
    return text + 12;
}

static const char *printed_text(const char *text)
{
    return printed(text, strlen(text));
}

static void a_line_has_level_message_and_fields(void **state)
{
    (void)state;
    const struct log_field fields[] = {LOG_TEXT("key", "user:1"), LOG_UINT("version", UINT64_MAX),
                                       LOG_INT("r", -5), LOG_RAW("link=data state=up"), LOG_TEXT("none", NULL)};
    size_t len =
        log_format(line, false, 1700000000123456789u, LOG_LEVEL_WARNING, "STALE DATA REJECTED", fields, 5, 3);
    line[len] = '\0';
    assert_string_equal(line, "2023-11-14T22:13:20.123Z warning STALE DATA REJECTED key=user:1 "
                              "version=18446744073709551615 r=-5 link=data state=up none=\"\" suppressed=3\n");
}

static void the_journal_gets_a_priority_and_no_time(void **state)
{
    (void)state;
    static const char *const expected[] = {"<3>error m\n", "<4>warning m\n", "<6>info m\n", "<7>debug m\n"};
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        size_t len = log_format(line, true, 5, (enum log_level)level, "m", NULL, 0, 0);
        line[len] = '\0';
        assert_string_equal(line, expected[level]);
    }
}

static void values_are_quoted_and_escaped_where_they_have_to_be(void **state)
{
    (void)state;
    assert_string_equal(printed_text("plain-1.2:/x"), "plain-1.2:/x");
    assert_string_equal(printed_text(""), "\"\"");
    assert_string_equal(printed_text("a b"), "\"a b\"");
    assert_string_equal(printed_text("a=b"), "\"a=b\"");
    assert_string_equal(printed_text("a\"b\\"), "\"a\\\"b\\\\\"");
    assert_string_equal(printed_text("a\nb\r\t"), "\"a\\nb\\r\\t\"");
    assert_string_equal(printed("\0x", 2), "\"\\x00x\"");
    assert_string_equal(printed_text("caf\xc3\xa9"), "caf\xc3\xa9");
    assert_string_equal(printed_text("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80");
}

static void terminal_escapes_and_invalid_text_never_come_out_raw(void **state)
{
    (void)state;
    assert_string_equal(printed_text("\x1b[31mred"), "\"\\x1b[31mred\"");
    assert_string_equal(printed_text("\x7f"), "\"\\x7f\"");
    assert_string_equal(printed_text("\xc2\x9b"
                                     "31m"),
                        "\"\\xc2\\x9b31m\""); /* CSI as UTF-8 */
    assert_string_equal(printed_text("\xe2\x80\xae"
                                     "gpj"),
                        "\"\\xe2\\x80\\xaegpj\"");                            /* right-to-left */
    assert_string_equal(printed_text("\xff\xc0\xaf"), "\"\\xff\\xc0\\xaf\""); /* overlong / */
    assert_string_equal(printed_text("\xe0\x80\xaf"), "\"\\xe0\\x80\\xaf\"");
    assert_string_equal(printed_text("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"");          /* a surrogate */
    assert_string_equal(printed_text("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\""); /* above U+10FFFF */
    assert_string_equal(printed_text("\xe2\x82"), "\"\\xe2\\x82\"");                   /* cut off */
}

static void every_byte_in_every_place_gives_one_clean_line(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t raw[] = {'x', (uint8_t)byte, 'y', 0};
        char message[] = {'m', (char)(byte ? byte : 1), 0};
        const struct log_field fields[] = {LOG_SLICE("k", slice_of(raw, 3)), LOG_RAW(byte ? (char *)raw : "")};
        size_t len = log_format(line, true, 0, LOG_LEVEL_INFO, message, fields, 2, 0);
        for (size_t i = 0; i < len; i++)
            assert_true((line[i] >= 0x20 && line[i] < 0x7f) || (line[i] == '\n' && i == len - 1));
    }
}

static void long_values_and_lines_are_cut_visibly(void **state)
{
    (void)state;
    uint8_t value[5000];
    memset(value, 'v', sizeof value);
    const char *text = printed(value, sizeof value);
    assert_true(strlen(text) < 300);
    assert_string_equal(text + strlen(text) - 4, "v...");

    memset(value, '\n', sizeof value);
    text = printed(value, sizeof value);
    assert_string_equal(text + strlen(text) - 6, "\\n...\"");

    struct log_field fields[20];
    for (size_t i = 0; i < 20; i++)
        fields[i] = LOG_SLICE("k", slice_of(value, sizeof value));
    text = format_fields(fields, 20, UINT64_MAX);
    assert_non_null(strstr(text, "... suppressed=18446744073709551615\n"));
}

static void a_burst_passes_then_the_rate_and_the_count_is_said(void **state)
{
    (void)state;
    struct log log;
    uint64_t suppressed, now = 100 * SECOND;
    log_init(&log, -1, LOG_LEVEL_INFO, NULL);
    for (int i = 0; i < LOG_BURST; i++)
        assert_true(log_admit(&log, now, "flood", &suppressed));
    for (int i = 0; i < 7; i++)
        assert_false(log_admit(&log, now, "flood", &suppressed));
    assert_true(log_admit(&log, now, "another kind", &suppressed));
    assert_false(log_admit(&log, now + SECOND / LOG_RATE - 1, "flood", &suppressed));
    assert_true(log_admit(&log, now + SECOND / LOG_RATE, "flood", &suppressed));
    assert_int_equal(suppressed, 8);
    assert_int_equal(log.suppressed_total, 8);
    assert_false(log_admit(&log, now + SECOND / LOG_RATE, "flood", &suppressed));
    /* Time that goes back gives no tokens; a long silence gives a burst, not more. */
    assert_false(log_admit(&log, 0, "flood", &suppressed));
    for (int i = 0; i < LOG_BURST; i++)
        assert_true(log_admit(&log, now + 1000000 * SECOND, "flood", &suppressed));
    assert_false(log_admit(&log, now + 1000000 * SECOND, "flood", &suppressed));
}

static void more_kinds_than_buckets_share_one(void **state)
{
    (void)state;
    struct log log;
    uint64_t suppressed;
    unsigned admitted = 0;
    log_init(&log, -1, LOG_LEVEL_INFO, NULL);
    for (int i = 0; i < 10 * LOG_KINDS; i++) {
        char message[32];
        snprintf(message, sizeof message, "kind %d", i);
        admitted += log_admit(&log, 0, message, &suppressed);
    }
    assert_int_equal(admitted, LOG_KINDS + LOG_BURST);
}

/* Reads what was logged through a socket pair; "" when nothing was. */
static const char *received(int fd)
{
    static char text[LOG_LINE_MAX + 1];
    ssize_t len = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

static void a_level_that_is_not_wanted_is_not_even_evaluated(void **state)
{
    (void)state;
    int fds[2], evaluated = 0;
    struct log log;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    log_init(&log, fds[0], LOG_LEVEL_INFO, NULL);
    log_event(&log, 0, LOG_LEVEL_DEBUG, "m", LOG_INT("x", ++evaluated));
    assert_string_equal(received(fds[1]), "");
    log_event(&log, 0, LOG_LEVEL_INFO, "m", LOG_INT("x", ++evaluated));
    assert_non_null(strstr(received(fds[1]), "Z info m x=1\n"));
    log_line(&log, 0, LOG_LEVEL_ERROR, "alone");
    assert_non_null(strstr(received(fds[1]), "Z error alone\n"));
    close(fds[0]);
    close(fds[1]);
}

static void the_journal_is_recognised_by_device_and_inode(void **state)
{
    (void)state;
    int fds[2];
    struct stat st;
    struct log log;
    char stream[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fstat(fds[0], &st), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    log_init(&log, fds[0], LOG_LEVEL_INFO, stream);
    assert_true(log.journal);
    log_line(&log, 0, LOG_LEVEL_WARNING, "m");
    assert_string_equal(received(fds[1]), "<4>warning m\n");
    log_init(&log, fds[0], LOG_LEVEL_INFO, "1:1");
    assert_false(log.journal);
    log_init(&log, fds[0], LOG_LEVEL_INFO, NULL);
    assert_false(log.journal);
    close(fds[0]);
    close(fds[1]);
}

static void a_reader_that_does_not_read_never_blocks_the_writer(void **state)
{
    (void)state;
    int fds[2];
    struct log log;
    char drain[65536];
    assert_int_equal(pipe(fds), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) > 0);
    log_init(&log, fds[1], LOG_LEVEL_DEBUG, NULL);
    for (int i = 0; i < 1000; i++) /* 40 KiB into 4 KiB; an alarm ends the test if this blocks */
        log_line(&log, 0, LOG_LEVEL_DEBUG, "into a full pipe");
    assert_true(log.suppressed_total > 0);
    assert_true(read(fds[0], drain, sizeof drain) > 0);
    log_line(&log, 0, LOG_LEVEL_INFO, "into a full pipe");
    ssize_t len = read(fds[0], drain, sizeof drain - 1);
    assert_true(len > 0);
    drain[len] = '\0';
    char expected[64];
    snprintf(expected, sizeof expected, "info into a full pipe suppressed=%u\n", (unsigned)log.suppressed_total);
    assert_non_null(strstr(drain, expected));
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_level_message_and_fields),
        cmocka_unit_test(the_journal_gets_a_priority_and_no_time),
        cmocka_unit_test(values_are_quoted_and_escaped_where_they_have_to_be),
        cmocka_unit_test(terminal_escapes_and_invalid_text_never_come_out_raw),
        cmocka_unit_test(every_byte_in_every_place_gives_one_clean_line),
        cmocka_unit_test(long_values_and_lines_are_cut_visibly),
        cmocka_unit_test(a_burst_passes_then_the_rate_and_the_count_is_said),
        cmocka_unit_test(more_kinds_than_buckets_share_one),
        cmocka_unit_test(a_level_that_is_not_wanted_is_not_even_evaluated),
        cmocka_unit_test(the_journal_is_recognised_by_device_and_inode),
        cmocka_unit_test(a_reader_that_does_not_read_never_blocks_the_writer),
    };
    alarm(20);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
