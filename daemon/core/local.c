/*
 * A reader pod's own sets: they pass the StaleDetector and stay in its cache. They raise no floor, so the next
 * committed event of the key takes them away.
 */
#include "daemon/core/machine.h"

/* WRITE_REFUSED: the version is known, and no copy is here that would tell whether the content is the same. */
static enum write_outcome local_verdict(struct core *core, const struct write_request *write,
                                        uint64_t *ret_current)
{
    struct floor floor = {0};
    uint64_t hash;
    struct entry *entry = apply_find(core, write->key, &hash);

    stale_detector_find(core->floors, write->key, &floor);
    *ret_current = floor.version;
    if (entry && entry->version >= floor.version)
        *ret_current = entry->version;
    core->counters.version_checks++;
    if (write->version < *ret_current) {
        core->counters.stale_rejected++;
        return WRITE_STALE;
    }
    bool held = entry && entry->version == write->version;
    bool replaced = held && (entry->flags & ENTRY_REPLACED);
    bool same = held && !(entry->flags & ENTRY_TOMBSTONE) && slice_equal(entry_value(entry), write->value);
    /* What this pod kept for itself was not committed, however often it is set. */
    bool again = held && (entry->flags & ENTRY_LOCAL) && (same || replaced);
    if (write->version > *ret_current || again) {
        core->counters.accepted++;
        return WRITE_LOCAL;
    }
    core->counters.duplicates++;
    if (!held || replaced)
        return WRITE_REFUSED;
    return same ? WRITE_DUPLICATE : WRITE_CONFLICT;
}

/* False: not kept, and answered. */
static bool local_keep(struct core *core, const struct write_request *write)
{
    struct record record = {
        .kind = RECORD_VALUE,
        .version = write->version,
        .source = slice_text(core->config.source),
        .value = write->value,
    };
    struct apply_how how = {
        .origin = "local",
        .generation = core->generation,
        .expires_at = write->ttl_ms == 0 ? 0 : core->now + write->ttl_ms * NS_PER_MS,
    };
    struct apply_result result;
    uint64_t rejected = core->counters.hook_rejected;

    if (!apply_insert(core, write->key, &record, &how, true, &result)) {
        /* The older copy goes all the same. */
        apply_hint(core, write->key, UINT64_MAX);
        if (rejected < core->counters.hook_rejected)
            write_refuse(core, write, REASON_READER, slice_text("the hook of this pod rejected the value"));
        else
            write_refuse(core, write, REASON_BUSY, slice_text("the cache of this pod has no room for the value"));
        return false;
    }
    trace_event(core, TRACE_FILL, .detail = TRACE_FROM_LOCAL, .key = write->key, .version = write->version);
    if (core->watching) {
        struct core_effect *note = note_push(core, NOTE_LOCAL);
        if (note) {
            note->note.key = write->key;
            note->note.version = write->version;
            note->note.source = record.source;
            note->note.origin = "local";
        }
    }
    return true;
}

static void local_rejected(struct core *core, const struct write_request *write, uint64_t current)
{
    struct core_effect *note = note_push(core, NOTE_REJECTED);

    trace_event(core, TRACE_REJECT, .detail = TRACE_FROM_LOCAL, .key = write->key, .version = write->version,
                .other = current);
    if (!note)
        return;
    note->note.key = write->key;
    note->note.version = write->version;
    note->note.current_version = current;
    note->note.source = slice_text(core->config.source);
    note->note.origin = "local";
}

void local_set(struct core *core, const struct write_request *write)
{
    uint64_t current;
    enum write_outcome outcome = local_verdict(core, write, &current);
    struct core_effect *effect;

    if (outcome == WRITE_REFUSED) {
        write_refuse(
            core, write, REASON_READER,
            slice_text("this version is stored already, and this pod has no copy to compare the value with: "
                       "read it"));
        return;
    }
    if (outcome == WRITE_LOCAL && !local_keep(core, write))
        return;
    if (outcome == WRITE_STALE)
        local_rejected(core, write, current);
    effect = write_done(core, write, outcome);
    if (outcome == WRITE_LOCAL) { /* what was not committed belongs to no epoch */
        effect->write_done.version = write->version;
        return;
    }
    effect->write_done.version = current;
    effect->write_done.epoch = core->view.meta.epoch;
}
