/* Byte strings for the tests of proto/, in memory of exactly their size, so that ASan sees any read outside. */
#ifndef DCACHED_TESTS_EXACT_H
#define DCACHED_TESTS_EXACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/buffer.h"

/* To be freed through its data. */
static inline struct slice exact_copy(const void *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, data, len);
    return slice_of(copy, len);
}

static inline void exact_free(struct slice bytes)
{
    free((void *)bytes.data);
}

static inline int exact_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "94 00 c0": pairs of lower-case digits, blanks between them do not matter. */
static inline struct slice exact_hex(const char *text)
{
    uint8_t bytes[4096];
    size_t len = 0;

    for (; *text; text++) {
        if (*text == ' ')
            continue;
        assert_true(exact_digit(text[0]) >= 0 && exact_digit(text[1]) >= 0 && len < sizeof(bytes));
        bytes[len++] = (uint8_t)(exact_digit(text[0]) << 4 | exact_digit(text[1]));
        text++;
    }
    return exact_copy(bytes, len);
}

#endif
