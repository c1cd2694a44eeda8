/*
 * What systemd passes by environment: the notification socket (sd_notify), the watchdog and the listening
 * socket of socket activation. Without systemd every call does nothing.
 *
 * Sends never block; a notification that the socket does not take is dropped (the watchdog one comes again).
 */
#ifndef DCACHED_HOST_NOTIFY_H
#define DCACHED_HOST_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    int fd; /* -1: nobody to notify */
    struct sockaddr_un addr;
    socklen_t addr_len;
    uint64_t watchdog_ns; /* send notify_watchdog at half of this; 0: no watchdog is wanted */
};

/*
 * Reads $NOTIFY_SOCKET (a path, or @name for an abstract socket), $WATCHDOG_USEC and $WATCHDOG_PID. 0, or -errno
 * for an address that is set but unusable; the struct is then as without systemd.
 */
int notify_init(struct notify *notify);
void notify_deinit(struct notify *notify);

/* status may be NULL. Control bytes in it become blanks; it is cut at 512 bytes. */
void notify_ready(struct notify *notify, const char *status);
void notify_status(struct notify *notify, const char *status);
void notify_stopping(struct notify *notify, const char *status);
void notify_watchdog(struct notify *notify);

/*
 * The listening stream socket handed over by systemd ($LISTEN_PID, $LISTEN_FDS), close-on-exec set. -ENOENT: none;
 * -EINVAL: more than one, or not a listening Unix stream socket.
 */
int notify_listen_fd(void);

#endif
