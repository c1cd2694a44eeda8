/* Commands on keys of any type: DEL, EXISTS, TYPE, the EXPIRE family, SCAN, DBSIZE, FLUSHALL, FLUSHDB. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

void cmd_del(struct call *call)
{
    int64_t removed = 0;

    for (size_t i = 1; i < call->argc; i++) {
        struct entry *entry = key_find(call, call->argv[i]);

        if (!entry)
            continue;
        key_delete(call, entry);
        removed++;
    }
    if (removed > 0)
        effect_call(call);
    reply_integer(call, removed);
}

void cmd_exists(struct call *call)
{
    int64_t count = 0;

    for (size_t i = 1; i < call->argc; i++)
        count += key_find(call, call->argv[i]) != NULL;
    reply_integer(call, count);
}

void cmd_type(struct call *call)
{
    struct entry *entry = key_find(call, call->argv[1]);

    reply_status(call, !entry ? "none" : entry->value->type == 's' ? "string" : "hash");
}

/* ---- expiry ---------------------------------------------------------------------------------------------- */

struct expire_options {
    bool nx, xx, gt, lt;
};

static bool expire_parse(struct call *call, struct expire_options *o)
{
    for (size_t i = 3; i < call->argc; i++) {
        struct slice option = call->argv[i];

        if (!slice_is(option, "nx") && !slice_is(option, "xx") && !slice_is(option, "gt") &&
            !slice_is(option, "lt")) {
            reply_error(call, "ERR Unsupported option %.*s", (int)option.len, (const char *)option.data);
            return false;
        }
        o->nx |= slice_is(option, "nx");
        o->xx |= slice_is(option, "xx");
        o->gt |= slice_is(option, "gt");
        o->lt |= slice_is(option, "lt");
    }
    if (o->nx && (o->xx || o->gt || o->lt)) {
        reply_error(call, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (o->gt && o->lt) {
        reply_error(call, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

static bool expire_forbidden(const struct expire_options *o, uint64_t current, int64_t when)
{
    return (o->nx && current > 0) || (o->xx && current == 0) ||
           (o->gt && (current == 0 || when <= (int64_t)current)) ||
           (o->lt && current > 0 && when >= (int64_t)current);
}

static void expire_at(struct call *call, struct entry *entry, int64_t when)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%lld", (long long)when);
    const struct slice argv[] = {slice_text("PEXPIREAT"), call->argv[1], slice_of(text, (size_t)len)};

    if (when <= (int64_t)wall_ms(call->server, call->now) && server_is_master(call->server) && !call->obeys) {
        effect_delete(call, call->argv[1]);
        key_delete(call, entry);
    } else {
        key_expire_at(call, entry, when > 0 ? (uint64_t)when : 1);
        effect(call, argv, 3);
    }
}

static void expire(struct call *call, const char *name, bool seconds, bool relative)
{
    int64_t when, base = relative ? (int64_t)wall_ms(call->server, call->now) : 0;
    struct expire_options options = {0};
    struct entry *entry;

    if (!expire_parse(call, &options) || !argument_int(call, 2, &when))
        return;
    if ((seconds && (when > INT64_MAX / 1000 || when < INT64_MIN / 1000)) ||
        (seconds ? when * 1000 : when) > INT64_MAX - base) {
        reply_error(call, "ERR invalid expire time in '%s' command", name);
        return;
    }
    when = (seconds ? when * 1000 : when) + base;
    entry = key_find(call, call->argv[1]);
    if (entry && !expire_forbidden(&options, entry->expire_ms, when)) {
        expire_at(call, entry, when);
        reply_integer(call, 1);
    } else {
        reply_integer(call, 0);
    }
}

void cmd_expire(struct call *call)
{
    expire(call, "expire", true, true);
}

void cmd_pexpire(struct call *call)
{
    expire(call, "pexpire", false, true);
}

void cmd_expireat(struct call *call)
{
    expire(call, "expireat", true, false);
}

void cmd_pexpireat(struct call *call)
{
    expire(call, "pexpireat", false, false);
}

/* -2: no such key, -1: it does not expire. */
static int64_t left_ms(struct call *call)
{
    struct entry *entry = key_find(call, call->argv[1]);
    int64_t left;

    if (!entry)
        return -2;
    if (entry->expire_ms == 0)
        return -1;
    left = (int64_t)(entry->expire_ms - wall_ms(call->server, call->now));
    return left > 0 ? left : 0;
}

void cmd_pttl(struct call *call)
{
    reply_integer(call, left_ms(call));
}

void cmd_ttl(struct call *call)
{
    int64_t left = left_ms(call);

    reply_integer(call, left < 0 ? left : (left + 500) / 1000);
}

void cmd_persist(struct call *call)
{
    struct entry *entry = key_find(call, call->argv[1]);

    if (!entry || entry->expire_ms == 0) {
        reply_integer(call, 0);
        return;
    }
    key_expire_at(call, entry, 0);
    effect_call(call);
    reply_integer(call, 1);
}

/* ---- all keys -------------------------------------------------------------------------------------------- */

struct scan {
    struct call *call;
    struct slice match;  /* data NULL: all */
    struct slice type;   /* data NULL: all */
    struct buffer found; /* pointers to entries */
    size_t visited;
};

static void scan_visit(void *ctx, struct entry *entry)
{
    struct scan *scan = ctx;

    scan->visited++;
    buffer_append(&scan->found, &entry, sizeof(struct entry *));
}

static bool scan_parse(struct call *call, struct scan *scan, int64_t *count)
{
    for (size_t i = 2; i < call->argc; i += 2) {
        bool last = i + 1 == call->argc;

        if (slice_is(call->argv[i], "count") && !last) {
            if (!argument_int(call, i + 1, count))
                return false;
            if (*count >= 1)
                continue;
        } else if (slice_is(call->argv[i], "match") && !last) {
            scan->match = call->argv[i + 1];
            continue;
        } else if (slice_is(call->argv[i], "type") && !last) {
            scan->type = call->argv[i + 1];
            continue;
        }
        reply_error(call, "%s", error_syntax);
        return false;
    }
    return true;
}

static bool scan_wants(struct scan *scan, struct entry *entry)
{
    struct call *call = scan->call;

    if (scan->match.data && !glob_match(scan->match, entry_key(entry)))
        return false;
    if (scan->type.data && !slice_is(scan->type, entry->value->type == 's' ? "string" : "hash"))
        return false;
    return !entry_is_expired(call->server, entry, call->now);
}

static void scan_reply(struct scan *scan, uint64_t cursor)
{
    struct entry **entries = (struct entry **)scan->found.data;
    size_t count = scan->found.len / sizeof(struct entry *), kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (scan_wants(scan, entries[i]))
            entries[kept++] = entries[i];
    }
    reply_array(scan->call, 2);
    reply_number_text(scan->call, cursor);
    reply_array(scan->call, kept);
    for (size_t i = 0; i < kept; i++)
        reply_bulk(scan->call, entry_key(entries[i]));
}

/* Redis reads the cursor with strtoul: nothing is 0, a minus wraps, a NUL ends it. */
static bool scan_cursor(struct slice text, uint64_t *ret)
{
    char copy[32], *end;

    if (text.len >= sizeof(copy) || (text.len > 0 && isspace(text.data[0])))
        return false;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    errno = 0;
    *ret = strtoull(copy, &end, 10);
    return *end == '\0' && errno == 0;
}

void cmd_scan(struct call *call)
{
    struct dict *dict = &call->server->data.dbs[*call->db];
    struct scan scan = {.call = call};
    uint64_t cursor;
    int64_t count = 10;

    if (!scan_cursor(call->argv[1], &cursor)) {
        reply_error(call, "ERR invalid cursor");
        return;
    }
    if (!scan_parse(call, &scan, &count))
        return;
    do {
        cursor = dict_scan(dict, cursor, scan_visit, &scan);
    } while (cursor != 0 && scan.visited < (size_t)count);
    scan_reply(&scan, cursor);
    buffer_deinit(&scan.found);
}

void cmd_dbsize(struct call *call)
{
    reply_integer(call, (int64_t)call->server->data.dbs[*call->db].count);
}

static void flush(struct call *call, int db)
{
    if (call->argc > 2 ||
        (call->argc == 2 && !slice_is(call->argv[1], "async") && !slice_is(call->argv[1], "sync"))) {
        reply_error(call, "%s", error_syntax);
        return;
    }
    key_flush_all(call, db);
    effect_call(call);
    reply_status(call, "OK");
}

void cmd_flushall(struct call *call)
{
    flush(call, -1);
}

void cmd_flushdb(struct call *call)
{
    flush(call, (int)*call->db);
}
