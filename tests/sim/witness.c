#include "tests/sim/witness.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/redis/record.h"
#include "tests/sim/check.h"

static size_t record_key(const struct world *w, int key, char text[64])
{
    return (size_t)snprintf(text, 64, SIM_PREFIX "%s", w->keys[key]);
}

void witness_read_meta(const struct node *node, struct meta *ret_meta)
{
    static const char *const names[4] = {"epoch", "run", "seq", "cleared"};
    struct slice fields[4] = {{0}};

    for (int i = 0; i < 4; i++) {
        if (!server_get_field(node->server, world_now(node->world), 0, slice_text(SIM_META_KEY),
                              slice_text(names[i]), &fields[i]))
            fields[i] = slice_of(NULL, 0);
    }
    meta_decode(fields, ret_meta);
}

/* A record that is covered by a clear is absent; without a complete meta nothing is known to be cleared. */
static bool state_read(const struct node *node, uint64_t cleared, int key, struct truth_state *ret)
{
    struct world *w = node->world;
    struct record record;
    struct slice text;
    char name[64];
    bool replaced;

    *ret = (struct truth_state){.at = world_now(w), .kind = TRUTH_NONE, .content = -1};
    if (!server_get(node->server, ret->at, 0, slice_of(name, record_key(w, key, name)), &text) || text.len == 0)
        return true;
    if (record_decode(text, &record) != NULL)
        return false;
    if (record.seq <= cleared)
        return true;
    ret->kind = record.kind == RECORD_VALUE ? TRUTH_VALUE : TRUTH_TOMBSTONE;
    ret->version = record.version;
    ret->seq = record.seq;
    ret->expiry_ms = server_get_expiry_ms(node->server, 0, slice_of(name, record_key(w, key, name)));
    ret->content = record.kind == RECORD_VALUE ? world_content(w, record.value, &replaced) : -1;
    memcpy(ret->write_id, record.write_id, WRITE_ID_BYTES);
    return true;
}

bool witness_read_key(const struct node *node, int key, struct truth_state *ret_state)
{
    struct meta meta;

    witness_read_meta(node, &meta);
    return state_read(node, meta.cleared, key, ret_state);
}

static bool same_state(const struct truth_state *a, const struct truth_state *b)
{
    return a->kind == b->kind && (a->kind == TRUTH_NONE || (a->version == b->version && a->seq == b->seq));
}

/* Adds what is stored now, if it is something else. Returns the position of a new state, else -1. */
static int key_look(struct node *node, const struct meta *meta, int key)
{
    struct world *w = node->world;
    const struct truth_state *last = truth_last(&w->truth, node->epoch, key);
    struct truth_state s, none = {.at = world_now(w), .kind = TRUTH_NONE, .content = -1};

    if (!state_read(node, meta->cleared, key, &s))
        return -1; /* unreadable for everybody: what was there stays true until somebody removes it */
    if (last && same_state(last, &s))
        return -1;
    if (last && last->kind != TRUTH_NONE && last->expiry_ms && s.kind != TRUTH_NONE &&
        last->expiry_ms <= server_wall_us(node->server, s.at) / 1000)
        truth_add(&w->truth, node->epoch, key, &none); /* it had expired before it was written again */
    world_log(w, -1, key, "node%d epoch %d: %s version %" PRIu64 " seq %" PRIu64 " content %d", node->index,
              node->epoch,
              s.kind == TRUTH_VALUE       ? "value"
              : s.kind == TRUTH_TOMBSTONE ? "tombstone"
                                          : "nothing",
              s.version, s.seq, s.content);
    return truth_add(&w->truth, node->epoch, key, &s);
}

void witness_settle(struct world *w, int key)
{
    struct meta meta;

    for (int n = 0; n < 2; n++) {
        struct node *node = &w->nodes[n];
        const struct truth_state *last = node->epoch < 0 ? NULL : truth_last(&w->truth, node->epoch, key);

        /* A wall clock that went back brings back what had expired and was not removed yet. */
        if (!last || (!last->expiry_ms && !(w->clock_jumped && last->kind == TRUTH_NONE)))
            continue;
        witness_read_meta(node, &meta);
        key_look(node, &meta, key);
    }
}

static struct run_id node_run(const struct node *node)
{
    struct run_id server = {""}, history = {""};

    snprintf(server.text, sizeof(server.text), "%s", server_run_id(node->server));
    snprintf(history.text, sizeof(history.text), "%s", server_replid(node->server));
    return run_join(&server, &history);
}

static void epoch_end(struct node *node)
{
    struct truth_epoch *e;

    if (node->epoch < 0)
        return;
    e = &node->world->truth.epochs[node->epoch];
    e->ends = world_now(node->world);
    e->ended_by_role = server_is_running(node->server) && !server_is_master(node->server);
    node->epoch = -1;
}

static int epoch_find(struct node *node, const struct meta *meta)
{
    struct world *w = node->world;
    struct run_id run = node_run(node);
    int epoch = truth_find_epoch(&w->truth, &meta->epoch, &run);

    if (epoch >= 0 && !node->loading)
        return epoch;
    epoch = truth_begin_epoch(&w->truth, &meta->epoch, &run, world_now(w));
    w->truth.epochs[epoch].begins_at_seq = meta->seq;
    /* Not while the primary follows this one: its role flaps. */
    if (node->index != w->primary && server_master(w->nodes[w->primary].server) != node->server)
        w->truth.epochs[epoch].superseded = world_now(w);
    world_log(w, -1, -1, "node%d: epoch %d begins: id %.6s run %.6s seq %" PRIu64, node->index, epoch,
              meta->epoch.text[0] ? meta->epoch.text : "none", run.text, meta->seq);
    return epoch;
}

void witness_refresh(struct node *node)
{
    struct world *w = node->world;
    struct meta meta;
    int epoch;

    if (!server_is_running(node->server) || !server_is_master(node->server)) {
        epoch_end(node);
        return;
    }
    witness_read_meta(node, &meta);
    epoch = epoch_find(node, &meta);
    node->loading = false;
    w->truth.epochs[epoch].ends = NEVER;
    if (epoch == node->epoch) {
        if (meta.state == META_OK && meta.seq < node->seq_seen)
            w->truth.epochs[epoch].seq_went_back = true;
        node->seq_seen = meta.seq;
        return;
    }
    /* A clear goes on from the seq it finds. */
    if (node->epoch >= 0 && w->truth.epochs[node->epoch].set_back && meta.seq < SERVER_WALL_BASE_US)
        w->truth.epochs[epoch].set_back = true;
    epoch_end(node);
    node->epoch = epoch;
    node->seq_seen = meta.seq;
    for (int k = 0; k < SIM_KEYS; k++)
        key_look(node, &meta, k);
}

/* ACKDUR: no daemon removes a record that no clear covers. */
static void record_removed(struct node *node, int key, int position)
{
    struct world *w = node->world;
    const struct truth_state *was = position > 0 ? truth_at(&w->truth, node->epoch, key, position - 1) : NULL;

    if (!was || was->kind == TRUTH_NONE || !node->asked ||
        (was->expiry_ms && was->expiry_ms <= server_wall_us(node->server, world_now(w)) / 1000))
        return;
    world_violate(w, "ACKDUR", -1, key, "version %" PRIu64 " seq %" PRIu64 " was removed by a daemon",
                  was->version, was->seq);
}

static void record_changed(struct node *node, int key)
{
    struct world *w = node->world;
    struct meta meta;
    int position;

    if (node->epoch < 0)
        return;
    witness_read_meta(node, &meta);
    position = key_look(node, &meta, key);
    if (position < 0)
        return;
    if (truth_at(&w->truth, node->epoch, key, position)->kind == TRUTH_NONE) {
        if (meta.state == META_OK)
            record_removed(node, key, position);
        return;
    }
    w->statistics->commits++;
    if (meta.state != META_OK || strncmp(meta.run.text, server_run_id(node->server), RUN_HALF) != 0)
        world_violate(w, "LOSSVIS", -1, key, "a write was committed where no epoch of this process stands");
    check_commit(w, node->epoch, key, position);
}

void witness_changed(struct node *node, struct slice key)
{
    if (key.len == 0)
        node->loading = true;
    if (key.len == 0 || slice_equal(key, slice_text(SIM_META_KEY)))
        witness_refresh(node);
    else
        witness_passing(node, key);
}

void witness_passing(struct node *node, struct slice key)
{
    struct slice prefix = slice_text(SIM_PREFIX);
    int number;

    if (!slice_has_prefix(key, prefix))
        return;
    number = world_key(node->world, slice_of(key.data + prefix.len, key.len - prefix.len));
    if (number >= 0)
        record_changed(node, number);
}

void witness_check_durability(struct node *node, int epoch_before)
{
    struct world *w = node->world;

    if (epoch_before < 0 || node->epoch < 0)
        return;
    for (int k = 0; k < SIM_KEYS; k++) {
        const struct truth_line *line = &w->truth.epochs[epoch_before].lines[k];
        const struct truth_state *was = truth_last(&w->truth, epoch_before, k);
        const struct truth_state *is = truth_last(&w->truth, node->epoch, k);

        if (!was || was->kind == TRUTH_NONE || line->acks_count == 0 ||
            (was->expiry_ms && was->expiry_ms <= server_wall_us(node->server, world_now(w)) / 1000))
            continue;
        if (!is || is->kind == TRUTH_NONE ||
            is->seq < line->states[line->acks[line->acks_count - 1].strongest].seq)
            world_violate(w, "ACKDUR", -1, k, "version %" PRIu64 " seq %" PRIu64 " was acknowledged and is lost",
                          was->version, was->seq);
    }
}
