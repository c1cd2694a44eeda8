#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/config_internal.h"

#define ADMIT_MAX 200 /* bytes of a value in a report; picked */

void config_where(const struct config *config, size_t index, const char *path, char where[CONFIG_WHERE_MAX])
{
    where[0] = '\0';
    if (config->origins[index].kind == CONFIG_FROM_FILE)
        snprintf(where, CONFIG_WHERE_MAX, "%.*s:%d", CONFIG_VALUE_MAX, path, config->origins[index].line);
    else if (config->origins[index].kind == CONFIG_FROM_ENV)
        config_env_name(config_key_at(index), where, CONFIG_WHERE_MAX);
}

static void print_origin(const struct config *config, size_t index, const char *path, FILE *to)
{
    char where[CONFIG_WHERE_MAX];
    config_where(config, index, path, where);
    fprintf(to, "; %s%s\n", config->origins[index].kind == CONFIG_FROM_ENV ? "environment " : "",
            *where ? where : "default");
}

void config_print(const struct config *config, const char *path, FILE *to)
{
    const char *section = "";
    char value[CONFIG_VALUE_MAX];
    for (size_t i = 0; i < config_key_count(); i++) {
        const struct config_key *key = config_key_at(i);
        if (strcmp(section, key->section) != 0)
            fprintf(to, "%s[%s]\n", i ? "\n" : "", key->section);
        section = key->section;
        if (path)
            print_origin(config, i, path, to);
        config_value_print(key, config, value);
        fprintf(to, "%s =%s%s\n", key->name, *value ? " " : "", value);
        if (strcmp(key->name, "password_file") == 0 && config->redis.password)
            fputs("; password = ***\n", to);
    }
}

/* ---- what a reload takes over --------------------------------------------------------------------------- */

static bool same_value(const struct config_key *key, const struct config *a, const struct config *b)
{
    char one[CONFIG_VALUE_MAX], other[CONFIG_VALUE_MAX];
    config_value_print(key, a, one);
    config_value_print(key, b, other);
    return strcmp(one, other) == 0;
}

/* The same names can have become other numbers. */
static bool same_list(const struct access_list *a, const struct access_list *b)
{
    return a->uid_count == b->uid_count && a->gid_count == b->gid_count &&
           (a->uid_count == 0 || memcmp(a->uids, b->uids, a->uid_count * sizeof *a->uids) == 0) &&
           (a->gid_count == 0 || memcmp(a->gids, b->gids, a->gid_count * sizeof *a->gids) == 0);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool has_changed(const struct config_key *key, const struct config *a, const struct config *b)
{
    if (!same_value(key, a, b))
        return true;
    return key->type == CONFIG_ACCESS && !same_list((const void *)((const char *)a + key->offset),
                                                    (const void *)((const char *)b + key->offset));
}

/* Live keys that depend on one that is not. */
static bool holds_beside(const struct config_key *key, const struct config *running, const struct config *loaded)
{
    if (key->offset == offsetof(struct config, limits.buffers))
        return loaded->limits.buffers >= config_buffers_min(running);
    if (key->offset == offsetof(struct config, staleness.max_stale_ns))
        return loaded->staleness.max_stale_ns >= running->staleness.bound_ns;
    return true;
}

static size_t size_of(const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_TEXT:
        return sizeof(char *);
    case CONFIG_ACCESS:
        return sizeof(struct access_list);
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        return sizeof(uint64_t);
    case CONFIG_BOOL:
        return sizeof(bool);
    default:
        return sizeof(unsigned);
    }
}

/* Exchanged rather than copied, so that each value keeps one owner. */
static void swap_value(const struct config_key *key, struct config *a, struct config *b)
{
    char *one = (char *)a + key->offset, *other = (char *)b + key->offset;
    for (size_t i = 0; i < size_of(key); i++) {
        char byte = one[i];
        one[i] = other[i];
        other[i] = byte;
    }
}

static void say(FILE *to, size_t *count, const struct config_key *key, const struct config *from,
                const struct config *towards, const char *tail)
{
    char old[CONFIG_VALUE_MAX], new[CONFIG_VALUE_MAX];
    config_value_print(key, from, old);
    config_value_print(key, towards, new);
    fprintf(to, "%s%s.%s: %.*s -> %.*s%s", *count ? ", " : "", key->section, key->name, ADMIT_MAX,
            *old ? old : "(empty)", ADMIT_MAX, *new ? new : "(empty)", tail);
    (*count)++;
}

static void report(const struct config *running, const struct config *loaded, struct config_changes *changes,
                   FILE *applied, FILE *restart, bool take[CONFIG_KEY_MAX])
{
    for (size_t i = 0; i < config_key_count(); i++) {
        const struct config_key *key = config_key_at(i);
        if (!has_changed(key, running, loaded))
            continue;
        take[i] = key->live && holds_beside(key, running, loaded);
        if (take[i])
            say(applied, &changes->applied_count, key, running, loaded, "");
        else
            say(restart, &changes->restart_count, key, running, loaded, " needs a restart");
    }
    if (!same_text(running->redis.password, loaded->redis.password))
        fprintf(restart, "%sredis.password_file: the password has changed: needs a restart",
                changes->restart_count++ ? ", " : "");
}

int config_take(struct config *running, struct config *loaded, struct config_changes *ret)
{
    bool take[CONFIG_KEY_MAX] = {false};
    size_t len;
    *ret = (struct config_changes){0};
    FILE *applied = open_memstream(&ret->applied, &len), *restart = open_memstream(&ret->restart, &len);
    if (applied && restart)
        report(running, loaded, ret, applied, restart, take);
    bool bad = !applied || !restart;
    bad = (applied && fclose(applied) != 0) || bad;
    bad = (restart && fclose(restart) != 0) || bad;
    if (bad) {
        config_changes_deinit(ret);
        return -ENOMEM;
    }
    for (size_t i = 0; i < config_key_count(); i++) {
        if (!take[i])
            continue;
        swap_value(config_key_at(i), running, loaded);
        running->origins[i] = loaded->origins[i];
    }
    return 0;
}

void config_changes_deinit(struct config_changes *changes)
{
    free(changes->applied);
    free(changes->restart);
    *changes = (struct config_changes){0};
}
