/* GET, SET, GETRANGE, STRLEN. */
#include <stdio.h>

#include "tests/sim/redis/internal.h"

void cmd_get(struct call *call)
{
    bool ok;
    struct entry *entry = key_find_type(call, call->argv[1], 's', &ok);

    if (ok && entry)
        reply_bulk(call, value_bytes(entry->value));
    else if (ok)
        reply_nil(call);
}

void cmd_strlen(struct call *call)
{
    bool ok;
    struct entry *entry = key_find_type(call, call->argv[1], 's', &ok);

    if (ok)
        reply_integer(call, entry ? (int64_t)entry->value->len : 0);
}

void cmd_getrange(struct call *call)
{
    int64_t start, end, len;
    struct entry *entry;
    bool ok;

    if (!argument_int(call, 2, &start) || !argument_int(call, 3, &end))
        return;
    entry = key_find_type(call, call->argv[1], 's', &ok);
    if (!ok)
        return;
    len = entry ? (int64_t)entry->value->len : 0;
    if (start < 0 && end < 0 && start > end)
        len = 0;
    start = start < 0 ? (start + len < 0 ? 0 : start + len) : start;
    end = end < 0 ? (end + len < 0 ? 0 : end + len) : end;
    if (end >= len)
        end = len - 1;
    if (len == 0 || start > end)
        reply_text(call, "");
    else
        reply_bulk(call, slice_of(entry->value->data + start, (size_t)(end - start + 1)));
}

/* ---- SET ------------------------------------------------------------------------------------------------- */

struct set_options {
    bool nx, xx, keep, get;
    const char *unit; /* of the expiry: EX, PX, EXAT, PXAT; NULL: none */
    size_t expiry;    /* number of its argument */
    uint64_t expire_ms;
};

static bool set_expiry_option(struct call *call, size_t *at, struct set_options *o)
{
    static const char *const units[] = {"ex", "px", "exat", "pxat"};

    for (size_t i = 0; i < 4; i++) {
        if (!slice_is(call->argv[*at], units[i]))
            continue;
        if (o->unit || o->keep || *at + 1 >= call->argc)
            return false;
        o->unit = units[i];
        o->expiry = ++*at;
        return true;
    }
    return false;
}

static bool set_parse(struct call *call, struct set_options *o)
{
    for (size_t at = 3; at < call->argc; at++) {
        if (slice_is(call->argv[at], "nx") && !o->xx) {
            o->nx = true;
        } else if (slice_is(call->argv[at], "xx") && !o->nx) {
            o->xx = true;
        } else if (slice_is(call->argv[at], "get")) {
            o->get = true;
        } else if (slice_is(call->argv[at], "keepttl") && !o->unit) {
            o->keep = true;
        } else if (!set_expiry_option(call, &at, o)) {
            reply_error(call, "%s", error_syntax);
            return false;
        }
    }
    return true;
}

static bool set_expiry(struct call *call, struct set_options *o)
{
    bool seconds = o->unit && o->unit[0] == 'e', relative = o->unit && o->unit[2] == '\0';
    int64_t number, base = relative ? (int64_t)wall_ms(call->server, call->now) : 0;

    if (!o->unit)
        return true;
    if (!argument_int(call, o->expiry, &number))
        return false;
    if (number <= 0 || (seconds && number > INT64_MAX / 1000) ||
        (seconds ? number * 1000 : number) > INT64_MAX - base) {
        reply_error(call, "ERR invalid expire time in 'set' command");
        return false;
    }
    o->expire_ms = (uint64_t)((seconds ? number * 1000 : number) + base);
    return true;
}

/* The effect has the time as an absolute one, so that a replica behind keeps to it. */
static void set_effect(struct call *call, const struct set_options *o)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)o->expire_ms);
    const struct slice argv[] = {slice_text("SET"), call->argv[1], call->argv[2], slice_text("PXAT"),
                                 slice_of(text, (size_t)len)};

    if (o->unit)
        effect(call, argv, 5);
    else
        effect_call(call);
}

void cmd_set(struct call *call)
{
    struct set_options o = {0};
    struct entry *entry;
    bool ok = true;

    if (!set_parse(call, &o) || !set_expiry(call, &o))
        return;
    entry = o.get ? key_find_type(call, call->argv[1], 's', &ok) : key_find(call, call->argv[1]);
    if (!ok)
        return;
    if (o.get && entry)
        reply_bulk(call, value_bytes(entry->value));
    else if (o.get)
        reply_nil(call);
    if ((o.nx && entry) || (o.xx && !entry)) {
        if (!o.get)
            reply_nil(call);
        return;
    }
    if (o.keep && entry)
        o.expire_ms = entry->expire_ms;
    key_set(call, call->argv[1], value_new_string(call->argv[2]), o.expire_ms);
    set_effect(call, &o);
    if (!o.get)
        reply_status(call, "OK");
}
