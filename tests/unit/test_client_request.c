/* Lists and ids of requests, and the time the daemon gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "client/request.h"

static void requests_leave_a_list_from_anywhere(void **state)
{
    struct request_list list = {0};
    struct request a = {0}, b = {0}, c = {0};

    (void)state;
    request_list_append(&list, &b);
    request_list_append(&list, &c);
    request_list_prepend(&list, &a);
    assert_int_equal(list.count, 3);
    request_list_remove(&b);
    assert_ptr_equal(list.first, &a);
    assert_ptr_equal(a.next, &c);
    request_list_remove(&c);
    assert_ptr_equal(list.last, &a);
    request_list_remove(&a);
    request_list_remove(&a);
    assert_null(list.first);
    assert_null(list.last);
    assert_int_equal(list.count, 0);
}

static void an_id_finds_its_request_alone_and_no_later_one(void **state)
{
    struct request_table table = {0};
    struct request requests[100] = {0}, again = {0};
    uint32_t old;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(request_table_add(&table, &requests[i]), 0);
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(request_table_find(&table, requests[i].id), &requests[i]);
        assert_true((requests[i].id & 0xffff) != 0);
    }
    assert_null(request_table_find(&table, 0));
    assert_null(request_table_find(&table, UINT32_MAX));
    old = requests[42].id;
    request_table_remove(&table, &requests[42]);
    assert_null(request_table_find(&table, old));
    assert_int_equal(request_table_add(&table, &again), 0);
    assert_int_equal(again.id & 0xffff, old & 0xffff);
    assert_null(request_table_find(&table, old));
    request_table_deinit(&table);
}

/* timeout_ms of a get that has `left_ns` left. */
static uint64_t daemon_timeout_ms(uint64_t left_ns)
{
    struct slice key = slice_text("k");
    struct request request = {.kind = REQUEST_GET, .id = 1, .keys = &key, .deadline_ns = 1000 + left_ns};
    struct buffer buffer = BUFFER_INIT;
    struct proto_read_options options;
    struct rpc_frame frame;

    request_pack(&request, &buffer, 1000, &(struct clock_map){0});
    assert_null(rpc_decode(slice_of(buffer.data, buffer.len), &frame));
    assert_null(proto_decode_get(frame.params, &key, &options));
    buffer_deinit(&buffer);
    return options.timeout_ms;
}

static void the_daemon_gets_the_time_that_is_left_less_the_way_back(void **state)
{
    (void)state;
    assert_int_equal(daemon_timeout_ms(1000 * NS_PER_MS), 900);
    assert_int_equal(daemon_timeout_ms(60000 * NS_PER_MS), 59900);
    assert_int_equal(daemon_timeout_ms(20 * NS_PER_MS), 18);
    assert_int_equal(daemon_timeout_ms(1 * NS_PER_MS), 1);
    assert_int_equal(daemon_timeout_ms(0), 1);
}

/* Whatever is left, and rounded how: a write is never executed after its caller was told that it may have been. */
static void no_write_is_executed_after_its_deadline_here(void **state)
{
    const uint64_t lefts[] = {1, NS_PER_MS - 1, NS_PER_MS, 5 * NS_PER_MS + 1, 1000 * NS_PER_MS};
    const enum request_kind kinds[] = {REQUEST_SET, REQUEST_DELETE, REQUEST_CLEAR};
    const struct clock_map clock = {.known = true, .offset_ns = 600, .offset_min_ns = 400};

    (void)state;
    for (size_t i = 0; i < 3 * sizeof lefts / sizeof *lefts; i++) {
        uint64_t left = lefts[i / 3];
        struct proto_write write = {.key = slice_text("k")}, sent;
        struct request request = {.kind = kinds[i % 3], .id = 1, .write = &write, .deadline_ns = 1000 + left};
        struct buffer buffer = BUFFER_INIT;
        struct rpc_frame frame;

        request_pack(&request, &buffer, 1000, &clock);
        assert_null(rpc_decode(slice_of(buffer.data, buffer.len), &frame));
        assert_null(kinds[i % 3] == REQUEST_SET      ? proto_decode_set(frame.params, &sent)
                    : kinds[i % 3] == REQUEST_DELETE ? proto_decode_delete(frame.params, &sent)
                                                     : proto_decode_clear(frame.params, &sent));
        assert_in_range(sent.deadline_ns, 1000 + 400, 1000 + left + 400);
        assert_int_not_equal(sent.timeout_ms, 0);
        buffer_deinit(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_leave_a_list_from_anywhere),
        cmocka_unit_test(an_id_finds_its_request_alone_and_no_later_one),
        cmocka_unit_test(the_daemon_gets_the_time_that_is_left_less_the_way_back),
        cmocka_unit_test(no_write_is_executed_after_its_deadline_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
