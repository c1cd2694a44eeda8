#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/core/hash.h"

struct vector {
    size_t len; /* of the input 00 01 02 ... */
    uint64_t expected;
};

/* Expected values are those of CPython 3.11, whose hash of bytes is SipHash-1-3 under the same secrets. */
static const uint8_t zero_secret[HASH_SECRET_BYTES];
static const struct vector zero_vectors[] = {
    {1, UINT64_C(0x68a914128e01e473)},  {7, UINT64_C(0x2f098ab0c751325a)},  {8, UINT64_C(0xead411e67ebe2eea)},
    {9, UINT64_C(0x75927f9d95124362)},  {15, UINT64_C(0xf30eb725bb91c9ea)}, {16, UINT64_C(0x8972188433a5c5b7)},
    {31, UINT64_C(0x169739443111d49b)}, {63, UINT64_C(0x385d3e39e5f37359)},
};
static const uint8_t other_secret[HASH_SECRET_BYTES] = {
    0xaf, 0x90, 0xcd, 0x68, 0xd3, 0x4f, 0x50, 0xdc, 0xc1, 0xe9, 0x99, 0xfe, 0x9f, 0xbb, 0x20, 0xb9,
};
static const struct vector other_vectors[] = {
    {1, UINT64_C(0xce880c366bcf3489)},  {7, UINT64_C(0xce280fabc397fbda)},  {8, UINT64_C(0x60866c3c108c6afb)},
    {9, UINT64_C(0x68814005f7469e03)},  {15, UINT64_C(0x94ace24d68c18cf8)}, {16, UINT64_C(0x339176f3ac59ce05)},
    {31, UINT64_C(0x06f3af51bda71c61)}, {63, UINT64_C(0x06e24d6f0d014c37)},
};

static void check(const uint8_t *secret, const struct vector *vectors, size_t count)
{
    uint8_t input[64];

    for (unsigned i = 0; i < sizeof input; i++)
        input[i] = (uint8_t)i;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(hash_bytes(secret, slice_of(input, vectors[i].len)), vectors[i].expected);
}

static void hash_is_siphash_1_3(void **state)
{
    (void)state;
    check(zero_secret, zero_vectors, sizeof zero_vectors / sizeof *zero_vectors);
    check(other_secret, other_vectors, sizeof other_vectors / sizeof *other_vectors);
}

static void hash_does_not_depend_on_alignment(void **state)
{
    uint8_t room[40] = {0};

    (void)state;
    for (unsigned shift = 0; shift < 8; shift++) {
        memcpy(room + shift, "a key of twenty-one b", 21);
        assert_int_equal(hash_bytes(other_secret, slice_of(room + shift, 21)),
                         hash_bytes(other_secret, slice_text("a key of twenty-one b")));
    }
}

static void empty_input_has_a_hash(void **state)
{
    (void)state;
    assert_int_equal(hash_bytes(zero_secret, slice_of(NULL, 0)), hash_bytes(zero_secret, slice_text("")));
    assert_int_not_equal(hash_bytes(zero_secret, slice_text("")), hash_bytes(other_secret, slice_text("")));
}

static void keys_that_differ_in_trailing_zeros_differ(void **state)
{
    static const uint8_t zeros[16];

    (void)state;
    for (size_t a = 0; a < sizeof zeros; a++)
        for (size_t b = 0; b < a; b++)
            assert_int_not_equal(hash_bytes(zero_secret, slice_of(zeros, a)),
                                 hash_bytes(zero_secret, slice_of(zeros, b)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_siphash_1_3),
        cmocka_unit_test(hash_does_not_depend_on_alignment),
        cmocka_unit_test(empty_input_has_a_hash),
        cmocka_unit_test(keys_that_differ_in_trailing_zeros_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
