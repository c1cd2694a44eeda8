/* How many commands the simulated Redis executes in a second of CPU time: `bench_redis_model [SECONDS [KIND]]`. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/redis/resp.h"
#include "daemon/redis/script.h"
#include "tests/sim/redis/server.h"

#define EPOCH "0123456789abcdef0123456789abcdef"
#define RUN   "0000000000000000000000000000000000000001"

static uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static const char *only; /* NULL: all kinds */

static void put(struct buffer *out, unsigned count, const char *const *arguments)
{
    resp_command(out, count);
    for (unsigned i = 0; i < count; i++)
        resp_argument_text(out, arguments[i]);
}

static void feed(struct conn *conn, uint64_t now, struct buffer *bytes)
{
    conn_feed(conn, now, slice_of(bytes->data, bytes->len));
    buffer_clear(bytes);
}

static void measure(struct conn *conn, const char *name, unsigned count, const char *const *arguments,
                    uint64_t seconds, unsigned id_at, unsigned key_at)
{
    struct buffer bytes = BUFFER_INIT, *out = conn_output(conn);
    uint64_t done = 0, begun = clock_ns(), now = begun, spent;
    const char *own[32];
    char id[40], key[40];

    if (only && strcmp(only, name) != 0)
        return;
    for (unsigned i = 0; i < count; i++)
        own[i] = arguments[i];
    do {
        for (int i = 0; i < 100; i++, done++, now += 1000) {
            snprintf(id, sizeof(id), "%032llx", (unsigned long long)done);
            snprintf(key, sizeof(key), "dc:{0}:%03u", (unsigned)(done % 300));
            if (id_at)
                own[id_at] = id;
            if (key_at)
                own[key_at] = key;
            put(&bytes, count, own);
            feed(conn, now, &bytes);
            buffer_clear(out);
        }
        spent = clock_ns() - begun;
    } while (spent < seconds * 1000000000);
    printf("%-12s %8.0f /s\n", name, (double)done * 1e9 / (double)spent);
    buffer_deinit(&bytes);
}

int main(int argc, char **argv)
{
    static const char *const ping[] = {"PING"};
    static const char *const range[] = {"GETRANGE", "dc:{0}:001", "0", "500"};
    static const char *const meta[] = {"HSET", "dc:{0}!meta", "epoch", EPOCH,     "run",
                                       RUN,    "seq",         "5",     "cleared", "0"};
    uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 2;
    const struct server_hooks hooks = {0};
    struct server *server = server_new(0, 1, &hooks);
    struct conn *conn;
    struct buffer bytes = BUFFER_INIT;
    char text[65536], sha[41] = "";

    only = argc > 2 ? argv[2] : NULL;
    server_start(server, 0);
    conn = server_connect(server, 0, NULL);
    put(&bytes, 10, meta);
    feed(conn, 0, &bytes);
    buffer_clear(conn_output(conn));
    snprintf(text, sizeof(text), "%.*s", (int)scripts[LUA_WRITE].len, (const char *)scripts[LUA_WRITE].text);
    put(&bytes, 3, (const char *const[]){"SCRIPT", "LOAD", text});
    feed(conn, 0, &bytes);
    memcpy(sha, conn_output(conn)->data + 5, 40);
    buffer_clear(conn_output(conn));

    measure(conn, "PING", 1, ping, seconds, 0, 0);
    measure(conn, "write.lua", 18,
            (const char *const[]){"EVALSHA", sha, "2", "dc:{0}!meta", "dc:{0}:001", EPOCH, RUN, "channel", "pod",
                                  "s", "001", "", "0", "id", "0", "1", "9223372036854775807",
                                  "a value of some forty bytes, as values are"},
            seconds, 13, 4);
    measure(conn, "GETRANGE", 4, range, seconds, 0, 0);
    buffer_deinit(&bytes);
    server_free(server);
    return 0;
}
