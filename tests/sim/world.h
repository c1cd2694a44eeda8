/*
 * The world of one seed: one to four pods, each with the real daemon and applications on the real client library,
 * two simulated Redis servers, the network between them, faults, and the truth. All of it runs in one thread and
 * in virtual time (os/), with real bytes on every connection (redis/ answers them); a seed is a whole run.
 *
 *   settings.c  what is drawn for a seed             node.c      the two servers: connections, replication, hands
 *   fault*.c    the faults of a seed                 witness.c   looks at what servers store, and writes the truth
 *   calls.c     what applications ask                truth.c     what really happened
 *   answers.c   what they were answered              tap.c       what goes in and out of each core
 *   check*.c    the promises                         world.c     phases, log, violations
 *   sim.c       many seeds
 *
 * Phases: start-up; a crowd that misses one key, if that was drawn; work (faults and calls) from work_at to
 * heal_at; then no writes and no faults: every pod has to come to a hit, and within 2 s + D to what Redis holds.
 */
#ifndef DCACHED_SIM_WORLD_WORLD_H
#define DCACHED_SIM_WORLD_WORLD_H

#include "tests/sim/os/client_host.h"
#include "tests/sim/os/daemon_host.h"
#include "tests/sim/os/net.h"
#include "tests/sim/redis/server.h"
#include "tests/sim/rng.h"
#include "tests/sim/truth.h"

#define SIM_PODS        4
#define SIM_CLIENT_KEYS 4
#define SIM_CROWD_KEY   4 /* read by nobody but the crowd */
#define SIM_CLIENTS     2 /* application processes of a pod */
#define SIM_HANDLES     3 /* connections of each */
#define SIM_FAULTS      16
#define SIM_LOG_LINES   120
#define SIM_LOG_LINE    240
#define SIM_USER        "pod"
#define SIM_PREFIX      "dc:{0}:"
#define SIM_META_KEY    "dc:{0}!meta"
#define SIM_CHANNEL     "cache:invalidate:0:dc:{0}"

/* ---- faults ------------------------------------------------------------------------------------------------- */

/* X(name, number as in tests/chaos, what it is). Each is drawn, begun and ended in fault*.c. */
#define FAULT_KINDS(X)                                                                            \
    X(stall, "F1", "nothing moves, both ways, no error")                                          \
    X(mute, "F2", "half open: what the pod sends is swallowed")                                   \
    X(deaf, "F2", "half open: what Redis sends is swallowed")                                     \
    X(slow, "F3", "a link is slow and jitters, 0 .. 2 D")                                         \
    X(late_subscription, "F4", "the subscription is late, data is fast")                          \
    X(late_data, "F5", "fetch answers are late, the subscription is fast")                        \
    X(cut, "F6", "a connection breaks after byte n, again and again")                             \
    X(client_kill, "F7", "CLIENT KILL of the pod's connections every so often")                   \
    X(output_limit, "F8", "a slow subscriber is closed at its output limit")                      \
    X(stop_daemon, "F9", "SIGSTOP of a daemon")                                                   \
    X(stop_at_write, "F9", "SIGSTOP of a daemon between its check and its write")                 \
    X(stop_client, "F10", "SIGSTOP of an application with answers pending")                       \
    X(pause, "F11", "Redis executes nothing for a while")                                         \
    X(busy, "F11", "a script of somebody else blocks Redis")                                      \
    X(crash, "F12", "kill -9 of Redis, which finds again what the persistence of the seed kept")  \
    X(empty, "F13", "Redis comes back empty")                                                     \
    X(failover, "F14", "a lagging replica becomes the master")                                    \
    X(clean_failover, "F14", "a replica that has everything becomes the master")                  \
    X(split_brain, "F14", "a replica becomes a master and the old one stays one, with some pods") \
    X(two_nodes, "F15", "one connection of a pod ends on the other server")                       \
    X(flush, "F16", "FLUSHALL")                                                                   \
    X(flush_between, "F16", "FLUSHALL between two commands of a fetch")                           \
    X(del_meta, "F16", "DEL of meta")                                                             \
    X(del_field, "F16", "HDEL of one field of meta")                                              \
    X(script_flush, "F16", "SCRIPT FLUSH")                                                        \
    X(evict, "F16", "records are evicted")                                                        \
    X(oom, "F16", "Redis is out of memory")                                                       \
    X(rights, "F17", "a right of the pods' user is withdrawn")                                    \
    X(half_script, "F17", "the right to publish is withdrawn: scripts store, then fail")          \
    X(password, "F17", "the password is changed")                                                 \
    X(error_replies, "F18", "MISCONF, LOADING, NOREPLICAS or MASTERDOWN")                         \
    X(max_clients, "F18", "Redis takes no further connection")                                    \
    X(server_clock, "F19", "the wall clock of Redis jumps")                                       \
    X(wall_clock, "F19", "the wall clock of a pod jumps")                                         \
    X(descriptors, "F20", "a daemon has no descriptors left")                                     \
    X(race, "F22", "all pods write one key at one moment, with equal and reversed versions")      \
    X(kill_daemon, "F23", "kill -9 of a daemon every so often")                                   \
    X(kill_client, "F24", "an application dies at its n-th write, with requests under way")       \
    X(crowd, "F25", "many readers of a pod miss one key at one moment")                           \
    X(rolling, "F27", "links of pod after pod stand still, and go on in another order")           \
    X(fragments, "-", "bytes arrive one by one")                                                  \
    X(drop, "-", "single messages are lost")                                                      \
    X(repeat, "-", "single messages are delivered twice")                                         \
    X(replay, "-", "messages of the past are published again")                                    \
    X(garbage, "-", "unreadable messages, and messages of unknown epochs")                        \
    X(bad_meta, "-", "meta becomes unreadable")                                                   \
    X(lower_seq, "-", "seq is set far back")                                                      \
    X(corrupt, "-", "records become unreadable")                                                  \
    X(rollback, "-", "a master follows a stale replica for a moment: same process, older data")   \
    X(role_flap, "-", "master to replica and back, no link drops")

enum fault_kind {
#define X(name, number, text) KIND_##name,
    FAULT_KINDS(X)
#undef X
        KIND_COUNT
};

extern const char *const fault_names[KIND_COUNT];

struct fault {
    struct world *world;
    enum fault_kind kind;
    uint64_t at, until;
    int pod;       /* which pod it concerns; faults of the server ignore it */
    unsigned link; /* enum os_link */
    uint64_t amount;
    int node;          /* server it was applied to */
    uint64_t hindered; /* what that server had hindered before, see server_hindered */
    bool skipped;      /* left out, to see whether it matters */
    bool over;
    struct net_rule_handle *rules[SIM_PODS];
};

/* ---- servers ------------------------------------------------------------------------------------------------ */

struct wire; /* one connection, see node.c */

struct node {
    struct world *world;
    int index;
    struct server *server;
    struct net_server *net;
    struct wire *wires;
    struct conn *hand;             /* whoever administers it; NULL: not connected */
    bool replication_held, pumped; /* held: a fault makes it lag; pumped: an event is under way */
    uint64_t tick_at;              /* the next one; 0: none is planned */
    bool between;                  /* the next fetch meets a flush between two of its commands */
    size_t window;                 /* bytes a connection takes from the server before it waits */
    int epoch;                     /* number in the truth that is in force here; -1: none (no master, or dead) */
    int killed_epoch;              /* in force at the last kill; -1: none was, or the disk was wiped */
    uint64_t seq_seen;             /* highest of that epoch */
    bool asked;                    /* by a daemon: what is executed now */
    bool loading;                  /* the whole data is being replaced: the old history has ended */
};

/* ---- pods --------------------------------------------------------------------------------------------------- */

/* A read returned in this pod, or an own write acknowledged. Cumulative within an epoch. */
struct seen {
    uint64_t at;
    int epoch, read_position, own_position;
    bool own_is_delete;
};

/* What a core answered to a read, before the bytes went on their way. */
struct core_answer {
    uint64_t at;
    int epoch, told_epoch, told_position;
    enum read_outcome outcome;
    uint64_t version, as_of; /* as_of in virtual time */
    int content;
    bool arrived;           /* with what Redis had been asked for: the value was there when it was read */
    uint64_t unaware_until; /* see check_unaware_until */
};

/* What the core that runs now does to know whom it talks to. */
struct beat {
    uint64_t id, asked_at; /* of the last FX_IDENTITY */
    uint64_t known_at;     /* start of the last one that was answered */
    uint64_t busy_since;   /* of what keeps the next one waiting; NEVER: nothing */
    uint64_t free_at;      /* when the last such thing ended */
};

/* How reads have to be counted: hits and misses, and those of which only the core knows which of both they are. */
struct tally {
    uint64_t hits, misses, either, refused, errors;
};

/* A fetch that a core has under way, and what was cached when its answer came. */
struct core_fetch {
    uint64_t id, sent_at;
    int key; /* -1: none of the applications' */
    bool header_only;
    bool confirms; /* what it found is the very record that was cached */
};

/* A read that went into a core and has not been answered. */
struct core_read {
    uint64_t token, arrived_at;
    int key;
    bool strong;
};

struct pod {
    struct world *world;
    int number;
    struct config config;
    char name[16], socket[48];
    struct daemon_host *host;
    struct client_host *clients[SIM_CLIENTS], *prober;
    bool may_write, hooked;
    size_t max_entries, max_floors;
    unsigned max_waiting, max_in_flight; /* 0: as configured */
    unsigned drop_permille, repeat_permille;
    uint64_t resumed_at;  /* last SIGCONT; 0: never */
    uint64_t restored_at; /* last start of the daemon */
    /* of the core that runs now (tap.c) */
    const struct core *core;
    struct core_read reads[512];
    int reads_count;
    struct run_id runs[2];        /* of the servers at the other ends of data and subscription; empty: down */
    struct core_counters counted; /* up to the end of the last step */
    struct tally tally;           /* of the answers of this step */
    struct core_fetch fetches[64], arrived; /* arrived: the one that this step is about */
    int fetches_count;
    enum event_type stepped; /* what it was told last */
    uint64_t stepped_at;     /* and when, by its own clock */
    struct beat beat;
    int told_epoch[SIM_KEYS], told_position[SIM_KEYS]; /* newest message it was given */
    struct core_answer *answers[SIM_KEYS];             /* of all the daemons this pod had */
    int answers_count[SIM_KEYS], answers_room[SIM_KEYS];
    /* what its applications have seen */
    struct seen *seen[SIM_KEYS];
    int seen_count[SIM_KEYS], seen_room[SIM_KEYS];
    uint64_t hit_at; /* first hit after healing; NEVER */
    bool converged[SIM_KEYS];
};

/* ---- calls -------------------------------------------------------------------------------------------------- */

enum op_kind { CALL_GET, CALL_SET, CALL_DELETE, CALL_CLEAR };
enum op_state { OP_POSTED, OP_ASKED, OP_RETURNED, OP_LOST };

struct op {
    struct world *world;
    int number;
    enum op_kind kind;
    enum op_state state;
    int pod, key;
    struct client_host *host;
    unsigned handle, starts; /* starts: of its process */
    uint64_t invoked_at, returned_at;
    uint32_t timeout_ms;
    dcache_result result;
    int content; /* read or to be written */
    uint64_t got_version, got_seq;
    struct epoch got_epoch; /* of a write */
    /* reads */
    bool strong, converging, probing, crowd;
    int group; /* keys of one mget, asked together: this many ops from here on; 0: a get */
    uint64_t min_version;
    struct epoch min_epoch;
    uint32_t max_stale_ms;
    dcache_state read_state;
    uint64_t as_of, age_ns; /* as_of in virtual time */
    /* writes */
    uint64_t version, ttl_ms;
    bool has_ttl, invalidate, retry;
    bool sent;        /* a core gave it to its connection to Redis */
    int first, tries; /* first: number of the first attempt */
    uint8_t write_id[WRITE_ID_BYTES];
    /* of the write id of the first attempt: what the witness saw */
    int commits, commit_epoch, commit_position;
    uint64_t commit_at;
};

/*
 * A payload. Its bytes name the key, the version, the writer, a unique number and their checksum. They stand
 * behind an exclamation mark; the replacement that the hook makes of a payload is the same with the mark.
 */
struct content {
    uint8_t bytes[240];
    uint16_t len; /* without the mark */
    int key, pod;
    uint64_t version; /* 0: auto */
};

/* What is not judged, or not as strictly, and why: how often that was so. X(name, what) */
#define EXEMPTIONS(X)                                                                                     \
    X(local, "local values, from all but NOGARB")                                                         \
    X(stale, "permitted stale answers, from BOUND and STRONG")                                            \
    X(unaware, "of a server demoted or replaced, before the core's next heartbeat: from all but LOSSVIS") \
    X(set_back, "of an epoch whose meta was put back by hand, from all")                                  \
    X(unbinding, "absent without a tombstone: judged, but bind no later read")                            \
    X(late, "messages of an epoch whose seq went back, from FILL")

enum exemption {
#define X(name, text) EXEMPT_##name,
    EXEMPTIONS(X)
#undef X
        EXEMPT_COUNT
};

/* ---- all of it ---------------------------------------------------------------------------------------------- */

struct statistics {
    uint64_t seeds, events, bytes, reads, hits, refused, library_refused, writes, indeterminate, commits, crowds,
        violations, virtual_ms, judged;
    uint64_t exempt[EXEMPT_COUNT];
    uint64_t fired[KIND_COUNT];
};

struct violation {
    const char *promise; /* NULL: none */
    char text[400];
    uint64_t at;
    int pod, key;
};

struct captured {
    uint8_t *bytes;
    size_t len;
};

struct world {
    uint64_t seed;
    struct os *os;
    struct truth truth;
    struct node nodes[2];
    int primary;
    struct pod pods[SIM_PODS];
    int pods_count, keys_count; /* keys_count: of the clients */
    char keys[SIM_KEYS][16];
    uint64_t known[SIM_KEYS]; /* highest version applications have heard of */
    int last_write[SIM_KEYS]; /* an op; -1: none */

    struct op **ops;
    int ops_count, ops_room;
    int ops_open; /* posted or asked, not returned or lost */
    struct content **contents;
    int contents_count, contents_room;
    struct captured captured[16];
    unsigned captured_count;

    uint64_t bound_ns, ready_by, work_at, heal_at, end_at;
    unsigned auto_permille, write_permille, clear_permille, invalidate_permille, ttl_permille;
    enum server_persistence persistence;
    bool clock_jumped, split;
    uint64_t clock_behind_ns, clock_ahead_ns; /* the farthest that a store's wall clock was from virtual time */
    bool guarded;                             /* every heartbeat asks for the acknowledgement of the replica */
    uint64_t gap_ns;
    struct fault faults[SIM_FAULTS];
    int faults_count;
    uint64_t crowd_fetches;
    int crowd_firsts;      /* reads of the crowd that came when none was waiting */
    int crowd_pod;         /* -1: none */
    int tiny_pod;          /* with tables for one or two keys; -1: none */
    uint64_t version_base; /* explicit versions begin above it: some need more digits than a double has */

    struct rng call_rng, plan_rng, fault_rng, node_rng;
    struct statistics *statistics;
    struct violation violation;

    bool logging;
    int log_pod, log_key;      /* -1: all */
    char (*log)[SIM_LOG_LINE]; /* the last lines, a ring; NULL: printed at once */
    unsigned log_count;
};

/* ---- world.c ------------------------------------------------------------------------------------------------ */

/* Runs one seed from beginning to end. skip: bit i leaves fault i out. */
void world_init(struct world *w, uint64_t seed, uint32_t skip, struct statistics *statistics);
void world_run(struct world *w);
void world_deinit(struct world *w);
/* Over all bytes moved and all outcomes. */
uint64_t world_hash(const struct world *w);

uint64_t world_now(const struct world *w);
void world_at(struct world *w, uint64_t at, void (*fn)(void *arg), void *arg);
/* The first one counts; the run ends with it. */
void world_violate(struct world *w, const char *promise, int pod, int key, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void world_print(struct world *w, int pod, int key, const char *format, ...) __attribute__((format(printf, 4, 5)));
#define world_log(w, ...)                  \
    do {                                   \
        if ((w)->logging)                  \
            world_print((w), __VA_ARGS__); \
    } while (0)
/* Counts it. */
void world_exempt(struct world *w, enum exemption reason);
void *world_grow(void *array, int count, int *room, size_t size);
/* Number of the key, -1: none of the applications'. */
int world_key(const struct world *w, struct slice key);
/* Number of the payload, -1: none. *ret_replaced: with the mark of the hook. */
int world_content(const struct world *w, struct slice value, bool *ret_replaced);

/* settings.c: what is drawn but the faults, and the pods' configurations. */
void settings_draw(struct world *w);
void settings_make_pods(struct world *w);

#endif
