/*
 * What the first byte of a MessagePack object says, for the cursor and the scanner: one table, so that both
 * agree on where an object ends.
 */
#ifndef DCACHED_PROTO_WIRE_H
#define DCACHED_PROTO_WIRE_H

#include "proto/cursor.h"

struct wire_head {
    uint8_t type;         /* enum cursor_type; CURSOR_NONE for 0xc1, which MessagePack does not use. Signed
                             formats say CURSOR_INT, whatever the sign of their number */
    uint8_t length_bytes; /* size of the big-endian length or count that follows: 0, 1, 2 or 4 */
    uint8_t payload;      /* payload bytes beyond those the length counts */
    uint8_t children;     /* objects inside, if the first byte says it: a map has two for each pair */
};

/* Of 0xc0 .. 0xdf. */
extern const struct wire_head wire_heads[32];

static inline struct wire_head wire_head_of(uint8_t first)
{
    if (first < 0x80)
        return (struct wire_head){CURSOR_UINT, 0, 0, 0};
    if (first < 0x90)
        return (struct wire_head){CURSOR_MAP, 0, 0, (uint8_t)(2 * (first & 0x0f))};
    if (first < 0xa0)
        return (struct wire_head){CURSOR_ARRAY, 0, 0, (uint8_t)(first & 0x0f)};
    if (first < 0xc0)
        return (struct wire_head){CURSOR_STR, 0, (uint8_t)(first & 0x1f), 0};
    if (first < 0xe0)
        return wire_heads[first - 0xc0];
    return (struct wire_head){CURSOR_INT, 0, 0, 0};
}

/*
 * Length of the object that `bytes` starts with, if it is whole and of the common shape: at most
 * CURSOR_DEPTH_MAX containers, each with its count in its first byte. 0: look closer.
 */
size_t wire_measure_small(struct slice bytes);

/* Big-endian number of 0 .. 8 bytes. */
static inline uint64_t wire_load(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* ---- writing into reserved memory; each returns the first byte after what it wrote ------------------------ */

#define WIRE_UINT_MAX  9 /* bytes of the longest integer */
#define WIRE_BYTES_MAX 5 /* bytes of the longest head of a str or bin */

static inline uint8_t *wire_store(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    return at + bytes;
}

static inline uint8_t *wire_put_uint(uint8_t *at, uint64_t value)
{
    if (value < 0x80) {
        *at++ = (uint8_t)value;
        return at;
    }
    if (value > UINT32_MAX) {
        *at++ = 0xcf;
        return wire_store(at, value, 8);
    }
    if (value > UINT16_MAX) {
        *at++ = 0xce;
        return wire_store(at, value, 4);
    }
    if (value > UINT8_MAX) {
        *at++ = 0xcd;
        return wire_store(at, value, 2);
    }
    *at++ = 0xcc;
    *at++ = (uint8_t)value;
    return at;
}

/* `bytes.len` is at most UINT32_MAX. */
static inline uint8_t *wire_put_bin(uint8_t *at, struct slice bytes)
{
    if (bytes.len <= UINT8_MAX) {
        *at++ = 0xc4;
        *at++ = (uint8_t)bytes.len;
    } else if (bytes.len <= UINT16_MAX) {
        *at++ = 0xc5;
        at = wire_store(at, bytes.len, 2);
    } else {
        *at++ = 0xc6;
        at = wire_store(at, bytes.len, 4);
    }
    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

/* `text.len` is at most UINT32_MAX. */
static inline uint8_t *wire_put_str(uint8_t *at, struct slice text)
{
    if (text.len < 32) {
        *at++ = (uint8_t)(0xa0 | text.len);
    } else if (text.len <= UINT8_MAX) {
        *at++ = 0xd9;
        *at++ = (uint8_t)text.len;
    } else if (text.len <= UINT16_MAX) {
        *at++ = 0xda;
        at = wire_store(at, text.len, 2);
    } else {
        *at++ = 0xdb;
        at = wire_store(at, text.len, 4);
    }
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    return at + text.len;
}

#endif
