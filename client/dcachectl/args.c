#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/dcachectl/ctl.h"

/* Digits alone: no sign, no blank, no other base. */
static bool parse_digits(const char *text, const char **ret_end, uint64_t *ret)
{
    uint64_t value = 0;

    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    *ret_end = text;
    *ret = value;
    return true;
}

bool parse_duration_ms(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    const char *end;
    uint64_t value;

    if (!parse_digits(text, &end, &value))
        return false;
    if (value == 0 && *end == '\0') {
        *ret_ms = 0;
        return true;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0)
            return !__builtin_mul_overflow(value, units[i].ms, ret_ms) && *ret_ms <= INT64_MAX / 1000000;
    return false;
}

bool parse_count(const char *text, uint64_t *ret)
{
    return parse_version(text, ret);
}

bool parse_version(const char *text, uint64_t *ret)
{
    const char *end;

    return parse_digits(text, &end, ret) && *end == '\0' && *ret > 0 && *ret <= INT64_MAX;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool parse_write_id(const char *text, uint8_t ret[16])
{
    if (strlen(text) != 32)
        return false;
    for (size_t i = 0; i < 16; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void format_write_id(const uint8_t write_id[16], char ret[33])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 16; i++) {
        ret[2 * i] = digits[write_id[i] >> 4];
        ret[2 * i + 1] = digits[write_id[i] & 15];
    }
    ret[32] = '\0';
}
