/* What metrics are told, and where they listen. */
#include <time.h>

#include "daemon/wiring.h"

static void collect(void *ctx, struct metrics_input *ret)
{
    struct daemon *d = ctx;
    struct trace_stats trace = {0};

    ret->now = daemon_clock();
    core_get_counters(d->core, &ret->core);
    core_get_measures(d->core, &ret->measures);
    core_get_status(d->core, ret->now, &ret->status);
    if (!ret->status.ready)
        ret->status.reason_text = about_reason(d, &ret->status);
    wiring_net_counters(d, &ret->net);
    ops_get_counters(d->ops, &ret->ops);
    redis_get_status(d->redis, &ret->redis);
    ret->loop_lag = d->loop_lag;
    ret->pod = d->config->pod.id;
    ret->role = d->config->pod.role == ROLE_READER ? "reader" : "writer";
    ret->stopping = d->stopping;
    ret->config_good = d->reload.error == NULL;
    ret->config_loaded_ms = d->reload.loaded_at_ms;
    ret->bound_ns = d->config->staleness.bound_ns;
    if (core_get_trace(d->core))
        trace_get_stats(core_get_trace(d->core), &trace);
    ret->budget.cache = d->config->cache.max_memory;
    ret->budget.trace = trace.bytes; /* taken as a whole at the start */
    ret->budget.buffers = d->config->limits.buffers;
    ret->budget.pending = d->pending_bytes_max;
    ret->process.started_ms = d->started_ms;
}

bool wiring_metrics_start(struct daemon *d)
{
    const struct config *c = d->config;
    struct metrics_config config = {
        .host = c->metrics.host,
        .port = c->metrics.port,
        .unix_path = c->metrics.unix_path,
        .mode = c->listen.socket_mode,
        .gid = c->listen.gid,
        .collect = collect,
        .ctx = d,
    };
    struct timespec now;
    char error[512];
    int r;

    clock_gettime(CLOCK_REALTIME, &now);
    d->started_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
    if (!c->metrics.listen[0])
        return true;
    r = metrics_new(&d->metrics, &d->loop, &config, error, sizeof(error));
    if (r == METRICS_OK) {
        log_event(d->log, daemon_clock(), LOG_LEVEL_INFO, "metrics", LOG_TEXT("listen", c->metrics.listen));
        return true;
    }
    log_event(d->log, daemon_clock(), LOG_LEVEL_ERROR, "cannot start",
              LOG_TEXT("cause", r > 0 ? error : "out of memory or descriptors for metrics"));
    return false;
}
