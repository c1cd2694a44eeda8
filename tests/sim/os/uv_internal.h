/*
 * The simulated libuv behind the types of <uv.h>: uv.c (loop, timers, phases, signals), uv_io.c (descriptors,
 * streams, look-ups). Each handle keeps its state outside of the caller's struct, which only points to it.
 */
#ifndef DCACHED_SIM_UV_INTERNAL_H
#define DCACHED_SIM_UV_INTERNAL_H

#include <uv.h>

#include "tests/sim/os/internal.h"

TAILQ_HEAD(sim_handles, sim_handle);

enum sim_kind { SIM_TIMER, SIM_PREPARE, SIM_CHECK, SIM_IDLE, SIM_IO, SIM_SIGNAL, SIM_KINDS };

struct sim_handle {
    uv_handle_t *handle;
    struct sim_loop *loop;
    enum sim_kind kind;
    bool active, closing, unref;
    uv_close_cb on_closed;
    TAILQ_ENTRY(sim_handle) link; /* in loop->kinds, or loop->closing */
    union {
        struct {
            uv_timer_cb fn;
            uint64_t timeout, repeat, start_id;
        } timer;
        uv_prepare_cb prepare;
        uv_check_cb check;
        uv_idle_cb idle;
        struct {
            uv_signal_cb fn;
            int signum;
        } signal;
        struct {
            int fd;             /* -1: none yet */
            uv_poll_cb on_poll; /* of a uv_poll_t */
            int poll_events;
            uv_connect_t *connect;
            int connect_error;
            bool reading;
            uv_alloc_cb alloc;
            uv_read_cb on_read;
            uv_write_t *write; /* one at a time */
            uv_write_cb on_written;
            const char *rest;
            size_t rest_len;
            bool written; /* its callback is due */
            int write_status;
        } io;
    };
};

struct sim_resolve {
    uv_getaddrinfo_t *request;
    uv_getaddrinfo_cb fn;
    struct sim_loop *loop;
    char name[64];
    int port;
    bool done;
    struct os_event *event;
    TAILQ_ENTRY(sim_resolve) link;
};

struct sim_loop {
    struct os_process *process;
    uv_loop_t *loop;
    uint64_t time_ms, start_ids;
    bool stopped; /* uv_stop: uv_run returns after this turn */
    struct sim_handles kinds[SIM_KINDS], closing;
    TAILQ_HEAD(, sim_resolve) resolves;
};

static inline struct sim_handle *sim_of(const void *handle)
{
    return ((const uv_handle_t *)handle)->u.reserved[0];
}

static inline struct sim_loop *sim_loop_of(const uv_loop_t *loop)
{
    return loop->internal_fields;
}

struct sim_handle *sim_handle_new(uv_loop_t *loop, void *handle, uv_handle_type type, enum sim_kind kind);

/* The poll phase; timeout_ms < 0: without end. Also signals and look-ups. */
void sim_poll(struct sim_loop *loop, int64_t timeout_ms);
/* Callbacks of writes and connects that ended without the poll phase; false: there were none. */
bool sim_run_pending(struct sim_loop *loop);
bool sim_has_pending(const struct sim_loop *loop);
/* Of a handle that uv_close was called for. */
void sim_io_close(struct sim_handle *h);
/* Requests that did not end before the handle closed. */
void sim_io_cancel(struct sim_handle *h);
bool sim_io_is_active(const struct sim_handle *h);
void sim_update_time(struct sim_loop *loop);

#endif
