/*
 * A simulated operating system: processes with clocks, descriptors and random numbers of their own, in virtual
 * time, in one thread. Real code (the daemon, the client library, anything that waits in poll) runs in a process
 * as on a real system; the linker sends its system calls here (--wrap, kernel.c), and its libuv is uv.c.
 *
 * Each process has a stack of its own. It runs from the moment it is scheduled until it waits (poll, the poll
 * phase of uv_run, os_sleep_until), or until it is stopped or killed in the middle of a write. Waking up takes
 * step_min_ns .. step_max_ns of virtual time, drawn anew for each wake-up, and so does every turn of a loop; while
 * a process runs, time stands still. So the seed decides in which order processes that are due at about the
 * same time run.
 *
 * One heap of (time, order) holds everything that will happen. Nothing here depends on anything but the seed and
 * the calls made: os_hash, over every byte and time that moved, is the same for each run of a seed.
 *
 * Several worlds one after another are fine; two at the same time are not (the system calls belong to one).
 *
 *   os.h           time, events, random numbers, processes
 *   net.h          servers, names, links and their faults
 *   daemon_host.h  a process that runs the real daemon
 *   client_host.h  a process that runs handles of the real client library
 */
#ifndef DCACHED_SIM_OS_H
#define DCACHED_SIM_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OS_US UINT64_C(1000)
#define OS_MS UINT64_C(1000000)
#define OS_S  UINT64_C(1000000000)

struct os;
struct os_process;
struct os_event;

struct os_config {
    uint64_t seed;
    uint64_t step_min_ns, step_max_ns; /* of a wake-up or turn; 0, 0: 1 us .. 20 us */
    /* One line (with its newline) that a process logged. NULL: nothing is logged, which is much faster. */
    void (*on_log)(void *ctx, struct os_process *process, const char *line, size_t len);
    void *ctx;
};

/* Never NULL: out of memory ends the program. */
struct os *os_new(const struct os_config *config);
/* Kills what runs and frees everything. Servers of net.h are told of closed connections as by os_process_kill. */
void os_free(struct os *os);

/* ---- time and events -------------------------------------------------------------------------------------- */

/* Virtual nanoseconds since the world began; CLOCK_BOOTTIME and CLOCK_REALTIME of a process are this plus a base
 * and an offset. */
uint64_t os_now(const struct os *os);

/* fn runs at `at` (or now, if that is past), outside of every process. In order of time, then of the calls. The
 * event is gone when fn is called; cancelling it before that is the owner's. */
struct os_event *os_at(struct os *os, uint64_t at, void (*fn)(void *arg), void *arg);
void os_cancel(struct os *os, struct os_event *event);

/* Everything up to `until`, which is then now. Not to be called from within a process. */
void os_run_until(struct os *os, uint64_t until);
/* The next event alone. False: nothing will ever happen. */
bool os_step(struct os *os);

/* ---- random numbers, the hash ----------------------------------------------------------------------------- */

/* The system's own numbers. A world takes its own from a stream of its own, so that its plan does not depend
 * on what processes do. */
uint64_t os_random(struct os *os);
/* lo .. hi, both included. */
uint64_t os_random_between(struct os *os, uint64_t lo, uint64_t hi);

/* Over everything that moved so far. */
uint64_t os_hash(const struct os *os);
/* Something of the world's own that has to be the same too. */
void os_hash_add(struct os *os, const void *bytes, size_t len);

/* ---- processes -------------------------------------------------------------------------------------------- */

enum os_process_state {
    OS_ENDED, /* not started yet, ended by itself, or killed: no memory, no descriptors */
    OS_RUNNING,
    OS_STOPPED, /* SIGSTOP: executes nothing; its clock goes on, its sockets take what fits in their buffers */
};

struct os_process_config {
    const char *name; /* copied */
    /* The program. It runs on the process's own stack (256 KiB). When os_dying, it has to free all it has and
     * return; nothing it does then is seen by anybody. */
    void (*main)(void *arg);
    void *arg;
    int64_t boottime_offset_ns; /* of its CLOCK_BOOTTIME: a time namespace */
};

/* Made in the state OS_ENDED; lives as long as the world. */
struct os_process *os_process_new(struct os *os, const struct os_process_config *config);
const char *os_process_name(const struct os_process *process);
/* Small numbers in the order of os_process_new: 0, 1, ... It is the pid too, plus 1000. */
unsigned os_process_number(const struct os_process *process);
enum os_process_state os_process_state(const struct os_process *process);

/*
 * All of these can be called at any time from outside of the process, and do nothing where they make no sense (to
 * start what runs, to resume what is not stopped).
 *
 * start    its main is called after a step's time
 * stop     SIGSTOP
 * resume   SIGCONT
 * kill     SIGKILL: all its sockets close (RST if bytes were unread, FIN otherwise; what it wrote before still
 *          arrives), its memory is freed, unseen
 * signal   SIGTERM, SIGINT or SIGHUP, to a daemon
 */
void os_process_start(struct os_process *process);
void os_process_stop(struct os_process *process);
void os_process_resume(struct os_process *process);
void os_process_kill(struct os_process *process);
void os_process_signal(struct os_process *process, int signum);

/*
 * The process is stopped (or killed) when it is about to hand bytes to the kernel for the n-th time from now
 * (n >= 1: every write, send, uv_try_write, uv_write counts), in the middle of what it does: what it wrote before
 * has left, this has not. This is where F9 bites. `link`, if not OS_LINK_ANY, counts only such links (net.h).
 * Called again, it replaces the earlier wish; OS_AT_WRITE_NOTHING takes it back. fn, if not NULL, is called
 * (outside of the process) when it happens.
 */
enum os_at_write { OS_AT_WRITE_NOTHING, OS_AT_WRITE_STOP, OS_AT_WRITE_KILL };
void os_process_at_write(struct os_process *process, enum os_at_write what, unsigned n, unsigned link,
                         void (*fn)(void *arg), void *arg);

/* CLOCK_REALTIME of this process jumps by this (either way); CLOCK_BOOTTIME does not. */
void os_process_jump_wall(struct os_process *process, int64_t by_ns);
/* CLOCK_BOOTTIME of this process at this moment, in nanoseconds. */
uint64_t os_process_boottime(const struct os_process *process);
/* The virtual time at which the process' CLOCK_BOOTTIME shows (showed, will show) this. */
uint64_t os_process_from_boottime(const struct os_process *process, uint64_t boottime_ns);

/* No descriptor beyond this many at a time (F20): socket, connect and accept then fail with EMFILE. Default 4096.
 */
void os_process_limit_descriptors(struct os_process *process, unsigned limit);

/* ---- from within a process -------------------------------------------------------------------------------- */

/* The process that runs now; NULL: none, the world does. */
struct os_process *os_current(void);
/* Killed: free everything and return. */
bool os_dying(void);
/* Waits; returns at once when dying. */
void os_sleep_until(struct os *os, uint64_t until);

#endif
