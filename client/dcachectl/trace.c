/* trace: what happened to a key lately, from the daemon's flight recorder. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

#define TRACE_LAST_MAX 1000

static const char *number_cell(char cell[24], struct slice event, const char *name)
{
    if (map_uint(event, name) == 0)
        return "";
    snprintf(cell, 24, "%" PRIu64, map_uint(event, name));
    return cell;
}

static void wall_cell(char cell[40], uint64_t at_ns)
{
    time_t seconds = (time_t)(at_ns / 1000000000u);
    struct tm tm;
    size_t len;

    localtime_r(&seconds, &tm);
    len = strftime(cell, 32, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(cell + len, 40 - len, ".%03u", (unsigned)(at_ns / 1000000 % 1000));
}

/* "message received (applied)" */
static char *event_cell(struct slice event)
{
    struct slice detail = map_bytes(event, "detail");
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    text_escaped(out, map_bytes(event, "text").len > 0 ? map_bytes(event, "text") : map_bytes(event, "kind"));
    if (detail.len > 0) {
        fputs(" (", out);
        text_escaped(out, detail);
        putc(')', out);
    }
    if (map_bool(event, "all_keys"))
        fputs(", all keys", out);
    fclose(out);
    return text;
}

static void comma(FILE *out)
{
    if (ftell(out) > 0)
        fputs(", ", out);
}

static bool kind_is(struct slice event, const char *kind)
{
    return slice_equal(map_bytes(event, "kind"), slice_text(kind));
}

/* What there is beside version and seq. */
static char *more_cell(struct slice event)
{
    uint64_t age_ms = map_uint(event, "age_ms"), repeats = map_uint(event, "repeats");
    char *text = NULL, duration[TEXT_SMALL];
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    if (map_bytes(event, "source").len > 0) {
        fputs("from ", out);
        text_escaped(out, map_bytes(event, "source"));
    }
    if (map_uint(event, "current_version") > 0) {
        comma(out);
        fprintf(out, "%s version %" PRIu64, kind_is(event, "reject") ? "below" : "Redis has",
                map_uint(event, "current_version"));
    }
    if (map_has(event, "other_seq")) {
        comma(out);
        fprintf(out, "%s seq %" PRIu64, kind_is(event, "gap") ? "had" : "by", map_uint(event, "other_seq"));
    }
    if (repeats > 0 || age_ms > 0)
        comma(out);
    if (repeats > 0)
        fprintf(out, "and %" PRIu64 " more within %s", repeats, text_duration(duration, age_ms));
    else if (age_ms > 0)
        fprintf(out, "%s old", text_duration(duration, age_ms));
    fclose(out);
    return text;
}

static void event_add(struct grid *grid, struct slice event, uint64_t now_ns)
{
    uint64_t ago_ns = map_uint(event, "ago_us") * 1000;
    char wall[40], ago[TEXT_SMALL], version[24], seq[24];
    char *what = event_cell(event), *more = more_cell(event);

    wall_cell(wall, now_ns > ago_ns ? now_ns - ago_ns : 0);
    text_duration(ago, ago_ns / 1000000);
    grid_add(grid, (const char *[]){wall, ago, what, number_cell(version, event, "version"),
                                    number_cell(seq, event, "seq"), more});
    free(what);
    free(more);
}

/* What is missing from the picture. */
static void reach_render(FILE *out, struct slice answer)
{
    char reach[TEXT_SMALL];

    text_duration(reach, map_uint(answer, "reach_ms"));
    if (!map_bool(answer, "recorder"))
        fputs("this daemon records nothing: [trace] events = 0\n", out);
    else if (map_bool(answer, "overwritten"))
        fprintf(out, "the recorder reaches back %s; older events have been overwritten\n", reach);
    else
        fputs("the recorder holds everything since the daemon's start\n", out);
}

void trace_render(FILE *out, struct slice answer, uint64_t now_ns)
{
    struct cursor c = map_find(answer, "events");
    uint32_t count = cursor_peek(&c) == CURSOR_ARRAY ? cursor_array(&c) : 0;
    struct grid grid;

    grid_init(&grid, 6);
    if (count > 0)
        grid_add(&grid, (const char *[]){"TIME", "AGO", "EVENT", "VERSION", "SEQ", ""});
    for (uint32_t i = 0; i < count && cursor_ok(&c); i++)
        event_add(&grid, cursor_raw(&c), now_ns);
    grid_print(&grid, out, "", 1 << 1 | 1 << 3 | 1 << 4);
    grid_deinit(&grid);
    if (count == 0)
        fputs("no event of this key is recorded\n", out);
    reach_render(out, answer);
}

int verb_trace(struct ctl *ctl)
{
    const char *key = ctl->operands[0];
    struct buffer params = BUFFER_INIT;
    struct json json = json_to(stdout);
    uint64_t last = 0;
    struct timespec now;
    struct slice answer;
    struct cursor c;
    dcache_result result;

    if (!*key)
        return ctl_usage("trace: the key is empty");
    if ((ctl->given & FLAG_last) && (!parse_version(ctl->flags[FLAG_INDEX_last], &last) || last > TRACE_LAST_MAX))
        return ctl_usage("--last: '%.40s' is no number from 1 to 1000", ctl->flags[FLAG_INDEX_last]);
    pack_array(&params, last ? 2 : 1);
    pack_bin(&params, slice_text(key));
    if (last)
        pack_uint(&params, last);
    result = ctl_call(ctl, "trace", &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    c = cursor_of(answer);
    if (ctl->json) {
        json_packed(&json, &c);
        return EXIT_OK;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    trace_render(stdout, answer, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
    return EXIT_OK;
}
