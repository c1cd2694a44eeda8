/* What the figures of `status` mean, and what to do about it: one function for each matter. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/dcachectl/doctor.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

#define CLOCK_DIFFERENCE_US 2000000 /* picked */
#define TEXT(s, name)       (int)map_bytes(s, name).len, (const char *)map_bytes(s, name).data

static bool says(struct slice status, const char *name, const char *what)
{
    return slice_equal(map_bytes(status, name), slice_text(what));
}

static void judge_ready(struct doctor *d, struct slice s)
{
    if (map_bool(s, "ready"))
        doctor_add(d, LEVEL_OK, "reads", "",
                   "served: proven current as of %" PRIu64 " ms ago, the bound is %" PRIu64 " ms",
                   map_uint(s, "as_of_age_ms"), map_uint(s, "bound_ms"));
    else
        doctor_add(d, LEVEL_FAIL, "reads", "see the cause; `dcachectl wait` returns when they are served again",
                   "not served: %.*s", TEXT(s, "reason"));
}

/* The daemon has tried it at its start: the script, the publication, the way back and the reading of a key. */
static void judge_rights(struct doctor *d, struct slice s)
{
    if (map_bool(s, "writes_ok"))
        doctor_add(d, LEVEL_OK, "rights", "",
                   "to run the scripts, to publish, to subscribe and to read are proven");
    else if (says(s, "role", "reader"))
        doctor_add(d, LEVEL_OK, "rights", "", "a reader pod: it needs none to write");
    else
        doctor_add(d, LEVEL_FAIL, "rights",
                   "give the user the rights that dcached(8) lists (ACL SETUSER), or make Redis reachable",
                   "the write path is not proven: %.*s", TEXT(s, "writes_text"));
}

static void judge_proof(struct doctor *d, struct slice s)
{
    uint64_t heartbeat_us = map_uint(s, "heartbeat_ms") * 1000, taken_us = map_uint(s, "round_trip_us");

    if (taken_us * 2 > heartbeat_us && heartbeat_us > 0)
        doctor_add(d, LEVEL_WARN, "heartbeat", "make [staleness] bound longer, or the way to Redis shorter",
                   "takes %" PRIu64 " us of the %" PRIu64
                   " us between two: little is left before reads are refused",
                   taken_us, heartbeat_us);
    else
        doctor_add(d, LEVEL_OK, "heartbeat", "", "takes %" PRIu64 " us, every %" PRIu64 " ms", taken_us,
                   heartbeat_us / 1000);
}

static void judge_clock(struct doctor *d, struct slice s, uint64_t wall_us)
{
    uint64_t store_us = map_uint(s, "store_time_us");
    uint64_t apart_us = store_us > wall_us ? store_us - wall_us : wall_us - store_us;

    if (store_us == 0)
        doctor_add(d, LEVEL_WARN, "store clock", "nothing, once reads are served", "not known yet");
    else if (apart_us > CLOCK_DIFFERENCE_US)
        doctor_add(d, LEVEL_WARN, "store clock",
                   "let both machines follow NTP. No promise depends on it; times to live and shown ages do",
                   "Redis' clock and the one here are %" PRIu64 " ms apart", apart_us / 1000);
    else
        doctor_add(d, LEVEL_OK, "store clock", "", "%" PRIu64 " ms from the one here", apart_us / 1000);
}

static void judge_durability(struct doctor *d, struct slice s)
{
    static const char remedy[] = "if Redis is more than a cache here: appendonly yes, appendfsync everysec";

    if (map_bytes(s, "redis_persistence_trouble").len > 0) {
        doctor_add(d, LEVEL_FAIL, "durability", "look at Redis' log and at its disk", "%.*s",
                   TEXT(s, "redis_persistence_trouble"));
        return;
    }
    if (says(s, "redis_durability", "none"))
        doctor_add(d, LEVEL_WARN, "durability", remedy, "none: a crash of Redis loses all acknowledged writes");
    else if (says(s, "redis_durability", "rdb"))
        doctor_add(d, LEVEL_WARN, "durability", remedy,
                   "rdb: a crash of Redis loses what was acknowledged since the last snapshot");
    else if (says(s, "redis_durability", "aof always") || says(s, "redis_durability", "aof everysec"))
        doctor_add(d, LEVEL_OK, "durability", "", "%.*s", TEXT(s, "redis_durability"));
    else
        doctor_add(d, LEVEL_WARN, "durability", "allow CONFIG GET to the user, to have it shown", "%.*s",
                   TEXT(s, "redis_durability"));
}

static void judge_eviction(struct doctor *d, struct slice s)
{
    uint64_t used = map_uint(s, "redis_used_bytes"), limit = map_uint(s, "redis_max_bytes");
    char a[TEXT_SMALL], b[TEXT_SMALL];

    if (map_bytes(s, "redis_eviction").len == 0 || says(s, "redis_eviction", "unknown"))
        doctor_add(d, LEVEL_WARN, "eviction", "allow INFO to the user, to have it shown", "unknown");
    else if (limit == 0)
        doctor_add(d, LEVEL_OK, "eviction", "", "none: Redis has no maxmemory; %s used", text_size(a, used));
    else if (!says(s, "redis_eviction", "noeviction"))
        doctor_add(
            d, LEVEL_WARN, "eviction",
            "maxmemory-policy noeviction; where Redis has to evict, expect new epochs and versions that start "
            "again",
            "%.*s: at %s of memory Redis drops records, and with them the versions that keep older writes out",
            TEXT(s, "redis_eviction"), text_size(a, limit));
    else if (used > limit - limit / 10)
        doctor_add(d, LEVEL_WARN, "eviction", "raise maxmemory, or give keys a time to live",
                   "noeviction, and %s of %s are used: writes will fail when it is full", text_size(a, used),
                   text_size(b, limit));
    else
        doctor_add(d, LEVEL_OK, "eviction", "", "noeviction; %s of %s used", text_size(a, used),
                   text_size(b, limit));
}

static void judge_replicas(struct doctor *d, struct slice s)
{
    uint64_t replicas = map_uint(s, "redis_replicas"), wanted = map_uint(s, "min_replicas");

    if (wanted > replicas)
        doctor_add(d, LEVEL_FAIL, "replicas", "bring the replicas back, or lower [staleness] min_replicas",
                   "%" PRIu64 " of the %" PRIu64 " that have to acknowledge are connected", replicas, wanted);
    else if (replicas > 0 && wanted == 0)
        doctor_add(d, LEVEL_WARN, "replicas",
                   "set [staleness] min_replicas if a failover may happen by itself (dcached.conf(5))",
                   "%" PRIu64
                   " connected, and none has to acknowledge: an old primary kept alive by a network split "
                   "would be believed",
                   replicas);
    else
        doctor_add(d, LEVEL_OK, "replicas", "", "%" PRIu64 " connected, %" PRIu64 " have to acknowledge", replicas,
                   wanted);
}

static void judge_cache(struct doctor *d, struct slice s)
{
    uint64_t used = map_uint(s, "entries_bytes") + map_uint(s, "floors_bytes"),
             budget = map_uint(s, "memory_bytes");
    uint64_t reads = map_uint(s, "reads"), hits = map_uint(s, "hits");
    char a[TEXT_SMALL], b[TEXT_SMALL], share[TEXT_SMALL];

    text_share(share, hits, reads);
    if (budget > 0 && used > budget / 10 * 7 && reads >= 1000 && hits < reads / 5 * 4)
        doctor_add(d, LEVEL_WARN, "cache", "raise [cache] max_memory", "full (%s of %s), and only %s of reads hit",
                   text_size(a, used), text_size(b, budget), share);
    else
        doctor_add(d, LEVEL_OK, "cache", "", "%s of %s used, hits %s of %" PRIu64 " reads", text_size(a, used),
                   text_size(b, budget), share, reads);
}

static void judge_counters(struct doctor *d, struct slice s)
{
    uint64_t refused = map_uint(s, "refused"), reads = map_uint(s, "reads"), lost = map_uint(s, "lost");
    uint64_t wrong = map_uint(s, "inconsistencies"), bad = map_uint(s, "bad_records");

    if (refused * 1000 > reads)
        doctor_add(d, LEVEL_WARN, "refusals", "`dcachectl trace KEY` says why for a key, the log says when",
                   "%" PRIu64 " of %" PRIu64 " reads were refused since the start", refused, reads);
    else
        doctor_add(d, LEVEL_OK, "refusals", "", "%" PRIu64 " of %" PRIu64 " reads", refused, reads);
    if (wrong > 0)
        doctor_add(
            d, LEVEL_FAIL, "consistency",
            "find who writes to Redis past dcached; if nobody does, it is a bug: keep the log and the trace",
            "the sampler found %" PRIu64 " entries that were not what Redis holds, and dropped them", wrong);
    else if (lost > 0)
        doctor_add(d, LEVEL_WARN, "consistency", "look for evictions in Redis, and for who deletes keys there",
                   "Redis has lost %" PRIu64 " records that were cached", lost);
    else
        doctor_add(d, LEVEL_OK, "consistency", "", "%" PRIu64 " entries compared with Redis, none wrong",
                   map_uint(s, "compared"));
    if (bad > 0)
        doctor_add(d, LEVEL_WARN, "records", "find who writes below [redis] key_prefix past dcached",
                   "%" PRIu64 " records in Redis could not be read", bad);
    if (map_uint(s, "writes_indeterminate") > 0)
        doctor_add(d, LEVEL_WARN, "writes", "applications have to retry them with their write id",
                   "the answer of %" PRIu64 " writes was lost since the start",
                   map_uint(s, "writes_indeterminate"));
}

void doctor_judge(struct doctor *d, struct slice status, uint64_t wall_us)
{
    judge_ready(d, status);
    judge_rights(d, status);
    judge_proof(d, status);
    judge_clock(d, status, wall_us);
    judge_durability(d, status);
    judge_eviction(d, status);
    judge_replicas(d, status);
    judge_cache(d, status);
    judge_counters(d, status);
}
