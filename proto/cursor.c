#include "proto/cursor.h"

#include "proto/wire.h"

const struct wire_head wire_heads[32] = {
    {CURSOR_NIL, 0, 0, 0},   {CURSOR_NONE, 0, 0, 0},  {CURSOR_BOOL, 0, 0, 0},  {CURSOR_BOOL, 0, 0, 0},
    {CURSOR_BIN, 1, 0, 0},   {CURSOR_BIN, 2, 0, 0},   {CURSOR_BIN, 4, 0, 0},   {CURSOR_EXT, 1, 1, 0},
    {CURSOR_EXT, 2, 1, 0},   {CURSOR_EXT, 4, 1, 0},   {CURSOR_FLOAT, 0, 4, 0}, {CURSOR_FLOAT, 0, 8, 0},
    {CURSOR_UINT, 0, 1, 0},  {CURSOR_UINT, 0, 2, 0},  {CURSOR_UINT, 0, 4, 0},  {CURSOR_UINT, 0, 8, 0},
    {CURSOR_INT, 0, 1, 0},   {CURSOR_INT, 0, 2, 0},   {CURSOR_INT, 0, 4, 0},   {CURSOR_INT, 0, 8, 0},
    {CURSOR_EXT, 0, 2, 0},   {CURSOR_EXT, 0, 3, 0},   {CURSOR_EXT, 0, 5, 0},   {CURSOR_EXT, 0, 9, 0},
    {CURSOR_EXT, 0, 17, 0},  {CURSOR_STR, 1, 0, 0},   {CURSOR_STR, 2, 0, 0},   {CURSOR_STR, 4, 0, 0},
    {CURSOR_ARRAY, 2, 0, 0}, {CURSOR_ARRAY, 4, 0, 0}, {CURSOR_MAP, 2, 0, 0},   {CURSOR_MAP, 4, 0, 0},
};

static const char error_short[] = "the message ends inside an object";
static const char error_unused[] = "byte 0xc1 is not MessagePack";
static const char error_deep[] = "nested too deeply";

struct cursor cursor_of(struct slice bytes)
{
    return (struct cursor){.at = bytes.data, .end = bytes.len > 0 ? bytes.data + bytes.len : bytes.data};
}

bool cursor_ok(const struct cursor *c)
{
    return c->error == NULL;
}

bool cursor_at_end(const struct cursor *c)
{
    return c->at == c->end;
}

void cursor_fail(struct cursor *c, const char *error)
{
    if (!c->error)
        c->error = error;
}

static size_t bytes_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* The next object's head without consuming it. */
static bool head_of(struct cursor *c, struct wire_head *ret_head)
{
    if (c->error)
        return false;
    if (c->at == c->end) {
        c->error = error_short;
        return false;
    }
    *ret_head = wire_head_of(*c->at);
    return true;
}

enum cursor_type cursor_peek(const struct cursor *c)
{
    struct wire_head head;

    if (c->error || c->at == c->end)
        return CURSOR_NONE;
    head = wire_head_of(*c->at);
    /* int 8 .. int 64 may hold a non-negative number; its sign is the first bit of the payload. */
    if (head.type == CURSOR_INT && head.payload > 0 && bytes_left(c) > 1 && c->at[1] < 0x80)
        return CURSOR_UINT;
    return head.type;
}

bool cursor_nil(struct cursor *c)
{
    if (c->error || c->at == c->end || *c->at != 0xc0)
        return false;
    c->at++;
    return true;
}

bool cursor_bool(struct cursor *c)
{
    struct wire_head head;

    if (!head_of(c, &head))
        return false;
    if (head.type != CURSOR_BOOL) {
        c->error = "true or false expected";
        return false;
    }
    return *c->at++ == 0xc3;
}

/* Any integer: its 64 bits, and whether they stand for a negative number. */
static uint64_t take_integer(struct cursor *c, bool *ret_negative)
{
    struct wire_head head;
    uint64_t value;

    *ret_negative = false;
    if (!head_of(c, &head))
        return 0;
    if (head.type != CURSOR_UINT && head.type != CURSOR_INT) {
        c->error = "integer expected";
        return 0;
    }
    if (bytes_left(c) - 1 < head.payload) {
        c->error = error_short;
        return 0;
    }
    if (head.payload == 0) {
        value = (uint64_t)(int64_t)(int8_t)*c->at++;
        *ret_negative = head.type == CURSOR_INT;
        return value;
    }
    value = wire_load(c->at + 1, head.payload);
    if (head.type == CURSOR_INT && c->at[1] >= 0x80) {
        *ret_negative = true;
        if (head.payload < 8)
            value |= UINT64_MAX << 8 * head.payload;
    }
    c->at += 1 + head.payload;
    return value;
}

uint64_t cursor_uint(struct cursor *c)
{
    bool negative;
    uint64_t value;

    if (!c->error && c->at != c->end && *c->at < 0x80)
        return *c->at++;
    value = take_integer(c, &negative);
    if (negative) {
        cursor_fail(c, "integer is negative");
        return 0;
    }
    return value;
}

int64_t cursor_int(struct cursor *c)
{
    bool negative;
    uint64_t value = take_integer(c, &negative);

    if (!negative && value > INT64_MAX) {
        cursor_fail(c, "integer is above 2^63-1");
        return 0;
    }
    return (int64_t)value;
}

/* Consumes first byte and length or count; checks that the length is there. */
static bool take_length(struct cursor *c, struct wire_head head, uint64_t *ret_length)
{
    if (bytes_left(c) - 1 < head.length_bytes) {
        c->error = error_short;
        return false;
    }
    *ret_length = wire_load(c->at + 1, head.length_bytes);
    c->at += 1 + head.length_bytes;
    return true;
}

static struct slice take_payload(struct cursor *c, uint64_t len)
{
    struct slice bytes;

    if (len > bytes_left(c)) {
        c->error = error_short;
        return slice_of(NULL, 0);
    }
    bytes = slice_of(c->at, (size_t)len);
    c->at += len;
    return bytes;
}

struct slice cursor_bytes(struct cursor *c)
{
    struct wire_head head;
    uint64_t length;

    /* Short str: names, keys. */
    if (!c->error && c->at != c->end && (*c->at & 0xe0) == 0xa0) {
        length = *c->at++ & 0x1f;
        return take_payload(c, length);
    }
    /* bin 8, str 8: keys, values. */
    if (!c->error && bytes_left(c) > 1 && (*c->at == 0xc4 || *c->at == 0xd9)) {
        length = c->at[1];
        c->at += 2;
        return take_payload(c, length);
    }
    if (!head_of(c, &head))
        return slice_of(NULL, 0);
    if (head.type != CURSOR_STR && head.type != CURSOR_BIN) {
        c->error = "str or bin expected";
        return slice_of(NULL, 0);
    }
    if (!take_length(c, head, &length))
        return slice_of(NULL, 0);
    return take_payload(c, length + head.payload);
}

/* Number of objects inside an array or map. */
static uint64_t take_children(struct cursor *c, enum cursor_type type, const char *error)
{
    struct wire_head head;
    uint64_t children;

    if (!head_of(c, &head))
        return 0;
    if (head.type != type) {
        c->error = error;
        return 0;
    }
    if (!take_length(c, head, &children))
        return 0;
    if (type == CURSOR_MAP)
        children *= 2;
    children += head.children;
    if (children > bytes_left(c)) {
        c->error = "count is larger than the message";
        return 0;
    }
    return children;
}

uint32_t cursor_array(struct cursor *c)
{
    if (!c->error && c->at != c->end && (*c->at & 0xf0) == 0x90 && (*c->at & 0x0f) < bytes_left(c))
        return *c->at++ & 0x0f;
    return (uint32_t)take_children(c, CURSOR_ARRAY, "array expected");
}

uint32_t cursor_map(struct cursor *c)
{
    return (uint32_t)(take_children(c, CURSOR_MAP, "map expected") / 2);
}

/* Object by object, with a stack of levels. */
static struct slice take_object(struct cursor *c)
{
    const uint8_t *start = c->at;
    uint64_t left[CURSOR_DEPTH_MAX + 1]; /* objects still to come at each level */
    unsigned depth = 0;

    left[0] = 1;
    for (;;) {
        struct wire_head head;
        uint64_t length;

        while (left[depth] == 0) {
            if (depth == 0)
                return slice_of(start, (size_t)(c->at - start));
            depth--;
        }
        left[depth]--;
        if (!head_of(c, &head))
            break;
        if (head.type == CURSOR_ARRAY || head.type == CURSOR_MAP) {
            if (depth == CURSOR_DEPTH_MAX) {
                c->error = error_deep;
                break;
            }
            left[++depth] = take_children(c, head.type, NULL);
        } else if (head.type == CURSOR_NONE) {
            c->error = error_unused;
            break;
        } else if (take_length(c, head, &length)) {
            take_payload(c, length + head.payload);
        }
        if (c->error)
            break;
    }
    return slice_of(NULL, 0);
}

struct slice cursor_raw(struct cursor *c)
{
    size_t len = c->error ? 0 : wire_measure_small(slice_of(c->at, bytes_left(c)));

    return len > 0 ? take_payload(c, len) : take_object(c);
}

void cursor_skip(struct cursor *c)
{
    cursor_raw(c);
}
