/*
 * What the machine held back: for how long daemons, their links, Redis and the callers were ready to run and got
 * no CPU (the kernel's own account of it, see stalls.c), and for how long the machine stood still as a whole.
 *
 * It excuses upper limits of time alone, AVAIL and CONV: whatever comes too late is no violation if it would have
 * been in time without the stall that was measured between the moment its time began and its end. A finding waits
 * for a while until the stall that may have caused it has been noted.
 */
#ifndef DCACHED_CHAOS_JUDGE_STALL_H
#define DCACHED_CHAOS_JUDGE_STALL_H

#include "tests/chaos/report.h"

/* A finding waits so long: the account of a stall is closed when it is over, and read every 10 ms. Picked. */
#define STALL_NOTED_NS UINT64_C(200000000)

struct stall {
    uint64_t at, ns; /* when it was over, how long it was */
};

#define STALLS_KEPT 8192 /* of a lane: at least 20 s */

struct stall_lane {
    struct stall *row; /* a ring; NULL: none yet */
    uint64_t count;
};

struct stalls {
    struct stall_lane pods[PODS_MAX], redis, machine, threads[STREAMS_MAX];
    unsigned pods_count;
    bool watched;            /* there is a monitor */
    uint64_t ticks, stalled; /* without a fault, of each pod; those behind half a D of stall */
};

/* Something that came too late. */
struct late {
    enum promise promise;
    const char *what;
    struct history_record record; /* kind 0: there is none but time and pod */
    unsigned stream;
    struct {
        uint64_t from,
            excess;        /* it is excused if at least this much was stalled from that moment to the record's */
        uint64_t own_from; /* from there on the caller's thread is included; 0: it is not */
    } excuses[2];
};

struct judge;

void stalls_deinit(struct stalls *s);
void stalls_note(struct judge *j, const struct history_record *tick);
/* How long pod, its link, Redis or the machine were held back in that time; at most all of it. */
uint64_t stalls_of_pod(const struct stalls *s, unsigned pod, uint64_t from, uint64_t to);

/* Keeps it until it can be decided. */
void late_add(struct judge *j, const struct late *l);
/* Decides what is old enough; end: all. */
void late_judge(struct judge *j, bool end);

#endif
