/*
 * Who may call what. The kernel noted user and groups of a client when it connected; they are compared with the
 * lists of [access] then and after every reload, and the answer is kept with the connection as one bit for each
 * class of methods. A request costs a look at that bit.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "daemon/wiring.h"

#define GROUPS_FIRST 64
#define GROUPS_MAX   65536 /* NGROUPS_MAX of Linux */

/* The supplementary groups; owned by the caller. NULL: none, or they cannot be had, which gives no right. */
static gid_t *groups_of(int fd, size_t *ret_count)
{
    socklen_t size = GROUPS_FIRST * sizeof(gid_t);
    gid_t *groups = NULL;

    *ret_count = 0;
    for (int i = 0; i < 2; i++) {
        gid_t *larger = realloc(groups, size);

        if (!larger)
            break;
        groups = larger;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
            *ret_count = size / sizeof(gid_t);
            return groups;
        }
        if (errno != ERANGE || size > GROUPS_MAX * sizeof(gid_t)) /* size: what is needed */
            break;
    }
    free(groups);
    return NULL;
}

static unsigned rights_of(const struct config *c, int fd, const struct peer *peer)
{
    const struct access_list *lists[CLASS_COUNT] = {
        [CLASS_read] = &c->access.read, [CLASS_write] = &c->access.write, [CLASS_admin] = &c->access.admin};
    unsigned rights = 1u << CLASS_open;
    bool by_group = false;
    size_t count = 0;
    gid_t *groups;

    for (unsigned i = CLASS_read; i < CLASS_COUNT; i++)
        by_group = by_group || lists[i]->gid_count > 0;
    groups = by_group ? groups_of(fd, &count) : NULL;
    for (unsigned i = CLASS_read; i < CLASS_COUNT; i++)
        if (access_list_has(lists[i], peer->uid, peer->gid, groups, count))
            rights |= 1u << i;
    free(groups);
    if (c->listen.admin_socket[0] && peer->door != DOOR_ADMIN)
        rights &= ~(1u << CLASS_admin);
    return rights;
}

void permit_client(struct daemon *d, uint64_t client)
{
    struct peer peer;
    int fd = connection_get_peer(d->conns, client, &peer);

    if (fd >= 0)
        connection_get_note(d->conns, client)->rights = rights_of(d->config, fd, &peer);
}

static void permit_again(void *ctx, uint64_t client)
{
    struct daemon *d = ctx;

    permit_client(d, client);
    if (!(connection_get_note(d->conns, client)->rights >> CLASS_read & 1))
        ops_client_unwatch(d->ops, client);
}

void permit_all(struct daemon *d)
{
    connections_each(d->conns, permit_again, d);
}

const char *permit_refuse(void *ctx, uint64_t client, enum proto_method method)
{
    static char text[256]; /* valid until the next call */
    struct daemon *d = ctx;
    enum proto_class class = proto_method_class(method);
    const char *admin_socket = d->config->listen.admin_socket;
    struct connection_note *note = connection_get_note(d->conns, client);
    struct peer peer = {0};

    if (!note)
        return "the client is gone";
    note->method = method;
    if (note->rights >> class & 1)
        return NULL;
    connection_get_peer(d->conns, client, &peer);
    if (class == CLASS_admin && admin_socket[0] && peer.door != DOOR_ADMIN)
        snprintf(text, sizeof(text), "%s is for administration: call it on %s", proto_method_name(method),
                 admin_socket);
    else
        snprintf(text, sizeof(text), "uid %u may not %s: neither it nor a group of it is in [access] %s",
                 (unsigned)peer.uid, proto_method_name(method), proto_class_name(class));
    log_event(d->log, daemon_clock(), LOG_LEVEL_WARNING, "request denied",
              LOG_TEXT("method", proto_method_name(method)), LOG_UINT("uid", peer.uid), LOG_UINT("gid", peer.gid),
              LOG_INT("pid", peer.pid), LOG_TEXT("needs", proto_class_name(class)), LOG_TEXT("cause", text));
    return text;
}
