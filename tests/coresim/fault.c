/*
 * Two to four kinds of fault for a seed, each one to three times; the other kinds are left out. One seed in ten
 * has none. How often a kind really had an effect is counted; a kind without effect tests nothing.
 */
#include "tests/coresim/fault.h"

#include <stdio.h>

#include "tests/coresim/client.h"
#include "tests/coresim/net.h"
#include "tests/coresim/pod.h"

const char *const fault_names[FAULT_COUNT] = {
#define X(name) [FAULT_##name] = #name,
    FAULTS(X)
#undef X
};

static bool fault_lasts(enum fault_kind kind)
{
    switch (kind) {
    case FAULT_flush:
    case FAULT_del_meta:
    case FAULT_del_field:
    case FAULT_bad_meta:
    case FAULT_lower_seq:
    case FAULT_evict:
    case FAULT_half_script:
    case FAULT_clock_jump:
        return false;
    default:
        return true;
    }
}

static void fault_draw_one(struct world *w, enum fault_kind kind)
{
    struct rng *r = &w->fault_rng;
    struct fault *f = &w->faults[w->faults_count++];
    uint64_t room = w->heal_at - w->work_at;

    *f = (struct fault){.kind = kind, .pod = (int)rng_below(r, (uint64_t)w->pods_count)};
    f->links = (unsigned)rng_between(r, 1, 3);
    f->at = w->work_at + rng_below(r, room * 9 / 10);
    f->until = f->at;
    f->amount = rng_next(r);
    if (!fault_lasts(kind))
        return;
    f->until += rng_chance(r, 500) ? rng_between(r, NS_PER_MS, w->bound_ns)
                                   : rng_between(r, w->bound_ns / 4, w->bound_ns * 4);
    if (f->until > w->heal_at)
        f->until = w->heal_at;
}

/* Everything hits one pod at about one time, so that faults meet which else rarely would. */
static void fault_gather(struct world *w)
{
    struct rng *r = &w->fault_rng;
    const struct fault first = w->faults[0];

    for (int i = 1; i < w->faults_count; i++) {
        struct fault *f = &w->faults[i];
        uint64_t lasts = f->until - f->at;

        f->pod = first.pod;
        f->at = first.at + rng_below(r, w->bound_ns);
        f->at = f->at < w->heal_at ? f->at : w->heal_at;
        f->until = f->at + lasts < w->heal_at ? f->at + lasts : w->heal_at;
    }
}

void fault_draw(struct world *w, uint32_t skip)
{
    struct rng *r = &w->fault_rng;
    uint64_t kinds = rng_between(r, 2, 4);

    if (rng_chance(r, 100))
        return;
    while (kinds-- > 0) {
        enum fault_kind kind = (enum fault_kind)rng_below(r, FAULT_COUNT);
        uint64_t times = rng_between(r, 1, 3);

        while (times-- > 0 && w->faults_count < SIM_FAULTS)
            fault_draw_one(w, kind);
    }
    if (rng_chance(r, 400))
        fault_gather(w);
    for (int i = 0; i < w->faults_count; i++)
        w->faults[i].skipped = (skip & (1u << i)) != 0;
}

const char *fault_text(const struct fault *f, char *text, size_t size)
{
    snprintf(text, size, "%s at %.6f until %.6f pod%d links %u amount %llu", fault_names[f->kind],
             (double)f->at / 1e9, (double)f->until / 1e9, f->pod, f->links,
             (unsigned long long)(f->amount % 1000));
    return text;
}

/* ---- faults of the links and the daemons -------------------------------------------------------------------- */

static void fault_link(struct world *w, struct fault *f, int step)
{
    struct pod *p = &w->pods[f->pod];

    for (int link = 0; link < 2; link++) {
        if (!(f->links & (1u << link)))
            continue;
        if (f->kind == FAULT_slow)
            p->extra_ns[link] = step > 0 ? f->amount % (w->bound_ns * 2) + 1 : 0;
        else if (f->kind == FAULT_stall)
            p->stalled[link] += step;
        else if (f->kind == FAULT_split_links)
            p->target[link] = step > 0 ? 1 - w->primary : w->primary;
        else
            p->swallowing[link][f->kind == FAULT_mute ? TO_SERVER : TO_POD] += step;
    }
    if (f->kind == FAULT_split_links && step > 0)
        net_cut_pod(w, f->pod, 3);
    if (step < 0 && (f->kind == FAULT_deaf || f->kind == FAULT_mute))
        net_cut_damaged(w, f->pod);
    if (step < 0 && f->kind == FAULT_slow)
        net_hurry(w, f->pod);
    net_kick(w);
}

static void fault_daemon(struct world *w, struct fault *f, bool begin)
{
    if (f->kind == FAULT_pod_stop && begin)
        pod_stop(w, f->pod);
    else if (f->kind == FAULT_pod_stop)
        pod_resume(w, f->pod);
    else if (begin)
        pod_kill(w, f->pod);
    else
        pod_start(w, f->pod, 0);
}

/* ---- faults on the channel ---------------------------------------------------------------------------------- */

static void fault_replay(struct world *w, struct fault *f)
{
    int count = w->captured_count < 16 ? w->captured_count : 16;

    if (w->now >= f->until || !w->nodes[w->primary].alive)
        return;
    if (count > 0) {
        w->statistics->fired[FAULT_replay]++;
        server_publish(w, w->primary, &w->captured[rng_below(&w->fault_rng, (uint64_t)count)]);
    }
}

static void fault_garbage(struct world *w)
{
    struct rng *r = &w->fault_rng;
    struct published m = {.kind = MESSAGE_RECORD, .key = -2, .content = -1, .truth_epoch = -1, .position = -1};

    if (!w->nodes[w->primary].alive)
        return;
    w->statistics->fired[FAULT_garbage]++;
    if (rng_chance(r, 500) || !w->contents_count) {
        server_publish(w, w->primary, &m); /* unreadable */
        return;
    }
    m.key = (int)rng_below(r, (uint64_t)w->keys_count);
    m.kind = rng_chance(r, 200) ? MESSAGE_CLEAR : MESSAGE_RECORD;
    m.record_kind = rng_chance(r, 500) ? RECORD_TOMBSTONE : RECORD_BARE;
    m.version = rng_between(r, 1, VERSION_MAX);
    m.seq = w->nodes[w->primary].data.seq + rng_below(r, 5);
    snprintf(m.epoch.text, sizeof(m.epoch.text), "%032llx", (unsigned long long)rng_next(r));
    server_publish(w, w->primary, &m);
}

/* Once more, at some time before the fault ends. */
static void fault_again(struct world *w, int fault, int unused)
{
    struct fault *f = &w->faults[fault];

    (void)unused;
    if (w->now >= f->until)
        return;
    if (f->kind == FAULT_replay)
        fault_replay(w, f);
    else if (f->kind == FAULT_garbage)
        fault_garbage(w);
    else
        net_cut_pod(w, f->pod, f->links);
    if (f->kind == FAULT_cut)
        w->statistics->fired[FAULT_cut]++;
    world_at(w, w->now + rng_between(&w->fault_rng, NS_PER_MS, w->bound_ns / 2), fault_again, fault, 0);
}

/* ---- faults of the servers ---------------------------------------------------------------------------------- */

static void fault_point_pods_at(struct world *w, int node, unsigned except)
{
    for (int i = 0; i < w->pods_count; i++) {
        if (!(except & (1u << i)))
            w->pods[i].target[0] = w->pods[i].target[1] = node;
    }
}

/* The other node becomes the master, with what had reached it. */
static void fault_failover(struct world *w, struct fault *f)
{
    struct node *old = &w->nodes[w->primary], *new = &w->nodes[1 - w->primary];

    f->node = w->primary;
    if (!new->alive)
        node_start(new, w->now, false);
    node_set_master(new, w->now, false); /* to get the data it has followed the other one */
    if (old->alive && f->kind == FAULT_failover)
        node_set_master(old, w->now, false);
    new->data = old->replicated;
    new->saved = new->replicated = new->data;
    node_set_master(new, w->now, true);
    w->captured_count = 0; /* messages of what was lost would be forged ones now */
    w->primary = new->index;
    old->follows = new->index;
    old->lost_at = w->now;
    new->lost_at = NEVER;
    fault_point_pods_at(w, w->primary, f->kind == FAULT_split_brain ? (unsigned)f->amount : 0);
    w->statistics->fired[f->kind]++;
}

/* Whoever is not the primary is its replica again. */
static void fault_failover_end(struct world *w, const struct fault *f)
{
    struct node *old = &w->nodes[f->node];

    fault_point_pods_at(w, w->primary, 0);
    if (f->node == w->primary || !old->alive)
        return;
    node_set_master(old, w->now, false);
    old->follows = w->primary;
    old->data = w->nodes[w->primary].data;
}

static void fault_kill(struct world *w, struct fault *f)
{
    f->node = w->primary;
    if (!w->nodes[f->node].alive)
        return;
    w->statistics->fired[f->kind]++;
    node_stop(&w->nodes[f->node], w->now);
    net_cut_node(w, f->node);
}

static void fault_kill_end(struct world *w, const struct fault *f)
{
    struct node *node = &w->nodes[f->node];

    if (node->alive)
        return;
    if (f->kind == FAULT_server_loss) {
        node->data = node->saved;
        w->captured_count = 0;
    }
    if (f->node != w->primary)
        node->data = w->nodes[w->primary].data;
    node->follows = w->primary;
    node_start(node, w->now, f->node == w->primary);
}

static void fault_meta(struct world *w, const struct fault *f)
{
    struct node *node = &w->nodes[w->primary];
    struct dataset *d = &node->data;

    if (!d->has_epoch)
        return;
    w->statistics->fired[f->kind]++;
    switch (f->kind) {
    case FAULT_flush:
        node_flush(node, w->now);
        return;
    case FAULT_del_meta:
        d->has_epoch = d->has_run = d->has_seq = d->has_cleared = d->malformed = false;
        break;
    case FAULT_del_field:
        *(bool *[]){&d->has_epoch, &d->has_run, &d->has_seq, &d->has_cleared}[f->amount % 4] = false;
        break;
    case FAULT_bad_meta:
        d->malformed = true;
        break;
    default:
        d->seq = f->amount % 1000 + 1;
        d->cleared = d->cleared < d->seq ? d->cleared : d->seq;
        if (node->epoch >= 0)
            w->truth.epochs[node->epoch].seq_went_back = true;
        break;
    }
    node_refresh(node, w->now);
}

static void fault_records(struct world *w, const struct fault *f)
{
    struct node *node = &w->nodes[w->primary];

    for (int k = 0; k < w->keys_count; k++) {
        const struct stored *r = node_live_record(node, w->now, k);

        if (!r || !(f->amount >> k & 1))
            continue;
        if (f->kind == FAULT_evict)
            node_evict(node, w->now, k);
        else
            node->data.records[k].corrupt = true;
        w->statistics->fired[f->kind]++;
    }
}

/* Somebody repairs what is unreadable by deleting it. */
static void fault_records_end(struct world *w)
{
    for (int n = 0; n < 2; n++) {
        for (int k = 0; k < w->keys_count; k++) {
            if (w->nodes[n].data.records[k].corrupt)
                node_evict(&w->nodes[n], w->now, k);
            if (w->nodes[n].saved.records[k].corrupt)
                w->nodes[n].saved.records[k] = (struct stored){.kind = TRUTH_NONE};
            if (w->nodes[n].replicated.records[k].corrupt)
                w->nodes[n].replicated.records[k] = (struct stored){.kind = TRUTH_NONE};
        }
    }
}

static void fault_server(struct world *w, struct fault *f)
{
    struct node *node = &w->nodes[w->primary];

    f->node = w->primary;
    switch (f->kind) {
    case FAULT_server_pause:
        node->paused_until = f->until;
        w->statistics->fired[f->kind]++;
        break;
    case FAULT_rollback:
        /* A copy of its own past: the same epoch and run in meta, a lower seq, in the same process. */
        node->data = node->replicated;
        w->captured_count = 0;
        /* fall through */
    case FAULT_role_flap:
        node_set_master(node, w->now, false);
        node->follows = -1;
        w->statistics->fired[f->kind]++;
        break;
    case FAULT_half_script:
        node->failing_scripts = (int)(f->amount % 3) + 1;
        break;
    case FAULT_refuse_writes:
        node->refuses_writes = true;
        break;
    case FAULT_refuse_reads:
        node->refuses_reads = true;
        break;
    default: /* clock_jump: up to 2 D in either direction */
        node->clock_us +=
            (int64_t)(f->amount % (4 * w->bound_ns / NS_PER_US)) - (int64_t)(2 * w->bound_ns / NS_PER_US);
        w->clock_jumped = true;
        w->statistics->fired[f->kind]++;
        break;
    }
}

static void fault_server_end(struct world *w, const struct fault *f)
{
    struct node *node = &w->nodes[f->node];

    if ((f->kind == FAULT_role_flap || f->kind == FAULT_rollback) && node->alive && f->node == w->primary)
        node_set_master(node, w->now, true);
    node->refuses_writes = node->refuses_reads = false;
    net_kick(w);
}

/* ---- begin and end ------------------------------------------------------------------------------------------ */

static void fault_begin(struct world *w, int fault, int unused)
{
    struct fault *f = &w->faults[fault];
    struct pod *p = &w->pods[f->pod];
    char text[160];

    (void)unused;
    world_log(w, -1, -1, "FAULT %s", fault_text(f, text, sizeof(text)));
    switch (f->kind) {
    case FAULT_slow:
    case FAULT_stall:
    case FAULT_deaf:
    case FAULT_mute:
    case FAULT_split_links:
        w->statistics->fired[f->kind]++;
        fault_link(w, f, 1);
        return;
    case FAULT_pod_stop:
    case FAULT_pod_restart:
        w->statistics->fired[f->kind] += p->running && !p->stopped;
        fault_daemon(w, f, true);
        return;
    case FAULT_drop:
        p->drop_permille = (unsigned)(f->amount % 700) + 100;
        return;
    case FAULT_repeat:
        p->repeat_permille = (unsigned)(f->amount % 700) + 100;
        return;
    case FAULT_cut:
    case FAULT_replay:
    case FAULT_garbage:
        fault_again(w, fault, 0);
        return;
    case FAULT_server_kill:
    case FAULT_server_loss:
        fault_kill(w, f);
        return;
    case FAULT_failover:
    case FAULT_split_brain:
        fault_failover(w, f);
        return;
    case FAULT_flush:
    case FAULT_del_meta:
    case FAULT_del_field:
    case FAULT_bad_meta:
    case FAULT_lower_seq:
        fault_meta(w, f);
        return;
    case FAULT_evict:
    case FAULT_corrupt:
        fault_records(w, f);
        return;
    default:
        fault_server(w, f);
        return;
    }
}

static void fault_end(struct world *w, int fault, int unused)
{
    struct fault *f = &w->faults[fault];

    (void)unused;
    world_log(w, -1, -1, "fault %s ends", fault_names[f->kind]);
    switch (f->kind) {
    case FAULT_slow:
    case FAULT_stall:
    case FAULT_deaf:
    case FAULT_mute:
    case FAULT_split_links:
        fault_link(w, f, -1);
        return;
    case FAULT_pod_stop:
    case FAULT_pod_restart:
        fault_daemon(w, f, false);
        return;
    case FAULT_drop:
        w->pods[f->pod].drop_permille = 0;
        return;
    case FAULT_repeat:
        w->pods[f->pod].repeat_permille = 0;
        return;
    case FAULT_server_kill:
    case FAULT_server_loss:
        fault_kill_end(w, f);
        return;
    case FAULT_failover:
    case FAULT_split_brain:
        fault_failover_end(w, f);
        return;
    case FAULT_corrupt:
        fault_records_end(w);
        return;
    case FAULT_server_pause:
    case FAULT_role_flap:
    case FAULT_rollback:
    case FAULT_refuse_writes:
    case FAULT_refuse_reads:
        fault_server_end(w, f);
        return;
    default:
        return;
    }
}

void fault_start(struct world *w)
{
    for (int i = 0; i < w->faults_count; i++) {
        if (w->faults[i].skipped)
            continue;
        world_at(w, w->faults[i].at, fault_begin, i, 0);
        world_at(w, w->faults[i].until, fault_end, i, 0);
    }
}
