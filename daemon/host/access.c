#include "daemon/host/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATORS ", \t"
#define NAME_MAX_  64 /* of a user or group, as in the name service */

/* ---- names ---------------------------------------------------------------------------------------------- */

/* A number below the one that means "none". 0; 1: no number; 2: out of range. */
static int parse_id(const char *text, uint32_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits])
        return 1;
    unsigned long long number = strtoull(text, NULL, 10);
    if (digits > 10 || number >= UINT32_MAX)
        return 2;
    *ret = (uint32_t)number;
    return 0;
}

/* As POSIX and getpwnam(3) say that there is no such name. Any other error is a failure of the name service. */
static bool is_absent(int error)
{
    return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

/* 0; 1: none of that name; -errno: nobody knows. */
static int look_up(const char *name, bool group, uint32_t *ret)
{
    int error;
    size_t size = 16 * 1024;
    do {
        struct passwd pw, *found_pw = NULL;
        struct group gr, *found_gr = NULL;
        char *buffer = malloc(size);
        if (!buffer)
            return -ENOMEM;
        error = group ? getgrnam_r(name, &gr, buffer, size, &found_gr)
                      : getpwnam_r(name, &pw, buffer, size, &found_pw);
        if (found_gr)
            *ret = gr.gr_gid;
        if (found_pw)
            *ret = pw.pw_uid;
        free(buffer);
        if (found_gr || found_pw)
            return 0;
        if (error == ERANGE)
            size *= 4;
    } while (error == EINTR || (error == ERANGE && size <= 16 * 1024 * 1024));
    return is_absent(error) ? 1 : -error;
}

/* A user or group by name or number, as in access.h. */
static int find(const char *name, bool group, uint32_t *ret, char *why, size_t why_size)
{
    const char *kind = group ? "group" : "user";
    int r = parse_id(name, ret);
    if (r == 2) {
        snprintf(why, why_size, "%s is no number of a %s; 0 .. 4294967294", name, kind);
        return ACCESS_WRONG;
    }
    if (r == 1)
        r = look_up(name, group, ret);
    if (r > 0) {
        snprintf(why, why_size, "there is no %s \"%s\"; a name or number%s", kind, name,
                 group ? "" : ", @ before that of a group");
        return ACCESS_WRONG;
    }
    if (r == 0 || r == -ENOMEM)
        return r;
    snprintf(why, why_size, "%s \"%s\" cannot be looked up: %s; a name service that answers, or a number", kind,
             name, strerror(-r));
    return ACCESS_UNCHECKED;
}

int access_find_group(const char *name, gid_t *ret, char *why, size_t why_size)
{
    return find(name, true, ret, why, why_size);
}

/* ---- lists ---------------------------------------------------------------------------------------------- */

static int add(uint32_t **set, size_t *count, uint32_t id)
{
    uint32_t *larger = realloc(*set, (*count + 1) * sizeof **set);
    if (!larger)
        return -ENOMEM;
    *set = larger;
    larger[(*count)++] = id;
    return 0;
}

_Static_assert(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t), "sets hold uint32_t");

static int resolve_word(struct access_list *list, const char *word, char *why, size_t why_size)
{
    bool group = word[0] == '@';
    uint32_t id = 0;
    int r = find(word + group, group, &id, why, why_size);
    if (r != 0)
        return r;
    return group ? add(&list->gids, &list->gid_count, id) : add(&list->uids, &list->uid_count, id);
}

int access_list_resolve(struct access_list *list, char *why, size_t why_size)
{
    int r = 0;
    for (const char *at = list->text; r == 0;) {
        char word[NAME_MAX_ + 2];
        at += strspn(at, SEPARATORS);
        size_t len = strcspn(at, SEPARATORS);
        if (len == 0)
            break;
        if (len >= sizeof word) {
            snprintf(why, why_size, "holds a name of more than %d bytes", NAME_MAX_);
            return ACCESS_WRONG;
        }
        memcpy(word, at, len);
        word[len] = '\0';
        at += len;
        r = resolve_word(list, word, why, why_size);
    }
    /* Nobody means "everybody" by writing something. */
    if (r == 0 && list->text[0] && access_list_is_open(list)) {
        snprintf(why, why_size, "names nobody; leave it empty for everybody");
        return ACCESS_WRONG;
    }
    return r;
}

void access_list_deinit(struct access_list *list)
{
    free(list->text);
    free(list->uids);
    free(list->gids);
    *list = (struct access_list){0};
}

static bool has(const uint32_t *set, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (set[i] == id)
            return true;
    return false;
}

bool access_list_has(const struct access_list *list, uid_t uid, gid_t gid, const gid_t *groups, size_t count)
{
    if (access_list_is_open(list) || has(list->uids, list->uid_count, uid) ||
        has(list->gids, list->gid_count, gid))
        return true;
    for (size_t i = 0; i < count; i++)
        if (has(list->gids, list->gid_count, groups[i]))
            return true;
    return false;
}
