#include "daemon/host/pool.h"

#include <stdbool.h>
#include <stdlib.h>

#include <uv.h>

#define POOL_MAX 1024 /* libuv's */
/* libuv gives half of the threads, rounded up, to look-ups: both connections have one, the configuration has one.
 */
#define POOL_THREADS "3"

/* All of them hold on until the last one is made. */
struct probe {
    uv_thread_t threads[POOL_MAX];
    uv_mutex_t made;
};

static void wait_for_others(void *arg)
{
    struct probe *probe = arg;

    uv_mutex_lock(&probe->made);
    uv_mutex_unlock(&probe->made);
}

/* As libuv reads it. */
static unsigned pool_size(void)
{
    const char *text = getenv("UV_THREADPOOL_SIZE");
    unsigned size = text ? (unsigned)atoi(text) : 0;

    return size == 0 ? 1 : size > POOL_MAX ? POOL_MAX : size;
}

/* Makes as many threads as libuv is going to make, and ends them. */
static int probe_threads(unsigned wanted)
{
    struct probe *probe = calloc(1, sizeof(*probe));
    unsigned made = 0;
    int r;

    if (!probe)
        return UV_ENOMEM;
    r = uv_mutex_init(&probe->made);
    if (r < 0) {
        free(probe);
        return r;
    }
    uv_mutex_lock(&probe->made);
    while (r == 0 && made < wanted) {
        r = uv_thread_create(&probe->threads[made], wait_for_others, probe);
        made += r == 0;
    }
    uv_mutex_unlock(&probe->made);
    while (made > 0)
        uv_thread_join(&probe->threads[--made]);
    uv_mutex_destroy(&probe->made);
    free(probe);
    return r;
}

static void do_nothing(uv_work_t *work)
{
    (void)work;
}

/* Another process may take the last thread between probe and pool; then libuv aborts, before anybody is served. */
int pool_start(void)
{
    uv_loop_t loop;
    uv_work_t work;
    int r;

    setenv("UV_THREADPOOL_SIZE", POOL_THREADS, false); /* who has set it means it */
    r = probe_threads(pool_size());
    if (r == 0)
        r = uv_loop_init(&loop);
    if (r < 0)
        return r;
    r = uv_queue_work(&loop, &work, do_nothing, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return r;
}
