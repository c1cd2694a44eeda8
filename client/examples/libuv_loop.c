/*
 * libdcache-client inside a libuv loop: writes some keys, reads them back, all at once and without blocking.
 *
 *     libuv_loop [SOCKET]
 *
 * The library has no loop of its own. What a loop has to do stands in loop_update: watch the descriptor the
 * library has at the moment (it changes when a connection is made again) and process when its time comes.
 */
#include <dcache/client.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define KEYS 8

struct app {
    dcache *cache;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_poll_t *poll; /* of poll_fd; NULL: none */
    int poll_fd;
    int answers, failures;
};

/* ---- the loop --------------------------------------------------------------------------------------------- */

static void app_process(struct app *app);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    app_process(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    app_process(timer->data);
}

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void poll_stop(struct app *app)
{
    if (app->poll)
        uv_close((uv_handle_t *)app->poll, on_poll_closed);
    app->poll = NULL;
    app->poll_fd = -1;
}

static void poll_start(struct app *app, int fd)
{
    app->poll = calloc(1, sizeof *app->poll);
    if (!app->poll || uv_poll_init(&app->loop, app->poll, fd) != 0)
        abort();
    app->poll->data = app;
    app->poll_fd = fd;
}

/* After every call to the library: what does it wait for now? */
static void loop_update(struct app *app)
{
    int fd = dcache_fd(app->cache), timeout_ms = dcache_timeout_ms(app->cache);
    short events = dcache_events(app->cache);

    if (fd != app->poll_fd) {
        poll_stop(app);
        if (fd >= 0)
            poll_start(app, fd);
    }
    if (app->poll)
        uv_poll_start(app->poll, (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0),
                      on_poll);
    if (timeout_ms >= 0)
        uv_timer_start(&app->timer, on_timer, (uint64_t)timeout_ms, 0);
    else
        uv_timer_stop(&app->timer);
}

static void app_stop(struct app *app)
{
    poll_stop(app);
    uv_close((uv_handle_t *)&app->timer, NULL);
}

static void app_process(struct app *app)
{
    dcache_process(app->cache);
    if (app->answers == 2 * KEYS)
        app_stop(app);
    else
        loop_update(app);
}

/* ---- what the application does ---------------------------------------------------------------------------- */

static void on_read(void *ctx, const dcache_reading *reading)
{
    struct app *app = ctx;

    app->answers++;
    if (reading->result == DCACHE_OK) {
        printf("read version %" PRIu64 ": %.*s\n", reading->version, (int)reading->value_len,
               (const char *)reading->value);
        return;
    }
    app->failures++;
    printf("read: %s: %s\n", dcache_result_name(reading->result), dcache_error(app->cache));
}

/* The answer to the write came: a read from now on sees it. */
static void on_written(void *ctx, const dcache_written *written)
{
    struct app *app = ctx;
    char key[32];

    app->answers++;
    snprintf(key, sizeof key, "uv:%d", app->answers % KEYS);
    if (written->result < 0) {
        app->failures++;
        printf("write: %s: %s\n", dcache_result_name(written->result), dcache_error(app->cache));
    }
    if (dcache_get_async(app->cache, key, strlen(key), NULL, on_read, app) != DCACHE_OK) {
        app->answers++;
        app->failures++;
    }
}

static void app_begin(struct app *app)
{
    for (int i = 0; i < KEYS; i++) {
        char key[32], value[32];

        snprintf(key, sizeof key, "uv:%d", i);
        snprintf(value, sizeof value, "value %d", i);
        if (dcache_set_async(app->cache, key, strlen(key), value, strlen(value), NULL, on_written, app) !=
            DCACHE_OK)
            abort();
    }
}

int main(int argc, char **argv)
{
    dcache_options options = {.size = sizeof options, .socket = argc > 1 ? argv[1] : NULL, .timeout_ms = 2000};
    struct app app = {.poll_fd = -1};

    if (dcache_open(&app.cache, &options) != DCACHE_OK)
        return 1;
    uv_loop_init(&app.loop);
    uv_timer_init(&app.loop, &app.timer);
    app.timer.data = &app;
    app_begin(&app);
    loop_update(&app);
    uv_run(&app.loop, UV_RUN_DEFAULT);
    dcache_close(app.cache);
    uv_loop_close(&app.loop);
    return app.failures > 0;
}
