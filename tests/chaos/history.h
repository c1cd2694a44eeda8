/*
 * The history of a chaos run: what every client did, as a stream of small records per thread.
 *
 * A stream is a row of segments `PP-TT-NNNNNN.seg` (process, thread, number), each a file of SEGMENT_BYTES: a
 * header of 64 bytes, then records. A record is 32 bytes, with those kinds that need more followed by another 32.
 * Memory that was never written is zero, so that a record is there as soon as its time is not: a reader may follow
 * a writer, and a writer that is killed leaves all it had recorded. A record never crosses the end of a segment.
 *
 * Within a stream times never go back. Times are CLOCK_BOOTTIME in ns; distances are kept in units of 64 ns.
 *
 * Every write has a number of 48 bits, unique in the run: its stream, then a counter. It is part of its payload
 * and of its write id, so that it can be recognized wherever it turns up.
 */
#ifndef DCACHED_CHAOS_HISTORY_H
#define DCACHED_CHAOS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_BYTES  (8u << 20)
#define SEGMENT_MAGIC  UINT64_C(0x316873696872630a)
#define HISTORY_UNIT   64 /* ns */
#define STREAMS_MAX    256
#define PODS_MAX       16
#define KEYS_MAX       65536
#define NUMBER_BITS    48
#define NUMBER_MASK    ((UINT64_C(1) << NUMBER_BITS) - 1)
#define COUNTER_BITS   32
#define WRITE_ID_MAGIC "chaos-wr" /* first half of every write id; the number is the second, big endian */

enum history_kind {
    HISTORY_NONE,
    HISTORY_GET,
    HISTORY_MGET, /* one record per key */
    HISTORY_STRONG,
    HISTORY_MIN_VERSION,
    HISTORY_MAX_STALE,
    HISTORY_CONVERGE, /* a get after everything was healed and written */
    HISTORY_INVOKED,  /* a write is about to be called; has a second half */
    HISTORY_ANSWERED, /* a write was answered; has a second half */
    HISTORY_TICK,     /* nothing happened up to here; what was held back since the last one */
    HISTORY_PHASE,    /* something about the run; has a second half */
    HISTORY_END,      /* of the stream */
};

/* How an operation ended. */
enum history_outcome {
    OUT_VALUE,    /* a read: fresh */
    OUT_ABSENT,   /* a read */
    OUT_STALE,    /* a read: a value marked stale; a write: rejected, a newer version is stored */
    OUT_LOCAL,    /* kept by a reader pod for itself */
    OUT_ACCEPTED, /* a write */
    OUT_DUPLICATE,
    OUT_CONFLICT,
    OUT_REFUSED,     /* freshness cannot be proven; or the daemon has no connection to Redis */
    OUT_UNREACHABLE, /* no daemon, or it was lost */
    OUT_TIMEOUT,
    OUT_BUSY,
    OUT_VERSION, /* min_version cannot be had, or is of another epoch */
    OUT_INDETERMINATE,
    OUT_ERROR, /* any other; a write was not done */
    OUT_COUNT
};

enum history_flag {
    FLAG_GARBAGE = 1, /* the payload did not verify */
    FLAG_STALER = 2,  /* older than the call permits */
    FLAG_LOWER = 4,   /* below the min_version of the call */
};

enum phase_kind {
    PHASE_FAULTS,  /* at: when */
    PHASE_HEALED,  /* at, argument: slack in ns */
    PHASE_LOSS,    /* at: before, argument: after, or a moment to come: it is not over */
    PHASE_EMPTIED, /* the same, and nothing of before may be seen */
    PHASE_KEPT,    /* the same, and every record is still there: a new epoch alone */
    PHASE_QUIESCE,
    PHASE_RESUME,
    PHASE_CONVERGE,
    PHASE_MARK,
    PHASE_COUNT
};

/* Whom a tick tells of: `what` is for how many ns it was ready to run and got no CPU. */
enum stall_of {
    STALL_OWN, /* the thread that writes the stream */
    STALL_POD, /* the daemon of the pod, or its link */
    STALL_REDIS,
    STALL_MACHINE, /* what should have run at once did not: at every look of the monitor */
};

enum write_kind { WRITE_SET, WRITE_DELETE, WRITE_CLEAR };

struct history_record {
    uint64_t time; /* a read or answer: when it had been handed over; others: now. Written last */
    /* a value: number, and history_fold of its version above; absent: version of the tombstone, 0: none;
     * a write: its number; a phase: at; a tick: ns */
    uint64_t what;
    uint32_t latency;  /* since the call, rounded up */
    uint32_t as_of;    /* time - as_of, rounded up */
    uint32_t age;      /* as_of until the library's check, rounded down */
    uint16_t key;      /* a phase: its kind; a tick: enum stall_of */
    uint8_t kind;      /* and outcome << 4 */
    uint8_t pod_flags; /* pod, and flags << 4 */
};

/* Second half. */
struct history_more {
    union {
        struct {
            uint64_t version; /* asked for, 0: auto; answered: stored */
            uint64_t seq;
            uint64_t epoch; /* the first 16 digits */
            uint32_t ttl_ms;
            uint8_t kind;
            uint8_t retry;
        } write;
        char text[32];
        uint64_t argument;
    };
};

struct segment_header {
    uint64_t magic;
    uint32_t pid, stream;
    int64_t realtime_offset; /* CLOCK_REALTIME - CLOCK_BOOTTIME, ns */
    uint64_t begun;
    uint8_t unused[32];
};

_Static_assert(sizeof(struct history_record) == 32, "a record is 32 bytes");
_Static_assert(sizeof(struct history_more) == 32, "so is its second half");
_Static_assert(sizeof(struct segment_header) == 64, "a header is 64 bytes");

uint64_t history_now(void);

static inline bool history_has_more(unsigned kind)
{
    return kind == HISTORY_INVOKED || kind == HISTORY_ANSWERED || kind == HISTORY_PHASE;
}

static inline bool history_is_read(unsigned kind)
{
    return kind >= HISTORY_GET && kind <= HISTORY_CONVERGE;
}

/* 16 bits of a version, to compare with those of the write. */
static inline uint64_t history_fold(uint64_t version)
{
    version ^= version >> 32;
    return (version ^ version >> 16) & 0xffff;
}

static inline uint32_t history_units(uint64_t ns, bool up)
{
    uint64_t units = (ns + (up ? HISTORY_UNIT - 1 : 0)) / HISTORY_UNIT;

    return units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
}

static inline uint64_t history_number(unsigned stream, uint32_t counter)
{
    return (uint64_t)stream << COUNTER_BITS | counter;
}

void history_write_id(uint64_t number, uint8_t ret[16]);
/* False: not one of ours. */
bool history_write_id_parse(const uint8_t id[16], uint64_t *ret_number);
/* The first 16 hex digits; 0 if they are none. */
uint64_t history_epoch(const char *text);

/* ---- writing ---------------------------------------------------------------------------------------------- */

struct history_writer {
    const char *dir;
    unsigned stream; /* process * 16 + thread */
    unsigned segment;
    uint8_t *map;
    size_t offset;
    uint64_t last;
    uint32_t counter; /* of numbers */
    uint64_t bytes;
};

/* 0 or -errno. dir is kept. Fails if the stream is there already. */
int history_writer_open(struct history_writer *w, const char *dir, unsigned process, unsigned thread);
void history_writer_close(struct history_writer *w);
/* more is NULL for kinds without a second half. A time that goes back is brought forward. Memory that cannot be
 * had ends the program: a run without its history proves nothing. */
void history_write(struct history_writer *w, struct history_record record, const struct history_more *more);

/* ---- reading ---------------------------------------------------------------------------------------------- */

struct history_stream {
    char path[256];
    unsigned process, thread, segment;
    uint8_t *map;
    size_t offset;
    bool ended;
    bool eat; /* unlink what was read */
    uint64_t bytes;
    struct segment_header header;
};

/* Opens the streams of the folder that *streams does not have yet. Their number, or -errno. */
int history_discover(const char *dir, struct history_stream *streams, int count, bool eat);
/* The next record without taking it; *ret_more is undefined for kinds that have none. NULL: none yet, or `ended`.
 */
const struct history_record *history_peek(struct history_stream *s, const struct history_more **ret_more);
void history_take(struct history_stream *s);
/* True if its writer is gone: what is not there will not come. */
bool history_writer_gone(const struct history_stream *s);
void history_stream_close(struct history_stream *s);

#endif
