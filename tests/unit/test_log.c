#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/host/log.h"

#define SECOND UINT64_C(1000000000)

static char line[LOG_LINE_MAX + 1];

static size_t format_line(enum log_start start, uint64_t wall_ns, enum log_level level, const char *message,
                          const struct log_field *fields, size_t count, uint64_t suppressed)
{
    return log_format_text(line, start,
                           &(struct log_entry){.wall_ns = wall_ns,
                                               .level = level,
                                               .message = message,
                                               .fields = fields,
                                               .count = count,
                                               .suppressed = suppressed});
}

static const char *format_fields(const struct log_field *fields, size_t count, uint64_t suppressed)
{
    size_t len = format_line(LOG_START_PRIORITY, 0, LOG_LEVEL_INFO, "m", fields, count, suppressed);
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
        format_line(LOG_START_TIME, 1700000000123456789u, LOG_LEVEL_WARNING, "STALE DATA REJECTED", fields, 5, 3);
    line[len] = '\0';
    assert_string_equal(line, "2023-11-14T22:13:20.123Z warning STALE DATA REJECTED key=user:1 "
                              "version=18446744073709551615 r=-5 link=data state=up none=\"\" suppressed=3\n");
}

static void the_journal_gets_a_priority_and_no_time(void **state)
{
    (void)state;
    static const char *const expected[] = {"<3>error m\n", "<4>warning m\n", "<6>info m\n", "<7>debug m\n"};
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        size_t len = format_line(LOG_START_PRIORITY, 5, (enum log_level)level, "m", NULL, 0, 0);
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
        size_t len = format_line(LOG_START_PRIORITY, 0, LOG_LEVEL_INFO, message, fields, 2, 0);
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

    /* Quoted, and filled to the last byte. */
    memset(value, ' ', sizeof value);
    text = printed(value, sizeof value);
    assert_string_equal(text + strlen(text) - 5, " ...\"");

    struct log_field fields[20];
    for (size_t i = 0; i < 20; i++)
        fields[i] = LOG_SLICE("k", slice_of(value, sizeof value));
    text = format_fields(fields, 20, UINT64_MAX);
    assert_non_null(strstr(text, "... suppressed=18446744073709551615\n"));
}

/* ---- JSON and the journal --------------------------------------------------------------------------------- */

static char json[LOG_JSON_MAX + 1];

static const char *format_json(const char *message, const struct log_field *fields, size_t count,
                               uint64_t suppressed)
{
    struct log_entry entry = {.wall_ns = 1700000000123456789u,
                              .level = LOG_LEVEL_WARNING,
                              .message = message,
                              .fields = fields,
                              .count = count,
                              .suppressed = suppressed};
    size_t len = log_format_json(json, &entry);
    assert_true(len <= LOG_JSON_MAX);
    assert_int_equal(json[len - 1], '\n');
    json[len - 1] = '\0';
    return json;
}

/* One object; strings, numbers and true only. Returns what follows. */
static const char *skip_json(const char *c)
{
    if (*c == '{') {
        if (*++c == '}')
            return c + 1;
        for (;;) {
            assert_int_equal(*c, '"');
            c = skip_json(c);
            assert_int_equal(*c++, ':');
            c = skip_json(c);
            if (*c == '}')
                return c + 1;
            assert_int_equal(*c++, ',');
        }
    }
    if (*c == '"') {
        for (c++; *c != '"'; c++) {
            assert_true((unsigned char)*c >= 0x20);
            if (*c != '\\')
                continue;
            c++;
            for (int i = 0; *c == 'u' && i < 4; i++)
                assert_non_null(strchr("0123456789abcdef", c[1 + i]));
            assert_non_null(strchr("u\"\\", *c));
        }
        return c + 1;
    }
    if (strncmp(c, "true", 4) == 0)
        return c + 4;
    assert_true(*c == '-' || (*c >= '0' && *c <= '9'));
    return c + strspn(c, "-0123456789");
}

static void json_has_time_level_message_and_fields(void **state)
{
    (void)state;
    const struct log_field fields[] = {LOG_TEXT("key", "user:\"1\\\n"),
                                       LOG_UINT("version", UINT64_MAX),
                                       LOG_INT("r", -5),
                                       LOG_RAW("link=data"),
                                       LOG_RAW(""),
                                       LOG_SLICE("other", slice_of("\xff\x00g", 3)),
                                       LOG_TEXT("none", NULL)};
    assert_string_equal(format_json("STALE DATA REJECTED", fields, 7, 3),
                        "{\"time\":\"2023-11-14T22:13:20.123456789Z\",\"level\":\"warning\","
                        "\"message\":\"STALE DATA REJECTED\",\"fields\":{\"key\":\"user:\\\"1\\\\\\u000a\","
                        "\"version\":18446744073709551615,\"r\":-5,\"detail\":\"link=data\","
                        "\"other_base64\":\"/wBn\",\"none\":\"\"},\"suppressed\":3}");
}

static void json_is_valid_for_any_bytes_and_any_number_of_them(void **state)
{
    (void)state;
    uint8_t raw[600];
    uint64_t random = 1;
    for (int round = 0; round < 20000; round++) {
        size_t len = round % sizeof raw;
        for (size_t i = 0; i < len; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            raw[i] = round % 3 ? (uint8_t)(random >> 33) : (uint8_t)((random >> 33) & 0x7f);
        }
        struct log_field fields[8];
        for (size_t i = 0; i < 8; i++)
            fields[i] = LOG_SLICE("k", slice_of(raw, len));
        assert_string_equal(skip_json(format_json("m", fields, 1 + round % 8, UINT64_MAX)), "");
        for (const char *c = json; *c; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static void json_says_what_was_cut(void **state)
{
    (void)state;
    uint8_t long_text[400];
    memset(long_text, '\n', sizeof long_text);
    struct log_field fields[4];
    for (size_t i = 0; i < 4; i++)
        fields[i] = LOG_SLICE("k", slice_of(long_text, sizeof long_text));
    assert_non_null(strstr(format_json("m", fields, 1, 0), "\\u000a\",\"k_bytes\":400}}"));
    assert_non_null(strstr(format_json("m", fields, 4, 1), "},\"truncated\":true,\"suppressed\":1}"));
    /* Never in the middle of a character. */
    for (size_t i = 0; i < sizeof long_text; i++)
        long_text[i] = i % 2 == 1 ? 0xc3 : 0xa9;
    long_text[0] = 'a';
    fields[0].bytes.len--;
    assert_non_null(strstr(format_json("m", fields, 1, 0), "\xc3\xa9\",\"k_bytes\""));
}

static void the_journal_gets_each_field_with_its_own_bytes(void **state)
{
    (void)state;
    static char data[LOG_JOURNAL_MAX];
    const struct log_field fields[] = {LOG_SLICE("key", slice_of("a\nb\0c", 5)), LOG_UINT("version", 7),
                                       LOG_INT("r", -5), LOG_RAW("link=data")};
    struct log_entry entry = {
        .level = LOG_LEVEL_ERROR, .message = "m", .fields = fields, .count = 4, .suppressed = 2};
    static const char expected[] = "MESSAGE=m key=\"a\\nb\\x00c\" version=7 r=-5 link=data suppressed=2\n"
                                   "PRIORITY=3\nSYSLOG_IDENTIFIER=dcached\nDCACHED_EVENT=m\nDCACHED_SUPPRESSED=2\n"
                                   "DCACHED_KEY\n\5\0\0\0\0\0\0\0a\nb\0c\nDCACHED_VERSION=7\nDCACHED_R=-5\n"
                                   "DCACHED_DETAIL=link=data\n";
    size_t len = log_format_journal(data, &entry);
    assert_int_equal(len, sizeof expected - 1);
    assert_memory_equal(data, expected, len);

    static uint8_t large[LOG_JOURNAL_MAX];
    const struct log_field cut[] = {LOG_SLICE("key", slice_of(large, sizeof large)), LOG_UINT("version", 7)};
    entry.fields = cut;
    entry.count = 2;
    len = log_format_journal(data, &entry);
    assert_true(len < LOG_JOURNAL_MAX);
    data[len] = '\0';
    assert_non_null(strstr(data, "DCACHED_VERSION=7\nDCACHED_TRUNCATED=1\n"));
}

static int journal_at(struct sockaddr_un *address, const char *path)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(address->sun_path, path);
    unlink(path);
    assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    return fd;
}

static void a_journal_that_is_away_gives_lines_and_a_full_one_is_counted(void **state)
{
    (void)state;
    char dir[] = "/tmp/dcached-log-XXXXXX", path[64], got[LOG_LINE_MAX];
    struct sockaddr_un address;
    int fds[2];
    struct log log;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    log_init(&log, fds[1], LOG_LEVEL_DEBUG, NULL);
    log_set_format(&log, LOG_FORMAT_AUTO, path);
    assert_int_equal(log.format, LOG_FORMAT_TEXT);
    log_set_format(&log, LOG_FORMAT_JOURNAL, path);
    log_line(&log, 0, LOG_LEVEL_INFO, "away");
    assert_true(read(fds[0], got, sizeof got) > 0);
    int journal = journal_at(&address, path);
    log_line(&log, 0, LOG_LEVEL_INFO, "there");
    assert_int_equal(read(fds[0], got, sizeof got), -1);
    ssize_t len = recv(journal, got, sizeof got, 0);
    assert_true(len > 13 && memcmp(got, "MESSAGE=there\n", 14) == 0);
    assert_int_equal(log.suppressed_total, 0);
    for (int i = 0; i < 10000; i++)
        log_line(&log, 0, LOG_LEVEL_DEBUG, "more than fits");
    assert_true(log.suppressed_total > 0);
    close(journal);
    journal = journal_at(&address, path); /* started again */
    log_line(&log, 0, LOG_LEVEL_INFO, "there again");
    assert_true(recv(journal, got, sizeof got, 0) > 0);
    close(journal);
    unlink(path);
    rmdir(dir);
    log_deinit(&log);
    close(fds[0]);
    close(fds[1]);
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
        cmocka_unit_test(json_has_time_level_message_and_fields),
        cmocka_unit_test(json_is_valid_for_any_bytes_and_any_number_of_them),
        cmocka_unit_test(json_says_what_was_cut),
        cmocka_unit_test(the_journal_gets_each_field_with_its_own_bytes),
        cmocka_unit_test(a_journal_that_is_away_gives_lines_and_a_full_one_is_counted),
    };
    alarm(20);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
