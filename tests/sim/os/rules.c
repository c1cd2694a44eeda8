#include <stdlib.h>

#include "tests/sim/os/internal.h"

bool rule_selects(const struct net_rule *rule, const struct net_conn *conn)
{
    return (!rule->process || rule->process == conn->process) && (!rule->server || rule->server == conn->server) &&
           (rule->link == OS_LINK_ANY || (rule->link & conn->link));
}

static void rule_begin(struct flow *flow, struct net_rule_handle *h)
{
    const struct net_rule *rule = &h->rule;

    if (rule->swallow)
        flow->swallowed = true;
    if (rule->stall)
        h->counters.stalled += flow->seg_count;
    if (rule->cut_after > 0)
        flow->cut_at = flow->queued + rule->cut_after;
    if (rule->corrupt_at > 0)
        flow->corrupt_at = flow->queued + rule->corrupt_at;
}

static void rule_end(struct flow *flow, const struct net_rule_handle *h)
{
    if (h->rule.cut_after > 0)
        flow->cut_at = 0;
    if (h->rule.corrupt_at > 0)
        flow->corrupt_at = 0;
}

static void rules_apply_flow(struct net_conn *conn, unsigned index)
{
    struct os *os = conn->os;
    struct flow *flow = &conn->flow[index];
    enum net_direction direction = index == 0 ? NET_OUT : NET_IN;
    bool stalled = false;

    for (uint64_t left = os->net.active_mask | flow->rules; left; left &= left - 1) {
        struct net_rule_handle *h = os->net.active[__builtin_ctzll(left)];
        uint64_t bit = left & -left;
        bool held = flow->rules & bit;
        bool holds =
            (os->net.active_mask & bit) && (h->rule.direction & direction) && rule_selects(&h->rule, conn);

        flow->rules = holds ? flow->rules | bit : flow->rules & ~bit;
        if (holds && !held)
            rule_begin(flow, h);
        else if (held && !holds)
            rule_end(flow, h);
        stalled = stalled || (holds && h->rule.stall);
    }
    if (stalled == flow->stalled)
        return;
    flow->stalled = stalled;
    flow_rearm(flow);
}

void rules_apply(struct net_conn *conn)
{
    rules_apply_flow(conn, 0);
    rules_apply_flow(conn, 1);
}

static void rules_apply_all(struct os *os)
{
    struct net_conn *conn;

    TAILQ_FOREACH(conn, &os->net.conns, link_all)
    rules_apply(conn);
}

struct net_rule_handle *rules_find_refusal(struct os *os, const struct net_conn *conn)
{
    for (uint64_t left = os->net.active_mask; left; left &= left - 1) {
        struct net_rule_handle *h = os->net.active[__builtin_ctzll(left)];

        if (h->rule.refuse && rule_selects(&h->rule, conn)) {
            h->counters.refusals++;
            return h;
        }
    }
    return NULL;
}

struct net_server *rules_redirect(struct os *os, struct os_process *process, struct net_server *server)
{
    for (uint64_t left = os->net.active_mask; left; left &= left - 1) {
        struct net_rule_handle *h = os->net.active[__builtin_ctzll(left)];
        const struct net_rule *rule = &h->rule;

        if (rule->redirect && (!rule->process || rule->process == process) &&
            (!rule->server || rule->server == server)) {
            h->counters.redirected++;
            return rule->redirect;
        }
    }
    return server;
}

/* ---- from outside ----------------------------------------------------------------------------------------- */

struct net_rule_handle *net_rule_add(struct os *os, const struct net_rule *rule)
{
    struct net_rule_handle *h = os_alloc(sizeof(*h));

    if (os->net.active_mask == UINT64_MAX)
        abort();
    h->os = os;
    h->rule = *rule;
    h->slot = __builtin_ctzll(~os->net.active_mask);
    os->net.active[h->slot] = h;
    os->net.active_mask |= UINT64_C(1) << h->slot;
    TAILQ_INSERT_TAIL(&os->net.rules, h, link);
    rules_apply_all(os);
    return h;
}

void net_rule_remove(struct net_rule_handle *h)
{
    if (h->slot < 0)
        return;
    h->os->net.active_mask &= ~(UINT64_C(1) << h->slot);
    rules_apply_all(h->os);
    h->slot = -1;
}

void net_rules_remove_all(struct os *os)
{
    struct net_rule_handle *h;

    TAILQ_FOREACH(h, &os->net.rules, link)
    net_rule_remove(h);
}

struct net_rule_counters net_rule_counters(const struct net_rule_handle *h)
{
    return h->counters;
}
