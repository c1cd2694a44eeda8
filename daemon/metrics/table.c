#include "daemon/metrics/table.h"

#include <microhttpd.h>
#include <stddef.h>

#include "daemon/metrics/text.h"

#define AT(field) offsetof(struct metrics_input, field)

#define LIST(...)                                           \
    .samples = (const struct metric_sample[]){__VA_ARGS__}, \
    .sample_count = sizeof((const struct metric_sample[]){__VA_ARGS__}) / sizeof(struct metric_sample)

#define COUNTER(name_, help_, ...)                                                                               \
    {                                                                                                            \
        .name = "dcached_" name_, .kind = METRIC_COUNTER, .form = FORM_COUNT, .help = (help_), LIST(__VA_ARGS__) \
    }
#define GAUGE(name_, form_, help_, ...)                                                                          \
    {                                                                                                            \
        .name = "dcached_" name_, .kind = METRIC_GAUGE, .form = FORM_##form_, .help = (help_), LIST(__VA_ARGS__) \
    }
#define HISTOGRAM(name_, help_, field)                                                               \
    {                                                                                                \
        .name = "dcached_" name_, .kind = METRIC_HISTOGRAM, .form = FORM_HISTOGRAM, .help = (help_), \
        LIST({NULL, AT(field)})                                                                      \
    }
#define INFO(name_, help_, write_)                                                                             \
    {                                                                                                          \
        .name = "dcached_" name_, .kind = METRIC_GAUGE, .form = FORM_COUNT, .help = (help_), .write = (write_) \
    }
/* One that is a counter of its own: the help is the counter's. */
#define PLAIN(name_, field)       COUNTER(name_, NULL, {NULL, AT(field)})
#define PLAIN_GAUGE(name_, field) GAUGE(name_, COUNT, NULL, {NULL, AT(field)})

static const char *reason_name(unsigned index)
{
    return core_reason_name((enum core_reason)index);
}

static const char *gap_name(unsigned index)
{
    return core_gap_name((enum gap_reason)index);
}

static void write_build_info(struct buffer *b, const struct metric_family *family, const struct metrics_input *in)
{
    (void)in;
    text_sample_begin(b, family->name, "");
    text_label(b, "{", "version", DCACHED_VERSION);
    text_label(b, ",", "libuv", uv_version_string());
    text_label(b, ",", "libmicrohttpd", MHD_get_version());
    text_add(b, "} 1\n");
}

static void write_pod_info(struct buffer *b, const struct metric_family *family, const struct metrics_input *in)
{
    text_sample_begin(b, family->name, "");
    text_label(b, "{", "pod", in->pod);
    text_label(b, ",", "role", in->role);
    text_add(b, "} 1\n");
}

/* Sums that labels give already (reads, refused of lookups, gaps, version_checks) have no family of their own. */
static const struct metric_family families[] = {
    /* Reads and writes. */
    COUNTER("lookups_total", "keys read, each counted once by its final outcome",
            {"result=\"hit\"", AT(core.hits)}, {"result=\"miss\"", AT(core.misses)},
            {"result=\"refused\"", AT(core.refused)}, {"result=\"error\"", AT(core.errors)}),
    COUNTER("refusals_total", "reads and writes refused, by the reason their clients were given",
            {"operation=\"read\",reason=", AT(measures.reads_refused), reason_name, REASON_COUNT},
            {"operation=\"write\",reason=", AT(measures.writes_refused), reason_name, REASON_COUNT}),
    PLAIN("stale_served_total", core.stale_served),
    HISTOGRAM("staleness_seconds", "age of the proof that each hit rests on, when it was served",
              measures.staleness),
    PLAIN("writes_started_total", core.writes),
    COUNTER("writes_total", "writes that ended, by outcome", {"outcome=\"accepted\"", AT(core.writes_accepted)},
            {"outcome=\"stale\"", AT(core.writes_stale)}, {"outcome=\"duplicate\"", AT(core.writes_duplicate)},
            {"outcome=\"conflict\"", AT(core.writes_conflict)}, {"outcome=\"local\"", AT(core.writes_local)},
            {"outcome=\"refused\"", AT(core.writes_refused)}, {"outcome=\"failed\"", AT(core.writes_failed)},
            {"outcome=\"indeterminate\"", AT(core.writes_indeterminate)}),
    COUNTER("version_checks_total", "compare-and-record decisions of the StaleDetector, by what they found",
            {"result=\"newer\"", AT(core.accepted)}, {"result=\"known\"", AT(core.duplicates)},
            {"result=\"older\"", AT(core.stale_rejected)}),

    /* The proof. */
    GAUGE("ready", BOOL, "1 while plain reads are served: a generation is current and the lease holds",
          {NULL, AT(status.ready)}),
    GAUGE("not_ready", COUNT, "1 for the reason why plain reads are not served now",
          {"reason=", AT(not_ready), reason_name, REASON_COUNT}),
    GAUGE("writes_ready", BOOL, "1 while this pod's right to write is proven; a reader pod has none",
          {NULL, AT(status.writes_ok)}),
    GAUGE("bound_seconds", NS, "D: no answer is further than this behind Redis", {NULL, AT(bound_ns)}),
    GAUGE("proof_age_seconds", NS, "time since the moment up to which everything is proven to be delivered",
          {NULL, AT(proof_age_ns)}),
    HISTOGRAM(
        "lag_seconds",
        "from the commit of a write, by the store's clock, to its message being applied; too long by up to a "
        "round trip",
        measures.lag),
    HISTOGRAM("heartbeat_seconds",
              "from the start of a heartbeat to its end, by this pod's clock; no message took longer meanwhile",
              measures.heartbeat),
    COUNTER("heartbeats_total", "heartbeats, by what they proved", {"result=\"proven\"", AT(core.heartbeats)},
            {"result=\"failed\"", AT(core.heartbeats_failed)}),
    PLAIN("heartbeats_unguarded_total", core.heartbeats_unguarded),
    COUNTER("gaps_total", "times messages were found missing, by what showed it",
            {"reason=", AT(measures.gaps), gap_name, GAP_REASON_COUNT}),
    PLAIN("generations_total", core.generations),
    PLAIN("epoch_changes_total", core.epochs),
    GAUGE("generation", COUNT, "number of the stretch without a gap", {NULL, AT(status.generation)}),
    GAUGE("delivered_seq", COUNT, "seq up to which the subscription has delivered everything",
          {NULL, AT(status.last)}),
    GAUGE("store_seq", COUNT, "seq that the last heartbeat read", {NULL, AT(status.store_seq)}),
    PLAIN("messages_total", core.messages),
    COUNTER("messages_discarded_total", "messages that were not applied, by reason",
            {"reason=\"late\"", AT(core.messages_late)}, {"reason=\"unreadable\"", AT(core.messages_bad)},
            {"reason=\"epoch\"", AT(core.messages_foreign)}),

    /* Redis. */
    GAUGE("redis_up", BOOL, "1 while the connection is usable", {"connection=\"data\"", AT(status.data_up)},
          {"connection=\"subscription\"", AT(status.subscription_up)}),
    GAUGE("redis_round_trip_seconds", NS, "of the last heartbeat's question", {NULL, AT(status.round_trip_ns)}),
    GAUGE("redis_replicas", UNSIGNED, "replicas connected to the server", {NULL, AT(redis.replicas)}),
    COUNTER("redis_connects_total", "connections to Redis made; two at each start", {NULL, AT(redis.connects)}),
    COUNTER("redis_connect_failures_total", "attempts to connect to Redis that failed",
            {NULL, AT(redis.connect_failures)}),
    COUNTER("redis_received_bytes_total", "bytes received from Redis", {NULL, AT(redis.bytes_in)}),
    COUNTER("redis_sent_bytes_total", "bytes sent to Redis", {NULL, AT(redis.bytes_out)}),
    COUNTER("fetches_total", "questions for one key sent to Redis", {"kind=\"fetch\"", AT(core.fetches)},
            {"kind=\"confirm\"", AT(core.confirms)}),
    PLAIN("fetches_joined_total", core.fetches_joined),
    PLAIN("fetches_overtaken_total", core.fetches_overtaken),
    PLAIN("bad_records_total", core.bad_records),
    GAUGE("waiting_calls", UNSIGNED, "calls of clients that wait for Redis now", {NULL, AT(status.waiting)}),
    GAUGE("writes_in_flight", UNSIGNED, "writes handed to Redis and not answered",
          {NULL, AT(status.writes_pending)}),

    /* The cache and its memory. */
    GAUGE("entries", COUNT, "records in the cache now", {NULL, AT(status.entries)}),
    GAUGE("floors", COUNT, "floors of the StaleDetector now", {NULL, AT(status.floors)}),
    PLAIN("evictions_total", core.evictions),
    PLAIN("expirations_total", core.expirations),
    GAUGE("memory_bytes", COUNT, "memory in use, by area", {"area=\"entries\"", AT(status.entries_bytes)},
          {"area=\"floors\"", AT(status.floors_bytes)}, {"area=\"trace\"", AT(measures.trace_bytes)},
          {"area=\"buffers\"", AT(net.buffered_bytes)}, {"area=\"pending\"", AT(measures.pending_bytes)}),
    GAUGE("memory_budget_bytes", COUNT, "memory that may be used; cache: entries, their index and floors",
          {"area=\"cache\"", AT(budget.cache)}, {"area=\"trace\"", AT(budget.trace)},
          {"area=\"buffers\"", AT(budget.buffers)}, {"area=\"pending\"", AT(budget.pending)}),
    COUNTER("hook_total", "values that the hook did not let through as they were, by its verdict",
            {"verdict=\"rejected\"", AT(core.hook_rejected)}, {"verdict=\"replaced\"", AT(core.hook_replaced)}),
    PLAIN("trace_events_total", core.trace_events),

    /* The sampler. */
    PLAIN("verify_checked_total", core.verify_checked),
    PLAIN("verify_unknown_total", core.verify_unknown),
    PLAIN("verify_differs_total", core.verify_differs),
    PLAIN("verify_inconsistent_total", core.verify_differs_bound),
    PLAIN("verify_inconsistent_again_total", core.verify_differs_10s),
    PLAIN("verify_lost_total", core.verify_lost),
    PLAIN("verify_dropped_total", core.verify_dropped),
    GAUGE("verify_inconsistent_ratio", PPM, "inconsistencies among the entries compared, over the last hour",
          {NULL, AT(core.verify_inconsistent_ppm)}),

    /* Clients. */
    PLAIN_GAUGE("clients", net.connections),
    PLAIN("clients_accepted_total", net.connections_accepted),
    PLAIN("clients_refused_total", net.connections_refused),
    COUNTER("clients_closed_total", "clients closed for what they did not take or send, by the limit they met",
            {"reason=\"stalled\"", AT(net.closed_stalled)}, {"reason=\"budget\"", AT(net.closed_budget)}),
    PLAIN("frames_total", net.frames),
    PLAIN("frames_bad_total", net.frames_bad),
    PLAIN("client_received_bytes_total", net.bytes_in),
    PLAIN("client_sent_bytes_total", net.bytes_out),
    PLAIN("answers_dropped_total", net.answers_dropped),
    PLAIN("input_waits_total", net.input_waits),
    PLAIN("accept_pauses_total", net.accept_pauses),
    PLAIN("accept_errors_total", net.accept_errors),
    PLAIN("requests_total", ops.requests),
    PLAIN("requests_invalid_total", ops.requests_invalid),
    PLAIN("requests_denied_total", ops.requests_denied),
    PLAIN("notifications_ignored_total", ops.notifications_ignored),
    PLAIN("answers_shortened_total", ops.answers_shortened),
    PLAIN("calls_refused_total", ops.calls_refused),
    PLAIN("share_used_up_total", ops.share_used_up),
    PLAIN_GAUGE("watches", ops.watches),
    PLAIN("events_sent_total", ops.events),
    PLAIN("events_lost_total", ops.events_lost),

    /* The process. */
    HISTOGRAM("loop_lag_seconds", "how late the loop came to a timer that was due; 1 to 2 ms is its grain",
              loop_lag),
    PLAIN("http_requests_total", http.requests),
    PLAIN("http_requests_refused_total", http.requests_refused),
    PLAIN("http_connections_total", http.connections),
    PLAIN("http_evicted_total", http.evicted),
    GAUGE("config_last_reload_successful", BOOL,
          "0 while the last SIGHUP brought a configuration that was refused", {NULL, AT(config_good)}),
    GAUGE("config_loaded_timestamp_seconds", MS, "when the configuration in force was loaded, since 1970",
          {NULL, AT(config_loaded_ms)}),
    INFO("build_info", "1; its labels say what was built", write_build_info),
    INFO("pod_info", "1; its labels are [pod] id and role", write_pod_info),
    {.name = "process_start_time_seconds",
     .kind = METRIC_GAUGE,
     .form = FORM_MS,
     .help = "when the process started, since 1970",
     LIST({NULL, AT(process.started_ms)})},
    {.name = "process_resident_memory_bytes",
     .kind = METRIC_GAUGE,
     .form = FORM_COUNT,
     .help = "resident memory of the process",
     LIST({NULL, AT(process.resident_bytes)})},
    {.name = "process_cpu_seconds_total",
     .kind = METRIC_COUNTER,
     .form = FORM_NS,
     .help = "CPU time of the process, user and system",
     LIST({NULL, AT(process.cpu_ns)})},
};

const struct metric_family *metric_family_at(unsigned index)
{
    return index < sizeof(families) / sizeof(*families) ? &families[index] : NULL;
}

const char *metric_family_help(const struct metric_family *family)
{
    static const struct {
        size_t at;
        const char *help;
    } helps[] = {
#define X(name, help) {AT(core.name), help},
        CORE_COUNTERS(X)
#undef X
#define X(name, help) {AT(net.name), help},
            NET_COUNTERS(X)
#undef X
#define X(name, help) {AT(ops.name), help},
                OPS_COUNTERS(X)
#undef X
#define X(name, help) {AT(http.name), help},
                    HTTP_COUNTERS(X)
#undef X
    };

    for (size_t i = 0; !family->help && i < sizeof(helps) / sizeof(*helps); i++)
        if (helps[i].at == family->samples[0].at)
            return helps[i].help;
    return family->help ? family->help : "";
}
