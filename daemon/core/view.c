/* Looking in: what the pod has of a key, beside what Redis has, without changing either. */
#include <stdlib.h>

#include "daemon/core/machine.h"

static bool entry_gone(const struct core *core, uint64_t now, const struct entry *entry)
{
    if (entry->expires != 0 && now - core->base >= entry->expires * TABLE_TICK_NS)
        return true;
    return (entry->flags & ENTRY_LOCAL) ? entry->generation != core->generation
                                        : entry->generation < core->epoch_first_generation;
}

static void view_entry(const struct core *core, const struct entry *entry, struct core_view *view)
{
    view->cached = true;
    view->cached_local = (entry->flags & ENTRY_LOCAL) != 0;
    view->cached_replaced = (entry->flags & ENTRY_REPLACED) != 0;
    view->cached_tombstone = (entry->flags & ENTRY_TOMBSTONE) != 0;
    view->cached_version = entry->version;
    view->cached_seq = entry->seq;
    view->cached_timestamp_ns = entry->timestamp_ns;
    view->cached_bytes = entry->value_len;
    view->cached_as_of = view->cached_local ? 0 : proof_generation_as_of(core, entry->generation);
    view->cached_expires_at = entry->expires == 0 ? 0 : core->base + entry->expires * TABLE_TICK_NS;
    view->suspect = !view->cached_local && entry->generation != core->generation;
}

static void view_verdict(const struct core *core, uint64_t now, struct core_view *view)
{
    bool lease = core->as_of > 0 && now - core->as_of <= core->config.bound_ns;

    view->reason = proof_reason(core);
    if (view->cached_local) {
        view->verdict = READ_LOCAL;
    } else if (view->cached && !view->suspect && lease) {
        view->verdict = view->cached_tombstone ? READ_ABSENT : READ_FRESH;
    } else if (view->cached && !view->cached_tombstone && core->config.stale_on_partition &&
               view->cached_as_of > 0 && now - view->cached_as_of <= core->config.max_stale_ns) {
        view->verdict = READ_STALE;
    } else {
        view->verdict = READ_REFUSED;
        if (view->cached && !lease && view->reason == REASON_NONE)
            view->reason = REASON_LEASE;
    }
}

static void view_fill(const struct core *core, uint64_t now, const struct entry *entry, const struct floor *floor,
                      struct core_view *view)
{
    *view = (struct core_view){0};
    if (entry && !entry_gone(core, now, entry))
        view_entry(core, entry, view);
    if (floor) {
        view->floor = true;
        view->floor_version = floor->version;
        view->floor_seq = floor->seq;
        view->floor_seen_at = floor->seen_ns;
    }
    view_verdict(core, now, view);
}

void core_view(const struct core *core, uint64_t now, struct slice key, struct core_view *ret_view)
{
    struct entry *entry = table_find(core->table, table_hash(core->table, key), key);
    struct floor floor;
    bool has_floor = stale_detector_find(core->floors, key, &floor);

    view_fill(core, now, entry, has_floor ? &floor : NULL, ret_view);
}

/* ---- versions -------------------------------------------------------------------------------------------------
 */

/*
 * The walk is given in two halves: the cache, then the floors. The upper bit of the cursor says which; the lower
 * ones are the table's own cursor.
 */
#define CURSOR_FLOORS     (UINT64_C(1) << 63)
#define BUCKETS_PER_ENTRY 8 /* a page without a match then takes milliseconds at most; picked */

struct walk {
    const struct core *core;
    uint64_t now;
    struct slice prefix;
    unsigned given;
    void (*each)(void *ctx, struct slice key, const struct core_view *view);
    void *ctx;
};

static bool wanted(const struct walk *walk, struct slice key)
{
    return slice_has_prefix(key, walk->prefix) &&
           (walk->prefix.len > 0 || !slice_has_prefix(key, slice_text(CORE_RESERVED_PREFIX)));
}

static void walk_entry(void *ctx, const struct entry *entry)
{
    struct walk *walk = ctx;
    struct core_view view;
    struct floor floor;

    if (!wanted(walk, entry_key(entry)) || entry_gone(walk->core, walk->now, entry))
        return;
    bool has_floor = stale_detector_find(walk->core->floors, entry_key(entry), &floor);
    view_fill(walk->core, walk->now, entry, has_floor ? &floor : NULL, &view);
    walk->given++;
    walk->each(walk->ctx, entry_key(entry), &view);
}

static void walk_floor(void *ctx, struct slice key, const struct floor *floor)
{
    struct walk *walk = ctx;
    struct table *table = walk->core->table;
    struct core_view view;

    if (!wanted(walk, key))
        return;
    struct entry *entry = table_find(table, table_hash(table, key), key);
    if (entry && !entry_gone(walk->core, walk->now, entry))
        return;
    view_fill(walk->core, walk->now, NULL, floor, &view);
    walk->given++;
    walk->each(walk->ctx, key, &view);
}

void core_versions(const struct core *core, uint64_t now, struct slice prefix, uint64_t *cursor, unsigned limit,
                   void (*each)(void *ctx, struct slice key, const struct core_view *view), void *ctx)
{
    struct walk walk = {.core = core, .now = now, .prefix = prefix, .each = each, .ctx = ctx};
    bool floors = (*cursor & CURSOR_FLOORS) != 0;
    uint64_t at = *cursor & ~CURSOR_FLOORS;

    /* A bucket with its overflow holds at most 21 entries: stopping that early keeps the page within limit. */
    for (unsigned buckets = 0; buckets < BUCKETS_PER_ENTRY * limit; buckets++) {
        if (walk.given > 0 && walk.given + 21 > limit)
            break;
        if (floors)
            stale_detector_walk(core->floors, &at, 1, walk_floor, &walk);
        else
            table_walk(core->table, &at, 1, walk_entry, &walk);
        if (at != 0)
            continue;
        if (floors) {
            *cursor = 0;
            return;
        }
        floors = true;
    }
    *cursor = at | (floors ? CURSOR_FLOORS : 0);
}

/* ---- trace ------------------------------------------------------------------------------------------------ */

static uint64_t trace_hash(const struct core *core, struct slice key)
{
    uint64_t hash = table_hash(core->table, key);

    return hash == 0 ? 1 : hash;
}

void trace_record_event(struct core *core, struct trace_event *event)
{
    uint64_t store_ns = (core->store_us + (core->now - core->store_at) / NS_PER_US) * NS_PER_US;

    event->at = core->now;
    if (event->hash == 0 && event->key.len > 0)
        event->hash = trace_hash(core, event->key);
    if (event->timestamp_ns > 0 && core->store_us > 0 && store_ns > event->timestamp_ns)
        event->age_ns = store_ns - event->timestamp_ns;
    trace_add(core->trace, event);
}

unsigned core_trace(const struct core *core, struct slice key, unsigned max, struct trace_record *ret_records)
{
    return core->trace ? trace_last(core->trace, trace_hash(core, key), max, ret_records) : 0;
}

const struct trace *core_get_trace(const struct core *core)
{
    return core->trace;
}

/* ---- inspect
 * ---------------------------------------------------------------------------------------------------- */

static void inspect_push(struct core *core, uint64_t token, struct slice key, enum reply_status status,
                         enum core_reason reason, const struct core_event *event)
{
    struct core_effect *effect = effect_push(core, FX_INSPECT_DONE);

    effect->inspect_done.token = token;
    core_view(core, core->now, key, &effect->inspect_done.view);
    effect->inspect_done.status = status;
    effect->inspect_done.reason = reason;
    if (core->store_us > 0)
        effect->inspect_done.store_us = core->store_us + (core->now - core->store_at) / NS_PER_US;
    if (!event)
        return;
    effect->inspect_done.text = event->fetched.text;
    effect->inspect_done.result = proof_fetch_found(event);
    effect->inspect_done.record = event->fetched.record;
}

static struct inspection *inspection_new(struct core *core, struct slice key, enum inspector inspector)
{
    struct inspection *inspection = calloc(1, sizeof(*inspection) + key.len);

    if (!inspection)
        return NULL;
    inspection->inspector = inspector;
    memcpy(inspection->key_bytes, key.data, key.len);
    inspection->key = slice_of(inspection->key_bytes, key.len);
    request_add(core, &inspection->request, REQUEST_INSPECTION);
    return inspection;
}

void inspect_start(struct core *core, uint64_t token, struct slice key, uint64_t deadline, bool probe)
{
    struct inspection *inspection = NULL;
    enum core_reason reason = proof_reason(core);

    if (reason == REASON_NONE || proof_may_wait(core)) {
        reason = REASON_BUSY;
        if (probe || core->waiting < core->config.max_waiting)
            inspection = inspection_new(core, key, probe ? FOR_PROBE : FOR_CLIENT);
    }
    if (!inspection) {
        if (probe)
            probe_inspected(core, false, slice_text(core_reason_text(reason)));
        else
            inspect_push(core, token, key, REPLY_NOT_SENT, reason, NULL);
        return;
    }
    inspection->token = token;
    call_arm(core, &inspection->call, CALL_INSPECTION, deadline);
}

bool inspect_sample(struct core *core, struct slice key, const struct sampler_look *look)
{
    struct inspection *inspection = inspection_new(core, key, FOR_SAMPLER);

    if (inspection)
        inspection->sampler = *look;
    return inspection != NULL;
}

void inspect_done(struct core *core, struct inspection *inspection, enum reply_status status,
                  enum core_reason reason, const struct core_event *event)
{
    bool waits_for_redis = inspection->request.sent && !event;

    call_disarm(core, &inspection->call);
    if (inspection->inspector == FOR_SAMPLER)
        sampler_looked(core, inspection, status, event);
    else if (inspection->inspector == FOR_PROBE && !inspection->answered)
        probe_inspected(core, status == REPLY_OK,
                        event ? event->fetched.text : slice_text(core_reason_text(reason)));
    else if (!inspection->answered)
        inspect_push(core, inspection->token, inspection->key, status, reason, event);
    inspection->answered = true;
    /* What Redis was given has to stay valid until it answers. */
    if (!waits_for_redis)
        request_forget(core, &inspection->request);
}
