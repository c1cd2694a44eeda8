/*
 * The truth: what was committed, as the append-only files and the acknowledgements tell it.
 *
 * Every state of a key has a position, an order within an epoch. In the mode `total` one append-only file is the
 * whole truth: order is the place in the file, epochs do not matter for it, and whatever is not there was not
 * committed. Otherwise the truth is a union: order is seq, positions of two epochs are not compared, and what is
 * not known may have happened.
 */
#ifndef DCACHED_CHAOS_TRUTH_H
#define DCACHED_CHAOS_TRUTH_H

#include "daemon/redis/record.h"
#include "tests/chaos/report.h"

/* A write of the load, by its number. */
struct truth_write {
    uint64_t order;   /* 0: not committed, as far as is known */
    uint64_t version; /* committed or acknowledged */
    uint64_t seq;
    uint64_t asked;         /* version asked for; 0: auto */
    uint64_t invoked;       /* CLOCK_BOOTTIME of the first attempt; 0: not yet */
    uint64_t committed;     /* CLOCK_BOOTTIME by the store's clock; 0: not known */
    uint64_t superseded;    /* when the next state of the key was committed; 0: not yet */
    uint64_t superseded_by; /* acknowledgements as truth: its number */
    uint64_t since;         /* acknowledgements as truth: invocation of the attempt that was acknowledged */
    uint32_t epoch;
    uint16_t key;
    uint8_t kind;
    uint8_t expires : 1, acked : 1;
    uint8_t doubt : 1;    /* an attempt ended indeterminate */
    uint8_t twice : 1;    /* committed again after the history of its key had ended: it has two positions */
    uint8_t rejected : 1; /* an attempt was definitely not done */
};

/*
 * A state in which a reader finds nothing. The file has no times, and the store's clock may jump; but the state
 * began after the last commit before it, and that after its writer asked for it.
 */
struct truth_absent {
    uint64_t version, order, number; /* version 0: no tombstone either */
    uint64_t after;                  /* number of the last write that was committed before it; 0: none */
    uint32_t epoch;
};

/* The runner's note that a loss had left nothing: what is before it in the file was over when that was told. */
struct truth_emptied {
    uint64_t loss; /* when it began */
    uint64_t order;
};

enum truth_kind { TRUTH_NONE, TRUTH_VALUE, TRUTH_TOMBSTONE };

struct truth_key {
    uint64_t number; /* of the last state; 0: not one of ours */
    uint64_t order, version, seq;
    uint64_t answered; /* acknowledgements as truth: when the last state was */
    enum truth_kind kind;
    uint32_t epoch;
    struct truth_absent *absents;
    unsigned absents_count, absents_room;
};

struct truth_epoch {
    uint64_t id;
    uint64_t first_ack; /* answered; 0: none yet */
    uint64_t cleared;   /* order of the clear it began with; 0: none, or one that left something */
    uint64_t seq;       /* highest committed */
    uint64_t begun;     /* total: order at which meta had it first, plus 1; 0: it never had */
};

#define CHUNK_WRITES 65536

struct truth {
    bool total;
    bool loading;            /* what comes now is a snapshot: its order means nothing */
    int64_t realtime_offset; /* of the store's clock to CLOCK_BOOTTIME */
    bool dated;              /* it is known */
    struct report *report;
    uint64_t order;
    uint64_t none_order;  /* of the last state in which nothing at all is stored */
    uint64_t last_number; /* of the last write that was committed; 0: none */
    struct truth_absent *nones;
    unsigned nones_count, nones_room;
    struct truth_emptied *emptied;
    unsigned emptied_count, emptied_room;
    uint64_t meta_cleared; /* as in meta */
    uint32_t epoch;        /* current */
    struct truth_epoch *epochs;
    unsigned epochs_count, epochs_room;
    struct truth_key *keys;
    struct truth_write **chunks[STREAMS_MAX];
    unsigned chunks_count[STREAMS_MAX];
};

void truth_init(struct truth *t, bool total, struct report *report);
void truth_deinit(struct truth *t);

/* Never NULL. */
struct truth_write *truth_write_at(struct truth *t, uint64_t number);
/* By the first digits of its id. */
uint32_t truth_epoch_at(struct truth *t, uint64_t id);

/* What the append-only file says, in its order. number 0: not a write of the load. */
void truth_commit(struct truth *t, uint32_t key, uint64_t number, const struct record *record, bool expires);
void truth_gone(struct truth *t, uint32_t key);
void truth_gone_all(struct truth *t);
void truth_emptied(struct truth *t, uint64_t loss);
/* meta was set; cleared is NEVER_SET where it was not. */
#define NEVER_SET UINT64_MAX
void truth_meta(struct truth *t, uint64_t epoch, uint64_t cleared);
/* Somebody cleared: up to this seq. */
void truth_clear(struct truth *t, uint64_t epoch, uint64_t cleared);

/* An acknowledgement, in a union: the write is committed there. */
void truth_acknowledge(struct truth *t, uint64_t number, uint32_t epoch, uint64_t seq, uint64_t version,
                       uint64_t at);

/* The latest with this version; with 0 the latest that may have begun before the moment and in which nothing is
 * stored (total only). False: none. */
bool truth_find_absent(struct truth *t, uint32_t key, uint64_t version, uint64_t before, struct truth_absent *ret);

/* Order of the last state in which nothing at all is stored, of those before the note of that loss. False: there
 * is no such note. */
bool truth_find_emptied(const struct truth *t, uint64_t loss, uint64_t *ret_order);

/* Writes that were committed, but never invoked by anyone. */
void truth_check_end(struct truth *t);

/* "n=3:17 key=5 set version=.. seq=.. epoch=.." and a newline. Returns what snprintf does. */
int truth_write_print(struct truth *t, uint64_t number, char *text, size_t size);

#endif
