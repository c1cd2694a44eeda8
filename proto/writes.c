/* set, mset, delete and clear: params and outcomes, both ways. */
#include "proto/options.h"

#define WRITE_OPTIONS \
    (OPTION_version | OPTION_ttl_ms | OPTION_invalidate | OPTION_write_id | OPTION_retry | OPTION_deadline)

#define WRITTEN_ELEMENTS 4
#define FAILURE_ELEMENTS 3

static uint32_t count_options(const struct proto_write *write, bool with_timeout)
{
    return (uint32_t)(write->version > 0) + write->has_ttl + write->has_invalidate + (write->write_id.len > 0) +
           write->retry + (write->deadline_ns > 0) + (with_timeout && write->timeout_ms > 0);
}

static void pack_options(struct buffer *b, const struct proto_write *write, bool with_timeout, uint32_t count)
{
    if (count == 0)
        return;
    pack_map(b, count);
    if (write->version > 0) {
        pack_text(b, "version");
        pack_uint(b, write->version);
    }
    if (write->has_ttl) {
        pack_text(b, "ttl_ms");
        pack_uint(b, write->ttl_ms);
    }
    if (write->has_invalidate) {
        pack_text(b, "invalidate");
        pack_bool(b, write->invalidate);
    }
    if (write->write_id.len > 0) {
        pack_text(b, "write_id");
        pack_bin(b, write->write_id);
    }
    if (write->retry) {
        pack_text(b, "retry");
        pack_bool(b, true);
    }
    if (write->deadline_ns > 0) {
        pack_text(b, "deadline");
        pack_uint(b, write->deadline_ns);
    }
    if (with_timeout && write->timeout_ms > 0) {
        pack_text(b, "timeout_ms");
        pack_uint(b, write->timeout_ms);
    }
}

/* [key, value, {options}?], respectively [key, {options}?]. */
static void pack_write(struct buffer *b, const struct proto_write *write, bool with_value, bool with_timeout)
{
    uint32_t count = count_options(write, with_timeout);

    pack_array(b, 1u + with_value + (count > 0));
    pack_bin(b, write->key);
    if (with_value)
        pack_bin(b, write->value);
    pack_options(b, write, with_timeout, count);
}

void proto_pack_set(struct buffer *b, uint32_t id, const struct proto_write *write)
{
    rpc_pack_request(b, id, "set");
    pack_write(b, write, true, true);
}

void proto_pack_delete(struct buffer *b, uint32_t id, const struct proto_write *write)
{
    rpc_pack_request(b, id, "delete");
    pack_write(b, write, false, true);
}

void proto_pack_mset(struct buffer *b, uint32_t id, const struct proto_write *writes, uint32_t count,
                     uint64_t timeout_ms)
{
    rpc_pack_request(b, id, "mset");
    pack_array(b, timeout_ms > 0 ? 2 : 1);
    pack_array(b, count);
    for (uint32_t i = 0; i < count; i++)
        pack_write(b, &writes[i], true, false);
    if (timeout_ms == 0)
        return;
    pack_map(b, 1);
    pack_text(b, "timeout_ms");
    pack_uint(b, timeout_ms);
}

static const char *decode_options(struct cursor *c, unsigned allowed, struct proto_write *write)
{
    struct options taken;
    const char *error = options_decode(c, allowed, &taken);

    if (error)
        return error;
    /* Without its write id a retry could commit a second time. */
    if (taken.retry && !(taken.given & OPTION_write_id))
        return "retry: is given without write_id";
    write->version = taken.version;
    write->has_ttl = taken.given & OPTION_ttl_ms;
    write->ttl_ms = taken.ttl_ms;
    write->has_invalidate = taken.given & OPTION_invalidate;
    write->invalidate = taken.invalidate;
    write->write_id = taken.write_id;
    write->retry = taken.retry;
    write->deadline_ns = taken.deadline;
    write->timeout_ms = taken.timeout_ms;
    return NULL;
}

static const char *decode_write(struct cursor *c, bool with_value, unsigned allowed, const char *usage,
                                struct proto_write *ret_write)
{
    uint32_t required = 1u + with_value, count;
    const char *error = params_open(c, required, required + 1, usage, &count);

    *ret_write = (struct proto_write){0};
    if (!error)
        error = params_key(c, &ret_write->key);
    if (!error && with_value)
        error = params_bytes(c, &ret_write->value, "value: str or bin expected");
    if (!error && count > required)
        error = decode_options(c, allowed, ret_write);
    return error;
}

const char *proto_decode_set(struct cursor params, struct proto_write *ret_write)
{
    const char *error = decode_write(&params, true, WRITE_OPTIONS | OPTION_timeout_ms,
                                     "params: [key, value, {options}?] expected", ret_write);

    return error ? error : params_close(&params);
}

const char *proto_decode_delete(struct cursor params, struct proto_write *ret_write)
{
    const char *error = decode_write(&params, false, WRITE_OPTIONS | OPTION_timeout_ms,
                                     "params: [key, {options}?] expected", ret_write);

    return error ? error : params_close(&params);
}

const char *proto_decode_mset(struct cursor params, struct proto_write *ret_writes, uint32_t *ret_count,
                              uint64_t *ret_timeout_ms)
{
    uint32_t count, writes;
    const char *error =
        params_open(&params, 1, 2, "params: [[[key, value, {options}?], ...], {timeout_ms}?] expected", &count);

    *ret_count = 0;
    *ret_timeout_ms = 0;
    if (error)
        return error;
    writes = cursor_array(&params);
    if (!cursor_ok(&params))
        return "items: array expected";
    if (writes > PROTO_MGET_MAX)
        return "items: at most 1024 in one call";
    for (uint32_t i = 0; i < writes && !error; i++)
        error =
            decode_write(&params, true, WRITE_OPTIONS, "item: [key, value, {options}?] expected", &ret_writes[i]);
    if (!error)
        error = params_timeout(&params, count > 1, ret_timeout_ms);
    if (error)
        return error;
    *ret_count = writes;
    return params_close(&params);
}

void proto_pack_clear(struct buffer *b, uint32_t id, const struct proto_write *write)
{
    struct proto_write taken = {.deadline_ns = write->deadline_ns, .timeout_ms = write->timeout_ms};
    uint32_t count = count_options(&taken, true);

    rpc_pack_request(b, id, "clear");
    pack_array(b, count > 0);
    pack_options(b, &taken, true, count);
}

const char *proto_decode_clear(struct cursor params, struct proto_write *ret_write)
{
    uint32_t count;
    const char *error = params_open(&params, 0, 1, "params: [{deadline, timeout_ms}?] expected", &count);

    *ret_write = (struct proto_write){0};
    if (!error && count > 0)
        error = decode_options(&params, OPTION_deadline | OPTION_timeout_ms, ret_write);
    return error ? error : params_close(&params);
}

void proto_pack_written(struct buffer *b, const struct proto_written *written)
{
    if (written->outcome == OUTCOME_FAILED) {
        pack_array(b, FAILURE_ELEMENTS);
        pack_uint(b, OUTCOME_FAILED);
        pack_uint(b, written->code);
        pack_str(b, written->text);
        return;
    }
    pack_array(b, WRITTEN_ELEMENTS);
    pack_uint(b, written->outcome);
    pack_uint(b, written->version);
    pack_uint(b, written->seq);
    pack_str(b, written->epoch);
}

static const char *decode_failed_write(struct cursor *c, struct proto_written *ret_written)
{
    uint64_t code = cursor_uint(c);

    ret_written->text = cursor_bytes(c);
    if (!cursor_ok(c) || code == 0 || code > INT32_MAX)
        return "written: [5, code, text] expected";
    ret_written->code = (enum rpc_error)code;
    return NULL;
}

static const char *decode_written(struct cursor *c, struct proto_written *ret_written)
{
    ret_written->version = cursor_uint(c);
    if (!cursor_ok(c) || ret_written->version > PROTO_VERSION_MAX)
        return "written: version: integer in 0 .. 2^63-1 expected";
    ret_written->seq = cursor_uint(c);
    if (!cursor_ok(c) || ret_written->seq > PROTO_VERSION_MAX)
        return "written: seq: integer in 0 .. 2^63-1 expected";
    ret_written->epoch = cursor_bytes(c);
    if (!cursor_ok(c) || ret_written->epoch.len > PROTO_EPOCH_TEXT)
        return "written: epoch: str of at most 32 bytes expected";
    return NULL;
}

const char *proto_decode_written(struct cursor *c, struct proto_written *ret_written)
{
    uint32_t count = cursor_array(c), known;
    uint64_t outcome = cursor_uint(c);
    const char *error;

    *ret_written = (struct proto_written){0};
    if (!cursor_ok(c) || count == 0 || outcome > OUTCOME_FAILED)
        return "written: array expected that starts with 0 .. 5";
    ret_written->outcome = (enum proto_outcome)outcome;
    known = outcome == OUTCOME_FAILED ? FAILURE_ELEMENTS : WRITTEN_ELEMENTS;
    if (count < known)
        return "written: elements are missing";
    error = outcome == OUTCOME_FAILED ? decode_failed_write(c, ret_written) : decode_written(c, ret_written);
    while (!error && count-- > known) {
        cursor_skip(c);
        error = c->error;
    }
    return error;
}
