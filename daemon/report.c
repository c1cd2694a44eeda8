/*
 * What systemd hears of the daemon while it serves: STATUS= with state, entries and lag, and WATCHDOG=1, which is
 * held back as soon as the core makes no progress (progress.h). Redis away is not that: connections are tried.
 */
#include <stdio.h>

#include "daemon/wiring.h"

/* Rounded up to whole heartbeats, so that it says something new only when something is new. */
static uint64_t lag_ms(const struct daemon *d, uint64_t as_of, uint64_t now)
{
    uint64_t heartbeat_ns = d->config->staleness.bound_ns / 4, lag_ns = now > as_of ? now - as_of : 0;

    return (lag_ns + heartbeat_ns - 1) / heartbeat_ns * heartbeat_ns / NS_PER_MS;
}

static void status_text(const struct daemon *d, char text[static NOTIFY_STATUS_MAX])
{
    struct core_status status;
    uint64_t now = daemon_clock();
    char lag[64] = "lag unknown", writes[200] = "";

    core_get_status(d->core, now, &status);
    if (d->stopping) {
        snprintf(text, NOTIFY_STATUS_MAX, "stopping, %u connections", connections_count(d->conns));
        return;
    }
    if (status.ready)
        snprintf(lag, sizeof(lag), "lag up to %llu ms", (unsigned long long)lag_ms(d, status.as_of, now));
    else if (status.as_of > 0)
        snprintf(lag, sizeof(lag), "lag %llu s", (unsigned long long)((now - status.as_of) / (1000 * NS_PER_MS)));
    if (status.ready && !status.writes_ok && d->config->pod.may_write)
        snprintf(writes, sizeof(writes), " for reads only (%s)",
                 status.writes_text[0] ? status.writes_text : "writes are being tried");
    snprintf(text, NOTIFY_STATUS_MAX, "%s%s, %llu entries, %s%s%s%s", status.ready ? "ready" : "not ready", writes,
             (unsigned long long)status.entries, lag, d->reload.error ? "; the last reload failed" : "",
             status.ready ? "" : ": ", status.ready ? "" : about_reason(d, &status));
}

static void feed_watchdog(struct daemon *d)
{
    struct redis_status redis;
    uint64_t now = uv_hrtime();

    if (d->notify->watchdog_ns == 0)
        return;
    redis_get_status(d->redis, &redis);
    if (core_next_deadline(d->core) > daemon_clock())
        progress_settled(&d->progress, now);
    if (!progress_look(&d->progress, d->heartbeats_asked + redis.connects + redis.connect_failures, now)) {
        log_line(d->log, daemon_clock(), LOG_LEVEL_ERROR, "no progress: the watchdog is not fed");
        return;
    }
    if (now - d->fed_at < d->notify->watchdog_ns / 4)
        return;
    d->fed_at = now;
    notify_watchdog(d->notify);
}

void daemon_report(struct daemon *d)
{
    char text[NOTIFY_STATUS_MAX];

    if (d->notify->fd < 0 || d->finished)
        return;
    status_text(d, text);
    notify_status(d->notify, text, uv_hrtime());
    feed_watchdog(d);
}
