/*
 * Is the core getting anywhere? What the watchdog of systemd is fed by: a loop that turns is not enough.
 *
 * Two things happen again and again in a healthy daemon, whatever clients and Redis do:
 *   settled    at some moment nothing is due in the core: every tick it asked for has come and has dealt with
 *              what was due. A lost timer, or a core that asks for a tick for ever, is never settled again.
 *   attempts   a heartbeat is asked, or, while Redis is away, a connection is tried; an attempt may fail.
 * Each may be absent for as long as the slowest Redis explains.
 *
 * `now` is uv_hrtime, which stops in suspend: what was due while the machine slept is not late.
 */
#ifndef DCACHED_HOST_PROGRESS_H
#define DCACHED_HOST_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* A connection that resolves a name, authenticates and asks its questions gives up within 10 s; picked above. */
#define PROGRESS_PATIENCE_MIN_NS (15 * UINT64_C(1000000000))

struct progress {
    uint64_t patience_ns;
    uint64_t settled_at, attempted_at;
    uint64_t attempts;
};

/* bound_ns is D: an unanswered heartbeat is given up after D, the pause before the next attempt is D/4 at most. */
void progress_init(struct progress *progress, uint64_t bound_ns, uint64_t now);
/* Nothing is due. */
void progress_settled(struct progress *progress, uint64_t now);
/* attempts: a number that every attempt changes. True: the core makes progress. */
bool progress_look(struct progress *progress, uint64_t attempts, uint64_t now);

#endif
