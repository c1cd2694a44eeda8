/* wait: until the daemon serves. Asked again and again: a daemon that is not there yet is waited for, too. */
#include <inttypes.h>
#include <time.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

#define WAIT_DEFAULT_MS 30000 /* picked */
#define WAIT_STEP_MS    50    /* picked */
#define WAIT_CALL_MS    2000  /* of one look */

struct waiting {
    struct ctl *ctl;
    bool writes;
    uint64_t begun_ms, limit_ms;
    char why[300]; /* it is not so yet */
};

enum look { LOOK_YES, LOOK_NOT_YET, LOOK_FAILED };

static void take_why(struct waiting *w, struct slice text)
{
    snprintf(w->why, sizeof w->why, "%.*s", (int)(text.len < 280 ? text.len : 280), (const char *)text.data);
}

static enum look look(struct waiting *w, uint64_t left_ms, dcache_result *ret_result)
{
    uint32_t timeout_ms = left_ms < WAIT_CALL_MS ? (uint32_t)left_ms : WAIT_CALL_MS;
    const void *data;
    size_t len;
    struct slice answer;

    *ret_result = dcache_call(w->ctl->cache, "status", "\x90", 1, timeout_ms, &data, &len);
    if (*ret_result == DCACHE_E_UNREACHABLE || *ret_result == DCACHE_E_TIMEOUT) {
        take_why(w, slice_text(dcache_error(w->ctl->cache)));
        return LOOK_NOT_YET;
    }
    if (*ret_result != DCACHE_OK)
        return LOOK_FAILED;
    answer = slice_of(data, len);
    if (!map_bool(answer, "ready"))
        take_why(w, map_bytes(answer, "reason"));
    else if (w->writes && !map_bool(answer, "writes_ok"))
        take_why(w, map_bytes(answer, "writes_text"));
    else
        return LOOK_YES;
    return LOOK_NOT_YET;
}

static int report_timeout(struct waiting *w)
{
    struct json json = json_to(stdout);
    char limit[TEXT_SMALL];

    fprintf(stderr, "dcachectl: timeout: not %s after %s: ", w->writes ? "ready for writes" : "ready",
            text_duration(limit, w->limit_ms));
    text_escaped(stderr, slice_text(w->why));
    putc('\n', stderr);
    if (w->ctl->json) {
        json_open_object(&json);
        json_name(&json, "error");
        json_text(&json, slice_text("timeout"));
        json_name(&json, "text");
        json_text(&json, slice_text(w->why));
        json_close_object(&json);
    }
    return EXIT_TIMEOUT;
}

static int report_ready(struct waiting *w)
{
    uint64_t waited_ms = ctl_clock_ms() - w->begun_ms;
    struct json json = json_to(stdout);
    char waited[TEXT_SMALL];

    if (!w->ctl->json) {
        printf("%s after %s\n", w->writes ? "ready for writes" : "ready", text_duration(waited, waited_ms));
        return EXIT_OK;
    }
    json_open_object(&json);
    json_name(&json, "ready");
    json_bool(&json, true);
    json_name(&json, "waited_ms");
    json_uint(&json, waited_ms);
    json_close_object(&json);
    return EXIT_OK;
}

int verb_wait(struct ctl *ctl)
{
    struct waiting w = {.ctl = ctl, .begun_ms = ctl_clock_ms()};
    const char *what = ctl->given & FLAG_for ? ctl->flags[FLAG_INDEX_for] : "ready";
    const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};

    w.writes = strcmp(what, "writes") == 0;
    if (!w.writes && strcmp(what, "ready") != 0)
        return ctl_usage("--for: ready or writes is needed");
    w.limit_ms = ctl->timeout_given ? ctl->timeout_ms : WAIT_DEFAULT_MS;
    for (;;) {
        uint64_t waited_ms = ctl_clock_ms() - w.begun_ms;
        dcache_result result;

        if (waited_ms >= w.limit_ms)
            return report_timeout(&w);
        switch (look(&w, w.limit_ms - waited_ms, &result)) {
        case LOOK_YES:
            return report_ready(&w);
        case LOOK_FAILED:
            return ctl_fail(ctl, result);
        case LOOK_NOT_YET:
            break;
        }
        nanosleep(&step, NULL);
    }
}
