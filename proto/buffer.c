#include "proto/buffer.h"

#include <stdlib.h>

#define CAPACITY_MIN 256 /* picked: holds most requests, so that they grow once */

void buffer_deinit(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer)BUFFER_INIT;
}

void buffer_clear(struct buffer *buffer)
{
    buffer->len = 0;
    buffer->failed = false;
}

static bool buffer_grow(struct buffer *buffer, size_t len)
{
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : CAPACITY_MIN;
    uint8_t *data;

    if (len > SIZE_MAX / 2 - buffer->len) {
        buffer->failed = true;
        return false;
    }
    while (capacity < buffer->len + len)
        capacity *= 2;
    data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t len)
{
    /* After a failure nothing more goes in: a message with a hole must not look whole. */
    if (buffer->failed)
        return NULL;
    if ((!buffer->data || len > buffer->capacity - buffer->len) && !buffer_grow(buffer, len))
        return NULL;
    return buffer->data + buffer->len;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    uint8_t *at = buffer_reserve(buffer, len);

    if (!at || len == 0)
        return;
    memcpy(at, data, len);
    buffer->len += len;
}

void buffer_consume(struct buffer *buffer, size_t len)
{
    if (len >= buffer->len) {
        buffer->len = 0;
        return;
    }
    memmove(buffer->data, buffer->data + len, buffer->len - len);
    buffer->len -= len;
}
