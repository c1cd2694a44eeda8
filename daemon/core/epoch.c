/*
 * Epochs: whether what a heartbeat read is still the history that the pod knows, and the end of one.
 *
 * Happy path: meta and run are those of the view, and seq has not gone back.
 *
 * Otherwise the known epoch has ended. A pod that may write proposes a new id by a script that compares meta with
 * what this pod saw, so of N pods that notice one succeeds; whatever the answer, meta is read again and what it
 * says then is adopted. A pod that may not write, or whose proposal was refused, adopts meta as it is.
 */
#include <stdio.h>

#include "daemon/core/machine.h"

#define PROPOSE_RETRY_NS (1000 * NS_PER_MS) /* after a refusal this pod acts like a reader for so long; picked */

void proof_forget(struct core *core, const char *why)
{
    proof_generation_begin(core);
    core->epoch_first_generation = core->generation;
    stale_detector_reset(core->floors);
    core->as_of = 0;
    core->last = 0;
    core->ahead = 0;
    core->highest = 0;
    core->run_first = core->run_last = 0;
    core->heartbeat.missed = 0;
    core->heartbeat.proven = 0;
    /* A PONG that is still to come belongs to what ended. */
    core->heartbeat.pinged = false;
    if (core->subscription == SUBSCRIPTION_CURRENT)
        core->subscription = SUBSCRIPTION_STARTING;
    snprintf(core->epoch_why, sizeof(core->epoch_why), "%s", why);
    core->epoch_at = core->now;
    trace_event(core, TRACE_EPOCH, .seq = core->view.meta.seq);
}

/* What this pod knows to be cleared, unless this is the meta of another history (a restore, a failover). */
static uint64_t least_cleared(const struct core *core, const struct meta *meta)
{
    bool same = meta->state != META_OK || epoch_equal(&core->view.meta.epoch, &meta->epoch);

    return core->view.adopted && same ? core->view.meta.cleared : 0;
}

static void adopt(struct core *core, const struct meta *meta, const struct run_id *run, const char *why)
{
    proof_forget(core, why);
    core->view = (struct store_view){.adopted = true, .meta = *meta, .run = *run};
    core->highest = meta->seq;
    core->counters.epochs++;

    struct core_effect *note = note_push(core, NOTE_EPOCH);
    if (note) {
        note->note.seq = meta->seq;
        note->note.text = core->epoch_why;
    }
}

/* A clear begins an epoch: within one, `cleared` stays. */
static bool same_store(const struct store_view *view, const struct meta *meta)
{
    return view->adopted && view->meta.state == meta->state && epoch_equal(&view->meta.epoch, &meta->epoch) &&
           run_id_equal(&view->meta.run, &meta->run) && view->meta.cleared == meta->cleared;
}

static bool meta_matches(const struct core *core, const struct meta *meta, uint64_t highest)
{
    /* A meta that is not valid counts nothing, while records of before it are still read. */
    return same_store(&core->view, meta) && (meta->state != META_OK || meta->seq >= highest);
}

bool proof_fetch_matches(const struct core *core, const struct core_event *event, uint64_t highest)
{
    return meta_matches(core, &event->fetched.meta, highest) &&
           meta_matches(core, &event->fetched.closing, event->fetched.meta.seq);
}

enum fetch_result proof_fetch_found(const struct core_event *event)
{
    if (event->fetched.result == FETCH_RECORD && event->fetched.record.seq <= event->fetched.meta.cleared)
        return FETCH_ABSENT;
    return event->fetched.result;
}

void proof_doubt(struct core *core)
{
    core->identity_ok = false;
    core->heartbeat.wanted = true;
}

static const char *run_changed(const struct store_view *view, const struct run_id *run)
{
    if (strncmp(view->run.text, run->text, RUN_HALF) == 0)
        return "the replication history of Redis changed: it has followed another server, or lost its backlog";
    return "Redis restarted, or another server answers (its run id changed)";
}

/* Why what was read is not the epoch that was known; NULL if it is. */
static const char *epoch_changed(const struct core *core, const struct meta *meta, const struct run_id *run)
{
    const struct store_view *view = &core->view;

    if (!view->adopted)
        return "first contact with the store";
    if (!run_id_equal(&view->run, run))
        return run_changed(view, run);
    if (!same_store(view, meta))
        return meta->state == META_MISSING   ? "meta is gone: the store was flushed or its meta deleted"
               : meta->state == META_INVALID ? "meta is unreadable"
                                             : "another pod set it, or the store was cleared";
    if (meta->state == META_OK && meta->seq < core->heartbeat.highest)
        return "seq went back: the store lost writes (restore or failover to a stale replica)";
    return NULL;
}

/* Whether writes can be committed under this meta on this server. */
static bool meta_usable(const struct core *core, const struct meta *meta, const struct run_id *run)
{
    bool known = core->view.adopted && epoch_equal(&core->view.meta.epoch, &meta->epoch);

    return meta->state == META_OK && run_id_equal(&meta->run, run) &&
           !(known && (meta->seq < core->heartbeat.highest || meta->cleared != core->view.meta.cleared));
}

static const char *proposal_reason(const struct core *core, const struct meta *meta, const struct run_id *run)
{
    if (meta->state == META_MISSING)
        return core->view.adopted ? "meta is gone: the store was flushed or its meta deleted" : "the store is new";
    if (meta->state == META_INVALID)
        return "meta is unreadable";
    if (core->view.adopted && !run_id_equal(&core->view.run, run))
        return run_changed(&core->view, run);
    if (!run_id_equal(&meta->run, run))
        return "Redis restarted or failed over: meta stands on another run id";
    if (meta->seq < core->heartbeat.highest)
        return "seq went back: the store lost writes (restore or failover to a stale replica)";
    return "what was cleared in this epoch has changed: meta was written past dcached";
}

static void propose(struct core *core, const struct meta *meta, const struct run_id *run)
{
    struct core_effect *effect = effect_push(core, FX_PROPOSE);
    uint64_t highest = core->highest;

    snprintf(core->proposal_why, sizeof(core->proposal_why), "%s", proposal_reason(core, meta, run));
    /* The known epoch is over, whoever sets the next one: nothing of it is served from here on. */
    if (core->view.adopted)
        proof_forget(core, core->proposal_why);
    core->highest = highest;
    effect->propose.seen = *meta;
    effect->propose.run = *run;
    effect->propose.min_seq = core->highest;
    effect->propose.min_cleared = least_cleared(core, meta);
    core->proposing = true;
    core->identity_ok = false;
    if (!core->view.adopted)
        core->view.meta.state = meta->state;
}

bool proof_epoch_read(struct core *core, const struct meta *meta, const struct run_id *run)
{
    const char *why;

    core->epoch_ok = meta_usable(core, meta, run);
    if (!core->epoch_ok && core->config.may_write && core->now >= core->propose_retry_at) {
        propose(core, meta, run);
        return false;
    }
    why = epoch_changed(core, meta, run);
    if (why) {
        adopt(core, meta, run, core->proposal_why[0] ? core->proposal_why : why);
        core->proposal_why[0] = '\0';
    }
    core->view.meta.seq = meta->seq;
    if (meta->seq > core->highest)
        core->highest = meta->seq;
    return true;
}

void proof_proposed(struct core *core, const struct core_event *event)
{
    core->heard_at = core->now;
    core->proposing = false;
    core->heartbeat.wanted = true;
    core->heartbeat.due = core->now;
    if (event->proposed.status == REPLY_OK || event->proposed.status == REPLY_NOT_SENT)
        return;
    core->propose_retry_at = core->now + PROPOSE_RETRY_NS;
    probe_failed(core, "a new epoch could not be set", event->proposed.text);
}
