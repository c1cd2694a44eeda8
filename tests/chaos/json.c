#include "tests/chaos/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_BYTES (16u << 20)
#define DEPTH_MAX  16

struct reader {
    const char *at;
    char path[256];
    json_number_fn fn;
    void *ctx;
    int depth;
};

static bool value(struct reader *r);

static char next(struct reader *r)
{
    while (isspace((unsigned char)*r->at))
        r->at++;
    return *r->at;
}

static bool take(struct reader *r, char c)
{
    if (next(r) != c)
        return false;
    r->at++;
    return true;
}

/* Names in our files have no escapes that matter; they are kept as they are. */
static bool text(struct reader *r, char *ret, size_t size)
{
    size_t len = 0;

    if (!take(r, '"'))
        return false;
    for (; *r->at && *r->at != '"'; r->at++) {
        if (*r->at == '\\' && r->at[1])
            r->at++;
        if (ret && len + 1 < size)
            ret[len++] = *r->at;
    }
    if (ret)
        ret[len] = '\0';
    return take(r, '"');
}

static bool member(struct reader *r, const char *name)
{
    size_t len = strlen(r->path);
    bool good;

    snprintf(r->path + len, sizeof(r->path) - len, "%s%s", len ? "." : "", name);
    good = value(r);
    r->path[len] = '\0';
    return good;
}

static bool object(struct reader *r)
{
    char name[64];

    r->at++;
    if (take(r, '}'))
        return true;
    do {
        if (!text(r, name, sizeof(name)) || !take(r, ':') || !member(r, name))
            return false;
    } while (take(r, ','));
    return take(r, '}');
}

static bool array(struct reader *r)
{
    char name[16];
    unsigned i = 0;

    r->at++;
    if (take(r, ']'))
        return true;
    do {
        snprintf(name, sizeof(name), "%u", i++);
        if (!member(r, name))
            return false;
    } while (take(r, ','));
    return take(r, ']');
}

static bool plain(struct reader *r)
{
    char *end;
    double number;

    for (int i = 0; i < 3; i++) {
        static const char *const words[] = {"null", "false", "true"};

        if (strncmp(r->at, words[i], strlen(words[i])) != 0)
            continue;
        r->at += strlen(words[i]);
        if (i > 0)
            r->fn(r->ctx, r->path, i - 1);
        return true;
    }
    number = strtod(r->at, &end);
    if (end == r->at)
        return false;
    r->at = end;
    r->fn(r->ctx, r->path, number);
    return true;
}

static bool value(struct reader *r)
{
    bool good;

    if (++r->depth > DEPTH_MAX)
        return false;
    switch (next(r)) {
    case '{':
        good = object(r);
        break;
    case '[':
        good = array(r);
        break;
    case '"':
        good = text(r, NULL, 0);
        break;
    default:
        good = plain(r);
    }
    r->depth--;
    return good;
}

int json_read(const char *path, json_number_fn fn, void *ctx)
{
    struct reader r = {.fn = fn, .ctx = ctx};
    FILE *f = fopen(path, "re");
    char *bytes = malloc(JSON_BYTES);
    size_t len;
    bool good;

    if (!f || !bytes) {
        free(bytes);
        if (f)
            fclose(f);
        return -errno;
    }
    len = fread(bytes, 1, JSON_BYTES - 1, f);
    fclose(f);
    bytes[len] = '\0';
    r.at = bytes;
    good = value(&r) && next(&r) == '\0';
    free(bytes);
    return good ? 0 : -EBADMSG;
}
