#include "tests/coresim/store.h"

#include <stdio.h>

#define STORE_BEGIN_US UINT64_C(1700000000000000) /* store time at virtual time 0; any date will do */

/* Persistence and replication are behind by a random number of changes. */
#define SAVE_PERMILLE      300
#define REPLICATE_PERMILLE 400

/* The truth of the epoch in force learns what is stored now. */
static void node_tell_states(struct node *node, uint64_t now)
{
    node_expire(node, now);
    for (int k = 0; k < SIM_KEYS; k++) {
        const struct truth_line *line = &node->truth->epochs[node->epoch].lines[k];
        const struct truth_state *last = line->states_count ? &line->states[line->states_count - 1] : NULL;
        const struct stored *r = node_live_record(node, now, k);
        struct truth_state s = {.at = now, .kind = TRUTH_NONE, .content = -1};

        if (r)
            s = (struct truth_state){now, r->kind, r->version, r->seq, r->content};
        if (!last && r && r->seq > node->data.seq)
            node->truth->epochs[node->epoch].records_ahead = true;
        if (!last || last->kind != s.kind || last->version != s.version || last->seq != s.seq)
            truth_add(node->truth, node->epoch, k, s);
    }
}

void node_refresh(struct node *node, uint64_t now)
{
    struct meta meta;
    int epoch = -1;

    node_read_meta(node, &meta);
    if (node->alive && node->master) {
        epoch = truth_find_epoch(node->truth, &meta.epoch, &node->run);
        if (epoch < 0)
            epoch = truth_begin_epoch(node->truth, &meta.epoch, &node->run, now);
    }
    if (node->epoch >= 0 && epoch != node->epoch) {
        struct truth_epoch *old = &node->truth->epochs[node->epoch];

        old->ends = now;
        old->ended_by_role = node->alive && !node->master;
    }
    node->epoch = epoch;
    if (epoch < 0)
        return;
    node->truth->epochs[epoch].ends = NEVER;
    node_tell_states(node, now);
}

static void node_changed(struct node *node)
{
    if (rng_chance(&node->rng, SAVE_PERMILLE))
        node->saved = node->data;
    if (rng_chance(&node->rng, REPLICATE_PERMILLE))
        node->replicated = node->data;
}

void node_init(struct node *node, int index, struct truth *truth, uint64_t seed)
{
    *node = (struct node){.index = index,
                          .epoch = -1,
                          .follows = 0,
                          .lost_at = index == 0 ? NEVER : 0,
                          .truth = truth,
                          .clock_us = STORE_BEGIN_US};
    node->rng = rng_stream(seed, 100 + (uint64_t)index);
    for (int k = 0; k < SIM_KEYS; k++)
        node->data.records[k].kind = TRUTH_NONE;
    node->saved = node->data;
    node->replicated = node->data;
}

static struct run_id node_draw_id(struct node *node)
{
    struct run_id id;

    snprintf(id.text, sizeof(id.text), "%016llx%020d%04d", (unsigned long long)rng_next(&node->rng), node->process,
             node->index);
    return id;
}

static void node_begin_history(struct node *node)
{
    node->history = node_draw_id(node);
    node->run = run_join(&node->server, &node->history);
}

void node_start(struct node *node, uint64_t now, bool master)
{
    node->process++;
    node->server = node_draw_id(node);
    node_begin_history(node);
    node->alive = true;
    node->master = master;
    node->paused_until = 0;
    node_refresh(node, now);
}

void node_stop(struct node *node, uint64_t now)
{
    node->alive = false;
    node_refresh(node, now);
}

void node_set_master(struct node *node, uint64_t now, bool master)
{
    if (master && !node->master)
        node_begin_history(node);
    if (master != node->master)
        node->role_at = now;
    node->master = master;
    node_refresh(node, now);
}

uint64_t node_time_us(const struct node *node, uint64_t now)
{
    return now / NS_PER_US + (uint64_t)node->clock_us;
}

void node_read_meta(const struct node *node, struct meta *ret_meta)
{
    const struct dataset *d = &node->data;

    *ret_meta = (struct meta){.state = META_OK};
    if (d->has_epoch)
        ret_meta->epoch = d->epoch;
    if (d->has_run)
        ret_meta->run = d->run;
    if (!d->has_epoch || !d->has_run || !d->has_seq || !d->has_cleared) {
        ret_meta->state = META_MISSING;
    } else if (d->malformed) {
        ret_meta->state = META_INVALID;
    } else {
        ret_meta->seq = d->seq;
        ret_meta->cleared = d->cleared;
    }
}

/* What is above this can be seen; without a complete meta nothing is known to be cleared. */
static uint64_t node_cleared(const struct node *node)
{
    struct meta meta;

    node_read_meta(node, &meta);
    return meta.cleared;
}

/* Nothing is stored any more; if readers could see it, the truth says so. */
static void node_vanish(struct node *node, uint64_t now, int key)
{
    struct stored *r = &node->data.records[key];
    bool seen = r->kind != TRUTH_NONE && r->seq > node_cleared(node);
    struct meta meta;
    int epoch;

    *r = (struct stored){.kind = TRUTH_NONE};
    node_read_meta(node, &meta);
    epoch = truth_find_epoch(node->truth, &meta.epoch, &node->run); /* a demoted master has readers for a while */
    if (seen && epoch >= 0)
        truth_add(node->truth, epoch, key, (struct truth_state){.at = now, .kind = TRUTH_NONE, .content = -1});
}

void node_expire(struct node *node, uint64_t now)
{
    uint64_t ms = node_time_us(node, now) / 1000;

    for (int k = 0; k < SIM_KEYS; k++) {
        const struct stored *r = &node->data.records[k];

        if (r->kind != TRUTH_NONE && r->expiry_ms && r->expiry_ms <= ms)
            node_vanish(node, now, k);
    }
}

const struct stored *node_read_record(struct node *node, uint64_t now, int key)
{
    node_expire(node, now);
    return node->data.records[key].kind == TRUTH_NONE ? NULL : &node->data.records[key];
}

const struct stored *node_live_record(struct node *node, uint64_t now, int key)
{
    const struct stored *r = node_read_record(node, now, key);

    return r && r->seq > node_cleared(node) ? r : NULL;
}

void node_sweep(struct node *node, uint64_t now)
{
    for (int k = 0; k < SIM_KEYS; k++) {
        if (node->data.records[k].kind != TRUTH_NONE && node->data.records[k].seq <= node_cleared(node))
            node_vanish(node, now, k);
    }
}

void node_evict(struct node *node, uint64_t now, int key)
{
    node_expire(node, now);
    node_vanish(node, now, key);
}

void node_flush(struct node *node, uint64_t now)
{
    struct dataset empty = {0};

    /* Who read meta just before and the record just after sees an epoch in which nothing is stored. */
    for (int k = 0; k < SIM_KEYS; k++) {
        node_vanish(node, now, k);
        empty.records[k].kind = TRUTH_NONE;
    }
    node_load(node, now, &empty);
}

void node_load(struct node *node, uint64_t now, const struct dataset *data)
{
    node->data = *data;
    node_refresh(node, now);
}

void node_propose(struct node *node, uint64_t now, const struct meta *seen, struct epoch id, struct run_id run,
                  uint64_t min_seq, struct store_answer *ret_answer)
{
    struct dataset *d = &node->data;
    struct meta meta;
    uint64_t us = node_time_us(node, now);

    *ret_answer = (struct store_answer){.status = REPLY_OK};
    if (!node->master || node->refuses_writes) {
        *ret_answer = (struct store_answer){.status = REPLY_DEFINITE, .text = "READONLY or refused"};
        return;
    }
    node_read_meta(node, &meta);
    if (!epoch_equal(&meta.epoch, &seen->epoch) || !run_id_equal(&meta.run, &seen->run))
        return; /* somebody else was first */
    node_expire(node, now);
    d->seq = d->has_seq && !d->malformed ? d->seq : 0;
    d->cleared = d->has_cleared && !d->malformed ? d->cleared : 0;
    d->seq = d->seq > min_seq ? d->seq : min_seq;
    d->seq = d->seq > us ? d->seq : us;
    d->epoch = id;
    d->run = run;
    d->has_epoch = d->has_run = d->has_seq = d->has_cleared = true;
    d->malformed = false;
    node_refresh(node, now);
    node_changed(node);
}

/* The decision of the write script; nothing is changed. Accepted: ret_answer->version is the one to store. */
static void node_compare(const struct node *node, const struct stored *old, const struct store_write *w,
                         struct store_answer *ret_answer)
{
    uint64_t next_seq = node->data.seq + 1;

    ret_answer->result = SCRIPT_ACCEPTED;
    if (!old) {
        ret_answer->version = w->version ? w->version : next_seq;
        return;
    }
    ret_answer->version = old->version;
    ret_answer->seq = old->seq;
    ret_answer->timestamp_ns = old->timestamp_ns;
    if (old->corrupt) {
        ret_answer->result = SCRIPT_CORRUPT;
        return;
    }
    if (memcmp(old->write_id, w->write_id, WRITE_ID_BYTES) == 0) {
        ret_answer->result = SCRIPT_DUPLICATE;
        return;
    }
    if (!w->version) {
        uint64_t version = old->version + 1 > next_seq ? old->version + 1 : next_seq;

        if (w->retry)
            ret_answer->result = SCRIPT_INDETERMINATE;
        else if (old->version >= VERSION_MAX)
            ret_answer->result = SCRIPT_EXHAUSTED;
        else
            ret_answer->version = version;
        return;
    }
    if (w->version < old->version) {
        ret_answer->result = w->retry ? SCRIPT_INDETERMINATE : SCRIPT_STALE;
    } else if (w->version == old->version) {
        bool same = w->op == OP_DELETE ? old->kind == TRUTH_TOMBSTONE
                                       : old->kind == TRUTH_VALUE && old->content == w->content;

        ret_answer->result = same ? SCRIPT_DUPLICATE : SCRIPT_CONFLICT;
    } else {
        ret_answer->version = w->version;
    }
}

static bool node_clear(struct node *node, uint64_t now, const struct store_write *w,
                       struct store_answer *ret_answer, struct published *ret_message)
{
    node->data.cleared = node->data.seq;
    node->data.epoch = w->new_epoch;
    node_refresh(node, now);
    node_changed(node);
    ret_answer->result = SCRIPT_CLEARED;
    ret_answer->epoch = w->new_epoch;
    ret_answer->seq = node->data.seq;
    *ret_message = (struct published){
        .kind = MESSAGE_CLEAR,
        .epoch = w->new_epoch,
        .key = -1,
        .content = -1,
        .seq = node->data.seq,
        .truth_epoch = -1,
        .position = -1,
    };
    return true;
}

static void node_commit(struct node *node, uint64_t now, const struct store_write *w,
                        struct store_answer *ret_answer, struct published *ret_message)
{
    struct stored *r = &node->data.records[w->key];
    uint64_t us = node_time_us(node, now);

    node->data.seq++;
    ret_answer->seq = node->data.seq;
    ret_answer->timestamp_ns = us * 1000;
    *r = (struct stored){
        .kind = w->op == OP_DELETE ? TRUTH_TOMBSTONE : TRUTH_VALUE,
        .version = ret_answer->version,
        .seq = node->data.seq,
        .timestamp_ns = us * 1000,
        .expiry_ms = w->ttl_ms ? us / 1000 + w->ttl_ms : 0,
        .content = w->op == OP_DELETE ? -1 : w->content,
        .source = w->source,
    };
    memcpy(r->write_id, w->write_id, WRITE_ID_BYTES);
    *ret_message = (struct published){
        .kind = MESSAGE_RECORD,
        .epoch = node->data.epoch,
        .key = w->key,
        .content = r->content,
        .source = w->source,
        .record_kind = w->op == OP_DELETE ? RECORD_TOMBSTONE
                       : w->carry_value   ? RECORD_VALUE
                                          : RECORD_BARE,
        .version = r->version,
        .seq = r->seq,
        .timestamp_ns = r->timestamp_ns,
        .expiry_ms = r->expiry_ms,
        .ttl_ms = w->ttl_ms,
        .truth_epoch = node->epoch,
        .position = -1,
    };
    memcpy(ret_message->write_id, w->write_id, WRITE_ID_BYTES);
    if (node->epoch >= 0)
        ret_message->position = truth_add(node->truth, node->epoch, w->key,
                                          (struct truth_state){now, r->kind, r->version, r->seq, r->content});
    node_changed(node);
}

bool node_write(struct node *node, uint64_t now, const struct store_write *w, struct store_answer *ret_answer,
                struct published *ret_message)
{
    struct meta meta;

    *ret_answer = (struct store_answer){.status = REPLY_OK};
    if (!node->master || node->refuses_writes) {
        *ret_answer = (struct store_answer){.status = REPLY_DEFINITE, .text = "READONLY or refused"};
        return false;
    }
    node_read_meta(node, &meta);
    if (meta.state != META_OK || !epoch_equal(&meta.epoch, &w->epoch) || !run_id_equal(&meta.run, &w->run)) {
        ret_answer->result = SCRIPT_WRONG_EPOCH;
        return false;
    }
    if (node_time_us(node, now) > w->deadline_us) {
        ret_answer->result = SCRIPT_EXPIRED;
        return false;
    }
    if (strncmp(meta.run.text, node->server.text, RUN_HALF) != 0)
        node->foreign_commits++;
    if (w->op == OP_CLEAR)
        return node_clear(node, now, w, ret_answer, ret_message);
    node_compare(node, node_live_record(node, now, w->key), w, ret_answer);
    if (ret_answer->result != SCRIPT_ACCEPTED)
        return false;
    node_commit(node, now, w, ret_answer, ret_message);
    if (node->failing_scripts == 0)
        return true;
    node->failing_scripts--;
    *ret_answer = (struct store_answer){.status = REPLY_UNKNOWN, .text = "ERR script failed"};
    return false;
}
