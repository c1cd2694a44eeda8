/*
 * The inside of the core: its state, and what its files do for one another. Only daemon/core includes this.
 *
 *   core.c    making, stepping, effects, counters, status
 *   proof.c   links, subscription, heartbeat, generations: what makes as_of move
 *   epoch.c   epochs: their end, their proposal, their adoption
 *   guard.c   the replica guard
 *   apply.c   records and messages: what enters floors and cache
 *   read.c    serving a read; waiting reads
 *   flight.c  fetches and confirmations, their marks, and the queue to Redis
 *   write.c   writes, local sets
 *   probe.c   the proof of the rights this pod needs
 *   view.c    looking in: inspect, versions, trace
 *   sampler.c cached entries compared with Redis, now and then
 */
#ifndef DCACHED_CORE_MACHINE_H
#define DCACHED_CORE_MACHINE_H

#include "daemon/core/core.h"
#include "daemon/core/list.h"
#include "daemon/core/measure.h"
#include "daemon/core/sampler.h"
#include "daemon/core/stale.h"
#include "daemon/core/table.h"
#include "daemon/core/timers.h"
#include "daemon/core/trace.h"

#define TRIES_MAX        4                   /* times a read is started again because it was overtaken; picked */
#define GENERATIONS_KEPT 64                  /* as_of of so many former generations is known; picked */
#define SEQ_LEAP_MAX     (UINT64_C(1) << 32) /* a message further ahead than this is no message of ours; picked */

/* ---- requests to Redis ---------------------------------------------------------------------------------- */

enum request_kind { REQUEST_FLIGHT, REQUEST_WRITE, REQUEST_INSPECTION };

/* First member of everything that is sent to Redis and answered under an id. */
struct request {
    enum request_kind kind;
    bool sent;
    uint64_t id;
    struct request *next_by_id;
    struct list queue; /* in core->queued_reads, core->queued_writes, core->sent, or nowhere */
};

/* ---- calls of clients that wait --------------------------------------------------------------------------- */

enum call_kind { CALL_READ, CALL_WRITE, CALL_INSPECTION };

/* First part of everything a client waits for. */
struct call {
    enum call_kind kind;
    struct timer timer;
};

/* A read that waits: for a flight, or (strong) for the next heartbeat. */
struct waiter {
    struct call call;
    struct list peers; /* in flight->waiters or core->barrier */
    struct flight *flight;
    struct read_request read; /* read.key points behind this struct */
    uint64_t arrived;
    unsigned tries;
    bool barrier_passed; /* a heartbeat started after arrival has ended */
    bool confirmed;      /* what is served was in the cache: a hit */
    uint8_t key[];
};

/* The one fetch or confirmation of a key that is under way. */
struct flight {
    struct request request;
    struct flight *next_by_key;
    uint64_t hash;
    bool header_only;
    /* The mark, placed when the request is sent. */
    uint32_t generation;
    uint64_t sent_at;
    uint64_t highest;       /* core->highest at that moment */
    uint64_t overtaken_seq; /* highest seq of a message or own acknowledgement for the key since then */
    struct list waiters;
    struct slice key; /* points behind this struct */
    uint8_t key_bytes[];
};

struct pending_write {
    struct request request;
    struct call call;
    bool answered;              /* the client has its answer; kept only until Redis answers or the link is lost */
    bool probe;                 /* the core's own */
    struct write_request write; /* key and value point behind this struct */
    uint64_t sent_at;
    struct epoch epoch;  /* it was sent with */
    uint32_t generation; /* current when it was sent */
    uint64_t highest;    /* seq seen when it was sent: a commit of it has to be above */
    size_t bytes;
    uint8_t data[];
};

enum inspector { FOR_CLIENT, FOR_PROBE, FOR_SAMPLER };

struct inspection {
    struct request request;
    struct call call;
    bool answered;
    enum inspector inspector;
    uint64_t token;              /* FOR_CLIENT */
    struct sampler_look sampler; /* FOR_SAMPLER */
    struct slice key;
    uint8_t key_bytes[];
};

/* ---- the proof -------------------------------------------------------------------------------------------- */

struct link_state {
    bool up, master;
    struct run_id run;
};

enum subscription_state {
    SUBSCRIPTION_NONE,     /* no link, or not asked for */
    SUBSCRIPTION_ASKED,    /* FX_SUBSCRIBE is on its way */
    SUBSCRIPTION_STARTING, /* messages flow; no heartbeat sent since has been answered */
    SUBSCRIPTION_CURRENT,  /* a generation is current */
};

/*
 * Two halves: the store is asked who it is and what meta says, every H; and each answer is followed by a PING on
 * the subscription, unless one is out already. So a slow subscription does not keep the pod from noticing that
 * the server is no longer the one it was.
 */
struct heartbeat {
    bool asked; /* FX_IDENTITY is out */
    uint64_t id;
    uint64_t asked_at;
    uint64_t highest; /* core->highest when it was asked: less in meta means that the store lost writes */
    bool counts;      /* it was asked after the subscription was confirmed */

    bool pinged; /* FX_PING is out */
    uint64_t nonce;
    uint64_t started_at; /* asked_at of the answer that this PING follows */
    uint64_t ended_at;   /* start of the last one that needs no PING any more */
    uint64_t proven;     /* up to this moment the subscription has delivered everything */
    uint64_t seq_read;   /* and the seq it brought */

    uint64_t due;    /* when the next one starts */
    bool wanted;     /* start one as soon as the spacing allows */
    unsigned missed; /* in a row that found messages missing */
};

/* The third part of a heartbeat, if min_replicas is above 0. */
struct guard {
    bool asked; /* EV_GUARD is to come */
    uint64_t id, asked_at;
    uint64_t ended_at;  /* start of the last heartbeat whose guard was answered */
    uint64_t as_of;     /* start of the last one that enough replicas acknowledged; 0: none on this link */
    char text[200];     /* why the last one did not count; "" */
    char sentence[480]; /* the same with cause and remedy, for status and log */
};

/* What the pod takes the store to be; anything else than this is another epoch. */
struct store_view {
    bool adopted;
    struct meta meta;  /* state, epoch and run; seq and cleared as last read */
    struct run_id run; /* of the server */
};

enum probe_state { PROBE_WANTED, PROBE_SENT, PROBE_OK, PROBE_FAILED };

struct probe {
    enum probe_state state;
    bool proven;                   /* once since the start */
    bool readable, written, heard; /* the three things to be shown */
    uint64_t heard_by;             /* once written: when its message counts as lost */
    uint64_t retry_at;             /* not before */
    unsigned doublings;            /* of the pause before the next try */
    uint8_t write_id[WRITE_ID_BYTES];
    char key[sizeof(CORE_RESERVED_PREFIX) + 8 + SOURCE_MAX];
    char text[256]; /* why it failed */
};

struct core {
    struct core_config config;
    uint64_t heartbeat_ns; /* H */
    uint64_t now;          /* of the step under way */
    uint64_t base;         /* a tick before the first step; expiry ticks count from here */

    struct table *table;
    struct stale_detector *floors;
    struct trace *trace; /* NULL: off */

    /* proof.c */
    struct link_state data, subscription_link;
    enum subscription_state subscription;
    struct heartbeat heartbeat;
    struct guard guard;
    struct store_view view;
    bool identity_ok; /* the view was confirmed on this data connection and nothing has cast doubt on it since */
    bool epoch_ok;    /* meta is complete and stands on this run: writes can be committed */
    bool proposing;
    uint64_t propose_retry_at; /* until then behave like a pod that may not write: setting an epoch failed */
    uint64_t heard_at;         /* last answer on a data connection */
    uint64_t highest;          /* highest seq received or acknowledged in this epoch */
    uint64_t last;
    uint64_t ahead; /* highest seq seen in a fetch or an own acknowledgement: can be ahead of `last` */
    uint64_t run_first, run_last; /* unbroken run of messages received while starting; 0: none */
    uint32_t generation;
    uint32_t epoch_first_generation; /* entries of older ones belong to another epoch: absent */
    uint64_t as_of;
    uint64_t generation_as_of[GENERATIONS_KEPT];
    uint64_t round_trip_ns;
    uint64_t store_us, store_at; /* Redis' TIME was store_us at some moment not before store_at */
    char epoch_why[160];
    uint64_t epoch_at; /* when what was known before ended */
    char proposal_why[160];
    const char *trouble; /* last failure of a heartbeat, for status */
    char trouble_text[200];
    enum core_reason link_reason;
    bool was_ready;

    /* flight.c, read.c, write.c */
    struct request **by_id;
    struct flight **by_key;
    size_t index_mask; /* of both */
    uint64_t next_id;
    struct list queued_reads, queued_writes, sent;
    struct list in_doubt; /* writes whose link was lost before their answer: told at their deadline */
    unsigned reads_in_flight, writes_in_flight;
    struct list barrier; /* strong reads waiting for a heartbeat */
    struct timers timers;
    unsigned waiting;
    size_t pending_bytes;
    struct probe probe;
    struct sampler sampler;

    char bad_record_text[128]; /* a step meets one at most */
    struct list garbage;       /* requests whose memory is freed at the next step, because effects point into it */

    struct core_effect nobody; /* takes the fields of an answer that nobody waits for */
    struct core_effect *effects;
    size_t effects_count, effects_taken, effects_capacity;
    bool watching;
    struct core_counters counters;
    struct core_measures measures;
};

/* core.c */
struct core_effect *effect_push(struct core *core, enum effect_type type); /* zeroed */
/* NULL when only room for answers is left: notes may be dropped, answers never. */
struct core_effect *note_push(struct core *core, enum note_kind kind);

/* proof.c */
void proof_link_up(struct core *core, enum core_link link, bool master, const struct run_id *run);
void proof_link_down(struct core *core, enum core_link link);
void proof_subscribed(struct core *core);
void proof_identity(struct core *core, const struct core_event *event);
void proof_pong(struct core *core, uint64_t nonce);
void proof_gap(struct core *core, enum gap_reason reason, uint64_t found, uint64_t last);
void proof_generation_begin(struct core *core);
void proof_settle(struct core *core); /* starts what is due; says READY and NOT_READY */
uint64_t proof_next_deadline(const struct core *core);
bool proof_lease_holds(const struct core *core);
void proof_part_ended(struct core *core); /* PONG or guard: as_of moves, strong reads go on */
uint64_t proof_generation_as_of(const struct core *core, uint32_t generation);
enum core_reason proof_reason(const struct core *core); /* why Redis cannot be asked now; NONE if it can */
bool proof_may_wait(const struct core *core);           /* Redis was heard of within D: worth waiting for */
/* Local moment that surely is not after the store's moment. 0 if the store's clock is unknown. */
uint64_t proof_local_time(const struct core *core, uint64_t store_us);
uint64_t proof_store_deadline_us(const struct core *core, uint64_t deadline);

/* Its sentence, or what Redis said. */
const char *proof_reason_text(const struct core *core, enum core_reason reason);

/* guard.c */
void guard_ask(struct core *core); /* the heartbeat's identity was answered */
void guard_answered(struct core *core, const struct core_event *event);
void guard_forget(struct core *core);
uint64_t guard_limit(const struct core *core, uint64_t as_of); /* as_of, as far as the guard has proven it */
bool guard_lets_wait(const struct core *core);                 /* it is on, and a heartbeat can be started */
enum core_reason guard_reason(const struct core *core);        /* proof_reason, or REASON_REPLICAS */
const char *guard_text(const struct core *core);               /* why the last heartbeat did not count; "" */

/* epoch.c */
/* What a heartbeat read. False: the epoch has ended and this pod proposes a new one. */
bool proof_epoch_read(struct core *core, const struct meta *meta, const struct run_id *run);
void proof_proposed(struct core *core, const struct core_event *event);
void proof_forget(struct core *core, const char *why); /* drops everything cached, as at a new epoch */
/* Something contradicts the view: no fetch or write is sent until meta has been read again. */
void proof_doubt(struct core *core);
/* Are both looks of a fetch at meta of this epoch, so that the record between them is? `highest`: core->highest
 * when it was sent. */
bool proof_fetch_matches(const struct core *core, const struct core_event *event, uint64_t highest);
/* What it found; a record that a clear covers is absent. */
enum fetch_result proof_fetch_found(const struct core_event *event);

/* apply.c */
enum applied { APPLIED_NEWER, APPLIED_SAME, APPLIED_REJECTED };

struct apply_how {
    const char *origin;
    uint32_t generation;
    uint64_t expires_at; /* local; 0: never */
    bool insert;         /* the value may enter the cache */
};

/* What a reader is given of an applied record: the hook's replacement, if it made one. */
struct apply_result {
    struct slice value;
    bool replaced;
};

enum applied apply_record(struct core *core, struct slice key, const struct record *record,
                          const struct apply_how *how, struct apply_result *ret_result);
/* The key was seen at seq, but what was seen must not enter the cache: an older entry goes. */
void apply_hint(struct core *core, struct slice key, uint64_t seq);
void apply_message(struct core *core, const struct message *message);
void apply_bad_message(struct core *core, const char *text);
/* The entry of the key if it belongs to this epoch and has not expired; otherwise it is removed. */
struct entry *apply_find(struct core *core, struct slice key, uint64_t *ret_hash);
/* Puts a value through the hook into the cache. False: it was rejected or does not fit. */
bool apply_insert(struct core *core, struct slice key, const struct record *record, const struct apply_how *how,
                  bool local, struct apply_result *ret_result);
uint32_t apply_ticks(const struct core *core, uint64_t at);

/* read.c */
void read_start(struct core *core, const struct read_request *read);
void read_resume(struct core *core, struct waiter *waiter); /* decides again; may answer or wait anew */
void read_answer_fetched(struct core *core, struct waiter *waiter, const struct record *record,
                         const struct apply_result *result, uint64_t as_of);
void read_answer_absent(struct core *core, struct waiter *waiter, uint64_t as_of);
/* A permitted stale answer if there is one, otherwise the refusal. */
void read_give_up(struct core *core, struct waiter *waiter, enum core_reason reason, struct slice text);
void read_answer_error(struct core *core, struct waiter *waiter, struct slice text);
/* The heartbeat that was started at this moment has ended: strong reads that arrived before it go on. */
void read_release_barrier(struct core *core, uint64_t started_at);

/* flight.c */
bool flight_join(struct core *core, struct waiter *waiter, bool header_only); /* false: ENOMEM */
struct flight *flight_find(struct core *core, uint64_t hash, struct slice key);
void flight_note(struct core *core, struct slice key, uint64_t seq); /* marks: something newer went past */
void flight_fetched(struct core *core, const struct core_event *event);
void flight_abandon(struct core *core, struct flight *flight);       /* one reader less; NULL: it had none */
void flight_give_up_all(struct core *core, enum core_reason reason); /* every waiting read */
void flight_link_down(struct core *core);
void request_add(struct core *core, struct request *request, enum request_kind kind);
void request_forget(struct core *core, struct request *request); /* memory goes with the next step */
struct request *request_find(struct core *core, uint64_t id);
void request_pump(struct core *core);
void garbage_free(struct core *core);
void call_arm(struct core *core, struct call *call, enum call_kind kind, uint64_t deadline);
void call_disarm(struct core *core, struct call *call);

/* local.c */
void local_set(struct core *core, const struct write_request *write);

/* write.c */
/* The answer to a write, to be filled in. */
struct core_effect *write_done(struct core *core, const struct write_request *write, enum write_outcome outcome);
void write_refuse(struct core *core, const struct write_request *write, enum core_reason reason,
                  struct slice text);
void write_start(struct core *core, const struct write_request *write);
void pending_send(struct core *core, struct pending_write *pending);
void write_written(struct core *core, const struct core_event *event);
void write_expired(struct core *core, struct pending_write *pending);
void write_link_down(struct core *core, struct pending_write *pending);
bool write_ready(const struct core *core, const struct pending_write *pending);
/* Queues the probe's own write ahead of all others. False: ENOMEM. */
bool write_probe(struct core *core, const struct write_request *write);

/* probe.c */
bool probe_can_start(const struct core *core);
/* When probe_settle() has something to do whatever else comes; UINT64_MAX: nothing. */
uint64_t probe_deadline(const struct core *core);
void probe_settle(struct core *core); /* starts what is due */
/* Redis refused a write of a client: the write path is to be proven again. */
void probe_doubt(struct core *core);
bool probe_allows_writes(const struct core *core);
/* As far as is known now, a write would be taken. */
bool probe_writes_ok(const struct core *core);
const char *probe_writes_text(const struct core *core);
void probe_heard(struct core *core, const struct message *message);
void probe_inspected(struct core *core, bool ok, struct slice text);
void probe_written(struct core *core, const struct core_event *event);
void probe_failed(struct core *core, const char *what, struct slice text);
void probe_lost(struct core *core); /* the connection went with it */

/* view.c */
/* trace_event(core, TRACE_CONFIRM, .key = key, .seq = seq): one line for what has happened. */
#define trace_event(core, kind_, ...)                                                      \
    do {                                                                                   \
        if ((core)->trace)                                                                 \
            trace_record_event(core, &(struct trace_event){.kind = (kind_), __VA_ARGS__}); \
    } while (0)
void trace_record_event(struct core *core, struct trace_event *event);
void inspect_start(struct core *core, uint64_t token, struct slice key, uint64_t deadline, bool probe);
void inspect_done(struct core *core, struct inspection *inspection, enum reply_status status,
                  enum core_reason reason, const struct core_event *event);
/* A look of the sampler: no deadline of its own. False: ENOMEM. */
bool inspect_sample(struct core *core, struct slice key, const struct sampler_look *look);

/* sampler.c */
void sampler_settle(struct core *core); /* starts what is due */
uint64_t sampler_next_deadline(const struct core *core);
void sampler_looked(struct core *core, const struct inspection *inspection, enum reply_status status,
                    const struct core_event *event);

#endif
