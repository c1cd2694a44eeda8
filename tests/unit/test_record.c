/* Texts of records, messages and meta: what is written is read back, and nothing else is believed. */
#include "tests/unit/exact.h"

#include <stdio.h>

#include "daemon/redis/record.h"

static const struct record sample = {
    .kind = RECORD_VALUE,
    .version = INT64_MAX,
    .seq = UINT64_C(9007199254740993),
    .timestamp_ns = UINT64_C(1763800000123456789),
    .expiry_ms = UINT64_C(1763800060123),
    .source = {(const uint8_t *)"pod-7", 5},
    .value = {(const uint8_t *)"a\0value", 7},
    .write_id = {0, 1, 2, 0xff, 0x80},
};

static void assert_same(const struct record *a, const struct record *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(a->version == b->version && a->seq == b->seq);
    assert_true(a->timestamp_ns == b->timestamp_ns && a->expiry_ms == b->expiry_ms);
    assert_true(slice_equal(a->source, b->source));
    assert_true(slice_equal(a->value, b->value));
    assert_memory_equal(a->write_id, b->write_id, WRITE_ID_BYTES);
}

static struct slice encoded(const struct record *record)
{
    struct buffer b = BUFFER_INIT;
    struct slice text;

    record_encode(record, &b);
    text = exact_copy(b.data, b.len);
    buffer_deinit(&b);
    return text;
}

static struct slice encoded_message(const struct message *message)
{
    struct buffer b = BUFFER_INIT;
    struct slice text;

    message_encode(message, &b);
    text = exact_copy(b.data, b.len);
    buffer_deinit(&b);
    return text;
}

static struct message sample_message(void)
{
    struct message m = {.kind = MESSAGE_RECORD, .key = slice_text("key"), .record = sample, .ttl_ms = 60000};

    memset(m.epoch.text, 'e', 32);
    return m;
}

static void a_record_is_read_back(void **state)
{
    struct record r = sample, back;
    struct slice text = encoded(&r);

    (void)state;
    assert_int_equal(text.len, RECORD_HEADER_BYTES + 5 + 7);
    assert_null(record_decode(text, &back));
    assert_same(&r, &back);
    exact_free(text);
}

static void a_head_is_read_without_its_value(void **state)
{
    struct slice text = encoded(&sample), head = exact_copy(text.data, RECORD_HEADER_BYTES + 5);
    struct record back, expected = sample;

    (void)state;
    expected.value = slice_of(NULL, 0);
    assert_null(record_decode_head(head, &back));
    assert_same(&expected, &back);
    exact_free(head);
    assert_null(record_decode_head(text, &back));
    assert_same(&expected, &back);
    exact_free(text);
}

static void a_tombstone_has_no_value(void **state)
{
    struct record r = sample, back;
    struct slice text, longer;

    (void)state;
    r.kind = RECORD_TOMBSTONE;
    r.value.len = 0;
    text = encoded(&r);
    assert_null(record_decode(text, &back));
    assert_same(&r, &back);
    longer = exact_copy(text.data, text.len);
    longer.data = realloc((void *)longer.data, ++longer.len);
    ((uint8_t *)longer.data)[longer.len - 1] = 'x';
    assert_non_null(record_decode(longer, &back));
    exact_free(longer);
    exact_free(text);
}

static void a_bare_record_stands_only_in_messages(void **state)
{
    struct message m = sample_message(), back;
    struct slice text, record;
    struct record r;

    (void)state;
    m.record.kind = RECORD_BARE;
    m.record.value.len = 0;
    text = encoded_message(&m);
    assert_null(message_decode(text, &back));
    assert_same(&m.record, &back.record);
    exact_free(text);
    record = encoded(&m.record);
    assert_non_null(record_decode(record, &r));
    assert_non_null(record_decode_head(record, &r));
    exact_free(record);
}

static void every_cut_before_the_value_is_an_error(void **state)
{
    struct slice text = encoded(&sample);
    struct record back;

    (void)state;
    for (size_t len = 0; len < RECORD_HEADER_BYTES + 5; len++) {
        struct slice cut = exact_copy(text.data, len);

        assert_non_null(record_decode(cut, &back));
        assert_non_null(record_decode_head(cut, &back));
        exact_free(cut);
    }
    exact_free(text);
}

/* Digits, hexadecimal digits and the flag: no byte of the header may be anything else. */
static void a_foreign_byte_anywhere_in_the_header_is_an_error(void **state)
{
    static const char foreign[] = {'g', ' ', '-', '+', '/', ':', '\0', '\n', 'F', 'x', '.', 'e' + 2};
    struct slice text = encoded(&sample);
    uint8_t *bytes = (uint8_t *)text.data;
    struct record back;

    (void)state;
    for (size_t at = 0; at < RECORD_HEADER_BYTES; at++) {
        uint8_t kept = bytes[at];

        for (size_t i = 0; i < sizeof(foreign); i++) {
            bytes[at] = (uint8_t)foreign[i];
            assert_non_null(record_decode(text, &back));
        }
        bytes[at] = kept;
    }
    assert_null(record_decode(text, &back));
    exact_free(text);
}

static void versions_and_seqs_are_1_to_the_highest(void **state)
{
    static const char *const bad[2][3] = {{"0000000000000000000", "9223372036854775808", "9999999999999999999"},
                                          {"0000000000000000000", "4000000000000000000", "9223372036854775807"}};
    static const char *const good[2][2] = {{"0000000000000000001", "9223372036854775807"},
                                           {"0000000000000000001", "3999999999999999999"}};
    struct slice text = encoded(&sample);
    struct record back;

    (void)state;
    for (int field = 0; field < 2; field++) {
        char *at = (char *)text.data + 1 + 19 * field;

        for (size_t i = 0; i < 3; i++) {
            memcpy(at, bad[field][i], 19);
            assert_non_null(record_decode(text, &back));
        }
        for (size_t i = 0; i < 2; i++) {
            memcpy(at, good[field][i], 19);
            assert_null(record_decode(text, &back));
        }
    }
    exact_free(text);
}

static void a_source_longer_than_it_may_be_is_an_error(void **state)
{
    struct slice text = encoded(&sample);
    struct record back;

    (void)state;
    for (int len = 0; len < 100; len++) {
        char digits[12];
        bool fits = len <= 5 + 7;

        snprintf(digits, sizeof(digits), "%02d", len);
        memcpy((char *)text.data + RECORD_HEADER_BYTES - 2, digits, 2);
        assert_int_equal(record_decode(text, &back) == NULL, fits);
        if (fits)
            assert_int_equal(back.source.len + back.value.len, 12);
    }
    exact_free(text);
}

static void a_message_is_read_back(void **state)
{
    struct message m = sample_message(), back;
    struct slice text = encoded_message(&m);

    (void)state;
    assert_null(message_decode(text, &back));
    assert_int_equal(back.kind, MESSAGE_RECORD);
    assert_string_equal(back.epoch.text, m.epoch.text);
    assert_true(slice_equal(back.key, m.key));
    assert_int_equal(back.ttl_ms, 60000);
    assert_same(&m.record, &back.record);
    exact_free(text);
}

static void a_clear_is_read_back_and_has_nothing_behind_it(void **state)
{
    struct message m = {.kind = MESSAGE_CLEAR, .record.seq = 77}, back;
    struct slice text;

    (void)state;
    memset(m.epoch.text, 'c', 32);
    text = encoded_message(&m);
    assert_null(message_decode(text, &back));
    assert_int_equal(back.kind, MESSAGE_CLEAR);
    assert_int_equal(back.record.seq, 77);
    for (size_t len = 0; len < text.len; len++) {
        struct slice cut = exact_copy(text.data, len);

        assert_non_null(message_decode(cut, &back));
        exact_free(cut);
    }
    exact_free(text);
    text = exact_copy("M1ccccccccccccccccccccccccccccccccc00000000000000000000000000000000000077x", 73);
    assert_non_null(message_decode(text, &back));
    exact_free(text);
}

static void a_key_that_claims_more_than_there_is_is_an_error(void **state)
{
    struct message m = sample_message(), back;
    struct slice text = encoded_message(&m);

    (void)state;
    for (int len = 0; len < 100000; len = len < 200 ? len + 1 : len * 3) {
        char digits[12];

        snprintf(digits, sizeof(digits), "%05d", len);
        memcpy((char *)text.data + MESSAGE_HEAD_BYTES - 5, digits, 5);
        assert_int_equal(message_decode(text, &back) == NULL, len == 3);
    }
    exact_free(text);
}

static void mutated_texts_are_refused_or_well_formed(void **state)
{
    struct message m = sample_message(), back;
    struct slice text = encoded_message(&m);
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        uint8_t *bytes;
        struct slice copy;
        struct slice again;

        seed = seed * 1103515245u + 12345u;
        copy = exact_copy(text.data, text.len - (seed >> 28 == 0 ? (seed >> 8) % text.len : 0));
        bytes = (uint8_t *)copy.data;
        for (unsigned i = 0; copy.len > 0 && i <= (seed >> 20) % 3; i++) {
            seed = seed * 1103515245u + 12345u;
            bytes[(seed >> 16) % copy.len] = (uint8_t)(seed & 256 ? '0' + (seed >> 9) % 10 : seed >> 24);
        }
        if (!message_decode(copy, &back)) {
            again = encoded_message(&back);
            assert_true(slice_equal(again, copy));
            exact_free(again);
        }
        exact_free(copy);
    }
    exact_free(text);
}

static struct meta meta_of(const char *epoch, const char *run, const char *seq, const char *cleared)
{
    const char *texts[] = {epoch, run, seq, cleared};
    struct slice fields[4] = {{0}};
    struct meta meta;

    for (int i = 0; i < 4; i++) {
        if (texts[i])
            fields[i] = slice_text(texts[i]);
    }
    meta_decode(fields, &meta);
    return meta;
}

#define EPOCH "0123456789abcdef0123456789abcdef"

static void meta_with_all_fields_is_ok(void **state)
{
    struct meta meta = meta_of(EPOCH, "run1", "3999999999999999999", "0");

    (void)state;
    assert_int_equal(meta.state, META_OK);
    assert_string_equal(meta.epoch.text, EPOCH);
    assert_string_equal(meta.run.text, "run1");
    assert_true(meta.seq == SEQ_MAX && meta.cleared == 0);
}

static void meta_with_a_missing_field_keeps_what_is_readable(void **state)
{
    struct meta meta = meta_of(EPOCH, "run1", NULL, "0");

    (void)state;
    assert_int_equal(meta.state, META_MISSING);
    assert_string_equal(meta.epoch.text, EPOCH);
    assert_int_equal(meta_of(NULL, NULL, NULL, NULL).state, META_MISSING);
    assert_string_equal(meta_of(NULL, NULL, NULL, NULL).epoch.text, "");
}

static void meta_with_a_silly_field_is_invalid(void **state)
{
    static const char *const silly[] = {"",
                                        "01",
                                        "-1",
                                        "+1",
                                        "1e3",
                                        "nan",
                                        "0x10",
                                        " 1",
                                        "1 ",
                                        "4000000000000000000",
                                        "9223372036854775808",
                                        "99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(silly) / sizeof(silly[0]); i++) {
        assert_int_equal(meta_of(EPOCH, "run1", silly[i], "0").state, META_INVALID);
        assert_int_equal(meta_of(EPOCH, "run1", "1", silly[i]).state, META_INVALID);
        assert_int_equal(meta_of(EPOCH, "run1", silly[i], "0").seq, 0);
    }
    assert_int_equal(meta_of(EPOCH, "run1", "-1", "3").cleared, 3);
    assert_int_equal(meta_of(EPOCH, "run1", NULL, "3").cleared, 3);
    assert_int_equal(meta_of(EPOCH, "run1", "2", "3").cleared, 0);
    assert_int_equal(meta_of(EPOCH, "run1", "2", "9223372036854775807").cleared, 0);
    assert_true(meta_of(EPOCH, "run1", "2", "3").cleared_unknown);
    assert_true(meta_of(EPOCH, "run1", "2", "x").cleared_unknown);
    assert_true(meta_of(EPOCH, NULL, NULL, NULL).cleared_unknown);
    assert_false(meta_of(EPOCH, "run1", "-1", "3").cleared_unknown);
    assert_false(meta_of(NULL, NULL, NULL, NULL).cleared_unknown);
    assert_int_equal(meta_of("0123456789ABCDEF0123456789abcdef", "r", "1", "0").state, META_INVALID);
    assert_string_equal(meta_of("0123456789ABCDEF0123456789abcdef", "r", "1", "0").epoch.text, "");
    assert_int_equal(meta_of(EPOCH "0", "r", "1", "0").state, META_INVALID);
    assert_int_equal(meta_of(EPOCH, "run1", "5", "5").state, META_OK);
    assert_int_equal(meta_of(EPOCH, "run1", "5", "6").state, META_INVALID);
    assert_int_equal(meta_of(EPOCH, "r r", "1", "0").state, META_INVALID);
    assert_int_equal(meta_of(EPOCH, "", "1", "0").state, META_INVALID);
    assert_int_equal(meta_of(EPOCH, "12345678901234567890123456789012345678901", "1", "0").state, META_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_read_back),
        cmocka_unit_test(a_head_is_read_without_its_value),
        cmocka_unit_test(a_tombstone_has_no_value),
        cmocka_unit_test(a_bare_record_stands_only_in_messages),
        cmocka_unit_test(every_cut_before_the_value_is_an_error),
        cmocka_unit_test(a_foreign_byte_anywhere_in_the_header_is_an_error),
        cmocka_unit_test(versions_and_seqs_are_1_to_the_highest),
        cmocka_unit_test(a_source_longer_than_it_may_be_is_an_error),
        cmocka_unit_test(a_message_is_read_back),
        cmocka_unit_test(a_clear_is_read_back_and_has_nothing_behind_it),
        cmocka_unit_test(a_key_that_claims_more_than_there_is_is_an_error),
        cmocka_unit_test(mutated_texts_are_refused_or_well_formed),
        cmocka_unit_test(meta_with_all_fields_is_ok),
        cmocka_unit_test(meta_with_a_missing_field_keeps_what_is_readable),
        cmocka_unit_test(meta_with_a_silly_field_is_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
