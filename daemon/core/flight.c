/*
 * Fetches and confirmations: at most one per key at a time; later readers join it.
 *
 * Happy path. The first reader that needs Redis makes a flight. When it is sent, its mark is placed: generation
 * and moment of sending. What the answer brings is stamped with these, never with later ones.
 *
 * Failure modes.
 *   A newer message or own acknowledgement of the key goes past the mark: the flight is overtaken; what it brought
 *   is neither cached nor returned, and each of its readers decides again, a bounded number of times.
 *   The generation changes: the answer is cached as suspect.
 *   The epoch changes, or meta before or after the record differs from the view: the answer is dropped and meta
 *   read again. What lies between two looks at the same meta is of its epoch.
 *   The link is lost: the flight goes back into the queue and is sent with a new mark.
 *   All readers have given up: the answer still fills the cache; a flight that was not sent is forgotten.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/core/machine.h"

/* ---- requests: ids, queue, window --------------------------------------------------------------------------- */

void request_add(struct core *core, struct request *request, enum request_kind kind)
{
    struct request **head;

    request->kind = kind;
    request->sent = false;
    request->id = core->next_id++;
    head = &core->by_id[request->id & core->index_mask];
    request->next_by_id = *head;
    *head = request;
    list_append(kind == REQUEST_WRITE ? &core->queued_writes : &core->queued_reads, &request->queue);
}

struct request *request_find(struct core *core, uint64_t id)
{
    struct request *request = core->by_id[id & core->index_mask];

    while (request && request->id != id)
        request = request->next_by_id;
    return request && request->sent ? request : NULL;
}

static void request_unsent(struct core *core, struct request *request)
{
    if (!request->sent)
        return;
    request->sent = false;
    if (request->kind == REQUEST_WRITE)
        core->writes_in_flight--;
    else
        core->reads_in_flight--;
}

void request_forget(struct core *core, struct request *request)
{
    struct request **at = &core->by_id[request->id & core->index_mask];

    request_unsent(core, request);
    while (*at != request)
        at = &(*at)->next_by_id;
    *at = request->next_by_id;
    list_remove(&request->queue);
    list_append(&core->garbage, &request->queue);
}

void garbage_free(struct core *core)
{
    while (!list_empty(&core->garbage)) {
        struct request *request = list_entry(core->garbage.next, struct request, queue);
        list_remove(&request->queue);
        free(request);
    }
}

static void request_requeue(struct core *core, struct request *request)
{
    request_unsent(core, request);
    list_remove(&request->queue);
    list_append(request->kind == REQUEST_WRITE ? &core->queued_writes : &core->queued_reads, &request->queue);
}

static void read_request_send(struct core *core, struct request *request)
{
    struct core_effect *effect = effect_push(core, FX_FETCH);

    effect->fetch.id = request->id;
    if (request->kind == REQUEST_INSPECTION) {
        effect->fetch.key = ((struct inspection *)(void *)request)->key;
        effect->fetch.header_only = true;
        return;
    }
    struct flight *flight = (struct flight *)(void *)request;
    flight->generation = core->generation;
    flight->sent_at = core->now;
    flight->highest = core->highest;
    effect->fetch.key = flight->key;
    effect->fetch.header_only = flight->header_only;
    if (flight->header_only)
        core->counters.confirms++;
    else
        core->counters.fetches++;
}

static void request_send(struct core *core, struct request *request)
{
    request->sent = true;
    list_remove(&request->queue);
    list_append(&core->sent, &request->queue);
    if (request->kind == REQUEST_WRITE) {
        core->writes_in_flight++;
        pending_send(core, (struct pending_write *)(void *)request);
    } else {
        core->reads_in_flight++;
        read_request_send(core, request);
    }
}

void request_pump(struct core *core)
{
    if (!core->data.up || !core->identity_ok)
        return;
    while (!list_empty(&core->queued_reads) && core->reads_in_flight < core->config.max_in_flight)
        request_send(core, list_entry(core->queued_reads.next, struct request, queue));

    struct list *at = core->queued_writes.next;
    while (at != &core->queued_writes && core->writes_in_flight < core->config.max_in_flight) {
        struct request *request = list_entry(at, struct request, queue);
        at = at->next;
        if (!write_ready(core, (struct pending_write *)(void *)request))
            break;
        request_send(core, request);
    }
}

void call_arm(struct core *core, struct call *call, enum call_kind kind, uint64_t deadline)
{
    call->kind = kind;
    core->waiting++;
    timers_arm(&core->timers, &call->timer, deadline);
}

void call_disarm(struct core *core, struct call *call)
{
    if (call->timer.place == 0)
        return;
    timers_disarm(&core->timers, &call->timer);
    core->waiting--;
}

/* ---- flights ------------------------------------------------------------------------------------------------ */

struct flight *flight_find(struct core *core, uint64_t hash, struct slice key)
{
    struct flight *flight = core->by_key[hash & core->index_mask];

    while (flight && !(flight->hash == hash && slice_equal(flight->key, key)))
        flight = flight->next_by_key;
    return flight;
}

static void flight_forget(struct core *core, struct flight *flight)
{
    struct flight **at = &core->by_key[flight->hash & core->index_mask];

    while (*at != flight)
        at = &(*at)->next_by_key;
    *at = flight->next_by_key;
    request_forget(core, &flight->request);
}

static struct flight *flight_new(struct core *core, uint64_t hash, struct slice key, bool header_only)
{
    struct flight *flight = calloc(1, sizeof(*flight) + key.len);

    if (!flight)
        return NULL;
    flight->hash = hash;
    flight->header_only = header_only;
    memcpy(flight->key_bytes, key.data, key.len);
    flight->key = slice_of(flight->key_bytes, key.len);
    list_init(&flight->waiters);
    flight->next_by_key = core->by_key[hash & core->index_mask];
    core->by_key[hash & core->index_mask] = flight;
    request_add(core, &flight->request, REQUEST_FLIGHT);
    return flight;
}

bool flight_join(struct core *core, struct waiter *waiter, bool header_only)
{
    uint64_t hash = table_hash(core->table, waiter->read.key);
    struct flight *flight = flight_find(core, hash, waiter->read.key);

    if (flight) {
        core->counters.fetches_joined++;
    } else {
        flight = flight_new(core, hash, waiter->read.key, header_only);
        if (!flight)
            return false;
    }
    waiter->flight = flight;
    list_append(&flight->waiters, &waiter->peers);
    return true;
}

void flight_note(struct core *core, struct slice key, uint64_t seq)
{
    if (core->reads_in_flight == 0)
        return;
    struct flight *flight = flight_find(core, table_hash(core->table, key), key);
    if (flight && flight->request.sent && seq > flight->overtaken_seq)
        flight->overtaken_seq = seq;
}

void flight_abandon(struct core *core, struct flight *flight)
{
    if (flight && list_empty(&flight->waiters) && !flight->request.sent)
        flight_forget(core, flight);
}

static void flight_give_up(struct core *core, struct flight *flight, enum core_reason reason, struct slice text)
{
    while (!list_empty(&flight->waiters))
        read_give_up(core, list_entry(flight->waiters.next, struct waiter, peers), reason, text);
}

void flight_give_up_all(struct core *core, enum core_reason reason)
{
    struct list *at = core->queued_reads.next;

    while (at != &core->queued_reads) {
        struct request *request = list_entry(at, struct request, queue);
        at = at->next;
        if (request->kind == REQUEST_INSPECTION) {
            inspect_done(core, (struct inspection *)(void *)request, REPLY_NOT_SENT, reason, NULL);
            continue;
        }
        struct flight *flight = (struct flight *)(void *)request;
        flight_give_up(core, flight, reason, slice_of(NULL, 0));
        flight_forget(core, flight);
    }
}

void flight_link_down(struct core *core)
{
    struct list sent;

    list_init(&sent);
    list_splice(&sent, &core->sent);
    while (!list_empty(&sent)) {
        struct request *request = list_entry(sent.next, struct request, queue);
        struct flight *flight = (struct flight *)(void *)request;
        if (request->kind == REQUEST_WRITE)
            write_link_down(core, (struct pending_write *)(void *)request);
        else if (request->kind == REQUEST_FLIGHT && list_empty(&flight->waiters))
            flight_forget(core, flight);
        else if (request->kind == REQUEST_INSPECTION && ((struct inspection *)(void *)request)->answered)
            request_forget(core, request);
        else
            request_requeue(core, request);
    }
}

/* Each reader decides anew: it may find the newer record in the cache, or start another flight. */
static void flight_restart_readers(struct core *core, struct flight *flight)
{
    struct list waiters;

    list_init(&waiters);
    list_splice(&waiters, &flight->waiters);
    flight_forget(core, flight);
    while (!list_empty(&waiters))
        read_resume(core, list_entry(waiters.next, struct waiter, peers));
}

static void flight_answer(struct core *core, struct flight *flight, const struct record *record,
                          const struct apply_result *result)
{
    uint64_t as_of = flight->sent_at;
    struct list waiters;

    as_of = guard_limit(core, as_of);
    list_init(&waiters);
    list_splice(&waiters, &flight->waiters);
    flight_forget(core, flight);
    while (!list_empty(&waiters)) {
        struct waiter *waiter = list_entry(waiters.next, struct waiter, peers);
        waiter->confirmed = flight->header_only;
        if (record)
            read_answer_fetched(core, waiter, record, result, as_of);
        else
            read_answer_absent(core, waiter, as_of);
    }
}

static void flight_invalid(struct core *core, struct flight *flight, struct slice text)
{
    struct core_effect *note = note_push(core, NOTE_BAD_RECORD);

    core->counters.bad_records++;
    trace_event(core, TRACE_UNREADABLE, .key = flight->key);
    if (note) {
        snprintf(core->bad_record_text, sizeof(core->bad_record_text), "%.*s", (int)text.len,
                 (const char *)text.data);
        note->note.key = flight->key;
        note->note.text = core->bad_record_text;
    }
    apply_hint(core, flight->key, UINT64_MAX);
    while (!list_empty(&flight->waiters))
        read_answer_error(core, list_entry(flight->waiters.next, struct waiter, peers), text);
    flight_forget(core, flight);
}

/* The header says that what is cached is what is stored: it becomes current as of the mark. False: it is not. */
static bool flight_confirmed(struct core *core, struct flight *flight, const struct record *record)
{
    uint64_t hash;
    struct entry *entry = apply_find(core, flight->key, &hash);
    struct apply_result result;
    struct record cached;

    if (!entry || (entry->flags & ENTRY_LOCAL) || entry->seq != record->seq)
        return false;
    if (entry->generation < flight->generation)
        entry->generation = flight->generation;
    table_touch(core->table, hash, entry);
    trace_event(core, TRACE_CONFIRM, .key = flight->key, .version = entry->version, .seq = entry->seq);
    cached = *record;
    cached.kind = (entry->flags & ENTRY_TOMBSTONE) ? RECORD_TOMBSTONE : RECORD_VALUE;
    cached.version = entry->version;
    cached.source = entry_source(entry);
    cached.timestamp_ns = entry->timestamp_ns;
    result = (struct apply_result){.value = entry_value(entry), .replaced = (entry->flags & ENTRY_REPLACED) != 0};
    flight_answer(core, flight, &cached, &result);
    return true;
}

/* By the store's clock; but no longer than the life it was given, since that clock may have been set back. */
static uint64_t flight_expiry(const struct core *core, const struct flight *flight, const struct record *record)
{
    uint64_t written_ms = record->timestamp_ns / NS_PER_MS, by_clock, longest;

    if (record->expiry_ms == 0)
        return 0;
    by_clock = proof_local_time(core, record->expiry_ms * 1000);
    longest = flight->sent_at;
    if (record->expiry_ms > written_ms)
        longest += (record->expiry_ms - written_ms) * NS_PER_MS;
    return by_clock > 0 && by_clock < longest ? by_clock : longest;
}

static void flight_record(struct core *core, struct flight *flight, const struct record *record)
{
    struct apply_result result;

    if (flight->header_only && flight_confirmed(core, flight, record))
        return;
    if (flight->header_only && record->kind == RECORD_VALUE) {
        /* Something newer is stored, or the cached copy has gone meanwhile: the value is needed. */
        flight->header_only = false;
        request_requeue(core, &flight->request);
        return;
    }
    flight->header_only = false; /* a tombstone that is newer than what is cached confirms nothing: a miss */
    struct apply_how how = {
        .origin = "fetch",
        .generation = flight->generation,
        .expires_at = flight_expiry(core, flight, record),
        .insert = true,
    };
    if (record->seq > core->ahead)
        core->ahead = record->seq;
    if (apply_record(core, flight->key, record, &how, &result) == APPLIED_REJECTED) {
        /* The store shows less than it showed before: the epoch has ended, which meta will say. */
        proof_doubt(core);
        flight_restart_readers(core, flight);
        return;
    }
    flight_answer(core, flight, record, &result);
}

static void flight_absent(struct core *core, struct flight *flight, uint64_t seq)
{
    struct floor floor;

    if (stale_detector_find(core->floors, flight->key, &floor) && floor.seq > seq) {
        proof_doubt(core);
        flight_restart_readers(core, flight);
        return;
    }
    trace_event(core, TRACE_ABSENT, .key = flight->key, .seq = seq);
    apply_hint(core, flight->key, UINT64_MAX);
    flight->header_only = false;
    flight_answer(core, flight, NULL, NULL);
}

static void flight_arrived(struct core *core, struct flight *flight, const struct core_event *event)
{
    const struct record *record = &event->fetched.record;
    enum fetch_result found = proof_fetch_found(event);

    if (event->fetched.status == REPLY_NOT_SENT) {
        request_requeue(core, &flight->request);
        return;
    }
    if (event->fetched.status != REPLY_OK) {
        flight_give_up(core, flight, REASON_STORE, event->fetched.text);
        flight_forget(core, flight);
        return;
    }
    bool matches = proof_fetch_matches(core, event, flight->highest);
    if (flight->generation < core->epoch_first_generation || !matches) {
        if (!matches)
            proof_doubt(core);
        flight_restart_readers(core, flight);
        return;
    }
    /* What was written after the first look may have been missed. */
    uint64_t seq = found == FETCH_RECORD ? record->seq : event->fetched.meta.seq;
    if (flight->overtaken_seq > seq) {
        core->counters.fetches_overtaken++;
        trace_event(core, TRACE_OVERTAKEN, .key = flight->key, .seq = seq, .other = flight->overtaken_seq);
        flight_restart_readers(core, flight);
        return;
    }
    switch (found) {
    case FETCH_RECORD:
        flight_record(core, flight, record);
        break;
    case FETCH_ABSENT:
        flight_absent(core, flight, seq);
        break;
    case FETCH_INVALID:
        flight_invalid(core, flight, event->fetched.text);
        break;
    }
}

void flight_fetched(struct core *core, const struct core_event *event)
{
    struct request *request = request_find(core, event->fetched.id);

    core->heard_at = core->now;
    if (!request)
        return;
    if (request->kind == REQUEST_FLIGHT)
        flight_arrived(core, (struct flight *)(void *)request, event);
    else if (request->kind == REQUEST_INSPECTION)
        inspect_done(core, (struct inspection *)(void *)request, event->fetched.status, REASON_NONE, event);
}
