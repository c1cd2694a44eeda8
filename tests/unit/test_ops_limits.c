/* What operators ask, and what many keys and slow clients may cost. */
#include "tests/unit/ops_rig.h"

static void a_canary_is_a_set_of_the_daemons_own_key_that_clients_cannot_name(void **state)
{
    struct fixture *f = *state;
    const struct write_request *write = &f->events[0].write;

    rpc_pack_request(&f->in, 9, "canary");
    pack_array(&f->in, 0);
    request(f);
    assert_int_equal(f->event_count, 1);
    assert_int_equal(f->events[0].type, EV_WRITE);
    assert_int_equal(write->op, OP_SET);
    assert_int_equal(write->version, 0);
    assert_int_equal(write->ttl_ms, 60000);
    rpc_pack_request(&f->in, 10, "canary");
    pack_array(&f->in, 1);
    pack_text(&f->in, "k");
    request(f);
    assert_int_equal(f->event_count, 1);
    get(f, "!dcached:canary:pod-a");
    assert_int_equal(f->event_count, 1);
}

static void top_names_the_keys_of_which_stale_data_is_rejected_most(void **state)
{
    struct fixture *f = *state;
    struct core_effect note = {.type = FX_NOTE, .note.kind = NOTE_REJECTED};
    const char *at_often, *at_once;

    for (unsigned i = 0; i < 4; i++) {
        note.note.key = slice_text(i == 1 ? "once" : "often");
        ops_note(f->ops, &note, NOW);
    }
    note.note.kind = NOTE_UPDATE;
    note.note.key = slice_text("updated");
    ops_note(f->ops, &note, NOW);
    rpc_pack_request(&f->in, 9, "top");
    pack_array(&f->in, 0);
    request(f);
    at_often = memmem(f->out.data, f->out.len,
                      "often\xa5"
                      "count\x03",
                      12);
    at_once = memmem(f->out.data, f->out.len,
                     "once\xa5"
                     "count\x01",
                     11);
    assert_non_null(at_often);
    assert_non_null(at_once);
    assert_true(at_often < at_once);
    assert_null(memmem(f->out.data, f->out.len, "updated", 7));
}

static void top_counts_one_of_many_reads(void **state)
{
    struct fixture *f = *state;
    const uint8_t *at;

    for (unsigned i = 0; i < 1000; i++) {
        f->event_count = 0;
        get(f, "k");
    }
    buffer_clear(&f->out);
    rpc_pack_request(&f->in, 9, "top");
    pack_array(&f->in, 0);
    request(f);
    /* 0xab is what the random bytes are: the first read, then each 64 + 43rd. */
    at = memmem(f->out.data, f->out.len, "hot_total", 9);
    assert_non_null(at);
    assert_int_equal(at[9], 1 + 999 / (64 + 0xab % 128));
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
    ops_note(f->ops, &note, NOW);
    ops_note(f->ops, &note, NOW);
    assert_int_equal(f->out.len, 0);
    f->queued = 0;
    ops_note(f->ops, &note, NOW);
    /* `lost`, then the event. */
    assert_non_null(memmem(f->out.data, f->out.len, "\xa4lost\x02", 6));
    assert_non_null(memmem(f->out.data, f->out.len, "\xa6update", 7));
    ops_get_counters(f->ops, &counters);
    assert_int_equal(counters.events_lost, 2);
    assert_int_equal(counters.events, 1);
    ops_client_closed(f->ops, CLIENT);
    buffer_clear(&f->out);
    ops_note(f->ops, &note, NOW);
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
        TEST(a_canary_is_a_set_of_the_daemons_own_key_that_clients_cannot_name),
        TEST(top_names_the_keys_of_which_stale_data_is_rejected_most),
        TEST(top_counts_one_of_many_reads),
        TEST(a_watcher_that_takes_nothing_hears_how_many_events_it_lost),
        TEST(unfinished_answers_hold_bounded_memory),
        TEST(a_request_for_many_keys_is_worth_more_than_a_get),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
