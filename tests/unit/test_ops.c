/* Requests against a core that the test plays: what the core is asked, and what becomes of its answers. */
#include "tests/unit/ops_rig.h"

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

static void a_clear_ends_at_its_deadline_or_timeout_whichever_is_earlier(void **state)
{
    struct fixture *f = *state;
    const uint64_t ms = NS_PER_MS, deadlines[] = {0, NOW - 1, NOW + 5 * ms, NOW + 50 * ms};
    const uint64_t expected[] = {NOW + 9 * ms, NOW - 1, NOW + 5 * ms, NOW + 9 * ms};

    for (unsigned i = 0; i < 4; i++) {
        proto_pack_clear(&f->in, 9, &(struct proto_write){.deadline_ns = deadlines[i], .timeout_ms = 9});
        assert_int_equal(request(f), OPS_TAKEN);
        assert_int_equal(f->events[i].type, EV_WRITE);
        assert_int_equal(f->events[i].write.op, OP_CLEAR);
        assert_int_equal(f->events[i].write.deadline, expected[i]);
    }
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
        TEST(a_clear_ends_at_its_deadline_or_timeout_whichever_is_earlier),
        TEST(each_failure_of_a_write_has_its_code),
        TEST(reserved_and_oversized_keys_never_reach_the_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
