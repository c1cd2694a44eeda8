/* F11 to F14, F16 to F19 of the servers: processes, roles, and what is stored. */
#include "tests/sim/fault.h"
#include "tests/sim/node.h"
#include "tests/sim/witness.h"

static struct node *primary_of(const struct fault *f)
{
    return &f->world->nodes[f->world->primary];
}

static bool running(const struct node *node)
{
    return server_is_running(node->server);
}

/* From here on the primary does not do, or not at once, what it is asked for. */
static void hinder_begin(struct fault *f)
{
    f->node = primary_of(f)->index;
    f->hindered = server_hindered(primary_of(f)->server);
}

/* It had an effect if somebody asked. */
static void hinder_end(struct fault *f)
{
    if (server_hindered(f->world->nodes[f->node].server) > f->hindered)
        fault_fired(f);
}

/* ---- F11 -----------------------------------------------------------------------------------------------------
 */

static void pause_begin(struct fault *f)
{
    hinder_begin(f);
    node_pause(primary_of(f), f->until);
}

/* ---- F12, F13 ------------------------------------------------------------------------------------------------
 */

static void crash_now(void *arg)
{
    struct fault *f = arg;
    struct node *node = &f->world->nodes[f->node];

    if (f->over || !running(node))
        return;
    fault_fired(f);
    node->killed_epoch = f->kind == KIND_crash ? node->epoch : -1;
    node_kill(node);
    if (f->kind == KIND_empty)
        server_wipe_disk(node->server);
}

static void crash_begin(struct fault *f)
{
    struct node *node = primary_of(f);

    f->node = node->index;
    if (running(node) && (f->amount & 1))
        server_save(node->server, world_now(f->world));
    world_at(f->world, f->at + (f->until - f->at) / 2, crash_now, f);
}

/* Faults overlap: the one that ends first starts the process, whichever killed it. Only the data at its last kill
 * is what this start has to find, and only if its disk was left alone. */
static void crash_end(struct fault *f)
{
    struct world *w = f->world;
    struct node *node = &w->nodes[f->node];

    if (running(node))
        return;
    w->captured_count = 0; /* messages of what was lost would be forged ones */
    node_start(node);
    if (w->persistence == PERSIST_AOF_ALWAYS)
        witness_check_durability(node, node->killed_epoch);
}

/* ---- F14, roles ----------------------------------------------------------------------------------------------
 */

/* Some pods stay with the old primary. */
static void split_pods(struct fault *f, struct node *old)
{
    struct world *w = f->world;

    w->split = true;
    for (int i = 0; i < w->pods_count; i++) {
        struct net_rule rule = {.process = daemon_host_process(w->pods[i].host),
                                .link = OS_LINK_ANY,
                                .direction = NET_BOTH,
                                .redirect = old->net};

        if (f->amount >> i & 1)
            f->rules[i] = net_rule_add(w->os, &rule);
    }
}

static void failover_now(void *arg)
{
    struct fault *f = arg;
    struct world *w = f->world;
    struct node *old = primary_of(f), *new = node_other(old);

    if (f->over || !running(new) || server_is_master(new->server))
        return;
    fault_fired(f);
    f->node = old->index;
    if (f->kind == KIND_clean_failover)
        node_replicate(new);
    w->captured_count = 0; /* messages of what was lost would be forged ones */
    w->primary = new->index;
    node_lead(new);
    if (f->kind == KIND_split_brain)
        split_pods(f, old);
    else if (running(old))
        node_follow(old, new);
    node_point_at(new);
}

static void failover_begin(struct fault *f)
{
    f->node = -1;
    if (f->kind != KIND_clean_failover)
        node_hold_replication(node_other(primary_of(f)), true);
    world_at(f->world, f->at + (f->until - f->at) / 2, failover_now, f);
}

/* Whoever is not the primary is its replica again. */
static void failover_end(struct fault *f)
{
    struct world *w = f->world;
    struct node *primary = primary_of(f), *other = node_other(primary);

    for (int i = 0; i < SIM_PODS; i++) {
        if (f->rules[i])
            net_rule_remove(f->rules[i]);
    }
    node_hold_replication(&w->nodes[0], false);
    node_hold_replication(&w->nodes[1], false);
    if (!running(primary) || !running(other) || server_master(other->server) == primary->server)
        return;
    node_follow(other, primary);
    node_replicate(other);
}

/* The primary becomes a replica of its stale replica, copies it, and is the primary again. */
static void rollback_now(void *arg)
{
    struct fault *f = arg;
    struct node *node = primary_of(f), *other = node_other(node);

    if (f->over || !running(node) || !running(other) || server_is_master(other->server) ||
        !server_is_master(node->server))
        return;
    fault_fired(f);
    f->world->captured_count = 0;
    node_lead(other);
    node_follow(node, other);
    node_replicate(node);
    node_lead(node);
    node_follow(other, node);
}

static void rollback_begin(struct fault *f)
{
    node_hold_replication(node_other(primary_of(f)), true);
    world_at(f->world, f->at + (f->until - f->at) / 2, rollback_now, f);
}

static void role_flap_begin(struct fault *f)
{
    struct node *node = primary_of(f);

    f->node = node->index;
    if (!running(node) || !server_is_master(node->server))
        return;
    fault_fired(f);
    node_hold_replication(node, true); /* it copies nothing meanwhile */
    node_follow(node, node_other(node));
}

static void role_flap_end(struct fault *f)
{
    struct node *node = &f->world->nodes[f->node];

    server_set_fault(node->server, FAULT_MASTERDOWN, false);
    if (running(node) && f->node == f->world->primary && !server_is_master(node->server)) {
        node_lead(node);
        node_follow(node_other(node), node);
    }
    node_hold_replication(node, false);
}

/* ---- errors --------------------------------------------------------------------------------------------------
 */

static enum server_fault error_of(const struct fault *f)
{
    if (f->kind == KIND_busy)
        return FAULT_BUSY;
    return f->kind == KIND_oom
               ? FAULT_OOM
               : (enum server_fault[]){FAULT_MISCONF, FAULT_LOADING, FAULT_NOREPLICAS}[f->amount % 3];
}

static void error_begin(struct fault *f)
{
    struct node *node = primary_of(f);

    hinder_begin(f);
    if (f->kind == KIND_error_replies && f->amount % 4 == 0) {
        role_flap_begin(f);
        server_break_link(node->server, world_now(f->world));
        server_set_fault(node->server, FAULT_MASTERDOWN, true);
        return;
    }
    server_set_fault(node->server, error_of(f), true);
}

static void error_end(struct fault *f)
{
    if (f->kind == KIND_error_replies && f->amount % 4 == 0) {
        role_flap_end(f);
        return;
    }
    hinder_end(f);
    server_set_fault(f->world->nodes[f->node].server, error_of(f), false);
}

static void rights_begin(struct fault *f)
{
    static const char *const rules[] = {
        "-info", "-getrange",  "-get",      "-hmget", "-time", "-evalsha -eval",     "-hset",
        "-set",  "-subscribe", "resetkeys", "-@all",  "off",   "resetkeys ~nothing", "-ping",
    };
    static const char *const half[] = {"-publish", "resetchannels", "-publish -hset"};
    struct node *node = primary_of(f);

    hinder_begin(f);
    if (f->kind == KIND_half_script)
        node_set_user(node, half[f->amount % 3]);
    else
        node_set_user(node, rules[f->amount % (sizeof(rules) / sizeof(rules[0]))]);
}

static void rights_end(struct fault *f)
{
    hinder_end(f);
    node_set_user(&f->world->nodes[f->node], "on allkeys allchannels +@all");
}

static void password_begin(struct fault *f)
{
    struct node *node = primary_of(f);

    f->node = node->index;
    node_set_user(node, "resetpass >second");
    if (node_kill_clients(node, -1, f->link) > 0)
        fault_fired(f);
}

static void password_end(struct fault *f)
{
    node_set_user(&f->world->nodes[f->node], "resetpass >first");
}

static void max_clients_begin(struct fault *f)
{
    struct node *node = primary_of(f);

    f->node = node->index;
    server_set_max_clients(node->server, 0);
    if (node_kill_clients(node, f->amount & 1 ? -1 : f->pod, f->link) > 0)
        fault_fired(f);
}

static void max_clients_end(struct fault *f)
{
    server_set_max_clients(f->world->nodes[f->node].server, 10000);
}

/* Up to 2 D in either direction. */
static void server_clock_begin(struct fault *f)
{
    struct world *w = f->world;
    uint64_t range = 4 * w->bound_ns / OS_US;
    int64_t us = (int64_t)(f->amount % range) - (int64_t)(range / 2);
    uint64_t far = (uint64_t)(us < 0 ? -us : us) * OS_US,
             *farthest = us < 0 ? &w->clock_behind_ns : &w->clock_ahead_ns;

    w->clock_jumped = true;
    *farthest = far > *farthest ? far : *farthest;
    server_set_clock_us(primary_of(f)->server, us);
    for (int k = 0; k < SIM_KEYS; k++)
        witness_settle(w, k); /* what it brings back may expire again before anybody asks */
    if (running(primary_of(f)))
        fault_fired(f);
}

/* ---- F16 -----------------------------------------------------------------------------------------------------
 */

static void meta_set(struct fault *f, const char *field, const char *value)
{
    struct slice argv[] = {slice_text("HSET"), slice_text(SIM_META_KEY), slice_text(field), slice_text(value)};

    node_command(primary_of(f), 4, argv);
}

static void lower_seq(struct fault *f)
{
    char seq[24];

    snprintf(seq, sizeof(seq), "%llu", (unsigned long long)(f->amount % 1000 + 1));
    meta_set(f, "cleared", "0");
    meta_set(f, "seq", seq);
    if (primary_of(f)->epoch >= 0)
        f->world->truth.epochs[primary_of(f)->epoch].set_back = true;
}

static void meta_begin(struct fault *f)
{
    static const char *const fields[] = {"epoch", "run", "seq", "cleared"};
    struct node *node = primary_of(f);
    uint64_t now = world_now(f->world);
    struct meta meta;

    if (!running(node) || !server_is_master(node->server))
        return;
    witness_read_meta(node, &meta);
    if (meta.state == META_MISSING)
        return;
    fault_fired(f);
    if (f->kind == KIND_flush)
        server_flush_all(node->server, now);
    else if (f->kind == KIND_del_meta)
        server_delete(node->server, now, 0, slice_text(SIM_META_KEY));
    else if (f->kind == KIND_del_field)
        server_delete_field(node->server, now, 0, slice_text(SIM_META_KEY), slice_text(fields[f->amount % 4]));
    else if (f->kind == KIND_bad_meta)
        meta_set(f, fields[f->amount % 4], "no such thing");
    else
        lower_seq(f);
}

static void flush_between_begin(struct fault *f)
{
    f->node = primary_of(f)->index;
    primary_of(f)->between = true;
}

static void flush_between_end(struct fault *f)
{
    f->world->nodes[f->node].between = false;
}

static void script_flush_begin(struct fault *f)
{
    if (!running(primary_of(f)))
        return;
    server_flush_scripts(primary_of(f)->server);
    fault_fired(f);
}

static void evict_begin(struct fault *f)
{
    struct node *node = primary_of(f);
    struct slice prefix = slice_text(f->amount % 4 ? SIM_PREFIX "key" : "dc:{0}");

    if (!running(node) || !server_is_master(node->server))
        return;
    for (unsigned i = 0; i < f->amount / 4 % 3 + 1; i++) {
        if (server_evict(node->server, world_now(f->world), 0, prefix, f->amount / 16 + i))
            fault_fired(f);
    }
}

/* ---- records nobody can read ---------------------------------------------------------------------------------
 */

static size_t record_name(const struct world *w, int key, char text[64])
{
    return (size_t)snprintf(text, 64, SIM_PREFIX "%s", w->keys[key]);
}

static void corrupt_begin(struct fault *f)
{
    struct world *w = f->world;
    struct truth_state s;
    char name[64];

    for (int k = 0; k < w->keys_count; k++) {
        struct slice argv[] = {slice_text("SETRANGE"), slice_of(name, record_name(w, k, name)),
                               slice_text((const char *[]){"0", "3", "60", "105"}[f->amount / 64 % 4]),
                               slice_text("x")};

        if (!(f->amount >> k & 1) || !running(primary_of(f)) || !witness_read_key(primary_of(f), k, &s) ||
            s.kind == TRUTH_NONE)
            continue;
        node_command(primary_of(f), 4, argv);
        fault_fired(f);
    }
}

void fault_repair_records(struct world *w)
{
    struct node *node = &w->nodes[w->primary];
    struct truth_state s;
    char name[64];

    if (!running(node) || !server_is_master(node->server))
        return;
    for (int k = 0; k < w->keys_count; k++) {
        if (!witness_read_key(node, k, &s))
            server_delete(node->server, world_now(w), 0, slice_of(name, record_name(w, k, name)));
    }
}

static void corrupt_end(struct fault *f)
{
    fault_repair_records(f->world);
}

const struct fault_row fault_store_rows[KIND_COUNT] = {
    [KIND_pause] = {pause_begin, hinder_end},
    [KIND_busy] = {error_begin, error_end},
    [KIND_crash] = {crash_begin, crash_end},
    [KIND_empty] = {crash_begin, crash_end},
    [KIND_failover] = {failover_begin, failover_end},
    [KIND_clean_failover] = {failover_begin, failover_end},
    [KIND_split_brain] = {failover_begin, failover_end},
    [KIND_rollback] = {rollback_begin, failover_end},
    [KIND_role_flap] = {role_flap_begin, role_flap_end},
    [KIND_error_replies] = {error_begin, error_end},
    [KIND_oom] = {error_begin, error_end},
    [KIND_rights] = {rights_begin, rights_end},
    [KIND_half_script] = {rights_begin, rights_end},
    [KIND_password] = {password_begin, password_end},
    [KIND_max_clients] = {max_clients_begin, max_clients_end},
    [KIND_server_clock] = {server_clock_begin, NULL},
    [KIND_flush] = {meta_begin, NULL},
    [KIND_flush_between] = {flush_between_begin, flush_between_end},
    [KIND_del_meta] = {meta_begin, NULL},
    [KIND_del_field] = {meta_begin, NULL},
    [KIND_bad_meta] = {meta_begin, NULL},
    [KIND_lower_seq] = {meta_begin, NULL},
    [KIND_script_flush] = {script_flush_begin, NULL},
    [KIND_evict] = {evict_begin, NULL},
    [KIND_corrupt] = {corrupt_begin, corrupt_end},
};
