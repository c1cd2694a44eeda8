#include "daemon/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/wiring.h"

#define STOP_LIMIT_MS  2000
#define CLOSE_LIMIT_MS 100 /* of these, to close what is open; picked: it takes two turns of the loop */
#define SPARE_FDS      64  /* for Redis, signals, the loop and the log; picked */
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

/* Only threads of the pool that look up a name or read the configuration, and cannot be told to stop. */
static void on_close_limit(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* Lets every handle go: uv_run returns when the last is closed, or at the limit. */
static void finish(struct daemon *d)
{
    uv_handle_t *own[] = {
        (uv_handle_t *)&d->prepare, (uv_handle_t *)&d->tick,   (uv_handle_t *)&d->report,
        (uv_handle_t *)&d->sigterm, (uv_handle_t *)&d->sigint, (uv_handle_t *)&d->sighup,
    };

    if (d->finished)
        return;
    d->finished = true;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        uv_close(own[i], NULL);
    metrics_close(d->metrics);
    connections_close(d->conns);
    listener_close(d->listener);
    listener_close(d->admin_listener);
    if (d->redis)
        redis_stop(d->redis, on_redis_closed, d);
    uv_timer_start(&d->stop_limit, on_close_limit, CLOSE_LIMIT_MS, 0);
    uv_unref((uv_handle_t *)&d->stop_limit);
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
    notify_stopping(d->notify, "stopping: answering what is in flight");
    listener_stop(d->listener);
    if (d->admin_listener)
        listener_stop(d->admin_listener);
    connections_drain(d->conns);
    uv_timer_start(&d->stop_limit, on_stop_limit, STOP_LIMIT_MS - CLOSE_LIMIT_MS, 0);
}

static void on_hangup(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;

    (void)signum;
    daemon_reload(d);
}

/* ---- the loop --------------------------------------------------------------------------------------------- */

static void on_prepare(uv_prepare_t *prepare)
{
    struct daemon *d = prepare->data;

    daemon_before_poll(d);
    if (d->stopping && connections_count(d->conns) == 0)
        finish(d);
}

static void on_report(uv_timer_t *timer)
{
    daemon_report(timer->data);
}

/* 0 or -errno: without memory there is no loop, and no handle may touch it. */
static int init_handles(struct daemon *d)
{
    uint64_t report_ms = NOTIFY_PERIOD_NS / NS_PER_MS, feed_ms = d->notify->watchdog_ns / 4 / NS_PER_MS;
    int r = uv_loop_init(&d->loop);

    if (r < 0)
        return r;
    uv_prepare_init(&d->loop, &d->prepare);
    uv_timer_init(&d->loop, &d->tick);
    uv_timer_init(&d->loop, &d->report);
    uv_timer_init(&d->loop, &d->stop_limit);
    uv_signal_init(&d->loop, &d->sigterm);
    uv_signal_init(&d->loop, &d->sigint);
    uv_signal_init(&d->loop, &d->sighup);
    d->prepare.data = d->tick.data = d->report.data = d->stop_limit.data = d;
    d->sigterm.data = d->sigint.data = d->sighup.data = d;
    uv_signal_start(&d->sigterm, on_stop_signal, SIGTERM);
    uv_signal_start(&d->sigint, on_stop_signal, SIGINT);
    uv_signal_start(&d->sighup, on_hangup, SIGHUP);
    progress_init(&d->progress, d->config->staleness.bound_ns, uv_hrtime());
    if (feed_ms > 0 && feed_ms < report_ms)
        report_ms = feed_ms;
    if (d->notify->fd >= 0)
        uv_timer_start(&d->report, on_report, report_ms, report_ms);
    return 0;
}

/* ---- the parts -------------------------------------------------------------------------------------------- */

/* The connection limit, as far as there are descriptors for it. */
static unsigned raise_descriptors(struct daemon *d)
{
    unsigned wanted = d->config->limits.connections;
    unsigned spare = SPARE_FDS + ADMIN_CONNECTIONS + (d->config->metrics.listen[0] ? HTTP_FDS : 0);
    struct rlimit limit;
    rlim_t needed = (rlim_t)wanted + spare;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return wanted;
    if (limit.rlim_cur < needed) {
        limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= needed)
        return wanted;
    wanted = limit.rlim_cur > spare ? (unsigned)(limit.rlim_cur - spare) : 1;
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
        .min_replicas = c->staleness.min_replicas,
        .stale_on_partition = c->staleness.on_partition == ON_PARTITION_STALE,
        .may_write = c->pod.may_write,
        .probe = true,
        .trace_events = c->trace.events,
        .sampler_interval_ns = c->verify.interval_ns,
        .sampler_samples = c->verify.samples,
    };
    char error[512];
    int r;

    strncpy(core.source, c->pod.id, SOURCE_MAX);
    daemon_random(d, core.hash_key, sizeof(core.hash_key));
    daemon_random(d, &core.sampler_seed, sizeof(core.sampler_seed));
    if (c->cache.on_set_local_cache[0]) {
        r = hook_load(&d->hook, c->cache.on_set_local_cache, c->pod.id, c->cache.max_value, error, sizeof(error));
        if (r != 0) {
            fail(d, r > 0 ? error : strerror(-r));
            return -1;
        }
        core.hook = hook_on_set;
        core.hook_ctx = d->hook;
    }
    d->pending_bytes_max = core.pending_bytes;
    r = core_new(&d->core, &core);
    if (r < 0)
        fail(d,
             r == -EINVAL ? "[cache] max_memory is too small for these max_value and entry_size" : strerror(-r));
    return r;
}

/* The unit of the socket decides what is inherited; that [listen] says otherwise must not go unseen. */
static void note_inherited(struct daemon *d, const char *path, struct slice other)
{
    const struct config *c = d->config;
    gid_t gid = c->listen.gid == (gid_t)-1 ? getegid() : c->listen.gid;
    struct stat st;
    char mode[8];

    if (!slice_equal(slice_text(path), other)) {
        log_event(d->log, daemon_clock(), LOG_LEVEL_WARNING,
                  "listening where systemd does, not at [listen] socket", LOG_TEXT("socket", path));
        return;
    }
    if (stat(path, &st) < 0 || ((st.st_mode & 0777) == c->listen.socket_mode && st.st_gid == gid))
        return;
    snprintf(mode, sizeof(mode), "%04o", st.st_mode & 0777U);
    log_event(d->log, daemon_clock(), LOG_LEVEL_WARNING,
              "the socket has the mode and group that systemd gave it, not those of [listen]: set SocketMode and "
              "SocketGroup of the socket unit, or mask it",
              LOG_TEXT("mode", mode), LOG_UINT("gid", st.st_gid));
}

static void note_listening(struct daemon *d, const struct sockaddr_un *inherited)
{
    struct slice path = slice_text(d->config->listen.socket);

    if (inherited) {
        path = slice_of(inherited->sun_path, strnlen(inherited->sun_path, sizeof(inherited->sun_path)));
        note_inherited(d, d->config->listen.socket, path);
    }
    log_event(d->log, daemon_clock(), LOG_LEVEL_INFO, "listening", LOG_SLICE("socket", path),
              LOG_TEXT("pod", d->config->pod.id), LOG_TEXT("version", DCACHED_VERSION));
}

static int make_listener(struct daemon *d)
{
    struct sockaddr_un addr;
    int inherited = notify_listen_fd(&addr);
    struct listener_config listener = {
        .path = d->config->listen.socket,
        .mode = d->config->listen.socket_mode,
        .gid = d->config->listen.gid,
        .door = DOOR_MAIN,
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
    else
        note_listening(d, inherited >= 0 ? &addr : NULL);
    return r;
}

/* Bound first: once the main socket is there, so is this one. */
static int make_admin_listener(struct daemon *d)
{
    const struct config *c = d->config;
    struct listener_config listener = {
        .path = c->listen.admin_socket,
        .mode = c->listen.admin_socket_mode,
        .gid = c->listen.admin_gid,
        .door = DOOR_ADMIN,
        .inherited_fd = -1,
        .on_accept = wiring_on_accept,
        .ctx = d,
    };
    char error[512];
    int r;

    if (!c->listen.admin_socket[0])
        return 0;
    r = listener_new(&d->admin_listener, &d->loop, &listener, error, sizeof(error));
    if (r != 0)
        fail(d, r > 0 ? error : strerror(-r));
    else
        log_event(d->log, daemon_clock(), LOG_LEVEL_INFO, "listening for administration",
                  LOG_TEXT("socket", c->listen.admin_socket));
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
    if (!wiring_metrics_start(d))
        return -1;
    /* Last: whoever gets through is served. */
    r = make_admin_listener(d);
    return r ? r : make_listener(d);
}

int daemon_new(struct daemon **ret, struct config *config, struct log *log, struct notify *notify)
{
    size_t largest = config->cache.max_value + config->cache.max_key + MESSAGE_SLACK;
    struct daemon *d = calloc(1, sizeof(*d));
    int r;

    if (!d) {
        log_event(log, daemon_clock(), LOG_LEVEL_ERROR, "cannot start", LOG_TEXT("cause", strerror(ENOMEM)));
        return DAEMON_FAILED;
    }
    d->config = config;
    d->log = log;
    d->notify = notify;
    d->started_at = daemon_clock();
    reload_init(d);
    d->tick_due = UINT64_MAX;
    d->max_message = largest > MESSAGE_MIN ? largest : MESSAGE_MIN;
    d->random_used = RANDOM_POOL;
    r = init_handles(d);
    if (r < 0) {
        log_event(log, daemon_clock(), LOG_LEVEL_ERROR, "cannot start", LOG_TEXT("cause", strerror(-r)));
        free(d);
        return DAEMON_FAILED;
    }
    if (make_parts(d) != 0) {
        daemon_free(d);
        return DAEMON_FAILED;
    }
    uv_prepare_start(&d->prepare, on_prepare);
    redis_start(d->redis);
    notify_ready(notify, "listening, waiting for Redis");
    *ret = d;
    return DAEMON_OK;
}

bool daemon_serve(struct daemon *d)
{
    return uv_run(&d->loop, UV_RUN_DEFAULT) == 0;
}

struct daemon *daemon_free(struct daemon *d)
{
    finish(d);
    uv_close((uv_handle_t *)&d->stop_limit, NULL);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    ops_free(d->ops);
    core_free(d->core);
    hook_unload(d->hook);
    reload_deinit(d);
    uv_loop_close(&d->loop);
    free(d);
    return NULL;
}

int daemon_run(struct config *config, const struct config_source *source, struct log *log, struct notify *notify)
{
    struct daemon *d;
    bool over;
    int r = daemon_new(&d, config, log, notify);

    if (r != DAEMON_OK)
        return r;
    d->reload.source = source;
    over = daemon_serve(d);
    if (over)
        daemon_free(d);
    else
        hook_unload(d->hook);
    log_line(log, daemon_clock(), LOG_LEVEL_INFO, "stopped");
    /* A name service can take minutes, and exit would wait for its thread, as libuv joins the pool there. Nobody
     * else waits for anything: clients have their answers, the socket is gone, the log is unbuffered. */
    if (!over)
        _exit(EXIT_SUCCESS);
    return DAEMON_OK;
}
