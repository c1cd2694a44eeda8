/* get and mget: params and readings, both ways. */
#include "proto/options.h"
#include "proto/wire.h"

#define READ_OPTIONS (OPTION_strong | OPTION_min_version | OPTION_epoch | OPTION_max_stale_ms | OPTION_timeout_ms)

#define READING_ELEMENTS 8
#define FAILURE_ELEMENTS 3

static uint32_t count_options(const struct proto_read_options *options)
{
    bool epoch = options->min_version > 0 && options->epoch.len > 0;

    return (uint32_t)options->strong + (options->min_version > 0) + epoch + (options->max_stale_ms > 0) +
           (options->timeout_ms > 0);
}

static void pack_uint_option(struct buffer *b, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    pack_text(b, name);
    pack_uint(b, value);
}

/* The array of params up to and without its first element, and the options for behind it. */
static uint32_t open_params(struct buffer *b, const struct proto_read_options *options)
{
    uint32_t count = options ? count_options(options) : 0;

    pack_array(b, count > 0 ? 2 : 1);
    return count;
}

static void pack_options(struct buffer *b, const struct proto_read_options *options, uint32_t count)
{
    if (count == 0)
        return;
    pack_map(b, count);
    if (options->strong) {
        pack_text(b, "strong");
        pack_bool(b, true);
    }
    pack_uint_option(b, "min_version", options->min_version);
    if (options->min_version > 0 && options->epoch.len > 0) {
        pack_text(b, "epoch");
        pack_str(b, options->epoch);
    }
    pack_uint_option(b, "max_stale_ms", options->max_stale_ms);
    pack_uint_option(b, "timeout_ms", options->timeout_ms);
}

void proto_pack_get(struct buffer *b, uint32_t id, struct slice key, const struct proto_read_options *options)
{
    uint32_t count;

    rpc_pack_request(b, id, "get");
    count = open_params(b, options);
    pack_bin(b, key);
    pack_options(b, options, count);
}

void proto_pack_mget(struct buffer *b, uint32_t id, const struct slice *keys, uint32_t count,
                     const struct proto_read_options *options)
{
    uint32_t option_count;

    rpc_pack_request(b, id, "mget");
    option_count = open_params(b, options);
    pack_array(b, count);
    for (uint32_t i = 0; i < count; i++)
        pack_bin(b, keys[i]);
    pack_options(b, options, option_count);
}

static const char *decode_options(struct cursor *c, struct proto_read_options *ret_options)
{
    struct options taken;
    const char *error = options_decode(c, READ_OPTIONS, &taken);

    if (error)
        return error;
    if ((taken.given & OPTION_epoch) && !(taken.given & OPTION_min_version))
        return "epoch: is given without min_version";
    *ret_options = (struct proto_read_options){
        .strong = taken.strong,
        .min_version = taken.min_version,
        .epoch = taken.epoch,
        .max_stale_ms = taken.max_stale_ms,
        .timeout_ms = taken.timeout_ms,
    };
    return NULL;
}

const char *proto_decode_get(struct cursor params, struct slice *ret_key, struct proto_read_options *ret_options)
{
    uint32_t count;
    const char *error = params_open(&params, 1, 2, "params: [key, {options}?] expected", &count);

    *ret_options = (struct proto_read_options){0};
    if (!error)
        error = params_key(&params, ret_key);
    if (!error && count == 2)
        error = decode_options(&params, ret_options);
    return error ? error : params_close(&params);
}

const char *proto_decode_mget(struct cursor params, struct slice *ret_keys, uint32_t *ret_count,
                              struct proto_read_options *ret_options)
{
    uint32_t count, keys;
    const char *error = params_open(&params, 1, 2, "params: [[key, ...], {options}?] expected", &count);

    *ret_count = 0;
    *ret_options = (struct proto_read_options){0};
    if (error)
        return error;
    keys = cursor_array(&params);
    if (!cursor_ok(&params))
        return "keys: array expected";
    if (keys > PROTO_MGET_MAX)
        return "keys: at most 1024 in one call";
    for (uint32_t i = 0; i < keys && !error; i++)
        error = params_key(&params, &ret_keys[i]);
    if (!error && count == 2)
        error = decode_options(&params, ret_options);
    if (error)
        return error;
    *ret_count = keys;
    return params_close(&params);
}

static void pack_failed_reading(struct buffer *b, const struct proto_reading *reading)
{
    pack_array(b, FAILURE_ELEMENTS);
    pack_uint(b, STATE_FAILED);
    pack_uint(b, reading->code);
    pack_str(b, reading->text);
}

/* By hand into one reservation: this is the answer of nearly every request. */
void proto_pack_reading(struct buffer *b, const struct proto_reading *reading)
{
    uint8_t *start, *at;

    if (reading->state == STATE_FAILED) {
        pack_failed_reading(b, reading);
        return;
    }
    if (reading->value.len > UINT32_MAX || reading->source.len > UINT32_MAX) {
        b->failed = true;
        return;
    }
    start = at =
        buffer_reserve(b, 3 + 4 * WIRE_UINT_MAX + 2 * WIRE_BYTES_MAX + reading->value.len + reading->source.len);
    if (!start)
        return;
    *at++ = 0x90 | READING_ELEMENTS;
    *at++ = (uint8_t)reading->state;
    at = wire_put_uint(at, reading->as_of_ns);
    if (reading->state == STATE_ABSENT)
        *at++ = 0xc0;
    else
        at = wire_put_bin(at, reading->value);
    at = wire_put_uint(at, reading->version);
    at = wire_put_uint(at, reading->timestamp_ns);
    at = wire_put_str(at, reading->source);
    at = wire_put_uint(at, reading->age_ms);
    *at++ = reading->replaced ? 0xc3 : 0xc2;
    b->len += (size_t)(at - start);
}

static const char *decode_failed_reading(struct cursor *c, struct proto_reading *ret_reading)
{
    uint64_t code = cursor_uint(c);

    ret_reading->text = cursor_bytes(c);
    if (!cursor_ok(c) || code == 0 || code > INT32_MAX)
        return "reading: [4, code, text] expected";
    ret_reading->code = (enum rpc_error)code;
    return NULL;
}

static const char *decode_reading(struct cursor *c, struct proto_reading *ret_reading)
{
    ret_reading->as_of_ns = cursor_uint(c);
    if (!cursor_ok(c))
        return "reading: as_of: integer expected";
    if (ret_reading->state != STATE_ABSENT)
        ret_reading->value = cursor_bytes(c);
    else if (!cursor_nil(c))
        return "reading: an absent key has a value";
    if (!cursor_ok(c))
        return "reading: value: bin expected";
    ret_reading->version = cursor_uint(c);
    if (!cursor_ok(c) || ret_reading->version > PROTO_VERSION_MAX)
        return "reading: version: integer in 0 .. 2^63-1 expected";
    ret_reading->timestamp_ns = cursor_uint(c);
    ret_reading->source = cursor_bytes(c);
    ret_reading->age_ms = cursor_uint(c);
    ret_reading->replaced = cursor_bool(c);
    return cursor_ok(c) ? NULL : "reading: timestamp, source, age_ms or replaced is of the wrong type";
}

const char *proto_decode_reading(struct cursor *c, struct proto_reading *ret_reading)
{
    uint32_t count = cursor_array(c), known;
    uint64_t state = cursor_uint(c);
    const char *error;

    *ret_reading = (struct proto_reading){0};
    if (!cursor_ok(c) || count == 0 || state > STATE_FAILED)
        return "reading: array expected that starts with 0 .. 4";
    ret_reading->state = (enum proto_state)state;
    known = state == STATE_FAILED ? FAILURE_ELEMENTS : READING_ELEMENTS;
    if (count < known)
        return "reading: elements are missing";
    error = state == STATE_FAILED ? decode_failed_reading(c, ret_reading) : decode_reading(c, ret_reading);
    while (!error && count-- > known) {
        cursor_skip(c);
        error = c->error;
    }
    return error;
}
