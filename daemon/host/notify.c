#include "daemon/host/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A decimal number without sign, blank or rest; -1 otherwise. */
static int64_t parse_number(const char *text)
{
    if (!text || text[0] < '0' || text[0] > '9')
        return -1;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    return errno || *end ? -1 : number;
}

static uint64_t watchdog_from_env(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    if (pid && parse_number(pid) != getpid())
        return 0;
    int64_t usec = parse_number(getenv("WATCHDOG_USEC"));
    return usec > 0 && usec < INT64_MAX / 1000 ? (uint64_t)usec * 1000 : 0;
}

static int address_of(struct notify *notify, const char *path)
{
    size_t len = strlen(path);
    if (path[0] != '/' && path[0] != '@')
        return -EINVAL;
    if (len < 2)
        return -EINVAL;
    if (len >= sizeof notify->addr.sun_path)
        return -ENAMETOOLONG;
    notify->addr.sun_family = AF_UNIX;
    memcpy(notify->addr.sun_path, path, len);
    notify->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (path[0] == '@')
        notify->addr.sun_path[0] = '\0'; /* abstract; the length says where a name ends, no NUL does */
    return 0;
}

int notify_init(struct notify *notify)
{
    memset(notify, 0, sizeof *notify);
    notify->fd = -1;
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || !*path)
        return 0;
    int r = address_of(notify, path);
    if (r < 0)
        return r;
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->fd < 0)
        return -errno;
    notify->watchdog_ns = watchdog_from_env();
    return 0;
}

void notify_deinit(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
    notify->watchdog_ns = 0;
}

static void send_state(struct notify *notify, const char *state, const char *status)
{
    if (notify->fd < 0)
        return;
    char message[NOTIFY_STATUS_MAX + 64];
    int len = snprintf(message, sizeof message, "%s%s%.*s", state, status ? "STATUS=" : "", NOTIFY_STATUS_MAX,
                       status ? status : "");
    for (char *c = message + strlen(state); *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    int saved_errno = errno;
    sendto(notify->fd, message, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&notify->addr,
           notify->addr_len);
    errno = saved_errno;
}

void notify_ready(struct notify *notify, const char *status)
{
    /* Whatever notify_status sent before no longer stands there. */
    if (status)
        snprintf(notify->status, sizeof notify->status, "%s", status);
    send_state(notify, "READY=1\n", status);
}

void notify_status(struct notify *notify, const char *status, uint64_t now)
{
    bool early = notify->status_at > 0 && now - notify->status_at < NOTIFY_PERIOD_NS;
    if (notify->fd < 0 || early || strncmp(status, notify->status, NOTIFY_STATUS_MAX) == 0)
        return;
    snprintf(notify->status, sizeof notify->status, "%s", status);
    notify->status_at = now;
    send_state(notify, "", notify->status);
}

void notify_reloading(struct notify *notify)
{
    struct timespec now; /* the clock that systemd compares */
    char state[64];
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
             (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    send_state(notify, state, NULL);
}

void notify_stopping(struct notify *notify, const char *status)
{
    send_state(notify, "STOPPING=1\n", status);
}

void notify_watchdog(struct notify *notify)
{
    if (notify->watchdog_ns)
        send_state(notify, "WATCHDOG=1\n", NULL);
}

int notify_listen_fd(struct sockaddr_un *ret)
{
    enum { FIRST_FD = 3 }; /* by the protocol of socket activation */
    if (parse_number(getenv("LISTEN_PID")) != getpid())
        return -ENOENT;
    int64_t count = parse_number(getenv("LISTEN_FDS"));
    if (count == 0)
        return -ENOENT;
    if (count != 1)
        return -EINVAL;

    *ret = (struct sockaddr_un){.sun_family = AF_UNSPEC};
    socklen_t addr_len = sizeof *ret;
    int type = 0, listening = 0;
    socklen_t type_len = sizeof type, listening_len = sizeof listening;
    if (getsockname(FIRST_FD, (struct sockaddr *)ret, &addr_len) < 0 || ret->sun_family != AF_UNIX ||
        getsockopt(FIRST_FD, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 || type != SOCK_STREAM ||
        getsockopt(FIRST_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_len) < 0 || !listening)
        return -EINVAL;
    if (fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return FIRST_FD;
}
