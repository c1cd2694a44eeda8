/*
 * Is the process at the other end one that may serve this client? Whoever can put a socket where a client looks
 * could otherwise hand it any value.
 *
 * The kernel says as which user the socket was made to listen (SO_PEERCRED). With a wanted uid it has to be that
 * one. Otherwise it is trusted if it is
 *   - root (systemd listens for an activated daemon), or the client's own user; or
 *   - the owner of the socket's directory; or
 *   - the owner of the socket, unless the directory is one like /tmp, where everybody may make names (sticky bit).
 * In a directory that everybody may write to and that is not sticky (a volume that the containers of a pod share)
 * whoever can write there is trusted: name the uid where that is too much.
 */
#ifndef DCACHE_SERVER_H
#define DCACHE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SERVER_UID_ANY ((uid_t)-1) /* nothing is wanted: the rule above */

/* False: `text` says who it is and who it should be. */
bool server_is_trusted(int fd, const char *socket, uid_t wanted, char *text, size_t text_size);

#endif
