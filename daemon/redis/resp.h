/*
 * RESP2: replies are parsed by hiredis' reader, behind a scan of the raw bytes that lets through only what is
 * well-formed and small enough; commands are put together in a buffer.
 *
 * The scan exists because the reader believes every count it reads. A bulk string longer than the limit is
 * taken out of the stream and a nil put in its place, so that one oversized value does not cost the connection.
 */
#ifndef DCACHED_REDIS_RESP_H
#define DCACHED_REDIS_RESP_H

#include <hiredis/hiredis.h>

#include "daemon/core/core.h"
#include "proto/buffer.h"

#define RESP_DEPTH_MAX    4           /* arrays in arrays; ours nest 2 deep. Picked. */
#define RESP_ELEMENTS_MAX 16384       /* of one array; SCAN COUNT 500 gives the longest. Picked. */
#define RESP_VALUES_MAX   32768       /* of one reply, at all depths; each is an allocation. Picked. */
#define RESP_LINE_MAX     (64 * 1024) /* of a status or error. Picked. */
#define RESP_REPLY_EXTRA  (4 << 20)   /* one whole reply: the longest bulk string and this. Picked. */

enum { RESP_OK = 0, RESP_MALFORMED = 1 /* reader->error says how; the stream is of no use any more */ };

enum resp_mode { RESP_TYPE, RESP_NUMBER, RESP_LINE, RESP_BULK, RESP_SKIP };

struct resp_reader {
    redisReader *reader;
    size_t bulk_max;
    const char *error;

    enum resp_mode mode;
    char number[24]; /* a type byte and its number, held back until they are whole */
    size_t number_len;
    size_t line_len;
    bool carriage; /* the last byte was \r */
    uint64_t left; /* of the bulk string, with its \r\n */
    unsigned depth;
    uint32_t open[RESP_DEPTH_MAX]; /* elements still to come */
    uint64_t total;                /* bytes of the current reply that were let through */
    uint32_t values;               /* of the current reply, begun so far */
};

int resp_init(struct resp_reader *resp, size_t bulk_max); /* 0 or -ENOMEM */
void resp_deinit(struct resp_reader *resp);

/* RESP_OK, RESP_MALFORMED or -ENOMEM. */
int resp_feed(struct resp_reader *resp, struct slice bytes);
/* RESP_OK; *ret_reply is NULL if no whole reply is there. The caller frees it with freeReplyObject. */
int resp_next(struct resp_reader *resp, redisReply **ret_reply);

/* ---- shapes of replies ---- */

static inline struct slice reply_text(const redisReply *reply)
{
    return slice_of(reply->str, reply->len);
}

static inline bool reply_is_string(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}

static inline bool reply_is_error(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR;
}

/* An array of exactly so many elements. */
static inline bool reply_is_array(const redisReply *reply, size_t elements)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == elements;
}

/* An error that starts with this code, as in "NOSCRIPT No matching script". */
bool reply_has_code(const redisReply *reply, const char *code);

/*
 * REPLY_DEFINITE for errors that Redis gives before it executes a command; REPLY_UNKNOWN for any other. An
 * error raised inside a script names the script in its text and is never definite here.
 */
enum reply_status reply_error_status(const redisReply *reply);

/* ---- commands ---- */

void resp_command(struct buffer *buffer, unsigned arguments); /* as many resp_argument follow */
void resp_argument(struct buffer *buffer, struct slice argument);
void resp_argument_pair(struct buffer *buffer, struct slice first, struct slice second); /* one argument */
void resp_argument_text(struct buffer *buffer, const char *text);
void resp_argument_number(struct buffer *buffer, uint64_t number);

#endif
