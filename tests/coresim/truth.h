/*
 * The truth: what really happened in the store, as a checker outside all pods would know it.
 *
 * Per epoch and key a timeline of states: every commit, every expiry, eviction or deletion past dcached. A read
 * is judged by the position of its answer on the timeline of its epoch. Positions rise with time; within the
 * life of a key (from nothing stored to nothing stored) they rise exactly as versions do.
 *
 * An epoch of the truth is an id together with the run of the server process: it begins when a script sets the
 * id, or when a server process starts over data of an older one (then nothing can be committed in it). What is
 * stored at that moment are its first states. It ends when the id is changed or gone, when the process dies, or
 * when it is no longer a master (`ended_by_role`).
 */
#ifndef DCACHED_SIM_TRUTH_H
#define DCACHED_SIM_TRUTH_H

#include "daemon/core/types.h"

#define SIM_KEYS 8 /* keys of the clients, then keys that cores use for themselves */
#define NEVER    UINT64_MAX

enum truth_kind { TRUTH_VALUE, TRUTH_TOMBSTONE, TRUTH_NONE };

struct truth_state {
    uint64_t at;
    enum truth_kind kind;
    uint64_t version, seq;
    int content; /* which payload; -1: none */
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
    bool ended_by_role;
    bool seq_went_back; /* it is over as soon as somebody notices; messages may look late until then */
    bool records_ahead; /* it began with records above its seq: no pod can order those before one has met them */
    struct truth_line lines[SIM_KEYS];
};

struct truth {
    struct truth_epoch *epochs;
    int count, room;
};

void truth_deinit(struct truth *truth);

/* Returns the number of the epoch. Its timelines are empty: the store adds the first state of every key. */
int truth_begin_epoch(struct truth *truth, const struct epoch *id, const struct run_id *run, uint64_t now);
/* -1: unknown. */
int truth_find_epoch(const struct truth *truth, const struct epoch *id, const struct run_id *run);
/* Returns the position. */
int truth_add(struct truth *truth, int epoch, int key, struct truth_state state);
void truth_acknowledge(struct truth *truth, int epoch, int key, uint64_t now, int position);

/* Position of the latest state with this content, -1 if there is none. */
int truth_find_value(const struct truth *truth, int epoch, int key, uint64_t version, int content);
int truth_find_tombstone(const struct truth *truth, int epoch, int key, uint64_t version);
/* Position of the latest state in which a reader finds nothing, -1 if there is none. */
int truth_find_absent(const struct truth *truth, int epoch, int key);
/* Highest position acknowledged before that moment, -1 if there is none. */
int truth_required(const struct truth *truth, int epoch, int key, uint64_t before);
const struct truth_state *truth_at(const struct truth *truth, int epoch, int key, int position);

#endif
