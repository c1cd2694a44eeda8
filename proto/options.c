#include "proto/options.h"

enum option_kind { KIND_BOOL, KIND_VERSION, KIND_EPOCH, KIND_MS, KIND_WRITE_ID, KIND_TEXT, KIND_UINT };

#define WANT_BOOL     "true or false"
#define WANT_VERSION  "integer in 1 .. 2^63-1"
#define WANT_EPOCH    "32 lower-case hex digits"
#define WANT_MS       "integer in 0 .. 9223372036854"
#define WANT_WRITE_ID "16 bytes"
#define WANT_TEXT     "str"
#define WANT_UINT     "integer in 0 .. 2^64-1"

static const struct option {
    const char *name;
    enum option_kind kind;
    size_t offset; /* in struct options */
    const char *wrong, *twice;
} options[] = {
#define X(name, kind)                                                                        \
    {#name, KIND_##kind, offsetof(struct options, name), #name ": " WANT_##kind " expected", \
     #name " is given twice"},
    OPTIONS(X)
#undef X
};

#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

/* OPTION_COUNT if there is none of that name. */
static size_t option_find(struct slice name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (slice_equal(name, slice_text(options[i].name)))
            return i;
    return OPTION_COUNT;
}

static bool is_epoch(struct slice text)
{
    if (text.len != PROTO_EPOCH_TEXT)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!(text.data[i] >= '0' && text.data[i] <= '9') && !(text.data[i] >= 'a' && text.data[i] <= 'f'))
            return false;
    return true;
}

/* Whether the value was of the kind. */
static bool option_take(struct cursor *c, enum option_kind kind, void *ret_value)
{
    uint64_t number;
    struct slice bytes;

    switch (kind) {
    case KIND_BOOL:
        *(bool *)ret_value = cursor_bool(c);
        return cursor_ok(c);
    case KIND_VERSION:
    case KIND_MS:
    case KIND_UINT:
        *(uint64_t *)ret_value = number = cursor_uint(c);
        if (kind == KIND_VERSION && (number == 0 || number > PROTO_VERSION_MAX))
            return false;
        return cursor_ok(c) && (kind != KIND_MS || number <= PROTO_MS_MAX);
    case KIND_EPOCH:
    case KIND_WRITE_ID:
    case KIND_TEXT:
        *(struct slice *)ret_value = bytes = cursor_bytes(c);
        if (!cursor_ok(c) || (kind == KIND_EPOCH && !is_epoch(bytes)))
            return false;
        return kind != KIND_WRITE_ID || bytes.len == PROTO_WRITE_ID_BYTES;
    }
    return false;
}

const char *options_decode(struct cursor *c, unsigned allowed, struct options *ret_options)
{
    uint32_t count;

    *ret_options = (struct options){0};
    count = cursor_map(c);
    if (!cursor_ok(c))
        return "options: map expected";
    for (uint32_t i = 0; i < count; i++) {
        struct slice name = cursor_bytes(c);
        size_t index = option_find(name);
        unsigned bit = 1u << index;

        if (!cursor_ok(c))
            return "name of an option: str expected";
        if (index == OPTION_COUNT || !(allowed & bit))
            return "unknown option";
        if (ret_options->given & bit)
            return options[index].twice;
        if (!option_take(c, options[index].kind, (char *)ret_options + options[index].offset))
            return options[index].wrong;
        ret_options->given |= bit;
    }
    return NULL;
}

const char *params_open(struct cursor *c, uint32_t min, uint32_t max, const char *usage, uint32_t *ret_count)
{
    *ret_count = cursor_array(c);
    if (!cursor_ok(c) || *ret_count < min || *ret_count > max)
        return usage;
    return NULL;
}

const char *params_close(const struct cursor *c)
{
    return cursor_at_end(c) ? NULL : "bytes follow the params";
}

const char *params_bytes(struct cursor *c, struct slice *ret_bytes, const char *error)
{
    *ret_bytes = cursor_bytes(c);
    return cursor_ok(c) ? NULL : error;
}

const char *params_key(struct cursor *c, struct slice *ret_key)
{
    *ret_key = cursor_bytes(c);
    if (!cursor_ok(c))
        return "key: str or bin expected";
    return ret_key->len > 0 ? NULL : "key: is empty";
}

const char *params_uint(struct cursor *c, uint64_t max, uint64_t *ret_value, const char *error)
{
    *ret_value = cursor_uint(c);
    return cursor_ok(c) && *ret_value <= max ? NULL : error;
}

const char *params_timeout(struct cursor *c, bool given, uint64_t *ret_timeout_ms)
{
    struct options taken;
    const char *error;

    *ret_timeout_ms = 0;
    if (!given)
        return NULL;
    error = options_decode(c, OPTION_timeout_ms, &taken);
    *ret_timeout_ms = taken.timeout_ms;
    return error;
}
