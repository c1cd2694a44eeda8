#include "tests/sim/os/test_world.h"

struct wire {
    struct world *w;
    struct conn *conn;
    struct net_peer *peer;
};

static void *on_accepted(void *ctx, struct net_peer *peer)
{
    struct world *w = ctx;
    struct wire *wire = calloc(1, sizeof(*wire));

    wire->w = w;
    wire->peer = peer;
    wire->conn = server_connect(w->redis, os_now(w->os), wire);
    assert_non_null(wire->conn);
    return wire;
}

static void on_received(void *ctx, const void *bytes, size_t len)
{
    struct wire *wire = ctx;

    conn_feed(wire->conn, os_now(wire->w->os), slice_of(bytes, len));
}

static void on_closed(void *ctx)
{
    struct wire *wire = ctx;

    conn_close(wire->conn);
    free(wire);
}

static void on_output(void *ctx, struct conn *conn)
{
    struct buffer *out = conn_output(conn);
    struct wire *wire = conn_ctx(conn);

    (void)ctx;
    net_peer_send(wire->peer, out->data, out->len);
    buffer_consume(out, out->len);
}

static void on_log(void *ctx, struct os_process *process, const char *line, size_t len)
{
    struct world *w = ctx;

    fprintf(stderr, "%9.3f %s %.*s", (double)os_now(w->os) / 1e6, os_process_name(process), (int)len, line);
}

static const struct net_server_ops port_ops = {
    .accepted = on_accepted,
    .received = on_received,
    .closed = on_closed,
};

void world_begin(struct world *w, uint64_t seed)
{
    struct os_config os = {.seed = seed, .ctx = w};
    struct server_hooks hooks = {.output = on_output};
    struct client_host_config client = {.name = "app", .handles = 2, .boottime_offset_ns = 77 * OS_S};

    memset(w, 0, sizeof(*w));
    if (getenv("VERBOSE"))
        os.on_log = on_log;
    w->os = os_new(&os);
    w->redis = server_new(0, seed, &hooks);
    server_start(w->redis, 0);
    w->port = net_server_new(w->os, "redis", &port_ops, w);
    daemon_config_default(&w->config);
    w->daemon = daemon_host_new(w->os, "pod", &w->config, -5 * (int64_t)OS_S);
    client.socket = w->config.listen.socket;
    w->client = client_host_new(w->os, &client);
    w->pod = daemon_host_process(w->daemon);
    w->app = client_host_process(w->client);
}

void world_run(struct world *w, uint64_t ns)
{
    os_run_until(w->os, os_now(w->os) + ns);
}

void world_start(struct world *w)
{
    os_process_start(w->pod);
    os_process_start(w->app);
    world_run(w, 100 * OS_MS);
}

void world_end(struct world *w)
{
    assert_int_equal(daemon_host_failures(w->daemon), 0);
    os_free(w->os);
    server_free(w->redis);
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

static void on_reading(void *ctx, const dcache_reading *reading)
{
    struct world *w = ctx;

    w->calls++;
    w->result = reading->result;
    w->state = reading->state;
    w->done_at = os_now(w->os);
    w->age_ns = reading->age_ns;
    memset(w->value, 0, sizeof(w->value));
    if (reading->result == DCACHE_OK)
        memcpy(w->value, reading->value, reading->value_len);
}

static void on_written(void *ctx, const dcache_written *written)
{
    struct world *w = ctx;

    w->calls++;
    w->result = written->result;
    w->written = *written;
}

void post_get(void *ctx)
{
    struct world *w = ctx;

    assert_int_equal(dcache_get_async(client_host_handle(w->client, 0), "k", 1, NULL, on_reading, w), DCACHE_OK);
}

void post_set(void *ctx)
{
    struct world *w = ctx;

    assert_int_equal(dcache_set_async(client_host_handle(w->client, 0), "k", 1, "one", 3, NULL, on_written, w),
                     DCACHE_OK);
}

void post_clear(void *ctx)
{
    struct world *w = ctx;

    w->result = dcache_clear(client_host_handle(w->client, 1), &w->written);
    w->calls++;
}

dcache_result call(struct world *w, void (*post)(void *ctx), uint64_t ns)
{
    int before = w->calls;

    w->result = -1000;
    assert_true(client_host_post(w->client, os_now(w->os), post, w));
    world_run(w, ns);
    assert_int_equal(w->calls, before + 1);
    return w->result;
}
