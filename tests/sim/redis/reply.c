/* Answers in RESP, and the readings of texts that several commands share. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/sim/redis/internal.h"

const char error_wrong_type[] = "WRONGTYPE Operation against a key holding the wrong kind of value";
const char error_not_integer[] = "ERR value is not an integer or out of range";
const char error_syntax[] = "ERR syntax error";

void resp_put_head(struct buffer *out, char type, int64_t number)
{
    char text[24], *at = text + sizeof(text);
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;

    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        *--at = '-';
    *--at = type;
    buffer_append(out, at, (size_t)(text + sizeof(text) - at));
}

void resp_put_bulk(struct buffer *out, struct slice bytes)
{
    resp_put_head(out, '$', (int64_t)bytes.len);
    buffer_append(out, bytes.data, bytes.len);
    buffer_append(out, "\r\n", 2);
}

void buffer_text(struct buffer *out, const char *format, ...)
{
    char text[512];
    va_list list;
    int len;

    va_start(list, format);
    len = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    buffer_append(out, text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

void reply_status(struct call *call, const char *text)
{
    buffer_append(call->out, "+", 1);
    buffer_append(call->out, text, strlen(text));
    buffer_append(call->out, "\r\n", 2);
}

/* Line ends inside would break the protocol: spaces, as in Redis. */
void reply_error(struct call *call, const char *format, ...)
{
    char text[2048];
    va_list list;
    int len;

    va_start(list, format);
    len = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    if ((size_t)len >= sizeof(text))
        len = (int)sizeof(text) - 1;
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    for (int i = 0; i < len; i++) {
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    }
    buffer_append(call->out, "-", 1);
    buffer_append(call->out, text, (size_t)len);
    buffer_append(call->out, "\r\n", 2);
}

void reply_integer(struct call *call, int64_t number)
{
    resp_put_head(call->out, ':', number);
}

void reply_bulk(struct call *call, struct slice bytes)
{
    resp_put_bulk(call->out, bytes);
}

void reply_text(struct call *call, const char *text)
{
    resp_put_bulk(call->out, slice_text(text));
}

void reply_number_text(struct call *call, uint64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)number);

    resp_put_bulk(call->out, slice_of(text, (size_t)len));
}

void reply_nil(struct call *call)
{
    buffer_append(call->out, "$-1\r\n", 5);
}

void reply_array(struct call *call, size_t count)
{
    resp_put_head(call->out, '*', (int64_t)count);
}

bool slice_is(struct slice s, const char *text)
{
    size_t i;

    for (i = 0; i < s.len; i++) {
        if (text[i] == '\0' || tolower(s.data[i]) != tolower((unsigned char)text[i]))
            return false;
    }
    return text[i] == '\0';
}

bool slice_to_int(struct slice s, int64_t *ret)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    size_t at = negative ? 1 : 0, digits = s.len - at;
    uint64_t number = 0;

    if (digits == 1 && !negative && s.data[at] == '0') {
        *ret = 0;
        return true;
    }
    if (digits < 1 || digits > 19 || s.data[at] < '1' || s.data[at] > '9')
        return false;
    for (; at < s.len; at++) {
        if (s.data[at] < '0' || s.data[at] > '9')
            return false;
        number = number * 10 + (uint64_t)(s.data[at] - '0');
    }
    if (number > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *ret = negative ? (int64_t)-number : (int64_t)number;
    return true;
}

bool argument_int(struct call *call, size_t index, int64_t *ret)
{
    if (slice_to_int(call->argv[index], ret))
        return true;
    reply_error(call, "%s", error_not_integer);
    return false;
}

/* [abc], [^a-c]: *at stands behind the bracket, and afterwards on the closing one. */
static bool glob_set(struct slice p, size_t *at, uint8_t c)
{
    bool negated = *at < p.len && p.data[*at] == '^', found = false;

    if (negated)
        (*at)++;
    for (;; (*at)++) {
        if (*at >= p.len) {
            (*at)--;
            break;
        }
        if (p.data[*at] == '\\' && *at + 1 < p.len) {
            (*at)++;
            found |= p.data[*at] == c;
        } else if (p.data[*at] == ']') {
            break;
        } else if (*at + 2 < p.len && p.data[*at + 1] == '-') {
            uint8_t low = p.data[*at], high = p.data[*at + 2];

            found |= low <= high ? c >= low && c <= high : c >= high && c <= low;
            *at += 2;
        } else {
            found |= p.data[*at] == c;
        }
    }
    return found != negated;
}

bool glob_match(struct slice p, struct slice text)
{
    size_t at = 0, pos = 0;

    for (; at < p.len; at++, pos++) {
        if (p.data[at] == '*') {
            struct slice rest = slice_of(p.data + at + 1, p.len - at - 1);

            if (rest.len == 0)
                return true;
            for (; pos <= text.len; pos++) {
                if (glob_match(rest, slice_of(text.data + pos, text.len - pos)))
                    return true;
            }
            return false;
        }
        if (pos >= text.len)
            return false;
        if (p.data[at] == '[') {
            at++;
            if (!glob_set(p, &at, text.data[pos]))
                return false;
        } else if (p.data[at] != '?') {
            if (p.data[at] == '\\' && at + 1 < p.len)
                at++;
            if (p.data[at] != text.data[pos])
                return false;
        }
    }
    return pos == text.len;
}
