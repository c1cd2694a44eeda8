/*
 * A process that runs handles of the real client library, driven by events: it waits for the descriptors and
 * timeouts of all its handles, processes them, and runs what the world posts.
 *
 *     static void got(void *ctx, const dcache_reading *reading) { ... client_host_post(...) ... }
 *     static void ask(void *ctx) { dcache_get_async(client_host_handle(host, 0), "k", 1, NULL, got, ctx); }
 *     client_host_post(host, os_now(os) + 5 * OS_MS, ask, ctx);
 *
 * Calls on a handle are made within its process only: in a posted function or in a callback. There a synchronous
 * call (dcache_clear, dcache_get, ...) works too: it blocks this process, and no other, in virtual time. While it
 * blocks, callbacks of this host's other handles wait, as in any program with one thread.
 *
 * A process that was killed has lost all handles, requests and posts; their callbacks are never called.
 * Started again, it has new handles.
 */
#ifndef DCACHED_SIM_CLIENT_HOST_H
#define DCACHED_SIM_CLIENT_HOST_H

#include "client/include/dcache/client.h"
#include "tests/sim/os/os.h"

#define CLIENT_HANDLES_MAX 8

struct client_host;

struct client_host_config {
    const char *name;
    const char *socket; /* of the daemon, as in its configuration */
    unsigned handles;   /* 1 .. CLIENT_HANDLES_MAX; each its own connection */
    uint32_t timeout_ms;
    int64_t boottime_offset_ns;
    /* Called in the process at each start, when the handles are open. NULL: nothing. */
    void (*started)(void *ctx);
    void *ctx;
};

/* Not started. The texts are copied. */
struct client_host *client_host_new(struct os *os, const struct client_host_config *config);
struct os_process *client_host_process(struct client_host *host);

/* fn runs in the process when `at` has come and it has time, in order of `at`, then of the posts. From anywhere.
 * False: the process does not run, nothing was posted. */
bool client_host_post(struct client_host *host, uint64_t at, void (*fn)(void *arg), void *arg);

/* Within the process. handle < handles of the configuration. */
dcache *client_host_handle(struct client_host *host, unsigned handle);

#endif
