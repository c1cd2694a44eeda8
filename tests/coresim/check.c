/*
 * How a read is judged. Its answer has a position on the timeline of the epoch that the core was in when it
 * answered. Then, with every position p that had to be visible: position >= p.
 *
 *   MONO    p of every read of the pod that had returned before this one was invoked
 *   RYW     p of every write that this pod had acknowledged before; NORES if that was a delete
 *   FILL    p of every message that went into this core before its answer
 *   GAP0    p of every write acknowledged anywhere before as_of
 *   BOUND   p of every write acknowledged anywhere before t - D, t being the moment of the library's check
 *   STRONG  p of every write acknowledged anywhere before the read was invoked
 *
 * Positions rise with time even where versions start again after an expiry, so this is the promise and more.
 * Reads of an epoch that the truth does not know cannot be: LOSSVIS.
 */
#include "tests/coresim/check.h"

#include <inttypes.h>

#include "tests/coresim/pod.h"

#define CONVERGE_NS (2 * NS_PER_S)
#define HIT_NS      (100 * NS_PER_MS)
#define ROUND_TRIPS 12 /* connecting, INFO, SUBSCRIBE, heartbeat, fetch: what healing takes on the wire */
#define LATE_NS     (10 * NS_PER_MS)

/* ---- what was promised by then ------------------------------------------------------------------------------ */

/* The newest entry of this epoch that is older than `before`; NULL: none. */
static const struct seen *seen_find(const struct pod *pod, int key, int epoch, uint64_t before)
{
    for (int i = pod->seen_count[key] - 1; i >= 0; i--) {
        const struct seen *s = &pod->seen[key][i];

        if (s->epoch == epoch && s->at < before)
            return s;
    }
    return NULL;
}

void check_seen(struct world *w, struct pod *pod, int key, int epoch, int read_position, int own_position,
                bool own_is_delete)
{
    const struct seen *last = seen_find(pod, key, epoch, NEVER);
    struct seen s = {.at = w->now, .epoch = epoch, .read_position = -1, .own_position = -1};

    if (last) {
        s = *last;
        s.at = w->now;
    }
    if (read_position > s.read_position)
        s.read_position = read_position;
    if (own_position > s.own_position) {
        s.own_position = own_position;
        s.own_is_delete = own_is_delete;
    }
    pod->seen[key] = world_grow(pod->seen[key], pod->seen_count[key], &pod->seen_room[key], sizeof(s));
    pod->seen[key][pod->seen_count[key]++] = s;
}

void check_message(struct world *w, int pod, const struct published *m)
{
    struct pod *p = &w->pods[pod];
    struct core_status status;

    if (m->truth_epoch < 0 || m->position < 0 || w->truth.epochs[m->truth_epoch].seq_went_back)
        return;
    core_get_status(p->core, w->now, &status);
    if (!epoch_equal(&status.epoch, &m->epoch))
        return;
    if (p->told_epoch[m->key] == m->truth_epoch && p->told_position[m->key] >= m->position)
        return;
    p->told_epoch[m->key] = m->truth_epoch;
    p->told_position[m->key] = m->position;
    p->told_at[m->key] = w->now;
}

/* ---- the answer of the core --------------------------------------------------------------------------------- */

static void check_in_time(struct world *w, const struct op *op)
{
    const struct pod *p = &w->pods[op->pod];
    uint64_t latest = op->deadline > op->arrived_at ? op->deadline : op->arrived_at;

    latest = latest > p->resumed_at ? latest : p->resumed_at;
    if (op->answered_at > latest + LATE_NS)
        world_violate(w, "ANSWER", op->pod, op->key, "answered %.3f ms after its deadline",
                      (double)(op->answered_at - latest) / 1e6);
}

/* After the end of all faults: the first hit of this pod. */
static void check_hit(struct world *w, const struct op *op)
{
    struct pod *p = &w->pods[op->pod];
    struct core_counters counters;

    if (w->now < w->heal_at || p->hit_at != NEVER)
        return;
    core_get_counters(p->core, &counters);
    if (counters.hits > p->hits_known && (op->outcome == READ_FRESH || op->outcome == READ_LOCAL))
        p->hit_at = w->now;
    p->hits_known = counters.hits;
}

/* The core's own check, at the very moment of its answer; the library's comes later. */
static void check_lease(struct world *w, const struct op *op)
{
    bool proven = op->outcome == READ_FRESH || op->outcome == READ_ABSENT;

    if (proven && (op->as_of > w->now || w->now - op->as_of > w->bound_ns))
        world_violate(w, "BOUND", op->pod, op->key, "op %d: the core answers with a proof of %.6f",
                      (int)(op - w->ops), (double)op->as_of / 1e9);
    if (proven && op->strong && op->as_of < op->arrived_at)
        world_violate(w, "STRONG", op->pod, op->key, "op %d: the proof is older than the read",
                      (int)(op - w->ops));
}

void check_answer(struct world *w, int number)
{
    struct op *op = &w->ops[number];
    struct pod *p = &w->pods[op->pod];

    check_in_time(w, op);
    if (op->kind != CALL_GET)
        return;
    p->counted_reads++;
    p->counted_refused += op->outcome == READ_REFUSED;
    p->counted_errors += op->outcome == READ_ERROR;
    op->told_epoch = p->told_epoch[op->key];
    op->told_position = p->told_position[op->key];
    check_hit(w, op);
    check_lease(w, op);
}

/* ---- reads -------------------------------------------------------------------------------------------------- */

static int read_position(struct world *w, const struct op *op)
{
    bool value = op->content >= 0;

    for (int n = 0; n < 2; n++) {
        if (w->nodes[n].alive)
            node_expire(&w->nodes[n], w->now);
    }
    if (value)
        return truth_find_value(&w->truth, op->epoch, op->key, op->got_version, op->content);
    if (op->got_version)
        return truth_find_tombstone(&w->truth, op->epoch, op->key, op->got_version);
    return truth_find_absent(&w->truth, op->epoch, op->key);
}

static void require(struct world *w, const struct op *op, const char *promise, int position, int wanted)
{
    const struct truth_state *got, *want;

    if (wanted < 0 || position >= wanted)
        return;
    got = truth_at(&w->truth, op->epoch, op->key, position);
    want = truth_at(&w->truth, op->epoch, op->key, wanted);
    if (w->truth.epochs[op->epoch].records_ahead && got->seq > want->seq)
        return; /* seq was set back and the store cleared before a pod noticed: over with the next heartbeat */
    world_violate(w, promise, op->pod, op->key,
                  "op %d read %s version %" PRIu64 " seq %" PRIu64 ", had to see %s version %" PRIu64
                  " seq %" PRIu64 " of %.6f",
                  (int)(op - w->ops), got->kind == TRUTH_VALUE ? "value" : "absent", got->version, got->seq,
                  want->kind == TRUTH_VALUE ? "value" : "absent", want->version, want->seq,
                  (double)want->at / 1e9);
}

static void check_floor(struct world *w, const struct op *op, int position)
{
    const struct pod *p = &w->pods[op->pod];
    const struct seen *seen = seen_find(p, op->key, op->epoch, op->invoked_at);

    if (op->told_epoch == op->epoch)
        require(w, op, "FILL", position, op->told_position);
    if (!seen)
        return;
    require(w, op, seen->own_is_delete ? "NORES" : "RYW", position, seen->own_position);
    require(w, op, "MONO", position, seen->read_position);
}

static bool role_changed_after(const struct node *node, const struct truth_epoch *e)
{
    return e->ends != NEVER && node->role_at >= e->ends && strncmp(node->server.text, e->run.text, RUN_HALF) == 0;
}

/*
 * Nothing of an epoch that had ended before as_of. Role and replication history are only looked at with every
 * heartbeat: what a server that followed another one meanwhile has under the old epoch's name can be served so
 * long.
 */
static void check_epoch_lives(struct world *w, const struct op *op)
{
    const struct truth_epoch *e = &w->truth.epochs[op->epoch];
    uint64_t resumed_at = w->pods[op->pod].resumed_at;
    uint64_t seen_within = w->bound_ns / 4 + LATE_NS, until = e->ends;

    /* The answer to a heartbeat takes longer on a link that is slow or stalled, but not longer than D. */
    for (int i = 0; i < w->faults_count; i++) {
        if (w->faults[i].kind == FAULT_slow || w->faults[i].kind == FAULT_stall)
            seen_within = w->bound_ns / 4 + w->bound_ns;
    }
    for (int n = 0; n < 2; n++) {
        if (role_changed_after(&w->nodes[n], e))
            until = (w->nodes[n].role_at > resumed_at ? w->nodes[n].role_at : resumed_at) + seen_within;
    }
    if (until != NEVER && op->as_of > until)
        world_violate(w, "LOSSVIS", op->pod, op->key, "op %d is served from an epoch that ended %.6f before as_of",
                      (int)(op - w->ops), (double)(op->as_of - e->ends) / 1e9);
}

/* With the replica guard on: nothing is called fresh of a moment at which another server was the primary. */
static void check_guard(struct world *w, const struct op *op)
{
    const struct truth_epoch *e = &w->truth.epochs[op->epoch];

    if (w->pods[op->pod].config.min_replicas == 0 || (op->outcome != READ_FRESH && op->outcome != READ_ABSENT))
        return;
    for (int n = 0; n < 2; n++) {
        const struct node *node = &w->nodes[n];

        if (strncmp(node->server.text, e->run.text, RUN_HALF) == 0 && op->as_of > node->lost_at)
            world_violate(w, "GUARD", op->pod, op->key,
                          "op %d is called fresh %.6f after its server was no primary", (int)(op - w->ops),
                          (double)(op->as_of - node->lost_at) / 1e9);
    }
}

static void check_freshness(struct world *w, const struct op *op, int position)
{
    const struct truth *t = &w->truth;

    check_epoch_lives(w, op);
    require(w, op, "GAP0", position, truth_required(t, op->epoch, op->key, op->as_of));
    if (op->outcome == READ_STALE)
        return;
    require(w, op, "BOUND", position, truth_required(t, op->epoch, op->key, w->now - w->bound_ns));
    if (op->strong)
        require(w, op, "STRONG", position, truth_required(t, op->epoch, op->key, op->invoked_at));
}

/* A local value has to be what a set in this very pod brought. */
static bool was_set_here(const struct world *w, const struct op *read)
{
    for (int i = 0; i < w->ops_count; i++) {
        const struct op *o = &w->ops[i];

        if (o->kind == CALL_SET && o->pod == read->pod && o->key == read->key && o->content == read->content &&
            o->version == read->got_version)
            return true;
    }
    return false;
}

static void check_local(struct world *w, const struct op *op)
{
    if (w->pods[op->pod].config.may_write || op->strong || op->min_version)
        world_violate(w, "NOGARB", op->pod, op->key, "op %d: a local value where none may be", (int)(op - w->ops));
    else if (!was_set_here(w, op))
        world_violate(w, "NOGARB", op->pod, op->key, "op %d: a local value that is not this pod's",
                      (int)(op - w->ops));
}

static void check_wishes(struct world *w, const struct op *op)
{
    const struct op *o = op;

    if (!o->min_version)
        return;
    if (o->got_version < o->min_version)
        world_violate(w, "MINVERSION", o->pod, o->key, "op %d: %" PRIu64 " < %" PRIu64, (int)(o - w->ops),
                      o->got_version, o->min_version);
    if (o->min_epoch.text[0] && !epoch_equal(&o->min_epoch, &o->epoch_text))
        world_violate(w, "MINVERSION", o->pod, o->key, "op %d: min_version of another epoch", (int)(o - w->ops));
}

static void check_converged(struct world *w, const struct op *op)
{
    struct node *node = &w->nodes[w->primary];
    const struct stored *r = node_live_record(node, w->now, op->key);
    bool value = r && r->kind == TRUTH_VALUE;

    if (op->outcome == READ_LOCAL)
        return;
    if (!r && op->outcome == READ_FRESH)
        return; /* what expires or is evicted tells nobody; the timeline judges this read */
    if (op->outcome != READ_FRESH && op->outcome != READ_ABSENT)
        world_violate(w, "CONV", op->pod, op->key, "outcome %d reason %d after healing", op->outcome, op->reason);
    else if ((op->outcome == READ_FRESH) != value || (value && op->got_version != r->version))
        world_violate(w, "CONV", op->pod, op->key, "op %d read version %" PRIu64 ", Redis has %" PRIu64,
                      (int)(op - w->ops), op->outcome == READ_FRESH ? op->got_version : 0, value ? r->version : 0);
}

static void check_refused(struct world *w, const struct op *op)
{
    if (w->faults_count || op->reason == REASON_MIN_VERSION || op->reason == REASON_OTHER_EPOCH)
        return;
    world_violate(w, "AVAIL", op->pod, op->key, "op %d is refused without any fault: reason %d (%s)",
                  (int)(op - w->ops), op->reason, core_reason_text(op->reason));
}

/* The client library's own check: how old may the proof be when the answer is handed over? */
static bool library_drops(const struct world *w, const struct op *op)
{
    const struct pod *p = &w->pods[op->pod];
    uint64_t oldest = w->bound_ns;

    if (op->outcome == READ_STALE)
        oldest = p->config.max_stale_ns; /* the most that any call can be given */
    return op->outcome != READ_LOCAL && w->now - op->as_of > oldest;
}

/*
 * Asked of a server that was a master until just now: its pods learn it with their next heartbeat, and what it
 * copies from the new master until then is not of this epoch.
 */
static bool of_former_master(const struct world *w, const struct op *op)
{
    const struct truth_epoch *e = &w->truth.epochs[op->epoch];
    bool former = e->ended_by_role && op->answered_at > e->ends;

    for (int n = 0; n < 2; n++)
        former |= role_changed_after(&w->nodes[n], e) ||
                  (w->nodes[n].alive && !w->nodes[n].master && run_id_equal(&w->nodes[n].run, &e->run));
    return former;
}

bool check_read_return(struct world *w, int number)
{
    struct op *op = &w->ops[number];
    struct pod *p = &w->pods[op->pod];
    uint64_t permitted = op->max_stale_ns;
    int position;

    if (op->converging)
        check_converged(w, op);
    if (op->outcome == READ_REFUSED || op->outcome == READ_ERROR) {
        check_refused(w, op);
        return false;
    }
    if (library_drops(w, op)) {
        w->statistics->dropped_late++;
        return false;
    }
    if (op->content >= 0 && w->contents[op->content]->key != op->key)
        world_violate(w, "NOGARB", op->pod, op->key, "op %d: the payload of another key", number);
    if (op->outcome == READ_LOCAL) {
        check_local(w, op);
        return true;
    }
    if (p->config.stale_on_partition && permitted < p->config.max_stale_ns)
        permitted = p->config.max_stale_ns;
    if (op->outcome == READ_STALE && (op->age_ns > permitted || op->answered_at - op->as_of != op->age_ns))
        world_violate(w, "BOUND", op->pod, op->key, "op %d: staler than permitted", number);
    if (op->epoch < 0) {
        world_violate(w, "LOSSVIS", op->pod, op->key, "op %d is served without an epoch", number);
        return true;
    }
    check_guard(w, op);
    position = read_position(w, op);
    if (position < 0 && of_former_master(w, op)) {
        check_epoch_lives(w, op);
        return true;
    }
    if (position < 0) {
        world_violate(w, "LOSSVIS", op->pod, op->key,
                      "op %d: version %" PRIu64 " content %d never was in this epoch", number, op->got_version,
                      op->content);
        return true;
    }
    if (of_former_master(w, op)) {
        if (w->truth.epochs[op->epoch].ended_by_role)
            check_epoch_lives(w, op);
        return true;
    }
    check_floor(w, op, position);
    check_freshness(w, op, position);
    check_wishes(w, op);
    /* Nothing stored and no tombstone: the history had ended, and this read binds no later one. */
    if (op->content >= 0 || op->got_version)
        check_seen(w, p, op->key, op->epoch, position, -1, false);
    return true;
}

/* ---- whole pods --------------------------------------------------------------------------------------------- */

void check_ready(struct world *w, int unused, int also)
{
    (void)unused, (void)also;
    for (int i = 0; i < w->pods_count; i++) {
        if (!pod_ready(w, i))
            world_violate(w, "AVAIL", i, -1, "not ready after start-up");
    }
}

void check_pod_counters(struct world *w, int pod)
{
    struct pod *p = &w->pods[pod];
    struct core_counters c;

    core_get_counters(p->core, &c);
    w->statistics->hits += c.hits;
    w->statistics->refused += c.refused;
    if (c.reads != c.hits + c.misses + c.refused + c.errors || c.reads != p->counted_reads ||
        c.refused != p->counted_refused || c.errors != p->counted_errors)
        world_violate(w, "TRUTH", pod, -1,
                      "reads %" PRIu64 " hits %" PRIu64 " misses %" PRIu64 " refused %" PRIu64 " errors %" PRIu64
                      "; answers seen %" PRIu64 " refused %" PRIu64 " errors %" PRIu64,
                      c.reads, c.hits, c.misses, c.refused, c.errors, p->counted_reads, p->counted_refused,
                      p->counted_errors);
}

static void check_first_hit(struct world *w, int pod)
{
    const struct pod *p = &w->pods[pod];
    const struct node *node = &w->nodes[w->primary];
    uint64_t healed = w->heal_at;

    if (p->hit_at == 0 || node->epoch < 0)
        return;
    if (w->truth.epochs[node->epoch].begins > healed)
        healed = w->truth.epochs[node->epoch].begins;
    if (p->hit_at > healed + w->bound_ns / 4 + HIT_NS + ROUND_TRIPS * 2 * p->delay_ns + w->bound_ns / 32 + LATE_NS)
        world_violate(w, "AVAIL", pod, -1, "first hit %.3f ms after healing",
                      p->hit_at == NEVER ? -1.0 : (double)(p->hit_at - healed) / 1e6);
}

void check_end(struct world *w)
{
    for (int i = 0; i < w->ops_count; i++) {
        if (w->ops[i].state == OP_IN_CORE || w->ops[i].state == OP_ASKED)
            world_violate(w, "ANSWER", w->ops[i].pod, w->ops[i].key, "op %d was never answered", i);
    }
    for (int i = 0; i < w->pods_count; i++) {
        check_pod_counters(w, i);
        check_first_hit(w, i);
    }
}
