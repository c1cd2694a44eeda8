/*
 * The probe: before the first write of a client the rights of this pod are proven. A tombstone for a key of the
 * daemon's own goes through the real script, its message has to come back on the subscription, and the key has to
 * be readable. A reader pod proves the last alone.
 *
 * Happy path: once per start, when the first generation is current. A probe that failed is said, refuses writes,
 * and is tried again.
 *
 * Later, a write of a client that Redis refuses is the reason for another one: what it finds is said until one
 * passes again. It refuses nothing: each write is told by Redis itself.
 */
#include <stdio.h>

#include "daemon/core/machine.h"

#define PROBE_TIMEOUT_NS (2000 * NS_PER_MS) /* picked */
#define PROBE_RETRY_NS   (1000 * NS_PER_MS) /* picked */
/* A probe that fails half-way is a gap for every pod: the pauses double, up to 8 s, unless clients write anyway.
 * Picked.
 */
#define PROBE_RETRY_DOUBLINGS 3
#define PROBE_TTL_MS          60000

static void probe_note(struct core *core)
{
    struct core_effect *note = note_push(core, NOTE_WRITES);

    if (note)
        note->note.text = core->probe.text;
}

void probe_failed(struct core *core, const char *what, struct slice text)
{
    struct probe *probe = &core->probe;
    char before[sizeof(probe->text)];

    memcpy(before, probe->text, sizeof(before));
    probe->state = PROBE_FAILED;
    probe->retry_at = core->now + (PROBE_RETRY_NS << probe->doublings);
    if (!probe->proven && probe->doublings < PROBE_RETRY_DOUBLINGS)
        probe->doublings++;
    if (text.len > 0)
        snprintf(probe->text, sizeof(probe->text), "%s: %.*s", what, (int)(text.len < 160 ? text.len : 160),
                 (const char *)text.data);
    else
        snprintf(probe->text, sizeof(probe->text), "%s", what);
    if (strcmp(before, probe->text) != 0)
        probe_note(core);
}

void probe_lost(struct core *core)
{
    if (core->probe.state == PROBE_SENT)
        core->probe.state = PROBE_WANTED;
}

static void probe_check(struct core *core)
{
    struct probe *probe = &core->probe;

    if (probe->state != PROBE_SENT || !probe->readable ||
        (core->config.may_write && !(probe->written && probe->heard)))
        return;
    probe->state = PROBE_OK;
    probe->proven = true;
    probe->retry_at = core->now + PROBE_RETRY_NS;
    probe->doublings = 0;
    probe->text[0] = '\0';
    probe_note(core);
}

void probe_heard(struct core *core, const struct message *message)
{
    struct probe *probe = &core->probe;

    if (probe->state == PROBE_SENT && memcmp(message->record.write_id, probe->write_id, WRITE_ID_BYTES) == 0)
        probe->heard = true;
    probe_check(core);
}

void probe_inspected(struct core *core, bool ok, struct slice text)
{
    if (core->probe.state != PROBE_SENT)
        return;
    if (!ok) {
        probe_failed(core, "no right to read the store", text);
        return;
    }
    core->probe.readable = true;
    probe_check(core);
}

void probe_written(struct core *core, const struct core_event *event)
{
    struct probe *probe = &core->probe;

    if (event->written.status == REPLY_OK &&
        (event->written.result == SCRIPT_ACCEPTED || event->written.result == SCRIPT_DUPLICATE)) {
        probe->written = true;
        probe->heard_by = core->now + core->config.bound_ns;
    } else if (event->written.status == REPLY_OK)
        probe_failed(core, "the store did not take the probe of the write path", slice_of(NULL, 0));
    else
        probe_failed(core, "no right to write", event->written.text);
}

/* Unlike those of clients it needs no randomness: pod, moment and epoch tell it from every other. */
static void probe_identify(struct core *core)
{
    struct probe *probe = &core->probe;
    uint64_t mix = table_hash(core->table, slice_text(core->view.meta.epoch.text)) ^
                   table_hash(core->table, slice_text(core->config.source));

    memcpy(probe->write_id, &core->now, sizeof(core->now));
    memcpy(probe->write_id + sizeof(core->now), &mix, sizeof(mix));
    snprintf(probe->key, sizeof(probe->key), CORE_RESERVED_PREFIX "probe:%s", core->config.source);
}

static void probe_start(struct core *core)
{
    struct probe *probe = &core->probe;
    struct write_request write = {
        .op = OP_DELETE,
        .ttl_ms = PROBE_TTL_MS,
        .deadline = core->now + PROBE_TIMEOUT_NS,
    };

    probe->readable = probe->written = probe->heard = false;
    probe->state = PROBE_SENT;
    probe_identify(core);
    write.key = slice_text(probe->key);
    memcpy(write.write_id, probe->write_id, sizeof(write.write_id));
    inspect_start(core, 0, write.key, write.deadline, true);
    if (!core->config.may_write)
        return;
    if (!write_probe(core, &write))
        probe_failed(core, "out of memory", slice_of(NULL, 0));
}

bool probe_can_start(const struct core *core)
{
    return core->config.probe && core->subscription == SUBSCRIPTION_CURRENT && core->identity_ok &&
           (core->epoch_ok || !core->config.may_write);
}

void probe_doubt(struct core *core)
{
    if (core->probe.state == PROBE_OK && core->now >= core->probe.retry_at)
        core->probe.state = PROBE_WANTED;
}

bool probe_allows_writes(const struct core *core)
{
    return !core->config.probe || core->probe.proven;
}

bool probe_writes_ok(const struct core *core)
{
    return core->config.may_write && core->data.up && core->epoch_ok && probe_allows_writes(core) &&
           core->probe.state != PROBE_FAILED;
}

const char *probe_writes_text(const struct core *core)
{
    if (!core->config.may_write || core->probe.text[0])
        return core->probe.text;
    if (!core->data.up)
        return core_reason_text(REASON_NO_LINK);
    if (!core->epoch_ok)
        return core_reason_text(REASON_NO_EPOCH);
    if (!probe_allows_writes(core) && core->subscription != SUBSCRIPTION_CURRENT)
        return "the right to write is tried as soon as the subscription delivers";
    return "";
}

static bool is_message_due(const struct probe *probe)
{
    return probe->state == PROBE_SENT && probe->written && !probe->heard;
}

uint64_t probe_deadline(const struct core *core)
{
    const struct probe *probe = &core->probe;

    if (is_message_due(probe))
        return probe->heard_by;
    if (probe->state == PROBE_FAILED && probe_can_start(core))
        return probe->retry_at;
    return UINT64_MAX;
}

void probe_settle(struct core *core)
{
    struct probe *probe = &core->probe;

    probe_check(core);
    if (is_message_due(probe) && core->now >= probe->heard_by)
        probe_failed(core, "the message of the probe did not come back", slice_of(NULL, 0));
    if (!probe_can_start(core))
        return;
    if (probe->state == PROBE_WANTED || (probe->state == PROBE_FAILED && core->now >= probe->retry_at))
        probe_start(core);
}
