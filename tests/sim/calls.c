#include "tests/sim/calls.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/tap.h"
#include "tests/sim/witness.h"

#define TRIES_MAX  4
#define CROWD_SIZE 60

static int content_new(struct world *w, int pod, int key, uint64_t version)
{
    static const char fill[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    struct content *c = calloc(1, sizeof(*c));
    int number = w->contents_count, len;
    char *text;
    uint32_t sum = 2166136261u;

    if (!c)
        abort();
    w->contents = world_grow(w->contents, number, &w->contents_room, sizeof(struct content *));
    w->contents[w->contents_count++] = c;
    c->key = key;
    c->version = version;
    c->pod = pod;
    c->bytes[0] = '!';
    text = (char *)c->bytes + 1;
    len = snprintf(text, sizeof(c->bytes) - 1, "number=%d %s version=%llu writer=%d %.*s", number, w->keys[key],
                   (unsigned long long)version, pod, (int)rng_below(&w->call_rng, 70), fill);
    for (int i = 0; i < len; i++)
        sum = (sum ^ (uint8_t)text[i]) * 16777619u;
    len += snprintf(text + len, sizeof(c->bytes) - 1 - (size_t)len, " sum=%08x", (unsigned)sum);
    c->len = (uint16_t)len;
    return number;
}

static struct op *op_new(struct world *w, enum op_kind kind, int pod, int key)
{
    struct op *op = calloc(1, sizeof(*op));
    uint64_t id[2];

    if (!op)
        abort();
    w->ops = world_grow(w->ops, w->ops_count, &w->ops_room, sizeof(struct op *));
    *op = (struct op){
        .world = w,
        .number = w->ops_count,
        .kind = kind,
        .pod = pod,
        .key = key,
        .content = -1,
        .first = w->ops_count,
        .commit_epoch = -1,
        .commit_position = -1,
    };
    id[0] = (uint64_t)w->ops_count + 1;
    id[1] = rng_next(&w->call_rng);
    memcpy(op->write_id, id, sizeof(id));
    op->host = w->pods[pod].clients[rng_below(&w->call_rng, SIM_CLIENTS)];
    op->handle = (unsigned)rng_below(&w->call_rng, SIM_HANDLES);
    return w->ops[w->ops_count++] = op;
}

static void op_post(struct op *op, uint64_t at)
{
    struct world *w = op->world;

    op->state = client_host_post(op->host, at, calls_ask, op) ? OP_POSTED : OP_LOST;
    if (op->state == OP_LOST)
        return;
    w->ops_open++;
    if (op->kind == CALL_GET)
        w->statistics->reads++;
    else
        w->statistics->writes++;
}

static uint32_t patience_ms(struct world *w)
{
    uint64_t d = w->bound_ns / OS_MS;

    if (!w->faults_count)
        return (uint32_t)(d * 3 + 1000);
    return (uint32_t)rng_between(&w->call_rng, d / 4, d * 2);
}

/* Now, or a little later. */
static void op_ask(struct op *op)
{
    struct world *w = op->world;

    op->timeout_ms = patience_ms(w);
    op_post(op, world_now(w) + rng_below(&w->call_rng, 100 * OS_US));
}

/* ---- reads -------------------------------------------------------------------------------------------------- */

static void wish(struct op *op)
{
    struct world *w = op->world;
    struct rng *r = &w->call_rng;
    int last = w->last_write[op->key];

    op->strong = rng_chance(r, 60);
    if (rng_chance(r, 60) && last >= 0) {
        op->min_version = w->ops[last]->got_version;
        if (rng_chance(r, 800))
            op->min_epoch = w->ops[last]->got_epoch;
    }
    if (rng_chance(r, 60))
        op->max_stale_ms = (uint32_t)rng_between(r, 1, w->bound_ns / OS_MS * 10);
}

static void call_get(struct world *w, int pod, int key)
{
    struct op *op = op_new(w, CALL_GET, pod, key);

    wish(op);
    op_ask(op);
}

/* One synchronous call for several keys, with the wishes of the first. */
static void call_mget(struct world *w, int pod)
{
    int count = (int)rng_between(&w->call_rng, 2, SIM_CLIENT_KEYS + 1);
    struct op *first = op_new(w, CALL_GET, pod, (int)rng_below(&w->call_rng, (uint64_t)w->keys_count));

    first->strong = rng_chance(&w->call_rng, 60);
    first->timeout_ms = patience_ms(w);
    first->group = count;
    for (int i = 1; i < count; i++) {
        struct op *op = op_new(w, CALL_GET, pod, (int)rng_below(&w->call_rng, (uint64_t)w->keys_count));

        op->strong = first->strong;
        op->host = first->host;
        op->handle = first->handle;
        op->timeout_ms = first->timeout_ms;
        op->group = -1;
    }
    op_post(first, world_now(w) + rng_below(&w->call_rng, 100 * OS_US));
    for (int i = 1; i < count; i++)
        w->ops[first->number + i]->state = first->state;
    if (first->state == OP_POSTED) {
        w->ops_open += count - 1;
        w->statistics->reads += (uint64_t)count - 1;
    }
}

/* ---- writes ------------------------------------------------------------------------------------------------- */

/* Rising mostly; sometimes far back, equal to what is known, or ahead. */
static uint64_t draw_version(struct world *w, int key)
{
    struct rng *r = &w->call_rng;
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

static void draw_ttl(struct op *op, unsigned permille)
{
    struct rng *r = &op->world->call_rng;

    if (!rng_chance(r, permille))
        return;
    op->has_ttl = true;
    op->ttl_ms = rng_between(r, 1, op->world->bound_ns * 3 / OS_MS);
}

static struct op *set_new(struct world *w, int pod, int key, uint64_t version)
{
    struct op *op = op_new(w, CALL_SET, pod, key);

    op->version = version;
    op->content = content_new(w, pod, key, version);
    op->invalidate = rng_chance(&w->call_rng, w->invalidate_permille);
    return op;
}

static void call_set(struct world *w, int pod, int key)
{
    struct op *op = set_new(w, pod, key, draw_version(w, key)), *other;

    draw_ttl(op, w->ttl_permille);
    op_ask(op);
    if (!op->version || w->pods_count < 2 || !rng_chance(&w->call_rng, 150))
        return;
    /* Another pod writes the same version, other content or the same. */
    other = set_new(w, (pod + 1) % w->pods_count, key, op->version);
    if (rng_chance(&w->call_rng, 300))
        other->content = op->content;
    op_ask(other);
}

static void call_delete(struct world *w, int pod, int key)
{
    struct op *op = op_new(w, CALL_DELETE, pod, key);

    op->version = draw_version(w, key);
    draw_ttl(op, 200);
    op_ask(op);
}

void calls_race(struct world *w, int key)
{
    uint64_t base = w->known[key] + 1;
    int count = (int)rng_between(&w->call_rng, 6, 12);

    for (int i = 0; i < count; i++) {
        uint64_t version = rng_chance(&w->call_rng, 200) ? 0 : base + (uint64_t)((count - i) / 2);
        struct op *op = set_new(w, i % w->pods_count, key, version);

        op->timeout_ms = patience_ms(w);
        op_post(op, world_now(w) + 1);
        if (i % 3 == 0)
            call_get(w, (i + 1) % w->pods_count, key);
    }
}

static void call_any(struct world *w)
{
    struct rng *r = &w->call_rng;
    int pod = (int)rng_below(r, (uint64_t)w->pods_count), key = (int)rng_below(r, (uint64_t)w->keys_count);

    if (!rng_chance(r, w->write_permille)) {
        if (rng_chance(r, 40))
            call_mget(w, pod);
        else
            call_get(w, pod, key);
    } else if (rng_chance(r, w->clear_permille)) {
        op_ask(op_new(w, CALL_CLEAR, pod, -1));
    } else if (rng_chance(r, 860)) {
        call_set(w, pod, key);
    } else {
        call_delete(w, pod, key);
    }
}

static void call_next(void *arg)
{
    struct world *w = arg;
    uint64_t gap;

    if (world_now(w) >= w->heal_at)
        return;
    call_any(w);
    gap = rng_chance(&w->call_rng, 600) ? rng_below(&w->call_rng, OS_MS / 2)
                                        : rng_below(&w->call_rng, w->gap_ns * 5);
    world_at(w, world_now(w) + gap + 1, call_next, w);
}

void calls_init(struct world *w)
{
    for (int k = 0; k < SIM_KEYS; k++) {
        w->last_write[k] = -1;
        w->known[k] = w->version_base;
    }
}

void calls_start(struct world *w)
{
    for (int k = 0; k < w->keys_count; k++)
        op_ask(set_new(w, 0, k, rng_chance(&w->call_rng, w->auto_permille) ? 0 : w->version_base + 1));
    call_next(w);
}

/* ---- the crowd ---------------------------------------------------------------------------------------------- */

void calls_crowd_prepare(struct world *w)
{
    int writer = (w->crowd_pod + 1) % w->pods_count;
    struct op *op;

    if (!w->pods[writer].may_write)
        writer = 0;
    if (writer == w->crowd_pod)
        return; /* a miss of an absent key is one, too */
    op = set_new(w, writer, SIM_CROWD_KEY, 1);
    op->invalidate = true;
    op_ask(op);
}

void calls_crowd(struct world *w)
{
    for (int i = 0; i < CROWD_SIZE; i++) {
        struct op *op = op_new(w, CALL_GET, w->crowd_pod, SIM_CROWD_KEY);

        op->crowd = true;
        op->timeout_ms = 1000;
        op_post(op, world_now(w) + 1);
    }
    w->statistics->fired[KIND_crowd]++;
}

/* ---- after healing ------------------------------------------------------------------------------------------ */

/* Will this pod have a copy of the key that stays? */
static bool key_lasts(const struct pod *pod, int key)
{
    const struct world *w = pod->world;
    struct truth_state s;

    return witness_read_key(&w->nodes[w->primary], key, &s) && s.kind == TRUTH_VALUE && s.expiry_ms == 0 &&
           !tap_hook_rejects(pod, s.content);
}

bool calls_probe(struct pod *pod)
{
    struct world *w = pod->world;
    bool lasting = false, wanted = false;

    for (int k = 0; k < w->keys_count; k++) {
        bool hit_wanted = pod->hit_at == NEVER && !lasting && key_lasts(pod, k);
        struct op *op;

        lasting = lasting || hit_wanted;
        if (pod->converged[k] && !hit_wanted)
            continue;
        wanted = true;
        op = op_new(w, CALL_GET, pod->number, k);
        op->host = pod->prober;
        op->handle = 0;
        op->probing = true;
        op->timeout_ms = (uint32_t)(w->bound_ns / OS_MS);
        op_post(op, world_now(w));
    }
    if (!lasting && pod->hit_at == NEVER && !wanted)
        pod->hit_at = 0;
    return wanted;
}

/* ---- attempts ----------------------------------------------------------------------------------------------- */

static void retry(void *arg)
{
    const struct op *before = arg;
    struct world *w = before->world;
    int pod = before->pod;
    struct op *op;

    if (world_now(w) >= w->heal_at)
        return;
    if (rng_chance(&w->call_rng, 300))
        pod = (int)rng_below(&w->call_rng, (uint64_t)w->pods_count);
    op = op_new(w, before->kind, pod, before->key);
    op->version = before->version;
    op->content = before->content;
    op->has_ttl = before->has_ttl;
    op->ttl_ms = before->ttl_ms;
    op->invalidate = before->invalidate;
    op->first = before->first;
    op->tries = before->tries + 1;
    op->retry = true;
    memcpy(op->write_id, before->write_id, WRITE_ID_BYTES);
    op_ask(op);
}

void calls_retry_later(struct world *w, const struct op *op)
{
    uint64_t deadline = op->invoked_at + (uint64_t)op->timeout_ms * OS_MS;
    uint64_t at = deadline > world_now(w) ? deadline + OS_MS : world_now(w);

    if (op->kind == CALL_CLEAR || op->tries >= TRIES_MAX || !rng_chance(&w->call_rng, 700))
        return;
    world_at(w, at + rng_below(&w->call_rng, w->bound_ns / 8), retry, w->ops[op->number]);
}

void calls_repeat(struct world *w, const struct op *op)
{
    struct op *again;

    if (world_now(w) >= w->heal_at || !rng_chance(&w->call_rng, 100))
        return;
    again = op_new(w, CALL_SET, op->pod, op->key);
    again->version = op->version;
    again->content = op->content;
    op_ask(again);
}

void calls_lost(struct world *w, struct client_host *host)
{
    for (int i = 0; i < w->ops_count; i++) {
        struct op *op = w->ops[i];
        bool asked = op->state == OP_ASKED;

        if (op->host != host || (op->state != OP_POSTED && op->state != OP_ASKED))
            continue;
        world_log(w, op->pod, op->key, "op %d is lost", op->number);
        op->state = OP_LOST;
        w->ops_open--;
        if (asked && (op->kind == CALL_SET || op->kind == CALL_DELETE))
            calls_retry_later(w, op);
    }
}
