/*
 * A bounded reader of MessagePack. It never allocates, never reads past its end, and believes no count that
 * the bytes at hand cannot hold (every element of an array takes at least one byte, of a map two).
 *
 * The first failure sticks: later reads return zero values and `cursor_ok` stays false, so a decoder reads all
 * its fields and checks once.
 */
#ifndef DCACHED_PROTO_CURSOR_H
#define DCACHED_PROTO_CURSOR_H

#include "proto/slice.h"

struct cursor {
    const uint8_t *at, *end;
    const char *error; /* NULL while good; static text that names what was wrong */
};

enum cursor_type {
    CURSOR_NIL,
    CURSOR_BOOL,
    CURSOR_UINT, /* non-negative integer */
    CURSOR_INT,  /* negative integer */
    CURSOR_FLOAT,
    CURSOR_STR,
    CURSOR_BIN,
    CURSOR_ARRAY,
    CURSOR_MAP,
    CURSOR_EXT,
    CURSOR_NONE, /* end of input, or failed */
};

struct cursor cursor_of(struct slice bytes);
bool cursor_ok(const struct cursor *c);
bool cursor_at_end(const struct cursor *c);
enum cursor_type cursor_peek(const struct cursor *c);
void cursor_fail(struct cursor *c, const char *error); /* keeps the first error */

bool cursor_nil(struct cursor *c); /* consumes a nil if one is next; false otherwise, without failing */
bool cursor_bool(struct cursor *c);
uint64_t cursor_uint(struct cursor *c);      /* fails on negative numbers, floats, strings, bools */
int64_t cursor_int(struct cursor *c);        /* fails outside int64 */
struct slice cursor_bytes(struct cursor *c); /* str or bin; borrows from the input */
uint32_t cursor_array(struct cursor *c);     /* number of elements that follow */
uint32_t cursor_map(struct cursor *c);       /* number of key-value pairs that follow */
struct slice cursor_raw(struct cursor *c);   /* skips one whole object and returns its bytes */
void cursor_skip(struct cursor *c);

#define CURSOR_DEPTH_MAX 16 /* nesting of one object; deeper input fails. Picked: the protocol needs 5. */

#endif
