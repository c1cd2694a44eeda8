/* daemon/net/listener.h without a file system: paths are names among simulated processes. */
#include "daemon/net/listener.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/os/internal.h"

struct listener {
    struct listener_config config;
    uv_poll_t poll;
    uv_timer_t pause;
    int fd;
    bool stopped;
    unsigned open_handles;
    struct listener_counters counters;
};

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_pause_end(uv_timer_t *timer)
{
    struct listener *l = timer->data;

    if (!l->stopped)
        uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < LISTENER_BURST && !l->stopped; i++) {
        struct peer peer = {.uid = 1000, .gid = 1000};
        int fd = kernel_accept(l->fd);

        if (fd == -EMFILE) {
            l->counters.accept_pauses++;
            uv_poll_stop(&l->poll);
            uv_timer_start(&l->pause, on_pause_end, LISTENER_PAUSE_MS, 0);
        }
        if (fd < 0)
            return;
        peer.pid = kernel_accepted_pid(fd);
        l->config.on_accept(l->config.ctx, fd, &peer);
    }
}

int listener_new(struct listener **ret, uv_loop_t *loop, const struct listener_config *config, char *error,
                 size_t error_size)
{
    struct listener *l = os_alloc(sizeof(*l));

    l->config = *config;
    l->fd = kernel_listen(config->path);
    if (l->fd < 0) {
        snprintf(error, error_size, "cannot listen on %s: %s", config->path, strerror(-l->fd));
        free(l);
        return LISTENER_UNUSABLE;
    }
    uv_poll_init(loop, &l->poll, l->fd);
    uv_timer_init(loop, &l->pause);
    l->open_handles = 2;
    l->poll.data = l->pause.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
    *ret = l;
    return 0;
}

void listener_stop(struct listener *l)
{
    if (l->stopped)
        return;
    l->stopped = true;
    kernel_unlisten(l->fd);
    uv_poll_stop(&l->poll);
    uv_timer_stop(&l->pause);
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;

    if (--l->open_handles > 0)
        return;
    kernel_close(l->fd);
    free(l);
}

void listener_close(struct listener *l)
{
    if (!l)
        return;
    listener_stop(l);
    uv_close((uv_handle_t *)&l->poll, on_closed);
    uv_close((uv_handle_t *)&l->pause, on_closed);
}

void listener_get_counters(const struct listener *l, struct listener_counters *ret_counters)
{
    *ret_counters = l->counters;
}
