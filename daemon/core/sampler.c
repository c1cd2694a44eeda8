#include "daemon/core/sampler.h"

#include <stdlib.h>

#include "daemon/core/machine.h"

#define MINUTE_NS (60000 * NS_PER_MS)
#define GIVE_UP_NS \
    (6 * SAMPLER_LATE_NS) /* a candidate that could not be looked at for so long is let go; picked */
#define REDIS_SHARE 2     /* of the requests that may be under way to Redis, one in so many; picked */

void sampler_init(struct sampler *sampler, uint64_t seed)
{
    *sampler = (struct sampler){.random = seed};
}

void sampler_deinit(struct sampler *sampler)
{
    for (unsigned i = 0; i < SAMPLER_CANDIDATES; i++)
        free(sampler->candidates[i].bytes);
}

/* splitmix64: which entries are looked at need not be unforeseeable, only spread. */
static uint64_t draw(struct sampler *sampler)
{
    uint64_t z = sampler->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ---- the ratio ---------------------------------------------------------------------------------------------- */

static struct sampler_minute *minute_now(struct core *core)
{
    uint64_t minute = core->now / MINUTE_NS;
    struct sampler_minute *m = &core->sampler.minutes[minute % SAMPLER_MINUTES];

    if (m->minute != minute)
        *m = (struct sampler_minute){.minute = minute};
    return m;
}

uint64_t sampler_inconsistent_ppm(const struct sampler *sampler, uint64_t now)
{
    uint64_t checked = 0, inconsistent = 0;

    for (unsigned i = 0; i < SAMPLER_MINUTES; i++) {
        if (sampler->minutes[i].minute + SAMPLER_MINUTES <= now / MINUTE_NS)
            continue;
        checked += sampler->minutes[i].checked;
        inconsistent += sampler->minutes[i].inconsistent;
    }
    return checked == 0 ? 0 : inconsistent * 1000000 / checked;
}

/* ---- candidates --------------------------------------------------------------------------------------------- */

static void candidate_free(struct sampler *sampler, struct sampler_candidate *candidate)
{
    free(candidate->bytes);
    *candidate = (struct sampler_candidate){0};
    sampler->candidates_count--;
}

static bool followed(const struct sampler *sampler, struct slice key)
{
    for (unsigned i = 0; i < SAMPLER_CANDIDATES; i++)
        if (sampler->candidates[i].bytes && slice_equal(sampler->candidates[i].key, key))
            return true;
    return false;
}

static void candidate_add(struct core *core, struct slice key, uint64_t seq)
{
    struct sampler *sampler = &core->sampler;
    struct sampler_candidate *candidate = sampler->candidates;
    uint8_t *copy = NULL;

    if (followed(sampler, key))
        return;
    if (sampler->candidates_count < SAMPLER_CANDIDATES)
        copy = malloc(key.len);
    if (!copy) {
        core->counters.verify_dropped++;
        return;
    }
    while (candidate->bytes)
        candidate++;
    memcpy(copy, key.data, key.len);
    *candidate = (struct sampler_candidate){
        .bytes = copy,
        .key = slice_of(copy, key.len),
        .first_at = core->now,
        .look_at = core->now + core->config.bound_ns,
        .seq = seq,
    };
    sampler->candidates_count++;
}

/* ---- comparing ---------------------------------------------------------------------------------------------- */

enum look_result { LOOK_UNKNOWN, LOOK_MOVED_ON, LOOK_AGREES, LOOK_DIFFERS };

/* The entry if a plain read would be answered with it as proven. */
static struct entry *proven_entry(struct core *core, struct slice key)
{
    uint64_t hash;
    struct entry *entry = apply_find(core, key, &hash);

    if (!entry || (entry->flags & (ENTRY_LOCAL | ENTRY_REPLACED)) || entry->generation != core->generation ||
        core->subscription != SUBSCRIPTION_CURRENT || !proof_lease_holds(core))
        return NULL;
    return entry;
}

static enum look_result compare_record(const struct entry *entry, const struct record *record,
                                       enum trace_finding *ret_finding)
{
    bool tombstone = (entry->flags & ENTRY_TOMBSTONE) != 0;
    bool same = record->version == entry->version && tombstone == (record->kind == RECORD_TOMBSTONE) &&
                (record->expiry_ms == 0 || entry->expires != 0);

    *ret_finding = record->seq > entry->seq ? TRACE_NEWER : record->seq < entry->seq ? TRACE_GONE : TRACE_CHANGED;
    return record->seq == entry->seq && same ? LOOK_AGREES : LOOK_DIFFERS;
}

static enum look_result compare(struct core *core, const struct inspection *inspection, enum reply_status status,
                                const struct core_event *event, enum trace_finding *ret_finding)
{
    const struct entry *entry = proven_entry(core, inspection->key);

    if (status != REPLY_OK || !event || !proof_fetch_matches(core, event, inspection->sampler.highest))
        return LOOK_UNKNOWN;
    if (!entry || entry->seq != inspection->sampler.seq)
        return LOOK_MOVED_ON;
    switch (proof_fetch_found(event)) {
    case FETCH_RECORD:
        return compare_record(entry, &event->fetched.record, ret_finding);
    case FETCH_INVALID:
        *ret_finding = TRACE_GARBAGE;
        return LOOK_DIFFERS;
    default:
        *ret_finding = TRACE_GONE;
        return (entry->flags & ENTRY_TOMBSTONE) ? LOOK_AGREES : LOOK_DIFFERS;
    }
}

/* Of the record that was found; 0: none. */
static uint64_t found_version(const struct core_event *event)
{
    return event->fetched.result == FETCH_RECORD ? event->fetched.record.version : 0;
}

static void tell(struct core *core, struct slice key, const struct entry *entry, const struct core_event *event,
                 enum trace_finding finding)
{
    static const char *const texts[] = {
        [TRACE_NEWER] = "Redis holds something newer, though everything committed is proven to be delivered",
        [TRACE_CHANGED] = "Redis holds another record under the same seq",
        [TRACE_GARBAGE] = "what Redis holds under the key cannot be read",
    };
    struct core_effect *note = note_push(core, NOTE_INCONSISTENT);

    if (!note)
        return;
    note->note.key = key;
    note->note.version = entry->version;
    note->note.seq = entry->seq;
    note->note.current_version = found_version(event);
    note->note.current_seq = event->fetched.result == FETCH_RECORD ? event->fetched.record.seq : 0;
    note->note.text = texts[finding];
}

/* It still differs: counted, told, healed. */
static void confirmed(struct core *core, const struct inspection *inspection, struct sampler_candidate *candidate,
                      const struct core_event *event, enum trace_finding finding)
{
    struct entry *entry = proven_entry(core, inspection->key);
    uint64_t version = entry->version, seq = entry->seq;

    if (finding == TRACE_GONE) {
        core->counters.verify_lost++;
        trace_event(core, TRACE_LOST, .key = inspection->key, .version = version, .seq = seq,
                    .other = found_version(event));
    } else {
        if (candidate->inconsistent)
            core->counters.verify_differs_10s++;
        else
            core->counters.verify_differs_bound++;
        if (!candidate->inconsistent)
            minute_now(core)->inconsistent++;
        trace_event(core, TRACE_INCONSISTENT, .detail = finding, .key = inspection->key, .version = version,
                    .seq = seq, .other = found_version(event));
        tell(core, inspection->key, entry, event, finding);
    }
    apply_hint(core, inspection->key, UINT64_MAX);
    if (finding == TRACE_GONE || candidate->inconsistent) {
        candidate_free(&core->sampler, candidate);
        return;
    }
    candidate->inconsistent = true;
    candidate->store_seq = finding == TRACE_NEWER ? event->fetched.record.seq : seq + 1;
    candidate->look_at = candidate->first_at + SAMPLER_LATE_NS;
}

static void looked_first(struct core *core, const struct inspection *inspection, enum look_result result,
                         const struct core_event *event, enum trace_finding finding)
{
    if (result == LOOK_UNKNOWN) {
        core->counters.verify_unknown++;
        return;
    }
    core->counters.verify_checked++;
    minute_now(core)->checked++;
    if (result != LOOK_DIFFERS)
        return;
    core->counters.verify_differs++;
    trace_event(core, TRACE_DIFFER, .detail = finding, .key = inspection->key, .seq = inspection->sampler.seq,
                .version = proven_entry(core, inspection->key)->version, .other = found_version(event));
    candidate_add(core, inspection->key, inspection->sampler.seq);
}

static void looked_again(struct core *core, const struct inspection *inspection, enum look_result result,
                         const struct core_event *event, enum trace_finding finding)
{
    struct sampler_candidate *candidate = &core->sampler.candidates[inspection->sampler.candidate - 1];

    candidate->looking = false;
    switch (result) {
    case LOOK_UNKNOWN:
        core->counters.verify_unknown++;
        candidate->look_at = core->now + core->config.sampler_interval_ns;
        break;
    case LOOK_MOVED_ON:
    case LOOK_AGREES:
        candidate_free(&core->sampler, candidate);
        break;
    case LOOK_DIFFERS:
        /* The lease that held means as_of >= first_at; it is the claim itself, so it is looked at. */
        if (core->as_of < candidate->first_at)
            candidate->look_at = core->now + core->heartbeat_ns;
        else
            confirmed(core, inspection, candidate, event, finding);
        break;
    }
}

void sampler_looked(struct core *core, const struct inspection *inspection, enum reply_status status,
                    const struct core_event *event)
{
    enum trace_finding finding = TRACE_NEWER;
    enum look_result result = compare(core, inspection, status, event, &finding);

    core->sampler.under_way--;
    if (inspection->sampler.candidate == 0)
        looked_first(core, inspection, result, event, finding);
    else
        looked_again(core, inspection, result, event, finding);
}

/* ---- asking ------------------------------------------------------------------------------------------------- */

/* Redis is ready, and nobody waits for it. */
static bool may_ask(const struct core *core)
{
    return core->data.up && core->identity_ok && core->subscription == SUBSCRIPTION_CURRENT &&
           proof_lease_holds(core) && list_empty(&core->queued_reads) &&
           core->reads_in_flight < core->config.max_in_flight / REDIS_SHARE;
}

static bool look(struct core *core, struct slice key, uint64_t seq, unsigned candidate)
{
    struct sampler_look look = {.candidate = candidate, .seq = seq, .highest = core->highest};

    if (!inspect_sample(core, key, &look)) {
        core->counters.verify_unknown++;
        return false;
    }
    core->sampler.under_way++;
    return true;
}

/* What is cached then has to be the same entry; after 10 s: one that is older than what Redis held. */
static void look_again(struct core *core, unsigned place)
{
    struct sampler_candidate *candidate = &core->sampler.candidates[place];
    const struct entry *entry = proven_entry(core, candidate->key);
    bool wanted =
        entry && (candidate->inconsistent ? entry->seq < candidate->store_seq : entry->seq == candidate->seq);

    if (!wanted || core->now - candidate->first_at > GIVE_UP_NS)
        candidate_free(&core->sampler, candidate);
    else if (look(core, candidate->key, entry->seq, place + 1))
        candidate->looking = true;
    else
        candidate->look_at = core->now + core->config.sampler_interval_ns;
}

static void look_at_candidates(struct core *core)
{
    for (unsigned i = 0; i < SAMPLER_CANDIDATES && core->sampler.candidates_count > 0; i++) {
        struct sampler_candidate *candidate = &core->sampler.candidates[i];

        if (!candidate->bytes || candidate->looking || core->now < candidate->look_at)
            continue;
        if (may_ask(core))
            look_again(core, i);
        else
            candidate->look_at = core->now + core->heartbeat_ns;
    }
}

static void look_at_samples(struct core *core)
{
    for (unsigned i = 0; i < core->config.sampler_samples; i++) {
        const struct entry *entry = table_pick(core->table, draw(&core->sampler));

        if (entry && proven_entry(core, entry_key(entry)) && !followed(&core->sampler, entry_key(entry)))
            look(core, entry_key(entry), entry->seq, 0);
    }
}

void sampler_settle(struct core *core)
{
    struct sampler *sampler = &core->sampler;

    if (core->config.sampler_interval_ns == 0)
        return;
    if (sampler->candidates_count > 0)
        look_at_candidates(core);
    if (core->now < sampler->round_at)
        return;
    sampler->round_at = core->now + core->config.sampler_interval_ns;
    if (sampler->under_way == 0 && may_ask(core))
        look_at_samples(core);
}

uint64_t sampler_next_deadline(const struct core *core)
{
    const struct sampler *sampler = &core->sampler;
    uint64_t deadline = sampler->round_at;

    if (core->config.sampler_interval_ns == 0)
        return UINT64_MAX;
    for (unsigned i = 0; i < SAMPLER_CANDIDATES && sampler->candidates_count > 0; i++)
        if (sampler->candidates[i].bytes && !sampler->candidates[i].looking &&
            sampler->candidates[i].look_at < deadline)
            deadline = sampler->candidates[i].look_at;
    return deadline;
}
