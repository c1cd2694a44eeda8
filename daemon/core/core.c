#include "daemon/core/core.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/machine.h"

/* Effects that a step can need beside one answer per waiting call; notes stop short of it. */
#define EFFECTS_SPARE 256

static const char *const reason_texts[REASON_COUNT] = {
    [REASON_NONE] = "",
    [REASON_NO_LINK] = "no usable connection to Redis",
    [REASON_NOT_MASTER] =
        "the Redis behind this pod is not one master: its role is not master, or the two connections "
        "end on different servers; check [redis] addr",
    [REASON_NO_EPOCH] = "the store has no valid epoch and none could be set yet; a pod that may write has to run",
    [REASON_LEASE] =
        "nothing proves this copy current within the staleness bound; Redis or the subscription is late",
    [REASON_TIMEOUT] = "the deadline of the call passed before Redis answered",
    [REASON_OVERTAKEN] = "newer writes overtook every try to read this key; try again",
    [REASON_MIN_VERSION] = "the store itself holds less than min_version: expired, or never written",
    [REASON_OTHER_EPOCH] = "min_version was given in another epoch of the store; read without it",
    [REASON_BUSY] = "too many calls wait for Redis; try again later",
    [REASON_READER] =
        "this pod is a reader: what it sets needs a version and stays in its own cache; see [pod] role and "
        "[redis] reader_can_set_to_redis",
    [REASON_STORE] = "Redis answered with an error",
    [REASON_PROBE] = "the right to write has not been proven; `dcachectl status` says why",
    [REASON_REPLICAS] =
        "fewer replicas than [staleness] min_replicas follow this Redis: it may be an old primary that a network "
        "split keeps alive; bring the replicas back, or lower min_replicas",
};

const char *core_reason_text(enum core_reason reason)
{
    return reason < REASON_COUNT ? reason_texts[reason] : "";
}

static size_t power_of_two_above(size_t n)
{
    size_t p = 16;
    while (p < n)
        p *= 2;
    return p;
}

static void core_evicted(void *ctx, const struct entry *entry)
{
    struct core *core = ctx;

    trace_event(core, TRACE_EVICT, .key = entry_key(entry), .version = entry->version, .seq = entry->seq,
                .timestamp_ns = entry->timestamp_ns, .source = entry_source(entry));
}

static int core_init_tables(struct core *core)
{
    const struct core_config *c = &core->config;
    size_t floors = c->memory_bytes / 8;
    struct table_config table = {
        .bytes = c->memory_bytes - floors,
        .entry_bytes = c->entry_bytes,
        .max_entries = c->max_entries,
    };

    memcpy(table.hash_key, c->hash_key, sizeof(table.hash_key));
    if (c->trace_events > 0) {
        table.evicted = core_evicted;
        table.evicted_ctx = core;
        if (trace_new(&core->trace, c->trace_events) < 0)
            return -ENOMEM;
    }
    int r = table_new(&core->table, &table);
    if (r < 0)
        return r;
    return stale_detector_new(&core->floors, floors, c->max_floors, c->hash_key);
}

static int core_init_requests(struct core *core)
{
    size_t index = power_of_two_above(core->config.max_waiting);

    core->index_mask = index - 1;
    core->by_id = calloc(index, sizeof(*core->by_id));
    core->by_key = calloc(index, sizeof(*core->by_key));
    core->effects_capacity = (size_t)core->config.max_waiting + 2 * core->config.max_in_flight + 2 * EFFECTS_SPARE;
    core->effects = malloc(core->effects_capacity * sizeof(*core->effects));
    if (!core->by_id || !core->by_key || !core->effects)
        return -ENOMEM;
    /* Room for the probe's own write and inspection beside the calls of clients. */
    return timers_init(&core->timers, (size_t)core->config.max_waiting + 4);
}

int core_new(struct core **ret, const struct core_config *config)
{
    struct core *core = calloc(1, sizeof(*core));

    if (!core)
        return -ENOMEM;
    core->config = *config;
    core->heartbeat_ns = config->bound_ns / 4;
    core->next_id = 1;
    core->generation = 1;
    core->epoch_first_generation = 1;
    core->link_reason = REASON_NO_LINK;
    sampler_init(&core->sampler, config->sampler_seed);
    list_init(&core->queued_reads);
    list_init(&core->queued_writes);
    list_init(&core->sent);
    list_init(&core->in_doubt);
    list_init(&core->barrier);
    list_init(&core->garbage);

    int r = core_init_tables(core);
    if (r == 0)
        r = core_init_requests(core);
    if (r < 0) {
        core_free(core);
        return r;
    }
    *ret = core;
    return 0;
}

static void free_requests(struct list *list)
{
    while (!list_empty(list)) {
        struct request *request = list_entry(list->next, struct request, queue);
        list_remove(&request->queue);
        if (request->kind == REQUEST_FLIGHT) {
            struct flight *flight = (struct flight *)(void *)request;
            while (!list_empty(&flight->waiters)) {
                struct waiter *waiter = list_entry(flight->waiters.next, struct waiter, peers);
                list_remove(&waiter->peers);
                free(waiter);
            }
        }
        free(request);
    }
}

struct core *core_free(struct core *core)
{
    if (!core)
        return NULL;
    free_requests(&core->queued_reads);
    free_requests(&core->queued_writes);
    free_requests(&core->sent);
    free_requests(&core->in_doubt);
    free_requests(&core->garbage);
    while (!list_empty(&core->barrier)) {
        struct waiter *waiter = list_entry(core->barrier.next, struct waiter, peers);
        list_remove(&waiter->peers);
        free(waiter);
    }
    timers_deinit(&core->timers);
    free(core->by_id);
    free(core->by_key);
    free(core->effects);
    sampler_deinit(&core->sampler);
    trace_free(core->trace);
    stale_detector_free(core->floors);
    table_free(core->table);
    free(core);
    return NULL;
}

struct core_effect *effect_push(struct core *core, enum effect_type type)
{
    /*
     * Cannot overflow: a step answers each waiting call at most once, hands over at most two windows of
     * requests, and asks for a handful of other things.
     */
    if (core->effects_count == core->effects_capacity)
        abort();
    struct core_effect *effect = &core->effects[core->effects_count++];
    memset(effect, 0, sizeof(*effect));
    effect->type = type;
    return effect;
}

struct core_effect *note_push(struct core *core, enum note_kind kind)
{
    size_t kept_free = (size_t)core->waiting + 2 * core->config.max_in_flight + EFFECTS_SPARE;

    if (core->effects_count + kept_free >= core->effects_capacity)
        return NULL;
    struct core_effect *effect = effect_push(core, FX_NOTE);
    effect->note.kind = kind;
    return effect;
}

const struct core_effect *core_next_effect(struct core *core)
{
    return core->effects_taken < core->effects_count ? &core->effects[core->effects_taken++] : NULL;
}

/* Deadlines of calls that passed. */
static void core_expire(struct core *core)
{
    struct timer *timer;

    while ((timer = timers_first(&core->timers)) && timer->at <= core->now) {
        struct call *call = list_entry(timer, struct call, timer);
        switch (call->kind) {
        case CALL_READ: {
            struct waiter *waiter = list_entry(call, struct waiter, call);
            struct flight *flight = waiter->flight;
            enum core_reason reason = guard_reason(core);
            read_give_up(core, waiter, reason == REASON_NONE ? REASON_TIMEOUT : reason, slice_of(NULL, 0));
            flight_abandon(core, flight);
            break;
        }
        case CALL_WRITE:
            write_expired(core, list_entry(call, struct pending_write, call));
            break;
        case CALL_INSPECTION: {
            struct inspection *inspection = list_entry(call, struct inspection, call);
            inspect_done(core, inspection, REPLY_NOT_SENT, REASON_TIMEOUT, NULL);
            break;
        }
        }
    }
}

static void core_dispatch(struct core *core, const struct core_event *event)
{
    switch (event->type) {
    case EV_TICK:
        break;
    case EV_LINK_UP:
        proof_link_up(core, event->link_up.link, event->link_up.master, &event->link_up.run);
        break;
    case EV_LINK_DOWN:
        proof_link_down(core, event->link_down.link);
        break;
    case EV_SUBSCRIBED:
        proof_subscribed(core);
        break;
    case EV_MESSAGE:
        apply_message(core, &event->message);
        break;
    case EV_BAD_MESSAGE:
        apply_bad_message(core, "unreadable message on the channel");
        break;
    case EV_PONG:
        proof_pong(core, event->pong.nonce);
        break;
    case EV_IDENTITY:
        proof_identity(core, event);
        break;
    case EV_GUARD:
        guard_answered(core, event);
        break;
    case EV_PROPOSED:
        proof_proposed(core, event);
        break;
    case EV_FETCHED:
        flight_fetched(core, event);
        break;
    case EV_WRITTEN:
        write_written(core, event);
        break;
    case EV_READ:
        read_start(core, &event->read);
        break;
    case EV_WRITE:
        write_start(core, &event->write);
        break;
    case EV_INSPECT:
        inspect_start(core, event->inspect.token, event->inspect.key, event->inspect.deadline, false);
        break;
    }
}

void core_set_policy(struct core *core, const struct core_policy *policy)
{
    struct core_config *config = &core->config;

    if (config->sampler_interval_ns != policy->sampler_interval_ns)
        core->sampler.round_at = 0;
    config->max_stale_ns = policy->max_stale_ns;
    config->stale_on_partition = policy->stale_on_partition;
    config->sampler_interval_ns = policy->sampler_interval_ns;
    config->sampler_samples = policy->sampler_samples;
}

void core_step(struct core *core, const struct core_event *event)
{
    bool was_ready = core->was_ready;

    core->effects_count = core->effects_taken = 0;
    if (!list_empty(&core->garbage))
        garbage_free(core);
    core->now = event->now;
    if (core->base == 0) {
        /* A tick back: what ends within the first one is rounded down, too. */
        core->base = event->now > TABLE_TICK_NS ? event->now - TABLE_TICK_NS : 1;
        core->heard_at = event->now;
    }

    core_dispatch(core, event);
    /* A read that was answered at once changed nothing that could make something else due. */
    if (event->type == EV_READ && core->waiting == 0)
        return;
    core_expire(core);
    proof_settle(core);
    if (core->was_ready != was_ready)
        trace_event(core, was_ready ? TRACE_NOT_READY : TRACE_READY,
                    .detail = was_ready ? guard_reason(core) : REASON_NONE);
    probe_settle(core);
    sampler_settle(core);
    request_pump(core);
}

uint64_t core_next_deadline(const struct core *core)
{
    const struct timer *timer = timers_first(&core->timers);
    uint64_t deadline = proof_next_deadline(core), sampler = sampler_next_deadline(core);

    if (sampler < deadline)
        deadline = sampler;
    return timer && timer->at < deadline ? timer->at : deadline;
}

void core_prefetch(const struct core *core, struct slice key)
{
    table_prefetch(core->table, table_hash(core->table, key));
}

void core_set_watching(struct core *core, bool on)
{
    core->watching = on;
}

void core_get_counters(const struct core *core, struct core_counters *ret_counters)
{
    struct table_stats stats;

    table_get_stats(core->table, &stats);
    *ret_counters = core->counters;
    ret_counters->evictions = stats.evictions;
    ret_counters->verify_inconsistent_ppm = sampler_inconsistent_ppm(&core->sampler, core->now);
    if (core->trace) {
        struct trace_stats trace;

        trace_get_stats(core->trace, &trace);
        ret_counters->trace_events = trace.recorded;
    }
}

void core_get_status(const struct core *core, uint64_t now, struct core_status *ret)
{
    struct table_stats stats;
    bool lease = core->as_of > 0 && now - core->as_of <= core->config.bound_ns;

    table_get_stats(core->table, &stats);
    *ret = (struct core_status){
        .data_up = core->data.up,
        .subscription_up = core->subscription >= SUBSCRIPTION_STARTING,
        .ready = core->subscription == SUBSCRIPTION_CURRENT && lease,
        .writes_ok = probe_writes_ok(core),
        .writes_text = probe_writes_text(core),
        .epoch = core->view.meta.epoch,
        .epoch_why = core->epoch_why,
        .epoch_at = core->epoch_at,
        .run = core->view.run,
        .generation = core->generation,
        .last = core->last,
        .store_seq = core->view.meta.seq,
        .as_of = core->as_of,
        .round_trip_ns = core->round_trip_ns,
        .store_us = core->store_us == 0 ? 0 : core->store_us + (now - core->store_at) / NS_PER_US,
        .entries = stats.entries,
        .entries_bytes = stats.entries_bytes,
        .floors = stale_detector_count(core->floors),
        .floors_bytes = stale_detector_bytes(core->floors),
        .waiting = core->waiting,
        .writes_pending = core->writes_in_flight,
    };
    if (!ret->ready) {
        enum core_reason reason = guard_reason(core);
        ret->reason = reason == REASON_NONE ? REASON_LEASE : reason;
        ret->reason_text = proof_reason_text(core, ret->reason);
    }
}
