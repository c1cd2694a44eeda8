/*
 * The world of one seed: two Redis servers, one to four pods with a real core each, the links between them,
 * clients, faults, and the truth. Time is a number; what happens next is the earliest entry of one heap.
 *
 *   store.c   what a server does at one instant        truth.c   what really happened
 *   net.c     connections: order, delay, faults         server.c  requests that arrive, and publishing
 *   pod.c     the shell around a core                   client.c  reads and writes
 *   fault.c   the faults of a seed                      check.c, check_writes.c   the promises
 *   world.c   the heap, the log, the phases             sim.c     many seeds
 *
 * Phases: start-up; work (faults and calls) from work_at to heal_at; then no writes and no faults until end_at
 * = heal_at + 2 s + D, where every pod is asked for every key.
 */
#ifndef DCACHED_SIM_WORLD_H
#define DCACHED_SIM_WORLD_H

#include "tests/coresim/store.h"

#define SIM_PODS        4
#define SIM_CLIENT_KEYS 4
#define NS_PER_S        UINT64_C(1000000000)

struct world;
typedef void (*wake_fn)(struct world *w, int a, int b);

/* ---- faults ------------------------------------------------------------------------------------------------- */

/* X(name): each has its begin and its end in fault.c. */
#define FAULTS(X)                                                                                   \
    X(slow)          /* a link is slow and jitters, up to 2 D */                                    \
    X(stall)         /* nothing moves, both ways, no error */                                       \
    X(deaf)          /* half open: what Redis sends is swallowed */                                 \
    X(mute)          /* half open: what the pod sends is swallowed */                               \
    X(cut)           /* the connection breaks, with what was on the way */                          \
    X(drop)          /* single messages are lost */                                                 \
    X(repeat)        /* single messages are delivered twice */                                      \
    X(replay)        /* captured messages are published again, in any order */                      \
    X(garbage)       /* unreadable messages and messages of unknown epochs */                       \
    X(split_links)   /* new connections of one kind end on the other server */                      \
    X(pod_stop)      /* SIGSTOP of a daemon */                                                      \
    X(pod_restart)   /* kill -9 of a daemon */                                                      \
    X(server_kill)   /* Redis dies and comes back with everything */                                \
    X(server_loss)   /* Redis dies and comes back with something older */                           \
    X(server_pause)  /* Redis executes nothing for a while */                                       \
    X(flush)         /* FLUSHALL */                                                                 \
    X(del_meta)      /* meta is deleted */                                                          \
    X(del_field)     /* one field of meta is deleted */                                             \
    X(bad_meta)      /* meta is made unreadable */                                                  \
    X(lower_seq)     /* seq is set far back */                                                      \
    X(failover)      /* a lagging replica becomes master, the old one its replica; no link drops */ \
    X(split_brain)   /* the same, but the old master stays one and keeps some pods */               \
    X(role_flap)     /* master to replica and back, no link drops */                                \
    X(evict)         /* records disappear */                                                        \
    X(corrupt)       /* records become unreadable */                                                \
    X(half_script)   /* scripts fail after storing, before publishing */                            \
    X(refuse_writes) /* errors known to come before execution */                                    \
    X(refuse_reads)  /* errors to fetches and heartbeats */                                         \
    X(clock_jump)    /* the store's clock jumps */                                                  \
    X(rollback)      /* master to replica of something older and back, in one process */

enum fault_kind {
#define X(name) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_COUNT
};

extern const char *const fault_names[FAULT_COUNT];

struct fault {
    enum fault_kind kind;
    uint64_t at, until;
    int pod;        /* which pod it concerns; faults of the server ignore it */
    unsigned links; /* bit 1: data, bit 2: subscription */
    uint64_t amount;
    int node;     /* server it was applied to */
    bool skipped; /* left out, to see whether it matters */
};

#define SIM_FAULTS 16

/* ---- connections -------------------------------------------------------------------------------------------- */

enum direction { TO_SERVER, TO_POD };

enum packet_kind {
    PACKET_HELLO, /* the shell's handshake: AUTH, SELECT, INFO */
    PACKET_SUBSCRIBE,
    PACKET_PING,
    PACKET_IDENTITY,
    PACKET_GUARD, /* PUBLISH and WAIT behind an identity */
    PACKET_PROPOSE,
    PACKET_FETCH,
    PACKET_WRITE,
    PACKET_MESSAGE,     /* only to the pod */
    PACKET_BAD_MESSAGE, /* only to the pod */
    PACKET_FIN,         /* only to the pod: the connection is gone */
};

/* A request on its way, which becomes its own answer. */
struct packet {
    struct packet *next;
    enum packet_kind kind;
    uint64_t due; /* leaves its pipe not before */
    int stage;    /* commands of a pipeline already executed */
    uint64_t id;  /* or nonce */
    int key;
    bool header_only;
    struct store_write write;
    int op; /* the call behind a write; -1: the core's own */
    struct meta meta, closing;
    struct epoch epoch;
    struct run_id run, history;
    bool master;
    uint64_t min_seq, store_us, replicas;
    struct store_answer answer;
    enum fetch_result result;
    struct stored record;
    struct published message;
};

struct pipe {
    struct packet *head, **tail;
    uint64_t last_due, wake_at;
};

struct conn {
    int pod, link, node, process, incarnation;
    bool open;   /* at the pod */
    bool served; /* at the server */
    bool subscribed;
    bool damaged; /* something was swallowed: no use any more */
    bool broken;  /* what is sent from now on goes nowhere */
    bool up;      /* EV_LINK_UP was given */
    bool deadline_set;
    uint64_t *sent_at; /* of unanswered requests, oldest first */
    int sent_first, sent_count, sent_room;
    struct pipe pipes[2];
};

/* ---- pods and their shells ---------------------------------------------------------------------------------- */

struct pod {
    struct core *core;
    struct core_config config;
    bool running, stopped;
    int incarnation;
    int conns[2]; /* -1: waiting to connect */
    unsigned attempts[2];
    uint64_t tick_at;
    unsigned ticks_here; /* at this very instant; many of them are a loop without end */
    uint64_t resumed_at;
    int *held, held_count, held_room; /* calls and answers that wait for a stopped daemon */
    /* what the network does to it */
    uint64_t delay_ns, extra_ns[2];
    int stalled[2], swallowing[2][2], target[2];
    unsigned drop_permille, repeat_permille;
    /* for the checker */
    int told_epoch[SIM_KEYS], told_position[SIM_KEYS]; /* newest message the core was given */
    uint64_t told_at[SIM_KEYS];
    struct seen *seen[SIM_KEYS];
    int seen_count[SIM_KEYS], seen_room[SIM_KEYS];
    uint64_t counted_reads, counted_refused, counted_errors;
    uint64_t hit_at; /* first hit after healing; NEVER */
    uint64_t hits_known;
    uint64_t started_at;
};

/* A read returned in this pod, or an own write acknowledged. Cumulative within an epoch. */
struct seen {
    uint64_t at;
    int epoch, read_position, own_position;
    bool own_is_delete;
};

/* ---- calls -------------------------------------------------------------------------------------------------- */

enum op_kind { CALL_GET, CALL_SET, CALL_DELETE, CALL_CLEAR, CALL_LOOK };
enum op_state { OP_ASKED, OP_IN_CORE, OP_ANSWERED, OP_RETURNED, OP_LOST };

struct op {
    enum op_kind kind;
    enum op_state state;
    int pod, key, incarnation;
    uint64_t invoked_at, arrived_at, answered_at, deadline;
    int tries;
    /* reads */
    bool strong, converging, probing;
    uint64_t min_version, max_stale_ns;
    struct epoch min_epoch;
    enum read_outcome outcome;
    enum core_reason reason;
    int content; /* read or to be written */
    bool replaced;
    uint64_t as_of, age_ns;
    int told_epoch, told_position; /* newest message of the key at the answer */
    int epoch;                     /* number in the truth; -1: none known */
    struct epoch epoch_text;
    /* writes */
    uint64_t version, ttl_ms; /* version: asked for, then answered in `got_version` */
    bool carry_value, retry;
    int first; /* number of the first attempt */
    uint8_t write_id[WRITE_ID_BYTES];
    enum write_outcome written;
    uint64_t got_version, got_seq;
    int commits; /* of this attempt */
    int commit_epoch, commit_position;
    uint64_t commit_at;
};

/*
 * A payload. Its bytes name the key, the version, the writer, a unique number and their checksum. They stand
 * behind an exclamation mark; the replacement that the hook makes of a payload is the same with the mark.
 */
struct content {
    uint8_t bytes[200];
    uint16_t len; /* without the mark */
    int key;
    uint64_t version; /* 0: auto */
    int pod;          /* writer */
    bool foreign;     /* written by a core for itself */
};

struct statistics {
    uint64_t seeds, reads, hits, refused, dropped_late, writes, indeterminate, steps, violations;
    uint64_t fired[FAULT_COUNT];
};

struct violation {
    const char *promise; /* NULL: none */
    char text[400];
    uint64_t at;
    int pod, key;
};

struct wake {
    uint64_t at, order;
    wake_fn fn;
    int a, b;
};

struct world {
    uint64_t seed, now, order, hash;
    struct wake *heap;
    size_t heap_count, heap_room;

    struct truth truth;
    struct node nodes[2];
    int primary;
    struct pod pods[SIM_PODS];
    int pods_count, keys_count; /* keys_count: of the clients */
    char keys[SIM_KEYS][64];
    int keys_known;
    uint64_t known[SIM_KEYS]; /* highest version clients have heard of */
    int last_write[SIM_KEYS]; /* an op; -1: none */

    struct conn *conns;
    int conns_count, conns_room;
    struct packet *free_packets;
    struct op *ops;
    int ops_count, ops_room;
    struct content **contents;
    int contents_count, contents_room;
    struct published captured[16];
    int captured_count;

    uint64_t bound_ns, work_at, heal_at, end_at;
    unsigned auto_permille, write_permille;
    bool hooked, link_down_after_reset, clock_jumped;
    uint64_t calls_left, gap_ns;
    struct fault faults[SIM_FAULTS];
    int faults_count;

    struct rng net_rng, client_rng, pod_rng, fault_rng;
    struct statistics *statistics;
    struct violation violation;

    bool logging;
    int log_pod, log_key; /* -1: all */
    char (*log)[240];     /* the last lines, a ring; NULL: printed at once */
    unsigned log_count;
};

#define SIM_LOG_LINES 80

/* Runs one seed from beginning to end. skip: bit i leaves fault i out. */
void world_init(struct world *w, uint64_t seed, uint32_t skip, struct statistics *statistics);
void world_run(struct world *w);
void world_deinit(struct world *w);

void world_at(struct world *w, uint64_t at, wake_fn fn, int a, int b);
void world_mix(struct world *w, uint64_t a, uint64_t b); /* into the hash of the history */
/* The first one counts; the run ends with it. */
void world_violate(struct world *w, const char *promise, int pod, int key, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void world_print(struct world *w, int pod, int key, const char *format, ...) __attribute__((format(printf, 4, 5)));
#define world_log(w, ...)                  \
    do {                                   \
        if ((w)->logging)                  \
            world_print((w), __VA_ARGS__); \
    } while (0)

int world_key(struct world *w, struct slice key); /* number of the key; makes one if it is new */
void *world_grow(void *array, int count, int *room, size_t size);

#endif
