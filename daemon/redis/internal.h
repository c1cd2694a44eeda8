/*
 * What the files of this folder share: the two connections, what was asked over the data connection and not
 * yet answered, and what is queued for the next flush.
 */
#ifndef DCACHED_REDIS_INTERNAL_H
#define DCACHED_REDIS_INTERNAL_H

#include "daemon/redis/connection.h"
#include "daemon/redis/record.h"
#include "daemon/redis/script.h"

#define NS_PER_S UINT64_C(1000000000)

#define WRITE_BATCH_MAX   64         /* writes in one script call: it blocks Redis meanwhile. Picked. */
#define WRITE_BATCH_BYTES (1u << 20) /* of values in one script call. Picked. */
#define FETCH_BATCH_BYTES (8u << 20) /* records between two reads of meta hold so much memory at most. Picked. */
#define TTL_MAX_MS        UINT64_C(8000000000000) /* 250 years: store time plus TTL fits the 13 digits of expiry */
#define SWEEP_INTERVAL_MS 10                      /* picked: 500 records per 10 ms are 1 % of one CPU of Redis */
#define SWEEP_PATIENCE_NS (5 * NS_PER_S)          /* up to twice as long; picked */
#define SWEEP_COUNT       500                     /* keys per step */

/* What came instead of a record, or as one; KEPT_NOT: there was no memory for it. */
enum kept { KEPT_NOT, KEPT_RECORD, KEPT_WRONG_TYPE, KEPT_ERROR, KEPT_OTHER };

struct fetch_item {
    uint64_t id;
    struct slice key;
    bool header_only;
    enum kept kept;
    uint8_t *bytes; /* NULL, or the answer, until meta has been read again */
    size_t len;
};

struct write_item {
    uint64_t id;
    struct epoch epoch;
    struct run_id run;
    uint64_t deadline_store_us;
    const struct write_request *request;
};

struct propose_item {
    struct meta seen;
    struct run_id run;
    uint64_t min_seq, min_cleared;
};

/* One request on the data connection: one or more commands whose replies come in a row. */
struct pending {
    struct pending *next;
    uint64_t sent_ns;
    unsigned replies, seen;
    /* Called for each reply; NULL, or why to close. */
    const char *(*on_reply)(struct redis *redis, struct pending *p, const redisReply *reply);
    bool by_sha;             /* NOSCRIPT: to be made again with the text of the script */
    struct epoch epoch;      /* of a clear: the new one */
    struct core_event event; /* collects the parts of an answer that takes several replies */
    char text[256];          /* for event.*.text */
    unsigned count;
    struct fetch_item *fetches; /* count of them, or NULL */
    struct write_item *writes;  /* count of them, or NULL */
};

/* Growable queue of what FX_* asked for since the last flush. */
struct queued {
    struct fetch_item *fetches;
    struct write_item *writes;
    uint64_t *identities;
    struct propose_item *proposals;
    size_t fetch_count, write_count, identity_count, proposal_count;
    size_t fetch_room, write_room, identity_room, proposal_room;
};

struct durability {
    uint64_t asked_ns;
    char text[160], next[160]; /* next: while the answers come */
    char trouble[160];
    char eviction[48];              /* maxmemory_policy; "": not asked yet */
    uint64_t max_bytes, used_bytes; /* of Redis' memory; 0: no limit, unknown */
};

/* A sweep that somebody else has to do, as last seen. */
struct sweep_watch {
    struct epoch epoch;
    uint64_t cleared, since_ns, patience_ns;
    char sweeping[24];
};

struct sweep {
    uv_timer_t timer;
    bool active, waiting; /* waiting: for an answer */
    bool anew;            /* it began anew meanwhile: that answer moves no cursor */
    char cursor[24];
    uint64_t removed;
    struct epoch epoch; /* when it began, and what was cleared then */
    uint64_t target;
    struct epoch swept_epoch; /* nothing is to be done any more for what was cleared up to `swept` */
    uint64_t swept;
    struct sweep_watch watch;
};

struct redis {
    struct redis_config config;
    uv_loop_t *loop;
    struct connection data, subscription;
    uv_timer_t deferred; /* delivers what must not be delivered from where it was noticed */
    bool down[2];        /* by core_link: EV_LINK_DOWN is due */
    bool reset[2];       /* by core_link: FX_RESET, for the next flush */
    char reset_text[2][160];
    bool exhausted; /* no memory for a request: the data connection is to be reset */
    bool up[2];     /* by core_link: EV_LINK_UP was delivered and EV_LINK_DOWN not yet */

    char *meta_key, *record_prefix, *channel, *pulse_channel, *sweep_pattern;
    char addr[300];
    struct durability durability;
    struct status_texts *texts;
    char write_sha[41]; /* of write.lua; "": not loaded, its text goes along */

    struct queued queued; /* for the next flush */
    struct queued unsent; /* to be answered REPLY_NOT_SENT */
    struct pending *first, **last;

    /* Subscription: asked and not answered. */
    bool subscribe_wanted, subscribed;
    uint64_t subscribe_sent_ns;
    struct {
        uint64_t nonce, sent_ns;
    } pings[16]; /* ring; the core has one heartbeat out at a time */
    unsigned ping_first, ping_count;

    struct sweep sweep;

    unsigned handles; /* that are not closed yet */
    void (*on_closed)(void *ctx);
    void *closed_ctx;
    bool stopping;
    uint8_t read_buffer[64 * 1024];
};

/* What redis_get_status points to. */
struct status_texts {
    char data_state[224], subscription_state[224], trouble[272];
};

extern const struct connection_role data_role, subscription_role;

/* redis.c */
__attribute__((format(printf, 4, 5))) void redis_log(struct redis *redis, int level, const char *message,
                                                     const char *format, ...);
void redis_emit(struct redis *redis, struct core_event *event);
void redis_link_up(struct redis *redis, struct connection *c);
void redis_link_lost(struct redis *redis, struct connection *c);
void redis_handle_closed(struct redis *redis);

/* data.c: the queue of requests on the data connection */
struct pending *pending_new(struct redis *redis, unsigned replies,
                            const char *(*on_reply)(struct redis *, struct pending *, const redisReply *));
struct pending *pending_free(struct pending *p);
void data_flush(struct redis *redis);
/* Forgets all that was asked or queued. Not from within a reply. */
void data_drop(struct redis *redis);
void queued_clear(struct queued *q);
/* EVAL; so many keys and arguments follow. */
void data_script(struct redis *redis, enum script_id script, unsigned keys, unsigned arguments);

/* Copies a text, made printable: it goes into logs between double quotes. */
struct slice text_printable(char *room, size_t len, struct slice text);
struct slice error_text(char *room, size_t len, const redisReply *reply); /* the text of an error, likewise */

/* fetch.c, write.c: put what is queued onto the data connection */
void fetch_send(struct redis *redis);
void identity_send(struct redis *redis);
void write_send(struct redis *redis);
void propose_send(struct redis *redis);

/* durability.c */
unsigned durability_ask(struct redis *redis); /* how many replies will come */
void durability_take(struct redis *redis, unsigned index, const redisReply *reply);
void durability_send(struct redis *redis); /* if it is time again */

/* sweep.c */
void sweep_start(struct redis *redis, const struct epoch *epoch, uint64_t cleared);
void sweep_watch(struct redis *redis, const struct meta *meta); /* with every heartbeat */
void sweep_resume(struct redis *redis);                         /* after a new connection */

/* subscription.c */
void subscription_flush(struct redis *redis);
void subscription_ping(struct redis *redis, uint64_t nonce);
void subscription_drop(struct redis *redis);

#endif
