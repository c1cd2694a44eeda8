#include "daemon/core/measure.h"

#include "daemon/core/machine.h"

void core_get_measures(const struct core *core, struct core_measures *ret_measures)
{
    *ret_measures = core->measures;
    ret_measures->pending_bytes = core->pending_bytes;
    if (core->trace) {
        struct trace_stats trace;

        trace_get_stats(core->trace, &trace);
        ret_measures->trace_bytes = trace.bytes;
    }
}

const char *core_reason_name(enum core_reason reason)
{
    static const char *const names[REASON_COUNT] = {
        [REASON_NONE] = "",
        [REASON_NO_LINK] = "no_link",
        [REASON_NOT_MASTER] = "not_master",
        [REASON_NO_EPOCH] = "no_epoch",
        [REASON_LEASE] = "lease",
        [REASON_TIMEOUT] = "timeout",
        [REASON_OVERTAKEN] = "overtaken",
        [REASON_MIN_VERSION] = "min_version",
        [REASON_OTHER_EPOCH] = "other_epoch",
        [REASON_BUSY] = "busy",
        [REASON_READER] = "reader",
        [REASON_STORE] = "store",
        [REASON_PROBE] = "probe",
        [REASON_REPLICAS] = "replicas",
    };

    return reason < REASON_COUNT && names[reason] ? names[reason] : "";
}

const char *core_gap_name(enum gap_reason reason)
{
    static const char *const names[GAP_REASON_COUNT] = {
        [GAP_MESSAGE] = "message", [GAP_HEARTBEAT] = "heartbeat", [GAP_START] = "start"};

    return reason < GAP_REASON_COUNT ? names[reason] : "";
}
