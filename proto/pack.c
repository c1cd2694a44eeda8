#include <msgpack/pack.h>

#include "proto/rpc.h"

/* Failures are kept in the buffer, so the packer itself never sees one. */
static int pack_write(void *data, const char *bytes, size_t len)
{
    buffer_append(data, bytes, len);
    return 0;
}

static msgpack_packer packer_of(struct buffer *b)
{
    msgpack_packer packer;

    msgpack_packer_init(&packer, b, pack_write);
    return packer;
}

void pack_nil(struct buffer *b)
{
    msgpack_packer packer = packer_of(b);

    msgpack_pack_nil(&packer);
}

void pack_bool(struct buffer *b, bool value)
{
    msgpack_packer packer = packer_of(b);

    if (value)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

void pack_uint(struct buffer *b, uint64_t value)
{
    msgpack_packer packer = packer_of(b);

    msgpack_pack_uint64(&packer, value);
}

void pack_int(struct buffer *b, int64_t value)
{
    msgpack_packer packer = packer_of(b);

    msgpack_pack_int64(&packer, value);
}

void pack_str(struct buffer *b, struct slice text)
{
    msgpack_packer packer = packer_of(b);

    if (text.len > UINT32_MAX) {
        b->failed = true;
        return;
    }
    msgpack_pack_str(&packer, text.len);
    msgpack_pack_str_body(&packer, text.data, text.len);
}

void pack_text(struct buffer *b, const char *text)
{
    pack_str(b, slice_text(text));
}

void pack_bin(struct buffer *b, struct slice bytes)
{
    msgpack_packer packer = packer_of(b);

    if (bytes.len > UINT32_MAX) {
        b->failed = true;
        return;
    }
    msgpack_pack_bin(&packer, bytes.len);
    msgpack_pack_bin_body(&packer, bytes.data, bytes.len);
}

void pack_array(struct buffer *b, uint32_t count)
{
    msgpack_packer packer = packer_of(b);

    msgpack_pack_array(&packer, count);
}

void pack_map(struct buffer *b, uint32_t count)
{
    msgpack_packer packer = packer_of(b);

    msgpack_pack_map(&packer, count);
}
