/* What pods remember, and how they end: AVAIL, RESTART, CONV, NOCRASH, one fetch for a crowd. */
#include <inttypes.h>

#include "tests/sim/check.h"
#include "tests/sim/tap.h"
#include "tests/sim/witness.h"

#define HIT_NS      (100 * OS_MS)
#define RESTART_NS  OS_S
#define PROPOSE_NS  OS_S        /* after so long a pod whose proposal of an epoch was refused tries again */
#define ROUND_TRIPS (5 * OS_MS) /* connecting, INFO, SUBSCRIBE, heartbeat, fetch: 12 times 2 * 120 us */

const struct seen *check_seen_before(const struct pod *pod, int key, int epoch, uint64_t before)
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
    const struct seen *last = check_seen_before(pod, key, epoch, NEVER);
    struct seen s = {.epoch = epoch, .read_position = -1, .own_position = -1};

    if (last)
        s = *last;
    s.at = world_now(w);
    if (read_position > s.read_position)
        s.read_position = read_position;
    if (own_position > s.own_position) {
        s.own_position = own_position;
        s.own_is_delete = own_is_delete;
    }
    pod->seen[key] = world_grow(pod->seen[key], pod->seen_count[key], &pod->seen_room[key], sizeof(s));
    pod->seen[key][pod->seen_count[key]++] = s;
}

void check_ready(struct world *w)
{
    struct core_status status;

    for (int i = 0; i < w->pods_count; i++) {
        if (!daemon_host_status(w->pods[i].host, &status) || !status.ready ||
            (w->pods[i].may_write && !status.writes_ok))
            world_violate(w, "AVAIL", i, -1, "not ready after start-up: %s",
                          status.reason_text ? status.reason_text : "");
    }
}

/* ---- one fetch for many readers ----------------------------------------------------------------------------- */

/*
 * One, and what it brings serves those that come later. Of a key that is absent, or whose value the hook rejects,
 * nothing can be kept: there, whoever comes when no fetch is under way makes one, and nobody else.
 */
static uint64_t crowd_needs(const struct world *w)
{
    const struct pod *pod = &w->pods[w->crowd_pod];
    struct truth_state s;
    bool kept = witness_read_key(&w->nodes[w->primary], SIM_CROWD_KEY, &s) && s.kind == TRUTH_VALUE &&
                !tap_hook_rejects(pod, s.content);

    return kept ? 1 : (uint64_t)w->crowd_firsts;
}

void check_crowd(struct world *w)
{
    struct core_counters c;

    if (!daemon_host_counters(w->pods[w->crowd_pod].host, &c))
        return;
    if (w->crowd_fetches == NEVER) {
        w->crowd_fetches = c.fetches;
        return;
    }
    w->statistics->crowds++;
    if (c.fetches != w->crowd_fetches + crowd_needs(w))
        world_violate(w, "FETCH", w->crowd_pod, SIM_CROWD_KEY,
                      "%" PRIu64 " fetches for a crowd that misses one key", c.fetches - w->crowd_fetches);
}

/* ---- after healing ------------------------------------------------------------------------------------------ */

bool check_converged(struct world *w, const struct op *op)
{
    struct truth_state s;

    if (op->result == DCACHE_OK && op->read_state == DCACHE_STATE_LOCAL)
        return true;
    if (op->result != DCACHE_OK && op->result != DCACHE_ABSENT)
        return false;
    if (!witness_read_key(&w->nodes[w->primary], op->key, &s))
        return false;
    if (s.kind == TRUTH_NONE && op->result == DCACHE_OK)
        return true; /* what expires or is evicted tells nobody; the timeline judges this read */
    return (op->result == DCACHE_OK) == (s.kind == TRUTH_VALUE) &&
           (s.kind != TRUTH_VALUE || (op->got_version == s.version && op->content == s.content));
}

/* A clear that was held up begins an epoch, too. */
static bool begun_by_clear(const struct world *w, const struct truth_epoch *e)
{
    for (int i = 0; i < w->ops_count; i++) {
        if (w->ops[i]->kind == CALL_CLEAR && w->ops[i]->result == DCACHE_OK &&
            epoch_equal(&w->ops[i]->got_epoch, &e->id))
            return true;
    }
    return false;
}

/* Healing takes until the epoch stands. It has to within the time of a hit, and that of a refused proposal. */
static void check_first_hit(struct world *w, const struct pod *p)
{
    const struct node *node = &w->nodes[w->primary];
    const struct truth_epoch *e = &w->truth.epochs[node->epoch < 0 ? 0 : node->epoch];
    uint64_t healed = w->heal_at, limit = w->bound_ns / 4 + HIT_NS + ROUND_TRIPS + w->bound_ns / 32;
    const char *promise = "AVAIL";

    if (p->hit_at == 0 || node->epoch < 0)
        return;
    if (w->guarded)
        limit += w->bound_ns / 8; /* a WAIT from before */
    if (e->begins > healed)
        healed = e->begins;
    if (healed > w->heal_at + limit + PROPOSE_NS && !begun_by_clear(w, e))
        world_violate(w, promise, -1, -1, "the epoch begins %.3f ms after healing",
                      (double)(healed - w->heal_at) / 1e6);
    if (p->restored_at >= w->heal_at && p->hit_at > p->restored_at + RESTART_NS)
        promise = "RESTART";
    if (p->hit_at > healed + limit)
        world_violate(w, promise, p->number, -1, "first hit %.3f ms after healing",
                      p->hit_at == NEVER ? -1.0 : (double)(p->hit_at - healed) / 1e6);
}

void check_end(struct world *w)
{
    for (int i = 0; i < w->ops_count; i++) {
        const struct op *op = w->ops[i];

        if (op->state == OP_ASKED || op->state == OP_POSTED)
            world_violate(w, "ANSWER", op->pod, op->key, "op %d was never answered", i);
    }
    for (int i = 0; i < w->pods_count; i++) {
        const struct pod *p = &w->pods[i];

        if (daemon_host_failures(p->host))
            world_violate(w, "NOCRASH", i, -1, "the daemon ended by itself");
        for (int k = 0; k < w->keys_count; k++) {
            if (!p->converged[k])
                world_violate(w, "CONV", i, k, "not what Redis holds 2 s + D after healing");
        }
        check_first_hit(w, p);
    }
}
