/* Connections over socket pairs, with a receiver that answers at once, later, or never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net/internal.h"

#define IN_FLIGHT_MAX 8
#define BUDGET        (512 * 1024)

struct fixture {
    uv_loop_t loop;
    uv_prepare_t prepare;
    struct connections *conns;
    int fd; /* the client's end */
    uint64_t client;
    bool answering; /* at once */
    enum frame_result result;
    unsigned frames, bad_frames, closed;
    size_t answer_len;
    unsigned cost;   /* of each frame, beside itself */
    bool any_client; /* not only the last one may be closed */
};

static void answer(struct fixture *f, uint64_t client)
{
    struct buffer *b = connection_answer_begin(f->conns, client);

    if (!b)
        return;
    memset(buffer_reserve(b, f->answer_len), 0x07, f->answer_len);
    b->len += f->answer_len;
    connection_answer_end(f->conns, client);
}

static enum frame_result on_frame(void *ctx, uint64_t client, struct slice frame)
{
    struct fixture *f = ctx;

    assert_int_equal(frame.len, 1);
    f->frames++;
    connection_spend(f->conns, client, f->cost);
    if (f->answering)
        answer(f, client);
    return f->result;
}

static void on_bad_frame(void *ctx, uint64_t client, struct slice begin, enum scan_result what)
{
    struct fixture *f = ctx;

    (void)begin;
    (void)what;
    f->bad_frames++;
    answer(f, client);
}

static void on_opened(void *ctx, uint64_t client, const struct peer *peer)
{
    (void)peer;
    ((struct fixture *)ctx)->client = client;
}

static void on_full(void *ctx, const struct peer *peer, struct buffer *message)
{
    (void)ctx;
    buffer_append(message, peer->door == 0 ? "full" : "none", 4);
}

static void on_closed(void *ctx, uint64_t client)
{
    struct fixture *f = ctx;

    if (!f->any_client)
        assert_int_equal(client, f->client);
    f->closed++;
}

static void on_prepare(uv_prepare_t *prepare)
{
    connections_before_poll(((struct fixture *)prepare->data)->conns);
}

static void adopt_through(struct fixture *f, unsigned door)
{
    int pair[2];
    struct peer peer = {.door = door};

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    connections_adopt(f->conns, pair[0], &peer);
    f->fd = pair[1];
}

static void adopt(struct fixture *f)
{
    adopt_through(f, 0);
}

static int setup_with(void **state, unsigned clients, size_t budget)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct connections_config config = {
        .max_connections = {clients, 1},
        .on_full = on_full,
        .in_flight_max = IN_FLIGHT_MAX,
        .max_message = 1024,
        .budget_bytes = budget,
        .on_frame = on_frame,
        .on_bad_frame = on_bad_frame,
        .on_opened = on_opened,
        .on_closed = on_closed,
        .ctx = f,
    };

    assert_non_null(f);
    f->answering = true;
    f->answer_len = 1;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(connections_new(&f->conns, &f->loop, &config), 0);
    uv_prepare_init(&f->loop, &f->prepare);
    f->prepare.data = f;
    uv_prepare_start(&f->prepare, on_prepare);
    adopt(f);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, 1, 4 << 20);
}

static int setup_small_budget(void **state)
{
    return setup_with(state, 2, BUDGET);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    connections_close(f->conns);
    uv_close((uv_handle_t *)&f->prepare, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    close(f->fd);
    free(f);
    return 0;
}

static void turn(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* Small integers: each is a frame of one byte. */
static void send_frames(struct fixture *f, size_t count)
{
    uint8_t *data = calloc(1, count);

    assert_int_equal(write(f->fd, data, count), count);
    free(data);
}

static size_t receive(struct fixture *f)
{
    static uint8_t data[1 << 20];
    ssize_t n = read(f->fd, data, sizeof(data));

    return n > 0 ? (size_t)n : 0;
}

static bool at_end(struct fixture *f)
{
    uint8_t byte;

    return read(f->fd, &byte, 1) == 0;
}

static void a_turn_hands_on_a_bounded_number_of_frames(void **state)
{
    struct fixture *f = *state;

    send_frames(f, 3 * CONNECTION_TURN_FRAMES + 10);
    turn(f);
    assert_int_equal(f->frames, CONNECTION_TURN_FRAMES);
    assert_int_equal(receive(f), CONNECTION_TURN_FRAMES);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(f->frames, 3 * CONNECTION_TURN_FRAMES + 10);
    assert_int_equal(receive(f), 2 * CONNECTION_TURN_FRAMES + 10);
}

static void no_more_is_handed_on_than_may_be_in_flight(void **state)
{
    struct fixture *f = *state;

    f->answering = false;
    send_frames(f, 3 * IN_FLIGHT_MAX);
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_int_equal(f->frames, IN_FLIGHT_MAX);
    for (int i = 0; i < IN_FLIGHT_MAX; i++)
        answer(f, f->client);
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_int_equal(f->frames, 2 * IN_FLIGHT_MAX);
    assert_int_equal(receive(f), IN_FLIGHT_MAX);
}

static void nothing_more_is_handed_on_while_much_output_is_queued(void **state)
{
    struct fixture *f = *state;
    unsigned before;

    f->answer_len = 64 * 1024;
    send_frames(f, 200);
    for (int i = 0; i < 20; i++)
        turn(f);
    before = f->frames;
    assert_true(before < 60);
    assert_true(connection_queued_bytes(f->conns, f->client) >= CONNECTION_OUTPUT_HIGH);
    for (int i = 0; i < 1000; i++) {
        receive(f);
        turn(f);
    }
    assert_int_equal(f->frames, 200);
    assert_int_equal(connection_queued_bytes(f->conns, f->client), 0);
}

static void who_has_taken_an_answer_longer_than_the_limit_of_the_queue_is_heard_again(void **state)
{
    struct fixture *f = *state;
    size_t received = 0;

    f->answer_len = 3 * CONNECTION_OUTPUT_HIGH;
    send_frames(f, 1);
    turn(f);
    assert_true(connection_queued_bytes(f->conns, f->client) >= CONNECTION_OUTPUT_HIGH);
    while (received < f->answer_len) {
        received += receive(f);
        turn(f);
    }
    f->answer_len = 1;
    send_frames(f, 1);
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_int_equal(f->frames, 2);
}

static void malformed_input_is_answered_and_closed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(write(f->fd, "\x01\x02\xc1\x03\x04", 5), 5);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(f->frames, 2);
    assert_int_equal(f->bad_frames, 1);
    assert_int_equal(receive(f), 3);
    assert_true(at_end(f));
    assert_int_equal(f->closed, 1);
}

static void malformed_input_waits_for_answers_under_way(void **state)
{
    struct fixture *f = *state;

    f->answering = false;
    assert_int_equal(write(f->fd, "\x01\xc1", 2), 2);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(f->closed, 0);
    answer(f, f->client);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(f->closed, 1);
    assert_int_equal(receive(f), 2);
}

static void half_close_waits_for_answers_under_way(void **state)
{
    struct fixture *f = *state;

    f->answering = false;
    send_frames(f, 2);
    shutdown(f->fd, SHUT_WR);
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_int_equal(f->closed, 0);
    answer(f, f->client);
    answer(f, f->client);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(receive(f), 2);
    assert_int_equal(f->closed, 1);
}

static void the_number_of_a_client_that_is_gone_means_nobody(void **state)
{
    struct fixture *f = *state;
    uint64_t gone = f->client;
    struct net_counters counters;

    f->answering = false;
    send_frames(f, 1);
    turn(f);
    assert_int_equal(f->frames, 1);
    close(f->fd);
    /* Half closed, as far as can be seen: it waits for its answer, and finds out when that is written. */
    turn(f);
    answer(f, gone);
    turn(f);
    assert_int_equal(f->closed, 1);
    adopt(f);
    assert_int_not_equal(f->client, gone);
    assert_null(connection_answer_begin(f->conns, gone));
    connection_answer_end(f->conns, gone);
    connections_get_counters(f->conns, &counters);
    assert_int_equal(counters.answers_dropped, 1);
    assert_int_equal(receive(f), 0);
}

static void assert_turned_away(struct fixture *f, unsigned door, const char *expected)
{
    char message[8] = "";

    adopt_through(f, door);
    assert_int_equal(read(f->fd, message, sizeof message), 4);
    assert_string_equal(message, expected);
    assert_true(at_end(f));
    close(f->fd);
}

static void one_too_many_of_a_door_is_told_so_and_closed_at_once(void **state)
{
    struct fixture *f = *state;
    int first = f->fd;
    struct net_counters counters;

    f->any_client = true;
    assert_turned_away(f, 0, "full");
    adopt_through(f, 1);
    assert_turned_away(f, 1, "none");
    connections_get_counters(f->conns, &counters);
    assert_int_equal(counters.connections_refused, 2);
    assert_int_equal(counters.connections, 2);
    close(first);
    turn(f);
    adopt(f);
    send_frames(f, 1);
    turn(f);
    assert_int_equal(receive(f), 1);
}

static void an_idle_connection_holds_no_buffer(void **state)
{
    struct fixture *f = *state;
    struct net_counters counters;

    assert_int_equal(write(f->fd, "\x93\x01", 2), 2);
    turn(f);
    connections_get_counters(f->conns, &counters);
    assert_true(counters.buffered_bytes > 0);
    f->answering = false;
    f->result = FRAME_UNANSWERED;
    connections_drain(f->conns);
    turn(f);
    turn(f);
    connections_get_counters(f->conns, &counters);
    assert_int_equal(counters.buffered_bytes, 0);
    assert_int_equal(f->closed, 1);
}

/* ---- stalls and the budget ------------------------------------------------------------------------------- */

static void pass_seconds(struct fixture *f, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        connections_sweep(f->conns);
        turn(f);
    }
    turn(f);
}

static struct net_counters counters(struct fixture *f)
{
    struct net_counters ret;

    connections_get_counters(f->conns, &ret);
    return ret;
}

static void who_takes_no_answers_for_thirty_seconds_is_closed(void **state)
{
    struct fixture *f = *state;

    f->answer_len = 64 * 1024;
    send_frames(f, 20);
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_true(connection_queued_bytes(f->conns, f->client) > 0);
    pass_seconds(f, CONNECTION_STALL_S / 2);
    assert_int_equal(f->closed, 0);
    pass_seconds(f, 2 * CONNECTION_STALL_S);
    assert_int_equal(f->closed, 1);
    assert_int_equal(counters(f).closed_stalled, 1);
    assert_int_equal(counters(f).buffered_bytes, 0);
}

static void who_takes_a_little_now_and_then_is_not_closed(void **state)
{
    struct fixture *f = *state;
    size_t queued;

    f->answer_len = 64 * 1024;
    send_frames(f, 20);
    for (int i = 0; i < 5; i++)
        turn(f);
    queued = connection_queued_bytes(f->conns, f->client);
    for (int i = 0; i < 4; i++) {
        pass_seconds(f, CONNECTION_STALL_S / 2);
        receive(f);
        turn(f);
    }
    assert_true(connection_queued_bytes(f->conns, f->client) < queued);
    assert_int_equal(f->closed, 0);
}

static void beyond_the_budget_who_takes_nothing_gives_way(void **state)
{
    struct fixture *f = *state;
    uint64_t idle = f->client;
    int idle_fd = f->fd;

    f->any_client = true;
    f->answer_len = 64 * 1024;
    send_frames(f, 20);
    for (int i = 0; i < 5; i++)
        turn(f);
    assert_true(connection_queued_bytes(f->conns, idle) > BUDGET / 2);
    adopt(f);
    assert_false(connection_has_room(f->conns, f->client, BUDGET / 2));
    assert_int_equal(f->closed, 0);
    pass_seconds(f, 2);
    assert_true(connection_has_room(f->conns, f->client, BUDGET / 2));
    assert_int_equal(counters(f).closed_budget, 1);
    assert_int_equal(connection_queued_bytes(f->conns, idle), 0);
    close(idle_fd);
}

static void what_a_request_costs_shortens_the_turn(void **state)
{
    struct fixture *f = *state;

    f->cost = CONNECTION_TURN_FRAMES;
    send_frames(f, 3);
    turn(f);
    assert_int_equal(f->frames, 1);
    turn(f);
    turn(f);
    assert_int_equal(f->frames, 3);
    assert_int_equal(receive(f), 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_turn_hands_on_a_bounded_number_of_frames),
        TEST(no_more_is_handed_on_than_may_be_in_flight),
        TEST(nothing_more_is_handed_on_while_much_output_is_queued),
        TEST(who_has_taken_an_answer_longer_than_the_limit_of_the_queue_is_heard_again),
        TEST(malformed_input_is_answered_and_closed),
        TEST(malformed_input_waits_for_answers_under_way),
        TEST(half_close_waits_for_answers_under_way),
        TEST(the_number_of_a_client_that_is_gone_means_nobody),
        TEST(one_too_many_of_a_door_is_told_so_and_closed_at_once),
        TEST(an_idle_connection_holds_no_buffer),
        TEST(what_a_request_costs_shortens_the_turn),
        cmocka_unit_test_setup_teardown(who_takes_no_answers_for_thirty_seconds_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(who_takes_a_little_now_and_then_is_not_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(beyond_the_budget_who_takes_nothing_gives_way, setup_small_budget,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
