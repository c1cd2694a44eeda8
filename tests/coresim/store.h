/*
 * A typed model of Redis as dcached uses it: a server process with a run id, the meta hash, one record per key
 * and the three scripts (write, clear, propose). Each function is one command or one script, executed at one
 * instant; what lies between two commands of a pipeline is the network's affair (net.h).
 *
 * Every change is written into the truth, at the instant it happens.
 */
#ifndef DCACHED_SIM_STORE_H
#define DCACHED_SIM_STORE_H

#include "daemon/core/core.h"
#include "tests/coresim/rng.h"
#include "tests/coresim/truth.h"

struct stored {
    enum truth_kind kind; /* TRUTH_NONE: nothing under the key */
    uint64_t version, seq, timestamp_ns, expiry_ms;
    int content, source; /* payload; pod that wrote it */
    uint8_t write_id[WRITE_ID_BYTES];
    bool corrupt; /* unreadable for everybody */
};

/* All that a server stores: what a flush removes, persistence brings back and a replica copies. */
struct dataset {
    bool has_epoch, has_run, has_seq, has_cleared, malformed;
    struct epoch epoch;
    struct run_id run;
    uint64_t seq, cleared;
    struct stored records[SIM_KEYS];
};

struct node {
    int index;
    bool alive, master;
    struct run_id server, history; /* ids of process and replication */
    struct run_id run;             /* both */
    int follows;                   /* while it is a replica: of which node; -1: of one that is not here */
    uint64_t lost_at;              /* when another one became the primary; NEVER: this is it */
    uint64_t role_at;              /* when it was demoted or promoted the last time */
    int process;                   /* counts the starts */
    struct dataset data;
    struct dataset saved;      /* what a restart with loss finds */
    struct dataset replicated; /* what a replica of this node has */
    int64_t clock_us;          /* store time minus virtual time */
    uint64_t paused_until;     /* executes nothing until then */
    bool refuses_writes;       /* OOM, MISCONF, NOPERM ...: before execution */
    bool refuses_reads;        /* errors to fetches and identity */
    int failing_scripts;       /* so many writes fail after storing, before publishing */
    int epoch;                 /* number in the truth that is in force here; -1: none (no master, or dead) */
    int foreign_commits;       /* writes committed although meta stands on another process; has to stay 0 */
    struct truth *truth;
    struct rng rng;
};

/* A write as it arrives at the server. */
struct store_write {
    enum write_op op;
    int key, content, source;
    uint64_t version, ttl_ms;
    bool carry_value, retry;
    uint8_t write_id[WRITE_ID_BYTES];
    struct epoch epoch, new_epoch; /* new_epoch: drawn by the shell for a clear */
    struct run_id run;
    uint64_t deadline_us;
};

struct store_answer {
    enum reply_status status;
    const char *text;
    enum script_result result;
    uint64_t version, seq, timestamp_ns;
    struct epoch epoch;
};

/* What a script published. */
struct published {
    enum message_kind kind;
    struct epoch epoch;
    int key, content, source;
    enum record_kind record_kind;
    uint64_t version, seq, timestamp_ns, expiry_ms, ttl_ms;
    uint8_t write_id[WRITE_ID_BYTES];
    int truth_epoch, position; /* -1: none */
};

void node_init(struct node *node, int index, struct truth *truth, uint64_t seed);
/* A new process with a new run id over what `data` holds. */
void node_start(struct node *node, uint64_t now, bool master);
void node_stop(struct node *node, uint64_t now);
void node_set_master(struct node *node, uint64_t now, bool master);

uint64_t node_time_us(const struct node *node, uint64_t now);
void node_read_meta(const struct node *node, struct meta *ret_meta);
/* NULL: nothing under the key. A record that a clear covers is still there. */
const struct stored *node_read_record(struct node *node, uint64_t now, int key);
/* NULL: a reader would find nothing. */
const struct stored *node_live_record(struct node *node, uint64_t now, int key);

/* True: *ret_message was published. */
bool node_write(struct node *node, uint64_t now, const struct store_write *write, struct store_answer *ret_answer,
                struct published *ret_message);
void node_propose(struct node *node, uint64_t now, const struct meta *seen, struct epoch id, struct run_id run,
                  uint64_t min_seq, struct store_answer *ret_answer);

/* Things that happen past the scripts. */
void node_expire(struct node *node, uint64_t now); /* removes what is past its time to live */
void node_sweep(struct node *node, uint64_t now);  /* removes what a clear covers */
void node_evict(struct node *node, uint64_t now, int key);
void node_flush(struct node *node, uint64_t now);
void node_load(struct node *node, uint64_t now, const struct dataset *data);
/* After changing `data` by hand: tells the truth which epoch is in force now and what it holds. */
void node_refresh(struct node *node, uint64_t now);

#endif
