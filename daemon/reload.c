/*
 * SIGHUP: the configuration is read anew, in a thread, and checked as a whole. A bad one changes nothing, and each
 * of its errors is logged. Of a good one config_take takes over what can change; one line of the log says what did
 * and what waits for a restart. Signals that come meanwhile lead to one more reading afterwards.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/wiring.h"

static uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_PER_MS;
}

void reload_init(struct daemon *d)
{
    d->reload.loaded_at_ms = wall_ms();
}

static void keep(char **where, const char *text)
{
    free(*where);
    *where = text && *text ? strdup(text) : NULL;
}

/* In a thread of its own: touches nothing but its struct. */
static void read_config(uv_work_t *work)
{
    struct reload *reload = &((struct daemon *)work->data)->reload;
    struct config_source source = *reload->source;

    source.reload = true;
    reload->result = config_load(&reload->loaded, &source, &reload->report);
}

static void say_failed(struct daemon *d, const struct config_report *report, const char *cause)
{
    uint64_t now = daemon_clock();

    for (size_t i = 0; i < report->error_count; i++)
        log_event(d->log, now, LOG_LEVEL_ERROR, "configuration", LOG_TEXT("text", report->errors[i]));
    log_event(d->log, now, LOG_LEVEL_ERROR, "reload failed: the configuration is as before",
              LOG_UINT("errors", report->error_count), LOG_TEXT("cause", cause));
    keep(&d->reload.error, cause);
}

/* Gives the parts what can change while they run. */
static void set_policy(struct daemon *d)
{
    const struct config *c = d->config;
    struct core_event tick = {.type = EV_TICK, .now = daemon_clock()};

    core_set_policy(d->core, &(struct core_policy){
                                 .max_stale_ns = c->staleness.max_stale_ns,
                                 .stale_on_partition = c->staleness.on_partition == ON_PARTITION_STALE,
                                 .sampler_interval_ns = c->verify.interval_ns,
                                 .sampler_samples = c->verify.samples,
                             });
    ops_set_policy(d->ops, &(struct ops_policy){
                               .max_stale_ns = c->staleness.max_stale_ns,
                               .timeout_ns = c->limits.timeout_ns,
                               .default_ttl_ms = c->cache.default_ttl_ns / NS_PER_MS,
                               .tombstone_ttl_ms = c->staleness.tombstone_ttl_ns / NS_PER_MS,
                               .carry_value = c->cache.propagate == PROPAGATE_VALUE,
                           });
    connections_set_budget(d->conns, c->limits.buffers);
    daemon_step(d, &tick);
}

static void take(struct daemon *d)
{
    struct reload *reload = &d->reload;
    struct config_changes changes;

    if (config_take(d->config, &reload->loaded, &changes) < 0) {
        say_failed(d, &reload->report, strerror(ENOMEM));
        return;
    }
    log_set_level(d->log, config_log_level(d->config));
    log_set_format(d->log, d->config->log.format, LOG_JOURNAL_SOCKET);
    set_policy(d);
    permit_all(d);
    reload->loaded_at_ms = wall_ms();
    keep(&reload->error, NULL);
    keep(&reload->restart, changes.restart);
    for (size_t i = 0; i < reload->report.warning_count; i++)
        log_event(d->log, daemon_clock(), LOG_LEVEL_WARNING, "configuration",
                  LOG_TEXT("text", reload->report.warnings[i]));
    log_event(d->log, daemon_clock(), changes.restart_count ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "reloaded",
              LOG_UINT("changed", changes.applied_count), LOG_TEXT("changes", changes.applied),
              LOG_UINT("need_restart", changes.restart_count), LOG_TEXT("restart", changes.restart));
    config_changes_deinit(&changes);
}

static void on_read(uv_work_t *work, int status)
{
    struct daemon *d = work->data;
    struct reload *reload = &d->reload;

    reload->under_way = false;
    if (status == 0 && !d->finished) {
        if (reload->result == CONFIG_OK)
            take(d);
        else
            say_failed(d, &reload->report,
                       reload->report.error_count ? reload->report.errors[0] : strerror(-reload->result));
    }
    config_deinit(&reload->loaded);
    config_report_deinit(&reload->report);
    if (d->finished)
        return;
    if (!d->stopping)
        notify_ready(d->notify, reload->error ? "the reload failed: the configuration is as before" : "reloaded");
    if (reload->again)
        daemon_reload(d);
}

/* The threads are there since the start (host/pool.h): only an argument that libuv does not like makes it fail. */
void daemon_reload(struct daemon *d)
{
    struct reload *reload = &d->reload;

    if (d->stopping || !reload->source)
        return;
    reload->again = reload->under_way;
    if (reload->under_way)
        return;
    reload->under_way = true;
    notify_reloading(d->notify);
    reload->work.data = d;
    if (uv_queue_work(&d->loop, &reload->work, read_config, on_read) < 0)
        reload->under_way = false;
}

void reload_deinit(struct daemon *d)
{
    free(d->reload.error);
    free(d->reload.restart);
}
