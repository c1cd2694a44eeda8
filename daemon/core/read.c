/*
 * Serving a read.
 *
 * Happy path: the entry is of the current generation, the lease holds: a hit, answered within the step.
 * Otherwise, in this order:
 *   strong, and the subscription is current   wait for the next heartbeat, then decide again
 *   the replica guard is behind               the same; what Redis answers counts only so far
 *   suspect, or the lease is over             confirm by seq (flight.c)
 *   not cached, or below min_version          fetch (flight.c)
 *   Redis cannot be asked                     stale where that is permitted, else refused
 *
 * A read that waits is a `waiter`. It is answered exactly once: by its flight, by giving up, or by its deadline.
 */
#include <stdlib.h>

#include "daemon/core/machine.h"

/* A read under decision: a fresh one on the stack, or one that waited. */
struct decision {
    const struct read_request *read;
    uint64_t arrived;
    bool barrier_passed;
};

enum next { NEXT_ANSWERED, NEXT_BARRIER, NEXT_CONFIRM, NEXT_FETCH, NEXT_GIVE_UP };

static uint64_t *counter_of(struct core *core, enum read_counted counted)
{
    switch (counted) {
    case COUNTED_HIT:
        return &core->counters.hits;
    case COUNTED_MISS:
        return &core->counters.misses;
    case COUNTED_REFUSED:
        return &core->counters.refused;
    default:
        return &core->counters.errors;
    }
}

static struct core_effect *answer_push(struct core *core, uint64_t token, enum read_outcome outcome,
                                       enum read_counted counted)
{
    struct core_effect *effect = effect_push(core, FX_READ_DONE);

    effect->read_done.token = token;
    effect->read_done.outcome = outcome;
    effect->read_done.counted = counted;
    core->counters.reads++;
    ++*counter_of(core, counted);
    return effect;
}

void core_count_refused(struct core *core, enum read_counted counted, enum core_reason reason)
{
    if (counted == COUNTED_REFUSED)
        return;
    if (counted == COUNTED_NOT)
        core->counters.reads++;
    else
        --*counter_of(core, counted);
    core->counters.refused++;
    core->measures.reads_refused[reason]++;
}

static void answer_entry(struct core *core, const struct read_request *read, uint64_t hash,
                         const struct entry *entry, enum read_outcome outcome, uint64_t as_of)
{
    struct core_effect *effect;

    if (outcome != READ_LOCAL)
        histogram_add(&core->measures.staleness, core->now - as_of);
    if (entry->flags & ENTRY_TOMBSTONE)
        outcome = READ_ABSENT;
    effect = answer_push(core, read->token, outcome, COUNTED_HIT);
    table_touch(core->table, hash, entry);
    effect->read_done.value = entry_value(entry);
    effect->read_done.source = entry_source(entry);
    effect->read_done.version = entry->version;
    effect->read_done.timestamp_ns = entry->timestamp_ns;
    effect->read_done.as_of = as_of;
    effect->read_done.replaced = (entry->flags & ENTRY_REPLACED) != 0;
    if (outcome == READ_STALE) {
        effect->read_done.age_ns = core->now - as_of;
        trace_event(core, TRACE_STALE, .key = read->key, .version = entry->version, .seq = entry->seq,
                    .age_ns = core->now - as_of);
        core->counters.stale_served++;
    }
}

static void answer_refused(struct core *core, uint64_t token, enum core_reason reason, struct slice text)
{
    struct core_effect *effect = answer_push(core, token, READ_REFUSED, COUNTED_REFUSED);

    core->measures.reads_refused[reason]++;
    effect->read_done.reason = reason;
    effect->read_done.text = text;
}

/* The oldest as_of this read can be served with. */
static uint64_t oldest_as_of(const struct core *core, const struct decision *d)
{
    uint64_t oldest = core->now > core->config.bound_ns ? core->now - core->config.bound_ns : 1;

    return d->read->strong && d->arrived > oldest ? d->arrived : oldest;
}

static bool epoch_differs(const struct core *core, const struct read_request *read)
{
    return read->min_version > 0 && read->min_epoch.text[0] != '\0' &&
           !epoch_equal(&read->min_epoch, &core->view.meta.epoch);
}

static bool barrier_useful(const struct core *core, const struct decision *d)
{
    return !d->barrier_passed && core->data.up && core->subscription == SUBSCRIPTION_CURRENT;
}

/* Answers if that is possible now; otherwise says what has to happen first. */
static enum next decide(struct core *core, const struct decision *d, enum core_reason *ret_reason)
{
    const struct read_request *read = d->read;
    uint64_t hash;
    struct entry *entry = apply_find(core, read->key, &hash);

    *ret_reason = proof_reason(core);
    if (epoch_differs(core, read)) {
        *ret_reason = REASON_OTHER_EPOCH;
        return barrier_useful(core, d) ? NEXT_BARRIER : NEXT_GIVE_UP;
    }
    if (entry && (entry->flags & ENTRY_LOCAL)) {
        if (!read->strong && read->min_version == 0) {
            answer_entry(core, read, hash, entry, READ_LOCAL, core->now);
            return NEXT_ANSWERED;
        }
        entry = NULL;
    }
    bool current = entry && entry->generation == core->generation && core->as_of > 0;
    if (entry && entry->version >= read->min_version) {
        if (current && core->as_of >= oldest_as_of(core, d)) {
            answer_entry(core, read, hash, entry, READ_FRESH, core->as_of);
            return NEXT_ANSWERED;
        }
        if (current && read->strong && barrier_useful(core, d))
            return NEXT_BARRIER;
    }
    if (guard_lets_wait(core) && guard_limit(core, core->now) < oldest_as_of(core, d)) {
        *ret_reason = REASON_REPLICAS;
        return d->barrier_passed ? NEXT_GIVE_UP : NEXT_BARRIER;
    }
    if (*ret_reason != REASON_NONE && !proof_may_wait(core))
        return NEXT_GIVE_UP;
    return entry && entry->version >= read->min_version ? NEXT_CONFIRM : NEXT_FETCH;
}

/* A permitted stale answer. What a call says of itself comes before the policy for all. */
static bool answer_stale(struct core *core, const struct read_request *read)
{
    uint64_t policy = core->config.stale_on_partition ? core->config.max_stale_ns : 0;
    uint64_t permitted = read->max_stale_ns > 0 ? read->max_stale_ns : policy;
    uint64_t hash;
    struct entry *entry;

    if (permitted > core->config.max_stale_ns)
        permitted = core->config.max_stale_ns;
    if (permitted == 0 || epoch_differs(core, read))
        return false;
    entry = apply_find(core, read->key, &hash);
    /* Absent is always proven, so a deleted key has no stale answer. */
    if (!entry || (entry->flags & (ENTRY_LOCAL | ENTRY_TOMBSTONE)) || entry->version < read->min_version)
        return false;
    uint64_t as_of = proof_generation_as_of(core, entry->generation);
    if (as_of == 0 || core->now - as_of > permitted)
        return false;
    answer_entry(core, read, hash, entry, READ_STALE, as_of);
    return true;
}

static void give_up(struct core *core, const struct read_request *read, enum core_reason reason, struct slice text)
{
    if (answer_stale(core, read))
        return;
    reason = reason == REASON_NONE ? REASON_LEASE : reason;
    if (reason == REASON_REPLICAS)
        text = slice_text(guard_text(core));
    trace_event(core, TRACE_REFUSE, .detail = reason, .key = read->key);
    answer_refused(core, read->token, reason, text);
}

static void wait_for_barrier(struct core *core, struct waiter *waiter)
{
    list_append(&core->barrier, &waiter->peers);
    core->heartbeat.wanted = true;
}

static void waiter_free(struct core *core, struct waiter *waiter)
{
    list_remove(&waiter->peers);
    call_disarm(core, &waiter->call);
    free(waiter);
}

void read_start(struct core *core, const struct read_request *read)
{
    struct decision d = {.read = read, .arrived = core->now};
    enum core_reason reason;
    enum next next = decide(core, &d, &reason);

    if (next == NEXT_ANSWERED)
        return;
    if (next == NEXT_GIVE_UP) {
        give_up(core, read, reason, slice_of(NULL, 0));
        return;
    }
    struct waiter *waiter = NULL;
    if (core->waiting < core->config.max_waiting && !read->at_once)
        waiter = malloc(sizeof(*waiter) + read->key.len);
    if (!waiter) {
        give_up(core, read, REASON_BUSY, slice_of(NULL, 0));
        return;
    }
    *waiter = (struct waiter){.read = *read, .arrived = core->now};
    memcpy(waiter->key, read->key.data, read->key.len);
    waiter->read.key = slice_of(waiter->key, read->key.len);
    list_init(&waiter->peers);
    call_arm(core, &waiter->call, CALL_READ, read->deadline);
    if (next == NEXT_BARRIER)
        wait_for_barrier(core, waiter);
    else if (!flight_join(core, waiter, next == NEXT_CONFIRM))
        read_give_up(core, waiter, REASON_BUSY, slice_of(NULL, 0));
}

void read_resume(struct core *core, struct waiter *waiter)
{
    struct decision d = {
        .read = &waiter->read, .arrived = waiter->arrived, .barrier_passed = waiter->barrier_passed};
    enum core_reason reason;
    enum next next;

    list_remove(&waiter->peers);
    waiter->flight = NULL;
    if (++waiter->tries > TRIES_MAX) {
        read_give_up(core, waiter, REASON_OVERTAKEN, slice_of(NULL, 0));
        return;
    }
    next = decide(core, &d, &reason);
    switch (next) {
    case NEXT_ANSWERED:
        waiter_free(core, waiter);
        break;
    case NEXT_BARRIER:
        wait_for_barrier(core, waiter);
        break;
    case NEXT_GIVE_UP:
        read_give_up(core, waiter, reason, slice_of(NULL, 0));
        break;
    case NEXT_CONFIRM:
    case NEXT_FETCH:
        if (!flight_join(core, waiter, next == NEXT_CONFIRM))
            read_give_up(core, waiter, REASON_BUSY, slice_of(NULL, 0));
        break;
    }
}

void read_release_barrier(struct core *core, uint64_t started_at)
{
    struct list ready, later;

    list_init(&ready);
    list_init(&later);
    list_splice(&ready, &core->barrier);
    while (!list_empty(&ready)) {
        struct waiter *waiter = list_entry(ready.next, struct waiter, peers);
        if (waiter->arrived > started_at) {
            list_remove(&waiter->peers);
            list_append(&later, &waiter->peers);
            continue;
        }
        waiter->barrier_passed = true;
        read_resume(core, waiter);
    }
    list_splice(&core->barrier, &later);
    if (!list_empty(&core->barrier))
        core->heartbeat.wanted = true;
}

/* False: this waiter wants a later proof or a higher version; it was started again or refused. */
static bool acceptable(struct core *core, struct waiter *waiter, uint64_t as_of)
{
    struct decision d = {.read = &waiter->read, .arrived = waiter->arrived};

    if (as_of >= oldest_as_of(core, &d) && !epoch_differs(core, &waiter->read))
        return true;
    read_resume(core, waiter);
    return false;
}

void read_answer_fetched(struct core *core, struct waiter *waiter, const struct record *record,
                         const struct apply_result *result, uint64_t as_of)
{
    if (!acceptable(core, waiter, as_of))
        return;
    if (record->version < waiter->read.min_version) {
        read_give_up(core, waiter, REASON_MIN_VERSION, slice_of(NULL, 0));
        return;
    }
    bool value = record->kind == RECORD_VALUE;
    struct core_effect *effect = answer_push(core, waiter->read.token, value ? READ_FRESH : READ_ABSENT,
                                             waiter->confirmed ? COUNTED_HIT : COUNTED_MISS);
    if (waiter->confirmed)
        histogram_add(&core->measures.staleness, core->now - as_of);
    effect->read_done.value = value ? result->value : slice_of(NULL, 0);
    effect->read_done.source = record->source;
    effect->read_done.version = record->version;
    effect->read_done.timestamp_ns = record->timestamp_ns;
    effect->read_done.as_of = as_of;
    effect->read_done.replaced = result->replaced;
    waiter_free(core, waiter);
}

void read_answer_absent(struct core *core, struct waiter *waiter, uint64_t as_of)
{
    if (!acceptable(core, waiter, as_of))
        return;
    if (waiter->read.min_version > 0) {
        read_give_up(core, waiter, REASON_MIN_VERSION, slice_of(NULL, 0));
        return;
    }
    answer_push(core, waiter->read.token, READ_ABSENT, COUNTED_MISS)->read_done.as_of = as_of;
    waiter_free(core, waiter);
}

void read_answer_error(struct core *core, struct waiter *waiter, struct slice text)
{
    struct core_effect *effect = answer_push(core, waiter->read.token, READ_ERROR, COUNTED_ERROR);

    effect->read_done.text = text;
    waiter_free(core, waiter);
}

void read_give_up(struct core *core, struct waiter *waiter, enum core_reason reason, struct slice text)
{
    give_up(core, &waiter->read, reason, text);
    waiter_free(core, waiter);
}
