/* What the files of ops share. Nobody else includes this. */
#ifndef DCACHED_OPS_INTERNAL_H
#define DCACHED_OPS_INTERNAL_H

#include "daemon/core/measure.h"
#include "daemon/ops/hot.h"
#include "daemon/ops/ops.h"

/* One request while its method runs. */
struct request {
    uint64_t client;
    uint32_t id;
    uint64_t now;
    struct cursor params;
};

enum call_kind {
    CALL_FREE,
    CALL_READ,
    CALL_WRITE,
    CALL_MGET_KEY,
    CALL_MSET_ITEM,
    CALL_INSPECT,
    CALL_VERIFY_KEY,
};

/* A token given to the core, until its answer. */
struct call {
    uint64_t client;
    uint32_t id;         /* of the request */
    uint32_t generation; /* upper half of the token */
    enum call_kind kind;
    uint32_t index; /* in the gathering */
    uint32_t next_free;
    struct gather *gather;
    size_t write_bytes; /* key and value */
};

/* What a client has under way: no more than its share, so that others have theirs. */
struct share {
    uint64_t client;
    uint32_t calls;
    size_t gather_bytes, write_bytes;
};

struct gather_item {
    size_t at, len; /* of its packed answer in `bytes` */
    uint64_t as_of; /* 0: needs no proof */
    enum read_counted counted;
};

/* One answer made of many: mget, mset, verify. */
struct gather {
    uint64_t client;
    uint32_t id;
    uint32_t count, left;
    bool all_asked; /* not to be finished before the last question is put */
    bool writes;    /* what it answers may have been committed */
    struct buffer bytes;
    struct gather_item *items; /* `room` of them */
    uint32_t room;
    size_t charged;          /* of gather_max */
    uint64_t cursor;         /* verify */
    uint32_t unknown;        /* verify: Redis could not be asked */
    uint32_t different;      /* verify: packed in `bytes` */
    struct buffer key_bytes; /* inspect, verify: items say where each key stands */
};

#define GATHER_BUSY "too many bytes of unfinished answers; try again later"
#define GATHER_MAX  (PROTO_MGET_MAX + 64) /* the core ends a page of verify only between two buckets */

struct watch {
    uint64_t client;
    uint64_t id;
    uint64_t lost; /* events dropped since the last one that went out */
    uint8_t *prefix;
    size_t prefix_len;
};

struct ops {
    struct ops_config config;
    struct call *calls;
    uint32_t call_count, first_free; /* of calls */
    struct gather *spare;            /* kept between two gatherings */
    size_t gather_bytes, gather_max; /* charged for all unfinished ones */
    struct share *shares;            /* by the lower half of the client's number */
    uint32_t share_count;
    struct watch *watches;
    unsigned watch_count;
    uint64_t next_watch;
    struct buffer scratch;
    unsigned read_countdown; /* at 0 a read is sampled for `top` */
    struct hot hot_reads, hot_rejected;
    struct ops_counters counters;
    struct slice keys[PROTO_MGET_MAX];
    struct proto_write writes[PROTO_MGET_MAX];
};

/* ---- ops.c ------------------------------------------------------------------------------------------------ */

/* `write_bytes`: of key and value, 0 if it is no write. False: too many wait. */
bool call_take(struct ops *ops, enum call_kind kind, uint64_t client, uint32_t id, size_t write_bytes,
               uint64_t *ret_token);
struct call *call_of(struct ops *ops, uint64_t token);

void answer_error(struct ops *ops, uint64_t client, uint32_t id, enum rpc_error code, const char *text);
/* A text that borrows. */
void answer_error_slice(struct ops *ops, uint64_t client, uint32_t id, enum rpc_error code, struct slice text);
/* Starts a result: the caller packs one object, then calls answer_end. NULL: the client is gone. */
struct buffer *answer_begin(struct ops *ops, uint64_t client, uint32_t id);
void answer_end(struct ops *ops, uint64_t client);

/* NULL, or what is wrong. */
const char *check_key(const struct ops *ops, struct slice key, enum rpc_error *ret_code);
uint64_t deadline_of(const struct ops *ops, uint64_t now, uint64_t timeout_ms);
/* What a refusal of the core is called on the wire. */
enum rpc_error reason_code(enum core_reason reason, bool write);
/* The text the core gave, or the sentence of the reason. */
struct slice reason_slice(const struct ops *ops, enum core_reason reason, struct slice text);

/* ---- share.c ---------------------------------------------------------------------------------------------- */

/* Before a request of the client is looked at. False: no memory. */
bool share_begin(struct ops *ops, uint64_t client);
/* NULL: the client is gone. Valid until the next share_begin. */
struct share *share_of(const struct ops *ops, uint64_t client);
void share_release(struct ops *ops, uint64_t client, uint32_t calls, size_t gather_bytes, size_t write_bytes);
/* True: with the calls that it has, it holds more than its share, and the last one may not wait. */
bool share_is_used_up(struct ops *ops, uint64_t client);
/* So many bytes more for gathered answers are within its share, and what all have. */
bool share_gathers(struct ops *ops, uint64_t client, size_t bytes);

/* ---- gather.c --------------------------------------------------------------------------------------------- */

/* With room for `count` items. NULL: the bytes for it are taken, or no memory; GATHER_BUSY is the text. */
struct gather *gather_new(struct ops *ops, const struct request *request, uint32_t count);
/* So many bytes more are held for it until gather_free. */
void gather_charge(struct ops *ops, struct gather *g, size_t bytes);
/* The text of a failed item, or none if there is no room for it: the code has to do. */
struct slice gather_text(struct ops *ops, const struct gather *g, struct slice text);
void gather_free_spare(struct ops *ops);
/* Bytes of item `index` follow; gather_put_end after them. NULL: no room, *ret_code and *ret_text say why. */
struct buffer *gather_put(struct ops *ops, struct gather *g, uint32_t index, size_t len, enum rpc_error *ret_code,
                          const char **ret_text);
/* The item is answered. True: it was the last one. */
bool gather_put_end(struct ops *ops, struct gather *g, uint32_t index, uint64_t as_of);
/* The array of all items in their order, as the answer. */
void gather_answer(struct ops *ops, struct gather *g, uint64_t now);
void gather_free(struct ops *ops, struct gather *g);

/* ---- the methods ------------------------------------------------------------------------------------------ */

typedef void (*method_run)(struct ops *ops, const struct request *request);

void run_hello(struct ops *ops, const struct request *request);
void run_ping(struct ops *ops, const struct request *request);
void run_get(struct ops *ops, const struct request *request);
void run_mget(struct ops *ops, const struct request *request);
void run_set(struct ops *ops, const struct request *request);
void run_mset(struct ops *ops, const struct request *request);
void run_delete(struct ops *ops, const struct request *request);
void run_clear(struct ops *ops, const struct request *request);
void run_inspect(struct ops *ops, const struct request *request);
void run_versions(struct ops *ops, const struct request *request);
void run_stats(struct ops *ops, const struct request *request);
void run_status(struct ops *ops, const struct request *request);
void run_watch(struct ops *ops, const struct request *request);
void run_unwatch(struct ops *ops, const struct request *request);
void run_verify(struct ops *ops, const struct request *request);
void run_trace(struct ops *ops, const struct request *request);
void run_top(struct ops *ops, const struct request *request);
void run_canary(struct ops *ops, const struct request *request);
void run_clients(struct ops *ops, const struct request *request);
void run_log_level(struct ops *ops, const struct request *request);
void run_config(struct ops *ops, const struct request *request);

void read_answered(struct ops *ops, const struct call *call, const struct core_effect *effect, uint64_t now);
void write_answered(struct ops *ops, const struct call *call, const struct core_effect *effect, uint64_t now);
void inspect_answered(struct ops *ops, const struct call *call, const struct core_effect *effect, uint64_t now);
void verify_answered(struct ops *ops, const struct call *call, const struct core_effect *effect);
void top_sample_read(struct ops *ops, struct slice key, uint64_t now);
void watches_forget(struct ops *ops, uint64_t client);

#endif
