#include <inttypes.h>
#include <stdlib.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

/* Counters by what they tell about, in the order they are read; the rest goes under "other". */
static const struct group {
    const char *title;
    const char *names[16];
} groups[] = {
    {"reads", {"reads", "hits", "misses", "refused", "errors", "stale_served"}},
    {"StaleDetector", {"version_checks", "accepted", "duplicates", "stale_rejected"}},
    {"writes",
     {"writes", "writes_accepted", "writes_stale", "writes_duplicate", "writes_conflict", "writes_local",
      "writes_refused", "writes_failed", "writes_indeterminate"}},
    {"messages", {"messages", "messages_late", "messages_bad", "messages_foreign", "gaps"}},
    {"proof", {"heartbeats", "heartbeats_failed", "generations", "epochs"}},
    {"fetches", {"fetches", "confirms", "fetches_joined", "fetches_overtaken"}},
    {"cache", {"evictions", "expirations", "hook_rejected", "hook_replaced", "bad_records"}},
    {"sampler",
     {"verify_checked", "verify_unknown", "verify_differs", "verify_differs_bound", "verify_differs_10s",
      "verify_lost", "verify_dropped", "verify_inconsistent_ppm"}},
};

#define GROUP_COUNT (sizeof groups / sizeof *groups)

static bool is_grouped(struct slice name)
{
    for (size_t i = 0; i < GROUP_COUNT; i++)
        for (size_t j = 0; j < 16 && groups[i].names[j]; j++)
            if (slice_equal(name, slice_text(groups[i].names[j])))
                return true;
    return false;
}

/* What a counter was before, and when; NULL: only what it is. */
struct before {
    struct slice answer;
    uint64_t interval_ms;
};

static void add(struct grid *grid, const char *title, const char *name, uint64_t value,
                const struct before *before)
{
    char number[24], rate[TEXT_SMALL] = "";
    const char *cells[] = {title, name, number, rate};
    uint64_t earlier = before ? map_uint(before->answer, name) : value;

    snprintf(number, sizeof number, "%" PRIu64, value);
    if (value > earlier)
        text_rate(rate, value - earlier, before->interval_ms);
    grid_add(grid, cells);
}

static void add_others(struct grid *grid, struct slice answer, const struct before *before)
{
    struct cursor c = cursor_of(answer);
    uint32_t count = cursor_peek(&c) == CURSOR_MAP ? cursor_map(&c) : 0;
    const char *title = "other";

    for (uint32_t i = 0; i < count && cursor_ok(&c); i++) {
        struct slice key = cursor_bytes(&c);
        char *name;

        if (cursor_peek(&c) != CURSOR_UINT || is_grouped(key)) {
            cursor_skip(&c);
            continue;
        }
        name = text_escape(key);
        add(grid, title, name, cursor_uint(&c), before);
        free(name);
        title = "";
    }
}

static void render(FILE *out, struct slice answer, const struct before *before)
{
    struct grid grid;

    grid_init(&grid, before ? 4 : 3);
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        const char *title = groups[i].title;

        for (size_t j = 0; j < 16 && groups[i].names[j]; j++) {
            if (!map_has(answer, groups[i].names[j]))
                continue;
            add(&grid, title, groups[i].names[j], map_uint(answer, groups[i].names[j]), before);
            title = "";
        }
    }
    add_others(&grid, answer, before);
    grid_print(&grid, out, "", 1 << 2 | 1 << 3);
    grid_deinit(&grid);
}

void stats_render(FILE *out, struct slice answer)
{
    render(out, answer, NULL);
}

static int ask_stats(struct ctl *ctl, struct live_sample *ret)
{
    return ctl_ask(ctl, "stats", &ret->stats);
}

static void show_stats(struct ctl *ctl, const struct live_sample *before, const struct live_sample *now)
{
    struct slice answer = slice_of(now->stats.data, now->stats.len);
    const struct before earlier = {slice_of(before->stats.data, before->stats.len), now->at_ms - before->at_ms};
    struct cursor c = cursor_of(answer);
    struct json json = json_to(stdout);

    if (ctl->json)
        json_packed(&json, &c);
    else
        render(stdout, answer, &earlier);
}

int verb_stats(struct ctl *ctl)
{
    struct buffer params = BUFFER_INIT;
    struct json json = json_to(stdout);
    struct slice answer;
    struct cursor c;
    dcache_result result;

    if (ctl->given & (FLAG_watch | FLAG_count) || ctl->operand_count)
        return live_run(ctl, ask_stats, show_stats);
    buffer_append(&params, "\x90", 1);
    result = ctl_call(ctl, "stats", &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    c = cursor_of(answer);
    if (ctl->json)
        json_packed(&json, &c);
    else
        stats_render(stdout, answer);
    return EXIT_OK;
}
