#include "daemon/core/trace.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/measure.h"

#define SOURCE_TRIES 8 /* places looked at for a name; picked */

struct source {
    uint8_t len; /* 0: free; id of a pod: at least one byte */
    uint8_t bytes[SOURCE_MAX];
};

struct trace {
    uint64_t room;
    uint64_t recorded;             /* the next record is number `recorded`, at recorded % room */
    uint64_t for_all;              /* number of the last record without a key, plus 1 */
    uint64_t recent[TRACE_RECENT]; /* number of the last record of a key with this hash, plus 1 */
    struct source sources[TRACE_SOURCES];
    struct trace_record records[];
};

_Static_assert(sizeof(struct trace) <= TRACE_FIXED_BYTES, "what the header says");

int trace_new(struct trace **ret, size_t events)
{
    struct trace *trace = calloc(1, sizeof(*trace) + events * sizeof(trace->records[0]));

    if (!trace)
        return -ENOMEM;
    trace->room = events;
    *ret = trace;
    return 0;
}

struct trace *trace_free(struct trace *trace)
{
    free(trace);
    return NULL;
}

/* ---- names of pods ------------------------------------------------------------------------------------------ */

/* The place of the name plus 1; taken by it if it is new. 0: no name, or no place. */
static uint16_t source_place(struct trace *trace, struct slice name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    if (name.len == 0 || name.len > SOURCE_MAX)
        return 0;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ name.data[i]) * 16777619u;
    for (unsigned i = 0; i < SOURCE_TRIES; i++) {
        unsigned place = (hash + i) % TRACE_SOURCES;
        struct source *source = &trace->sources[place];

        if (source->len == 0) {
            source->len = (uint8_t)name.len;
            memcpy(source->bytes, name.data, name.len);
        }
        if (slice_equal(slice_of(source->bytes, source->len), name))
            return (uint16_t)(place + 1);
    }
    return 0;
}

struct slice trace_source(const struct trace *trace, const struct trace_record *record)
{
    if (record->source == 0)
        return slice_of(NULL, 0);
    return slice_of(trace->sources[record->source - 1].bytes, trace->sources[record->source - 1].len);
}

/* ---- the ring ----------------------------------------------------------------------------------------------- */

/* Only what can come as often as clients ask. */
static bool repeats(const struct trace_record *last, const struct trace_event *event)
{
    return (event->kind == TRACE_REFUSE || event->kind == TRACE_WRITE_REFUSED) && last->hash == event->hash &&
           last->kind == event->kind && last->detail == event->detail;
}

static uint32_t milliseconds(uint64_t ns)
{
    uint64_t ms = ns / NS_PER_MS;

    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

void trace_add(struct trace *trace, const struct trace_event *event)
{
    uint64_t *recent = event->hash == 0 ? &trace->for_all : &trace->recent[event->hash % TRACE_RECENT];
    struct trace_record *record;

    /* Something for every key in between ends the row, too. */
    if (*recent > trace->for_all) {
        record = &trace->records[(*recent - 1) % trace->room];
        if (repeats(record, event)) {
            record->other++;
            record->age_ms = milliseconds(event->at - record->at);
            return;
        }
    }
    record = &trace->records[trace->recorded % trace->room];
    *record = (struct trace_record){
        .at = event->at,
        .hash = event->hash,
        .version = event->version,
        .seq = event->seq,
        .other = event->other,
        .age_ms = milliseconds(event->age_ns),
        .source = source_place(trace, event->source),
        .kind = (uint8_t)event->kind,
        .detail = (uint8_t)event->detail,
    };
    *recent = ++trace->recorded;
}

static uint64_t held(const struct trace *trace)
{
    return trace->recorded < trace->room ? trace->recorded : trace->room;
}

unsigned trace_last(const struct trace *trace, uint64_t hash, unsigned max, struct trace_record *ret_records)
{
    uint64_t oldest = trace->recorded - held(trace);
    unsigned count = 0;

    for (uint64_t at = trace->recorded; at > oldest && count < max; at--) {
        const struct trace_record *record = &trace->records[(at - 1) % trace->room];

        if (record->hash == 0 || record->hash == hash)
            ret_records[count++] = *record;
    }
    for (unsigned i = 0; i < count / 2; i++) {
        struct trace_record swap = ret_records[i];

        ret_records[i] = ret_records[count - 1 - i];
        ret_records[count - 1 - i] = swap;
    }
    return count;
}

void trace_get_stats(const struct trace *trace, struct trace_stats *ret)
{
    *ret = (struct trace_stats){
        .recorded = trace->recorded,
        .held = held(trace),
        .bytes = sizeof(*trace) + trace->room * sizeof(trace->records[0]),
    };
    if (ret->held > 0)
        ret->oldest = trace->records[(trace->recorded - ret->held) % trace->room].at;
}

/* ---- words -------------------------------------------------------------------------------------------------- */

const char *trace_kind_name(enum trace_kind kind)
{
    static const char *const names[] = {
        [TRACE_WRITE] = "write",
        [TRACE_ACKNOWLEDGE] = "acknowledge",
        [TRACE_RECEIVE] = "receive",
        [TRACE_REJECT] = "reject",
        [TRACE_FILL] = "fill",
        [TRACE_UNCACHED] = "uncached",
        [TRACE_ABSENT] = "absent",
        [TRACE_CONFIRM] = "confirm",
        [TRACE_OVERTAKEN] = "overtaken",
        [TRACE_UNREADABLE] = "unreadable",
        [TRACE_EVICT] = "evict",
        [TRACE_EXPIRE] = "expire",
        [TRACE_REFUSE] = "refuse",
        [TRACE_STALE] = "stale",
        [TRACE_HOOK] = "hook",
        [TRACE_DIFFER] = "differ",
        [TRACE_LOST] = "lost",
        [TRACE_EPOCH] = "epoch",
        [TRACE_GENERATION] = "generation",
        [TRACE_GAP] = "gap",
        [TRACE_READY] = "ready",
        [TRACE_NOT_READY] = "not_ready",
        [TRACE_INCONSISTENT] = "inconsistent",
        [TRACE_WRITE_REFUSED] = "write_refused",
    };

    return kind < TRACE_KIND_COUNT ? names[kind] : "unknown";
}

const char *trace_kind_words(enum trace_kind kind)
{
    static const char *const words[] = {
#define X(name, words) words,
        TRACE_KINDS(X)
#undef X
    };

    return kind < TRACE_KIND_COUNT ? words[kind] : "unknown";
}

#define WORD(words, index) ((index) < sizeof(words) / sizeof(*(words)) ? (words)[index] : "")

const char *trace_detail_name(const struct trace_record *record)
{
    static const char *const ops[] = {"set", "delete", "clear"};
    static const char *const outcomes[] = {"accepted", "stale",   "duplicate",     "conflict",
                                           "local",    "refused", "indeterminate", "error"};
    static const char *const received[] = {"applied", "invalidated", "repeated", "late", "unsure"};
    static const char *const findings[] = {"newer", "changed", "unreadable", "lost"};
    static const char *const origins[] = {"message", "fetch", "write", "local"};

    switch ((enum trace_kind)record->kind) {
    case TRACE_WRITE:
        return WORD(ops, record->detail);
    case TRACE_ACKNOWLEDGE:
        return WORD(outcomes, record->detail);
    case TRACE_RECEIVE:
        return WORD(received, record->detail);
    case TRACE_FILL:
    case TRACE_UNCACHED:
    case TRACE_REJECT:
        return WORD(origins, record->detail);
    case TRACE_DIFFER:
    case TRACE_INCONSISTENT:
        return WORD(findings, record->detail);
    case TRACE_HOOK:
        return record->detail == HOOK_REJECT ? "rejected" : "replaced";
    case TRACE_REFUSE:
    case TRACE_WRITE_REFUSED:
    case TRACE_NOT_READY:
        return core_reason_name((enum core_reason)record->detail);
    default:
        return "";
    }
}
