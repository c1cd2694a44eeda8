#include "daemon/redis/resp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

int resp_init(struct resp_reader *resp, size_t bulk_max)
{
    memset(resp, 0, sizeof(*resp));
    resp->bulk_max = bulk_max;
    resp->reader = redisReaderCreate();
    return resp->reader ? 0 : -ENOMEM;
}

void resp_deinit(struct resp_reader *resp)
{
    if (resp->reader)
        redisReaderFree(resp->reader);
    resp->reader = NULL;
}

static int malformed(struct resp_reader *resp, const char *error)
{
    resp->error = error;
    return RESP_MALFORMED;
}

static int let_through(struct resp_reader *resp, const void *bytes, size_t len)
{
    if (len == 0)
        return RESP_OK;
    resp->total += len;
    if (resp->total > resp->bulk_max + RESP_REPLY_EXTRA)
        return malformed(resp, "reply is too long");
    if (redisReaderFeed(resp->reader, bytes, len) != REDIS_OK)
        return malformed(resp, "reader failed");
    return RESP_OK;
}

/* One value is complete: closes the arrays that end with it. */
static void value_done(struct resp_reader *resp)
{
    resp->mode = RESP_TYPE;
    while (resp->depth > 0 && --resp->open[resp->depth - 1] == 0)
        resp->depth--;
    if (resp->depth == 0)
        resp->total = resp->values = 0;
}

/* As Redis writes it: no plus, no leading zeros. The reader would refuse others, but later. */
static bool parse_number(const char *digits, size_t len, int64_t *ret)
{
    bool negative = len > 0 && digits[0] == '-';
    uint64_t number = 0;
    size_t i = negative ? 1 : 0;

    if (len == i || len - i > 19 || (digits[i] == '0' && len > 1))
        return false;
    for (; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(digits[i] - '0');
    }
    if (number > INT64_MAX)
        return false;
    *ret = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

/* A type byte and its number stand in resp->number, with \r\n. */
static int number_done(struct resp_reader *resp)
{
    char type = resp->number[0];
    int64_t number;
    int r;

    if (!parse_number(resp->number + 1, resp->number_len - 3, &number))
        return malformed(resp, "no number where one has to stand");
    if (type == '$' && number > (int64_t)resp->bulk_max) {
        resp->left = (uint64_t)number + 2;
        resp->mode = RESP_SKIP;
        return let_through(resp, "$-1\r\n", 5);
    }
    if (type != ':' && number < -1)
        return malformed(resp, "negative length");
    if (type == '*' && number > RESP_ELEMENTS_MAX)
        return malformed(resp, "array is too long");
    if (type == '*' && number > 0 && resp->depth == RESP_DEPTH_MAX)
        return malformed(resp, "arrays nest too deep");
    r = let_through(resp, resp->number, resp->number_len);
    if (r != RESP_OK)
        return r;
    if (type == '$' && number >= 0) {
        resp->left = (uint64_t)number + 2;
        resp->mode = RESP_BULK;
    } else if (type == '*' && number > 0) {
        resp->open[resp->depth++] = (uint32_t)number;
        resp->mode = RESP_TYPE;
    } else {
        value_done(resp);
    }
    return RESP_OK;
}

static int feed_number(struct resp_reader *resp, struct slice bytes, size_t *used)
{
    while (*used < bytes.len) {
        char c = (char)bytes.data[(*used)++];
        bool ended = resp->number[resp->number_len - 1] == '\r';

        if (ended != (c == '\n') || resp->number_len == sizeof(resp->number))
            return malformed(resp, "no number where one has to stand");
        resp->number[resp->number_len++] = c;
        if (ended)
            return number_done(resp);
    }
    return RESP_OK;
}

static int feed_line(struct resp_reader *resp, struct slice bytes, size_t *used)
{
    size_t start = *used;

    while (*used < bytes.len) {
        char c = (char)bytes.data[(*used)++];

        if (++resp->line_len > RESP_LINE_MAX)
            return malformed(resp, "line is too long");
        /* Redis never writes a lone \r or \n there. The reader of hiredis 0.14 takes them, later ones do not. */
        if (resp->carriage != (c == '\n'))
            return malformed(resp, "line break within a line");
        if (c == '\n') {
            int r = let_through(resp, bytes.data + start, *used - start);

            value_done(resp);
            return r;
        }
        resp->carriage = c == '\r';
    }
    return let_through(resp, bytes.data + start, *used - start);
}

/* Payload, then \r\n. */
static int feed_bulk(struct resp_reader *resp, struct slice bytes, size_t *used)
{
    size_t start = *used, avail = bytes.len - start;
    size_t len = resp->left < avail ? (size_t)resp->left : avail;

    for (size_t i = len > 2 ? len - 2 : 0; i < len; i++) {
        uint64_t to_come = resp->left - i;

        if ((to_come == 2 && bytes.data[start + i] != '\r') || (to_come == 1 && bytes.data[start + i] != '\n'))
            return malformed(resp, "string does not end where it says");
    }
    resp->left -= len;
    *used += len;
    if (resp->mode == RESP_BULK) {
        int r = let_through(resp, bytes.data + start, len);

        if (r != RESP_OK)
            return r;
    }
    if (resp->left == 0)
        value_done(resp);
    return RESP_OK;
}

static int feed_type(struct resp_reader *resp, struct slice bytes, size_t *used)
{
    char c = (char)bytes.data[*used];

    if (++resp->values > RESP_VALUES_MAX)
        return malformed(resp, "reply has too many parts");
    switch (c) {
    case '$':
    case '*':
    case ':':
        (*used)++;
        resp->number[0] = c;
        resp->number_len = 1;
        resp->mode = RESP_NUMBER;
        return RESP_OK;
    case '+':
    case '-':
        resp->line_len = 0;
        resp->carriage = false;
        resp->mode = RESP_LINE; /* the type byte goes through with the line */
        return RESP_OK;
    default:
        return malformed(resp, "unknown type byte: this is not Redis' protocol");
    }
}

int resp_feed(struct resp_reader *resp, struct slice bytes)
{
    size_t used = 0;
    int r = RESP_OK;

    while (r == RESP_OK && used < bytes.len) {
        switch (resp->mode) {
        case RESP_TYPE:
            r = feed_type(resp, bytes, &used);
            break;
        case RESP_NUMBER:
            r = feed_number(resp, bytes, &used);
            break;
        case RESP_LINE:
            r = feed_line(resp, bytes, &used);
            break;
        case RESP_BULK:
        case RESP_SKIP:
            r = feed_bulk(resp, bytes, &used);
            break;
        }
    }
    return r;
}

int resp_next(struct resp_reader *resp, redisReply **ret_reply)
{
    void *reply = NULL;

    *ret_reply = NULL;
    if (redisReaderGetReply(resp->reader, &reply) != REDIS_OK)
        return malformed(resp, "reader failed");
    *ret_reply = reply;
    return RESP_OK;
}

/* ---- shapes ---- */

bool reply_has_code(const redisReply *reply, const char *code)
{
    size_t len = strlen(code);

    return reply_is_error(reply) && reply->len >= len && memcmp(reply->str, code, len) == 0 &&
           (reply->len == len || reply->str[len] == ' ');
}

enum reply_status reply_error_status(const redisReply *reply)
{
    static const char *const codes[] = {
        "NOSCRIPT",   "NOAUTH",     "NOPERM",      "READONLY",  "LOADING", "OOM", "MISCONF",  "BUSY",
        "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "WRONGPASS", "MOVED",   "ASK", "TRYAGAIN", "DENIED",
    };

    /* Redis 7 appends " script: SHA, on @user_script:LINE"; older ones say "Error running script". */
    if (memmem(reply->str, reply->len, "script: ", 8) || memmem(reply->str, reply->len, "user_script", 11))
        return REPLY_UNKNOWN;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (reply_has_code(reply, codes[i]))
            return REPLY_DEFINITE;
    }
    return REPLY_UNKNOWN;
}

/* ---- commands ---- */

void resp_command(struct buffer *buffer, unsigned arguments)
{
    char text[16];

    buffer_append(buffer, text, (size_t)snprintf(text, sizeof(text), "*%u\r\n", arguments));
}

void resp_argument_pair(struct buffer *buffer, struct slice first, struct slice second)
{
    char text[32];

    buffer_append(buffer, text, (size_t)snprintf(text, sizeof(text), "$%zu\r\n", first.len + second.len));
    buffer_append(buffer, first.data, first.len);
    buffer_append(buffer, second.data, second.len);
    buffer_append(buffer, "\r\n", 2);
}

void resp_argument(struct buffer *buffer, struct slice argument)
{
    resp_argument_pair(buffer, argument, slice_of(NULL, 0));
}

void resp_argument_text(struct buffer *buffer, const char *text)
{
    resp_argument(buffer, slice_text(text));
}

void resp_argument_number(struct buffer *buffer, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    resp_argument_text(buffer, text);
}
