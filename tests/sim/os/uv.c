/* The loop of libuv 1.44 in virtual time: timers, pending, idle, prepare, poll, check, closing. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/os/uv_internal.h"

#define HANDLES_AT_ONCE 64

/* ---- loop ------------------------------------------------------------------------------------------------- */

void sim_update_time(struct sim_loop *loop)
{
    loop->time_ms = kernel_clock() / OS_MS;
}

int uv_loop_init(uv_loop_t *loop)
{
    struct sim_loop *l = os_alloc(sizeof(*l));

    memset(loop, 0, sizeof(*loop));
    loop->internal_fields = l;
    l->loop = loop;
    l->process = os_running;
    for (unsigned i = 0; i < SIM_KINDS; i++)
        TAILQ_INIT(&l->kinds[i]);
    TAILQ_INIT(&l->closing);
    TAILQ_INIT(&l->resolves);
    sim_update_time(l);
    return 0;
}

int uv_loop_close(uv_loop_t *loop)
{
    struct sim_loop *l = sim_loop_of(loop);

    for (unsigned i = 0; i < SIM_KINDS; i++)
        if (!TAILQ_EMPTY(&l->kinds[i]))
            return UV_EBUSY;
    if (!TAILQ_EMPTY(&l->closing) || !TAILQ_EMPTY(&l->resolves))
        return UV_EBUSY;
    free(l);
    loop->internal_fields = NULL;
    return 0;
}

static bool sim_is_active(const struct sim_handle *h)
{
    return h->kind == SIM_IO ? sim_io_is_active(h) : h->active;
}

static bool keeps_alive(const struct sim_handle *h)
{
    return sim_is_active(h) && !h->unref;
}

static bool loop_is_alive(const struct sim_loop *l)
{
    const struct sim_handle *h;

    if (!TAILQ_EMPTY(&l->closing) || !TAILQ_EMPTY(&l->resolves))
        return true;
    for (unsigned i = 0; i < SIM_KINDS; i++)
        TAILQ_FOREACH(h, &l->kinds[i], link)
    if (keeps_alive(h))
        return true;
    return false;
}

/* ---- handles ---------------------------------------------------------------------------------------------- */

struct sim_handle *sim_handle_new(uv_loop_t *loop, void *handle, uv_handle_type type, enum sim_kind kind)
{
    struct sim_handle *h = os_alloc(sizeof(*h));
    uv_handle_t *uv = handle;

    h->handle = uv;
    h->loop = sim_loop_of(loop);
    h->kind = kind;
    uv->loop = loop;
    uv->type = type;
    uv->u.reserved[0] = h;
    TAILQ_INSERT_TAIL(&h->loop->kinds[kind], h, link);
    return h;
}

void uv_close(uv_handle_t *handle, uv_close_cb on_closed)
{
    struct sim_handle *h = sim_of(handle);

    if (h->closing)
        abort();
    TAILQ_REMOVE(&h->loop->kinds[h->kind], h, link);
    TAILQ_INSERT_HEAD(&h->loop->closing, h, link); /* libuv takes the last one first */
    h->closing = true;
    h->active = false;
    h->on_closed = on_closed;
    if (h->kind == SIM_IO)
        sim_io_close(h);
}

void uv_unref(uv_handle_t *handle)
{
    sim_of(handle)->unref = true;
}

int uv_is_active(const uv_handle_t *handle)
{
    return sim_is_active(sim_of(handle));
}

/* Those that are closed meanwhile wait for the next turn. */
static void run_closing(struct sim_loop *l)
{
    struct sim_handles now = TAILQ_HEAD_INITIALIZER(now);
    struct sim_handle *h;

    TAILQ_CONCAT(&now, &l->closing, link);
    while ((h = TAILQ_FIRST(&now)) != NULL) {
        uv_handle_t *handle = h->handle;
        uv_close_cb on_closed = h->on_closed;

        TAILQ_REMOVE(&now, h, link);
        if (h->kind == SIM_IO)
            sim_io_cancel(h);
        free(h);
        if (on_closed)
            on_closed(handle);
    }
}

/* ---- timers ----------------------------------------------------------------------------------------------- */

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
    sim_handle_new(loop, timer, UV_TIMER, SIM_TIMER);
    return 0;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb fn, uint64_t timeout, uint64_t repeat)
{
    struct sim_handle *h = sim_of(timer);

    if (h->closing || !fn)
        return UV_EINVAL;
    h->active = true;
    h->timer.fn = fn;
    h->timer.timeout = h->loop->time_ms + timeout;
    h->timer.repeat = repeat;
    h->timer.start_id = h->loop->start_ids++;
    return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
    sim_of(timer)->active = false;
    return 0;
}

static struct sim_handle *first_timer(const struct sim_loop *l)
{
    struct sim_handle *h, *first = NULL;

    TAILQ_FOREACH(h, &l->kinds[SIM_TIMER], link)
    if (h->active && (!first || h->timer.timeout < first->timer.timeout ||
                      (h->timer.timeout == first->timer.timeout && h->timer.start_id < first->timer.start_id)))
        first = h;
    return first;
}

static void run_timers(struct sim_loop *l)
{
    struct sim_handle *h;

    while ((h = first_timer(l)) != NULL && h->timer.timeout <= l->time_ms) {
        uv_timer_t *timer = (uv_timer_t *)h->handle;

        h->active = false;
        if (h->timer.repeat > 0)
            uv_timer_start(timer, h->timer.fn, h->timer.repeat, h->timer.repeat);
        h->timer.fn(timer);
    }
}

/* ---- prepare, check, idle, signals ------------------------------------------------------------------------ */

#define PHASE(name, NAME)                                           \
    int uv_##name##_init(uv_loop_t *loop, uv_##name##_t *handle)    \
    {                                                               \
        sim_handle_new(loop, handle, UV_##NAME, SIM_##NAME);        \
        return 0;                                                   \
    }                                                               \
    int uv_##name##_start(uv_##name##_t *handle, uv_##name##_cb fn) \
    {                                                               \
        struct sim_handle *h = sim_of(handle);                      \
                                                                    \
        if (!h->active)                                             \
            h->name = fn;                                           \
        h->active = true;                                           \
        return 0;                                                   \
    }                                                               \
    int uv_##name##_stop(uv_##name##_t *handle)                     \
    {                                                               \
        sim_of(handle)->active = false;                             \
        return 0;                                                   \
    }                                                               \
    static void run_##name(struct sim_loop *l)                      \
    {                                                               \
        struct sim_handle *h, *all[HANDLES_AT_ONCE];                \
        unsigned count = 0;                                         \
                                                                    \
        TAILQ_FOREACH(h, &l->kinds[SIM_##NAME], link)               \
        if (h->active && count < HANDLES_AT_ONCE)                   \
            all[count++] = h;                                       \
        /* Closed ones are freed in the closing phase only. */      \
        for (unsigned i = 0; i < count; i++)                        \
            if (all[i]->active)                                     \
                all[i]->name((uv_##name##_t *)all[i]->handle);      \
    }

PHASE(prepare, PREPARE)
PHASE(check, CHECK)
PHASE(idle, IDLE)

int uv_signal_init(uv_loop_t *loop, uv_signal_t *handle)
{
    sim_handle_new(loop, handle, UV_SIGNAL, SIM_SIGNAL);
    return 0;
}

int uv_signal_start(uv_signal_t *handle, uv_signal_cb fn, int signum)
{
    struct sim_handle *h = sim_of(handle);

    h->active = true;
    h->signal.fn = fn;
    h->signal.signum = signum;
    return 0;
}

/* ---- the turn --------------------------------------------------------------------------------------------- */

static bool has_active(const struct sim_loop *l, enum sim_kind kind)
{
    const struct sim_handle *h;

    TAILQ_FOREACH(h, &l->kinds[kind], link)
    if (h->active)
        return true;
    return false;
}

static int64_t poll_timeout_ms(const struct sim_loop *l)
{
    const struct sim_handle *first;

    if (!loop_is_alive(l) || has_active(l, SIM_IDLE) || !TAILQ_EMPTY(&l->closing) || sim_has_pending(l))
        return 0;
    first = first_timer(l);
    if (!first)
        return -1;
    return first->timer.timeout <= l->time_ms ? 0 : (int64_t)(first->timer.timeout - l->time_ms);
}

/* What is left to do for a process that was killed: let go what has been closed. */
static bool may_go_on(const struct sim_loop *l)
{
    return !os_dying() || !TAILQ_EMPTY(&l->closing) || !TAILQ_EMPTY(&l->resolves);
}

int uv_run(uv_loop_t *loop, uv_run_mode mode)
{
    struct sim_loop *l = sim_loop_of(loop);
    bool alive = loop_is_alive(l);

    if (mode != UV_RUN_DEFAULT)
        abort();
    while (alive && may_go_on(l)) {
        sim_update_time(l);
        run_timers(l);
        sim_run_pending(l);
        run_idle(l);
        run_prepare(l);
        sim_poll(l, poll_timeout_ms(l));
        for (int i = 0; i < 8 && sim_run_pending(l); i++)
            ;
        run_check(l);
        run_closing(l);
        alive = loop_is_alive(l);
        if (l->stopped)
            break;
    }
    l->stopped = false;
    return alive;
}

void uv_stop(uv_loop_t *loop)
{
    sim_loop_of(loop)->stopped = true;
}

uint64_t uv_now(const uv_loop_t *loop)
{
    return sim_loop_of(loop)->time_ms;
}

uint64_t uv_hrtime(void)
{
    return kernel_clock();
}
