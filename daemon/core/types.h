/*
 * The words of the core. Every other header of the daemon uses these and no others.
 *
 *   partition    the keys that share an epoch, a seq and a channel: all of one key_prefix in one database
 *   version      the application's order of one key's values, 1 .. 2^63-1
 *   auto version a version given by the store because the writer named none (0 in a request)
 *   seq          the store's order: raised by every committed write; within one epoch it decides which of
 *                two records of a key is newer
 *   epoch        one unbroken history of the store: a random id without order
 *   run          what an epoch stands on: one Redis server process with one replication history
 *   meta         the hash of the partition in Redis: epoch, run, seq, cleared
 *   last         highest seq up to which the subscription has delivered everything
 *   generation   number of a stretch without a gap; an entry of an older one is suspect
 *   suspect      cached, not proven current: its seq is confirmed in Redis before it is served
 *   floor        newest (seq, version) the pod has seen for a key in this epoch
 *   heartbeat    the proof, every H = D/4, that the subscription has delivered everything up to a moment
 *   as_of        CLOCK_BOOTTIME of the moment up to which an answer is proven current
 *   lease        now - as_of <= D
 *   mark         note placed before a fetch is sent; collects what overtakes it
 *   flight       the one fetch or confirmation of a key that is under way, with its mark and its readers
 *   tombstone    a deleted key's version, kept so that an older write cannot bring it back
 *   refused      explicit error: freshness cannot be proven
 *   local        kept by a reader pod for itself alone, never committed
 *
 * All times are CLOCK_BOOTTIME in nanoseconds unless a name says otherwise (_ms, _us); 0 means "never".
 * "Store time" is the wall clock of the Redis server.
 */
#ifndef DCACHED_CORE_TYPES_H
#define DCACHED_CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/slice.h"

#define VERSION_MAX INT64_MAX /* versions are 1 .. 2^63-1 */
/* No store counts up to it (they begin at microseconds since 1970). What is above was written past dcached, and
 * must not make everything else look as if it had gone back. */
#define SEQ_MAX        UINT64_C(3999999999999999999)
#define SOURCE_MAX     63 /* bytes of a pod id inside a record */
#define WRITE_ID_BYTES 16

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)

/* 32 lower-case hex digits; the empty text is "no epoch". */
struct epoch {
    char text[33];
};

/* Run id of a Redis server, or its replication id, 1 .. 40 characters as INFO prints it; empty is "unknown". */
struct run_id {
    char text[41];
};

#define RUN_HALF 20 /* characters: 80 random bits of each id */

/*
 * The run that a server is: the first half of its run id, the first half of its replication id (master_replid).
 * The first changes when the process ends, the second when it has followed another server and is a master again
 * (and, harmlessly, when its first replica attaches or the last one has been away for repl-backlog-ttl).
 */
static inline struct run_id run_join(const struct run_id *server, const struct run_id *history)
{
    struct run_id run = *server;
    size_t len = strnlen(server->text, RUN_HALF);

    if (history->text[0] == '\0')
        return run;
    memcpy(run.text + len, history->text, RUN_HALF);
    run.text[len + strnlen(history->text, RUN_HALF)] = '\0';
    return run;
}

static inline bool epoch_equal(const struct epoch *a, const struct epoch *b)
{
    return strcmp(a->text, b->text) == 0;
}

static inline bool run_id_equal(const struct run_id *a, const struct run_id *b)
{
    return strcmp(a->text, b->text) == 0;
}

/* What the hash of the partition said. */
enum meta_state {
    META_OK,      /* all four fields are there and well-formed */
    META_MISSING, /* no hash, or a field is absent */
    META_INVALID, /* a field is no canonical number or id */
};

struct meta {
    enum meta_state state;
    struct epoch epoch; /* as far as readable; empty otherwise */
    struct run_id run;  /* as far as readable; empty otherwise */
    uint64_t seq;       /* 0 unless META_OK */
    uint64_t cleared;   /* as far as readable, 0 otherwise; records with seq <= cleared are absent */
    /* There is a meta, and it does not say what was cleared: nobody can know which records are absent. */
    bool cleared_unknown;
};

enum record_kind {
    RECORD_VALUE,     /* carries its value */
    RECORD_TOMBSTONE, /* the key was deleted at this version */
    RECORD_BARE,      /* only in messages: a value was stored but is not carried (invalidation) */
};

/* One committed state of one key. source and value borrow from whoever made the record. */
struct record {
    enum record_kind kind;
    uint64_t version;
    uint64_t seq;
    uint64_t timestamp_ns; /* store time of the commit, since 1970 */
    uint64_t expiry_ms;    /* store time, since 1970; 0: never */
    struct slice source;   /* id of the pod that wrote it, <= SOURCE_MAX bytes */
    struct slice value;    /* empty unless RECORD_VALUE */
    uint8_t write_id[WRITE_ID_BYTES];
};

/* What can change while the core runs; the fields of core_config. */
struct core_policy {
    uint64_t max_stale_ns;
    bool stale_on_partition;
    uint64_t sampler_interval_ns;
    unsigned sampler_samples;
};

enum read_outcome {
    READ_ABSENT,  /* proven: no value (a tombstone counts) */
    READ_FRESH,   /* within the lease */
    READ_STALE,   /* permitted by the call or the policy; age_ns says how old */
    READ_LOCAL,   /* this reader pod's own set; outside the promises */
    READ_REFUSED, /* `reason` says why */
    READ_ERROR,   /* Redis holds something unreadable under the key, or answered with an error (`text`) */
};

/* What a read was counted as; the counters of CORE_COUNTERS. */
enum read_counted { COUNTED_NOT, COUNTED_HIT, COUNTED_MISS, COUNTED_REFUSED, COUNTED_ERROR };

#endif
