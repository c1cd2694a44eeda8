/* hello, ping, stats and status. */
#include "daemon/ops/internal.h"
#include "daemon/ops/maps.h"

void run_hello(struct ops *ops, const struct request *request)
{
    struct slice client;
    uint64_t protocol;
    struct core_status status;
    struct proto_hello hello;
    struct buffer *b;
    const char *error = proto_decode_hello_params(request->params, &client, &protocol);

    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    if (client.len > 0)
        ops->config.named(ops->config.ctx, request->client, client);
    core_get_status(ops->config.core, request->now, &status);
    hello = (struct proto_hello){
        .server = slice_text("dcached " DCACHED_VERSION),
        .protocol = PROTO_VERSION,
        .pod = slice_text(ops->config.pod),
        .role = slice_text(ops->config.reader ? "reader" : "writer"),
        .bound_ns = ops->config.bound_ns,
        .max_stale_ns = ops->config.max_stale_ns,
        .clock_ns = request->now,
        .epoch = slice_text(status.epoch.text),
        .max_message = ops->config.max_message,
        .max_key = ops->config.max_key,
        .max_value = ops->config.max_value,
        .max_in_flight = PROTO_IN_FLIGHT_MAX,
    };
    b = answer_begin(ops, request->client, request->id);
    if (!b)
        return;
    proto_pack_hello_result(b, &hello);
    answer_end(ops, request->client);
}

/* The answer's beginning for a method without parameters; NULL: answered with an error, or the client is gone. */
static struct buffer *begin_plain(struct ops *ops, const struct request *request)
{
    const char *error = proto_decode_empty(request->params);

    if (!error)
        return answer_begin(ops, request->client, request->id);
    answer_error(ops, request->client, request->id, RPC_INVALID, error);
    return NULL;
}

void run_ping(struct ops *ops, const struct request *request)
{
    struct buffer *b = begin_plain(ops, request);

    if (!b)
        return;
    pack_text(b, "pong");
    answer_end(ops, request->client);
}

#define ONE(name, help) +1

void run_stats(struct ops *ops, const struct request *request)
{
    struct core_counters core;
    struct ops_counters own;
    unsigned others = 0;
    uint64_t value;
    const char *name;
    struct buffer *b = begin_plain(ops, request);

    if (!b)
        return;
    core_get_counters(ops->config.core, &core);
    ops_get_counters(ops, &own);
    while (ops->config.counter(ops->config.ctx, others, &value))
        others++;
    pack_map(b, (0 CORE_COUNTERS(ONE) OPS_COUNTERS(ONE)) + others);
#define X(name, help) map_uint(b, #name, core.name);
    CORE_COUNTERS(X)
#undef X
#define X(name, help) map_uint(b, #name, own.name);
    OPS_COUNTERS(X)
#undef X
    for (unsigned i = 0; i < others; i++) {
        name = ops->config.counter(ops->config.ctx, i, &value);
        map_uint(b, name, value);
    }
    answer_end(ops, request->client);
}

/* The core's own sentence knows nothing of connections. */
static struct slice status_reason(const struct ops *ops, const struct core_status *s)
{
    bool plain = s->reason_text == core_reason_text(s->reason);

    return reason_slice(ops, s->reason, plain ? slice_of(NULL, 0) : slice_text(s->reason_text));
}

static void pack_core_status(struct buffer *b, const struct ops *ops, const struct core_status *s, uint64_t now)
{
    map_bool(b, "ready", s->ready);
    pack_text(b, "reason");
    pack_str(b, s->ready ? slice_of(NULL, 0) : status_reason(ops, s));
    map_bool(b, "writes_ok", s->writes_ok);
    map_text(b, "writes_text", s->writes_text);
    map_text(b, "epoch", s->epoch.text);
    map_text(b, "epoch_why", s->epoch_why);
    map_age(b, "epoch_age_ms", now, s->epoch_at);
    map_text(b, "run", s->run.text);
    map_uint(b, "generation", s->generation);
    map_uint(b, "last", s->last);
    map_uint(b, "store_seq", s->store_seq);
    map_age(b, "as_of_age_ms", now, s->as_of);
    map_uint(b, "bound_ms", ops->config.bound_ns / NS_PER_MS);
    map_uint(b, "heartbeat_ms", ops->config.bound_ns / 4 / NS_PER_MS);
    map_uint(b, "round_trip_us", s->round_trip_ns / NS_PER_US);
    map_uint(b, "entries", s->entries);
    map_uint(b, "entries_bytes", s->entries_bytes);
    map_uint(b, "floors", s->floors);
    map_uint(b, "floors_bytes", s->floors_bytes);
    map_uint(b, "waiting", s->waiting);
    map_uint(b, "writes_pending", s->writes_pending);
    /* The store's clock now, as far as it is known: the wall clock of this machine should agree. */
    pack_text(b, "store_time_us");
    if (s->store_us == 0)
        pack_nil(b);
    else
        pack_uint(b, s->store_us);
}

/* The counters that say how well it goes; all of them are in `stats`. */
static void pack_core_counters(struct buffer *b, const struct ops *ops)
{
    struct core_counters c;

    core_get_counters(ops->config.core, &c);
    map_uint(b, "reads", c.reads);
    map_uint(b, "hits", c.hits);
    map_uint(b, "refused", c.refused);
    map_uint(b, "errors", c.errors);
    map_uint(b, "gaps", c.gaps);
    map_uint(b, "stale_rejected", c.stale_rejected);
    map_uint(b, "writes_indeterminate", c.writes_indeterminate);
    map_uint(b, "bad_records", c.bad_records);
    map_uint(b, "compared", c.verify_checked);
    map_uint(b, "inconsistencies", c.verify_differs_bound);
    map_uint(b, "lost", c.verify_lost);
}

#define CORE_STATUS_KEYS    22
#define COUNTER_STATUS_KEYS 11
#define OWN_STATUS_KEYS     23

void run_status(struct ops *ops, const struct request *request)
{
    struct ops_surroundings around = {0};
    struct core_status status;
    struct buffer *b = begin_plain(ops, request);

    if (!b)
        return;
    core_get_status(ops->config.core, request->now, &status);
    ops->config.describe(ops->config.ctx, &around);
    pack_map(b, CORE_STATUS_KEYS + COUNTER_STATUS_KEYS + OWN_STATUS_KEYS);
    map_text(b, "server", "dcached " DCACHED_VERSION);
    map_text(b, "pod", ops->config.pod);
    map_text(b, "role", ops->config.reader ? "reader" : "writer");
    pack_core_status(b, ops, &status, request->now);
    pack_core_counters(b, ops);
    map_text(b, "redis_addr", around.redis_addr);
    map_text(b, "redis_data", around.redis_data);
    map_text(b, "redis_subscription", around.redis_subscription);
    map_text(b, "redis_version", around.redis_version);
    map_text(b, "redis_role", around.redis_role);
    map_uint(b, "redis_replicas", around.redis_replicas);
    map_text(b, "redis_durability", around.redis_durability);
    map_text(b, "redis_persistence_trouble", around.redis_persistence_trouble);
    map_text(b, "redis_eviction", around.redis_eviction);
    map_uint(b, "redis_max_bytes", around.redis_max_bytes);
    map_uint(b, "redis_used_bytes", around.redis_used_bytes);
    map_uint(b, "min_replicas", around.min_replicas);
    map_uint(b, "memory_bytes", around.memory_bytes);
    map_text(b, "config_path", around.config_path);
    map_uint(b, "config_loaded_ms", around.config_loaded_ms);
    map_text(b, "config_error", around.config_error);
    map_text(b, "config_restart", around.config_restart);
    map_uint(b, "uptime_ms", around.uptime_ms);
    map_uint(b, "connections", around.connections);
    map_uint(b, "pid", around.pid);
    answer_end(ops, request->client);
}
