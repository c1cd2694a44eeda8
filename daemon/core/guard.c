/*
 * The replica guard (`[staleness] min_replicas`): does the server that a heartbeat asked still have its replicas?
 *
 * A network split can keep an old primary alive: it answers as before, and nothing that the new one commits is
 * known to it. So with every heartbeat an offset is made in its replication stream and N replicas have to
 * acknowledge it: at some moment after the heartbeat was started they followed this server. If every promotion
 * takes enough of them away that N cannot be left, no other primary existed at the start of that heartbeat.
 *
 * Happy path: the acknowledgements come, and as_of moves as far as both the subscription and the guard have
 * proven. What is fetched is proven as far as the guard has.
 *
 * Failure modes.
 *   Too few acknowledge      as_of stays; when the lease is over, reads wait for one more heartbeat and are
 * refused. No right to ask          the same, and the reason names what Redis said. The data link is lost nothing
 * is known of the server behind the next one.
 */
#include <stdio.h>

#include "daemon/core/machine.h"

static bool guard_on(const struct core *core)
{
    return core->config.min_replicas > 0;
}

uint64_t guard_limit(const struct core *core, uint64_t as_of)
{
    return guard_on(core) && core->guard.as_of < as_of ? core->guard.as_of : as_of;
}

bool guard_lets_wait(const struct core *core)
{
    return guard_on(core) && core->identity_ok;
}

const char *guard_text(const struct core *core)
{
    return core->guard.text;
}

enum core_reason guard_reason(const struct core *core)
{
    enum core_reason reason = proof_reason(core);

    if (reason == REASON_NONE && core->view.meta.state != META_OK)
        return REASON_NO_EPOCH;
    if (reason == REASON_NONE && guard_on(core) &&
        (core->guard.as_of == 0 || core->now - core->guard.as_of > core->config.bound_ns))
        return REASON_REPLICAS;
    return reason;
}

void guard_ask(struct core *core)
{
    core->guard.asked = guard_on(core);
    core->guard.id = core->heartbeat.id;
    core->guard.asked_at = core->heartbeat.asked_at;
}

void guard_forget(struct core *core)
{
    core->guard = (struct guard){0};
}

/* If a change of readiness will not say it. */
static void guard_note(struct core *core)
{
    struct core_effect *note = core->was_ready ? NULL : note_push(core, NOTE_NOT_READY);

    if (note)
        note->note.text = core->guard.sentence;
}

/* Redis answered with an error: that says nothing of the replicas. */
static const char not_asked_text[] =
    "[staleness] min_replicas cannot be checked; it needs PUBLISH on the pulse channel and WAIT, see dcached(8)";

void guard_answered(struct core *core, const struct core_event *event)
{
    struct guard *guard = &core->guard;
    char before[sizeof(guard->text)];

    if (!guard->asked || event->guard.id != guard->id)
        return;
    memcpy(before, guard->text, sizeof(before));
    guard->asked = false;
    guard->ended_at = guard->asked_at;
    core->heard_at = core->now;
    if (event->guard.status == REPLY_OK && event->guard.replicas >= core->config.min_replicas) {
        guard->as_of = guard->asked_at;
        guard->text[0] = '\0';
    } else if (event->guard.status == REPLY_OK) {
        core->counters.heartbeats_unguarded++;
        snprintf(guard->text, sizeof(guard->text), "%llu of %u replicas acknowledged",
                 (unsigned long long)event->guard.replicas, core->config.min_replicas);
    } else {
        core->counters.heartbeats_unguarded++;
        snprintf(
            guard->text, sizeof(guard->text), "%.*s",
            (int)(event->guard.text.len < sizeof(guard->text) ? event->guard.text.len : sizeof(guard->text) - 1),
            (const char *)event->guard.text.data);
    }
    if (guard->text[0] != '\0')
        snprintf(guard->sentence, sizeof(guard->sentence), "%s: %s", guard->text,
                 event->guard.status == REPLY_OK ? core_reason_text(REASON_REPLICAS) : not_asked_text);
    if (guard->text[0] != '\0' && strcmp(before, guard->text) != 0)
        guard_note(core);
    proof_part_ended(core);
}
