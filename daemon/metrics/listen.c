#include "daemon/metrics/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(int fd, const char *what, const char *why, char *error, size_t size)
{
    snprintf(error, size, "[metrics] listen: %s: %s; another address, or an empty one for none", what, why);
    if (fd >= 0)
        close(fd);
    return -1;
}

static int listen_at(int fd, const struct sockaddr *address, socklen_t len)
{
    return bind(fd, address, len) < 0 || listen(fd, HTTP_BACKLOG) < 0 ? -errno : 0;
}

/* ---- TCP -------------------------------------------------------------------------------------------------- */

/* 0, or -errno with *ret_fd closed. */
static int listen_address(const struct addrinfo *a, int *ret_fd)
{
    int on = 1, off = 0, r;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* At boot the network may give this machine the address later. */
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
    if (a->ai_family == AF_INET6) /* every interface means IPv4, too */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    r = listen_at(fd, a->ai_addr, a->ai_addrlen);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

static int listen_tcp(const struct metrics_config *config, char *error, size_t size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    /* Every interface: [::], which takes IPv4 as well; 0.0.0.0 where there is no IPv6. */
    const char *const every[] = {"::", "0.0.0.0"};
    const char *const named[] = {config->host};
    const char *const *hosts = config->host ? named : every;
    unsigned count = config->host ? 1 : 2;
    char port[8];
    int r = 0, fd = -1;

    snprintf(port, sizeof(port), "%u", config->port);
    for (unsigned i = 0; i < count && fd < 0; i++) {
        struct addrinfo *found = NULL;
        int unresolved = getaddrinfo(hosts[i], port, &hints, &found);

        if (unresolved != 0)
            return fail(-1, hosts[i], gai_strerror(unresolved), error, size);
        for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
            r = listen_address(a, &fd);
        freeaddrinfo(found);
    }
    return fd >= 0 ? fd : fail(-1, port, strerror(-r), error, size);
}

/* ---- Unix ------------------------------------------------------------------------------------------------- */

/* True: nothing is at the path now. */
static bool path_cleared(const struct sockaddr_un *address)
{
    struct stat st;
    int probe, r;

    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT;
    if (!S_ISSOCK(st.st_mode))
        return false;
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return false;
    r = connect(probe, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
    close(probe);
    return r == ECONNREFUSED && unlink(address->sun_path) == 0;
}

static int listen_unix(const struct metrics_config *config, char *error, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = config->unix_path;
    mode_t mask;
    int fd, r;

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    if (!path_cleared(&address))
        return fail(-1, path, "something is there already", error, size);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(-1, path, strerror(errno), error, size);
    /* Before listen nobody can connect, so the mode is there in time. */
    mask = umask(0777);
    r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
    umask(mask);
    if (r != 0)
        return fail(fd, path, strerror(r), error, size);
    if ((config->gid != (gid_t)-1 && chown(path, (uid_t)-1, config->gid) < 0) || chmod(path, config->mode) < 0 ||
        listen(fd, HTTP_BACKLOG) < 0) {
        r = errno;
        unlink(path);
        return fail(fd, path, strerror(r), error, size);
    }
    return fd;
}

int metrics_listen(const struct metrics_config *config, char *error, size_t error_size)
{
    return config->unix_path ? listen_unix(config, error, error_size) : listen_tcp(config, error, error_size);
}
