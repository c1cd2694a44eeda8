#include "daemon/daemon.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "daemon/wiring.h"

#define STOP_LIMIT_MS 2000
#define SPARE_FDS     64 /* for Redis, signals, the loop and the log; picked */
/* Around key and value in the largest set; picked. */
#define MESSAGE_SLACK 4096
#define MESSAGE_MIN   (4u * 1024 * 1024)
/* Keys and values of unfinished writes; at least two of the largest fit. Picked. */
#define PENDING_BYTES (8u * 1024 * 1024)
#define WAITING_MAX   8192 /* picked */
#define IN_FLIGHT_MAX 1024 /* picked */

static void fail(struct daemon *d, const char *cause)
{
    log_event(d->log, daemon_clock(), LOG_LEVEL_ERROR, "cannot start", LOG_TEXT("cause", cause));
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

static void on_redis_closed(void *ctx)
{
    struct daemon *d = ctx;

    d->redis = NULL;
}

/* Lets every handle go: uv_run returns when the last is closed. */
static void finish(struct daemon *d)
{
    uv_handle_t *own[] = {
        (uv_handle_t *)&d->prepare,    (uv_handle_t *)&d->tick,    (uv_handle_t *)&d->watchdog,
        (uv_handle_t *)&d->stop_limit, (uv_handle_t *)&d->sigterm, (uv_handle_t *)&d->sigint,
        (uv_handle_t *)&d->sighup,
    };

    if (d->finished)
        return;
    d->finished = true;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        uv_close(own[i], NULL);
    connections_close(d->conns);
    listener_close(d->listener);
    if (d->redis)
        redis_stop(d->redis, on_redis_closed, d);
}

static void on_stop_limit(uv_timer_t *timer)
{
    struct daemon *d = timer->data;

    log_event(d->log, daemon_clock(), LOG_LEVEL_WARNING, "stopping with answers that were not taken in time",
              LOG_UINT("connections", connections_count(d->conns)));
    finish(d);
}

static void on_stop_signal(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;

    if (d->stopping)
        return;
    d->stopping = true;
    log_event(d->log, daemon_clock(), LOG_LEVEL_INFO, "stopping", LOG_TEXT("signal", strsignal(signum)));
    notify_stopping(d->notify, "stopping");
    listener_stop(d->listener);
    connections_drain(d->conns);
    uv_timer_start(&d->stop_limit, on_stop_limit, STOP_LIMIT_MS, 0);
}

static void on_hangup(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;

    (void)signum;
    log_line(d->log, daemon_clock(), LOG_LEVEL_INFO, "SIGHUP ignored: a changed configuration needs a restart");
}

/* ---- the loop --------------------------------------------------------------------------------------------- */

static void on_prepare(uv_prepare_t *prepare)
{
    struct daemon *d = prepare->data;

    daemon_before_poll(d);
    if (d->stopping && connections_count(d->conns) == 0)
        finish(d);
}

static void on_watchdog(uv_timer_t *timer)
{
    notify_watchdog(((struct daemon *)timer->data)->notify);
}

static void init_handles(struct daemon *d)
{
    uint64_t watchdog_ms = d->notify->watchdog_ns / 2 / NS_PER_MS;

    uv_loop_init(&d->loop);
    uv_prepare_init(&d->loop, &d->prepare);
    uv_timer_init(&d->loop, &d->tick);
    uv_timer_init(&d->loop, &d->watchdog);
    uv_timer_init(&d->loop, &d->stop_limit);
    uv_signal_init(&d->loop, &d->sigterm);
    uv_signal_init(&d->loop, &d->sigint);
    uv_signal_init(&d->loop, &d->sighup);
    d->prepare.data = d->tick.data = d->watchdog.data = d->stop_limit.data = d;
    d->sigterm.data = d->sigint.data = d->sighup.data = d;
    uv_signal_start(&d->sigterm, on_stop_signal, SIGTERM);
    uv_signal_start(&d->sigint, on_stop_signal, SIGINT);
    uv_signal_start(&d->sighup, on_hangup, SIGHUP);
    if (watchdog_ms > 0)
        uv_timer_start(&d->watchdog, on_watchdog, watchdog_ms, watchdog_ms);
}

/* ---- the parts -------------------------------------------------------------------------------------------- */

/* The connection limit, as far as there are descriptors for it. */
static unsigned raise_descriptors(struct daemon *d)
{
    unsigned wanted = d->config->limits.connections;
    struct rlimit limit;
    rlim_t needed = (rlim_t)wanted + SPARE_FDS;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return wanted;
    if (limit.rlim_cur < needed) {
        limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= needed)
        return wanted;
    wanted = limit.rlim_cur > SPARE_FDS ? (unsigned)(limit.rlim_cur - SPARE_FDS) : 1;
    log_event(d->log, daemon_clock(), LOG_LEVEL_WARNING, "fewer connections than configured: raise LimitNOFILE",
              LOG_UINT("connections", wanted));
    return wanted;
}

static int make_core(struct daemon *d)
{
    const struct config *c = d->config;
    size_t two_writes = 2 * (c->cache.max_value + c->cache.max_key);
    struct core_config core = {
        .memory_bytes = c->cache.max_memory,
        .entry_bytes = c->cache.entry_size,
        .pending_bytes = two_writes > PENDING_BYTES ? two_writes : PENDING_BYTES,
        .max_waiting = WAITING_MAX,
        .max_in_flight = IN_FLIGHT_MAX,
        .max_key = c->cache.max_key,
        .max_value = c->cache.max_value,
        .bound_ns = c->staleness.bound_ns,
        .max_stale_ns = c->staleness.max_stale_ns,
        .stale_on_partition = c->staleness.on_partition == ON_PARTITION_STALE,
        .may_write = c->pod.may_write,
        .probe = true,
    };
    char error[512];
    int r;

    strncpy(core.source, c->pod.id, SOURCE_MAX);
    daemon_random(d, core.hash_key, sizeof(core.hash_key));
    if (c->cache.on_set_local_cache[0]) {
        r = hook_load(&d->hook, c->cache.on_set_local_cache, c->pod.id, c->cache.max_value, error, sizeof(error));
        if (r != 0) {
            fail(d, r > 0 ? error : strerror(-r));
            return -1;
        }
        core.hook = hook_on_set;
        core.hook_ctx = d->hook;
    }
    r = core_new(&d->core, &core);
    if (r < 0)
        fail(d,
             r == -EINVAL ? "[cache] max_memory is too small for these max_value and entry_size" : strerror(-r));
    return r;
}

static int make_listener(struct daemon *d)
{
    int inherited = notify_listen_fd();
    struct listener_config listener = {
        .path = d->config->listen.socket,
        .mode = d->config->listen.socket_mode,
        .gid = d->config->listen.gid,
        .inherited_fd = inherited >= 0 ? inherited : -1,
        .on_accept = wiring_on_accept,
        .ctx = d,
    };
    char error[512];
    int r;

    if (inherited == -EINVAL) {
        fail(d, "what LISTEN_FDS hands over is not one listening Unix stream socket");
        return -1;
    }
    r = listener_new(&d->listener, &d->loop, &listener, error, sizeof(error));
    if (r != 0)
        fail(d, r > 0 ? error : strerror(-r));
    return r;
}

static int make_parts(struct daemon *d)
{
    struct ops_config ops;
    struct connections_config conns = wiring_connections_config(d, raise_descriptors(d));
    struct redis_config redis = wiring_redis_config(d);
    int r = make_core(d);

    if (r != 0)
        return r;
    ops = wiring_ops_config(d);
    r = ops_new(&d->ops, &ops);
    if (r == 0)
        r = connections_new(&d->conns, &d->loop, &conns);
    if (r == 0)
        r = redis_new(&d->redis, &d->loop, &redis);
    if (r != 0) {
        fail(d, strerror(-r));
        return r;
    }
    /* Last: whoever gets through is served. */
    return make_listener(d);
}

static void free_parts(struct daemon *d)
{
    d->ops = ops_free(d->ops);
    d->core = core_free(d->core);
    hook_unload(d->hook);
    uv_loop_close(&d->loop);
}

int daemon_run(const struct config *config, struct log *log, struct notify *notify)
{
    size_t largest = config->cache.max_value + config->cache.max_key + MESSAGE_SLACK;
    struct daemon daemon = {
        .config = config,
        .log = log,
        .notify = notify,
        .started_at = daemon_clock(),
        .tick_due = UINT64_MAX,
        .max_message = largest > MESSAGE_MIN ? largest : MESSAGE_MIN,
        .random_used = RANDOM_POOL,
    };
    struct daemon *d = &daemon;
    int r;

    init_handles(d);
    r = make_parts(d);
    if (r == 0) {
        uv_prepare_start(&d->prepare, on_prepare);
        redis_start(d->redis);
        log_event(log, daemon_clock(), LOG_LEVEL_INFO, "listening", LOG_TEXT("socket", config->listen.socket),
                  LOG_TEXT("pod", config->pod.id), LOG_TEXT("version", DCACHED_VERSION));
        notify_ready(notify, "listening, waiting for Redis");
    } else {
        finish(d);
    }
    uv_run(&d->loop, UV_RUN_DEFAULT);
    free_parts(d);
    if (r == 0)
        log_line(log, daemon_clock(), LOG_LEVEL_INFO, "stopped");
    return r == 0 ? DAEMON_OK : DAEMON_FAILED;
}
