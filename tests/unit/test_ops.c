/* Requests against a core that the test plays: what the core is asked, and what becomes of its answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "daemon/ops/ops.h"

#define NOW    (UINT64_C(1000) * NS_PER_MS)
#define BOUND  (UINT64_C(100) * NS_PER_MS)
#define CLIENT 5
#define EVENTS 16

struct fixture {
    struct core *core; /* looked into, never stepped */
    struct ops *ops;
    struct core_event events[EVENTS]; /* what the core was asked */
    unsigned event_count;
    bool gone;      /* the client */
    size_t queued;  /* bytes it has not taken */
    unsigned ended; /* answers and events */
    unsigned spent; /* gets that requests were worth */
    struct buffer out, in;
};

static void step(void *ctx, const struct core_event *event)
{
    struct fixture *f = ctx;

    assert_true(f->event_count < EVENTS);
    f->events[f->event_count++] = *event;
}

static void random_bytes(void *ctx, void *bytes, size_t len)
{
    (void)ctx;
    memset(bytes, 0xab, len);
}

static struct buffer *begin(void *ctx, uint64_t client)
{
    struct fixture *f = ctx;

    assert_int_equal(client, CLIENT);
    return f->gone ? NULL : &f->out;
}

static void end(void *ctx, uint64_t client)
{
    (void)client;
    ((struct fixture *)ctx)->ended++;
}

static bool has_room(void *ctx, uint64_t client, size_t len)
{
    (void)client;
    (void)len;
    return ((struct fixture *)ctx)->queued < 1 << 20;
}

static size_t queued_bytes(void *ctx, uint64_t client)
{
    (void)client;
    return ((struct fixture *)ctx)->queued;
}

static void spend(void *ctx, uint64_t client, unsigned gets)
{
    assert_int_equal(client, CLIENT);
    ((struct fixture *)ctx)->spent += gets;
}

static int setup(void **state)
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
                                .ctx = f};

    assert_non_null(f);
    assert_int_equal(core_new(&f->core, &core), 0);
    config.core = f->core;
    assert_int_equal(ops_new(&f->ops, &config), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
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
static enum ops_result request(struct fixture *f)
{
    enum ops_result result = ops_request(f->ops, CLIENT, slice_of(f->in.data, f->in.len), NOW);

    buffer_clear(&f->in);
    return result;
}

static void get(struct fixture *f, const char *key)
{
    struct proto_read_options options = {0};

    proto_pack_get(&f->in, 9, slice_text(key), &options);
    assert_int_equal(request(f), OPS_TAKEN);
}

static void read_is(struct fixture *f, unsigned index, enum read_outcome outcome, const char *value,
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
static struct rpc_frame answer(struct fixture *f)
{
    struct rpc_frame frame;

    assert_null(rpc_decode(slice_of(f->out.data, f->out.len), &frame));
    assert_int_equal(frame.type, RPC_RESPONSE);
    return frame;
}

static enum rpc_error error_code(struct fixture *f)
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

static void a_get_is_answered_when_the_core_answers(void **state)
{
    struct fixture *f = *state;
    struct proto_reading reading;
    struct rpc_frame frame;

    get(f, "k");
    assert_int_equal(f->ended, 0);
    assert_int_equal(f->events[0].type, EV_READ);
    assert_int_equal(f->events[0].read.deadline, NOW + 7 * NS_PER_MS);
    read_is(f, 0, READ_FRESH, "value", NOW, REASON_NONE, NOW);
    frame = answer(f);
    assert_int_equal(frame.id, 9);
    assert_null(proto_decode_reading(&frame.result, &reading));
    assert_int_equal(reading.state, STATE_FRESH);
    assert_true(slice_equal(reading.value, slice_text("value")));
}

static void a_token_is_answered_once(void **state)
{
    struct fixture *f = *state;

    get(f, "k");
    read_is(f, 0, READ_FRESH, "value", NOW, REASON_NONE, NOW);
    get(f, "other"); /* in the same place of the table */
    read_is(f, 0, READ_FRESH, "value", NOW, REASON_NONE, NOW);
    assert_int_equal(f->ended, 1);
}

static void the_answer_of_a_client_that_is_gone_is_dropped(void **state)
{
    struct fixture *f = *state;

    get(f, "k");
    f->gone = true;
    read_is(f, 0, READ_FRESH, "value", NOW, REASON_NONE, NOW);
    assert_int_equal(f->ended, 0);
    assert_int_equal(f->out.len, 0);
}

static void each_reason_of_a_refused_read_has_its_code(void **state)
{
    static const struct {
        enum core_reason reason;
        enum rpc_error code;
    } table[] = {
        {REASON_NO_LINK, RPC_REFUSED},
        {REASON_NOT_MASTER, RPC_REFUSED},
        {REASON_NO_EPOCH, RPC_REFUSED},
        {REASON_LEASE, RPC_REFUSED},
        {REASON_OVERTAKEN, RPC_REFUSED},
        {REASON_TIMEOUT, RPC_REFUSED},
        {REASON_BUSY, RPC_BUSY},
        {REASON_MIN_VERSION, RPC_MIN_VERSION},
        {REASON_OTHER_EPOCH, RPC_OTHER_EPOCH},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        f->event_count = 0;
        get(f, "k");
        read_is(f, 0, READ_REFUSED, "", 0, table[i].reason, NOW);
        assert_int_equal(error_code(f), table[i].code);
    }
}

static void a_long_value_is_refused_to_a_client_that_takes_nothing(void **state)
{
    struct fixture *f = *state;
    char value[600];

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = 0;
    f->queued = 1 << 20;
    get(f, "k");
    read_is(f, 0, READ_FRESH, value, NOW, REASON_NONE, NOW);
    assert_int_equal(error_code(f), RPC_BUSY);
}

static void ask_two(struct fixture *f)
{
    struct slice keys[] = {slice_text("a"), slice_text("b")};
    struct proto_read_options options = {0};

    proto_pack_mget(&f->in, 9, keys, 2, &options);
    assert_int_equal(request(f), OPS_TAKEN);
    assert_int_equal(f->event_count, 2);
}

static void mget_keeps_the_order_of_its_keys(void **state)
{
    struct fixture *f = *state;
    struct proto_reading a, b;
    struct rpc_frame frame;

    ask_two(f);
    read_is(f, 1, READ_FRESH, "of b", NOW, REASON_NONE, NOW);
    assert_int_equal(f->ended, 0);
    read_is(f, 0, READ_REFUSED, "", 0, REASON_LEASE, NOW);
    assert_int_equal(f->ended, 1);
    frame = answer(f);
    assert_int_equal(cursor_array(&frame.result), 2);
    assert_null(proto_decode_reading(&frame.result, &a));
    assert_null(proto_decode_reading(&frame.result, &b));
    assert_int_equal(a.state, STATE_FAILED);
    assert_int_equal(a.code, RPC_REFUSED);
    assert_true(slice_equal(b.value, slice_text("of b")));
}

static void an_item_of_mget_whose_proof_ran_out_in_waiting_is_refused(void **state)
{
    struct fixture *f = *state;
    struct proto_reading a, b;
    struct rpc_frame frame;

    ask_two(f);
    read_is(f, 0, READ_FRESH, "of a", NOW, REASON_NONE, NOW);
    read_is(f, 1, READ_FRESH, "of b", NOW + BOUND, REASON_NONE, NOW + BOUND + 1);
    frame = answer(f);
    assert_int_equal(cursor_array(&frame.result), 2);
    assert_null(proto_decode_reading(&frame.result, &a));
    assert_null(proto_decode_reading(&frame.result, &b));
    assert_int_equal(a.state, STATE_FAILED);
    assert_int_equal(b.state, STATE_FRESH);
}

static void a_set_without_options_takes_the_defaults(void **state)
{
    struct fixture *f = *state;
    struct proto_write write = {.key = slice_text("k"), .value = slice_text("v")};
    const struct write_request *asked = &f->events[0].write;

    proto_pack_set(&f->in, 9, &write);
    request(f);
    assert_int_equal(asked->version, 0);
    assert_int_equal(asked->ttl_ms, 11);
    assert_true(asked->carry_value);
    assert_int_equal(asked->write_id[0], 0xab);
}

static void a_delete_without_ttl_takes_that_of_tombstones(void **state)
{
    struct fixture *f = *state;
    struct proto_write write = {.key = slice_text("k")};

    proto_pack_delete(&f->in, 9, &write);
    request(f);
    write.has_ttl = true;
    write.ttl_ms = 99;
    proto_pack_delete(&f->in, 9, &write);
    request(f);
    assert_int_equal(f->events[0].write.ttl_ms, 13);
    assert_int_equal(f->events[1].write.ttl_ms, 99);
}

static void each_failure_of_a_write_has_its_code(void **state)
{
    static const struct {
        enum write_outcome outcome;
        enum core_reason reason;
        enum rpc_error code;
    } table[] = {
        {WRITE_REFUSED, REASON_NO_LINK, RPC_UNAVAILABLE},
        {WRITE_REFUSED, REASON_TIMEOUT, RPC_TIMEOUT},
        {WRITE_REFUSED, REASON_BUSY, RPC_BUSY},
        {WRITE_REFUSED, REASON_READER, RPC_PERMISSION},
        {WRITE_REFUSED, REASON_PROBE, RPC_UNAVAILABLE},
        {WRITE_INDETERMINATE, REASON_NONE, RPC_INDETERMINATE},
        {WRITE_ERROR, REASON_NONE, RPC_STORE},
    };
    struct fixture *f = *state;
    struct proto_write write = {.key = slice_text("k"), .value = slice_text("v")};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct core_effect effect = {.type = FX_WRITE_DONE};

        f->event_count = 0;
        proto_pack_set(&f->in, 9, &write);
        request(f);
        effect.write_done.token = f->events[0].write.token;
        effect.write_done.outcome = table[i].outcome;
        effect.write_done.reason = table[i].reason;
        ops_done(f->ops, &effect, NOW);
        assert_int_equal(error_code(f), table[i].code);
    }
}

static void reserved_and_oversized_keys_never_reach_the_core(void **state)
{
    struct fixture *f = *state;
    char key[66];

    memset(key, 'k', 65);
    key[65] = 0;
    get(f, CORE_RESERVED_PREFIX "probe");
    assert_int_equal(error_code(f), RPC_INVALID);
    get(f, key);
    assert_int_equal(error_code(f), RPC_TOO_LARGE);
    assert_int_equal(f->event_count, 0);
}

static void a_watcher_that_takes_nothing_hears_how_many_events_it_lost(void **state)
{
    struct fixture *f = *state;
    struct core_effect note = {.type = FX_NOTE};
    struct ops_counters counters;

    rpc_pack_request(&f->in, 9, "watch");
    pack_array(&f->in, 0);
    request(f);
    buffer_clear(&f->out);
    note.note.kind = NOTE_UPDATE;
    note.note.key = slice_text("k");
    f->queued = OPS_EVENTS_BYTES + 1;
    ops_note(f->ops, &note);
    ops_note(f->ops, &note);
    assert_int_equal(f->out.len, 0);
    f->queued = 0;
    ops_note(f->ops, &note);
    /* `lost`, then the event. */
    assert_non_null(memmem(f->out.data, f->out.len, "\xa4lost\x02", 6));
    assert_non_null(memmem(f->out.data, f->out.len, "\xa6update", 7));
    ops_get_counters(f->ops, &counters);
    assert_int_equal(counters.events_lost, 2);
    assert_int_equal(counters.events, 1);
    ops_client_closed(f->ops, CLIENT);
    buffer_clear(&f->out);
    ops_note(f->ops, &note);
    assert_int_equal(f->out.len, 0);
}

/* All keys but the last fail at once, with a text; the last one waits for the core. */
static void ask_mostly_wrong(struct fixture *f, struct slice *keys, uint32_t count)
{
    struct proto_read_options options = {0};

    for (uint32_t i = 0; i < count - 1; i++)
        keys[i] = slice_text(CORE_RESERVED_PREFIX "x");
    keys[count - 1] = slice_text("waits");
    f->event_count = 0;
    buffer_clear(&f->out);
    proto_pack_mget(&f->in, 9, keys, count, &options);
    request(f);
}

static void unfinished_answers_hold_bounded_memory(void **state)
{
    static struct slice keys[PROTO_MGET_MAX];
    struct fixture *f = *state;
    struct core_effect effect = {.type = FX_READ_DONE};
    struct proto_reading first;
    struct rpc_frame frame;
    unsigned unfinished = 0;

    for (; unfinished < 8192; unfinished++) {
        ask_mostly_wrong(f, keys, PROTO_MGET_MAX);
        if (f->out.len > 0)
            break;
        effect.read_done.token = f->events[0].read.token;
    }
    /* Each holds at least an item and a code for each key. */
    assert_in_range(unfinished, 16, OPS_GATHER_BYTES / (PROTO_MGET_MAX * 24));
    assert_int_equal(error_code(f), RPC_BUSY);
    assert_int_equal(f->event_count, 0);
    /* Whoever has got in is answered, and what was wrong has its code still. */
    effect.read_done.outcome = READ_ABSENT;
    effect.read_done.as_of = NOW;
    buffer_clear(&f->out);
    ops_done(f->ops, &effect, NOW);
    frame = answer(f);
    assert_int_equal(cursor_array(&frame.result), PROTO_MGET_MAX);
    assert_null(proto_decode_reading(&frame.result, &first));
    assert_int_equal(first.state, STATE_FAILED);
    assert_int_equal(first.code, RPC_INVALID);
    ask_mostly_wrong(f, keys, 2);
    assert_int_equal(f->out.len, 0);
}

static void a_request_for_many_keys_is_worth_more_than_a_get(void **state)
{
    static struct slice keys[PROTO_MGET_MAX];
    struct fixture *f = *state;

    get(f, "k");
    assert_int_equal(f->spent, 0);
    ask_mostly_wrong(f, keys, PROTO_MGET_MAX);
    assert_true(f->spent >= PROTO_MGET_MAX / 4);
    f->spent = 0;
    rpc_pack_request(&f->in, 9, "versions");
    pack_array(&f->in, 0);
    request(f);
    assert_true(f->spent >= 1000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_get_is_answered_when_the_core_answers),
        TEST(a_token_is_answered_once),
        TEST(the_answer_of_a_client_that_is_gone_is_dropped),
        TEST(each_reason_of_a_refused_read_has_its_code),
        TEST(a_long_value_is_refused_to_a_client_that_takes_nothing),
        TEST(mget_keeps_the_order_of_its_keys),
        TEST(an_item_of_mget_whose_proof_ran_out_in_waiting_is_refused),
        TEST(a_set_without_options_takes_the_defaults),
        TEST(a_delete_without_ttl_takes_that_of_tombstones),
        TEST(each_failure_of_a_write_has_its_code),
        TEST(reserved_and_oversized_keys_never_reach_the_core),
        TEST(a_watcher_that_takes_nothing_hears_how_many_events_it_lost),
        TEST(unfinished_answers_hold_bounded_memory),
        TEST(a_request_for_many_keys_is_worth_more_than_a_get),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
