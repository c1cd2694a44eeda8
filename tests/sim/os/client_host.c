#include "tests/sim/os/client_host.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/server.h"
#include "tests/sim/os/internal.h"

/* In place of client/server.c: there is one user. */
bool server_is_trusted(int fd, const char *socket, uid_t wanted, char *text, size_t text_size)
{
    (void)fd, (void)socket, (void)wanted, (void)text, (void)text_size;
    return true;
}

struct post {
    uint64_t at;
    void (*fn)(void *arg);
    void *arg;
    TAILQ_ENTRY(post) link;
};

TAILQ_HEAD(posts_list, post);

/* A request under way, so that the callback of a process that dies is not called. */
struct call {
    struct client_host *host;
    dcache_read_fn read;
    dcache_write_fn write;
    void *ctx;
    TAILQ_ENTRY(call) link;
};

struct client_host {
    struct os *os;
    struct os_process *process;
    struct client_host_config config;
    char socket[108];
    dcache *handles[CLIENT_HANDLES_MAX];
    struct posts_list posts;
    TAILQ_HEAD(, call) calls;
    uint64_t deadline; /* of the poll under way: a post moves it nearer */
};

/* ---- the program ------------------------------------------------------------------------------------------ */

static void run_posts(struct client_host *host)
{
    struct post *post;

    while ((post = TAILQ_FIRST(&host->posts)) != NULL && post->at <= host->os->now && !os_dying()) {
        void (*fn)(void *arg) = post->fn;
        void *arg = post->arg;

        TAILQ_REMOVE(&host->posts, post, link);
        free(post);
        fn(arg);
    }
}

static void wait_and_process(struct client_host *host)
{
    const struct post *next = TAILQ_FIRST(&host->posts);
    uint64_t due[CLIENT_HANDLES_MAX];
    struct pollfd fds[CLIENT_HANDLES_MAX];

    host->deadline = next ? next->at : UINT64_MAX;
    for (unsigned i = 0; i < host->config.handles; i++) {
        int timeout_ms = dcache_timeout_ms(host->handles[i]);

        due[i] = timeout_ms < 0 ? UINT64_MAX : host->os->now + (uint64_t)timeout_ms * OS_MS;
        host->deadline = due[i] < host->deadline ? due[i] : host->deadline;
        fds[i] = (struct pollfd){.fd = dcache_fd(host->handles[i]), .events = dcache_events(host->handles[i])};
    }
    kernel_poll(fds, host->config.handles, &host->deadline);
    for (unsigned i = 0; i < host->config.handles && !os_dying(); i++)
        if (fds[i].revents || due[i] <= host->os->now)
            dcache_process(host->handles[i]);
}

static void host_end(struct client_host *host)
{
    struct post *post;
    struct call *call;

    for (unsigned i = 0; i < host->config.handles; i++) {
        dcache_close(host->handles[i]);
        host->handles[i] = NULL;
    }
    while ((post = TAILQ_FIRST(&host->posts)) != NULL) {
        TAILQ_REMOVE(&host->posts, post, link);
        free(post);
    }
    while ((call = TAILQ_FIRST(&host->calls)) != NULL) {
        TAILQ_REMOVE(&host->calls, call, link);
        free(call);
    }
}

static void host_main(void *arg)
{
    struct client_host *host = arg;
    dcache_options options = {.size = sizeof(options),
                              .socket = host->socket,
                              .name = os_process_name(host->process),
                              .timeout_ms = host->config.timeout_ms};

    for (unsigned i = 0; i < host->config.handles; i++)
        if (dcache_open(&host->handles[i], &options) != DCACHE_OK)
            abort();
    if (host->config.started)
        host->config.started(host->config.ctx);
    while (!os_dying()) {
        run_posts(host);
        if (!os_dying())
            wait_and_process(host);
    }
    host_end(host);
}

/* ---- callbacks of a process that lives -------------------------------------------------------------------- */

static struct call *call_new(dcache_read_fn read, dcache_write_fn write, void *ctx)
{
    struct client_host *host = os_running->config.arg;
    struct call *call = os_alloc(sizeof(*call));

    *call = (struct call){.host = host, .read = read, .write = write, .ctx = ctx};
    TAILQ_INSERT_TAIL(&host->calls, call, link);
    return call;
}

static struct call call_take(struct call *call)
{
    struct call taken = *call;

    TAILQ_REMOVE(&call->host->calls, call, link);
    free(call);
    return taken;
}

static void on_read(void *ctx, const dcache_reading *reading)
{
    struct call call = call_take(ctx);

    if (call.read && !os_dying())
        call.read(call.ctx, reading);
}

static void on_written(void *ctx, const dcache_written *written)
{
    struct call call = call_take(ctx);

    if (call.write && !os_dying())
        call.write(call.ctx, written);
}

static dcache_result call_started(struct call *call, dcache_result result)
{
    if (result != DCACHE_OK)
        call_take(call);
    return result;
}

/* The linker sends the world's calls here (--wrap). */
dcache_result __real_dcache_get_async(dcache *cache, const void *key, size_t key_len,
                                      const dcache_read_options *options, dcache_read_fn fn, void *ctx);
dcache_result __wrap_dcache_get_async(dcache *cache, const void *key, size_t key_len,
                                      const dcache_read_options *options, dcache_read_fn fn, void *ctx);
dcache_result __real_dcache_set_async(dcache *cache, const void *key, size_t key_len, const void *value,
                                      size_t value_len, const dcache_write_options *options, dcache_write_fn fn,
                                      void *ctx);
dcache_result __wrap_dcache_set_async(dcache *cache, const void *key, size_t key_len, const void *value,
                                      size_t value_len, const dcache_write_options *options, dcache_write_fn fn,
                                      void *ctx);
dcache_result __real_dcache_delete_async(dcache *cache, const void *key, size_t key_len,
                                         const dcache_write_options *options, dcache_write_fn fn, void *ctx);
dcache_result __wrap_dcache_delete_async(dcache *cache, const void *key, size_t key_len,
                                         const dcache_write_options *options, dcache_write_fn fn, void *ctx);

dcache_result __wrap_dcache_get_async(dcache *cache, const void *key, size_t key_len,
                                      const dcache_read_options *options, dcache_read_fn fn, void *ctx)
{
    struct call *call = call_new(fn, NULL, ctx);

    return call_started(call, __real_dcache_get_async(cache, key, key_len, options, on_read, call));
}

dcache_result __wrap_dcache_set_async(dcache *cache, const void *key, size_t key_len, const void *value,
                                      size_t value_len, const dcache_write_options *options, dcache_write_fn fn,
                                      void *ctx)
{
    struct call *call = call_new(NULL, fn, ctx);

    return call_started(call,
                        __real_dcache_set_async(cache, key, key_len, value, value_len, options, on_written, call));
}

dcache_result __wrap_dcache_delete_async(dcache *cache, const void *key, size_t key_len,
                                         const dcache_write_options *options, dcache_write_fn fn, void *ctx)
{
    struct call *call = call_new(NULL, fn, ctx);

    return call_started(call, __real_dcache_delete_async(cache, key, key_len, options, on_written, call));
}

/* ---- from outside ----------------------------------------------------------------------------------------- */

struct client_host *client_host_new(struct os *os, const struct client_host_config *config)
{
    struct client_host *host = os_alloc(sizeof(*host));
    struct os_process_config process = {
        .name = config->name, .main = host_main, .arg = host, .boottime_offset_ns = config->boottime_offset_ns};

    if (config->handles < 1 || config->handles > CLIENT_HANDLES_MAX)
        abort();
    host->os = os;
    host->config = *config;
    snprintf(host->socket, sizeof(host->socket), "%s", config->socket);
    TAILQ_INIT(&host->posts);
    TAILQ_INIT(&host->calls);
    host->process = os_process_new(os, &process);
    os_own(os, host);
    return host;
}

struct os_process *client_host_process(struct client_host *host)
{
    return host->process;
}

bool client_host_post(struct client_host *host, uint64_t at, void (*fn)(void *arg), void *arg)
{
    struct post *post, *before;

    if (!host->process->fiber || host->process->dying)
        return false;
    post = os_alloc(sizeof(*post));
    *post = (struct post){.at = at < host->os->now ? host->os->now : at, .fn = fn, .arg = arg};
    TAILQ_FOREACH_REVERSE(before, &host->posts, posts_list, link)
    if (before->at <= post->at)
        break;
    if (before)
        TAILQ_INSERT_AFTER(&host->posts, before, post, link);
    else
        TAILQ_INSERT_HEAD(&host->posts, post, link);
    if (post->at < host->deadline)
        host->deadline = post->at;
    process_notify_at(host->process, post->at);
    return true;
}

dcache *client_host_handle(struct client_host *host, unsigned handle)
{
    return host->handles[handle];
}
