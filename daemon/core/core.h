/*
 * The core: cache, floors, flights, generations, lease and policies as one state machine without I/O.
 *
 * An event goes in with the time in it; effects come out. The core opens no socket, reads no clock, draws no
 * random number, writes no log. The same events give the same effects, so every schedule of messages, answers
 * and losses is a test, and every failure has a seed.
 *
 *     core_step(core, &event);
 *     while ((fx = core_next_effect(core))) ...carry it out...
 *
 * All effects of a step are to be drained before the next step; slices in an effect are valid until then,
 * unless its comment says otherwise. Slices in an event have to live until its effects are drained.
 *
 * One thread. Not re-entrant. Memory is bounded by core_config; a hit allocates nothing.
 */
#ifndef DCACHED_CORE_CORE_H
#define DCACHED_CORE_CORE_H

#include "daemon/core/types.h"

/* Keys that start with this are the daemons' own; clients are refused them before they come here. */
#define CORE_RESERVED_PREFIX "!dcached:"

struct core;

enum core_link { LINK_DATA, LINK_SUBSCRIPTION };

/* ---- configuration ------------------------------------------------------------------------------------ */

enum hook_verdict { HOOK_KEEP, HOOK_REJECT, HOOK_REPLACE };

struct core_config {
    size_t memory_bytes;          /* one budget: values, index and floors */
    size_t entry_bytes;           /* expected key + value + source of one entry; sizes the index */
    size_t max_entries;           /* 0: bounded by bytes alone; tests go down to 1 */
    size_t max_floors;            /* 0: bounded by bytes alone; tests go down to 1 */
    size_t pending_bytes;         /* budget for keys and values of unfinished writes */
    unsigned max_waiting;         /* calls that wait for Redis at one time; the next one is refused (BUSY) */
    unsigned max_in_flight;       /* reads, and as many writes, handed to Redis and not answered; others queue */
    size_t max_key, max_value;    /* larger records from Redis are not cached */
    uint64_t bound_ns;            /* D; H = D/4 */
    unsigned min_replicas;        /* that have to acknowledge each heartbeat; 0: no replica guard */
    uint64_t max_stale_ns;        /* upper end of every permitted staleness */
    bool stale_on_partition;      /* `[staleness] on_partition = stale` */
    bool may_write;               /* this pod commits writes to Redis */
    bool probe;                   /* prove the rights of this role with a probe key before writes are taken */
    char source[SOURCE_MAX + 1];  /* the pod's id */
    uint8_t hash_key[16];         /* secret of the index */
    size_t trace_events;          /* room of the flight recorder (trace.h); 0: off. Beside memory_bytes */
    uint64_t sampler_interval_ns; /* between two rounds of the sampler (sampler.h); 0: off */
    unsigned sampler_samples;     /* entries it compares in a round, 1 .. SAMPLER_SAMPLES_MAX */
    uint64_t sampler_seed;        /* of its choice; any number */

    /*
     * Sees every value before it enters the cache. HOOK_REPLACE sets *ret_value, which has to stay valid until
     * the effects are drained. NULL: no hook. `local`: a reader pod's own set.
     */
    enum hook_verdict (*hook)(void *ctx, struct slice key, struct slice value, uint64_t version,
                              struct slice source, bool local, struct slice *ret_value);
    void *hook_ctx;
};

/* ---- outcomes of writes; those of reads are in types.h ------------------------------------------------ */

enum write_outcome {
    WRITE_ACCEPTED,
    WRITE_STALE,         /* a newer version is stored: `version` */
    WRITE_DUPLICATE,     /* the same content at the same version is stored already */
    WRITE_CONFLICT,      /* other content at the same version is stored */
    WRITE_LOCAL,         /* kept in this pod's cache only */
    WRITE_REFUSED,       /* not sent: `reason` (NO_LINK, TIMEOUT, BUSY, ...) or the store said no (`text`) */
    WRITE_INDETERMINATE, /* may or may not have been committed; given only after the deadline has passed, so
                            that a retry with the same write id cannot race its first attempt */
    WRITE_ERROR,         /* definite failure with `text`: nothing was committed */
};

/* Why a read or write was refused. The table in core.c gives each its sentence: cause and remedy. */
enum core_reason {
    REASON_NONE,
    REASON_NO_LINK,     /* no usable connection to Redis */
    REASON_NOT_MASTER,  /* the server is not a master, or the two connections end on different servers */
    REASON_NO_EPOCH,    /* the store has no epoch for this run yet and this pod could not set one */
    REASON_LEASE,       /* as_of is more than D ago and nothing newer could be obtained in time */
    REASON_TIMEOUT,     /* the call's own deadline passed first */
    REASON_OVERTAKEN,   /* overtaken by newer writes on each of a bounded number of tries */
    REASON_MIN_VERSION, /* the store itself holds less than the version asked for */
    REASON_OTHER_EPOCH, /* min_version was given in another epoch */
    REASON_BUSY,        /* a limit of the daemon is reached */
    REASON_READER,      /* this pod may not write (delete, clear, auto version) */
    REASON_STORE,       /* Redis answered with an error: `text` */
    REASON_PROBE,       /* the write path is not proven (yet): `text` */
    REASON_REPLICAS,    /* fewer replicas than min_replicas follow the server: `text` */
    REASON_COUNT
};

/* One sentence: cause and remedy. Static storage. */
const char *core_reason_text(enum core_reason reason);

/* ---- events ------------------------------------------------------------------------------------------- */

enum event_type {
    EV_TICK, /* time has passed; see core_next_deadline */
    EV_LINK_UP,
    EV_LINK_DOWN,
    EV_SUBSCRIBED,
    EV_MESSAGE,
    EV_BAD_MESSAGE, /* something unreadable came over the channel */
    EV_PONG,
    EV_IDENTITY,
    EV_GUARD,
    EV_PROPOSED,
    EV_FETCHED,
    EV_WRITTEN,
    EV_READ,
    EV_WRITE,
    EV_INSPECT,
};

enum message_kind {
    MESSAGE_RECORD, /* `record` of `key` was committed */
    MESSAGE_CLEAR,  /* everything up to record.seq was cleared; `epoch` is the new epoch */
};

struct message {
    enum message_kind kind;
    struct epoch epoch;
    struct slice key;
    struct record record;
    uint64_t ttl_ms; /* 0: none */
};

/* How a request to Redis ended. */
enum reply_status {
    REPLY_OK,
    REPLY_NOT_SENT, /* never left the daemon */
    REPLY_DEFINITE, /* an error known to come before execution; `text` */
    REPLY_UNKNOWN,  /* any other error: execution cannot be excluded; `text` */
};

enum fetch_result { FETCH_ABSENT, FETCH_RECORD, FETCH_INVALID /* unreadable record; `text` says how */ };

/* What the write script said. */
enum script_result {
    SCRIPT_ACCEPTED,
    SCRIPT_STALE,
    SCRIPT_DUPLICATE,
    SCRIPT_CONFLICT,
    SCRIPT_INDETERMINATE, /* a retry found a newer record: its first attempt may have been committed */
    SCRIPT_WRONG_EPOCH,   /* meta differs from the (epoch, run) sent along: nothing executed */
    SCRIPT_EXPIRED,       /* arrived after its deadline: nothing executed */
    SCRIPT_CLEARED,       /* answer of a clear */
    SCRIPT_CORRUPT,       /* the stored record is unreadable: nothing executed */
    SCRIPT_EXHAUSTED,     /* no version above the stored one is left: nothing executed */
};

enum write_op { OP_SET, OP_DELETE, OP_CLEAR };

struct read_request {
    uint64_t token;
    struct slice key;
    bool strong;            /* reflects everything acknowledged before the read arrived */
    uint64_t min_version;   /* 0: none */
    struct epoch min_epoch; /* epoch min_version was given in; empty: the current one */
    uint64_t max_stale_ns;  /* 0: only what the policy allows */
    uint64_t deadline;      /* absolute */
    bool at_once;           /* refused (BUSY) where it would have to wait for Redis */
};

struct write_request {
    uint64_t token;
    enum write_op op;
    struct slice key, value;
    uint64_t version; /* 0: auto */
    uint64_t ttl_ms;  /* 0: none. For OP_DELETE: life of the tombstone, 0: for ever */
    bool carry_value; /* the message carries the value; false: it only invalidates */
    bool retry;       /* an earlier attempt with this write_id ended indeterminate */
    bool at_once;     /* as of a read */
    uint8_t write_id[WRITE_ID_BYTES];
    uint64_t deadline; /* absolute; also limits execution in the store */
};

struct core_event {
    enum event_type type;
    uint64_t now; /* CLOCK_BOOTTIME, read for this event; never goes backwards */
    union {
        /* A connection is authenticated, its database selected and its INFO read. */
        struct {
            enum core_link link;
            bool master;
            struct run_id run;
        } link_up;
        struct {
            enum core_link link;
        } link_down;
        struct message message;
        struct {
            uint64_t nonce;
        } pong;
        /* Answer to FX_IDENTITY. Other failures than REPLY_OK: `text`. */
        struct {
            uint64_t id;
            enum reply_status status;
            struct slice text;
            bool master;
            struct run_id run;     /* of the server process */
            struct run_id history; /* its replication id; empty: it names none */
            struct meta meta;      /* read before run and history */
            uint64_t store_us;     /* Redis' TIME, since 1970 */
        } identity;
        /* Follows an EV_IDENTITY that is REPLY_OK, if min_replicas is above 0. */
        struct {
            uint64_t id; /* of that EV_IDENTITY */
            enum reply_status status;
            struct slice text;
            uint64_t replicas; /* that acknowledged an offset made after FX_IDENTITY */
        } guard;
        /* Answer to FX_PROPOSE; whatever it was, meta is read again. */
        struct {
            enum reply_status status;
            struct slice text;
        } proposed;
        /* Answer to FX_FETCH, header_only or not (then record.value is empty). */
        struct {
            uint64_t id;
            enum reply_status status;
            struct slice text;
            struct meta meta;    /* read in the same pipeline, before the record */
            struct meta closing; /* and after it */
            enum fetch_result result;
            struct record record;
        } fetched;
        /* Answer to FX_WRITE. */
        struct {
            uint64_t id;
            enum reply_status status;
            struct slice text;
            enum script_result result;
            uint64_t version; /* the one now stored */
            uint64_t seq;     /* of the stored record (ACCEPTED, DUPLICATE) */
            uint64_t timestamp_ns;
            struct epoch epoch; /* CLEARED: the new one */
        } written;
        struct read_request read;
        struct write_request write;
        struct {
            uint64_t token;
            struct slice key;
            uint64_t deadline;
        } inspect;
    };
};

/* ---- effects ------------------------------------------------------------------------------------------ */

enum effect_type {
    FX_RESET,     /* close this connection and make a new one; `text` says why */
    FX_SUBSCRIBE, /* on the subscription connection; answered by EV_SUBSCRIBED */
    FX_PING,      /* on the subscription connection, with the nonce; EV_PONG */
    FX_IDENTITY,  /* on the data connection: meta, INFO, TIME; EV_IDENTITY, and EV_GUARD if min_replicas > 0 */
    FX_PROPOSE,   /* set a new epoch (the shell draws its id) if meta still is as seen; EV_PROPOSED */
    FX_FETCH,     /* meta, the record or its header alone, meta again; EV_FETCHED */
    FX_WRITE,     /* the write script, or the clear script; EV_WRITTEN */
    FX_READ_DONE,
    FX_WRITE_DONE,
    FX_INSPECT_DONE,
    FX_NOTE, /* something happened that a log or a watcher wants to know */
};

enum note_kind {
    NOTE_UPDATE,       /* a record was applied (only while core_set_watching is on) */
    NOTE_DELETE,       /* a tombstone was applied (only while core_set_watching is on) */
    NOTE_LOCAL,        /* a reader pod's own set entered the cache (only while core_set_watching is on) */
    NOTE_REJECTED,     /* STALE DATA REJECTED: `version` < `current_version`; `origin` says where it came from */
    NOTE_HOOK,         /* the hook rejected a value */
    NOTE_GAP,          /* messages are missing: `seq` found, `current_seq` had; generation raised */
    NOTE_EPOCH,        /* a new epoch was adopted; `text` says why the old one ended */
    NOTE_READY,        /* a generation is current and the lease holds: plain reads are served */
    NOTE_NOT_READY,    /* `text` says why */
    NOTE_BAD_MESSAGE,  /* unreadable message */
    NOTE_BAD_RECORD,   /* unreadable record under `key` */
    NOTE_WRITES,       /* the start-up probe of the write path ended: `text` empty if all is well */
    NOTE_INCONSISTENT, /* `version` was cached as proven, Redis has `current_version`; `text` says what is wrong */
};

/* What the pod has of a key at this moment. */
struct core_view {
    bool cached;
    bool cached_local;
    bool cached_replaced; /* by the hook */
    bool cached_tombstone;
    uint64_t cached_version, cached_seq, cached_timestamp_ns;
    uint64_t cached_bytes;
    uint64_t cached_as_of;      /* moment up to which the cached copy is proven current; 0: never was */
    uint64_t cached_expires_at; /* 0: never */
    bool suspect;               /* of an older generation */
    bool floor;
    uint64_t floor_version, floor_seq;
    uint64_t floor_seen_at;    /* 0: unknown */
    enum read_outcome verdict; /* of a plain read that may not ask Redis */
    enum core_reason reason;   /* when the verdict is READ_REFUSED */
};

struct core_effect {
    enum effect_type type;
    union {
        struct {
            enum core_link link;
            const char *text;
        } reset;
        struct {
            uint64_t nonce;
        } ping;
        struct {
            uint64_t id;
        } identity;
        struct {
            struct meta seen;  /* what has to be there still */
            struct run_id run; /* the new epoch stands on */
            /* seq and cleared are raised to at least these (and seq to store time in microseconds) */
            uint64_t min_seq, min_cleared;
        } propose;
        struct {
            uint64_t id;
            struct slice key; /* valid until the answer came or the link went down */
            bool header_only;
        } fetch;
        struct {
            uint64_t id;
            struct epoch epoch; /* the script compares both */
            struct run_id run;
            uint64_t deadline_store_us;
            const struct write_request *request; /* valid until the answer came or the link went down */
        } write;
        struct {
            uint64_t token;
            enum read_outcome outcome;
            enum core_reason reason;
            struct slice text;  /* READ_ERROR */
            struct slice value; /* FRESH, STALE, LOCAL */
            struct slice source;
            uint64_t version; /* also of a tombstone behind READ_ABSENT, if known */
            uint64_t timestamp_ns;
            uint64_t as_of;
            uint64_t age_ns; /* STALE */
            bool replaced;   /* the hook replaced the value */
            enum read_counted counted;
        } read_done;
        struct {
            uint64_t token;
            enum write_outcome outcome;
            enum core_reason reason;
            struct slice text;
            uint64_t version; /* the one now stored */
            uint64_t seq;
            struct epoch epoch; /* the epoch the write was committed in */
        } write_done;
        struct {
            uint64_t token;
            struct core_view view;
            enum reply_status status; /* of asking Redis; REPLY_NOT_SENT with `reason` if there is no link */
            enum core_reason reason;
            struct slice text;
            enum fetch_result result;
            struct record record; /* header only */
            uint64_t store_us;    /* store time now, estimated; 0: unknown */
        } inspect_done;
        struct {
            enum note_kind kind;
            struct slice key;
            uint64_t version, seq;
            uint64_t current_version, current_seq;
            struct slice source; /* pod that wrote it */
            const char *origin;  /* "message", "fetch", "write", "local" */
            const char *text;
        } note;
    };
};

/* ---- the machine -------------------------------------------------------------------------------------- */

/* 0, or -ENOMEM, or -EINVAL when the memory budget cannot hold the smallest cache. */
int core_new(struct core **ret, const struct core_config *config);
struct core *core_free(struct core *core); /* returns NULL */

void core_step(struct core *core, const struct core_event *event);

/* Holds from the next step on, which is to come at once: the sampler counts from there. */
void core_set_policy(struct core *core, const struct core_policy *policy);

/* The next effect of the last step in order, or NULL. Valid until the next core_step. */
const struct core_effect *core_next_effect(struct core *core);

/* When the next EV_TICK is due; UINT64_MAX: not at all. */
uint64_t core_next_deadline(const struct core *core);

/* Touches the memory a read of this key will need. A hint; no effect on state. */
void core_prefetch(const struct core *core, struct slice key);

/* NOTE_UPDATE, NOTE_DELETE and NOTE_LOCAL are produced only while this is on. */
void core_set_watching(struct core *core, bool on);

/* ---- looking in --------------------------------------------------------------------------------------- */

void core_view(const struct core *core, uint64_t now, struct slice key, struct core_view *ret_view);

/*
 * Walks cached entries, then floors without a cached entry, in table order. *cursor starts at 0 and is 0 again
 * at the end. Calls `each` for keys that start with `prefix`, at most `limit` or the 21 of one bucket, whichever
 * is more, visiting at most 8 * limit buckets: a page can be short or empty before the end. Entries that move
 * between two calls can be met twice or not at all.
 */
void core_versions(const struct core *core, uint64_t now, struct slice prefix, uint64_t *cursor, unsigned limit,
                   void (*each)(void *ctx, struct slice key, const struct core_view *view), void *ctx);

/* Counters since start. X(name, help). The documentation of `stats` is this table. */
#define CORE_COUNTERS(X)                                                                   \
    X(reads, "keys read, each counted once by its final outcome")                          \
    X(hits, "reads served from the pod's cache, confirmed, stale and local ones included") \
    X(misses, "reads answered by a fetch, found or absent")                                \
    X(refused, "reads refused: freshness could not be proven in time, or a limit")         \
    X(errors, "reads that found something unreadable")                                     \
    X(stale_served, "hits served stale because the call or the policy permits it")         \
    X(version_checks, "compare-and-record decisions of the StaleDetector")                 \
    X(accepted, "checks that found something newer")                                       \
    X(duplicates, "checks that found what is known already")                               \
    X(stale_rejected, "checks that found something older: rejected")                       \
    X(writes, "writes asked for")                                                          \
    X(writes_accepted, "writes committed")                                                 \
    X(writes_stale, "writes that found a newer version stored")                            \
    X(writes_duplicate, "writes that found themselves stored already")                     \
    X(writes_conflict, "writes that found other content at their version")                 \
    X(writes_local, "sets kept by this reader pod for itself")                             \
    X(writes_refused, "writes refused before anything was sent")                           \
    X(writes_failed, "writes the store refused")                                           \
    X(writes_indeterminate, "writes whose answer was lost")                                \
    X(messages, "messages received on the channel")                                        \
    X(messages_late, "messages that came late or twice")                                   \
    X(messages_bad, "messages that could not be read")                                     \
    X(messages_foreign, "messages of another epoch")                                       \
    X(gaps, "times messages were found missing")                                           \
    X(generations, "generations begun")                                                    \
    X(epochs, "epochs adopted")                                                            \
    X(heartbeats, "heartbeats completed")                                                  \
    X(heartbeats_failed, "heartbeats that proved nothing")                                 \
    X(heartbeats_unguarded, "heartbeats that fewer than min_replicas acknowledged")        \
    X(fetches, "fetches sent")                                                             \
    X(confirms, "confirmations sent")                                                      \
    X(fetches_joined, "reads that joined a fetch under way")                               \
    X(fetches_overtaken, "fetches overtaken by something newer")                           \
    X(hook_rejected, "values the hook rejected")                                           \
    X(hook_replaced, "values the hook replaced")                                           \
    X(bad_records, "records in Redis that could not be read")                              \
    X(evictions, "entries that gave way to others")                                        \
    X(expirations, "entries whose time to live ended")                                     \
    X(trace_events, "events recorded by the flight recorder, those overwritten included")  \
    X(verify_checked, "cached entries the sampler compared with Redis")                    \
    X(verify_unknown, "looks of the sampler that Redis did not answer")                    \
    X(verify_differs, "entries that differed at the first look")                           \
    X(verify_differs_bound, "inconsistencies: entries that still differed after D")        \
    X(verify_differs_10s, "keys that were inconsistent again 10 s after the first look")   \
    X(verify_lost, "entries that Redis still had lost after D: expired, evicted, removed") \
    X(verify_dropped, "differences not looked at again: too many wait for that")           \
    X(verify_inconsistent_ppm, "inconsistencies per million compared, over the last hour")

struct core_counters {
#define X(name, help) uint64_t name;
    CORE_COUNTERS(X)
#undef X
};

struct core_status {
    bool data_up, subscription_up;
    bool ready;              /* a generation is current and the lease holds */
    enum core_reason reason; /* when not ready */
    const char *reason_text; /* its sentence, or what Redis said to the last heartbeat; NULL when ready */
    bool writes_ok;          /* writes can be sent, and the right to them was proven; readers: always false */
    const char *writes_text; /* why not; "": it is being proven */
    struct epoch epoch;
    const char *epoch_why; /* why the current epoch was adopted */
    uint64_t epoch_at;     /* and when; 0: none was */
    struct run_id run;
    uint64_t generation;
    uint64_t last, store_seq; /* delivered up to; seq of the last meta read */
    uint64_t as_of;           /* of the subscription; 0: never */
    uint64_t round_trip_ns;   /* of the last heartbeat */
    uint64_t store_us;        /* store time now, estimated; 0: unknown */
    uint64_t entries, entries_bytes, floors, floors_bytes;
    unsigned waiting, writes_pending;
};

void core_get_counters(const struct core *core, struct core_counters *ret_counters);
void core_get_status(const struct core *core, uint64_t now, struct core_status *ret_status);

#endif
