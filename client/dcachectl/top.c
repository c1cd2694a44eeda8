/* top: how it goes, at what rate, and with which keys. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

#define TOP_ROWS 10

struct screen {
    struct slice before, stats, status, top; /* answers */
    uint64_t interval_ms;
};

static uint64_t gain(const struct screen *s, const char *name)
{
    uint64_t before = map_uint(s->before, name), now = map_uint(s->stats, name);

    return now > before ? now - before : 0;
}

static void put_rate(const struct screen *s, const char *words, const char *name)
{
    char rate[TEXT_SMALL];

    printf("%s%s", words, text_rate(rate, gain(s, name), s->interval_ms));
}

static void print_rates(const struct screen *s)
{
    char share[TEXT_SMALL];

    put_rate(s, "reads     ", "reads");
    printf(", hits %s", text_share(share, gain(s, "hits"), gain(s, "reads")));
    put_rate(s, ", misses ", "misses");
    put_rate(s, ", refused ", "refused");
    put_rate(s, ", errors ", "errors");
    put_rate(s, ", stale ", "stale_served");
    put_rate(s, "\nwrites    ", "writes");
    put_rate(s, ", accepted ", "writes_accepted");
    put_rate(s, ", indeterminate ", "writes_indeterminate");
    put_rate(s, "\nmessages  ", "messages");
    put_rate(s, ", late ", "messages_late");
    put_rate(s, ", gaps ", "gaps");
    put_rate(s, ", rejected ", "stale_rejected");
    put_rate(s, "\nfetches   ", "fetches");
    put_rate(s, ", confirmations ", "confirms");
    put_rate(s, ", evictions ", "evictions");
    putchar('\n');
}

static void print_state(const struct ctl *ctl, const struct screen *s)
{
    bool ready = map_bool(s->status, "ready");
    char age[TEXT_SMALL], bound[TEXT_SMALL], bytes[TEXT_SMALL];

    text_escaped(stdout, map_bytes(s->status, "pod"));
    printf(": %s%s%s", color_on(ctl->color, ready ? COLOR_GOOD : COLOR_BAD), ready ? "ready" : "not ready",
           color_off(ctl->color));
    if (!ready) {
        fputs(": ", stdout);
        text_escaped(stdout, map_bytes(s->status, "reason"));
    }
    printf("\nstaleness %s of %s, heartbeat %" PRIu64 " us\n",
           map_has(s->status, "as_of_age_ms") ? text_duration(age, map_uint(s->status, "as_of_age_ms"))
                                              : "unknown",
           text_duration(bound, map_uint(s->status, "bound_ms")), map_uint(s->status, "round_trip_us"));
    printf("cache     %" PRIu64 " entries, %s; %" PRIu64 " connections\n", map_uint(s->status, "entries"),
           text_size(bytes, map_uint(s->status, "entries_bytes")), map_uint(s->status, "connections"));
}

/* Rows of one list of `top`: the key and its share, or its count. */
static void print_keys(const struct screen *s, const char *title, const char *list, uint64_t total, bool shares)
{
    struct cursor c = map_find(s->top, list);
    uint32_t count = cursor_peek(&c) == CURSOR_ARRAY ? cursor_array(&c) : 0;

    printf("\n%s\n", title);
    if (count == 0)
        puts("  none lately");
    for (uint32_t i = 0; i < count && i < TOP_ROWS && cursor_ok(&c); i++) {
        struct slice row = cursor_raw(&c);
        char number[TEXT_SMALL];

        if (shares)
            text_share(number, map_uint(row, "count"), total);
        else
            snprintf(number, sizeof number, "%" PRIu64, map_uint(row, "count"));
        printf("  %8s  ", number);
        text_escaped(stdout, map_bytes(row, "key"));
        putchar('\n');
    }
}

static void print_json_rate(struct json *json, const struct screen *s, const char *name)
{
    json_name(json, name);
    json_uint(json, gain(s, name));
}

static void print_json(const struct screen *s)
{
    static const char *const names[] = {"reads",    "hits",     "misses",          "refused",       "errors",
                                        "writes",   "messages", "stale_rejected",  "stale_served",  "fetches",
                                        "confirms", "gaps",     "writes_accepted", "messages_late", "evictions"};
    struct cursor status = cursor_of(s->status), top = cursor_of(s->top);
    struct json json = json_to(stdout);

    json_open_object(&json);
    json_name(&json, "interval_ms");
    json_uint(&json, s->interval_ms);
    json_name(&json, "added");
    json_open_object(&json);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        print_json_rate(&json, s, names[i]);
    json_close_object(&json);
    json_name(&json, "status");
    json_packed(&json, &status);
    json_name(&json, "top");
    json_packed(&json, &top);
    json_close_object(&json);
}

static int ask_top(struct ctl *ctl, struct live_sample *ret)
{
    int r = ctl_ask(ctl, "stats", &ret->stats);

    if (r == EXIT_OK)
        r = ctl_ask(ctl, "status", &ret->status);
    if (r == EXIT_OK)
        r = ctl_ask(ctl, "top", &ret->top);
    return r;
}

static void show_top(struct ctl *ctl, const struct live_sample *before, const struct live_sample *now)
{
    struct screen s = {
        .before = slice_of(before->stats.data, before->stats.len),
        .stats = slice_of(now->stats.data, now->stats.len),
        .status = slice_of(now->status.data, now->status.len),
        .top = slice_of(now->top.data, now->top.len),
        .interval_ms = now->at_ms - before->at_ms,
    };

    if (ctl->json) {
        print_json(&s);
        return;
    }
    print_state(ctl, &s);
    print_rates(&s);
    print_keys(&s, "hottest keys, by share of reads lately", "hot", map_uint(s.top, "hot_total"), true);
    print_keys(&s, "most rejected keys, by stale data rejected lately", "rejected", 0, false);
}

int verb_top(struct ctl *ctl)
{
    return live_run(ctl, ask_top, show_top);
}
