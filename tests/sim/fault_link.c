/* F1 to F8, F15, F27, and what happens to messages. */
#include "daemon/redis/record.h"
#include "tests/sim/fault.h"
#include "tests/sim/node.h"

static struct pod *pod_of(const struct fault *f)
{
    return &f->world->pods[f->pod];
}

static struct net_rule rule_for(const struct fault *f, enum net_direction direction)
{
    return (struct net_rule){
        .process = daemon_host_process(pod_of(f)->host), .link = f->link, .direction = direction};
}

static void rule_add(struct fault *f, const struct net_rule *rule)
{
    f->rules[0] = net_rule_add(f->world->os, rule);
}

static bool rule_had_effect(const struct net_rule_handle *rule)
{
    struct net_rule_counters c = net_rule_counters(rule);

    return c.delayed + c.stalled + c.split + c.swallowed + c.cuts + c.refusals + c.redirected > 0;
}

static void rule_end(struct fault *f)
{
    for (int i = 0; i < SIM_PODS; i++) {
        if (!f->rules[i])
            continue;
        if (rule_had_effect(f->rules[i]))
            fault_fired(f);
        net_rule_remove(f->rules[i]);
    }
}

/* ---- F1 to F5, one byte at a time ----------------------------------------------------------------------------
 */

static void stall_begin(struct fault *f)
{
    struct net_rule rule = rule_for(f, NET_BOTH);

    rule.stall = true;
    rule_add(f, &rule);
}

static void swallow_begin(struct fault *f)
{
    struct net_rule rule = rule_for(f, f->kind == KIND_mute ? NET_OUT : NET_IN);

    rule.swallow = true;
    rule_add(f, &rule);
}

/* Bytes are missing: nothing that was swallowed comes again, so the connection breaks. */
static void swallow_end(struct fault *f)
{
    struct net_rule select = rule_for(f, NET_BOTH);

    rule_end(f);
    select.link = OS_LINK_REDIS;
    net_cut(f->world->os, &select, true);
}

static void slow_begin(struct fault *f)
{
    struct net_rule rule = rule_for(f, f->kind == KIND_slow ? NET_BOTH : NET_IN);

    if (f->kind == KIND_late_subscription)
        rule.link = OS_LINK_SUBSCRIPTION;
    else if (f->kind == KIND_late_data)
        rule.link = OS_LINK_DATA;
    rule.delay_max_ns = f->amount % (f->world->bound_ns * (f->kind == KIND_slow ? 2 : 1)) + 1;
    rule.delay_min_ns = f->amount & 1 ? 0 : rule.delay_max_ns * 9 / 10;
    rule_add(f, &rule);
}

static void fragments_begin(struct fault *f)
{
    struct net_rule rule = rule_for(f, NET_BOTH);

    rule.one_byte = true;
    if (f->amount & 1) { /* of the applications */
        rule.process = NULL;
        rule.link = OS_LINK_CLIENT;
    }
    rule_add(f, &rule);
}

/* ---- F6, F7, F8 ----------------------------------------------------------------------------------------------
 */

static void cut_begin(struct fault *f)
{
    struct net_rule rule = rule_for(f, f->amount & 1 ? NET_IN : NET_OUT);

    rule.cut_after = f->amount / 2 % (f->amount & 2 ? 100 : 4000) + 1;
    rule_add(f, &rule);
}

static void client_kill_again(void *arg)
{
    struct fault *f = arg;

    if (f->over)
        return;
    if (node_kill_clients(&f->world->nodes[f->world->primary], f->amount & 1 ? -1 : f->pod, f->link) > 0)
        fault_fired(f);
    fault_again(f, client_kill_again, 50 * OS_MS);
}

static void client_kill_begin(struct fault *f)
{
    client_kill_again(f);
}

static void nothing_more(struct fault *f)
{
    (void)f;
}

#define NARROW_WINDOW ((size_t)256)

static void output_limit_begin(struct fault *f)
{
    struct node *node = &f->world->nodes[f->world->primary];
    struct net_rule rule = rule_for(f, NET_IN);

    f->node = node->index;
    node->window = NARROW_WINDOW;
    server_set_pubsub_limit(node->server, f->amount % 1500 + 300);
    rule.link = OS_LINK_SUBSCRIPTION;
    rule.stall = true;
    rule_add(f, &rule);
}

static void output_limit_end(struct fault *f)
{
    struct node *node = &f->world->nodes[f->node];

    net_rule_remove(f->rules[0]);
    node->window = (size_t)256 << 10;
    server_set_pubsub_limit(node->server, 0);
}

/* ---- F15, F27 ------------------------------------------------------------------------------------------------
 */

static void two_nodes_begin(struct fault *f)
{
    struct world *w = f->world;
    struct net_rule rule = rule_for(f, NET_BOTH), select = rule;

    rule.link = OS_LINK_ANY;
    rule.redirect = w->nodes[1 - w->primary].net;
    rule_add(f, &rule);
    net_cut(w->os, &select, true);
}

/* Stops the next pod's links, or lets those of a random one go on. */
static void rolling_step(void *arg)
{
    struct fault *f = arg;
    struct world *w = f->world;
    int stopped = 0, pick;

    if (f->over)
        return;
    for (int i = 0; i < w->pods_count; i++)
        stopped += f->rules[i] != NULL;
    if (world_now(w) < f->at + (f->until - f->at) / 2 && stopped < w->pods_count) {
        struct net_rule rule = {
            .process = daemon_host_process(w->pods[stopped].host), .link = OS_LINK_REDIS, .direction = NET_BOTH};

        rule.stall = true;
        f->rules[stopped] = net_rule_add(w->os, &rule);
    } else if (stopped > 0) {
        pick = (int)rng_below(&w->fault_rng, (uint64_t)w->pods_count);
        if (f->rules[pick])
            net_rule_remove(f->rules[pick]);
    }
    world_at(w, world_now(w) + (f->until - f->at) / (unsigned)(2 * w->pods_count + 1) + 1, rolling_step, f);
}

static void rolling_begin(struct fault *f)
{
    rolling_step(f);
}

/* ---- messages ------------------------------------------------------------------------------------------------
 */

static void drop_begin(struct fault *f)
{
    unsigned permille = (unsigned)(f->amount % 700) + 100;

    if (f->kind == KIND_drop)
        pod_of(f)->drop_permille = permille;
    else
        pod_of(f)->repeat_permille = permille;
}

static void drop_end(struct fault *f)
{
    if (f->kind == KIND_drop)
        pod_of(f)->drop_permille = 0;
    else
        pod_of(f)->repeat_permille = 0;
}

static void replay_again(void *arg)
{
    struct fault *f = arg;
    struct world *w = f->world;
    unsigned count = w->captured_count < 16 ? w->captured_count : 16;

    if (f->over)
        return;
    if (count > 0 && server_is_running(w->nodes[w->primary].server)) {
        const struct captured *c = &w->captured[rng_below(&w->fault_rng, count)];

        fault_fired(f);
        node_publish(&w->nodes[w->primary], slice_of(c->bytes, c->len));
    }
    fault_again(f, replay_again, w->bound_ns / 4);
}

/* A well-formed message of an epoch that never was. */
static void garbage_message(struct world *w, struct buffer *ret)
{
    struct rng *r = &w->fault_rng;
    struct message m = {
        .kind = rng_chance(r, 200) ? MESSAGE_CLEAR : MESSAGE_RECORD,
        .key = slice_text(w->keys[rng_below(r, (uint64_t)w->keys_count)]),
        .record = {.kind = rng_chance(r, 500) ? RECORD_TOMBSTONE : RECORD_BARE,
                   .version = rng_between(r, 1, VERSION_MAX),
                   .seq = w->nodes[w->primary].seq_seen + rng_below(r, 5) + 1,
                   .source = slice_text("nobody")},
    };

    snprintf(m.epoch.text, sizeof(m.epoch.text), "%032llx", (unsigned long long)rng_next(r));
    message_encode(&m, ret);
}

static void garbage_again(void *arg)
{
    struct fault *f = arg;
    struct world *w = f->world;
    struct buffer text = BUFFER_INIT;
    uint8_t noise[40];

    if (f->over)
        return;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)rng_next(&w->fault_rng);
    if (rng_chance(&w->fault_rng, 500))
        garbage_message(w, &text);
    else
        buffer_append(&text, noise, (size_t)rng_below(&w->fault_rng, sizeof(noise)));
    if (server_is_running(w->nodes[w->primary].server)) {
        fault_fired(f);
        node_publish(&w->nodes[w->primary], slice_of(text.data, text.len));
    }
    buffer_deinit(&text);
    fault_again(f, garbage_again, w->bound_ns / 4);
}

static void replay_begin(struct fault *f)
{
    replay_again(f);
}

static void garbage_begin(struct fault *f)
{
    garbage_again(f);
}

const struct fault_row fault_link_rows[KIND_COUNT] = {
    [KIND_stall] = {stall_begin, rule_end},
    [KIND_mute] = {swallow_begin, swallow_end},
    [KIND_deaf] = {swallow_begin, swallow_end},
    [KIND_slow] = {slow_begin, rule_end},
    [KIND_late_subscription] = {slow_begin, rule_end},
    [KIND_late_data] = {slow_begin, rule_end},
    [KIND_cut] = {cut_begin, rule_end},
    [KIND_client_kill] = {client_kill_begin, nothing_more},
    [KIND_output_limit] = {output_limit_begin, output_limit_end},
    [KIND_two_nodes] = {two_nodes_begin, rule_end},
    [KIND_rolling] = {rolling_begin, rule_end},
    [KIND_fragments] = {fragments_begin, rule_end},
    [KIND_drop] = {drop_begin, drop_end},
    [KIND_repeat] = {drop_begin, drop_end},
    [KIND_replay] = {replay_begin, nothing_more},
    [KIND_garbage] = {garbage_begin, nothing_more},
};
