/*
 * Processes. The moves:
 *
 *   start      a fiber is made; it runs for the first time after a step
 *   wait       yields, with an event at the deadline; process_notify puts an earlier one in its place
 *   stop       that event is taken away; resume puts one in after a step: the process then looks for itself what
 *              has happened meanwhile
 *   kill       descriptors are closed; then the fiber runs to its end at once: no wait waits, nothing is sent,
 *              every deadline is over
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/os/internal.h"

#define DYING_WAITS_MAX 100000 /* a process that does not end by then never does; picked */

struct os_process *os_running;

struct os_process *os_process_new(struct os *os, const struct os_process_config *config)
{
    struct os_process *p = os_alloc(sizeof(*p));

    if (os->process_count == PROCESSES_MAX)
        abort();
    p->os = os;
    p->number = os->process_count;
    p->config = *config;
    snprintf(p->name, sizeof(p->name), "%s", config->name);
    p->config.name = p->name;
    p->fd_limit = DESCRIPTORS_MAX;
    os->processes[os->process_count++] = p;
    return p;
}

const char *os_process_name(const struct os_process *process)
{
    return process->name;
}

unsigned os_process_number(const struct os_process *process)
{
    return process->number;
}

enum os_process_state os_process_state(const struct os_process *process)
{
    return process->state;
}

struct os_process *os_current(void)
{
    return os_running;
}

bool os_dying(void)
{
    return os_running && os_running->dying;
}

/* ---- running ---------------------------------------------------------------------------------------------- */

static void process_main(void *arg)
{
    struct os_process *p = arg;

    if (!p->dying)
        p->config.main(p->config.arg);
}

static void process_ended(struct os_process *p)
{
    if (!p->dying)
        kernel_close_all(p);
    os_forget(p->os, &p->wake);
    p->fiber = NULL;
    p->state = OS_ENDED;
    p->dying = p->waking = false;
    p->dying_waits = 0;
    p->fd_used = 0;
    p->pending_signals = 0;
    p->at_write.what = OS_AT_WRITE_NOTHING;
    memset(p->fds, 0, p->fd_room * sizeof(*p->fds));
    os_mix(p->os, p->number);
}

static void process_run(struct os_process *p)
{
    struct os_process *before = os_running;
    bool goes_on;

    os_running = p;
    goes_on = fiber_resume(p->fiber);
    os_running = before;
    if (!goes_on)
        process_ended(p);
}

static void on_wake(void *arg)
{
    struct os_process *p = arg;

    p->wake = NULL;
    p->waking = false;
    os_mix(p->os, p->os->now ^ (uint64_t)p->number << 56);
    process_run(p);
}

static void process_wake_after_step(struct os_process *p)
{
    os_forget(p->os, &p->wake);
    p->waking = true;
    p->wake = os_at(p->os, p->os->now + os_step_time(p->os), on_wake, p);
}

void process_notify(struct os_process *p)
{
    if (p->state == OS_RUNNING && p != os_running && !p->waking && !p->dying)
        process_wake_after_step(p);
}

void process_notify_at(struct os_process *p, uint64_t at)
{
    if (p->state != OS_RUNNING || p == os_running || p->waking || p->dying || (p->wake && p->wake->at <= at))
        return;
    os_forget(p->os, &p->wake);
    p->wake = os_at(p->os, at + os_step_time(p->os), on_wake, p);
}

static void process_wait_dying(struct os_process *p)
{
    if (++p->dying_waits < DYING_WAITS_MAX)
        return;
    fprintf(stderr, "process %s was killed and does not end\n", p->name);
    abort();
}

void process_wait(uint64_t deadline)
{
    struct os_process *p = os_running;

    if (p->dying) {
        process_wait_dying(p);
        return;
    }
    os_forget(p->os, &p->wake);
    if (deadline != UINT64_MAX)
        p->wake = os_at(p->os, deadline + os_step_time(p->os), on_wake, p);
    fiber_yield(p->fiber);
}

void process_step(void)
{
    if (os_running->dying) {
        process_wait_dying(os_running);
        return;
    }
    process_wake_after_step(os_running);
    fiber_yield(os_running->fiber);
}

void os_sleep_until(struct os *os, uint64_t until)
{
    while (os->now < until && !os_dying())
        process_wait(until);
}

/* ---- from outside ----------------------------------------------------------------------------------------- */

void os_process_start(struct os_process *p)
{
    if (p->state != OS_ENDED)
        return;
    p->state = OS_RUNNING;
    p->fiber = fiber_new(process_main, p);
    process_wake_after_step(p);
}

void os_process_stop(struct os_process *p)
{
    if (p->state != OS_RUNNING || p->dying)
        return;
    p->state = OS_STOPPED;
    os_forget(p->os, &p->wake);
    p->waking = false;
    if (p == os_running)
        fiber_yield(p->fiber);
}

void os_process_resume(struct os_process *p)
{
    if (p->state != OS_STOPPED)
        return;
    p->state = OS_RUNNING;
    process_wake_after_step(p);
}

void os_process_kill(struct os_process *p)
{
    if (p->state == OS_ENDED || p->dying)
        return;
    os_forget(p->os, &p->wake);
    p->waking = false;
    p->dying = true;
    kernel_close_all(p);
    /* One that kills itself goes on, dying, to where it would wait; what runs it finishes the work. */
    if (p != os_running)
        process_run(p);
}

void os_process_signal(struct os_process *p, int signum)
{
    if (p->state == OS_ENDED)
        return;
    p->pending_signals |= 1u << signum;
    process_notify(p);
}

void os_process_at_write(struct os_process *p, enum os_at_write what, unsigned n, unsigned link,
                         void (*fn)(void *arg), void *arg)
{
    p->at_write.what = what;
    p->at_write.n = n;
    p->at_write.link = link;
    p->at_write.fn = fn;
    p->at_write.arg = arg;
}

void process_before_write(struct os_process *p, unsigned link)
{
    enum os_at_write what = p->at_write.what;

    if (what == OS_AT_WRITE_NOTHING || p->dying ||
        (p->at_write.link != OS_LINK_ANY && !(p->at_write.link & link)) || --p->at_write.n > 0)
        return;
    p->at_write.what = OS_AT_WRITE_NOTHING;
    if (p->at_write.fn)
        os_at(p->os, p->os->now, p->at_write.fn, p->at_write.arg);
    if (what == OS_AT_WRITE_STOP)
        os_process_stop(p);
    else
        os_process_kill(p);
}

void os_process_jump_wall(struct os_process *p, int64_t by_ns)
{
    p->wall_jump_ns += by_ns;
}

uint64_t os_process_boottime(const struct os_process *p)
{
    return BOOTTIME_BASE + p->os->now + (uint64_t)p->config.boottime_offset_ns;
}

uint64_t os_process_from_boottime(const struct os_process *p, uint64_t boottime_ns)
{
    return boottime_ns - BOOTTIME_BASE - (uint64_t)p->config.boottime_offset_ns;
}

void os_process_limit_descriptors(struct os_process *p, unsigned limit)
{
    p->fd_limit = limit < DESCRIPTORS_MAX ? limit : DESCRIPTORS_MAX;
}
