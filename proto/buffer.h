/*
 * A growable run of bytes that messages are packed into. Grows by doubling; a failed allocation is remembered
 * in `failed`, so that a writer checks once at the end instead of at every item.
 */
#ifndef DCACHED_PROTO_BUFFER_H
#define DCACHED_PROTO_BUFFER_H

#include "proto/slice.h"

struct buffer {
    uint8_t *data;
    size_t len, capacity;
    bool failed;
};

#define BUFFER_INIT \
    {               \
        0           \
    }

void buffer_deinit(struct buffer *buffer);
void buffer_clear(struct buffer *buffer);                                /* keeps the memory */
void buffer_append(struct buffer *buffer, const void *data, size_t len); /* sets `failed` on ENOMEM */
/* Room for `len` more bytes, to be filled by the caller, who then adds to `len`; NULL on ENOMEM. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t len);
void buffer_consume(struct buffer *buffer, size_t len); /* drops from the front */

#endif
