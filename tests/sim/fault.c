#include "tests/sim/fault.h"

#include "tests/sim/calls.h"
#include "tests/sim/node.h"
#include "tests/sim/tap.h"

const char *const fault_names[KIND_COUNT] = {
#define X(name, number, text) [KIND_##name] = number " " #name,
    FAULT_KINDS(X)
#undef X
};

static const struct fault_row *fault_row(enum fault_kind kind)
{
    if (fault_link_rows[kind].begin)
        return &fault_link_rows[kind];
    return fault_store_rows[kind].begin ? &fault_store_rows[kind] : &fault_process_rows[kind];
}

/* ---- drawing ------------------------------------------------------------------------------------------------ */

/* What is on its way comes later than the end of the fault. */
static bool fault_lingers(enum fault_kind kind)
{
    return kind == KIND_slow || kind == KIND_late_subscription || kind == KIND_late_data;
}

static void fault_draw_one(struct world *w, enum fault_kind kind)
{
    struct rng *r = &w->fault_rng;
    struct fault *f = &w->faults[w->faults_count++];
    uint64_t until = w->heal_at - (fault_lingers(kind) ? 2 * w->bound_ns : 0);

    *f = (struct fault){.world = w, .kind = kind, .pod = (int)rng_below(r, (uint64_t)w->pods_count)};
    f->link = (unsigned[]){OS_LINK_DATA, OS_LINK_SUBSCRIPTION, OS_LINK_REDIS}[rng_below(r, 3)];
    f->at = w->work_at + rng_below(r, (until - w->work_at) * 9 / 10);
    f->until = f->at;
    f->amount = rng_next(r) >> 8;
    if (!fault_row(kind)->end)
        return;
    f->until +=
        rng_chance(r, 500) ? rng_between(r, OS_MS, w->bound_ns) : rng_between(r, w->bound_ns / 4, w->bound_ns * 4);
    if (f->until > until)
        f->until = until;
}

/* Everything hits one pod at about one time, so that faults meet which else rarely would. */
static void fault_gather(struct world *w)
{
    struct rng *r = &w->fault_rng;
    const struct fault first = w->faults[0];

    for (int i = 1; i < w->faults_count; i++) {
        struct fault *f = &w->faults[i];
        uint64_t lasts = f->until - f->at, limit = w->heal_at - (fault_lingers(f->kind) ? 2 * w->bound_ns : 0);

        f->pod = first.pod;
        f->at = first.at + rng_below(r, w->bound_ns);
        f->at = f->at < limit ? f->at : limit;
        f->until = f->at + lasts < limit ? f->at + lasts : limit;
    }
}

/* Faults that show something only together, at one pod, and the tables and writes that help them. */
static const struct pairing {
    enum fault_kind kinds[2];
    bool tiny;       /* the pod's tables */
    bool invalidate; /* messages carry no values: the next read of a written key fetches */
} pairings[] = {
    {{KIND_drop, KIND_late_data},
     .invalidate = true}, /* what a slow fetch brings has been overtaken by what is lost */
    {{KIND_late_subscription, KIND_race}, .tiny = true}, /* messages far behind what fetches have shown */
    {{KIND_drop, KIND_race}},                            /* gaps that the next message shows */
    {{KIND_replay, KIND_drop}, .tiny = true},
};

static void fault_draw_pairing(struct world *w)
{
    /* The first one every other time: it needs the most luck. */
    uint64_t pick = rng_below(&w->fault_rng, 2 * sizeof(pairings) / sizeof(pairings[0]));
    const struct pairing *p = &pairings[pick < sizeof(pairings) / sizeof(pairings[0]) ? pick : 0];

    for (int i = 0; i < 4; i++)
        fault_draw_one(w, p->kinds[i % 2]);
    w->tiny_pod = p->tiny ? w->faults[0].pod : -1;
    w->keys_count = p->tiny ? 3 : 2;
    w->write_permille = 300;
    w->gap_ns /= p->invalidate ? 4 : 2;
    w->invalidate_permille = p->invalidate ? 900 : 100;
    fault_gather(w);
    for (int i = 0; i < w->faults_count; i++) {
        w->faults[i].until = w->heal_at - 2 * w->bound_ns;
        w->faults[i].amount %= w->bound_ns / 3; /* late by less than D: or nothing would be served */
    }
}

/* What the replica guard is for: an old primary that lives on, and reads that have to ask it. */
static void fault_draw_splits(struct world *w)
{
    w->invalidate_permille = 600;
    for (int i = 0; i < 3; i++)
        fault_draw_one(w, KIND_split_brain);
    if (rng_chance(&w->fault_rng, 500))
        fault_draw_one(w, (enum fault_kind)rng_below(&w->fault_rng, KIND_COUNT));
}

static void fault_draw_any(struct world *w)
{
    struct rng *r = &w->fault_rng;
    uint64_t kinds = rng_between(r, 2, 4);

    while (kinds-- > 0) {
        enum fault_kind kind = (enum fault_kind)rng_below(r, KIND_COUNT);
        uint64_t times = rng_between(r, 1, 3);

        while (times-- > 0 && w->faults_count < SIM_FAULTS)
            fault_draw_one(w, kind);
    }
    if (rng_chance(r, 400))
        fault_gather(w);
}

void fault_draw(struct world *w, uint32_t skip)
{
    if (rng_chance(&w->fault_rng, 100))
        return;
    if (w->guarded && rng_chance(&w->fault_rng, 700))
        fault_draw_splits(w);
    else if (rng_chance(&w->fault_rng, 180))
        fault_draw_pairing(w);
    else
        fault_draw_any(w);
    for (int i = 0; i < w->faults_count; i++) {
        struct fault *f = &w->faults[i];

        f->skipped = (skip & (1u << i)) != 0;
        if (f->kind == KIND_crowd && !f->skipped)
            w->crowd_pod = f->pod;
    }
}

const char *fault_text(const struct fault *f, char *text, size_t size)
{
    snprintf(text, size, "%s at %.6f until %.6f pod%d link %u amount %llu", fault_names[f->kind],
             (double)f->at / 1e9, (double)f->until / 1e9, f->pod, f->link, (unsigned long long)(f->amount % 1000));
    return text;
}

/* ---- begin and end ------------------------------------------------------------------------------------------ */

void fault_fired(struct fault *f)
{
    f->world->statistics->fired[f->kind]++;
}

void fault_again(struct fault *f, void (*fn)(void *fault), uint64_t most)
{
    uint64_t at = world_now(f->world) + rng_between(&f->world->fault_rng, OS_MS, most > OS_MS ? most : OS_MS);

    if (at < f->until)
        world_at(f->world, at, fn, f);
}

static void fault_end(void *arg)
{
    struct fault *f = arg;

    if (f->over)
        return;
    f->over = true;
    world_log(f->world, -1, -1, "fault %s ends", fault_names[f->kind]);
    fault_row(f->kind)->end(f);
}

static void fault_begin(void *arg)
{
    struct fault *f = arg;
    const struct fault_row *row = fault_row(f->kind);
    char text[160];

    world_log(f->world, -1, -1, "FAULT %s", fault_text(f, text, sizeof(text)));
    row->begin(f);
    if (row->end)
        world_at(f->world, f->until, fault_end, f);
    else
        f->over = true;
}

void fault_start(struct world *w)
{
    for (int i = 0; i < w->faults_count; i++) {
        struct fault *f = &w->faults[i];

        f->over = f->skipped;
        if (!f->skipped && f->kind != KIND_crowd)
            world_at(w, f->at, fault_begin, f);
    }
}

void fault_kill_daemon(struct pod *pod)
{
    os_process_kill(daemon_host_process(pod->host));
    tap_forget(pod);
}

void fault_kill_client(struct world *w, struct client_host *host)
{
    os_process_kill(client_host_process(host));
    calls_lost(w, host);
}

/* ---- no fault is left ----------------------------------------------------------------------------------------
 */

static void heal_servers(struct world *w)
{
    struct node *primary = &w->nodes[w->primary], *other = node_other(primary);

    for (int n = 0; n < 2; n++) {
        if (!server_is_running(w->nodes[n].server))
            node_start(&w->nodes[n]);
    }
    if (!server_is_master(primary->server))
        node_lead(primary);
    if (server_master(other->server) != primary->server)
        node_follow(other, primary);
    node_hold_replication(primary, false);
    node_hold_replication(other, false);
    node_point_at(primary);
}

void fault_heal(struct world *w)
{
    for (int i = 0; i < w->faults_count; i++) {
        if (w->faults[i].kind != KIND_crowd && fault_row(w->faults[i].kind)->end)
            fault_end(&w->faults[i]);
    }
    heal_servers(w);
    fault_repair_records(w);
    net_rules_remove_all(w->os);
    for (int i = 0; i < w->pods_count; i++) {
        struct pod *p = &w->pods[i];

        os_process_resume(daemon_host_process(p->host));
        os_process_start(daemon_host_process(p->host));
        for (int c = 0; c < SIM_CLIENTS; c++)
            os_process_resume(client_host_process(p->clients[c]));
    }
}
