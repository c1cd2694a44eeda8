/* A caller: one synchronous handle. The first caller of each pod also reads everything once when told to converge.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/chaos/load.h"

static unsigned call_mget(struct load_worker *w, dcache *cache, unsigned pod, const uint32_t *numbers,
                          unsigned count, unsigned kind)
{
    char names[MGET_KEYS][24];
    dcache_key keys[MGET_KEYS];
    dcache_reading readings[MGET_KEYS];
    struct load_op op = {.kind = kind};
    unsigned outcome = OUT_VALUE;

    for (unsigned i = 0; i < count; i++)
        keys[i] = (dcache_key){.data = names[i], .len = load_key_name(numbers[i], names[i])};
    op.invoked = history_now();
    dcache_mget(cache, keys, count, NULL, readings);
    for (unsigned i = 0; i < count; i++) {
        op.key = numbers[i];
        outcome = load_record_reading(w, &op, pod, &readings[i]);
    }
    return outcome;
}

static unsigned call_write(struct load_worker *w, dcache *cache, unsigned pod, struct load_op *op,
                           const char *name, size_t len)
{
    static __thread uint8_t payload[PAYLOAD_MAX];
    size_t value_len = w->shared->config.value_bytes;
    dcache_write_options options;
    dcache_written written = {0};
    uint8_t id[16];

    load_record_invoked(w, op, pod);
    load_write_options(op, id, &options);
    if (op->write == WRITE_CLEAR) {
        written.result = dcache_clear(cache, &written);
    } else if (op->write == WRITE_DELETE) {
        written.result = dcache_delete(cache, name, len, &options, &written);
    } else {
        payload_make(payload, value_len, op->key, op->number, op->version);
        written.result = dcache_set(cache, name, len, payload, value_len, &options, &written);
    }
    return load_record_written(w, op, pod, &written);
}

static unsigned call_any(struct load_worker *w, dcache *cache, unsigned pod, struct load_op *op)
{
    char name[24];
    size_t len = load_key_name(op->key, name);
    dcache_read_options options;
    dcache_reading reading;
    unsigned outcome;

    if (op->kind == HISTORY_MGET) {
        uint32_t numbers[MGET_KEYS];

        for (unsigned i = 0; i < MGET_KEYS; i++)
            numbers[i] = (op->key + i * 7) % w->shared->config.keys;
        return call_mget(w, cache, pod, numbers, MGET_KEYS, HISTORY_MGET);
    }
    if (op->kind == HISTORY_INVOKED) {
        do
            outcome = call_write(w, cache, pod, op, name, len);
        while (outcome == OUT_INDETERMINATE && op->retries++ < RETRIES_MAX && op->write != WRITE_CLEAR &&
               load_random(w, 100) < w->shared->config.retry);
        return outcome;
    }
    load_read_options(op, &options);
    op->invoked = history_now();
    reading.result = dcache_get(cache, name, len, &options, &reading);
    return load_record_reading(w, op, pod, &reading);
}

static void converge(struct load_worker *w, dcache *cache, unsigned pod)
{
    unsigned keys = w->shared->config.keys;
    uint32_t numbers[MGET_KEYS];

    for (unsigned first = 0; first < keys; first += MGET_KEYS) {
        unsigned count = keys - first < MGET_KEYS ? keys - first : MGET_KEYS;

        for (unsigned i = 0; i < count; i++)
            numbers[i] = first + i;
        call_mget(w, cache, pod, numbers, count, HISTORY_CONVERGE);
    }
    atomic_fetch_add(&w->shared->converged, 1);
}

void *load_caller_run(void *ctx)
{
    struct load_worker *w = ctx;
    struct load_shared *s = w->shared;
    unsigned number = w->index - s->config.threads, pod = number % s->config.pods_count, passes = 0;
    dcache_options options = {.size = sizeof(options),
                              .name = "chaos-sync",
                              .socket = s->config.pods[pod],
                              .timeout_ms = s->config.timeout_ms};
    dcache *cache;
    struct load_op op;

    if (dcache_open(&cache, &options) != DCACHE_OK) {
        fprintf(stderr, "chaos-load: cannot open a handle for %s\n", options.socket);
        exit(3);
    }
    while (!atomic_load(&s->stop)) {
        unsigned outcome = OUT_VALUE;

        load_refill(w, history_now());
        load_tick(w, history_now());
        if (number < s->config.pods_count && passes != atomic_load(&s->converge)) {
            passes = atomic_load(&s->converge);
            converge(w, cache, pod);
        }
        if (load_choose(w, &op, true))
            outcome = call_any(w, cache, pod, &op);
        usleep(load_outcome_rests(outcome) ? REST_NS / 1000 : CALLER_PAUSE);
    }
    dcache_close(cache);
    history_writer_close(&w->history);
    return NULL;
}
