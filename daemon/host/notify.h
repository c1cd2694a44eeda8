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

#define NOTIFY_STATUS_MAX 512
#define NOTIFY_PERIOD_NS  UINT64_C(1000000000) /* least time between two changes of the status; picked */

struct notify {
    int fd; /* -1: nobody to notify */
    struct sockaddr_un addr;
    socklen_t addr_len;
    uint64_t watchdog_ns; /* without a notify_watchdog for so long we are killed; 0: no watchdog is wanted */
    uint64_t status_at;
    char status[NOTIFY_STATUS_MAX + 1]; /* as last sent */
};

/*
 * Reads $NOTIFY_SOCKET (a path, or @name for an abstract socket), $WATCHDOG_USEC and $WATCHDOG_PID. 0, or -errno
 * for an address that is set but unusable; the struct is then as without systemd.
 */
int notify_init(struct notify *notify);
void notify_deinit(struct notify *notify);

/* status may be NULL. Control bytes in it become blanks; it is cut at NOTIFY_STATUS_MAX bytes. */
void notify_ready(struct notify *notify, const char *status);
/* The configuration is being read anew; notify_ready ends it. */
void notify_reloading(struct notify *notify);
void notify_stopping(struct notify *notify, const char *status);
/* Sent if it differs from what was sent last, and that was NOTIFY_PERIOD_NS ago; call it again otherwise. */
void notify_status(struct notify *notify, const char *status, uint64_t now);
void notify_watchdog(struct notify *notify);

/*
 * The listening stream socket handed over by systemd ($LISTEN_PID, $LISTEN_FDS), close-on-exec set. -ENOENT: none;
 * -EINVAL: more than one, or not a listening Unix stream socket. `ret` is its address.
 */
int notify_listen_fd(struct sockaddr_un *ret);

#endif
