/* clients, log_level and config: pages are bounded, and what is looked up is said as it is. */
#include "tests/unit/ops_rig.h"

static void ask(struct fixture *f, const char *method, unsigned count, const uint64_t *params)
{
    buffer_clear(&f->out);
    rpc_pack_request(&f->in, 9, method);
    pack_array(&f->in, count);
    for (unsigned i = 0; i < count; i++)
        pack_uint(&f->in, params[i]);
    assert_int_equal(request(f), OPS_TAKEN);
}

/* A page {"cursor": ..., "clients": [...]}; the number of clients on it, and the first one's number. */
static uint32_t page(struct fixture *f, uint64_t cursor, uint64_t limit, uint64_t *ret_cursor, uint64_t *ret_first)
{
    struct rpc_frame frame;
    struct cursor c;
    uint32_t count;

    ask(f, "clients", 2, (const uint64_t[]){cursor, limit});
    frame = answer(f);
    c = frame.result;
    assert_int_equal(cursor_map(&c), 2);
    assert_true(slice_equal(cursor_bytes(&c), slice_text("cursor")));
    *ret_cursor = cursor_uint(&c);
    assert_true(slice_equal(cursor_bytes(&c), slice_text("clients")));
    count = cursor_array(&c);
    *ret_first = 0;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(cursor_map(&c), 14);
        assert_true(slice_equal(cursor_bytes(&c), slice_text("client")));
        if (i == 0)
            *ret_first = cursor_uint(&c);
        for (unsigned skip = i == 0 ? 26 : 27; skip > 0; skip--)
            cursor_skip(&c);
    }
    assert_true(cursor_ok(&c));
    assert_int_equal(c.at, c.end);
    return count;
}

static void pages_of_clients_begin_where_the_one_before_ended(void **state)
{
    struct fixture *f = *state;
    uint64_t cursor, first;

    f->clients = 5;
    assert_int_equal(page(f, 0, 2, &cursor, &first), 2);
    assert_int_equal(first, 100);
    assert_int_equal(page(f, cursor, 2, &cursor, &first), 2);
    assert_int_equal(first, 102);
    assert_int_equal(page(f, cursor, 2, &cursor, &first), 1);
    assert_int_equal(first, 104);
    assert_int_equal(cursor, 0);
    assert_int_equal(page(f, UINT64_MAX, 2, &cursor, &first), 0);
    assert_int_equal(cursor, 0);
}

static void a_page_holds_no_more_clients_than_its_limit_and_is_worth_as_many_gets(void **state)
{
    struct fixture *f = *state;
    uint64_t cursor, first;

    f->clients = 70000;
    assert_int_equal(page(f, 0, 1000, &cursor, &first), 1000);
    assert_true(f->spent >= 1000);
    f->spent = 0;
    assert_int_equal(page(f, 65000, 3, &cursor, &first), 3);
    assert_in_range(f->spent, 3, 100);
    assert_int_equal(cursor, 65003);
}

static void a_client_that_takes_nothing_gets_no_page(void **state)
{
    struct fixture *f = *state;

    f->clients = 3;
    f->queued = 1 << 20;
    ask(f, "clients", 0, NULL);
    assert_int_equal(error_code(f), RPC_BUSY);
    ask(f, "config", 0, NULL);
    assert_int_equal(error_code(f), RPC_BUSY);
}

static void an_unknown_level_is_refused_and_a_known_one_is_answered_with_the_configured_one(void **state)
{
    struct fixture *f = *state;
    struct rpc_frame frame;

    rpc_pack_request(&f->in, 9, "log_level");
    pack_array(&f->in, 1);
    pack_text(&f->in, "loud");
    request(f);
    assert_int_equal(error_code(f), RPC_INVALID);
    rpc_pack_request(&f->in, 9, "log_level");
    pack_array(&f->in, 1);
    pack_text(&f->in, "debug");
    request(f);
    frame = answer(f);
    assert_int_equal(cursor_map(&frame.result), 2);
    cursor_skip(&frame.result);
    assert_true(slice_equal(cursor_bytes(&frame.result), slice_text("debug")));
    cursor_skip(&frame.result);
    assert_true(slice_equal(cursor_bytes(&frame.result), slice_text("info")));
}

static void config_answers_every_key_once(void **state)
{
    struct fixture *f = *state;
    struct rpc_frame frame;

    ask(f, "config", 0, NULL);
    frame = answer(f);
    assert_int_equal(cursor_map(&frame.result), 3);
    for (unsigned i = 0; i < 5; i++)
        cursor_skip(&frame.result);
    assert_int_equal(cursor_array(&frame.result), RIG_SETTINGS);
    for (unsigned i = 0; i < RIG_SETTINGS; i++)
        cursor_skip(&frame.result);
    assert_true(cursor_ok(&frame.result));
    assert_int_equal(frame.result.at, frame.result.end);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(pages_of_clients_begin_where_the_one_before_ended),
        TEST(a_page_holds_no_more_clients_than_its_limit_and_is_worth_as_many_gets),
        TEST(a_client_that_takes_nothing_gets_no_page),
        TEST(an_unknown_level_is_refused_and_a_known_one_is_answered_with_the_configured_one),
        TEST(config_answers_every_key_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
