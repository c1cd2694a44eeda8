/* F9, F10, F19 of a pod, F20, F22 to F25: daemons and applications. */
#include "tests/sim/calls.h"
#include "tests/sim/fault.h"

#define FEW_DESCRIPTORS 6
#define DESCRIPTORS     4096

static struct pod *pod_of(const struct fault *f)
{
    return &f->world->pods[f->pod];
}

static struct os_process *daemon_of(const struct fault *f)
{
    return daemon_host_process(pod_of(f)->host);
}

static struct client_host *client_of(const struct fault *f)
{
    return pod_of(f)->clients[f->amount % SIM_CLIENTS];
}

/* ---- F9 ------------------------------------------------------------------------------------------------------
 */

static void stop_daemon_begin(struct fault *f)
{
    if (os_process_state(daemon_of(f)) == OS_RUNNING)
        fault_fired(f);
    os_process_stop(daemon_of(f));
}

static void daemon_resume(struct fault *f)
{
    if (os_process_state(daemon_of(f)) != OS_STOPPED)
        return;
    pod_of(f)->resumed_at = world_now(f->world);
    os_process_resume(daemon_of(f));
}

static void stopped_at_write(void *arg)
{
    struct fault *f = arg;

    fault_fired(f);
    world_log(f->world, f->pod, -1, "the daemon is stopped before a write");
}

/* Between the check of the lease and the write of the answer, or before a request to Redis leaves. */
static void stop_at_write_begin(struct fault *f)
{
    os_process_at_write(daemon_of(f), OS_AT_WRITE_STOP, (unsigned)(f->amount % 20) + 1,
                        f->amount & 64 ? OS_LINK_REDIS : OS_LINK_CLIENT, stopped_at_write, f);
}

static void stop_at_write_end(struct fault *f)
{
    os_process_at_write(daemon_of(f), OS_AT_WRITE_NOTHING, 0, OS_LINK_ANY, NULL, NULL);
    daemon_resume(f);
}

/* ---- F10, F24 ------------------------------------------------------------------------------------------------
 */

static void stop_client_begin(struct fault *f)
{
    if (os_process_state(client_host_process(client_of(f))) == OS_RUNNING)
        fault_fired(f);
    os_process_stop(client_host_process(client_of(f)));
}

static void stop_client_end(struct fault *f)
{
    os_process_resume(client_host_process(client_of(f)));
}

static void client_restart(void *arg)
{
    os_process_start(client_host_process(client_of(arg)));
}

static void client_died(void *arg)
{
    struct fault *f = arg;

    fault_fired(f);
    world_log(f->world, f->pod, -1, "an application died before a write");
    calls_lost(f->world, client_of(f));
    world_at(f->world, world_now(f->world) + 2 * OS_MS, client_restart, f);
}

static void kill_client_begin(struct fault *f)
{
    os_process_at_write(client_host_process(client_of(f)), OS_AT_WRITE_KILL, (unsigned)(f->amount % 16) + 1,
                        OS_LINK_CLIENT, client_died, f);
}

static void kill_client_end(struct fault *f)
{
    os_process_at_write(client_host_process(client_of(f)), OS_AT_WRITE_NOTHING, 0, OS_LINK_ANY, NULL, NULL);
    client_restart(f);
}

/* ---- F19, F20 ------------------------------------------------------------------------------------------------
 */

static void wall_clock_begin(struct fault *f)
{
    int64_t range = (int64_t)(f->world->bound_ns * 8), by = (int64_t)f->amount % range - range / 2;

    os_process_jump_wall(daemon_of(f), by);
    os_process_jump_wall(client_host_process(client_of(f)), -by);
    if (os_process_state(daemon_of(f)) != OS_ENDED)
        fault_fired(f);
}

static void descriptors_begin(struct fault *f)
{
    struct net_rule select = {.process = daemon_of(f), .link = OS_LINK_REDIS, .direction = NET_BOTH};

    os_process_limit_descriptors(daemon_of(f), FEW_DESCRIPTORS);
    net_cut(f->world->os, &select, true);
    select = (struct net_rule){
        .process = client_host_process(client_of(f)), .link = OS_LINK_CLIENT, .direction = NET_BOTH};
    net_cut(f->world->os, &select, true);
}

static void descriptors_end(struct fault *f)
{
    struct net_rule select = {.process = daemon_of(f), .link = OS_LINK_REDIS, .direction = NET_BOTH};

    if (net_count(f->world->os, &select) < 2)
        fault_fired(f);
    os_process_limit_descriptors(daemon_of(f), DESCRIPTORS);
}

/* ---- F22, F23, F25 -------------------------------------------------------------------------------------------
 */

static void race_again(void *arg)
{
    struct fault *f = arg;

    if (f->over)
        return;
    fault_fired(f);
    calls_race(f->world, (int)(f->amount % (uint64_t)f->world->keys_count));
    fault_again(f, race_again, f->world->bound_ns);
}

static void race_begin(struct fault *f)
{
    race_again(f);
}

static void nothing_more(struct fault *f)
{
    (void)f;
}

static void daemon_start(void *arg)
{
    os_process_start(daemon_of(arg));
}

static void kill_daemon_again(void *arg)
{
    struct fault *f = arg;
    struct world *w = f->world;

    if (f->over)
        return;
    if (os_process_state(daemon_of(f)) != OS_ENDED)
        fault_fired(f);
    fault_kill_daemon(pod_of(f));
    world_at(w, world_now(w) + rng_between(&w->fault_rng, OS_MS, 30 * OS_MS), daemon_start, f);
    fault_again(f, kill_daemon_again, 200 * OS_MS);
}

static void kill_daemon_begin(struct fault *f)
{
    kill_daemon_again(f);
}

static void crowd_begin(struct fault *f)
{
    (void)f; /* before the work begins, see world.c */
}

const struct fault_row fault_process_rows[KIND_COUNT] = {
    [KIND_stop_daemon] = {stop_daemon_begin, daemon_resume},
    [KIND_stop_at_write] = {stop_at_write_begin, stop_at_write_end},
    [KIND_stop_client] = {stop_client_begin, stop_client_end},
    [KIND_kill_client] = {kill_client_begin, kill_client_end},
    [KIND_wall_clock] = {wall_clock_begin, NULL},
    [KIND_descriptors] = {descriptors_begin, descriptors_end},
    [KIND_race] = {race_begin, nothing_more},
    [KIND_kill_daemon] = {kill_daemon_begin, nothing_more},
    [KIND_crowd] = {crowd_begin, NULL},
};
