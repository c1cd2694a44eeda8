#include "daemon/net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct listener {
    struct listener_config config;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    uv_poll_t poll;
    uv_timer_t pause;
    int fd, lock_fd, reserve_fd;
    bool owns_path; /* bound here, and not yet removed */
    dev_t dev;
    ino_t ino;
    bool stopped;
    unsigned open_handles;
    struct listener_counters counters;
};

static int unusable(char *error, size_t size, const char *what, const char *path, int err)
{
    if (err)
        snprintf(error, size, "%s %s: %s", what, path, strerror(err));
    else
        snprintf(error, size, "%s %s", what, path);
    return LISTENER_UNUSABLE;
}

static int take_lock(struct listener *l, char *error, size_t size)
{
    char path[sizeof(l->path) + sizeof(".lock")];

    snprintf(path, sizeof(path), "%s.lock", l->path);
    l->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->lock_fd < 0)
        return unusable(error, size,
                        errno == ENOENT ? "there is no folder for the socket: make it, or set [listen] socket:"
                                        : "cannot open the lock file",
                        path, errno);
    if (flock(l->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return unusable(error, size, "another dcached is running on this socket: it holds", path, 0);
        return unusable(error, size, "cannot lock", path, errno);
    }
    return 0;
}

static struct sockaddr_un address_of(const struct listener *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, l->path, sizeof(l->path));
    return address;
}

/* With the lock held: what stands at the path is of a killed daemon, or of somebody who knows no lock. */
static int remove_stale(struct listener *l, char *error, size_t size)
{
    struct sockaddr_un address = address_of(l);
    struct stat st;
    int fd, err = 0;

    if (lstat(l->path, &st) < 0)
        return errno == ENOENT ? 0 : unusable(error, size, "cannot look at", l->path, errno);
    if (!S_ISSOCK(st.st_mode))
        return unusable(error, size, "not a socket, and not removed:", l->path, 0);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unusable(error, size, "cannot make a socket for", l->path, errno);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        err = errno;
    close(fd);
    /* EAGAIN is a full backlog: somebody listens. */
    if (err == 0 || err == EAGAIN)
        return unusable(error, size, "another program answers on the socket", l->path, 0);
    if (err != ECONNREFUSED)
        return unusable(error, size, "cannot tell whether anything answers on", l->path, err);
    if (unlink(l->path) < 0)
        return unusable(error, size, "cannot remove the stale socket", l->path, errno);
    return 0;
}

static int bind_and_listen(struct listener *l, char *error, size_t size)
{
    struct sockaddr_un address = address_of(l);
    struct stat st;
    mode_t old_mask;
    int err;

    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return unusable(error, size, "cannot make a socket for", l->path, errno);
    old_mask = umask(0177);
    err = bind(l->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
    umask(old_mask);
    if (err)
        return unusable(error, size, "cannot bind", l->path, err);
    if (lstat(l->path, &st) == 0) {
        l->owns_path = true;
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    if (l->config.gid != (gid_t)-1 && lchown(l->path, (uid_t)-1, l->config.gid) < 0)
        return unusable(error, size, "cannot set the group of", l->path, errno);
    if (chmod(l->path, l->config.mode & 0777) < 0)
        return unusable(error, size, "cannot set the mode of", l->path, errno);
    if (listen(l->fd, LISTENER_BACKLOG) < 0)
        return unusable(error, size, "cannot listen on", l->path, errno);
    return 0;
}

static void on_pause_end(uv_timer_t *timer);
static void on_acceptable(uv_poll_t *poll, int status, int events);

/* No descriptor is left: without this the queue would stay readable and the loop would spin. */
static void pause_accepting(struct listener *l)
{
    int fd;

    l->counters.accept_pauses++;
    if (l->reserve_fd >= 0) {
        close(l->reserve_fd);
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
        l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    uv_poll_stop(&l->poll);
    uv_timer_start(&l->pause, on_pause_end, LISTENER_PAUSE_MS, 0);
}

static void on_pause_end(uv_timer_t *timer)
{
    struct listener *l = timer->data;

    if (l->stopped)
        return;
    if (l->reserve_fd < 0)
        l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < LISTENER_BURST && !l->stopped; i++) {
        struct peer peer = {.uid = (uid_t)-1, .gid = (gid_t)-1, .door = l->config.door};
        struct ucred cred;
        socklen_t len = sizeof(cred);
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                pause_accepting(l);
            else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                l->counters.accept_errors++;
            return;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
            peer = (struct peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid, .door = l->config.door};
        l->config.on_accept(l->config.ctx, fd, &peer);
    }
}

static int open_socket(struct listener *l, char *error, size_t size)
{
    int r;

    if (l->config.inherited_fd >= 0) {
        l->fd = l->config.inherited_fd;
        return 0;
    }
    if (strlen(l->config.path) >= sizeof(l->path))
        return unusable(error, size, "longer than 107 bytes, the longest a socket path can be:", l->config.path,
                        0);
    strcpy(l->path, l->config.path);
    r = take_lock(l, error, size);
    if (r == 0)
        r = remove_stale(l, error, size);
    if (r == 0)
        r = bind_and_listen(l, error, size);
    return r;
}

static void release(struct listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->reserve_fd >= 0)
        close(l->reserve_fd);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    free(l);
}

static void remove_path(struct listener *l)
{
    struct stat st;

    if (l->owns_path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->path);
    l->owns_path = false;
}

int listener_new(struct listener **ret, uv_loop_t *loop, const struct listener_config *config, char *error,
                 size_t error_size)
{
    struct listener *l = calloc(1, sizeof(*l));
    int r;

    if (!l)
        return -ENOMEM;
    l->config = *config;
    l->fd = l->lock_fd = -1;
    l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    r = open_socket(l, error, error_size);
    if (r == 0) {
        r = uv_poll_init(loop, &l->poll, l->fd);
        if (r < 0)
            r = unusable(error, error_size, "cannot poll", config->path, -r);
    }
    if (r != 0) {
        remove_path(l);
        release(l);
        return r;
    }
    uv_timer_init(loop, &l->pause);
    l->open_handles = 2;
    l->poll.data = l->pause.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
    *ret = l;
    return 0;
}

void listener_stop(struct listener *l)
{
    if (l->stopped)
        return;
    l->stopped = true;
    uv_poll_stop(&l->poll);
    uv_timer_stop(&l->pause);
    remove_path(l);
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;

    if (--l->open_handles == 0)
        release(l);
}

void listener_close(struct listener *l)
{
    if (!l)
        return;
    listener_stop(l);
    uv_close((uv_handle_t *)&l->poll, on_closed);
    uv_close((uv_handle_t *)&l->pause, on_closed);
}

void listener_get_counters(const struct listener *l, struct listener_counters *ret_counters)
{
    *ret_counters = l->counters;
}
