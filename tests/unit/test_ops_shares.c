/* What becomes of an answer that cannot be given, and what one client may have under way. */
#include "tests/unit/ops_rig.h"

#include "daemon/ops/internal.h"

/* ---- an mset is answered by what became of it -----------------------------------------------------------------
 */

static void ask_mset(struct fixture *f, const struct proto_write *writes, uint32_t count)
{
    proto_pack_mset(&f->in, 9, writes, count, 0);
    assert_int_equal(request(f), OPS_TAKEN);
    assert_int_equal(f->event_count, count);
}

static void commit(struct fixture *f, unsigned index)
{
    struct core_effect effect = {.type = FX_WRITE_DONE};

    effect.write_done.token = f->events[index].write.token;
    effect.write_done.outcome = WRITE_ACCEPTED;
    effect.write_done.version = 3;
    ops_done(f->ops, &effect, NOW);
}

static const struct proto_write two[] = {
    {.key = {(const uint8_t *)"a", 1}, .value = {(const uint8_t *)"1", 1}},
    {.key = {(const uint8_t *)"b", 1}, .value = {(const uint8_t *)"2", 1}},
};

static void an_mset_that_was_committed_says_so_however_much_its_client_has_not_taken(void **state)
{
    struct fixture *f = *state;
    struct proto_written written;
    struct rpc_frame frame;

    ask_mset(f, two, 2);
    f->queued = 1 << 20;
    commit(f, 0);
    commit(f, 1);
    frame = answer(f);
    assert_int_equal(frame.error.data[0], 0xc0);
    assert_int_equal(cursor_array(&frame.result), 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_null(proto_decode_written(&frame.result, &written));
        assert_int_equal(written.outcome, OUTCOME_ACCEPTED);
    }
}

static void an_mset_whose_outcomes_found_no_memory_is_indeterminate(void **state)
{
    struct fixture *f = *state;

    ask_mset(f, two, 2);
    commit(f, 0);
    call_of(f->ops, f->events[1].write.token)->gather->bytes.failed = true;
    commit(f, 1);
    assert_int_equal(error_code(f), RPC_INDETERMINATE);
}

/* ---- shares ---------------------------------------------------------------------------------------------------
 */

static bool get_may_wait(struct fixture *f, uint64_t client, uint64_t *ret_token)
{
    struct proto_read_options options = {0};

    f->event_count = 0;
    proto_pack_get(&f->in, 9, slice_text("k"), &options);
    request_of(f, client);
    assert_int_equal(f->event_count, 1);
    *ret_token = f->events[0].read.token;
    return !f->events[0].read.at_once;
}

static void absent(struct fixture *f, uint64_t token)
{
    struct core_effect effect = {.type = FX_READ_DONE};

    effect.read_done.token = token;
    effect.read_done.outcome = READ_ABSENT;
    effect.read_done.as_of = NOW;
    buffer_clear(&f->out);
    ops_done(f->ops, &effect, NOW);
}

static void a_client_that_waits_for_its_share_of_calls_leaves_the_rest_to_others(void **state)
{
    static uint64_t tokens[OPS_CALLS_SHARE + 1];
    struct fixture *f = *state;
    uint64_t token;

    for (unsigned i = 0; i < OPS_CALLS_SHARE; i++)
        assert_true(get_may_wait(f, CLIENT, &tokens[i]));
    assert_false(get_may_wait(f, CLIENT, &token));
    absent(f, token);
    assert_true(get_may_wait(f, OTHER, &token));
    absent(f, token);
    absent(f, tokens[0]);
    assert_true(get_may_wait(f, CLIENT, &tokens[0]));
    for (unsigned i = 0; i < OPS_CALLS_SHARE; i++)
        absent(f, tokens[i]);
    assert_int_equal(share_of(f->ops, CLIENT)->calls, 0);
}

static void who_gets_the_place_of_a_client_that_is_gone_begins_with_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t first, token, other;

    f->gone = true;
    assert_true(get_may_wait(f, CLIENT, &first));
    /* The rig knows no other generation; ops itself does not mind. */
    share_begin(f->ops, UINT64_C(1) << 32 | CLIENT);
    assert_null(share_of(f->ops, CLIENT));
    assert_true(call_take(f->ops, CALL_READ, UINT64_C(1) << 32 | CLIENT, 1, 0, &token));
    absent(f, first);
    assert_int_equal(share_of(f->ops, UINT64_C(1) << 32 | CLIENT)->calls, 1);
    assert_false(call_take(f->ops, CALL_READ, CLIENT, 1, 0, &other));
}

static void nobody_gathers_more_than_half_of_what_all_may(void **state)
{
    static struct slice keys[PROTO_MGET_MAX];
    struct proto_read_options options = {0};
    struct fixture *f = *state;
    unsigned taken = 0;

    for (unsigned i = 0; i < PROTO_MGET_MAX - 1; i++)
        keys[i] = slice_text(CORE_RESERVED_PREFIX "x");
    keys[PROTO_MGET_MAX - 1] = slice_text("waits");
    for (; f->out.len == 0; taken++) {
        f->event_count = 0;
        proto_pack_mget(&f->in, 9, keys, PROTO_MGET_MAX, &options);
        request(f);
    }
    assert_in_range(taken, 16, OPS_GATHER_BYTES / 2 / (PROTO_MGET_MAX * sizeof(struct gather_item)) + 1);
    assert_int_equal(error_code(f), RPC_BUSY);
    f->event_count = 0;
    proto_pack_mget(&f->in, 9, keys, PROTO_MGET_MAX, &options);
    request_of(f, OTHER);
    assert_int_equal(f->event_count, 1);
    assert_int_equal(f->out.len, 0);
}

/* ---- what a read is counted as --------------------------------------------------------------------------------
 */

static void counts_are(struct fixture *f, uint64_t reads, uint64_t refused)
{
    struct core_counters counters;

    core_get_counters(f->core, &counters);
    assert_int_equal(counters.reads, reads);
    assert_int_equal(counters.refused, refused);
}

static void a_read_that_could_not_be_put_to_the_core_counts_as_refused(void **state)
{
    static struct slice keys[3];
    struct proto_read_options options = {0};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++)
        keys[i] = slice_text("k");
    f->ops->gather_max = 0;
    proto_pack_mget(&f->in, 9, keys, 3, &options);
    request(f);
    assert_int_equal(error_code(f), RPC_BUSY);
    counts_are(f, 3, 3);
}

static void a_key_whose_proof_ran_out_in_waiting_counts_as_refused(void **state)
{
    struct slice keys[2] = {slice_text("a"), slice_text("b")};
    struct core_effect effect = {.type = FX_READ_DONE};
    struct proto_read_options options = {0};
    struct fixture *f = *state;
    struct core_counters counters;

    proto_pack_mget(&f->in, 9, keys, 2, &options);
    request(f);
    effect.read_done.outcome = READ_FRESH;
    effect.read_done.counted = COUNTED_MISS;
    for (unsigned i = 0; i < 2; i++) {
        effect.read_done.token = f->events[i].read.token;
        effect.read_done.as_of = NOW + i * BOUND;
        ops_done(f->ops, &effect, NOW + BOUND + 1);
    }
    /* This core has counted neither: the miss that is taken back leaves less than none. */
    core_get_counters(f->core, &counters);
    assert_int_equal(counters.refused, 1);
    assert_int_equal(counters.misses + counters.refused, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_mset_that_was_committed_says_so_however_much_its_client_has_not_taken),
        TEST(an_mset_whose_outcomes_found_no_memory_is_indeterminate),
        TEST(a_client_that_waits_for_its_share_of_calls_leaves_the_rest_to_others),
        TEST(who_gets_the_place_of_a_client_that_is_gone_begins_with_nothing),
        TEST(nobody_gathers_more_than_half_of_what_all_may),
        TEST(a_read_that_could_not_be_put_to_the_core_counts_as_refused),
        TEST(a_key_whose_proof_ran_out_in_waiting_counts_as_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
