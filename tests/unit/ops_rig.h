/* A core that the test plays behind real ops: what it is asked, and what becomes of its answers. */
#ifndef TESTS_UNIT_OPS_RIG_H
#define TESTS_UNIT_OPS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "daemon/ops/ops.h"

#define NOW          (UINT64_C(1000) * NS_PER_MS)
#define BOUND        (UINT64_C(100) * NS_PER_MS)
#define CLIENT       5
#define OTHER        6
#define EVENTS       16
#define RIG_SETTINGS 3 /* keys of the configuration */

struct fixture {
    struct core *core; /* looked into, never stepped */
    struct ops *ops;
    struct core_event events[EVENTS]; /* what the core was asked */
    unsigned event_count;
    bool gone;        /* the client */
    size_t queued;    /* bytes it has not taken */
    unsigned ended;   /* answers and events */
    unsigned spent;   /* gets that requests were worth */
    unsigned clients; /* connected: 100, 101, ... */
    struct buffer out, in;
};

static inline void step(void *ctx, const struct core_event *event)
{
    struct fixture *f = ctx;

    assert_true(f->event_count < EVENTS);
    f->events[f->event_count++] = *event;
}

static inline void random_bytes(void *ctx, void *bytes, size_t len)
{
    (void)ctx;
    memset(bytes, 0xab, len);
}

static inline struct buffer *begin(void *ctx, uint64_t client)
{
    struct fixture *f = ctx;

    assert_in_range(client, CLIENT, OTHER);
    return f->gone ? NULL : &f->out;
}

static inline void end(void *ctx, uint64_t client)
{
    (void)client;
    ((struct fixture *)ctx)->ended++;
}

static inline bool has_room(void *ctx, uint64_t client, size_t len)
{
    (void)client;
    (void)len;
    return ((struct fixture *)ctx)->queued < 1 << 20;
}

static inline size_t queued_bytes(void *ctx, uint64_t client)
{
    (void)client;
    return ((struct fixture *)ctx)->queued;
}

static inline void spend(void *ctx, uint64_t client, unsigned gets)
{
    assert_in_range(client, CLIENT, OTHER);
    ((struct fixture *)ctx)->spent += gets;
}

static inline const char *trouble(void *ctx)
{
    (void)ctx;
    return "";
}

static inline void named(void *ctx, uint64_t client, struct slice name)
{
    (void)ctx;
    assert_int_equal(client, CLIENT);
    assert_true(name.len > 0);
}

static inline bool client_at(void *ctx, uint32_t *index, struct ops_client *ret)
{
    if (*index >= ((struct fixture *)ctx)->clients)
        return false;
    *ret = (struct ops_client){.client = 100 + (*index)++, .access = "read", .socket = "main"};
    return true;
}

static inline bool setting_at(void *ctx, unsigned index, struct ops_setting *ret)
{
    (void)ctx;
    *ret = (struct ops_setting){.section = "s", .key = "k", .value = "v", .from = "default", .where = ""};
    return index < RIG_SETTINGS;
}

static inline bool log_level(void *ctx, uint64_t client, struct slice level, const char **ret_level,
                             const char **ret_configured)
{
    (void)ctx;
    assert_int_equal(client, CLIENT);
    *ret_level = "debug";
    *ret_configured = "info";
    return level.len == 0 || slice_equal(level, slice_text("debug"));
}

static inline void describe(void *ctx, struct ops_surroundings *ret)
{
    (void)ctx;
    *ret = (struct ops_surroundings){.config_path = "conf"};
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct core_config core = {.memory_bytes = 1 << 20,
                               .entry_bytes = 100,
                               .max_waiting = 16,
                               .max_in_flight = 16,
                               .max_key = 64,
                               .max_value = 1024,
                               .bound_ns = BOUND,
                               .pending_bytes = 1 << 16,
                               .source = "pod-a"};
    struct ops_config config = {.pod = "pod-a",
                                .bound_ns = BOUND,
                                .max_stale_ns = 10 * BOUND,
                                .max_key = 64,
                                .max_value = 1024,
                                .max_message = 4096,
                                .timeout_ns = 7 * NS_PER_MS,
                                .default_ttl_ms = 11,
                                .tombstone_ttl_ms = 13,
                                .carry_value = true,
                                .step = step,
                                .random = random_bytes,
                                .answer_begin = begin,
                                .answer_end = end,
                                .event_begin = begin,
                                .event_end = end,
                                .has_room = has_room,
                                .queued_bytes = queued_bytes,
                                .spend = spend,
                                .describe = describe,
                                .trouble = trouble,
                                .named = named,
                                .client_at = client_at,
                                .setting_at = setting_at,
                                .log_level = log_level,
                                .ctx = f};

    assert_non_null(f);
    assert_int_equal(core_new(&f->core, &core), 0);
    config.core = f->core;
    assert_int_equal(ops_new(&f->ops, &config), 0);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    ops_free(f->ops);
    core_free(f->core);
    buffer_deinit(&f->in);
    buffer_deinit(&f->out);
    free(f);
    return 0;
}

/* Sends what was packed into f->in. */
static inline enum ops_result request_of(struct fixture *f, uint64_t client)
{
    enum ops_result result = ops_request(f->ops, client, slice_of(f->in.data, f->in.len), NOW);

    buffer_clear(&f->in);
    return result;
}

static inline enum ops_result request(struct fixture *f)
{
    return request_of(f, CLIENT);
}

static inline void get(struct fixture *f, const char *key)
{
    struct proto_read_options options = {0};

    proto_pack_get(&f->in, 9, slice_text(key), &options);
    assert_int_equal(request(f), OPS_TAKEN);
}

static inline void read_is(struct fixture *f, unsigned index, enum read_outcome outcome, const char *value,
                           uint64_t as_of, enum core_reason reason, uint64_t now)
{
    struct core_effect effect = {.type = FX_READ_DONE};

    effect.read_done.token = f->events[index].read.token;
    effect.read_done.outcome = outcome;
    effect.read_done.value = slice_text(value);
    effect.read_done.as_of = as_of;
    effect.read_done.version = 3;
    effect.read_done.reason = reason;
    ops_done(f->ops, &effect, now);
}

/* The one answer in f->out. */
static inline struct rpc_frame answer(struct fixture *f)
{
    struct rpc_frame frame;

    assert_null(rpc_decode(slice_of(f->out.data, f->out.len), &frame));
    assert_int_equal(frame.type, RPC_RESPONSE);
    return frame;
}

static inline enum rpc_error error_code(struct fixture *f)
{
    struct rpc_frame frame = answer(f);
    struct cursor c = cursor_of(frame.error);
    enum rpc_error code;

    assert_int_equal(cursor_array(&c), 2);
    code = (enum rpc_error)cursor_uint(&c);
    assert_true(cursor_bytes(&c).len > 0);
    assert_true(cursor_ok(&c));
    buffer_clear(&f->out);
    return code;
}

#endif
