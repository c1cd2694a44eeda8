/* ping and status. */
#include <inttypes.h>
#include <time.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

int verb_ping(struct ctl *ctl)
{
    struct json json = json_to(stdout);
    dcache_result result = dcache_ping(ctl->cache);

    if (result != DCACHE_OK)
        return ctl_fail(ctl, result);
    if (!ctl->json) {
        puts("pong");
        return EXIT_OK;
    }
    json_open_object(&json);
    json_name(&json, "answer");
    json_text(&json, slice_text("pong"));
    json_close_object(&json);
    return EXIT_OK;
}

static void put(FILE *out, struct slice answer, const char *name)
{
    struct slice text = map_bytes(answer, name);

    if (text.len > 0)
        text_escaped(out, text);
    else
        fputs("unknown", out);
}

static void label(FILE *out, const char *name)
{
    fprintf(out, "%-12s", name);
}

static bool is_reader(struct slice answer)
{
    return slice_equal(map_bytes(answer, "role"), slice_text("reader"));
}

static void render_verdict(FILE *out, struct slice answer, bool color)
{
    bool ready = map_bool(answer, "ready"), writes = map_bool(answer, "writes_ok");

    if (!ready) {
        fprintf(out, "%snot ready%s: ", color_on(color, COLOR_BAD), color_off(color));
        put(out, answer, "reason");
        fputs("\n\n", out);
        return;
    }
    if (!writes && map_bytes(answer, "writes_text").len > 0 && !is_reader(answer)) {
        fprintf(out, "%sreads are served, writes fail%s: ", color_on(color, COLOR_WARN), color_off(color));
        put(out, answer, "writes_text");
        fputs("\n\n", out);
        return;
    }
    fprintf(out, "%shealthy%s: reads%s are served\n\n", color_on(color, COLOR_GOOD), color_off(color),
            writes ? " and writes" : "");
}

static void render_daemon(FILE *out, struct slice answer)
{
    char uptime[TEXT_SMALL];

    label(out, "pod");
    put(out, answer, "pod");
    fputs(" (", out);
    put(out, answer, "role");
    fputs("), ", out);
    put(out, answer, "server");
    fprintf(out, ", pid %" PRIu64 ", up %s\n", map_uint(answer, "pid"),
            text_duration(uptime, map_uint(answer, "uptime_ms")));
    label(out, "writes");
    if (map_bool(answer, "writes_ok"))
        fputs("possible\n", out);
    else if (is_reader(answer))
        fputs("a reader pod: sets are local\n", out);
    else if (map_bytes(answer, "writes_text").len == 0)
        fputs("being tried\n", out);
    else {
        fputs("not possible: ", out);
        put(out, answer, "writes_text");
        putc('\n', out);
    }
}

static void render_redis_memory(FILE *out, struct slice answer)
{
    char used[TEXT_SMALL], limit[TEXT_SMALL];

    if (map_uint(answer, "redis_used_bytes") == 0 || map_bytes(answer, "redis_role").len == 0)
        return;
    fprintf(out, ", memory %s of %s, ", text_size(used, map_uint(answer, "redis_used_bytes")),
            map_uint(answer, "redis_max_bytes") ? text_size(limit, map_uint(answer, "redis_max_bytes"))
                                                : "no limit");
    put(out, answer, "redis_eviction");
}

static void render_redis(FILE *out, struct slice answer)
{
    label(out, "redis");
    put(out, answer, "redis_addr");
    fputs(", data ", out);
    put(out, answer, "redis_data");
    fputs(", subscription ", out);
    put(out, answer, "redis_subscription");
    putc('\n', out);
    label(out, "");
    fputs("version ", out);
    put(out, answer, "redis_version");
    fputs(", role ", out);
    put(out, answer, "redis_role");
    if (map_has(answer, "redis_replicas") && map_bytes(answer, "redis_role").len > 0)
        fprintf(out, ", %" PRIu64 " replica%s", map_uint(answer, "redis_replicas"),
                map_uint(answer, "redis_replicas") == 1 ? "" : "s");
    if (map_uint(answer, "min_replicas") > 0)
        fprintf(out, " (%" PRIu64 " have to acknowledge)", map_uint(answer, "min_replicas"));
    render_redis_memory(out, answer);
    putc('\n', out);
    label(out, "durability");
    put(out, answer, "redis_durability");
    if (map_bytes(answer, "redis_persistence_trouble").len > 0) {
        fputs("; ", out);
        put(out, answer, "redis_persistence_trouble");
    }
    putc('\n', out);
}

static void render_proof(FILE *out, struct slice answer)
{
    char age[TEXT_SMALL], bound[TEXT_SMALL], heartbeat[TEXT_SMALL];
    uint64_t last = map_uint(answer, "last"), store = map_uint(answer, "store_seq");

    label(out, "proof");
    if (map_has(answer, "as_of_age_ms") && map_has(answer, "epoch"))
        fprintf(out, "%s old", text_duration(age, map_uint(answer, "as_of_age_ms")));
    else
        fputs("none yet", out);
    fprintf(out, "; bound %s, heartbeat every %s, taking %" PRIu64 " us\n",
            text_duration(bound, map_uint(answer, "bound_ms")),
            text_duration(heartbeat, map_uint(answer, "heartbeat_ms")), map_uint(answer, "round_trip_us"));
    label(out, "epoch");
    put(out, answer, "epoch");
    if (map_bytes(answer, "epoch_why").len > 0) {
        fputs(": ", out);
        put(out, answer, "epoch_why");
    }
    if (map_has(answer, "epoch_age_ms"))
        fprintf(out, ", %s ago", text_duration(age, map_uint(answer, "epoch_age_ms")));
    putc('\n', out);
    label(out, "position");
    fprintf(out, "delivered up to seq %" PRIu64 " of %" PRIu64 ", generation %" PRIu64 "\n", last,
            store > last ? store : last, map_uint(answer, "generation"));
}

/* "2026-01-02 03:04:05 UTC" */
static const char *when(char text[TEXT_SMALL], uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) || strftime(text, TEXT_SMALL, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        snprintf(text, TEXT_SMALL, "at an unknown time");
    return text;
}

static void render_config(FILE *out, struct slice answer, bool color)
{
    char loaded[TEXT_SMALL];

    if (!map_has(answer, "config_loaded_ms"))
        return;
    label(out, "config");
    if (map_bytes(answer, "config_path").len > 0) {
        put(out, answer, "config_path");
        fputs(", ", out);
    }
    fprintf(out, "loaded %s\n", when(loaded, map_uint(answer, "config_loaded_ms")));
    if (map_bytes(answer, "config_error").len > 0) {
        label(out, "");
        fprintf(out, "%sthe last reload failed%s: ", color_on(color, COLOR_WARN), color_off(color));
        put(out, answer, "config_error");
        putc('\n', out);
    }
    if (map_bytes(answer, "config_restart").len > 0) {
        label(out, "");
        fprintf(out, "%swaiting for a restart%s: ", color_on(color, COLOR_WARN), color_off(color));
        put(out, answer, "config_restart");
        putc('\n', out);
    }
}

static void render_load(FILE *out, struct slice answer)
{
    char entries[TEXT_SMALL], floors[TEXT_SMALL], budget[TEXT_SMALL], share[TEXT_SMALL];

    label(out, "cache");
    fprintf(out, "%" PRIu64 " entries, %s; %" PRIu64 " floors, %s", map_uint(answer, "entries"),
            text_size(entries, map_uint(answer, "entries_bytes")), map_uint(answer, "floors"),
            text_size(floors, map_uint(answer, "floors_bytes")));
    if (map_uint(answer, "memory_bytes") > 0)
        fprintf(out, "; budget %s", text_size(budget, map_uint(answer, "memory_bytes")));
    putc('\n', out);
    if (map_has(answer, "reads")) {
        label(out, "reads");
        fprintf(out, "%" PRIu64 ", hits %s, %" PRIu64 " refused, %" PRIu64 " errors\n", map_uint(answer, "reads"),
                text_share(share, map_uint(answer, "hits"), map_uint(answer, "reads")),
                map_uint(answer, "refused"), map_uint(answer, "errors"));
    }
    if (map_has(answer, "compared")) {
        label(out, "sampler");
        fprintf(out, "%" PRIu64 " compared with Redis, %" PRIu64 " inconsistent, %" PRIu64 " lost by Redis\n",
                map_uint(answer, "compared"), map_uint(answer, "inconsistencies"), map_uint(answer, "lost"));
    }
    label(out, "load");
    fprintf(out, "%" PRIu64 " connections, %" PRIu64 " reads waiting, %" PRIu64 " writes under way\n",
            map_uint(answer, "connections"), map_uint(answer, "waiting"), map_uint(answer, "writes_pending"));
}

void status_render(FILE *out, struct slice answer, bool color)
{
    render_verdict(out, answer, color);
    render_daemon(out, answer);
    render_redis(out, answer);
    render_proof(out, answer);
    render_load(out, answer);
    render_config(out, answer, color);
}

int verb_status(struct ctl *ctl)
{
    struct buffer params = BUFFER_INIT;
    struct json json = json_to(stdout);
    struct slice answer;
    struct cursor c;
    dcache_result result;

    buffer_append(&params, "\x90", 1);
    result = ctl_call(ctl, "status", &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    c = cursor_of(answer);
    if (ctl->json)
        json_packed(&json, &c);
    else
        status_render(stdout, answer, ctl->color);
    return map_bool(answer, "ready") ? EXIT_OK : EXIT_REFUSED;
}
