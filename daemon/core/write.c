/*
 * Writes.
 *
 * Happy path: queued, sent with the epoch and run of the view, answered by the script. An accepted write is an
 * acknowledgement: it raises the floor, and enters the cache if its message has not been dealt with already.
 * Nothing is cached and no floor raised before the answer.
 *
 * Failure modes.
 *   Not sent at its deadline       dropped, and said so: nothing was done.
 *   The epoch was another one      nothing was executed; meta is read again and the write sent anew.
 *   The link is lost, or no answer indeterminate, said only when the deadline has passed: the script refuses to
 *                                  execute after it, so a retry cannot race its first attempt.
 */
#include <stdlib.h>

#include "daemon/core/machine.h"

struct core_effect *write_done(struct core *core, const struct write_request *write, enum write_outcome outcome)
{
    struct core_effect *effect = effect_push(core, FX_WRITE_DONE);

    effect->write_done.token = write->token;
    effect->write_done.outcome = outcome;
    switch (outcome) {
    case WRITE_ACCEPTED:
        core->counters.writes_accepted++;
        break;
    case WRITE_STALE:
        core->counters.writes_stale++;
        break;
    case WRITE_DUPLICATE:
        core->counters.writes_duplicate++;
        break;
    case WRITE_CONFLICT:
        core->counters.writes_conflict++;
        break;
    case WRITE_LOCAL:
        core->counters.writes_local++;
        break;
    case WRITE_REFUSED:
        core->counters.writes_refused++;
        break;
    case WRITE_INDETERMINATE:
        core->counters.writes_indeterminate++;
        break;
    case WRITE_ERROR:
        core->counters.writes_failed++;
        break;
    }
    if (outcome == WRITE_LOCAL || outcome >= WRITE_INDETERMINATE)
        trace_event(core, TRACE_ACKNOWLEDGE, .detail = outcome, .key = write->key, .version = write->version);
    return effect;
}

void write_refuse(struct core *core, const struct write_request *write, enum core_reason reason, struct slice text)
{
    struct core_effect *effect = write_done(core, write, WRITE_REFUSED);

    trace_event(core, TRACE_WRITE_REFUSED, .detail = reason, .key = write->key, .version = write->version);
    core->measures.writes_refused[reason]++;
    effect->write_done.reason = reason;
    effect->write_done.text = text;
}

/* ---- committed writes -----------------------------------------------------------------------------------------
 */

/* Copies the request; it is queued by pending_add. */
static struct pending_write *pending_new(const struct write_request *write)
{
    size_t bytes = sizeof(struct pending_write) + write->key.len + write->value.len;
    struct pending_write *pending = malloc(bytes);

    if (!pending)
        return NULL;
    memset(pending, 0, sizeof(*pending));
    pending->write = *write;
    pending->bytes = bytes;
    if (write->key.len > 0)
        memcpy(pending->data, write->key.data, write->key.len);
    if (write->value.len > 0)
        memcpy(pending->data + write->key.len, write->value.data, write->value.len);
    pending->write.key = slice_of(pending->data, write->key.len);
    pending->write.value = slice_of(pending->data + write->key.len, write->value.len);
    return pending;
}

static void pending_add(struct core *core, struct pending_write *pending)
{
    core->pending_bytes += pending->bytes;
    request_add(core, &pending->request, REQUEST_WRITE);
    call_arm(core, &pending->call, CALL_WRITE, pending->write.deadline);
}

void write_start(struct core *core, const struct write_request *write)
{
    const struct core_config *config = &core->config;

    core->counters.writes++;
    if (!config->may_write) {
        if (write->op == OP_SET && write->version > 0)
            local_set(core, write);
        else
            write_refuse(core, write, REASON_READER, slice_of(NULL, 0));
        return;
    }
    size_t bytes = write->key.len + write->value.len + sizeof(struct pending_write);
    struct pending_write *pending = NULL;
    if (core->waiting < config->max_waiting && core->pending_bytes + bytes <= config->pending_bytes &&
        !write->at_once)
        pending = pending_new(write);
    if (!pending) {
        write_refuse(core, write, REASON_BUSY, slice_of(NULL, 0));
        return;
    }
    pending_add(core, pending);
}

bool write_probe(struct core *core, const struct write_request *write)
{
    struct pending_write *pending = pending_new(write);

    if (!pending)
        return false;
    pending->probe = true;
    pending_add(core, pending);
    /* Ahead of the writes of clients, which wait for it. */
    list_remove(&pending->request.queue);
    list_append(core->queued_writes.next, &pending->request.queue);
    return true;
}

bool write_ready(const struct core *core, const struct pending_write *pending)
{
    if (!core->epoch_ok)
        return false;
    return pending->probe || probe_allows_writes(core);
}

void pending_send(struct core *core, struct pending_write *pending)
{
    struct core_effect *effect = effect_push(core, FX_WRITE);

    pending->sent_at = core->now;
    pending->epoch = core->view.meta.epoch;
    pending->highest = core->highest;
    pending->generation = core->generation;
    trace_event(core, TRACE_WRITE, .detail = pending->write.op, .key = pending->write.key,
                .version = pending->write.version);
    effect->write.id = pending->request.id;
    effect->write.epoch = core->view.meta.epoch;
    effect->write.run = core->view.run;
    effect->write.deadline_store_us = proof_store_deadline_us(core, pending->write.deadline);
    effect->write.request = &pending->write;
}

static void pending_forget(struct core *core, struct pending_write *pending)
{
    call_disarm(core, &pending->call);
    core->pending_bytes -= pending->bytes;
    request_forget(core, &pending->request);
}

/* The client gets its answer; the memory goes. */
static struct core_effect *pending_done(struct core *core, struct pending_write *pending,
                                        enum write_outcome outcome)
{
    pending_forget(core, pending);
    if (pending->answered || pending->probe)
        return &core->nobody;
    return write_done(core, &pending->write, outcome);
}

static struct core_effect *pending_refuse(struct core *core, struct pending_write *pending,
                                          enum core_reason reason)
{
    struct core_effect *effect;

    trace_event(core, TRACE_WRITE_REFUSED, .detail = reason, .key = pending->write.key);
    effect = pending_done(core, pending, WRITE_REFUSED);
    if (effect != &core->nobody)
        core->measures.writes_refused[reason]++;
    effect->write_done.reason = reason;
    return effect;
}

void write_expired(struct core *core, struct pending_write *pending)
{
    if (pending->probe)
        probe_failed(core, "the probe of the write path was not answered in time", slice_of(NULL, 0));
    if (!pending->request.sent && pending->sent_at == 0) {
        enum core_reason reason = proof_reason(core);
        if (reason == REASON_NONE && !core->epoch_ok)
            reason = REASON_NO_EPOCH;
        else if (reason == REASON_NONE && !write_ready(core, pending))
            reason = REASON_PROBE;
        reason = reason == REASON_NONE ? REASON_TIMEOUT : reason;
        struct core_effect *effect = pending_refuse(core, pending, reason);
        if (reason == REASON_PROBE)
            effect->write_done.text = slice_text(core->probe.text);
        return;
    }
    if (!pending->request.sent) {
        /* The link that carried it is gone: no answer can come any more. */
        pending_done(core, pending, WRITE_INDETERMINATE);
        return;
    }
    /* The answer can still come, and what Redis was given has to stay valid until then. */
    call_disarm(core, &pending->call);
    if (!pending->probe && !pending->answered)
        write_done(core, &pending->write, WRITE_INDETERMINATE);
    pending->answered = true;
}

/* The link is lost with the write on it. Whoever waits is told at the deadline. */
void write_link_down(struct core *core, struct pending_write *pending)
{
    if (pending->answered || pending->probe) {
        if (pending->probe)
            probe_lost(core); /* nobody waits for it: it is tried again when the link is back */
        pending_forget(core, pending);
        return;
    }
    pending->request.sent = false;
    core->writes_in_flight--;
    list_remove(&pending->request.queue);
    list_append(&core->in_doubt, &pending->request.queue);
}

static void write_requeue(struct core *core, struct pending_write *pending)
{
    if (pending->answered) {
        pending_forget(core, pending);
        return;
    }
    pending->request.sent = false;
    pending->sent_at = 0;
    core->writes_in_flight--;
    list_remove(&pending->request.queue);
    list_append(&core->queued_writes, &pending->request.queue);
}

/*
 * A seq that was given out before, or a cached copy that is newer by seq and older by version. (That one can also
 * be of a key that expired in between: then it costs a fetch.)
 */
static bool seq_went_back(struct core *core, const struct pending_write *pending, const struct core_event *event)
{
    uint64_t hash;
    const struct entry *entry = apply_find(core, pending->write.key, &hash);

    if (event->written.result == SCRIPT_ACCEPTED && event->written.seq <= pending->highest)
        return true;
    return entry && entry->seq > event->written.seq && entry->version < event->written.version;
}

/*
 * The answer says what is stored now: this write, or what it lost against. Of the latter only the order is known,
 * but nothing older may be served from here on.
 */
static void learn_stored(struct core *core, struct pending_write *pending, const struct core_event *event)
{
    const struct write_request *write = &pending->write;
    bool own = event->written.result == SCRIPT_ACCEPTED || event->written.result == SCRIPT_DUPLICATE;
    uint64_t seq = event->written.seq;
    struct apply_result result;
    bool behind;

    if (!epoch_equal(&pending->epoch, &core->view.meta.epoch) ||
        pending->generation < core->epoch_first_generation)
        return;
    if (seq_went_back(core, pending, event)) {
        /*
         * The epoch has ended, which meta will say: it is below `highest`. Nothing of it may hide what is
         * acknowledged here.
         */
        uint64_t highest = core->highest;
        proof_forget(core, "seq went back: the store gave out one that was given out before");
        core->highest = highest;
        proof_doubt(core);
        return;
    }
    flight_note(core, write->key, seq);
    /* While a subscription starts, messages do not move `last`: a newer one of the key may have come and be
     * forgotten. */
    behind = seq <= core->last || (core->subscription != SUBSCRIPTION_CURRENT && seq < core->highest);
    if (seq > core->highest)
        core->highest = seq;
    if (seq > core->ahead)
        core->ahead = seq;
    if (behind) {
        /* Its message has been dealt with already, and perhaps a newer one of the key. */
        apply_hint(core, write->key, seq);
        return;
    }
    struct record record = {
        .kind = !own                     ? RECORD_BARE
                : write->op == OP_DELETE ? RECORD_TOMBSTONE
                                         : RECORD_VALUE,
        .version = event->written.version,
        .seq = seq,
        .timestamp_ns = event->written.timestamp_ns,
        .source = own ? slice_text(core->config.source) : slice_of(NULL, 0),
        .value = write->op == OP_DELETE ? slice_of(NULL, 0) : write->value,
    };
    struct apply_how how = {
        .origin = "write",
        .generation = pending->generation,
        /* It was committed after it was sent. */
        .expires_at = write->ttl_ms == 0 ? 0 : pending->sent_at + write->ttl_ms * NS_PER_MS,
        /* What an earlier attempt stored may have another life and source. */
        .insert = event->written.result == SCRIPT_ACCEPTED,
    };
    apply_record(core, write->key, &record, &how, &result);
}

static void write_answered(struct core *core, struct pending_write *pending, const struct core_event *event)
{
    struct core_effect *effect;
    enum write_outcome outcome = WRITE_ERROR;
    const char *text = "";

    _Static_assert((int)SCRIPT_CONFLICT == (int)WRITE_CONFLICT, "the first of both are the same");
    if (event->written.result <= SCRIPT_CONFLICT)
        trace_event(core, TRACE_ACKNOWLEDGE, .detail = event->written.result, .key = pending->write.key,
                    .version = event->written.version, .seq = event->written.seq);
    switch (event->written.result) {
    case SCRIPT_ACCEPTED:
        outcome = WRITE_ACCEPTED;
        learn_stored(core, pending, event);
        break;
    case SCRIPT_DUPLICATE:
        outcome = WRITE_DUPLICATE;
        learn_stored(core, pending, event);
        break;
    case SCRIPT_CLEARED:
        outcome = WRITE_ACCEPTED;
        if (epoch_equal(&pending->epoch, &core->view.meta.epoch)) {
            proof_forget(core, "this pod cleared the store");
            core->view.meta.epoch = event->written.epoch;
            core->view.meta.cleared = event->written.seq;
            core->highest = event->written.seq;
            core->counters.epochs++;
            proof_doubt(core);
        }
        break;
    case SCRIPT_STALE:
        outcome = WRITE_STALE;
        learn_stored(core, pending, event);
        break;
    case SCRIPT_CONFLICT:
        outcome = WRITE_CONFLICT;
        learn_stored(core, pending, event);
        break;
    case SCRIPT_INDETERMINATE:
        outcome = WRITE_INDETERMINATE;
        learn_stored(core, pending, event);
        break;
    case SCRIPT_WRONG_EPOCH:
        proof_doubt(core);
        write_requeue(core, pending);
        return;
    case SCRIPT_EXPIRED:
        pending_refuse(core, pending, REASON_TIMEOUT);
        return;
    case SCRIPT_CORRUPT:
        text = "the stored record is unreadable and stays as it is; delete it in Redis";
        break;
    case SCRIPT_EXHAUSTED:
        text = "no version above the stored one is left";
        break;
    }
    effect = pending_done(core, pending, outcome);
    effect->write_done.version = event->written.version;
    effect->write_done.seq = event->written.seq;
    effect->write_done.epoch = event->written.result == SCRIPT_CLEARED ? event->written.epoch : pending->epoch;
    effect->write_done.text = slice_text(text);
}

void write_written(struct core *core, const struct core_event *event)
{
    struct request *request = request_find(core, event->written.id);
    struct pending_write *pending = (struct pending_write *)(void *)request;

    core->heard_at = core->now;
    if (!request || request->kind != REQUEST_WRITE)
        return;
    if (pending->probe)
        probe_written(core, event);
    switch (event->written.status) {
    case REPLY_OK:
        write_answered(core, pending, event);
        break;
    case REPLY_NOT_SENT:
        write_requeue(core, pending);
        break;
    case REPLY_DEFINITE:
        probe_doubt(core);
        pending_done(core, pending, WRITE_ERROR)->write_done.text = event->written.text;
        break;
    case REPLY_UNKNOWN:
        probe_doubt(core);
        /* It has been executed as far as it ever will be, so there is nothing to wait for. */
        pending_done(core, pending, WRITE_INDETERMINATE)->write_done.text = event->written.text;
        break;
    }
}
