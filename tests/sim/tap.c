#include "tests/sim/tap.h"

#include <stdio.h>

#include "tests/sim/check.h"

static struct world *tap_world;

int __real_core_new(struct core **ret, const struct core_config *config);
void __real_core_step(struct core *core, const struct core_event *event);
const struct core_effect *__real_core_next_effect(struct core *core);
void __real_core_count_refused(struct core *core, enum read_counted counted, enum core_reason reason);
int __wrap_core_new(struct core **ret, const struct core_config *config);
void __wrap_core_step(struct core *core, const struct core_event *event);
const struct core_effect *__wrap_core_next_effect(struct core *core);
void __wrap_core_count_refused(struct core *core, enum read_counted counted, enum core_reason reason);

void tap_set_world(struct world *w)
{
    tap_world = w;
}

void tap_forget(struct pod *pod)
{
    pod->core = NULL;
    pod->reads_count = 0;
    memset(pod->runs, 0, sizeof(pod->runs));
    pod->counted = (struct core_counters){0};
    pod->tally = (struct tally){0};
    pod->fetches_count = 0;
    pod->beat = (struct beat){.busy_since = NEVER};
    for (int k = 0; k < SIM_KEYS; k++)
        pod->told_epoch[k] = -1;
}

static struct pod *pod_of(const struct core *core)
{
    for (int i = 0; tap_world && i < tap_world->pods_count; i++) {
        if (tap_world->pods[i].core == core)
            return &tap_world->pods[i];
    }
    return NULL;
}

/* ---- the hook ----------------------------------------------------------------------------------------------- */

bool tap_hook_rejects(const struct pod *pod, int content)
{
    return pod->hooked && content % 5 == 0;
}

/* Rejects one payload in five and replaces another one, by its number. */
static enum hook_verdict tap_hook(void *ctx, struct slice key, struct slice value, uint64_t version,
                                  struct slice source, bool local, struct slice *ret_value)
{
    const struct pod *pod = ctx;
    const struct world *w = pod->world;
    bool replaced;
    int content = world_content(w, value, &replaced);

    (void)key, (void)version, (void)source, (void)local;
    if (content < 0 || content % 5 > 1)
        return HOOK_KEEP;
    if (tap_hook_rejects(pod, content))
        return HOOK_REJECT;
    *ret_value = slice_of(w->contents[content]->bytes, (size_t)w->contents[content]->len + 1);
    return HOOK_REPLACE;
}

int __wrap_core_new(struct core **ret, const struct core_config *config)
{
    struct core_config tiny = *config;
    struct pod *pod = NULL;
    int r;

    for (int i = 0; tap_world && i < tap_world->pods_count; i++) {
        if (daemon_host_process(tap_world->pods[i].host) == os_current())
            pod = &tap_world->pods[i];
    }
    if (!pod)
        return __real_core_new(ret, config);
    tiny.max_entries = pod->max_entries;
    tiny.max_floors = pod->max_floors;
    tiny.max_waiting = pod->max_waiting ? pod->max_waiting : config->max_waiting;
    tiny.max_in_flight = pod->max_in_flight ? pod->max_in_flight : config->max_in_flight;
    if (pod->hooked) {
        tiny.hook = tap_hook;
        tiny.hook_ctx = pod;
    }
    r = __real_core_new(ret, &tiny);
    tap_forget(pod);
    pod->core = *ret;
    pod->restored_at = world_now(pod->world);
    return r;
}

/* ---- in ----------------------------------------------------------------------------------------------------- */

static bool waited_for(const struct pod *pod, int key)
{
    for (int i = 0; i < pod->reads_count; i++) {
        if (pod->reads[i].key == key)
            return true;
    }
    return false;
}

static void tap_read(struct pod *pod, const struct core_event *event)
{
    const struct read_request *read = &event->read;
    int key = world_key(pod->world, read->key);

    if (key == SIM_CROWD_KEY && pod->number == pod->world->crowd_pod && !waited_for(pod, key))
        pod->world->crowd_firsts++;
    if (key < 0 || pod->reads_count == (int)(sizeof(pod->reads) / sizeof(pod->reads[0])))
        return;
    pod->reads[pod->reads_count++] = (struct core_read){
        .token = read->token, .arrived_at = world_now(pod->world), .key = key, .strong = read->strong};
}

static void tap_message(struct pod *pod, const struct core *core, const struct core_event *event)
{
    struct world *w = pod->world;
    const struct message *m = &event->message;
    struct core_status status;
    int key, epoch, position;

    key = m->kind == MESSAGE_RECORD ? world_key(w, m->key) : -1;
    if (key < 0)
        return;
    core_get_status(core, event->now, &status);
    epoch = truth_find_epoch(&w->truth, &status.epoch, &status.run);
    if (epoch < 0 || !epoch_equal(&status.epoch, &m->epoch))
        return;
    if (w->truth.epochs[epoch].seq_went_back) {
        world_exempt(w, EXEMPT_late);
        return;
    }
    position = truth_find_seq(&w->truth, epoch, key, m->record.seq);
    if (position < 0 || (pod->told_epoch[key] == epoch && pod->told_position[key] >= position))
        return;
    pod->told_epoch[key] = epoch;
    pod->told_position[key] = position;
    world_log(w, pod->number, key, "message: version %llu seq %llu", (unsigned long long)m->record.version,
              (unsigned long long)m->record.seq);
}

static struct core_fetch *fetch_find(struct pod *pod, uint64_t id)
{
    for (int i = 0; i < pod->fetches_count; i++) {
        if (pod->fetches[i].id == id)
            return &pod->fetches[i];
    }
    return NULL;
}

/* What a fetch has found, beside what is cached now: the same record is a confirmation. */
static void tap_fetched(struct pod *pod, const struct core *core, const struct core_event *event)
{
    struct core_fetch *f = fetch_find(pod, event->fetched.id);
    struct core_view view;

    pod->arrived = (struct core_fetch){.key = -1};
    if (!f)
        return;
    pod->arrived = *f;
    *f = pod->fetches[--pod->fetches_count];
    if (!pod->arrived.header_only || pod->arrived.key < 0 || event->fetched.result != FETCH_RECORD)
        return;
    core_view(core, event->now, slice_text(pod->world->keys[pod->arrived.key]), &view);
    pod->arrived.confirms = view.cached && !view.cached_local && view.cached_seq == event->fetched.record.seq;
}

/* Which server each connection ends on, as the core was told. */
static void tap_link(struct pod *pod, const struct core_event *event)
{
    if (event->type == EV_LINK_UP)
        pod->runs[event->link_up.link] = event->link_up.run;
    else
        pod->runs[event->link_down.link] = (struct run_id){""};
    if (event->link_up.link == LINK_DATA)
        pod->fetches_count = 0;
}

/* Heartbeats: what the core has heard of its server. Nothing else tells it of a role or of a history, and a server
 * that refuses one tells it nothing. */
static void tap_beat(struct pod *pod, const struct core_event *event)
{
    struct beat *b = &pod->beat;
    bool known = event->type == EV_IDENTITY && event->identity.status == REPLY_OK;
    bool more = known && pod->config.staleness.min_replicas > 0; /* EV_GUARD follows */

    if (known && event->identity.id == b->id)
        b->known_at = b->asked_at;
    if ((event->type == EV_IDENTITY && !more) || event->type == EV_GUARD || event->type == EV_PROPOSED ||
        ((event->type == EV_LINK_UP || event->type == EV_LINK_DOWN) && event->link_up.link == LINK_DATA)) {
        b->busy_since = NEVER;
        b->free_at = world_now(pod->world);
    }
}

static void tap_asked(struct pod *pod, const struct core_effect *fx)
{
    pod->beat.busy_since = world_now(pod->world);
    if (fx->type != FX_IDENTITY)
        return;
    pod->beat.id = fx->identity.id;
    pod->beat.asked_at = world_now(pod->world);
}

static void tap_event_log(const struct pod *pod, const struct core_event *event)
{
    struct world *w = pod->world;

    switch (event->type) {
    case EV_LINK_UP:
        world_log(w, pod->number, -1, "%s up, run %.6s%s",
                  event->link_up.link == LINK_DATA ? "data" : "subscription", event->link_up.run.text,
                  event->link_up.master ? "" : ", no master");
        break;
    case EV_LINK_DOWN:
        world_log(w, pod->number, -1, "%s down", event->link_down.link == LINK_DATA ? "data" : "subscription");
        break;
    case EV_SUBSCRIBED:
        world_log(w, pod->number, -1, "subscribed");
        break;
    case EV_PONG:
        world_log(w, pod->number, -1, "pong");
        break;
    case EV_IDENTITY:
        world_log(w, pod->number, -1, "identity: status %d epoch %.6s seq %llu %s", event->identity.status,
                  event->identity.meta.epoch.text, (unsigned long long)event->identity.meta.seq,
                  event->identity.master ? "" : "no master");
        break;
    case EV_FETCHED:
        world_log(w, pod->number, -1,
                  "fetched %llu: status %d result %d version %llu seq %llu, epoch %.6s seq %llu",
                  (unsigned long long)event->fetched.id, event->fetched.status, event->fetched.result,
                  (unsigned long long)event->fetched.record.version, (unsigned long long)event->fetched.record.seq,
                  event->fetched.meta.epoch.text, (unsigned long long)event->fetched.meta.seq);
        break;
    default:
        break;
    }
}

void __wrap_core_step(struct core *core, const struct core_event *event)
{
    struct pod *pod = os_dying() ? NULL : pod_of(core);

    if (!pod) {
        __real_core_step(core, event);
        return;
    }
    pod->world->statistics->events++;
    pod->stepped = event->type;
    pod->stepped_at = event->now;
    if (pod->world->logging)
        tap_event_log(pod, event);
    if (event->type == EV_READ)
        tap_read(pod, event);
    else if (event->type == EV_MESSAGE)
        tap_message(pod, core, event);
    else if (event->type == EV_FETCHED)
        tap_fetched(pod, core, event);
    else if (event->type == EV_LINK_UP || event->type == EV_LINK_DOWN)
        tap_link(pod, event);
    tap_beat(pod, event);
    __real_core_step(core, event);
}

/* F15: nothing is asked for while the two connections end on different servers. */
static void tap_request(struct pod *pod, const struct core_effect *fx)
{
    if (fx->type == FX_RESET && fx->reset.link == LINK_DATA)
        pod->fetches_count = 0;
    if (fx->type == FX_RESET)
        pod->runs[fx->reset.link] = (struct run_id){""};
    else if (pod->runs[0].text[0] && pod->runs[1].text[0] && !run_id_equal(&pod->runs[0], &pod->runs[1]))
        world_violate(pod->world, "GAP0", pod->number, -1, "asks Redis while its connections end on two servers");
}

static void tap_fetch(struct pod *pod, const struct core_effect *fx)
{
    struct core_fetch *f = fetch_find(pod, fx->fetch.id);

    if (!f && pod->fetches_count < (int)(sizeof(pod->fetches) / sizeof(pod->fetches[0])))
        f = &pod->fetches[pod->fetches_count++];
    if (f)
        *f = (struct core_fetch){.id = fx->fetch.id,
                                 .sent_at = pod->stepped_at,
                                 .key = world_key(pod->world, fx->fetch.key),
                                 .header_only = fx->fetch.header_only};
}

/* Which attempt goes to Redis: attempts of one write bear the same id. */
static void tap_write(struct pod *pod, const struct core_effect *fx)
{
    struct world *w = pod->world;

    for (int i = w->ops_count - 1; i >= 0; i--) {
        struct op *op = w->ops[i];

        if (op->state != OP_ASKED || op->pod != pod->number || op->retry != fx->write.request->retry ||
            memcmp(op->write_id, fx->write.request->write_id, WRITE_ID_BYTES) != 0)
            continue;
        op->sent = true;
        return;
    }
}

/* ---- out ---------------------------------------------------------------------------------------------------- */

/* Takes the read behind a token off the list; false: not one of ours. */
static bool read_take(struct pod *pod, uint64_t token, struct core_read *ret)
{
    for (int i = 0; i < pod->reads_count; i++) {
        if (pod->reads[i].token != token)
            continue;
        *ret = pod->reads[i];
        pod->reads[i] = pod->reads[--pod->reads_count];
        return true;
    }
    return false;
}

/*
 * TRUTH: how this answer has to be counted. An answer by what was fetched is of the moment it was sent, or of the
 * last one at which the replica guard held. Returns whether it is a hit for certain.
 */
static bool tap_count(struct pod *pod, const struct core_effect *fx, int key, uint64_t lease)
{
    const struct core_fetch *f = &pod->arrived;
    struct tally *tally = &pod->tally;
    uint64_t as_of = fx->read_done.as_of;
    bool guarded = pod->config.staleness.min_replicas > 0, fetched;

    if (fx->read_done.outcome > READ_LOCAL) {
        *(fx->read_done.outcome == READ_ERROR ? &tally->errors : &tally->refused) += 1;
        return false;
    }
    fetched = pod->stepped == EV_FETCHED && (f->key < 0 || key < 0 || key == f->key) &&
              fx->read_done.outcome <= READ_FRESH;
    if (fetched && f->key >= 0)
        fetched = as_of == f->sent_at || (guarded && as_of < f->sent_at);
    if (!fetched || f->confirms) {
        tally->hits++;
        return true;
    }
    *(f->key < 0 || key < 0 || as_of == lease ? &tally->either : &tally->misses) += 1;
    return false;
}

/* The epoch of the truth that the answer is of. */
static int answer_epoch(struct world *w, const struct core_status *status, int key, const struct core_answer *a)
{
    const struct truth *truth = &w->truth;
    int epoch = truth_find_epoch_at(truth, &status->epoch, &status->run, a->as_of);

    /* Without meta nothing tells a pod that the store was emptied between as_of and its answer. */
    if (epoch >= 0 && !status->epoch.text[0]) {
        int later = truth_find_epoch_at(truth, &status->epoch, &status->run, a->at);

        return check_position(w, later, key, a->content, a->version) >= 0 ? later : epoch;
    }
    /* What was committed under this name in another history, before the core could know of that, stays in its
     * cache for those who permit stale answers. */
    if (a->outcome == READ_STALE && epoch >= 0 && check_position(w, epoch, key, a->content, a->version) < 0) {
        for (int e = truth->count - 1; e >= 0; e--) {
            if (epoch_equal(&truth->epochs[e].id, &status->epoch) &&
                check_position(w, e, key, a->content, a->version) >= 0)
                return e;
        }
    }
    return epoch;
}

static void tap_answer(struct pod *pod, struct core *core, const struct core_effect *fx)
{
    struct world *w = pod->world;
    struct core_answer a = {
        .at = world_now(w),
        .outcome = fx->read_done.outcome,
        .version = fx->read_done.version,
        .content = -1,
    };
    struct core_status status;
    struct core_read read;
    bool replaced, hit;

    core_get_status(core, pod->stepped_at, &status);
    if (!read_take(pod, fx->read_done.token, &read)) {
        tap_count(pod, fx, -1, status.as_of);
        return;
    }
    hit = tap_count(pod, fx, read.key, status.as_of);
    a.unaware_until = check_unaware_until(w, pod, &status.run);
    a.as_of = os_process_from_boottime(daemon_host_process(pod->host), fx->read_done.as_of);
    a.arrived = pod->stepped == EV_FETCHED;
    a.told_epoch = pod->told_epoch[read.key];
    a.told_position = pod->told_position[read.key];
    if (fx->read_done.outcome <= READ_LOCAL && fx->read_done.outcome != READ_ABSENT)
        a.content = world_content(w, fx->read_done.value, &replaced);
    a.epoch = answer_epoch(w, &status, read.key, &a);
    world_log(w, pod->number, read.key, "core answers: outcome %d reason %d version %llu content %d as_of %.6f%s",
              (int)a.outcome, (int)fx->read_done.reason, (unsigned long long)a.version, a.content,
              (double)a.as_of / 1e9, hit ? " (hit)" : "");
    if (hit && pod->hit_at == NEVER && a.at >= w->heal_at && (a.outcome == READ_FRESH || a.outcome == READ_LOCAL))
        pod->hit_at = a.at;
    pod->answers[read.key] =
        world_grow(pod->answers[read.key], pod->answers_count[read.key], &pod->answers_room[read.key], sizeof(a));
    pod->answers[read.key][pod->answers_count[read.key]++] = a;
    check_core_answer(w, pod->number, &read, &a);
}

const struct core_effect *__wrap_core_next_effect(struct core *core)
{
    const struct core_effect *fx = __real_core_next_effect(core);
    struct pod *pod = os_dying() ? NULL : pod_of(core);

    if (!pod)
        return fx;
    if (fx && fx->type == FX_WRITE)
        tap_write(pod, fx);
    if (fx && fx->type == FX_FETCH)
        tap_fetch(pod, fx);
    if (!fx)
        check_core_counters(pod->world, pod, core);
    else if (fx->type == FX_READ_DONE)
        tap_answer(pod, core, fx);
    else if (fx->type == FX_RESET || fx->type == FX_SUBSCRIBE || fx->type == FX_FETCH || fx->type == FX_WRITE)
        tap_request(pod, fx);
    else if (fx->type == FX_IDENTITY || fx->type == FX_PROPOSE)
        tap_asked(pod, fx);
    else if (fx->type == FX_NOTE && pod->world->logging && fx->note.text)
        world_log(pod->world, pod->number, -1, "note: %s seq %llu (had %llu)", fx->note.text,
                  (unsigned long long)fx->note.seq, (unsigned long long)fx->note.current_seq);
    return fx;
}

/* An answer of the core that cannot be given is counted anew outside of its steps: what they are compared with
 * moves along. */
void __wrap_core_count_refused(struct core *core, enum read_counted counted, enum core_reason reason)
{
    struct pod *pod = os_dying() ? NULL : pod_of(core);
    struct core_counters before, after;

    core_get_counters(core, &before);
    __real_core_count_refused(core, counted, reason);
    core_get_counters(core, &after);
    if (!pod)
        return;
    pod->counted.reads += after.reads - before.reads;
    pod->counted.hits += after.hits - before.hits;
    pod->counted.misses += after.misses - before.misses;
    pod->counted.refused += after.refused - before.refused;
    pod->counted.errors += after.errors - before.errors;
    if (after.reads != after.hits + after.misses + after.refused + after.errors)
        world_violate(pod->world, "TRUTH", pod->number, -1, "an answer that was replaced is counted wrong");
}
