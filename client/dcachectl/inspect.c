/* inspect: what the pod has of a key, its floor and what Redis has, side by side, and what follows from that. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

#define CELL 96

struct inspection {
    struct slice cached, floor, redis; /* maps; empty: none */
    struct slice verdict, redis_state;
    bool in_redis; /* a value or a tombstone */
    uint64_t cached_version, cached_seq, redis_version, redis_seq;
};

static struct inspection inspection_of(struct slice answer)
{
    struct inspection i = {
        .cached = map_map(answer, "cached"),
        .floor = map_map(answer, "floor"),
        .redis = map_map(answer, "redis"),
        .verdict = map_bytes(answer, "verdict"),
    };

    i.redis_state = map_bytes(i.redis, "state");
    i.in_redis =
        slice_equal(i.redis_state, slice_text("value")) || slice_equal(i.redis_state, slice_text("tombstone"));
    i.cached_version = map_uint(i.cached, "version");
    i.cached_seq = map_uint(i.cached, "seq");
    i.redis_version = map_uint(i.redis, "version");
    i.redis_seq = map_uint(i.redis, "seq");
    return i;
}

static bool is(struct slice text, const char *what)
{
    return slice_equal(text, slice_text(what));
}

/* ---- the table -------------------------------------------------------------------------------------------- */

static void cell_number(char cell[CELL], struct slice map, const char *name)
{
    if (map_has(map, name) && map_uint(map, name) > 0)
        snprintf(cell, CELL, "%" PRIu64, map_uint(map, name));
    else
        snprintf(cell, CELL, "-");
}

static void cell_ago(char cell[CELL], struct slice map, const char *name)
{
    char age[TEXT_SMALL];

    if (map_has(map, name))
        snprintf(cell, CELL, "%s ago", text_duration(age, map_uint(map, name)));
    else
        snprintf(cell, CELL, "-");
}

static void cell_written(char cell[CELL], struct slice map, uint64_t now_ns)
{
    uint64_t at_ns = map_uint(map, "timestamp");
    char age[TEXT_SMALL];

    if (at_ns == 0)
        snprintf(cell, CELL, "-");
    else
        snprintf(cell, CELL, "%s ago", text_duration(age, at_ns < now_ns ? (now_ns - at_ns) / 1000000 : 0));
}

static void cell_expires(char cell[CELL], struct slice map)
{
    char left[TEXT_SMALL];

    if (map_has(map, "expires_in_ms"))
        snprintf(cell, CELL, "in %s", text_duration(left, map_uint(map, "expires_in_ms")));
    else
        snprintf(cell, CELL, "%s", map.len > 0 ? "never" : "-");
}

static void cell_cached_state(char cell[CELL], const struct inspection *i)
{
    if (i->cached.len == 0)
        snprintf(cell, CELL, "not cached");
    else
        snprintf(cell, CELL, "%s%s%s%s", map_bool(i->cached, "tombstone") ? "deleted" : "value",
                 map_bool(i->cached, "suspect") ? ", suspect" : "", map_bool(i->cached, "local") ? ", local" : "",
                 map_bool(i->cached, "replaced") ? ", replaced by the hook" : "");
}

static void cell_text(char cell[CELL], struct slice text)
{
    char *safe = text_escape(text);

    snprintf(cell, CELL, "%s", safe && *safe ? safe : "-");
    free(safe);
}

static void cell_size(char cell[CELL], struct slice map)
{
    char size[TEXT_SMALL];

    snprintf(cell, CELL, "%s", map_has(map, "bytes") ? text_size(size, map_uint(map, "bytes")) : "-");
}

static void table_render(FILE *out, const struct inspection *i, uint64_t now_ns)
{
    char row[3][CELL];
    const struct slice none = {0}, maps[] = {i->cached, i->floor, i->redis};
    struct grid grid;

#define ROW(name) grid_add(&grid, (const char *[]){name, row[0], row[1], row[2]})
    grid_init(&grid, 4);
    grid_add(&grid, (const char *[]){"", "cached", "floor", "redis"});
    for (int n = 0; n < 3; n++)
        cell_number(row[n], maps[n], "version");
    ROW("version");
    for (int n = 0; n < 3; n++)
        cell_number(row[n], maps[n], "seq");
    ROW("seq");
    cell_cached_state(row[0], i);
    snprintf(row[1], CELL, "%s", i->floor.len > 0 ? "known" : "none");
    cell_text(row[2], is(i->redis_state, "tombstone") ? slice_text("deleted") : i->redis_state);
    ROW("state");
    cell_ago(row[0], i->cached, "as_of_age_ms");
    cell_ago(row[1], i->floor, "seen_age_ms");
    snprintf(row[2], CELL, "%s", i->in_redis || is(i->redis_state, "absent") ? "now" : "-");
    ROW("proven");
    cell_written(row[0], i->cached, now_ns);
    cell_written(row[1], none, now_ns);
    cell_written(row[2], i->redis, now_ns);
    ROW("written");
    cell_text(row[0], none);
    cell_text(row[1], none);
    cell_text(row[2], map_bytes(i->redis, "source"));
    ROW("by");
    cell_expires(row[0], i->cached);
    cell_text(row[1], none);
    cell_expires(row[2], i->in_redis ? i->redis : none);
    ROW("expires");
    cell_size(row[0], i->cached);
    cell_text(row[1], none);
    cell_text(row[2], none);
    ROW("size");
#undef ROW
    grid_print(&grid, out, "", 0);
    grid_deinit(&grid);
}

/* ---- the verdict ------------------------------------------------------------------------------------------ */

/* Why a read that may not ask Redis is refused, and what to do about it. */
static void verdict_refused(FILE *out, struct slice answer, const struct inspection *i)
{
    bool reachable = i->in_redis || is(i->redis_state, "absent");

    if (i->cached.len == 0 && reachable) {
        if (is(i->redis_state, "value"))
            fprintf(out, "not cached: the next read fetches version %" PRIu64 " from Redis.", i->redis_version);
        else
            fputs("not cached: the next read asks Redis and finds the key absent.", out);
        return;
    }
    if (reachable && map_bool(i->cached, "suspect")) {
        fputs("suspect: messages may have been missed since it was cached, so the next read confirms it in Redis"
              " before it is served.",
              out);
        return;
    }
    fputs("refused: ", out);
    if (map_has(answer, "reason"))
        text_escaped(out, map_bytes(answer, "reason"));
    else
        fputs("freshness cannot be proven.", out);
}

static void verdict_served(FILE *out, struct slice answer, const struct inspection *i)
{
    char age[TEXT_SMALL], bound[TEXT_SMALL];

    text_duration(age, map_uint(i->cached, "as_of_age_ms"));
    text_duration(bound, map_uint(answer, "bound_ms"));
    if (is(i->verdict, "local"))
        fprintf(out,
                "local: a plain read gives version %" PRIu64 ", which this reader pod set for itself; a strong"
                " read ignores it.",
                i->cached_version);
    else if (is(i->verdict, "stale"))
        fprintf(out,
                "stale: a plain read gives version %" PRIu64 " marked stale, as the policy permits; it was"
                " proven current %s ago, longer than the bound of %s.",
                i->cached_version, age, bound);
    else if (is(i->verdict, "absent"))
        fprintf(out, "absent: a plain read finds the key deleted; proven %s ago, within the bound of %s.", age,
                bound);
    else
        fprintf(out,
                "fresh: a plain read gives version %" PRIu64 " from the cache; it was proven current %s ago,"
                " within the bound of %s.",
                i->cached_version, age, bound);
}

/* What the comparison with Redis adds. */
static void verdict_compared(FILE *out, struct slice answer, const struct inspection *i)
{
    char heartbeat[TEXT_SMALL];

    if (is(i->redis_state, "unreadable")) {
        fputs("\nWhat Redis holds cannot be read: ", out);
        text_escaped(out, map_bytes(i->redis, "text"));
        fputs(". Delete it there, or write the key anew with a higher version.", out);
    } else if (is(i->redis_state, "unreachable") && map_bytes(i->redis, "text").len > 0) {
        fputs("\nRedis: ", out);
        text_escaped(out, map_bytes(i->redis, "text"));
    } else if (i->cached.len == 0 || map_bool(i->cached, "local") || !i->redis.len) {
        return;
    } else if (is(i->redis_state, "absent")) {
        fputs("\nRedis no longer has the key: it expired, was evicted or was removed past dcached.", out);
    } else if (i->in_redis && i->redis_seq > i->cached_seq) {
        fprintf(out,
                "\nRedis is newer (version %" PRIu64 "): its message is on its way or was lost; the heartbeat"
                " finds out within %s.",
                i->redis_version, text_duration(heartbeat, map_uint(answer, "bound_ms") / 4));
    } else if (i->in_redis && i->redis_seq < i->cached_seq) {
        fputs("\nRedis is older than the cache: it lost or was restored to an earlier state; a new epoch follows"
              " and empties the cache.",
              out);
    } else {
        fputs("\nCache and Redis agree.", out);
    }
}

static enum color verdict_color(const struct inspection *i)
{
    if (is(i->verdict, "refused") && i->cached.len > 0)
        return COLOR_BAD;
    return is(i->verdict, "stale") || is(i->verdict, "local") ? COLOR_WARN : COLOR_GOOD;
}

void inspect_render(FILE *out, struct slice answer, uint64_t now_ns, bool color)
{
    struct inspection i = inspection_of(answer);

    fputs("key      ", out);
    text_escaped(out, map_bytes(answer, "key"));
    fputs("\n\n", out);
    table_render(out, &i, now_ns);
    putc('\n', out);
    fputs(color_on(color, verdict_color(&i)), out);
    if (is(i.verdict, "refused"))
        verdict_refused(out, answer, &i);
    else
        verdict_served(out, answer, &i);
    fputs(color_off(color), out);
    verdict_compared(out, answer, &i);
    putc('\n', out);
}

int verb_inspect(struct ctl *ctl)
{
    const char *key = ctl->operands[0];
    struct buffer params = BUFFER_INIT;
    struct json json = json_to(stdout);
    struct timespec now;
    struct slice answer;
    struct cursor c;
    dcache_result result;

    if (!*key)
        return ctl_usage("inspect: the key is empty");
    pack_array(&params, 2);
    pack_bin(&params, slice_text(key));
    pack_map(&params, 1);
    pack_text(&params, "timeout_ms");
    pack_uint(&params, ctl_daemon_timeout_ms(ctl));
    result = ctl_call(ctl, "inspect", &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    c = cursor_of(answer);
    if (ctl->json) {
        json_packed(&json, &c);
        return EXIT_OK;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    inspect_render(stdout, answer, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, ctl->color);
    return EXIT_OK;
}
