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

static void add(struct grid *grid, const char *title, const char *name, uint64_t value)
{
    char number[24];
    const char *cells[] = {title, name, number};

    snprintf(number, sizeof number, "%" PRIu64, value);
    grid_add(grid, cells);
}

static void add_others(struct grid *grid, struct slice answer)
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
        add(grid, title, name, cursor_uint(&c));
        free(name);
        title = "";
    }
}

void stats_render(FILE *out, struct slice answer)
{
    struct grid grid;

    grid_init(&grid, 3);
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        const char *title = groups[i].title;

        for (size_t j = 0; j < 16 && groups[i].names[j]; j++) {
            if (!map_has(answer, groups[i].names[j]))
                continue;
            add(&grid, title, groups[i].names[j], map_uint(answer, groups[i].names[j]));
            title = "";
        }
    }
    add_others(&grid, answer);
    grid_print(&grid, out, "", 1 << 2);
    grid_deinit(&grid);
}

int verb_stats(struct ctl *ctl)
{
    struct buffer params = BUFFER_INIT;
    struct json json = json_to(stdout);
    struct slice answer;
    struct cursor c;
    dcache_result result;

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
