/* What to do next: the mix, the keys, and the versions that each style of key is written with. */
#include <stdio.h>
#include <string.h>

#include "tests/chaos/load.h"

void load_worker_init(struct load_worker *w, struct load_shared *shared, unsigned index)
{
    const struct load_config *c = &shared->config;
    w->shared = shared;
    w->index = index;
    w->rng = (c->seed * 1000003 + c->process * 101 + index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    w->rate_share = (double)c->rate / (c->threads + c->sync);
    /* Callers make few operations: most writes are the workers'. */
    w->writes_share = (double)c->writes_max * (index < c->threads ? 0.8 / c->threads : 0.2 / c->sync);
    w->refilled_at = history_now();
}

uint32_t load_random(struct load_worker *w, uint32_t below)
{
    uint64_t x = w->rng;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    w->rng = x;
    return (uint32_t)(((x >> 32) * below) >> 32);
}

/* At most a tenth of a second is saved up. */
static void refill(double *tokens, double per_second, uint64_t ns)
{
    *tokens += per_second * (double)ns / 1e9;
    if (*tokens > per_second / 10 + 1)
        *tokens = per_second / 10 + 1;
}

void load_refill(struct load_worker *w, uint64_t now)
{
    uint64_t ns = now > w->refilled_at ? now - w->refilled_at : 0;

    refill(&w->tokens, w->rate_share, ns);
    refill(&w->write_tokens, w->writes_share, ns);
    w->refilled_at = now;
}

size_t load_key_name(uint32_t key, char ret[24])
{
    char digits[12];
    size_t n = 0, len = 4;

    memcpy(ret, "key:", 4);
    do
        digits[n++] = (char)('0' + key % 10);
    while ((key /= 10) > 0);
    while (n > 0)
        ret[len++] = digits[--n];
    return len;
}

/* Low numbers are popular: the first hundredth of the keys gets a tenth of all. */
static uint32_t choose_key(struct load_worker *w)
{
    uint64_t r = load_random(w, 1 << 20);

    return (uint32_t)(r * r % (UINT64_C(1) << 40) * w->shared->config.keys >> 40);
}

static uint64_t choose_version(struct load_worker *w, uint32_t key)
{
    struct load_key *k = &w->shared->keys[key];
    uint64_t v;

    switch (key % 4) {
    case 1:
        return atomic_fetch_add(&k->top, 1) + 1;
    case 2: /* whoever comes before the first answer takes the same */
        return atomic_load(&k->top) + 1;
    case 3:
        v = atomic_exchange(&k->below, 0);
        if (v)
            return v;
        v = atomic_fetch_add(&k->top, 2) + 2;
        atomic_store(&k->below, v - 1);
        return v;
    default:
        return 0;
    }
}

static void choose_write(struct load_worker *w, struct load_op *op, enum weight weight)
{
    const struct load_config *c = &w->shared->config;

    op->kind = HISTORY_INVOKED;
    op->write = weight == W_SET ? WRITE_SET : weight == W_DELETE ? WRITE_DELETE : WRITE_CLEAR;
    op->number = history_number(w->history.stream, ++w->history.counter);
    if (op->write == WRITE_CLEAR)
        return;
    op->version = choose_version(w, op->key);
    op->invalidate = load_random(w, 100) < c->invalidate;
    if (op->key >= c->keys - c->ttl_keys)
        op->ttl_ms = 200 + load_random(w, 1800);
}

static void choose_read(struct load_worker *w, struct load_op *op, enum weight weight)
{
    static const unsigned kinds[] = {HISTORY_GET, HISTORY_MGET, HISTORY_STRONG, HISTORY_MIN_VERSION,
                                     HISTORY_MAX_STALE};

    op->kind = kinds[weight];
    if (op->kind == HISTORY_MIN_VERSION)
        op->min_version = atomic_load_explicit(&w->shared->keys[op->key].acked, memory_order_relaxed);
    if (op->kind == HISTORY_MIN_VERSION && !op->min_version)
        op->kind = HISTORY_GET;
    if (op->kind == HISTORY_MAX_STALE)
        op->max_stale_ms = w->shared->config.bound_ms * (1 + load_random(w, 4));
}

/* Each key is written once at the beginning. */
static bool fill(struct load_worker *w, struct load_op *op)
{
    unsigned key;

    if (atomic_load_explicit(&w->shared->filled, memory_order_relaxed) >= w->shared->config.keys)
        return false;
    key = atomic_fetch_add(&w->shared->filled, 1);
    if (key >= w->shared->config.keys)
        return false;
    *op = (struct load_op){.key = key};
    choose_write(w, op, W_SET);
    return true;
}

bool load_choose(struct load_worker *w, struct load_op *op, bool sync)
{
    const struct load_config *c = &w->shared->config;
    unsigned left = load_random(w, c->weights_sum), weight = 0;

    if (c->rate && w->tokens < 1)
        return false;
    w->tokens -= 1;
    if (c->process == 0 && fill(w, op))
        return true;
    while (left >= c->weights[weight])
        left -= c->weights[weight++];
    *op = (struct load_op){.key = choose_key(w)};
    if (!sync && weight == W_MGET)
        weight = W_GET;
    if (!sync && weight == W_CLEAR)
        weight = W_SET; /* the library clears synchronously alone */
    if (weight >= W_SET && ((c->writes_max && w->write_tokens < 1) ||
                            atomic_load_explicit(&w->shared->quiesced, memory_order_relaxed)))
        weight = W_GET;
    if (weight < W_SET) {
        choose_read(w, op, weight);
        return true;
    }
    w->write_tokens -= 1;
    choose_write(w, op, weight);
    return true;
}

void load_read_options(const struct load_op *op, dcache_read_options *ret)
{
    *ret = (dcache_read_options){
        .size = sizeof(*ret),
        .strong = op->kind == HISTORY_STRONG,
        .min_version = op->min_version,
        .max_stale_ms = op->max_stale_ms,
    };
}

void load_write_options(const struct load_op *op, uint8_t *id, dcache_write_options *ret)
{
    history_write_id(op->number, id);
    *ret = (dcache_write_options){
        .size = sizeof(*ret),
        .version = op->version,
        .has_ttl = op->ttl_ms > 0,
        .ttl_ms = op->ttl_ms,
        .invalidate = op->invalidate,
        .write_id = id,
        .retry = op->retries > 0,
    };
}
