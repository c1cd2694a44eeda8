#include "proto/rpc.h"

#include "proto/wire.h"

static const char *decode_call(struct cursor *c, struct rpc_frame *frame)
{
    struct slice params;

    frame->method = cursor_bytes(c);
    if (!cursor_ok(c))
        return "method: str expected";
    params = cursor_raw(c);
    if (!cursor_ok(c))
        return c->error;
    frame->params = cursor_of(params);
    if (cursor_peek(&frame->params) != CURSOR_ARRAY)
        return "params: array expected";
    return NULL;
}

static const char *decode_answer(struct cursor *c, struct rpc_frame *frame)
{
    struct slice result;

    frame->error = cursor_raw(c);
    result = cursor_raw(c);
    if (!cursor_ok(c))
        return c->error;
    frame->result = cursor_of(result);
    return NULL;
}

static const char *decode_id(struct cursor *c, struct rpc_frame *frame)
{
    uint64_t id = cursor_uint(c);

    if (!cursor_ok(c) || id > UINT32_MAX)
        return "id: integer in 0 .. 2^32-1 expected";
    frame->id = (uint32_t)id;
    return NULL;
}

/*
 * The common request, in one go: an id of any form, a method with a short name, small params. False: anything
 * else, the decoder that can say what is wrong looks at it from the start.
 */
static bool decode_plain_request(struct slice bytes, struct rpc_frame *frame)
{
    const uint8_t *at = bytes.data, *end;
    size_t id_bytes, name_len;

    /* 94 00, the longest 32-bit id and the shortest method and params: then no head lies outside. */
    if (bytes.len < 2 + 5 + 2 || at[0] != 0x94 || at[1] != RPC_REQUEST)
        return false;
    end = at + bytes.len;
    at += 2;
    id_bytes = *at < 0x80 ? 0 : *at == 0xcc ? 1 : *at == 0xcd ? 2 : *at == 0xce ? 4 : 8;
    if (id_bytes == 8)
        return false;
    frame->id = id_bytes == 0 ? *at : (uint32_t)wire_load(at + 1, (unsigned)id_bytes);
    at += 1 + id_bytes;
    name_len = *at & 0x1f;
    if ((*at & 0xe0) != 0xa0 || name_len + 1 >= (size_t)(end - at))
        return false;
    frame->method = slice_of(at + 1, name_len);
    at += 1 + name_len;
    if ((*at & 0xf0) != 0x90 || wire_measure_small(slice_of(at, (size_t)(end - at))) != (size_t)(end - at))
        return false;
    frame->type = RPC_REQUEST;
    frame->params = (struct cursor){.at = at, .end = end};
    frame->error = slice_of(NULL, 0);
    frame->result = (struct cursor){0};
    return true;
}

const char *rpc_decode(struct slice bytes, struct rpc_frame *ret_frame)
{
    struct cursor c = cursor_of(bytes);
    const char *error = NULL;
    uint32_t count;
    uint64_t type;

    if (decode_plain_request(bytes, ret_frame))
        return NULL;
    count = cursor_array(&c);
    type = cursor_uint(&c);
    *ret_frame = (struct rpc_frame){0};
    if (!cursor_ok(&c) || type > RPC_NOTIFICATION)
        return "not a message: array expected that starts with 0, 1 or 2";
    ret_frame->type = (enum rpc_type)type;
    if (type != RPC_NOTIFICATION)
        error = decode_id(&c, ret_frame);
    if (error)
        return error;
    if (count != (type == RPC_NOTIFICATION ? 3 : 4))
        return "a message of this type has another number of elements";
    error = type == RPC_RESPONSE ? decode_answer(&c, ret_frame) : decode_call(&c, ret_frame);
    if (error)
        return error;
    return cursor_at_end(&c) ? NULL : "bytes follow the message";
}

const char *rpc_decode_error(struct slice error, enum rpc_error *ret_code, struct slice *ret_text)
{
    struct cursor c = cursor_of(error);
    uint32_t count = cursor_array(&c);
    uint64_t code = cursor_uint(&c);

    *ret_code = RPC_OK;
    *ret_text = cursor_bytes(&c);
    if (!cursor_ok(&c) || count < 2)
        return "error: [code, text] expected";
    if (code == 0 || code > INT32_MAX)
        return "error code: integer in 1 .. 2^31-1 expected";
    *ret_code = (enum rpc_error)code;
    return NULL;
}

const char *rpc_error_name(enum rpc_error error)
{
    switch (error) {
    case RPC_OK:
        return "ok";
    case RPC_MALFORMED:
        return "malformed";
    case RPC_UNKNOWN_METHOD:
        return "unknown_method";
    case RPC_INVALID:
        return "invalid";
    case RPC_TOO_LARGE:
        return "too_large";
    case RPC_REFUSED:
        return "refused";
    case RPC_INDETERMINATE:
        return "indeterminate";
    case RPC_BUSY:
        return "busy";
    case RPC_PERMISSION:
        return "permission";
    case RPC_TIMEOUT:
        return "timeout";
    case RPC_STORE:
        return "store";
    case RPC_CORRUPT:
        return "corrupt";
    case RPC_INTERNAL:
        return "internal";
    case RPC_MIN_VERSION:
        return "min_version";
    case RPC_OTHER_EPOCH:
        return "other_epoch";
    case RPC_UNAVAILABLE:
        return "unavailable";
    }
    return "unknown";
}

void rpc_pack_request(struct buffer *b, uint32_t id, const char *method)
{
    pack_array(b, 4);
    pack_uint(b, RPC_REQUEST);
    pack_uint(b, id);
    pack_text(b, method);
}

/* By hand: it precedes every answer. */
void rpc_pack_response(struct buffer *b, uint32_t id)
{
    uint8_t *start = buffer_reserve(b, 3 + WIRE_UINT_MAX);
    uint8_t *at = start;

    if (!start)
        return;
    *at++ = 0x94;
    *at++ = RPC_RESPONSE;
    at = wire_put_uint(at, id);
    *at++ = 0xc0;
    b->len += (size_t)(at - start);
}

void rpc_pack_notification(struct buffer *b, const char *method)
{
    pack_array(b, 3);
    pack_uint(b, RPC_NOTIFICATION);
    pack_text(b, method);
}

void rpc_pack_error(struct buffer *b, uint32_t id, enum rpc_error code, const char *text)
{
    pack_array(b, 4);
    pack_uint(b, RPC_RESPONSE);
    pack_uint(b, id);
    pack_array(b, 2);
    pack_uint(b, code);
    pack_text(b, text);
    pack_nil(b);
}
