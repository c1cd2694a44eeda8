/*
 * The MessagePack-RPC envelope: request [0, id, method, params], response [1, id, error, result],
 * notification [2, method, params]. One frame holds exactly one of them.
 */
#ifndef DCACHED_PROTO_RPC_H
#define DCACHED_PROTO_RPC_H

#include "proto/buffer.h"
#include "proto/cursor.h"

enum rpc_type { RPC_REQUEST = 0, RPC_RESPONSE = 1, RPC_NOTIFICATION = 2 };

struct rpc_frame {
    enum rpc_type type;
    uint32_t id;          /* requests and responses */
    struct slice method;  /* requests and notifications; borrows */
    struct cursor params; /* requests and notifications: at the params array */
    struct slice error;   /* responses: raw object; nil (one byte c0) if there was none */
    struct cursor result; /* responses: at the result */
};

/* Decodes one whole frame. NULL, or static text that names what was wrong; *ret_frame->id is set if it could
 * be read, so that the error can be answered. */
const char *rpc_decode(struct slice bytes, struct rpc_frame *ret_frame);

/* Error codes of the protocol; PROTOCOL.md says what each means and what a client does about it. */
#define RPC_ERRORS(X)                                                                  \
    X(MALFORMED, 1, "not a MessagePack-RPC request; the connection is closed")         \
    X(UNKNOWN_METHOD, 2, "no such method")                                             \
    X(INVALID, 3, "a parameter is missing, of the wrong type or out of range")         \
    X(TOO_LARGE, 4, "key, value or message longer than the limit")                     \
    X(REFUSED, 5, "freshness cannot be proven")                                        \
    X(INDETERMINATE, 6, "the write may or may not have been committed")                \
    X(BUSY, 7, "a limit of the daemon is reached; nothing was done")                   \
    X(PERMISSION, 8, "this pod or this client may not do that")                        \
    X(TIMEOUT, 9, "the deadline passed; nothing was done")                             \
    X(STORE, 10, "Redis refused; nothing was done")                                    \
    X(CORRUPT, 11, "what Redis holds under the key cannot be read")                    \
    X(INTERNAL, 12, "the daemon failed; nothing was done")                             \
    X(MIN_VERSION, 13, "the store holds less than min_version, or an unknown version") \
    X(OTHER_EPOCH, 14, "min_version was given in another epoch")                       \
    X(UNAVAILABLE, 15, "no usable connection to Redis; nothing was done")

enum rpc_error {
    RPC_OK = 0,
#define X(name, code, help) RPC_##name = code,
    RPC_ERRORS(X)
#undef X
};

const char *rpc_error_name(enum rpc_error error); /* "malformed", ...; "unknown" */

/* The error object of a response that has one. A code this side does not know is passed on as it is. NULL, or
 * static text that names what was wrong. *ret_text borrows. */
const char *rpc_decode_error(struct slice error, enum rpc_error *ret_code, struct slice *ret_text);

/* ---- packing: msgpack-c's packer onto a buffer ---------------------------------------------------------- */

void pack_nil(struct buffer *b);
void pack_bool(struct buffer *b, bool value);
void pack_uint(struct buffer *b, uint64_t value);
void pack_int(struct buffer *b, int64_t value);
void pack_str(struct buffer *b, struct slice text);
void pack_text(struct buffer *b, const char *text);
void pack_bin(struct buffer *b, struct slice bytes);
void pack_array(struct buffer *b, uint32_t count);
void pack_map(struct buffer *b, uint32_t count);

/* Starts a frame; the caller then packs params (one array), respectively the result (one object). */
void rpc_pack_request(struct buffer *b, uint32_t id, const char *method);
void rpc_pack_response(struct buffer *b, uint32_t id);
void rpc_pack_notification(struct buffer *b, const char *method);
/* A whole response with error [code, text]. */
void rpc_pack_error(struct buffer *b, uint32_t id, enum rpc_error code, const char *text);

#endif
