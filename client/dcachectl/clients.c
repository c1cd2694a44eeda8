/* clients: who is connected, page by page. */
#include <inttypes.h>
#include <stdlib.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

static dcache_result clients_page(struct ctl *ctl, uint64_t cursor, struct slice *ret)
{
    struct buffer params = BUFFER_INIT;

    pack_array(&params, 1);
    pack_uint(&params, cursor);
    return ctl_call(ctl, "clients", &params, ret);
}

static void number_cell(char cell[TEXT_SMALL], struct slice client, const char *name)
{
    snprintf(cell, TEXT_SMALL, "%" PRIu64, map_uint(client, name));
}

/* "1000:1000 pid 4711"; no pid where the kernel shows none. */
static void who_cell(char *cell, size_t size, struct slice client)
{
    int len = snprintf(cell, size, "%" PRIu64 ":%" PRIu64, map_uint(client, "uid"), map_uint(client, "gid"));

    if (map_uint(client, "pid") > 0)
        snprintf(cell + len, size - (size_t)len, " pid %" PRIu64, map_uint(client, "pid"));
}

static void clients_add(struct grid *grid, struct slice client)
{
    char number[TEXT_SMALL], who[2 * TEXT_SMALL], age[TEXT_SMALL], asked[TEXT_SMALL], answered[TEXT_SMALL];
    char queued[TEXT_SMALL], last[2 * TEXT_SMALL], idle[TEXT_SMALL];
    char *access = text_escape(map_bytes(client, "access")), *name = text_escape(map_bytes(client, "name")),
         *method = text_escape(map_bytes(client, "last_method"));

    number_cell(number, client, "client");
    who_cell(who, sizeof who, client);
    text_duration(age, map_uint(client, "age_ms"));
    number_cell(asked, client, "in_flight");
    number_cell(answered, client, "answered");
    text_size(queued, map_uint(client, "queued_bytes"));
    snprintf(last, sizeof last, "%.40s %s ago", method && *method ? method : "connected",
             text_duration(idle, map_uint(client, "idle_ms")));
    grid_add(grid, (const char *[]){number, name, who, access, age, asked, answered, queued, last});
    free(access);
    free(name);
    free(method);
}

static void clients_take(struct slice answer, struct json *json, struct grid *grid)
{
    struct cursor c = map_find(answer, "clients");
    uint32_t count = cursor_peek(&c) == CURSOR_ARRAY ? cursor_array(&c) : 0;

    for (uint32_t i = 0; i < count && cursor_ok(&c); i++) {
        if (json)
            json_packed(json, &c);
        else
            clients_add(grid, cursor_raw(&c));
    }
}

static int clients_run(struct ctl *ctl, struct json *json, struct grid *grid)
{
    uint64_t cursor = 0;
    struct slice answer;
    dcache_result result;

    do {
        result = clients_page(ctl, cursor, &answer);
        if (result != DCACHE_OK)
            return exit_of_result(result);
        if (json && cursor == 0) {
            json_open_object(json);
            json_name(json, "clients");
            json_open_array(json);
        } else if (cursor == 0) {
            grid_add(grid, (const char *[]){"CLIENT", "NAME", "WHO", "ACCESS", "AGE", "ASKED", "ANSWERED",
                                            "QUEUED", "LAST"});
        }
        clients_take(answer, json, grid);
        if (!json)
            grid_print(grid, stdout, "", 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7);
        grid_clear(grid);
        cursor = map_uint(answer, "cursor");
    } while (cursor != 0 && !ferror(stdout));
    return EXIT_OK;
}

int verb_clients(struct ctl *ctl)
{
    struct json json = json_to(stdout);
    struct grid grid;
    int r;

    grid_init(&grid, 9);
    r = clients_run(ctl, ctl->json ? &json : NULL, &grid);
    grid_deinit(&grid);
    if (r != EXIT_OK || !ctl->json)
        return r;
    json_close_array(&json);
    json_close_object(&json);
    return EXIT_OK;
}
