/*
 * Who may do what: the lists of `[access]`, resolved to numbers when the configuration is loaded, so that nobody's
 * name is looked up while clients wait.
 *
 * A list names users and groups, separated by commas or blanks: NAME or number is a user, @NAME or @number a
 * group. An empty list is everybody who can connect. The lists are independent of one another, and nobody is
 * exempt, root included.
 */
#ifndef DCACHED_HOST_ACCESS_H
#define DCACHED_HOST_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What SO_PEERCRED says of processes that have no number in this user namespace: no proof of who it is. */
#define ACCESS_UNMAPPED 65534

struct access_list {
    char *text;  /* as written */
    uid_t *uids; /* the sets are NULL when empty */
    size_t uid_count;
    gid_t *gids;
    size_t gid_count;
};

/* Looking up users and groups, which may block: 0, -ENOMEM, or one of these, and `why` says it in words. */
enum {
    ACCESS_WRONG = 1,     /* there is none of that name, or it cannot be one */
    ACCESS_UNCHECKED = 2, /* the name service failed */
};

/* Derives the sets from list->text. */
int access_list_resolve(struct access_list *list, char *why, size_t why_size);
void access_list_deinit(struct access_list *list);

static inline bool access_list_is_open(const struct access_list *list)
{
    return list->uid_count + list->gid_count == 0;
}

/* gid: the primary group; groups: the supplementary ones. */
bool access_list_has(const struct access_list *list, uid_t uid, gid_t gid, const gid_t *groups, size_t count);

/* A group by name or number. */
int access_find_group(const char *name, gid_t *ret, char *why, size_t why_size);

#endif
