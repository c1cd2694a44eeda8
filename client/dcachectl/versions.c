/* versions and verify: both page through what the pod has. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

#define VERIFY_PAGE 200 /* picked: a page of comparisons fits well into the default timeout */

/* ---- versions --------------------------------------------------------------------------------------------- */

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

/* ---- verify ----------------------------------------------------------------------------------------------- */

struct verified {
    uint64_t checked, unknown, different;
};

static void difference_print(struct slice entry)
{
    uint64_t redis = map_uint(entry, "redis_version");
    char duration[TEXT_SMALL];

    text_escaped(stdout, map_bytes(entry, "key"));
    printf(": cached version %" PRIu64 ", ", map_uint(entry, "cached_version"));
    if (redis > 0)
        printf("Redis has version %" PRIu64, redis);
    else
        fputs("absent in Redis", stdout);
    printf(", for %s\n", text_duration(duration, map_uint(entry, "differs_ms")));
}

static void verify_take(struct slice answer, struct json *json, struct verified *verified)
{
    struct cursor c = map_find(answer, "different");
    uint32_t count = cursor_peek(&c) == CURSOR_ARRAY ? cursor_array(&c) : 0;

    verified->checked += map_uint(answer, "checked");
    verified->unknown += map_uint(answer, "unknown");
    for (uint32_t i = 0; i < count && cursor_ok(&c); i++) {
        if (json)
            json_packed(json, &c);
        else
            difference_print(cursor_raw(&c));
        verified->different++;
    }
}

static dcache_result verify_page(struct ctl *ctl, uint64_t cursor, struct slice *ret)
{
    struct buffer params = BUFFER_INIT;

    pack_array(&params, 3);
    pack_uint(&params, cursor);
    pack_uint(&params, VERIFY_PAGE);
    pack_map(&params, 1);
    pack_text(&params, "timeout_ms");
    pack_uint(&params, ctl_daemon_timeout_ms(ctl));
    return ctl_call(ctl, "verify", &params, ret);
}

static void verify_close(struct json *json, const struct verified *verified)
{
    json_close_array(json);
    json_name(json, "checked");
    json_uint(json, verified->checked);
    json_name(json, "unknown");
    json_uint(json, verified->unknown);
    json_close_object(json);
}

int verb_verify(struct ctl *ctl)
{
    struct json json = json_to(stdout);
    struct verified verified = {0};
    uint64_t cursor = 0;
    struct slice answer;

    do {
        dcache_result result = verify_page(ctl, cursor, &answer);

        if (result != DCACHE_OK)
            return exit_of_result(result);
        if (ctl->json && cursor == 0) {
            json_open_object(&json);
            json_name(&json, "different");
            json_open_array(&json);
        }
        verify_take(answer, ctl->json ? &json : NULL, &verified);
        cursor = map_uint(answer, "cursor");
    } while (cursor != 0 && !ferror(stdout));
    if (ctl->json)
        verify_close(&json, &verified);
    else
        printf("%" PRIu64 " entries compared, %" PRIu64 " differ, %" PRIu64 " could not be compared\n",
               verified.checked, verified.different, verified.unknown);
    if (verified.different > 0)
        return EXIT_FAILED;
    return verified.checked == 0 && verified.unknown > 0 ? EXIT_REFUSED : EXIT_OK;
}
