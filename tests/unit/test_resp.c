/* RESP in any pieces: what is well-formed and small comes through, nothing else does. */
#include "tests/unit/exact.h"

#include <stdio.h>

#include "daemon/redis/resp.h"

#define BULK_MAX 100

struct outcome {
    int result;
    unsigned replies;
    char last[256]; /* the last reply, flattened */
};

static void flatten(const redisReply *reply, char *ret, size_t len)
{
    size_t used = strlen(ret);

    if (reply->type == REDIS_REPLY_ARRAY) {
        snprintf(ret + used, len - used, "[");
        for (size_t i = 0; i < reply->elements; i++)
            flatten(reply->element[i], ret, len);
        used = strlen(ret);
        snprintf(ret + used, len - used, "]");
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        snprintf(ret + used, len - used, "%lld,", reply->integer);
    } else if (reply->type == REDIS_REPLY_NIL) {
        snprintf(ret + used, len - used, "nil,");
    } else {
        snprintf(ret + used, len - used, "%.*s,", (int)reply->len, reply->str);
    }
}

static void collect(struct resp_reader *resp, struct outcome *o)
{
    redisReply *reply;

    for (;;) {
        assert_int_equal(resp_next(resp, &reply), RESP_OK); /* what the scan lets through, the reader takes */
        if (!reply)
            return;
        o->replies++;
        o->last[0] = '\0';
        flatten(reply, o->last, sizeof(o->last));
        freeReplyObject(reply);
    }
}

/* piece 0: all at once. */
static struct outcome feed(const char *text, size_t len, size_t piece)
{
    struct outcome o = {RESP_OK};
    struct resp_reader resp;

    assert_int_equal(resp_init(&resp, BULK_MAX), 0);
    for (size_t at = 0; at < len && o.result == RESP_OK;) {
        size_t n = piece == 0 || piece > len - at ? len - at : piece;
        struct slice part = exact_copy(text + at, n);

        o.result = resp_feed(&resp, part);
        collect(&resp, &o);
        exact_free(part);
        at += n;
    }
    resp_deinit(&resp);
    return o;
}

#define WELL_FORMED                                                            \
    "+OK\r\n:42\r\n$5\r\nhe\r\no\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n-ERR no\r\n" \
    "*2\r\n*1\r\n:-1\r\n*2\r\n$1\r\na\r\n*0\r\n"

static void replies_come_through_in_any_pieces(void **state)
{
    (void)state;
    for (size_t piece = 0; piece <= sizeof(WELL_FORMED); piece++) {
        struct outcome o = feed(WELL_FORMED, sizeof(WELL_FORMED) - 1, piece);

        assert_int_equal(o.result, RESP_OK);
        assert_int_equal(o.replies, 9);
        assert_string_equal(o.last, "[[-1,][a,[]]]");
    }
}

static void malformed_bytes_are_refused(void **state)
{
    static const char *const bad[] = {
        "x",
        "\r\n",
        "$x\r\n",
        "$-2\r\n",
        "$1x\r\n",
        "$1\r\nab\r\n",
        "$1\n",
        "*-2\r\n",
        "*x\r\n",
        ":\r\n",
        ":1.5\r\n",
        ":--1\r\n",
        ":1\rx",
        "*\r\n",
        "$+1\r\n",
        "$ 1\r\n",
        "*16385\r\n",
        ":9223372036854775808\r\n",
        "*2147483647\r\n",
        "*4294967296\r\n",
        ":11111111111111111111111111111111",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        "%1\r\n",
        "_\r\n",
        "#t\r\n",
        ">1\r\n",
        "$1\r\na\rx",
        "$01\r\n",
        ":-0\r\n",
        "+a\rb\r\n",
        "+a\r\r\n",
        "-a\nb\r\n",
        "-\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(feed(bad[i], strlen(bad[i]), 0).result, RESP_MALFORMED);
        assert_int_equal(feed(bad[i], strlen(bad[i]), 1).result, RESP_MALFORMED);
    }
}

static void a_string_longer_than_the_limit_becomes_a_nil(void **state)
{
    char text[1024];
    int len = snprintf(text, sizeof(text), "*3\r\n$1\r\na\r\n$300\r\n%0300d\r\n$1\r\nb\r\n+OK\r\n", 7);

    (void)state;
    for (size_t piece = 0; piece < 40; piece++) {
        struct outcome o = feed(text, (size_t)len - 5, piece);

        assert_int_equal(o.result, RESP_OK);
        assert_string_equal(o.last, "[a,nil,b,]");
        assert_string_equal(feed(text, (size_t)len, piece).last, "OK,");
    }
    assert_int_equal(feed("$9223372036854775807\r\nabc", 26, 0).result, RESP_OK);
    assert_int_equal(feed("$9223372036854775807\r\nabc", 26, 1).replies, 1);
}

static void a_reply_of_too_many_parts_is_refused(void **state)
{
    struct resp_reader resp;
    int r = RESP_OK;

    (void)state;
    assert_int_equal(resp_init(&resp, BULK_MAX), 0);
    for (int outer = 0; outer < 16384 && r == RESP_OK; outer++) {
        r = resp_feed(&resp, slice_text(outer == 0 ? "*16384\r\n*10\r\n" : "*10\r\n"));
        for (int i = 0; i < 10 && r == RESP_OK; i++)
            r = resp_feed(&resp, slice_text(":1\r\n"));
    }
    assert_int_equal(r, RESP_MALFORMED);
    resp_deinit(&resp);
}

static void an_endless_line_is_refused(void **state)
{
    struct resp_reader resp;
    int r = resp_init(&resp, BULK_MAX);

    (void)state;
    r = r == 0 ? resp_feed(&resp, slice_text("+")) : r;
    for (int i = 0; i <= RESP_LINE_MAX && r == RESP_OK; i++)
        r = resp_feed(&resp, slice_text("x"));
    assert_int_equal(r, RESP_MALFORMED);
    resp_deinit(&resp);
}

static void pieces_never_matter_to_mutated_bytes(void **state)
{
    char text[sizeof(WELL_FORMED)];
    unsigned seed = 7;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct outcome whole, pieces;

        memcpy(text, WELL_FORMED, sizeof(text));
        for (int i = 0; i < 2; i++) {
            seed = seed * 1103515245u + 12345u;
            text[(seed >> 16) % (sizeof(text) - 1)] = "0123456789$*:+-\r\nxa"[(seed >> 8) % 19];
        }
        whole = feed(text, sizeof(text) - 1, 0);
        pieces = feed(text, sizeof(text) - 1, 1 + (seed >> 24) % 5);
        assert_int_equal(whole.result, pieces.result);
        assert_int_equal(whole.replies, pieces.replies);
        assert_string_equal(whole.last, pieces.last);
    }
}

static enum reply_status status_of(const char *text)
{
    redisReply reply = {.type = REDIS_REPLY_ERROR, .str = (char *)(uintptr_t)text, .len = strlen(text)};

    return reply_error_status(&reply);
}

static void errors_before_execution_are_definite_and_no_others(void **state)
{
    (void)state;
    assert_int_equal(status_of("LOADING Redis is loading the dataset in memory"), REPLY_DEFINITE);
    assert_int_equal(status_of("NOAUTH Authentication required."), REPLY_DEFINITE);
    assert_int_equal(status_of("BUSY Redis is busy running a script."), REPLY_DEFINITE);
    assert_int_equal(status_of("OOM"), REPLY_DEFINITE);
    assert_int_equal(status_of("OOMPH"), REPLY_UNKNOWN);
    assert_int_equal(status_of("ERR whatever"), REPLY_UNKNOWN);
    assert_int_equal(status_of(""), REPLY_UNKNOWN);
    assert_int_equal(status_of("OOM command not allowed when used memory > 'maxmemory'. script: 0a9f, on "
                               "@user_script:1."),
                     REPLY_UNKNOWN);
    assert_int_equal(status_of("READONLY no. script: 0a9f, on @user_script:1."), REPLY_UNKNOWN);
}

static void commands_are_put_together_as_arrays_of_strings(void **state)
{
    static const char expected[] = "*4\r\n$3\r\nGET\r\n$3\r\na\0b\r\n$0\r\n\r\n$20\r\n18446744073709551615\r\n";
    struct buffer b = BUFFER_INIT;

    (void)state;
    resp_command(&b, 4);
    resp_argument_text(&b, "GET");
    resp_argument_pair(&b, slice_of("a", 2), slice_text("b"));
    resp_argument(&b, slice_of(NULL, 0));
    resp_argument_number(&b, UINT64_MAX);
    assert_true(slice_equal(slice_of(b.data, b.len), slice_of(expected, sizeof(expected) - 1)));
    buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_come_through_in_any_pieces),
        cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(a_string_longer_than_the_limit_becomes_a_nil),
        cmocka_unit_test(a_reply_of_too_many_parts_is_refused),
        cmocka_unit_test(an_endless_line_is_refused),
        cmocka_unit_test(pieces_never_matter_to_mutated_bytes),
        cmocka_unit_test(errors_before_execution_are_definite_and_no_others),
        cmocka_unit_test(commands_are_put_together_as_arrays_of_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
