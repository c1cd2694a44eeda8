/*
 * What the core measures beyond its plain counters (CORE_COUNTERS): counts by reason, and how long things take.
 * Since start, like the counters.
 */
#ifndef DCACHED_CORE_MEASURE_H
#define DCACHED_CORE_MEASURE_H

#include "daemon/core/core.h"
#include "daemon/core/histogram.h"

/* What showed that messages are missing. */
enum gap_reason {
    GAP_MESSAGE,   /* the next message */
    GAP_HEARTBEAT, /* a heartbeat */
    GAP_START,     /* the first messages of a subscription that is starting */
    GAP_REASON_COUNT
};

struct core_measures {
    uint64_t reads_refused[REASON_COUNT]; /* sum: `refused` */
    uint64_t writes_refused[REASON_COUNT];
    uint64_t gaps[GAP_REASON_COUNT];
    /* now - as_of of each hit: how old the proof is that it rests on. Local ones have none. */
    struct histogram staleness;
    /*
     * From the commit of a record to its message being applied. The commit is a moment of the store's clock; the
     * heartbeat ties that clock to ours from below, so this is too long by up to one round trip, and never too
     * short unless the store's clock was set since the last heartbeat.
     */
    struct histogram lag;
    /* From the start of a heartbeat to its end: our clock alone. No message takes longer that was sent meanwhile.
     */
    struct histogram heartbeat;
    /* Now. */
    uint64_t pending_bytes; /* keys and values of unfinished writes */
    uint64_t trace_bytes;   /* the flight recorder */
};

struct core;

/* A read that counts as `counted` ends refused after all: its answer cannot be given. COUNTED_NOT: it never came
 * to the core. */
void core_count_refused(struct core *core, enum read_counted counted, enum core_reason reason);

void core_get_measures(const struct core *core, struct core_measures *ret_measures);

/* "no_link": the name of a reason in traces and metrics. "" for REASON_NONE. */
const char *core_reason_name(enum core_reason reason);
/* "message", "heartbeat", "start" */
const char *core_gap_name(enum gap_reason reason);

#endif
