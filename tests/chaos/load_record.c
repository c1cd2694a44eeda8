/* How it went: results of the library as records of the history. */
#include "tests/chaos/load.h"
#include "tests/chaos/schedstat.h"

static unsigned outcome_of(dcache_result result, dcache_state state, bool write)
{
    switch (result) {
    case DCACHE_OK:
        if (write)
            return OUT_ACCEPTED;
        return state == DCACHE_STATE_STALE ? OUT_STALE : state == DCACHE_STATE_LOCAL ? OUT_LOCAL : OUT_VALUE;
    case DCACHE_ABSENT:
        return OUT_ABSENT;
    case DCACHE_STALE:
        return OUT_STALE;
    case DCACHE_DUPLICATE:
        return OUT_DUPLICATE;
    case DCACHE_CONFLICT:
        return OUT_CONFLICT;
    case DCACHE_LOCAL:
        return OUT_LOCAL;
    case DCACHE_E_REFUSED:
    case DCACHE_E_UNAVAILABLE:
        return OUT_REFUSED;
    case DCACHE_E_UNREACHABLE:
        return OUT_UNREACHABLE;
    case DCACHE_E_TIMEOUT:
        return OUT_TIMEOUT;
    case DCACHE_E_BUSY:
        return OUT_BUSY;
    case DCACHE_E_MIN_VERSION:
    case DCACHE_E_OTHER_EPOCH:
        return OUT_VERSION;
    case DCACHE_E_INDETERMINATE:
        return OUT_INDETERMINATE;
    default:
        return OUT_ERROR;
    }
}

static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

static struct history_record record_of(unsigned kind, unsigned outcome, unsigned pod, uint32_t key, uint64_t time,
                                       uint64_t invoked)
{
    return (struct history_record){
        .time = time,
        .latency = history_units(time > invoked ? time - invoked : 0, true),
        .key = (uint16_t)key,
        .kind = (uint8_t)(kind | outcome << 4),
        .pod_flags = (uint8_t)pod,
    };
}

unsigned load_record_reading(struct load_worker *w, const struct load_op *op, unsigned pod,
                             const dcache_reading *reading)
{
    unsigned outcome = outcome_of(reading->result, reading->state, false), flags = 0;
    struct history_record r = record_of(op->kind, outcome, pod, op->key, history_now(), op->invoked);
    uint64_t number = 0;

    if (outcome <= OUT_LOCAL) {
        uint64_t as_of = reading->as_of_ns < r.time ? reading->as_of_ns : r.time;

        r.as_of = history_units(r.time - as_of, true);
        r.age = history_units(reading->age_ns, false);
        r.what = reading->version;
        if (reading->version < op->min_version)
            flags |= FLAG_LOWER;
    }
    if (outcome == OUT_VALUE || outcome == OUT_STALE || outcome == OUT_LOCAL) {
        if (reading->replaced ||
            !payload_verify(reading->value, reading->value_len, op->key, reading->version, &number))
            flags |= FLAG_GARBAGE;
        r.what = number | history_fold(reading->version) << NUMBER_BITS;
    }
    if (outcome == OUT_STALE) {
        uint64_t bound = w->shared->config.bound_ms, most = op->max_stale_ms > bound ? op->max_stale_ms : bound;

        if (op->kind != HISTORY_MAX_STALE || reading->age_ns > most * 1000000)
            flags |= FLAG_STALER;
    }
    r.pod_flags |= (uint8_t)(flags << 4);
    history_write(&w->history, r, NULL);
    count(&w->reads);
    if (outcome == OUT_REFUSED)
        count(&w->refused);
    if (flags)
        count(&w->garbage);
    return outcome;
}

void load_record_invoked(struct load_worker *w, struct load_op *op, unsigned pod)
{
    struct history_record r;
    struct history_more more = {
        .write = {
            .version = op->version, .ttl_ms = op->ttl_ms, .kind = (uint8_t)op->write, .retry = op->retries > 0}};

    op->invoked = history_now();
    r = record_of(HISTORY_INVOKED, 0, pod, op->key, op->invoked, op->invoked);
    r.what = op->number;
    history_write(&w->history, r, &more);
}

/* Explicit versions go on above what is stored. */
static void learn(struct load_key *key, uint64_t version)
{
    uint64_t top = atomic_load(&key->top);

    while (version > top && !atomic_compare_exchange_weak(&key->top, &top, version))
        ;
}

unsigned load_record_written(struct load_worker *w, const struct load_op *op, unsigned pod,
                             const dcache_written *written)
{
    unsigned outcome = outcome_of(written->result, DCACHE_STATE_FRESH, true);
    struct history_record r = record_of(HISTORY_ANSWERED, outcome, pod, op->key, history_now(), op->invoked);
    struct history_more more = {.write = {.version = written->version,
                                          .seq = written->seq,
                                          .epoch = history_epoch(written->epoch),
                                          .ttl_ms = op->ttl_ms,
                                          .kind = (uint8_t)op->write,
                                          .retry = op->retries > 0}};

    r.what = op->number;
    history_write(&w->history, r, &more);
    count(&w->writes);
    if (op->write != WRITE_CLEAR && written->version && op->key % 4)
        learn(&w->shared->keys[op->key], written->version);
    if (op->write != WRITE_CLEAR && outcome == OUT_ACCEPTED)
        atomic_store_explicit(&w->shared->keys[op->key].acked, written->version, memory_order_relaxed);
    return outcome;
}

/* For how long this thread has been ready to run and got no CPU since it was asked last. */
static uint64_t waited(struct load_worker *w)
{
    uint64_t now, before = w->waited;

    if (!w->schedstat)
        w->schedstat = schedstat_open(0);
    if (w->schedstat < 0 || !schedstat_read(w->schedstat, &now))
        return 0;
    w->waited = now;
    return now - before;
}

void load_tick(struct load_worker *w, uint64_t now)
{
    if (now - w->ticked_at < TICK_NS)
        return;
    w->ticked_at = now;
    history_write(&w->history, (struct history_record){.time = now, .kind = HISTORY_TICK, .what = waited(w)},
                  NULL);
    atomic_store_explicit(&w->bytes, w->history.bytes, memory_order_relaxed);
}
