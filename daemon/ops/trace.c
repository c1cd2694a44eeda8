/* trace: the last events of a key. */
#include "daemon/core/trace.h"

#include <stdlib.h>

#include "daemon/ops/internal.h"
#include "daemon/ops/maps.h"

#define TRACE_COST_EVENTS 512 /* so many records are gone through in the time of a get; picked */
#define EVENT_BYTES       320 /* an event packed, at most: its names, its numbers, a pod's id */

/* What `other` is; NULL: nothing. */
static const char *other_name(enum trace_kind kind)
{
    switch (kind) {
    case TRACE_REJECT:
    case TRACE_DIFFER:
    case TRACE_INCONSISTENT:
    case TRACE_LOST:
        return "current_version";
    case TRACE_REFUSE:
    case TRACE_WRITE_REFUSED:
        return "repeats";
    case TRACE_GAP:
    case TRACE_OVERTAKEN:
        return "other_seq";
    default:
        return NULL;
    }
}

static void pack_record(struct buffer *b, const struct trace *trace, const struct trace_record *record,
                        uint64_t now)
{
    enum trace_kind kind = (enum trace_kind)record->kind;

    pack_map(b, other_name(kind) ? 10 : 9);
    map_uint(b, "ago_us", (now > record->at ? now - record->at : 0) / NS_PER_US);
    map_text(b, "kind", trace_kind_name(kind));
    map_text(b, "detail", trace_detail_name(record));
    map_text(b, "text", trace_kind_words(kind));
    map_bool(b, "all_keys", record->hash == 0);
    map_uint(b, "version", record->version);
    map_uint(b, "seq", record->seq);
    map_str(b, "source", trace_source(trace, record));
    map_uint(b, "age_ms", record->age_ms);
    if (other_name(kind))
        map_uint(b, other_name(kind), record->other);
}

static void answer_trace(struct ops *ops, const struct request *request, const struct trace_record *records,
                         unsigned count)
{
    const struct trace *trace = core_get_trace(ops->config.core);
    struct trace_stats stats = {0};
    struct buffer *b = answer_begin(ops, request->client, request->id);

    if (!b)
        return;
    if (trace)
        trace_get_stats(trace, &stats);
    pack_map(b, 4);
    pack_text(b, "events");
    pack_array(b, count);
    for (unsigned i = 0; i < count; i++)
        pack_record(b, trace, &records[i], request->now);
    map_bool(b, "recorder", trace != NULL);
    map_bool(b, "overwritten", stats.recorded > stats.held);
    map_age(b, "reach_ms", request->now, stats.oldest);
    answer_end(ops, request->client);
}

void run_trace(struct ops *ops, const struct request *request)
{
    const struct trace *trace = core_get_trace(ops->config.core);
    struct trace_record *records;
    struct trace_stats stats = {0};
    enum rpc_error code = RPC_INVALID;
    struct slice key;
    unsigned count;
    uint32_t last;
    const char *error = proto_decode_trace(request->params, &key, &last);

    if (!error)
        error = check_key(ops, key, &code);
    if (error) {
        answer_error(ops, request->client, request->id, code, error);
        return;
    }
    if (trace)
        trace_get_stats(trace, &stats);
    ops->config.spend(ops->config.ctx, request->client, (unsigned)(stats.held / TRACE_COST_EVENTS) + last / 16);
    records = malloc(last * sizeof(*records));
    count = records ? core_trace(ops->config.core, key, last, records) : 0;
    if (!records || !ops->config.has_room(ops->config.ctx, request->client, (size_t)count * EVENT_BYTES))
        answer_error(ops, request->client, request->id, RPC_BUSY, "no memory for the trace: ask for fewer events");
    else
        answer_trace(ops, request, records, count);
    free(records);
}
