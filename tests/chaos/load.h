/*
 * The load: clients of several pods, asynchronous and synchronous, every operation recorded.
 *
 * Threads: main (commands, phases), workers with many asynchronous handles each, and callers with one synchronous
 * handle each. Each has a stream of the history for itself; they share the state of the keys and the switches.
 */
#ifndef DCACHED_CHAOS_LOAD_H
#define DCACHED_CHAOS_LOAD_H

#include <dcache/client.h>
#include <stdatomic.h>

#include "tests/chaos/history.h"
#include "tests/chaos/payload.h"

#define MGET_KEYS    16
#define THREADS_MAX  15 /* besides main */
#define WEIGHTS      8
#define RETRIES_MAX  3
#define REST_NS      UINT64_C(20000000) /* of a client that was refused or found no daemon. Picked */
#define CALLER_PAUSE 300                /* us between synchronous calls: they are the smaller part. Picked */
#define TICK_NS      UINT64_C(10000000)

enum weight { W_GET, W_MGET, W_STRONG, W_MIN_VERSION, W_MAX_STALE, W_SET, W_DELETE, W_CLEAR };

struct load_config {
    const char *history;
    const char *pods[PODS_MAX];
    unsigned pods_count, process, clients, depth, threads, sync, keys, ttl_keys, value_bytes, timeout_ms, bound_ms;
    unsigned weights[WEIGHTS], weights_sum;
    unsigned invalidate, retry; /* percent */
    uint64_t rate, writes_max, seed, seconds;
    bool control, progress;
};

/* 0, or 2 with a message on standard error. */
int load_config_parse(struct load_config *config, int argc, char **argv);

/* What all threads know of a key. */
struct load_key {
    _Atomic uint64_t top;   /* highest explicit version anybody heard of */
    _Atomic uint64_t acked; /* version of the last write that was accepted */
    _Atomic uint64_t below; /* style 3: the version to be sent after the one above it; 0: none */
};

struct load_shared {
    struct load_config config;
    struct load_key keys[KEYS_MAX];
    atomic_bool quiesced, stop;
    atomic_uint converge;  /* raised by each command; callers then make a pass */
    atomic_uint converged; /* pods done */
    atomic_uint filled;    /* keys that were written once for a start, by process 0 */
};

struct load_worker {
    struct load_shared *shared;
    struct history_writer history;
    unsigned index;
    uint64_t rng;
    double tokens, write_tokens, rate_share, writes_share;
    uint64_t refilled_at, ticked_at;
    int schedstat; /* of this thread; 0: not yet open */
    uint64_t waited;
    _Atomic uint64_t reads, writes, refused, garbage, bytes;
};

struct load_op {
    unsigned kind; /* enum history_kind; HISTORY_INVOKED: a write */
    enum write_kind write;
    uint32_t key;
    uint64_t version, number;
    uint32_t ttl_ms, max_stale_ms;
    uint64_t min_version;
    bool invalidate;
    unsigned retries;
    uint64_t invoked;
};

/* load_op.c: what to do next. */
void load_worker_init(struct load_worker *w, struct load_shared *shared, unsigned index);
/* False: the rate does not permit one now. sync: the calling thread waits for each call. */
bool load_choose(struct load_worker *w, struct load_op *op, bool sync);
void load_refill(struct load_worker *w, uint64_t now);
uint32_t load_random(struct load_worker *w, uint32_t below);
size_t load_key_name(uint32_t key, char ret[24]);
void load_read_options(const struct load_op *op, dcache_read_options *ret);
/* id has room for 16 bytes and lives as long as *ret. */
void load_write_options(const struct load_op *op, uint8_t *id, dcache_write_options *ret);

/* load_record.c: how it went. */
void load_record_invoked(struct load_worker *w, struct load_op *op, unsigned pod);
/* They return the outcome. */
unsigned load_record_reading(struct load_worker *w, const struct load_op *op, unsigned pod,
                             const dcache_reading *reading);
unsigned load_record_written(struct load_worker *w, const struct load_op *op, unsigned pod,
                             const dcache_written *written);
void load_tick(struct load_worker *w, uint64_t now);
static inline bool load_outcome_rests(unsigned outcome)
{
    return outcome == OUT_REFUSED || outcome == OUT_UNREACHABLE || outcome == OUT_BUSY || outcome == OUT_ERROR;
}

/* The threads; ctx is a struct load_worker. */
void *load_worker_run(void *ctx);
void *load_caller_run(void *ctx);

#endif
