/*
 * The simulated Redis on standard input and output, for the comparison with a real one.
 *
 * In come orders: a letter, the number of a connection (32 bits), the wall clock in us (64 bits), a length (32
 * bits) and so many bytes; numbers are little endian. o opens a connection, d gives it bytes, x closes it, t is a
 * tick, q sends the server process away and starts it again. After every order come what the connections have to
 * say, as a letter, a number, a length and bytes (o: output, c: closed by the server), and at last the letter e
 * with zeros.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/redis/server.h"

#define CONNS_MAX 64

static struct conn *conns[CONNS_MAX];

static void say(char letter, uint32_t number, const void *data, uint32_t len)
{
    fwrite(&letter, 1, 1, stdout);
    fwrite(&number, 1, sizeof(number), stdout);
    fwrite(&len, 1, sizeof(len), stdout);
    fwrite(data, 1, len, stdout);
}

static uint32_t number_of(struct conn *conn)
{
    return (uint32_t)(uintptr_t)conn_ctx(conn);
}

static void on_output(void *ctx, struct conn *conn)
{
    struct buffer *out = conn_output(conn);

    (void)ctx;
    say('o', number_of(conn), out->data, (uint32_t)out->len);
    buffer_clear(out);
}

static void on_closed(void *ctx, struct conn *conn)
{
    (void)ctx;
    say('c', number_of(conn), "", 0);
}

static void carry_out(struct server *server, char order, uint32_t number, uint64_t now, struct slice bytes)
{
    switch (order) {
    case 'o':
        conns[number] = server_connect(server, now, (void *)(uintptr_t)number);
        break;
    case 'd':
        conn_feed(conns[number], now, bytes);
        break;
    case 'x':
        conn_close(conns[number]);
        conns[number] = NULL;
        break;
    case 't':
        server_tick(server, now);
        break;
    default:
        server_kill(server, now);
        server_start(server, now);
    }
}

int main(void)
{
    const struct server_hooks hooks = {.output = on_output, .closed = on_closed};
    struct server *server = server_new(0, 1, &hooks);
    char order;

    server_start(server, 0);
    while (fread(&order, 1, 1, stdin) == 1) {
        uint32_t number, len;
        uint64_t wall_us;
        uint8_t *bytes;

        if (fread(&number, sizeof(number), 1, stdin) != 1 || fread(&wall_us, sizeof(wall_us), 1, stdin) != 1 ||
            fread(&len, sizeof(len), 1, stdin) != 1 || number >= CONNS_MAX)
            return 1;
        bytes = malloc(len + 1);
        if (!bytes || fread(bytes, 1, len, stdin) != len)
            return 1;
        carry_out(server, order, number, (wall_us - SERVER_WALL_BASE_US) * 1000, slice_of(bytes, len));
        free(bytes);
        say('e', 0, "", 0);
        fflush(stdout);
    }
    server_free(server);
    return 0;
}
