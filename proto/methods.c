#include "proto/methods.h"

#include "proto/options.h"

static const struct slice names[METHOD_COUNT] = {
#define X(name, class) [METHOD_##name] = {(const uint8_t *)#name, sizeof(#name) - 1},
    PROTO_METHODS(X)
#undef X
};

static const uint8_t classes[METHOD_COUNT] = {
#define X(name, class) [METHOD_##name] = CLASS_##class,
    PROTO_METHODS(X)
#undef X
};

enum proto_method proto_method_find(struct slice name)
{
    /* Nearly every request is one. */
    if (name.len == 3 && memcmp(name.data, "get", 3) == 0)
        return METHOD_get;
    for (unsigned i = 0; i < METHOD_COUNT; i++)
        if (slice_equal(name, names[i]))
            return (enum proto_method)i;
    return METHOD_COUNT;
}

const char *proto_method_name(enum proto_method method)
{
    return (unsigned)method < METHOD_COUNT ? (const char *)names[method].data : "unknown";
}

enum proto_class proto_method_class(enum proto_method method)
{
    return (enum proto_class)classes[method];
}

const char *proto_class_name(enum proto_class what)
{
    static const char *const words[CLASS_COUNT] = {"open", "read", "write", "admin"};

    return words[what];
}

/* ---- hello ------------------------------------------------------------------------------------------------ */

void proto_pack_hello(struct buffer *b, uint32_t id, const char *client)
{
    rpc_pack_request(b, id, "hello");
    pack_array(b, 1);
    pack_map(b, 2);
    pack_text(b, "client");
    pack_text(b, client);
    pack_text(b, "protocol");
    pack_uint(b, PROTO_VERSION);
}

const char *proto_decode_hello_params(struct cursor params, struct slice *ret_client, uint64_t *ret_protocol)
{
    struct options options = {0};
    uint32_t count;
    const char *error = params_open(&params, 0, 1, "params: [{client, protocol}?] expected", &count);

    if (!error && count == 1)
        error = options_decode(&params, OPTION_client | OPTION_protocol, &options);
    *ret_client = options.client;
    *ret_protocol = options.protocol;
    return error ? error : params_close(&params);
}

/* Keys of the result in the order they are packed; X(name, is text). */
#define HELLO_KEYS(X)      \
    X(server, true)        \
    X(protocol, false)     \
    X(pod, true)           \
    X(role, true)          \
    X(bound_ns, false)     \
    X(max_stale_ns, false) \
    X(clock_ns, false)     \
    X(epoch, true)         \
    X(max_message, false)  \
    X(max_key, false)      \
    X(max_value, false)    \
    X(max_in_flight, false)

static const struct hello_key {
    struct slice name;
    bool text;
    size_t offset; /* in struct proto_hello */
    const char *wrong, *missing;
} hello_keys[] = {
#define X(name, text)                             \
    {{(const uint8_t *)#name, sizeof(#name) - 1}, \
     text,                                        \
     offsetof(struct proto_hello, name),          \
     "hello: " #name " is of the wrong type",     \
     "hello: " #name " is missing"},
    HELLO_KEYS(X)
#undef X
};

#define HELLO_KEY_COUNT (sizeof(hello_keys) / sizeof(hello_keys[0]))

void proto_pack_hello_result(struct buffer *b, const struct proto_hello *hello)
{
    pack_map(b, HELLO_KEY_COUNT + 1);
    for (size_t i = 0; i < HELLO_KEY_COUNT; i++) {
        const void *field = (const char *)hello + hello_keys[i].offset;

        pack_str(b, hello_keys[i].name);
        if (hello_keys[i].text)
            pack_str(b, *(const struct slice *)field);
        else
            pack_uint(b, *(const uint64_t *)field);
    }
    pack_text(b, "mget_max");
    pack_uint(b, PROTO_MGET_MAX);
}

/* The value that belongs to `name`; HELLO_KEY_COUNT in *ret_index if the key is unknown and was skipped. */
static const char *hello_take(struct cursor *c, struct slice name, struct proto_hello *hello, size_t *ret_index)
{
    size_t i = 0;
    void *field;

    while (i < HELLO_KEY_COUNT && !slice_equal(name, hello_keys[i].name))
        i++;
    *ret_index = i;
    if (i == HELLO_KEY_COUNT) {
        cursor_skip(c);
        return c->error;
    }
    field = (char *)hello + hello_keys[i].offset;
    if (hello_keys[i].text)
        *(struct slice *)field = cursor_bytes(c);
    else
        *(uint64_t *)field = cursor_uint(c);
    return cursor_ok(c) ? NULL : hello_keys[i].wrong;
}

const char *proto_decode_hello_result(struct cursor c, struct proto_hello *ret_hello)
{
    uint32_t count = cursor_map(&c);
    unsigned given = 0;

    *ret_hello = (struct proto_hello){0};
    if (!cursor_ok(&c))
        return "hello: map expected";
    for (uint32_t i = 0; i < count; i++) {
        struct slice name = cursor_bytes(&c);
        size_t index;
        const char *error;

        if (!cursor_ok(&c))
            return "hello: a key is not str";
        error = hello_take(&c, name, ret_hello, &index);
        if (error)
            return error;
        given |= 1u << index;
    }
    for (size_t i = 0; i < HELLO_KEY_COUNT; i++)
        if (!(given & 1u << i))
            return hello_keys[i].missing;
    return NULL;
}

/* ---- looking in ------------------------------------------------------------------------------------------- */

static const char *decode_page(struct cursor *c, bool has_cursor, bool has_limit, uint64_t *ret_cursor,
                               uint32_t *ret_limit)
{
    uint64_t limit = PROTO_VERSIONS_MAX;
    const char *error = NULL;

    *ret_cursor = 0;
    if (has_cursor)
        error = params_uint(c, UINT64_MAX, ret_cursor, "cursor: integer expected");
    if (!error && has_limit)
        error = params_uint(c, PROTO_VERSIONS_MAX, &limit, "limit: integer in 1 .. 1000 expected");
    if (!error && limit == 0)
        error = "limit: integer in 1 .. 1000 expected";
    *ret_limit = (uint32_t)limit;
    return error;
}

const char *proto_decode_versions(struct cursor params, struct slice *ret_prefix, uint64_t *ret_cursor,
                                  uint32_t *ret_limit)
{
    uint32_t count;
    const char *error = params_open(&params, 0, 3, "params: [prefix?, cursor?, limit?] expected", &count);

    *ret_prefix = slice_of(NULL, 0);
    if (!error && count > 0)
        error = params_bytes(&params, ret_prefix, "prefix: str or bin expected");
    if (!error)
        error = decode_page(&params, count > 1, count > 2, ret_cursor, ret_limit);
    return error ? error : params_close(&params);
}

const char *proto_decode_clients(struct cursor params, uint64_t *ret_cursor, uint32_t *ret_limit)
{
    uint32_t count;
    const char *error = params_open(&params, 0, 2, "params: [cursor?, limit?] expected", &count);

    if (!error)
        error = decode_page(&params, count > 0, count > 1, ret_cursor, ret_limit);
    return error ? error : params_close(&params);
}

const char *proto_decode_log_level(struct cursor params, struct slice *ret_level)
{
    uint32_t count;
    const char *error = params_open(&params, 0, 1, "params: [level?] expected", &count);

    *ret_level = slice_of(NULL, 0);
    if (!error && count > 0)
        error = params_bytes(&params, ret_level, "level: str expected");
    if (!error && count > 0 && ret_level->len == 0)
        error = "level: is empty";
    return error ? error : params_close(&params);
}

const char *proto_decode_verify(struct cursor params, uint64_t *ret_cursor, uint32_t *ret_limit,
                                uint64_t *ret_timeout_ms)
{
    uint32_t count;
    const char *error = params_open(&params, 0, 3, "params: [cursor?, limit?, {timeout_ms}?] expected", &count);

    if (!error)
        error = decode_page(&params, count > 0, count > 1, ret_cursor, ret_limit);
    if (!error)
        error = params_timeout(&params, count > 2, ret_timeout_ms);
    return error ? error : params_close(&params);
}

const char *proto_decode_trace(struct cursor params, struct slice *ret_key, uint32_t *ret_last)
{
    uint32_t count;
    uint64_t last = PROTO_TRACE_DEFAULT;
    const char *error = params_open(&params, 1, 2, "params: [key, last?] expected", &count);

    if (!error)
        error = params_key(&params, ret_key);
    if (!error && count > 1)
        error = params_uint(&params, PROTO_TRACE_MAX, &last, "last: integer in 1 .. 1000 expected");
    if (!error && last == 0)
        error = "last: integer in 1 .. 1000 expected";
    *ret_last = (uint32_t)last;
    return error ? error : params_close(&params);
}

const char *proto_decode_inspect(struct cursor params, struct slice *ret_key, uint64_t *ret_timeout_ms)
{
    uint32_t count;
    const char *error = params_open(&params, 1, 2, "params: [key, {timeout_ms}?] expected", &count);

    if (!error)
        error = params_key(&params, ret_key);
    if (!error)
        error = params_timeout(&params, count > 1, ret_timeout_ms);
    return error ? error : params_close(&params);
}

const char *proto_decode_watch(struct cursor params, struct slice *ret_prefix)
{
    uint32_t count;
    const char *error = params_open(&params, 0, 1, "params: [prefix?] expected", &count);

    *ret_prefix = slice_of(NULL, 0);
    if (!error && count > 0)
        error = params_bytes(&params, ret_prefix, "prefix: str or bin expected");
    return error ? error : params_close(&params);
}

const char *proto_decode_unwatch(struct cursor params, uint64_t *ret_watch)
{
    uint32_t count;
    const char *error = params_open(&params, 1, 1, "params: [watch id] expected", &count);

    if (!error)
        error = params_uint(&params, UINT64_MAX, ret_watch, "watch id: integer expected");
    return error ? error : params_close(&params);
}

const char *proto_decode_empty(struct cursor params)
{
    uint32_t count;
    const char *error = params_open(&params, 0, 0, "params: [] expected", &count);

    return error ? error : params_close(&params);
}
