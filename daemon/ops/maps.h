/* Packing of the results that are maps: a name and a value each. Internal to ops. */
#ifndef DCACHED_OPS_MAPS_H
#define DCACHED_OPS_MAPS_H

#include "proto/rpc.h"

static inline void map_uint(struct buffer *b, const char *name, uint64_t value)
{
    pack_text(b, name);
    pack_uint(b, value);
}

static inline void map_bool(struct buffer *b, const char *name, bool value)
{
    pack_text(b, name);
    pack_bool(b, value);
}

static inline void map_text(struct buffer *b, const char *name, const char *value)
{
    pack_text(b, name);
    pack_text(b, value ? value : "");
}

static inline void map_str(struct buffer *b, const char *name, struct slice value)
{
    pack_text(b, name);
    pack_str(b, value);
}

static inline void map_bin(struct buffer *b, const char *name, struct slice value)
{
    pack_text(b, name);
    pack_bin(b, value);
}

/* Milliseconds since `since`; nil if that is 0. */
static inline void map_age(struct buffer *b, const char *name, uint64_t now, uint64_t since)
{
    pack_text(b, name);
    if (since == 0)
        pack_nil(b);
    else
        pack_uint(b, (now > since ? now - since : 0) / UINT64_C(1000000));
}

#endif
