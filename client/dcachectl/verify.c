/*
 * verify: compares what is cached with Redis. An entry that differs is looked at again after the staleness bound
 * D: by then its message has come, or the entry is no longer served unproven, or something is wrong.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

#define VERIFY_PAGE    200 /* picked: a page of comparisons fits well into the default timeout */
#define PROGRESS_AFTER 1000
#define PROGRESS_EVERY 200 /* milliseconds */

/* An entry that differed at the first look. */
struct difference {
    uint8_t *key;
    size_t key_len;
    uint64_t cached_version, cached_seq, redis_version;
    bool known_since;    /* differs_ms is: of a record that is gone nobody knows since when */
    uint64_t differs_ms; /* at the last look that showed it */
    uint64_t seen_ms;    /* when it was seen first */
    bool remains;        /* after D */
    bool settled;        /* a later look no longer showed it */
};

struct verification {
    struct ctl *ctl;
    struct difference *differences;
    size_t count, room;
    uint64_t checked, unknown;
    uint64_t bound_ms, healed; /* healed: inconsistencies that the daemon's sampler found meanwhile */
    uint64_t begun_ms, shown_ms;
    bool progress; /* a line of it stands on the terminal */
};

static uint64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- progress, for people who wait -------------------------------------------------------------------------- */

static void progress_show(struct verification *v, const char *what, uint64_t count)
{
    uint64_t now = clock_ms();

    if (!isatty(STDERR_FILENO) || now - v->begun_ms < PROGRESS_AFTER || now - v->shown_ms < PROGRESS_EVERY)
        return;
    fprintf(stderr, "\r%" PRIu64 " %s\033[K", count, what);
    v->shown_ms = now;
    v->progress = true;
}

static void progress_end(struct verification *v)
{
    if (v->progress)
        fputs("\r\033[K", stderr);
    v->progress = false;
}

/* ---- the first look ----------------------------------------------------------------------------------------- */

static bool difference_add(struct verification *v, struct slice entry)
{
    struct slice key = map_bytes(entry, "key");
    struct difference *d;

    if (v->count == v->room) {
        size_t room = v->room ? 2 * v->room : 64;

        d = realloc(v->differences, room * sizeof(*d));
        if (!d)
            return false;
        v->differences = d;
        v->room = room;
    }
    d = &v->differences[v->count];
    *d = (struct difference){
        .key = malloc(key.len + 1),
        .key_len = key.len,
        .cached_version = map_uint(entry, "cached_version"),
        .cached_seq = map_uint(entry, "cached_seq"),
        .redis_version = map_uint(entry, "redis_version"),
        .known_since = map_has(entry, "differs_ms"),
        .differs_ms = map_uint(entry, "differs_ms"),
        .seen_ms = clock_ms(),
    };
    if (!d->key)
        return false;
    if (key.len > 0)
        memcpy(d->key, key.data, key.len);
    v->count++;
    return true;
}

static bool page_take(struct verification *v, struct slice answer)
{
    struct cursor c = map_find(answer, "different");
    uint32_t count = cursor_peek(&c) == CURSOR_ARRAY ? cursor_array(&c) : 0;

    v->checked += map_uint(answer, "checked");
    v->unknown += map_uint(answer, "unknown");
    for (uint32_t i = 0; i < count && cursor_ok(&c); i++)
        if (!difference_add(v, cursor_raw(&c)))
            return false;
    return true;
}

static dcache_result page_ask(struct ctl *ctl, uint64_t cursor, struct slice *ret)
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

static int look_first(struct verification *v)
{
    uint64_t cursor = 0;
    struct slice answer;

    do {
        dcache_result result = page_ask(v->ctl, cursor, &answer);

        if (result != DCACHE_OK)
            return exit_of_result(result);
        if (!page_take(v, answer)) {
            fprintf(stderr, "dcachectl: out of memory\n");
            return EXIT_FAILED;
        }
        cursor = map_uint(answer, "cursor");
        progress_show(v, "entries compared", v->checked);
    } while (cursor != 0);
    return EXIT_OK;
}

/* ---- looking again ------------------------------------------------------------------------------------------ */

enum again { AGAIN_DIFFERS, AGAIN_SETTLED, AGAIN_UNKNOWN };

/* Whether the same entry still differs. One that has changed, or would be confirmed before it is served, does not.
 */
static enum again again_of(const struct difference *d, struct slice answer)
{
    struct slice cached = map_map(answer, "cached"), redis = map_map(answer, "redis");
    struct slice state = map_bytes(redis, "state");

    if (cached.len == 0 || map_uint(cached, "seq") != d->cached_seq || map_bool(cached, "local") ||
        map_bool(cached, "replaced") || map_bool(cached, "suspect"))
        return AGAIN_SETTLED;
    if (slice_equal(state, slice_text("unreachable")))
        return AGAIN_UNKNOWN;
    if (slice_equal(state, slice_text("absent")))
        return map_bool(cached, "tombstone") ? AGAIN_SETTLED : AGAIN_DIFFERS;
    if (slice_equal(state, slice_text("unreadable")))
        return AGAIN_DIFFERS;
    return map_uint(redis, "seq") > d->cached_seq ? AGAIN_DIFFERS : AGAIN_SETTLED;
}

static int difference_look(struct verification *v, struct difference *d)
{
    struct buffer params = BUFFER_INIT;
    struct slice answer;
    dcache_result result;
    uint64_t now;

    pack_array(&params, 2);
    pack_bin(&params, slice_of(d->key, d->key_len));
    pack_map(&params, 1);
    pack_text(&params, "timeout_ms");
    pack_uint(&params, ctl_daemon_timeout_ms(v->ctl));
    result = ctl_call(v->ctl, "inspect", &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    now = clock_ms();
    switch (again_of(d, answer)) {
    case AGAIN_DIFFERS:
        d->remains = true;
        d->differs_ms += now - d->seen_ms;
        d->seen_ms = now;
        d->redis_version = map_uint(map_map(answer, "redis"), "version");
        break;
    case AGAIN_SETTLED:
        d->settled = true;
        break;
    case AGAIN_UNKNOWN:
        v->unknown++;
        d->settled = true;
        break;
    }
    return EXIT_OK;
}

static void sleep_until(struct verification *v, uint64_t at_ms)
{
    for (uint64_t now = clock_ms(); now < at_ms; now = clock_ms()) {
        uint64_t part = at_ms - now < PROGRESS_EVERY ? at_ms - now : PROGRESS_EVERY;

        progress_show(v, "entries differ; waiting to look again", v->count);
        nanosleep(&(struct timespec){.tv_sec = 0, .tv_nsec = (long)part * 1000000}, NULL);
    }
}

static int look_again(struct verification *v, uint64_t wait_ms)
{
    if (v->count == 0)
        return EXIT_OK;
    sleep_until(v, clock_ms() + wait_ms);
    for (size_t i = 0; i < v->count; i++) {
        int r = v->differences[i].settled ? EXIT_OK : difference_look(v, &v->differences[i]);

        if (r != EXIT_OK)
            return r;
        progress_show(v, "entries looked at again", i + 1);
    }
    return EXIT_OK;
}

/* ---- the report --------------------------------------------------------------------------------------------- */

static uint64_t remaining(const struct verification *v)
{
    uint64_t count = 0;

    for (size_t i = 0; i < v->count; i++)
        count += v->differences[i].remains;
    return count;
}

static uint64_t per_million(const struct verification *v)
{
    return v->checked == 0 ? 0 : (remaining(v) + v->healed) * 1000000 / v->checked;
}

static void difference_print(const struct verification *v, const struct difference *d)
{
    char duration[TEXT_SMALL];

    text_escaped(stdout, slice_of(d->key, d->key_len));
    printf(": cached version %" PRIu64 ", ", d->cached_version);
    if (d->redis_version > 0)
        printf("Redis has version %" PRIu64, d->redis_version);
    else
        fputs("absent in Redis", stdout);
    if (!d->remains) {
        printf(", settled within %s\n", text_duration(duration, v->bound_ms));
        return;
    }
    printf(", for %s%s", d->known_since ? "" : "at least ", text_duration(duration, d->differs_ms));
    puts(d->settled ? ", then settled" : "");
}

static void print_text(const struct verification *v)
{
    for (size_t i = 0; i < v->count; i++)
        difference_print(v, &v->differences[i]);
    if (v->healed > 0)
        printf("%" PRIu64 " more found and dropped by the daemon's sampler meanwhile\n", v->healed);
    printf("%" PRIu64 " entries compared, %zu differed, %" PRIu64 " still after the bound (%" PRIu64
           " per million), %" PRIu64 " could not be compared\n",
           v->checked, v->count, remaining(v) + v->healed, per_million(v), v->unknown);
}

static void print_number(struct json *json, const char *name, uint64_t value)
{
    json_name(json, name);
    json_uint(json, value);
}

static void print_json(const struct verification *v)
{
    struct json json = json_to(stdout);

    json_open_object(&json);
    json_name(&json, "different");
    json_open_array(&json);
    for (size_t i = 0; i < v->count; i++) {
        const struct difference *d = &v->differences[i];

        json_open_object(&json);
        json_bytes(&json, "key", slice_of(d->key, d->key_len));
        print_number(&json, "cached_version", d->cached_version);
        print_number(&json, "redis_version", d->redis_version);
        print_number(&json, "differs_ms", d->differs_ms);
        json_name(&json, "remains");
        json_bool(&json, d->remains);
        json_close_object(&json);
    }
    json_close_array(&json);
    print_number(&json, "checked", v->checked);
    print_number(&json, "unknown", v->unknown);
    print_number(&json, "remain", remaining(v));
    print_number(&json, "healed", v->healed);
    print_number(&json, "inconsistent_per_million", per_million(v));
    json_close_object(&json);
}

/* A number of a map without parameters asked for. */
static int ask_number(struct ctl *ctl, const char *method, const char *name, uint64_t *ret)
{
    struct buffer params = BUFFER_INIT;
    struct slice answer;
    dcache_result result;

    pack_array(&params, 0);
    result = ctl_call(ctl, method, &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    *ret = map_uint(answer, name);
    return EXIT_OK;
}

static int verify(struct verification *v, uint64_t wait_ms)
{
    uint64_t before = 0, after = 0;
    int r = ask_number(v->ctl, "stats", "verify_differs_bound", &before);

    if (r == EXIT_OK)
        r = look_first(v);
    if (r == EXIT_OK && v->count > 0)
        r = ask_number(v->ctl, "status", "bound_ms", &v->bound_ms);
    if (r == EXIT_OK)
        r = look_again(v, v->bound_ms);
    if (r == EXIT_OK && wait_ms > 0)
        r = look_again(v, wait_ms);
    if (r == EXIT_OK)
        r = ask_number(v->ctl, "stats", "verify_differs_bound", &after);
    v->healed = after > before ? after - before : 0;
    return r;
}

int verb_verify(struct ctl *ctl)
{
    struct verification v = {.ctl = ctl, .begun_ms = clock_ms()};
    uint64_t wait_ms = 0;
    int r;

    if ((ctl->given & FLAG_wait) && !parse_duration_ms(ctl->flags[FLAG_INDEX_wait], &wait_ms))
        return ctl_usage("--wait: '%.40s' is no duration like 500ms or 10s", ctl->flags[FLAG_INDEX_wait]);
    r = verify(&v, wait_ms);
    progress_end(&v);
    if (r == EXIT_OK) {
        if (ctl->json)
            print_json(&v);
        else
            print_text(&v);
        if (remaining(&v) + v.healed > 0)
            r = EXIT_FAILED;
        else if (v.unknown > 0 && v.checked == 0)
            r = EXIT_REFUSED;
    }
    for (size_t i = 0; i < v.count; i++)
        free(v.differences[i].key);
    free(v.differences);
    return r;
}
