#include "tests/unit/exact.h"

#include "proto/methods.h"
#include "proto/scan.h"

#define MAX_BYTES 65536

/* Frames of every shape; the last ones leave the scanner's quick path. */
static const char *const frames[] = {
    "94 00 01 a3 67 65 74 91 c4 01 6b",
    "94 00 ce ff ff ff ff a4 70 69 6e 67 90",
    "94 01 07 c0 98 01 cf 00 00 01 1f 71 fb 04 cb c4 02 68 69 07 cf 17 97 9c fe 36 2a 00 00 a1 70 00 c2",
    "93 02 a5 65 76 65 6e 74 92 01 81 a4 6b 69 6e 64 a3 67 61 70",
    "c0",
    "00",
    "ff",
    "a0",
    "90",
    "80",
    "ca 00 00 00 00",
    "cb 00 00 00 00 00 00 00 00",
    "d4 01 00",
    "d8 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
    "d7 ff 00 00 00 00 00 00 00 00",
    "c7 03 05 01 02 03",
    "c8 00 01 05 01",
    "c9 00 00 00 00 05",
    "d9 01 61",
    "da 00 01 61",
    "db 00 00 00 01 61",
    "c5 00 01 61",
    "c6 00 00 00 01 61",
    "c6 00 00 00 00",
    "dc 00 02 01 dc 00 00",
    "dd 00 00 00 03 90 80 a0",
    "de 00 01 01 91 02",
    "df 00 00 00 01 a1 6b 92 01 02",
    "91 91 91 91 91 91 91 91 91 91 91 91 91 91 91 90",
    "9f 90 90 90 90 90 90 90 90 90 90 90 90 90 90 91 91 91 05",
};

#define FRAME_COUNT (sizeof(frames) / sizeof(frames[0]))

static enum scan_result scan_once(struct slice bytes, size_t max_bytes, size_t *ret_used)
{
    struct scan scan;

    scan_init(&scan, max_bytes);
    return scan_feed(&scan, bytes, ret_used);
}

/* Feeds byte by byte; *ret_used is how many bytes went in. */
static enum scan_result scan_by_bytes(struct slice bytes, size_t max_bytes, size_t *ret_used)
{
    enum scan_result result = SCAN_MORE;
    struct scan scan;
    size_t i;

    scan_init(&scan, max_bytes);
    for (i = 0; i < bytes.len && result == SCAN_MORE; i++) {
        struct slice one = exact_copy(bytes.data + i, 1);
        size_t used;

        result = scan_feed(&scan, one, &used);
        assert_int_equal(used, 1);
        exact_free(one);
    }
    *ret_used = i;
    return result;
}

static void whole_frame_is_found_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        struct slice bytes = exact_hex(frames[i]);
        size_t used;

        assert_int_equal(scan_once(bytes, MAX_BYTES, &used), SCAN_DONE);
        assert_int_equal(used, bytes.len);
        assert_int_equal(scan_once(bytes, bytes.len, &used), SCAN_DONE);
        exact_free(bytes);
    }
}

static void every_truncation_wants_more_and_then_finishes(void **state)
{
    (void)state;
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        struct slice bytes = exact_hex(frames[i]);

        for (size_t cut = 0; cut < bytes.len; cut++) {
            struct slice head = exact_copy(bytes.data, cut);
            struct slice tail = exact_copy(bytes.data + cut, bytes.len - cut);
            struct scan scan;
            size_t used;

            scan_init(&scan, MAX_BYTES);
            assert_int_equal(scan_feed(&scan, head, &used), SCAN_MORE);
            assert_int_equal(used, cut);
            assert_int_equal(scan_feed(&scan, tail, &used), SCAN_DONE);
            assert_int_equal(used, tail.len);
            exact_free(head);
            exact_free(tail);
        }
        exact_free(bytes);
    }
}

static void one_byte_at_a_time_gives_the_same_as_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        struct slice bytes = exact_hex(frames[i]);
        size_t used;

        assert_int_equal(scan_by_bytes(bytes, MAX_BYTES, &used), SCAN_DONE);
        assert_int_equal(used, bytes.len);
        exact_free(bytes);
    }
}

static void two_requests_in_one_piece_are_told_apart(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct scan scan;
    size_t first, used;

    (void)state;
    proto_pack_get(&b, 1, slice_text("a"), NULL);
    first = b.len;
    proto_pack_get(&b, 2, slice_text("bcd"), NULL);
    scan_init(&scan, MAX_BYTES);
    assert_int_equal(scan_feed(&scan, slice_of(b.data, b.len), &used), SCAN_DONE);
    assert_int_equal(used, first);
    assert_int_equal(scan_feed(&scan, slice_of(b.data + first, b.len - first), &used), SCAN_DONE);
    assert_int_equal(used, b.len - first);
    buffer_deinit(&b);
}

static void frames_follow_each_other_in_any_pieces(void **state)
{
    struct buffer b = BUFFER_INIT;

    (void)state;
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        struct slice bytes = exact_hex(frames[i]);

        buffer_append(&b, bytes.data, bytes.len);
        exact_free(bytes);
    }
    for (size_t piece = 1; piece < 40; piece++) {
        struct scan scan;
        size_t done = 0, at = 0, end = 0, used;

        scan_init(&scan, MAX_BYTES);
        while (at < b.len) {
            end = end <= at ? at + piece : end;
            end = end < b.len ? end : b.len;
            if (scan_feed(&scan, slice_of(b.data + at, end - at), &used) == SCAN_DONE)
                done++;
            at += used;
        }
        assert_int_equal(done, FRAME_COUNT);
    }
    buffer_deinit(&b);
}

/* The byte whose arrival refuses the object, counted from 1, and the refusal; the same in one piece. */
static void assert_refused(const char *hex, size_t max_bytes, enum scan_result expected, size_t at)
{
    struct slice bytes = exact_hex(hex);
    size_t used;

    assert_int_equal(scan_by_bytes(bytes, max_bytes, &used), expected);
    assert_int_equal(used, at);
    assert_int_equal(scan_once(bytes, max_bytes, &used), expected);
    assert_int_equal(used, at);
    exact_free(bytes);
}

static void longer_object_is_refused_at_the_byte_that_shows_it(void **state)
{
    (void)state;
    assert_refused("c6 00 00 01 00 00", 255, SCAN_TOO_LARGE, 5);
    assert_refused("c4 0a 00", 11, SCAN_TOO_LARGE, 2);
    assert_refused("a3 00", 3, SCAN_TOO_LARGE, 1);
    assert_refused("92 a1 61 a1 62", 4, SCAN_TOO_LARGE, 4);
    assert_refused("cd 00 01", 2, SCAN_TOO_LARGE, 1);
    assert_refused("da 00 01 61", 2, SCAN_TOO_LARGE, 3);
    assert_refused("dd ff ff ff ff 00", MAX_BYTES, SCAN_TOO_LARGE, 5);
    assert_refused("df ff ff ff ff 00", MAX_BYTES, SCAN_TOO_LARGE, 5);
    assert_refused("db ff ff ff ff 00", MAX_BYTES, SCAN_TOO_LARGE, 5);
    assert_refused("c9 ff ff ff ff 00", MAX_BYTES, SCAN_TOO_LARGE, 5);
    assert_refused("94 00 01 a3 67 65 74 91 dc ff f8 00", MAX_BYTES, SCAN_TOO_LARGE, 11);
}

static void object_of_exactly_the_limit_is_taken(void **state)
{
    struct slice bytes = exact_hex("c4 0a 00 01 02 03 04 05 06 07 08 09");
    size_t used;

    (void)state;
    assert_int_equal(scan_once(bytes, 12, &used), SCAN_DONE);
    assert_int_equal(scan_by_bytes(bytes, 12, &used), SCAN_DONE);
    assert_int_equal(scan_once(bytes, 11, &used), SCAN_TOO_LARGE);
    exact_free(bytes);
}

static void nesting_bomb_is_refused_at_the_limit(void **state)
{
    struct buffer b = BUFFER_INIT;
    size_t used;

    (void)state;
    for (unsigned i = 0; i < 50000; i++)
        buffer_append(&b, i % 2 ? "\x91" : "\x81", 1);
    assert_int_equal(scan_once(slice_of(b.data, b.len), MAX_BYTES, &used), SCAN_TOO_DEEP);
    assert_true(used <= 2 * CURSOR_DEPTH_MAX);
    buffer_deinit(&b);
    assert_refused("91 91 91 91 91 91 91 91 91 91 91 91 91 91 91 91 90", MAX_BYTES, SCAN_TOO_DEEP, 17);
}

static void unused_byte_is_malformed(void **state)
{
    (void)state;
    assert_refused("c1", MAX_BYTES, SCAN_MALFORMED, 1);
    assert_refused("94 00 01 a1 78 91 c1", MAX_BYTES, SCAN_MALFORMED, 7);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void scanner_and_cursor_agree_on_random_bytes(void **state)
{
    static const uint8_t heads[] = {0x91, 0x92, 0x81, 0x90, 0xa1, 0xc4, 0xc5, 0xd9, 0xdc, 0xde,
                                    0xcc, 0xcf, 0xd4, 0xc7, 0xc0, 0x01, 0x00, 0x02, 0xff, 0xc1};
    uint64_t seed = 42;
    unsigned complete = 0;

    (void)state;
    for (unsigned round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        size_t len = 1 + next_random(&seed) % sizeof(bytes), used, used_by_bytes;
        enum scan_result result;
        struct slice copy, raw;
        struct cursor c;

        for (size_t i = 0; i < len; i++)
            bytes[i] = heads[next_random(&seed) % sizeof(heads)];
        copy = exact_copy(bytes, len);
        c = cursor_of(copy);
        raw = cursor_raw(&c);
        result = scan_once(copy, MAX_BYTES, &used);
        assert_int_equal(result == SCAN_DONE, cursor_ok(&c));
        if (result == SCAN_DONE)
            assert_int_equal(used, raw.len);
        complete += result == SCAN_DONE;
        assert_int_equal(scan_by_bytes(copy, MAX_BYTES, &used_by_bytes), result);
        assert_int_equal(used_by_bytes, used);
        exact_free(copy);
    }
    assert_true(complete > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_frame_is_found_at_once),
        cmocka_unit_test(every_truncation_wants_more_and_then_finishes),
        cmocka_unit_test(one_byte_at_a_time_gives_the_same_as_whole),
        cmocka_unit_test(two_requests_in_one_piece_are_told_apart),
        cmocka_unit_test(frames_follow_each_other_in_any_pieces),
        cmocka_unit_test(longer_object_is_refused_at_the_byte_that_shows_it),
        cmocka_unit_test(object_of_exactly_the_limit_is_taken),
        cmocka_unit_test(nesting_bomb_is_refused_at_the_limit),
        cmocka_unit_test(unused_byte_is_malformed),
        cmocka_unit_test(scanner_and_cursor_agree_on_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
