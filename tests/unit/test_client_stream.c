/* What goes out over the socket: a bounded piece at a time, and whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/stream.h"

#define LONG_BYTES ((size_t)4 * 1024 * 1024 + 7)

static uint8_t byte_at(size_t at)
{
    return (uint8_t)(at * 31 + at / 251);
}

/* A stream with `len` bytes to send, and the peer's end of it. */
static int stream_open(struct stream *stream, size_t len)
{
    uint8_t *bytes;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    stream_init(stream);
    stream->fd = fds[0];
    bytes = buffer_reserve(&stream->out, len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(i);
    stream->out.len = len;
    return fds[1];
}

/* The peer takes all that is there: the bytes from `at` on. How many. */
static size_t drain(int fd, size_t at)
{
    static uint8_t bytes[64 * 1024];
    size_t sum = 0;
    ssize_t n;

    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++, sum++)
            if (bytes[i] != byte_at(at + sum))
                fail_msg("byte %zu is another", at + sum);
    assert_true(n < 0 && errno == EAGAIN);
    return sum;
}

static void a_long_message_goes_out_whole_in_bounded_pieces(void **state)
{
    struct stream stream;
    int peer = stream_open(&stream, LONG_BYTES);
    size_t arrived = 0, sent;

    (void)state;
    while (stream_unsent(&stream) > 0) {
        assert_int_equal(stream_send(&stream, &sent), STREAM_OK);
        assert_in_range(sent, 1, STREAM_SEND_MAX);
        arrived += drain(peer, arrived);
        assert_int_equal(stream_unsent(&stream), LONG_BYTES - arrived);
    }
    assert_int_equal(arrived, LONG_BYTES);
    assert_int_equal(stream.out.len, 0);
    stream_close(&stream);
    close(peer);
}

static void a_peer_that_does_not_read_is_no_error_and_loses_nothing(void **state)
{
    struct stream stream;
    int peer = stream_open(&stream, LONG_BYTES);
    size_t taken = 0, sent;

    (void)state;
    do {
        assert_int_equal(stream_send(&stream, &sent), STREAM_OK);
        taken += sent;
    } while (sent > 0);
    assert_in_range(taken, 1, LONG_BYTES - 1);
    assert_int_equal(stream_unsent(&stream), LONG_BYTES - taken);
    assert_int_equal(drain(peer, 0), taken);
    assert_int_equal(stream_send(&stream, &sent), STREAM_OK);
    assert_int_equal(drain(peer, taken), sent);
    stream_close(&stream);
    close(peer);
}

static void what_is_taken_back_is_not_sent(void **state)
{
    struct stream stream;
    int peer = stream_open(&stream, STREAM_SEND_MAX + 1000);
    size_t sent;

    (void)state;
    assert_int_equal(stream_send(&stream, &sent), STREAM_OK);
    stream_take_back(&stream, sent + 10);
    assert_int_equal(stream_unsent(&stream), 10);
    stream_take_back(&stream, sent);
    assert_int_equal(stream.out.len, 0);
    buffer_append(&stream.out, &(uint8_t){byte_at(sent)}, 1);
    assert_int_equal(stream_send(&stream, &(size_t){0}), STREAM_OK);
    assert_int_equal(drain(peer, 0), sent + 1);
    stream_close(&stream);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_message_goes_out_whole_in_bounded_pieces),
        cmocka_unit_test(a_peer_that_does_not_read_is_no_error_and_loses_nothing),
        cmocka_unit_test(what_is_taken_back_is_not_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
