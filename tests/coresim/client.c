/*
 * Clients of all pods. Calls come in bursts, so that they meet on the wire, with pauses between. A write that
 * ended indeterminate is tried again with the same write id, by the same pod or another one.
 */
#include "tests/coresim/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/coresim/check.h"
#include "tests/coresim/pod.h"

#define TRIES_MAX 4

struct slice client_bytes(const struct world *w, int content)
{
    return slice_of(w->contents[content]->bytes + 1, w->contents[content]->len);
}

static int client_new_content(struct world *w, int pod, int key, uint64_t version)
{
    struct content *c = calloc(1, sizeof(*c));
    int number = w->contents_count, len;
    char *text, fill[80];

    if (!c)
        abort();
    w->contents = world_grow(w->contents, number, &w->contents_room, sizeof(*w->contents));
    w->contents[w->contents_count++] = c;
    c->key = key;
    c->version = version;
    c->pod = pod;
    memset(fill, 'x', sizeof(fill));
    text = (char *)c->bytes + 1;
    c->bytes[0] = '!';
    len = snprintf(text, sizeof(c->bytes) - 1, "%s version=%llu writer=%d number=%d %.*s", w->keys[key],
                   (unsigned long long)version, pod, number, (int)rng_below(&w->client_rng, 70), fill);
    uint32_t sum = 2166136261u;
    for (int i = 0; i < len; i++)
        sum = (sum ^ (uint8_t)text[i]) * 16777619u;
    len += snprintf(text + len, sizeof(c->bytes) - 1 - (size_t)len, " sum=%08x", (unsigned)sum);
    c->len = (uint16_t)len;
    return number;
}

static int client_new_op(struct world *w, enum op_kind kind, int pod, int key)
{
    struct op *op;
    uint64_t id[2];

    w->ops = world_grow(w->ops, w->ops_count, &w->ops_room, sizeof(*w->ops));
    op = &w->ops[w->ops_count];
    *op = (struct op){
        .kind = kind,
        .pod = pod,
        .key = key,
        .content = -1,
        .epoch = -1,
        .commit_epoch = -1,
        .commit_position = -1,
        .told_epoch = -1,
        .first = w->ops_count,
    };
    id[0] = (uint64_t)w->ops_count + 1;
    id[1] = rng_next(&w->client_rng);
    memcpy(op->write_id, id, sizeof(id));
    return w->ops_count++;
}

/* ---- asking ------------------------------------------------------------------------------------------------- */

static void client_arrive(struct world *w, int op, int unused)
{
    (void)unused;
    pod_call(w, op);
}

static void client_ask(struct world *w, int number, uint64_t patience)
{
    struct op *op = &w->ops[number];

    op->state = OP_ASKED;
    op->invoked_at = w->now;
    op->deadline = w->now + patience;
    world_mix(w, (uint64_t)op->kind, (uint64_t)number);
    if (op->kind == CALL_GET)
        w->statistics->reads++;
    else if (op->kind != CALL_LOOK)
        w->statistics->writes++;
    world_log(w, op->pod, op->key, "op %d asks: %s%s%s version %llu content %d first %d", number,
              (const char *[]){"get", "set", "delete", "clear", "inspect"}[op->kind], op->strong ? " strong" : "",
              op->retry ? " retry" : "",
              (unsigned long long)(op->kind == CALL_GET ? op->min_version : op->version), op->content, op->first);
    world_at(w, w->now + rng_between(&w->client_rng, 10000, 100000), client_arrive, number, 0);
}

static uint64_t client_patience(struct world *w)
{
    if (!w->faults_count)
        return w->bound_ns * 3 + NS_PER_S;
    return rng_between(&w->client_rng, w->bound_ns / 4, w->bound_ns * 3);
}

static void client_get(struct world *w, int pod, int key)
{
    int number = client_new_op(w, CALL_GET, pod, key);
    struct op *op = &w->ops[number];
    struct rng *r = &w->client_rng;
    int last = w->last_write[key];

    op->strong = rng_chance(r, 60);
    if (rng_chance(r, 60) && last >= 0) {
        op->min_version = w->ops[last].got_version;
        if (rng_chance(r, 800))
            op->min_epoch = w->ops[last].epoch_text;
    }
    if (rng_chance(r, 60))
        op->max_stale_ns = rng_between(r, 1, w->bound_ns * 10);
    client_ask(w, number, client_patience(w));
}

/* Rising mostly; sometimes far back, equal to what is known, or ahead. */
static uint64_t client_version(struct world *w, int key)
{
    struct rng *r = &w->client_rng;
    uint64_t known = w->known[key];

    if (rng_chance(r, w->auto_permille))
        return 0;
    if (rng_chance(r, 30))
        return rng_between(r, 1, 3);
    if (rng_chance(r, 700))
        return known + 1;
    known = known + rng_between(r, 0, 5);
    return known > 4 ? known - 2 : known + 1;
}

static void client_set(struct world *w, int pod, int key)
{
    struct rng *r = &w->client_rng;
    uint64_t version = client_version(w, key);
    int number = client_new_op(w, CALL_SET, pod, key);
    struct op *op = &w->ops[number];

    op->version = version;
    op->content = client_new_content(w, pod, key, version);
    if (rng_chance(r, 120))
        op->ttl_ms = rng_between(r, 1, w->bound_ns * 3 / NS_PER_MS);
    op->carry_value = rng_chance(r, 800);
    client_ask(w, number, client_patience(w));
    if (!version || w->pods_count < 2 || !rng_chance(r, 150))
        return;
    /* Another pod races for the same version, with other content or with the same. */
    int other = client_new_op(w, CALL_SET, (pod + 1) % w->pods_count, key);
    op = &w->ops[other];
    op->version = version;
    op->carry_value = true;
    op->content = rng_chance(r, 300) ? w->ops[number].content : client_new_content(w, op->pod, key, version);
    client_ask(w, other, client_patience(w));
}

static void client_delete(struct world *w, int pod, int key)
{
    int number = client_new_op(w, CALL_DELETE, pod, key);
    struct op *op = &w->ops[number];

    op->version = client_version(w, key);
    op->carry_value = true;
    if (rng_chance(&w->client_rng, 200))
        op->ttl_ms = rng_between(&w->client_rng, 1, w->bound_ns * 3 / NS_PER_MS);
    client_ask(w, number, client_patience(w));
}

static void client_call(struct world *w)
{
    struct rng *r = &w->client_rng;
    int pod = (int)rng_below(r, (uint64_t)w->pods_count), key = (int)rng_below(r, (uint64_t)w->keys_count);
    uint64_t what = rng_below(r, 1000);

    if (!rng_chance(r, w->write_permille)) {
        if (what < 10)
            client_ask(w, client_new_op(w, CALL_LOOK, pod, key), client_patience(w));
        else
            client_get(w, pod, key);
    } else if (what < 850) {
        client_set(w, pod, key);
    } else if (what < 985) {
        client_delete(w, pod, key);
    } else {
        client_ask(w, client_new_op(w, CALL_CLEAR, pod, key), client_patience(w));
    }
}

static void client_next(struct world *w, int unused, int also)
{
    uint64_t gap;

    (void)unused, (void)also;
    if (w->now >= w->heal_at)
        return;
    client_call(w);
    gap = rng_chance(&w->client_rng, 600) ? rng_below(&w->client_rng, NS_PER_MS / 2)
                                          : rng_below(&w->client_rng, w->gap_ns * 5);
    world_at(w, w->now + gap + 1, client_next, 0, 0);
}

void client_start(struct world *w)
{
    for (int k = 0; k < SIM_KEYS; k++)
        w->last_write[k] = -1;
    world_at(w, w->work_at + 1, client_next, 0, 0);
}

/* ---- after healing ------------------------------------------------------------------------------------------ */

/* A key whose value will stay, so that it can be a hit; -1 if there is none. */
static int client_lasting_key(struct world *w)
{
    struct node *node = &w->nodes[w->primary];

    for (int k = 0; k < w->keys_count; k++) {
        const struct stored *r = node_live_record(node, w->now, k);

        if (r && r->kind == TRUTH_VALUE && !r->corrupt && !r->expiry_ms && !(w->hooked && r->content % 5 == 0))
            return k;
    }
    return -1;
}

void client_probe(struct world *w, int pod, int unused)
{
    int key = client_lasting_key(w), number;

    (void)unused;
    if (w->pods[pod].hit_at != NEVER || w->now >= w->end_at)
        return;
    if (key < 0) {
        w->pods[pod].hit_at = 0; /* nothing to hit */
        return;
    }
    number = client_new_op(w, CALL_GET, pod, key);
    w->ops[number].probing = true;
    client_ask(w, number, w->bound_ns);
    world_at(w, w->now + w->bound_ns / 64, client_probe, pod, 0);
}

void client_converge(struct world *w, int unused, int also)
{
    (void)unused, (void)also;
    for (int pod = 0; pod < w->pods_count; pod++) {
        for (int k = 0; k < w->keys_count; k++) {
            int number = client_new_op(w, CALL_GET, pod, k);

            w->ops[number].converging = true;
            client_ask(w, number, w->bound_ns);
        }
    }
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

static void client_retry(struct world *w, int before, int pod)
{
    int number;
    struct op *op;

    if (w->now >= w->heal_at)
        return;
    number = client_new_op(w, w->ops[before].kind, pod, w->ops[before].key);
    op = &w->ops[number];
    op->version = w->ops[before].version;
    op->content = w->ops[before].content;
    op->ttl_ms = w->ops[before].ttl_ms;
    op->carry_value = w->ops[before].carry_value;
    op->first = w->ops[before].first;
    op->tries = w->ops[before].tries + 1;
    op->retry = true;
    memcpy(op->write_id, w->ops[before].write_id, WRITE_ID_BYTES);
    client_ask(w, number, client_patience(w));
}

static void client_retry_later(struct world *w, int number)
{
    const struct op *op = &w->ops[number];
    uint64_t at = op->deadline > w->now ? op->deadline + NS_PER_MS : w->now;
    int pod = op->pod;

    if (op->kind == CALL_CLEAR || op->tries >= TRIES_MAX || !rng_chance(&w->client_rng, 700))
        return;
    if (rng_chance(&w->client_rng, 300))
        pod = (int)rng_below(&w->client_rng, (uint64_t)w->pods_count);
    world_at(w, at + rng_below(&w->client_rng, w->bound_ns / 8), client_retry, number, pod);
}

void client_lost(struct world *w, int number)
{
    struct op *op = &w->ops[number];

    world_log(w, op->pod, op->key, "op %d is lost", number);
    op->state = OP_LOST;
    if (op->kind == CALL_SET || op->kind == CALL_DELETE)
        client_retry_later(w, number);
}

static void client_learn(struct world *w, const struct op *op)
{
    if (op->got_version > w->known[op->key])
        w->known[op->key] = op->got_version;
}

static void client_write_returned(struct world *w, int number)
{
    const struct op *op = &w->ops[number];

    check_write_return(w, number);
    if (op->written == WRITE_INDETERMINATE) {
        w->statistics->indeterminate++;
        client_retry_later(w, number);
        return;
    }
    if (op->kind == CALL_CLEAR || (op->written != WRITE_ACCEPTED && op->written != WRITE_DUPLICATE))
        return;
    client_learn(w, op);
    w->last_write[op->key] = number;
}

void client_return(struct world *w, int number, int unused)
{
    struct op *op = &w->ops[number];
    const struct pod *p = &w->pods[op->pod];

    (void)unused;
    if (op->state != OP_ANSWERED || pod_holds_answer(w, number))
        return;
    if (p->incarnation != op->incarnation && rng_chance(&w->client_rng, 500)) {
        client_lost(w, number); /* it died with the answer unsent */
        return;
    }
    op->state = OP_RETURNED;
    world_log(w, op->pod, op->key, "op %d returns: outcome %d reason %d version %llu content %d as_of %.6f",
              number, op->kind == CALL_GET ? (int)op->outcome : (int)op->written, op->reason,
              (unsigned long long)op->got_version, op->content, (double)op->as_of / 1e9);
    world_mix(w, op->got_version, (uint64_t)op->outcome << 8 | (uint64_t)op->written);
    if (op->kind == CALL_GET) {
        if (check_read_return(w, number) && op->outcome == READ_FRESH)
            client_learn(w, op);
    } else if (op->kind != CALL_LOOK) {
        client_write_returned(w, number);
    }
}
