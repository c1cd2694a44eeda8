/* Users and what they may, with the rules of ACL SETUSER. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

struct patterns {
    struct slice *items; /* owned */
    size_t count;
};

struct user {
    struct user *next;
    char name[64];
    bool on, nopass, all_keys, all_channels;
    struct patterns passwords, keys, channels;
    uint8_t *allowed; /* by command_index */
};

static void patterns_add(struct patterns *p, struct slice text)
{
    uint8_t *copy = memory_new(text.len);

    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    p->items = memory_grow(p->items, (p->count + 1) * sizeof(*p->items));
    p->items[p->count++] = slice_of(copy, text.len);
}

static void patterns_clear(struct patterns *p)
{
    for (size_t i = 0; i < p->count; i++)
        free((void *)p->items[i].data);
    free(p->items);
    *p = (struct patterns){0};
}

static bool patterns_match(const struct patterns *p, struct slice text)
{
    for (size_t i = 0; i < p->count; i++) {
        if (glob_match(p->items[i], text))
            return true;
    }
    return false;
}

/* ---- users ----------------------------------------------------------------------------------------------- */

static void user_clear(struct user *user)
{
    patterns_clear(&user->passwords);
    patterns_clear(&user->keys);
    patterns_clear(&user->channels);
    free(user->allowed);
}

struct user *user_find(struct server *server, struct slice name)
{
    struct user *user = server->users;

    while (user && !slice_equal(slice_text(user->name), name))
        user = user->next;
    return user;
}

struct user *user_get(struct server *server, struct slice name)
{
    struct user *user = user_find(server, name), **at = &server->users;

    if (user)
        return user;
    user = memory_zero(sizeof(*user));
    snprintf(user->name, sizeof(user->name), "%.*s", (int)name.len, (const char *)name.data);
    user->allowed = memory_zero(command_count);
    while (*at)
        at = &(*at)->next;
    *at = user;
    return user;
}

struct user *user_default(struct server *server)
{
    return server->users;
}

void users_init(struct server *server)
{
    static const char *const rules[] = {"on", "nopass", "allkeys", "allchannels", "+@all"};
    struct user *user = user_get(server, slice_text("default"));

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        user_apply(user, slice_text(rules[i]));
}

void users_free(struct server *server)
{
    for (struct user *user; (user = server->users);) {
        server->users = user->next;
        user_clear(user);
        free(user);
    }
}

const char *user_name(const struct user *user)
{
    return user->name;
}

bool user_needs_password(const struct user *user)
{
    return !user->nopass || !user->on;
}

bool user_takes(const struct user *user, struct slice password)
{
    if (!user->on)
        return false;
    for (size_t i = 0; i < user->passwords.count; i++) {
        if (slice_equal(user->passwords.items[i], password))
            return true;
    }
    return user->nopass;
}

/* ---- rules ----------------------------------------------------------------------------------------------- */

static const char *apply_command(struct user *user, struct slice name, bool allowed)
{
    const uint8_t *bar = memchr(name.data, '|', name.len);
    size_t len = bar ? (size_t)(bar - name.data) : name.len;
    bool found = false;

    for (size_t i = 0; i < command_count; i++) {
        struct slice full = slice_text(commands[i].name);
        const uint8_t *sub = memchr(full.data, '|', full.len);
        size_t main_len = sub ? (size_t)(sub - full.data) : full.len;
        bool same = bar ? full.len == name.len &&
                              strncasecmp(commands[i].name, (const char *)name.data, len) == 0 &&
                              slice_is(name, commands[i].name)
                        : main_len == len && strncasecmp(commands[i].name, (const char *)name.data, len) == 0;

        if (same) {
            user->allowed[i] = allowed;
            found = true;
        }
    }
    return found ? NULL : "Unknown command or category name in ACL";
}

static const char *apply_reset(struct user *user)
{
    patterns_clear(&user->passwords);
    patterns_clear(&user->keys);
    patterns_clear(&user->channels);
    memset(user->allowed, 0, command_count);
    user->on = user->nopass = user->all_keys = user->all_channels = false;
    return NULL;
}

static bool apply_word(struct user *user, struct slice rule)
{
    if (slice_is(rule, "on") || slice_is(rule, "off")) {
        user->on = slice_is(rule, "on");
    } else if (slice_is(rule, "nopass") || slice_is(rule, "resetpass")) {
        user->nopass = slice_is(rule, "nopass");
        patterns_clear(&user->passwords);
    } else if (slice_is(rule, "allkeys") || slice_is(rule, "~*") || slice_is(rule, "resetkeys")) {
        user->all_keys = !slice_is(rule, "resetkeys");
        patterns_clear(&user->keys);
    } else if (slice_is(rule, "allchannels") || slice_is(rule, "&*") || slice_is(rule, "resetchannels")) {
        user->all_channels = !slice_is(rule, "resetchannels");
        patterns_clear(&user->channels);
    } else if (slice_is(rule, "allcommands") || slice_is(rule, "+@all")) {
        memset(user->allowed, 1, command_count);
    } else if (slice_is(rule, "nocommands") || slice_is(rule, "-@all")) {
        memset(user->allowed, 0, command_count);
    } else if (slice_is(rule, "reset")) {
        apply_reset(user);
    } else {
        return false;
    }
    return true;
}

const char *user_apply(struct user *user, struct slice rule)
{
    struct slice rest = slice_of(rule.data + 1, rule.len > 0 ? rule.len - 1 : 0);

    if (apply_word(user, rule))
        return NULL;
    if (rest.len == 0)
        return "Syntax error";
    switch (rule.data[0]) {
    case '>':
        patterns_add(&user->passwords, rest);
        user->nopass = false;
        return NULL;
    case '~':
        if (user->all_keys)
            return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have "
                   "any "
                   "effect. Try 'resetkeys' to start with an empty list of patterns";
        patterns_add(&user->keys, rest);
        return NULL;
    case '&':
        if (user->all_channels)
            return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not "
                   "have "
                   "any effect. Try 'resetchannels' to start with an empty list of channels";
        patterns_add(&user->channels, rest);
        return NULL;
    case '+':
    case '-':
        return apply_command(user, rest, rule.data[0] == '+');
    default:
        return "Syntax error";
    }
}

static void patterns_copy(struct patterns *to, const struct patterns *from)
{
    *to = (struct patterns){0};
    for (size_t i = 0; i < from->count; i++)
        patterns_add(to, from->items[i]);
}

/* The contents of a user, without its name and place in the list. */
static void user_copy(struct user *to, const struct user *from)
{
    *to = (struct user){
        .on = from->on, .nopass = from->nopass, .all_keys = from->all_keys, .all_channels = from->all_channels};
    patterns_copy(&to->passwords, &from->passwords);
    patterns_copy(&to->keys, &from->keys);
    patterns_copy(&to->channels, &from->channels);
    to->allowed = memcpy(memory_new(command_count), from->allowed, command_count);
}

const char *user_change(struct server *server, struct slice name, const struct slice *rules, size_t count,
                        size_t *ret_bad)
{
    struct user *user = user_get(server, name), changed;
    const char *error = NULL;

    user_copy(&changed, user);
    for (size_t i = 0; !error && i < count; i++) {
        error = user_apply(&changed, rules[i]);
        *ret_bad = i;
    }
    if (error) {
        user_clear(&changed);
        return error;
    }
    memcpy(changed.name, user->name, sizeof(changed.name));
    changed.next = user->next;
    user_clear(user);
    *user = changed;
    server_close_denied(server);
    return NULL;
}

int server_set_user(struct server *server, const char *name, const char *rules)
{
    struct slice list[64];
    size_t count = 0, bad;
    const char *error;

    while (*rules != '\0' && count < sizeof(list) / sizeof(list[0])) {
        size_t len = strcspn(rules, " ");

        if (len > 0)
            list[count++] = slice_of(rules, len);
        rules += len + strspn(rules + len, " ");
    }
    error = user_change(server, slice_text(name), list, count, &bad);
    conns_tell(server);
    return error || *rules != '\0' ? -EINVAL : 0;
}

void server_set_password(struct server *server, const char *password)
{
    struct user *user = user_default(server);

    patterns_clear(&user->passwords);
    user->nopass = password[0] == '\0';
    if (!user->nopass)
        patterns_add(&user->passwords, slice_text(password));
}

/* ---- decisions ------------------------------------------------------------------------------------------- */

static bool may_touch(const struct user *user, struct slice key)
{
    return user->all_keys || patterns_match(&user->keys, key);
}

bool user_may_listen(const struct user *user, struct slice channel)
{
    return user->all_channels || patterns_match(&user->channels, channel);
}

/* As atoi reads it: the right is looked at before the number is found to be none. */
static int64_t key_number(struct slice text)
{
    char copy[32];

    snprintf(copy, sizeof(copy), "%.*s", (int)(text.len < 31 ? text.len : 31), (const char *)text.data);
    return (int)strtol(copy, NULL, 10);
}

/* The keys of EVAL: argument 2 says how many come after it. */
static size_t last_key(const struct call *call)
{
    int64_t count;

    switch (call->command->last_key) {
    case -1:
        return call->argc - 1;
    case -2:
        count = key_number(call->argv[2]);
        if (count < 1 || (uint64_t)count > call->argc - 3)
            return 0;
        return (size_t)count + 2;
    default:
        return (size_t)call->command->last_key;
    }
}

enum denied user_check(const struct user *user, const struct call *call)
{
    const struct command *command = call->command;

    if (!user)
        return DENIED_NOT;
    if (!user->allowed[command_index(command)] && !(command->flags & CMD_NO_AUTH))
        return DENIED_COMMAND;
    if (command->first_key > 0 && !user->all_keys) {
        for (size_t i = (size_t)command->first_key, last = last_key(call); i <= last; i++) {
            if (!may_touch(user, call->argv[i]))
                return DENIED_KEY;
        }
    }
    if (command->first_channel > 0 && !user->all_channels) {
        size_t last = command->many_channels ? call->argc - 1 : (size_t)command->first_channel;

        for (size_t i = (size_t)command->first_channel; i <= last; i++) {
            if (!user_may_listen(user, call->argv[i]))
                return DENIED_CHANNEL;
        }
    }
    return DENIED_NOT;
}

void server_close_denied(struct server *server)
{
    for (size_t i = 0; i < server->subscription_count; i++) {
        struct subscription *s = &server->subscriptions[i];

        if (s->conn->user && !user_may_listen(s->conn->user, s->channel)) {
            conn_end(s->conn);
            i = (size_t)-1; /* its subscriptions are gone: from the start */
        }
    }
}
