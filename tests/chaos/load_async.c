/* A worker: many asynchronous handles, each with a number of slots; a slot always has one operation under way, or
 * rests. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/chaos/load.h"

struct handle;

struct slot {
    struct handle *handle;
    struct load_op op;
    bool busy, again; /* again: op is to be tried once more */
    uint64_t rests_until;
};

struct handle {
    struct load_worker *worker;
    dcache *cache;
    unsigned pod, resting;
    struct slot *slots;
};

static void slot_next(struct slot *slot);

static void slot_rest(struct slot *slot, uint64_t until)
{
    slot->busy = false;
    slot->rests_until = until;
    slot->handle->resting++;
}

static void slot_done(struct slot *slot, unsigned outcome)
{
    struct load_worker *w = slot->handle->worker;

    if (load_outcome_rests(outcome) || atomic_load_explicit(&w->shared->stop, memory_order_relaxed))
        slot_rest(slot, history_now() + REST_NS / 2 + load_random(w, REST_NS));
    else
        slot_next(slot);
}

static void on_reading(void *ctx, const dcache_reading *reading)
{
    struct slot *slot = ctx;

    slot_done(slot, load_record_reading(slot->handle->worker, &slot->op, slot->handle->pod, reading));
}

static void on_written(void *ctx, const dcache_written *written)
{
    struct slot *slot = ctx;
    struct load_worker *w = slot->handle->worker;
    unsigned outcome = load_record_written(w, &slot->op, slot->handle->pod, written);

    slot->again = outcome == OUT_INDETERMINATE && slot->op.retries < RETRIES_MAX &&
                  load_random(w, 100) < w->shared->config.retry;
    slot->op.retries += slot->again;
    slot_done(slot, outcome);
}

static void slot_write(struct slot *slot, const char *name, size_t len)
{
    static __thread uint8_t payload[PAYLOAD_MAX];
    struct handle *h = slot->handle;
    size_t value_len = h->worker->shared->config.value_bytes;
    dcache_write_options options;
    uint8_t id[16];
    dcache_result result;

    load_record_invoked(h->worker, &slot->op, h->pod);
    load_write_options(&slot->op, id, &options);
    if (slot->op.write == WRITE_DELETE) {
        result = dcache_delete_async(h->cache, name, len, &options, on_written, slot);
    } else {
        payload_make(payload, value_len, slot->op.key, slot->op.number, slot->op.version);
        result = dcache_set_async(h->cache, name, len, payload, value_len, &options, on_written, slot);
    }
    if (result != DCACHE_OK) {
        dcache_written written = {.result = result};

        load_record_written(h->worker, &slot->op, h->pod, &written);
        slot_rest(slot, history_now() + REST_NS);
    }
}

static void slot_read(struct slot *slot, const char *name, size_t len)
{
    struct handle *h = slot->handle;
    dcache_read_options options;
    dcache_result result;

    load_read_options(&slot->op, &options);
    slot->op.invoked = history_now();
    result = dcache_get_async(h->cache, name, len, &options, on_reading, slot);
    if (result != DCACHE_OK) {
        dcache_reading reading = {.result = result};

        load_record_reading(h->worker, &slot->op, h->pod, &reading);
        slot_rest(slot, history_now() + REST_NS);
    }
}

static void slot_next(struct slot *slot)
{
    char name[24];
    size_t len;

    if (!slot->again && !load_choose(slot->handle->worker, &slot->op, false)) {
        slot_rest(slot, 0);
        return;
    }
    slot->again = false;
    slot->busy = true;
    len = load_key_name(slot->op.key, name);
    if (slot->op.kind == HISTORY_INVOKED)
        slot_write(slot, name, len);
    else
        slot_read(slot, name, len);
}

static void handle_wake(struct handle *h, uint64_t now)
{
    unsigned depth = h->worker->shared->config.depth;

    for (unsigned i = 0; i < depth && h->resting > 0; i++) {
        if (h->slots[i].busy || h->slots[i].rests_until > now)
            continue;
        h->resting--;
        slot_next(&h->slots[i]);
    }
}

static void handle_open(struct handle *h, struct load_worker *w, unsigned client)
{
    const struct load_config *c = &w->shared->config;
    dcache_options options = {.size = sizeof(options), .name = "chaos", .timeout_ms = c->timeout_ms};

    h->worker = w;
    h->pod = client % c->pods_count;
    options.socket = c->pods[h->pod];
    h->slots = calloc(c->depth, sizeof(*h->slots));
    if (!h->slots || dcache_open(&h->cache, &options) != DCACHE_OK) {
        fprintf(stderr, "chaos-load: cannot open a handle for %s\n", options.socket);
        exit(3);
    }
    for (unsigned i = 0; i < c->depth; i++)
        h->slots[i].handle = h;
    h->resting = c->depth;
}

/* Waits for any handle, at most until the next tick. */
static void worker_wait(struct handle *handles, struct pollfd *fds, unsigned count)
{
    int timeout = 2;

    for (unsigned i = 0; i < count; i++) {
        int t = dcache_timeout_ms(handles[i].cache);

        fds[i] = (struct pollfd){.fd = dcache_fd(handles[i].cache), .events = dcache_events(handles[i].cache)};
        if (t >= 0 && t < timeout)
            timeout = t;
    }
    poll(fds, count, timeout);
}

static void worker_turn(struct load_worker *w, struct handle *handles, struct pollfd *fds, unsigned count,
                        bool more)
{
    uint64_t now = history_now();

    load_refill(w, now);
    load_tick(w, now);
    for (unsigned i = 0; more && i < count; i++) {
        if (handles[i].resting)
            handle_wake(&handles[i], now);
    }
    worker_wait(handles, fds, count);
    for (unsigned i = 0; i < count; i++) {
        if (fds[i].revents || dcache_timeout_ms(handles[i].cache) == 0)
            dcache_process(handles[i].cache);
    }
}

void *load_worker_run(void *ctx)
{
    struct load_worker *w = ctx;
    const struct load_config *c = &w->shared->config;
    unsigned count = c->clients / c->threads + (w->index < c->clients % c->threads);
    struct handle *handles = calloc(count + 1, sizeof(*handles));
    struct pollfd *fds = calloc(count + 1, sizeof(*fds));
    uint64_t until;

    if (!handles || !fds)
        exit(3);
    for (unsigned i = 0; i < count; i++)
        handle_open(&handles[i], w, w->index + i * c->threads);
    while (!atomic_load(&w->shared->stop))
        worker_turn(w, handles, fds, count, true);
    /* What is under way may still be answered; the rest is called back by dcache_close. */
    until = history_now() + (c->timeout_ms + 100) * UINT64_C(1000000);
    for (bool busy = true; busy && history_now() < until;) {
        busy = false;
        for (unsigned i = 0; i < count; i++)
            busy |= handles[i].resting < c->depth;
        worker_turn(w, handles, fds, count, false);
    }
    for (unsigned i = 0; i < count; i++) {
        dcache_close(handles[i].cache);
        free(handles[i].slots);
    }
    free(handles);
    free(fds);
    history_writer_close(&w->history);
    return NULL;
}
