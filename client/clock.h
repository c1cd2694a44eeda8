/*
 * The freshness check of the library, and the mapping of the daemon's clock to the one seen here. Pure: the
 * time is an argument.
 *
 * Both sides read CLOCK_BOOTTIME, but a clock namespace can shift it for one of them. The daemon names its
 * clock in the answer to hello, and read it between the instants when hello was sent and answered here. Paired
 * with the first, the offset comes out too large, never too small, and a mapped as_of errs towards older. Paired
 * with the second it comes out too small, and the deadline of a write, mapped the other way, errs towards earlier.
 * Of several hellos of one connection the tightest are the best.
 */
#ifndef DCACHED_CLIENT_CLOCK_H
#define DCACHED_CLIENT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

struct clock_map {
    bool known;
    uint64_t offset_ns;     /* daemon's clock minus ours, modulo 2^64; not below the true one */
    uint64_t offset_min_ns; /* not above it */
};

/* CLOCK_BOOTTIME. */
uint64_t clock_now_ns(void);

void clock_map_reset(struct clock_map *map);
/* One hello: sent at `sent_ns` and its answer here by `received_ns` of our clock, `daemon_ns` by the daemon's. */
void clock_map_learn(struct clock_map *map, uint64_t sent_ns, uint64_t received_ns, uint64_t daemon_ns);
/* The daemon's moment by our clock, and ours by the daemon's; neither is later than the true one. Only if `known`.
 */
uint64_t clock_map_here(const struct clock_map *map, uint64_t daemon_ns);
uint64_t clock_map_there(const struct clock_map *map, uint64_t here_ns);

/*
 * May an answer proven current up to as_of_ns (our clock) be handed over now? An as_of in the future proves
 * nothing: no correct daemon gives one. *ret_age_ns is now - as_of, 0 for the future.
 */
bool clock_is_fresh(uint64_t now_ns, uint64_t as_of_ns, uint64_t limit_ns, uint64_t *ret_age_ns);

/* Whole milliseconds until `deadline_ns`, rounded up, for poll: 0 .. INT_MAX. */
int clock_ms_until(uint64_t now_ns, uint64_t deadline_ns);

#endif
