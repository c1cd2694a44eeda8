/*
 * The flight recorder: the last events of the pod in a ring of records of one size, to be asked for by key.
 *
 * A record has no key, only its 64-bit hash: another key's event is shown by mistake once in 2^64 pairs. An event
 * without a key (a new epoch, a generation, readiness) concerns every key, and is in the trace of each. Nothing is
 * recorded for a plain hit. When the ring is full the oldest record goes: that is the outcome at its limit, and
 * trace_stats says how far back the ring reaches.
 *
 * A refusal that repeats the last record of its key is counted into that record, so that a key refused all the
 * time does not wash away how it came to that.
 *
 * Pure, one thread: time comes with the event. All memory is taken at the start: TRACE_RECORD_BYTES for each
 * record, TRACE_FIXED_BYTES beside them.
 */
#ifndef DCACHED_CORE_TRACE_H
#define DCACHED_CORE_TRACE_H

#include "daemon/core/types.h"

#define TRACE_SOURCES      256  /* names of pods kept; further ones are shown as unknown */
#define TRACE_RECENT       1024 /* places that remember the last record of a key */
#define TRACE_EVENTS_MAX   1048576
#define TRACE_RECORD_BYTES 48
#define TRACE_FIXED_BYTES  32768 /* at most */

/* X(name, words): what happened; the word of `detail` follows the words. */
#define TRACE_KINDS(X)                                        \
    X(WRITE, "write sent")                                    \
    X(ACKNOWLEDGE, "write answered")                          \
    X(WRITE_REFUSED, "write refused")                         \
    X(RECEIVE, "message received")                            \
    X(REJECT, "stale data rejected")                          \
    X(FILL, "entered the cache")                              \
    X(UNCACHED, "not cached")                                 \
    X(ABSENT, "found absent in Redis")                        \
    X(CONFIRM, "confirmed by seq")                            \
    X(OVERTAKEN, "fetch overtaken by something newer")        \
    X(UNREADABLE, "record in Redis unreadable")               \
    X(EVICT, "evicted")                                       \
    X(EXPIRE, "expired")                                      \
    X(REFUSE, "read refused")                                 \
    X(STALE, "served stale")                                  \
    X(HOOK, "value seen by the hook")                         \
    X(DIFFER, "differs from Redis")                           \
    X(INCONSISTENT, "still differs after the bound: dropped") \
    X(LOST, "lost by Redis: dropped")                         \
    X(EPOCH, "new epoch")                                     \
    X(GENERATION, "new generation")                           \
    X(GAP, "messages missing")                                \
    X(READY, "ready")                                         \
    X(NOT_READY, "not ready")

enum trace_kind {
#define X(name, words) TRACE_##name,
    TRACE_KINDS(X)
#undef X
        TRACE_KIND_COUNT
};

/* What `detail` is, by kind. */
enum trace_write_op { TRACE_SET, TRACE_DELETE, TRACE_CLEAR }; /* WRITE; as enum write_op */
/* RECEIVE */
enum trace_receive {
    TRACE_APPLIED,
    TRACE_INVALIDATED, /* only the older copy went */
    TRACE_REPEATED,    /* what it says is known */
    TRACE_LATE,        /* at or below `last` */
    TRACE_UNSURE,      /* in order, but perhaps older than what was forgotten: inserts nothing */
};
/* DIFFER: what a look into Redis showed beside the cached copy */
enum trace_finding { TRACE_NEWER, TRACE_CHANGED, TRACE_GARBAGE, TRACE_GONE };
/* FILL, UNCACHED, REJECT: where it came from */
enum trace_origin { TRACE_FROM_MESSAGE, TRACE_FROM_FETCH, TRACE_FROM_WRITE, TRACE_FROM_LOCAL };
/* ACKNOWLEDGE: enum write_outcome. HOOK: enum hook_verdict. WRITE_REFUSED, REFUSE, NOT_READY: enum core_reason. */

struct trace_record {
    uint64_t at;      /* CLOCK_BOOTTIME */
    uint64_t hash;    /* of the key; 0: concerns every key */
    uint64_t version; /* 0: none. GENERATION: its number */
    uint64_t seq;     /* 0: none */
    uint64_t other;   /* REJECT, DIFFER, INCONSISTENT, LOST: version it was compared with; GAP: seq delivered up
                         to; OVERTAKEN: seq of what overtook it; REFUSE: how many more of the same */
    uint32_t age_ms;  /* of the record since its commit; STALE: of the proof; REFUSE: from the first to the last */
    uint16_t source;  /* pod that wrote it, for trace_source; 0: unknown */
    uint8_t kind, detail;
};

_Static_assert(sizeof(struct trace_record) == TRACE_RECORD_BYTES, "what the manual page says");

/* An event on its way in; what does not apply is 0. */
struct trace_event {
    enum trace_kind kind;
    unsigned detail;
    uint64_t at, hash;
    struct slice key; /* for the core: hashed if `hash` is 0; empty: concerns every key */
    uint64_t version, seq, other;
    uint64_t timestamp_ns; /* for the core: store time of the commit, which makes the age */
    uint64_t age_ns;
    struct slice source;
};

struct trace_stats {
    uint64_t recorded; /* since the start; those that are gone included */
    uint64_t held;     /* in the ring */
    uint64_t oldest;   /* CLOCK_BOOTTIME of the oldest held; 0: none */
    uint64_t bytes;
};

struct trace;

/* events: room for so many records, 1 .. TRACE_EVENTS_MAX. 0 or -ENOMEM. */
int trace_new(struct trace **ret, size_t events);
struct trace *trace_free(struct trace *trace); /* returns NULL; NULL is fine */

void trace_add(struct trace *trace, const struct trace_event *event);
/* The last `max` records of this key and of every key, oldest first. Returns how many. */
unsigned trace_last(const struct trace *trace, uint64_t hash, unsigned max, struct trace_record *ret_records);
/* The name of the pod; empty: unknown. Valid as long as the trace. */
struct slice trace_source(const struct trace *trace, const struct trace_record *record);
void trace_get_stats(const struct trace *trace, struct trace_stats *ret_stats);

/* "fill", "write_refused": the name on the wire. */
const char *trace_kind_name(enum trace_kind kind);
const char *trace_kind_words(enum trace_kind kind);
/* The word of the detail; "" if the kind has none. */
const char *trace_detail_name(const struct trace_record *record);

/* ---- the core's ------------------------------------------------------------------------------------------- */

struct core;

/* trace_last of the core's recorder; 0 if it has none. */
unsigned core_trace(const struct core *core, struct slice key, unsigned max, struct trace_record *ret_records);
const struct trace *core_get_trace(const struct core *core); /* NULL: it has none */

#endif
