/* What the figures of `status` mean, and what to do about it: one function for each matter. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/dcachectl/doctor.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

#define CLOCK_DIFFERENCE_US 2000000 /* picked */
#define TEXT(s, name)       (int)map_bytes(s, name).len, (const char *)map_bytes(s, name).data

#define RIGHTS_REMEDY "give the user the rights that dcached(8) lists under REDIS USER (ACL SETUSER)"

static bool says(struct slice status, const char *name, const char *what)
{
    return slice_equal(map_bytes(status, name), slice_text(what));
}

static bool mentions(struct slice status, const char *name, const char *what)
{
    struct slice text = map_bytes(status, name);

    return memmem(text.data, text.len, what, strlen(what)) != NULL;
}

/* ---- the link to Redis -------------------------------------------------------------------------------------- */

/* What the text of a link mentions, and what to do then. The first row that fits. */
static const struct {
    const char *mentioned, *remedy;
} link_remedies[] = {
    {"NOPERM", RIGHTS_REMEDY},
    {"WRONGPASS", "correct [redis] username and password_file, or the password in Redis (ACL SETUSER)"},
    {"NOAUTH", "Redis wants a password: set [redis] password_file, and username if it is not the default user"},
    {"AUTH", "see the cause; [redis] username and password_file have to be those of a user in Redis (ACL LIST)"},
    {"DB index", "correct [redis] db, or raise `databases` in redis.conf"},
    {"not a master", "give [redis] addr the address of the primary; after a failover it is another"},
    {"unknown node", "correct the name in [redis] addr, or the resolver of this machine or pod"},
    {"could not be resolved", "look at the resolver of this machine or pod, and at the name in [redis] addr"},
    {"temporary failure", "look at the resolver of this machine or pod, and at the name in [redis] addr"},
    {"connection refused", "start Redis, or correct the address in [redis] addr: nobody listens there"},
    {"no such file", "start Redis, or correct the path of its socket in [redis] addr (unixsocket in redis.conf)"},
    {"permission denied",
     "let the user of dcached reach the socket of Redis (unixsocketperm, its group, folders)"},
    {"LOADING", "wait until Redis has loaded its data; its log says how far it is"},
    {"in time", "look whether Redis is stopped or overloaded, and whether a firewall drops what is sent to it"},
    {"within the staleness bound",
     "look whether Redis is stopped or overloaded; if it is far away: [staleness] bound"},
    {"unreachable", "look at the network between here and [redis] addr"},
};

static const char *link_remedy(struct slice status, const char *link)
{
    for (size_t i = 0; i < sizeof link_remedies / sizeof *link_remedies; i++)
        if (mentions(status, link, link_remedies[i].mentioned))
            return link_remedies[i].remedy;
    return "see the cause; `dcachectl doctor` again in a second, and the log of dcached";
}

static bool link_is_up(struct slice s, const char *link)
{
    return map_bytes(s, link).len == 0 || says(s, link, "ready");
}

bool doctor_link_is_up(struct slice status)
{
    return link_is_up(status, "redis_data");
}

/* Its data connection, its subscription, and where both end. */
static void judge_link(struct doctor *d, struct slice s)
{
    if (!link_is_up(s, "redis_data"))
        doctor_add(d, LEVEL_FAIL, "redis", link_remedy(s, "redis_data"), "%.*s is not connected: %.*s",
                   TEXT(s, "redis_addr"), TEXT(s, "redis_data"));
    else if (!link_is_up(s, "redis_subscription"))
        doctor_add(d, LEVEL_FAIL, "redis", link_remedy(s, "redis_subscription"),
                   "%.*s: the subscription is not there: %.*s", TEXT(s, "redis_addr"),
                   TEXT(s, "redis_subscription"));
    else if (mentions(s, "reason", "not one master"))
        doctor_add(d, LEVEL_FAIL, "redis",
                   "give [redis] addr the address of the primary; after a failover it is another", "%.*s: %.*s",
                   TEXT(s, "redis_addr"), TEXT(s, "reason"));
    else
        doctor_add(d, LEVEL_OK, "redis", "", "%.*s, data and subscription are connected, version %.*s",
                   TEXT(s, "redis_addr"), TEXT(s, "redis_version"));
}

/* ---- the figures -------------------------------------------------------------------------------------------- */

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

/* Where Redis' own words about a missing right stand; NULL: nowhere. */
static const char *names_missing_right(struct slice s)
{
    static const char *const places[] = {"redis_data", "redis_subscription", "writes_text", "reason"};
    /* The last two: of a command within a script, by the version of Redis. */
    static const char *const words[] = {"NOPERM", "can't run this command", "ACL failure"};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (size_t j = 0; j < sizeof words / sizeof *words; j++)
            if (mentions(s, places[i], words[j]))
                return places[i];
    return NULL;
}

/* The daemon has tried it at its start: the script, the publication, the way back and the reading of a key. */
static void judge_rights(struct doctor *d, struct slice s)
{
    const char *place = names_missing_right(s);

    if (place)
        doctor_add(d, LEVEL_FAIL, "rights", RIGHTS_REMEDY, "one is missing: %.*s", TEXT(s, place));
    else if (!doctor_link_is_up(s))
        doctor_not_tried(d, "rights");
    else if (map_bool(s, "writes_ok"))
        doctor_add(d, LEVEL_OK, "rights", "",
                   "to run the scripts, to publish, to subscribe and to read are proven");
    else if (says(s, "role", "reader"))
        doctor_add(d, LEVEL_OK, "rights", "", "a reader pod: it needs none to write");
    else if (map_bytes(s, "writes_text").len == 0)
        doctor_add(d, LEVEL_WARN, "rights", "look again when reads are served",
                   "the write path is not proven yet");
    else
        doctor_add(d, LEVEL_FAIL, "rights",
                   "see the cause; `dcachectl wait --for writes` returns when it is proven",
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
    static const char remedy[] = "if Redis is more than a cache here: appendonly yes, appendfsync always";

    if (map_bytes(s, "redis_persistence_trouble").len > 0)
        doctor_add(d, LEVEL_FAIL, "durability", "look at Redis' log and at its disk", "%.*s",
                   TEXT(s, "redis_persistence_trouble"));
    else if (says(s, "redis_durability", "none"))
        doctor_add(d, LEVEL_WARN, "durability", remedy, "none: a crash of Redis loses all acknowledged writes");
    else if (says(s, "redis_durability", "rdb"))
        doctor_add(d, LEVEL_WARN, "durability", remedy,
                   "rdb: a crash of Redis loses what was acknowledged since the last snapshot");
    else if (says(s, "redis_durability", "aof always"))
        doctor_add(d, LEVEL_OK, "durability", "", "aof always");
    else if (says(s, "redis_durability", "aof everysec"))
        doctor_add(d, LEVEL_WARN, "durability", remedy,
                   "aof everysec: a kill -9 or power failure of Redis can lose the last second(s) of acknowledged "
                   "writes; the loss is visible as a new epoch");
    else if (says(s, "redis_durability", "aof no"))
        doctor_add(
            d, LEVEL_WARN, "durability", remedy,
            "aof no: a power failure of Redis' machine can lose what was acknowledged since the kernel last "
            "wrote to the disk, a kill -9 of Redis the last of it");
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
    uint64_t lost = map_uint(s, "lost"), wrong = map_uint(s, "inconsistencies"), bad = map_uint(s, "bad_records");

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
}

static uint64_t added(struct slice before, struct slice now, const char *name)
{
    uint64_t then = map_uint(before, name), value = map_uint(now, name);

    return value > then ? value - then : 0;
}

bool doctor_has_refusals(struct slice status)
{
    return map_uint(status, "refused") > 0 || map_uint(status, "writes_indeterminate") > 0;
}

void doctor_judge_refusals(struct doctor *d, struct slice before, struct slice now, uint64_t window_ms)
{
    uint64_t refused = map_uint(now, "refused"), reads = map_uint(now, "reads");
    uint64_t refused_now = added(before, now, "refused"), reads_now = added(before, now, "reads");
    uint64_t unknown = map_uint(now, "writes_indeterminate");
    uint64_t unknown_now = added(before, now, "writes_indeterminate");

    if (refused_now * 1000 > reads_now)
        doctor_add(d, LEVEL_WARN, "refusals", "`dcachectl trace KEY` says why for a key, the log says when",
                   "%" PRIu64 " of %" PRIu64 " reads were refused in the last %" PRIu64 " ms", refused_now,
                   reads_now, window_ms);
    else if (refused > 0)
        doctor_add(d, LEVEL_INFO, "refusals", "",
                   "%" PRIu64 " of %" PRIu64 " reads since the start; %" PRIu64 " of %" PRIu64
                   " in the last %" PRIu64 " ms",
                   refused, reads, refused_now, reads_now, window_ms);
    else
        doctor_add(d, LEVEL_OK, "refusals", "", "none of %" PRIu64 " reads", reads);
    if (unknown_now > 0)
        doctor_add(d, LEVEL_WARN, "writes", "applications have to retry them with their write id",
                   "the answer of %" PRIu64 " writes was lost in the last %" PRIu64 " ms", unknown_now, window_ms);
    else if (unknown > 0)
        doctor_add(d, LEVEL_INFO, "writes", "", "the answer of %" PRIu64 " writes was lost since the start",
                   unknown);
}

/* What the figures say of Redis is old, or of nothing, while it is away. */
static void judge_redis(struct doctor *d, struct slice s, uint64_t wall_us)
{
    static const char *const checks[] = {"heartbeat", "store clock", "durability", "eviction", "replicas"};

    if (doctor_link_is_up(s)) {
        judge_proof(d, s);
        judge_clock(d, s, wall_us);
        judge_durability(d, s);
        judge_eviction(d, s);
        judge_replicas(d, s);
        return;
    }
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        doctor_not_tried(d, checks[i]);
}

void doctor_judge(struct doctor *d, struct slice status, uint64_t wall_us)
{
    judge_link(d, status);
    judge_ready(d, status);
    judge_rights(d, status);
    judge_redis(d, status, wall_us);
    judge_cache(d, status);
    judge_counters(d, status);
}
