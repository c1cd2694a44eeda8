/* versions: what the pod knows of its keys, page by page. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

static void version_cell(char *cell, size_t size, struct slice entry, const char *name)
{
    if (map_has(entry, name))
        snprintf(cell, size, "%" PRIu64, map_uint(entry, name));
    else
        snprintf(cell, size, "-");
}

static void versions_add(struct grid *grid, struct slice entry)
{
    char cached[24], floor[24], age[TEXT_SMALL];
    char *key = text_escape(map_bytes(entry, "key")), *state = text_escape(map_bytes(entry, "state"));

    version_cell(cached, sizeof cached, entry, "cached_version");
    version_cell(floor, sizeof floor, entry, "floor_version");
    text_duration(age, map_uint(entry, "age_ms"));
    grid_add(grid, (const char *[]){key, cached, floor, age, state});
    free(key);
    free(state);
}

/* Entries of one page: into the table, or as elements of the open JSON array. */
static uint32_t versions_take(struct slice answer, struct json *json, struct grid *grid)
{
    struct cursor c = map_find(answer, "entries");
    uint32_t count = cursor_peek(&c) == CURSOR_ARRAY ? cursor_array(&c) : 0, taken = 0;

    for (uint32_t i = 0; i < count && cursor_ok(&c); i++, taken++) {
        if (json)
            json_packed(json, &c);
        else
            versions_add(grid, cursor_raw(&c));
    }
    return taken;
}

static dcache_result versions_page(struct ctl *ctl, uint64_t cursor, struct slice *ret)
{
    struct buffer params = BUFFER_INIT;

    pack_array(&params, 2);
    pack_bin(&params, slice_text(ctl->operand_count ? ctl->operands[0] : ""));
    pack_uint(&params, cursor);
    return ctl_call(ctl, "versions", &params, ret);
}

static int versions_run(struct ctl *ctl, struct json *json, struct grid *grid, uint64_t *ret_total)
{
    uint64_t cursor = 0;
    struct slice answer;

    do {
        dcache_result result = versions_page(ctl, cursor, &answer);

        if (result != DCACHE_OK)
            return exit_of_result(result);
        if (json && cursor == 0) {
            json_open_object(json);
            json_name(json, "entries");
            json_open_array(json);
        }
        if (*ret_total == 0)
            grid_add(grid, (const char *[]){"KEY", "CACHED", "FLOOR", "AGE", "STATE"});
        *ret_total += versions_take(answer, json, grid);
        /* Page by page: the first lines come at once. */
        if (!json && *ret_total > 0)
            grid_print(grid, stdout, "", 1 << 1 | 1 << 2 | 1 << 3);
        grid_clear(grid);
        cursor = map_uint(answer, "cursor");
    } while (cursor != 0 && !ferror(stdout));
    return EXIT_OK;
}

int verb_versions(struct ctl *ctl)
{
    struct json json = json_to(stdout);
    struct grid grid;
    uint64_t total = 0;
    int r;

    grid_init(&grid, 5);
    r = versions_run(ctl, ctl->json ? &json : NULL, &grid, &total);
    grid_deinit(&grid);
    if (r != EXIT_OK)
        return r;
    if (ctl->json) {
        json_close_array(&json);
        json_close_object(&json);
    } else if (total == 0) {
        fprintf(stderr, "dcachectl: the pod knows no such key\n");
    }
    return EXIT_OK;
}
