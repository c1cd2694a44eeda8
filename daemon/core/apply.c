/*
 * What enters floors and cache. A record comes from a message, a fetch or an acknowledgement; it replaces what
 * the pod has of the key only if its seq is higher. Raising a floor removes the cached entry below it in the
 * same step, so that forgetting a floor opens no hole.
 *
 * Only messages move `last`. A message at or below `last` is late or repeated: it never inserts, because the
 * floor that would reject it may have been forgotten; but what it overtakes goes. For the same reason a message
 * inserts nothing while no generation is current or meta stands on another run, nor for a key of which nothing is
 * known when a fetch or an acknowledgement has shown the pod something further ahead (`ahead`): that may have been
 * this key's successor.
 */
#include "daemon/core/machine.h"

uint32_t apply_ticks(const struct core *core, uint64_t at)
{
    if (at == 0)
        return 0;
    if (at <= core->base)
        return 1;
    uint64_t ticks = (at - core->base) / TABLE_TICK_NS;
    return ticks == 0 ? 1 : ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

struct entry *apply_find(struct core *core, struct slice key, uint64_t *ret_hash)
{
    uint64_t hash = table_hash(core->table, key);
    struct entry *entry = table_find(core->table, hash, key);

    *ret_hash = hash;
    if (!entry)
        return NULL;
    bool expired = entry->expires != 0 && core->now - core->base >= entry->expires * TABLE_TICK_NS;
    bool gone = (entry->flags & ENTRY_LOCAL) ? entry->generation != core->generation
                                             : entry->generation < core->epoch_first_generation;
    if (!expired && !gone)
        return entry;
    if (expired && !gone)
        core->counters.expirations++;
    if (expired && !gone)
        trace_event(core, TRACE_EXPIRE, .key = key, .version = entry->version, .seq = entry->seq);
    table_remove(core->table, hash, entry);
    return NULL;
}

static void note_record(struct core *core, enum note_kind kind, struct slice key, const struct record *record,
                        const char *origin)
{
    struct core_effect *note = note_push(core, kind);

    if (!note)
        return;
    note->note.key = key;
    note->note.version = record->version;
    note->note.seq = record->seq;
    note->note.source = record->source;
    note->note.origin = origin;
}

static enum trace_origin trace_origin(const char *origin)
{
    switch (origin[0]) {
    case 'm':
        return TRACE_FROM_MESSAGE;
    case 'f':
        return TRACE_FROM_FETCH;
    default:
        return origin[0] == 'w' ? TRACE_FROM_WRITE : TRACE_FROM_LOCAL;
    }
}

/* What became of the record: in the cache, or not. That a fetch brought what is cached is no event. */
static void trace_applied(struct core *core, struct slice key, uint64_t hash, const struct record *record,
                          const char *origin, enum trace_receive how)
{
    enum trace_origin from = trace_origin(origin);
    enum trace_kind kind = from == TRACE_FROM_MESSAGE ? TRACE_RECEIVE
                           : how == TRACE_APPLIED     ? TRACE_FILL
                                                      : TRACE_UNCACHED;

    if (how == TRACE_REPEATED && kind != TRACE_RECEIVE)
        return;
    trace_event(core, kind, .detail = kind == TRACE_RECEIVE ? (unsigned)how : (unsigned)from, .key = key,
                .hash = hash, .version = record->version, .seq = record->seq, .timestamp_ns = record->timestamp_ns,
                .source = record->source);
}

static void trace_message(struct core *core, const struct message *message, enum trace_receive how)
{
    trace_event(core, TRACE_RECEIVE, .detail = how, .key = message->key, .version = message->record.version,
                .seq = message->record.seq, .timestamp_ns = message->record.timestamp_ns,
                .source = message->record.source);
}

static void note_rejected(struct core *core, struct slice key, const struct record *record, const char *origin,
                          uint64_t current_version, uint64_t current_seq)
{
    struct core_effect *note = note_push(core, NOTE_REJECTED);

    core->counters.stale_rejected++;
    trace_event(core, TRACE_REJECT, .detail = trace_origin(origin), .key = key, .version = record->version,
                .seq = record->seq, .other = current_version, .source = record->source);
    if (!note)
        return;
    note->note.key = key;
    note->note.version = record->version;
    note->note.seq = record->seq;
    note->note.current_version = current_version;
    note->note.current_seq = current_seq;
    note->note.source = record->source;
    note->note.origin = origin;
}

bool apply_insert(struct core *core, struct slice key, const struct record *record, const struct apply_how *how,
                  bool local, struct apply_result *ret_result)
{
    struct slice value = record->value;
    uint8_t flags =
        (uint8_t)((local ? ENTRY_LOCAL : 0) | (record->kind == RECORD_TOMBSTONE ? ENTRY_TOMBSTONE : 0));

    if (core->config.hook && record->kind == RECORD_VALUE) {
        struct slice replacement = {0};
        switch (core->config.hook(core->config.hook_ctx, key, value, record->version, record->source, local,
                                  &replacement)) {
        case HOOK_KEEP:
            break;
        case HOOK_REPLACE:
            core->counters.hook_replaced++;
            trace_event(core, TRACE_HOOK, .detail = HOOK_REPLACE, .key = key, .version = record->version);
            value = replacement;
            flags |= ENTRY_REPLACED;
            break;
        case HOOK_REJECT:
            core->counters.hook_rejected++;
            trace_event(core, TRACE_HOOK, .detail = HOOK_REJECT, .key = key, .version = record->version);
            note_record(core, NOTE_HOOK, key, record, how->origin);
            return false;
        }
    }
    ret_result->value = value;
    ret_result->replaced = (flags & ENTRY_REPLACED) != 0;
    if (key.len > core->config.max_key || value.len > core->config.max_value)
        return false;

    struct table_item item = {
        .source = record->source,
        .value = value,
        .version = record->version,
        .seq = record->seq,
        .timestamp_ns = record->timestamp_ns,
        .generation = how->generation,
        .expires = apply_ticks(core, how->expires_at),
        .flags = flags,
    };
    return table_put(core->table, table_hash(core->table, key), key, &item, NULL) == TABLE_OK;
}

enum applied apply_record(struct core *core, struct slice key, const struct record *record,
                          const struct apply_how *how, struct apply_result *ret_result)
{
    uint64_t hash;
    struct entry *entry = apply_find(core, key, &hash);
    struct floor before;

    *ret_result = (struct apply_result){.value = record->value};
    core->counters.version_checks++;
    if (record->seq > core->highest)
        core->highest = record->seq;
    if (entry && (entry->flags & ENTRY_LOCAL)) {
        table_remove(core->table, hash, entry);
        entry = NULL;
    }
    /* The floor may have been forgotten; the entry itself then says what is known. */
    if (entry && entry->seq > record->seq) {
        note_rejected(core, key, record, how->origin, entry->version, entry->seq);
        return APPLIED_REJECTED;
    }
    int verdict = stale_detector_record(core->floors, key, record->seq, record->version, core->now, &before);
    if (verdict == STALE_REJECTED) {
        note_rejected(core, key, record, how->origin, before.version, before.seq);
        return APPLIED_REJECTED;
    }
    bool known = verdict == STALE_SAME || (entry && entry->seq == record->seq);
    if (known)
        core->counters.duplicates++;
    else
        core->counters.accepted++;

    if (entry && entry->seq == record->seq) {
        if (entry->generation < how->generation)
            entry->generation = how->generation;
        ret_result->replaced = (entry->flags & ENTRY_REPLACED) != 0;
        if (ret_result->replaced)
            ret_result->value = entry_value(entry);
        trace_applied(core, key, hash, record, how->origin, TRACE_REPEATED);
        return APPLIED_SAME;
    }
    bool alive = how->expires_at == 0 || how->expires_at > core->now;
    bool insert = how->insert && alive && record->kind != RECORD_BARE;
    bool cached = insert && apply_insert(core, key, record, how, false, ret_result);
    if (!cached && entry) {
        /* The hook may not have touched the table, but a put that failed left the entry where it was. */
        entry = table_find(core->table, hash, key);
        if (entry)
            table_remove(core->table, hash, entry);
    }
    trace_applied(core, key, hash, record, how->origin, cached ? TRACE_APPLIED : TRACE_INVALIDATED);
    if (core->watching && !known)
        note_record(core, record->kind == RECORD_TOMBSTONE ? NOTE_DELETE : NOTE_UPDATE, key, record, how->origin);
    return known ? APPLIED_SAME : APPLIED_NEWER;
}

void apply_hint(struct core *core, struct slice key, uint64_t seq)
{
    uint64_t hash;
    struct entry *entry = apply_find(core, key, &hash);

    if (entry && ((entry->flags & ENTRY_LOCAL) || entry->seq < seq))
        table_remove(core->table, hash, entry);
}

/* A message at or below `last`. */
static void apply_late(struct core *core, const struct message *message)
{
    const struct record *record = &message->record;
    struct floor floor = {0};
    uint64_t hash;
    struct entry *entry = apply_find(core, message->key, &hash);

    core->counters.messages_late++;
    core->counters.version_checks++;
    stale_detector_find(core->floors, message->key, &floor);
    if (entry && !(entry->flags & ENTRY_LOCAL) && entry->seq > floor.seq)
        floor = (struct floor){.seq = entry->seq, .version = entry->version};
    trace_message(core, message, record->seq == floor.seq ? TRACE_REPEATED : TRACE_LATE);
    if (record->version < floor.version)
        note_rejected(core, message->key, record, "message", floor.version, floor.seq);
    else
        core->counters.duplicates++;
    apply_hint(core, message->key, record->seq);
}

void apply_bad_message(struct core *core, const char *text)
{
    struct core_effect *note = note_push(core, NOTE_BAD_MESSAGE);

    core->counters.messages++;
    core->counters.messages_bad++;
    core->heartbeat.wanted = true;
    if (note)
        note->note.text = text;
}

/* Counts the message into `last`, or into the run of a subscription that is starting. False: it is late. */
static bool apply_seq(struct core *core, uint64_t seq)
{
    if (core->subscription != SUBSCRIPTION_CURRENT) {
        if (core->run_last == 0 || seq > core->run_last + 1)
            core->run_first = core->run_last = seq;
        else if (seq == core->run_last + 1)
            core->run_last = seq;
        else
            return false;
        return true;
    }
    if (seq <= core->last)
        return false;
    if (seq == core->last + 1)
        core->last = seq;
    else
        proof_gap(core, GAP_MESSAGE, seq, seq);
    return true;
}

static bool known_key(struct core *core, struct slice key)
{
    uint64_t hash;
    struct entry *entry = apply_find(core, key, &hash);
    struct floor floor;

    return (entry && !(entry->flags & ENTRY_LOCAL)) || stale_detector_find(core->floors, key, &floor);
}

/* In order, but perhaps older than what was seen of the key and forgotten. A floor made of it would look like
 * knowledge to the next message: none is recorded. */
static void apply_unsure(struct core *core, const struct message *message)
{
    const struct record *record = &message->record;

    if (record->seq > core->highest)
        core->highest = record->seq;
    trace_message(core, message, TRACE_UNSURE);
    apply_hint(core, message->key, record->seq);
    if (core->watching)
        note_record(core, record->kind == RECORD_TOMBSTONE ? NOTE_DELETE : NOTE_UPDATE, message->key, record,
                    "message");
}

/* Committed under a meta that stands on another run, perhaps on another server: nothing to build on, but what it
 * overtakes may be outdated. */
static void apply_epochless(struct core *core, const struct message *message)
{
    core->counters.messages++;
    core->counters.messages_foreign++;
    core->heartbeat.wanted = true;
    flight_note(core, message->key, message->record.seq);
    apply_hint(core, message->key, message->record.seq);
}

/* See core_measures. */
static void measure_lag(struct core *core, const struct record *record)
{
    uint64_t committed = proof_local_time(core, record->timestamp_ns / NS_PER_US);

    if (committed > 0)
        histogram_add(&core->measures.lag, core->now > committed ? core->now - committed : 0);
}

void apply_message(struct core *core, const struct message *message)
{
    const struct record *record = &message->record;
    struct apply_result result;

    if (message->kind == MESSAGE_CLEAR || !core->view.adopted ||
        !epoch_equal(&message->epoch, &core->view.meta.epoch)) {
        core->counters.messages++;
        core->counters.messages_foreign++;
        core->heartbeat.wanted = true;
        return;
    }
    if (!core->epoch_ok) {
        apply_epochless(core, message);
        return;
    }
    if (record->seq > core->highest && record->seq - core->highest > SEQ_LEAP_MAX) {
        apply_bad_message(core, "message with a seq far ahead of the store's");
        return;
    }
    /* Two tables, each a cache miss: started together. */
    core_prefetch(core, message->key);
    stale_detector_prefetch(core->floors, message->key);
    core->counters.messages++;
    probe_heard(core, message);
    flight_note(core, message->key, record->seq);
    if (!apply_seq(core, record->seq)) {
        apply_late(core, message);
        return;
    }
    measure_lag(core, record);
    if (record->seq <= core->ahead && !known_key(core, message->key)) {
        apply_unsure(core, message);
        return;
    }
    bool current = core->subscription == SUBSCRIPTION_CURRENT;
    struct apply_how how = {
        .origin = "message",
        /* Before `last` is known nothing tells a repeated message from a new one: no copy becomes current by it.
         */
        .generation = current ? core->generation : 0,
        /* It was committed after as_of, so counting from there cannot lengthen its life. */
        .expires_at = message->ttl_ms == 0 ? 0 : core->as_of + message->ttl_ms * NS_PER_MS,
        .insert = current,
    };
    apply_record(core, message->key, record, &how, &result);
}
