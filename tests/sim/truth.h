/*
 * The truth: what the simulated servers really stored, as a checker outside all pods would know it.
 *
 * Per epoch and key a timeline of states: every commit, every expiry, eviction or deletion past dcached. A read
 * is judged by the position of its answer on the timeline of its epoch. Positions rise with time; within the
 * life of a key (from nothing stored to nothing stored) they rise exactly as versions do.
 *
 * An epoch of the truth is an id together with the run of the server (process and replication history): it begins
 * when a script sets the id, when a process starts over older data or has followed another server (then nothing
 * can be committed in it), or when the data of a process is replaced as a whole. What is stored at that moment are
 * its first states. It ends when the id is changed or gone, when the run is another one, or when the server is no
 * longer a master (`ended_by_role`).
 */
#ifndef DCACHED_SIM_WORLD_TRUTH_H
#define DCACHED_SIM_WORLD_TRUTH_H

#include "daemon/core/types.h"

#define SIM_KEYS 6 /* keys of the clients, then the one that a crowd misses */
#define NEVER    UINT64_MAX

enum truth_kind { TRUTH_VALUE, TRUTH_TOMBSTONE, TRUTH_NONE };

struct truth_state {
    uint64_t at;
    enum truth_kind kind;
    uint64_t version, seq, expiry_ms; /* expiry_ms: store time; 0: never */
    int content;                      /* which payload; -1: none */
    uint8_t write_id[WRITE_ID_BYTES];
};

/* A write acknowledged at the client at `at`: the state `position` or something later. Cumulative. */
struct truth_ack {
    uint64_t at;
    int position;
    int strongest; /* highest position acknowledged so far */
};

struct truth_line {
    struct truth_state *states;
    struct truth_ack *acks;
    int states_count, states_room, acks_count, acks_room;
};

struct truth_epoch {
    struct epoch id;
    struct run_id run;
    uint64_t begins, ends;
    uint64_t begins_at_seq;
    uint64_t superseded; /* from when on another server was the primary; NEVER: this one is */
    bool ended_by_role;
    bool seq_went_back; /* it is over as soon as somebody notices; messages may look late until then */
    bool set_back;      /* meta was put back by hand: what was given out may be given out again, unseen */
    struct truth_line lines[SIM_KEYS];
};

struct truth {
    struct truth_epoch *epochs;
    int count, room;
};

void truth_deinit(struct truth *truth);

/* Returns the number of the epoch. Its timelines are empty: the witness adds the first state of every key. */
int truth_begin_epoch(struct truth *truth, const struct epoch *id, const struct run_id *run, uint64_t now);
/* The latest. -1: unknown. */
int truth_find_epoch(const struct truth *truth, const struct epoch *id, const struct run_id *run);
/* The one that was in force at that time, if several have borne the name: a store without meta is flushed.
 * Otherwise the latest. */
int truth_find_epoch_at(const struct truth *truth, const struct epoch *id, const struct run_id *run, uint64_t at);
/* The first that bears this id; NULL: none. */
const struct truth_epoch *truth_first_of(const struct truth *truth, const struct epoch *id);
/* Returns the position. */
int truth_add(struct truth *truth, int epoch, int key, const struct truth_state *state);
void truth_acknowledge(struct truth *truth, int epoch, int key, uint64_t now, int position);

/* Position of the latest state with this content, -1 if there is none. */
int truth_find_value(const struct truth *truth, int epoch, int key, uint64_t version, int content);
int truth_find_tombstone(const struct truth *truth, int epoch, int key, uint64_t version);
/* Position of the latest state in which a reader finds nothing, -1 if there is none. */
int truth_find_absent(const struct truth *truth, int epoch, int key);
/* Position of the state with this seq, -1 if there is none. */
int truth_find_seq(const struct truth *truth, int epoch, int key, uint64_t seq);
/* Highest position acknowledged before that moment, -1 if there is none. */
int truth_required(const struct truth *truth, int epoch, int key, uint64_t before);
/* When the process of this run last stopped being a master, or had another history than this one's; 0: never. */
uint64_t truth_run_changed(const struct truth *truth, const struct run_id *run);
const struct truth_state *truth_at(const struct truth *truth, int epoch, int key, int position);
/* NULL: none. */
const struct truth_state *truth_last(const struct truth *truth, int epoch, int key);

#endif
