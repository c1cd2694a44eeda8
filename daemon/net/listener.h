/*
 * The listening Unix socket: one daemon per path, never connectable outside its mode.
 *
 * Order at start: lock, look at what is there, umask, bind, chgrp, chmod, listen. `<socket>.lock` is held with
 * flock for the life of the process and stays behind as a file; the kernel drops the lock of a killed daemon. A
 * socket file that nothing answers on is removed, anything else that stands at the path is an error. At the
 * end the path is removed only if it is still the socket made here.
 *
 * No descriptors left (EMFILE, ENFILE): the client at the head of the queue is accepted with a descriptor kept
 * in reserve and closed at once, then accepting pauses for LISTENER_PAUSE_MS (counter accept_pauses).
 */
#ifndef DCACHED_NET_LISTENER_H
#define DCACHED_NET_LISTENER_H

#include <sys/types.h>
#include <uv.h>

#define LISTENER_PAUSE_MS 100 /* picked */
#define LISTENER_BACKLOG  1024
#define LISTENER_BURST    64 /* connections accepted in one loop turn; picked */

struct listener;

/* Who is at the other end, by SO_PEERCRED when it connected. pid 0: of another namespace; never a proof. */
#define CONNECTION_DOORS 2

struct peer {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    unsigned door; /* of the listener it came through, below CONNECTION_DOORS */
};

struct listener_config {
    const char *path; /* absolute, <= 107 bytes */
    unsigned mode;    /* permission bits */
    gid_t gid;        /* (gid_t)-1: leave it */
    unsigned door;    /* what peers are told apart by; the owner's number */
    int inherited_fd; /* a listening socket that was handed over (it and its path are left alone); -1: none */

    /* The descriptor (non-blocking, close-on-exec) belongs to the receiver. */
    void (*on_accept)(void *ctx, int fd, const struct peer *peer);
    void *ctx;
};

struct listener_counters {
    uint64_t accept_pauses; /* times no descriptor was left */
    uint64_t accept_errors; /* other failures of accept */
};

enum {
    LISTENER_OK = 0,
    LISTENER_UNUSABLE = 1, /* error says why, in one sentence: cause and remedy */
};

/* Listens when it returns LISTENER_OK. LISTENER_UNUSABLE or -ENOMEM otherwise. */
int listener_new(struct listener **ret, uv_loop_t *loop, const struct listener_config *config, char *error,
                 size_t error_size);
/* Accepts no more, and removes the path. Can be called twice. */
void listener_stop(struct listener *listener);
/* Stops and lets the lock go; frees itself once the loop has closed its handles. NULL is fine. */
void listener_close(struct listener *listener);
void listener_get_counters(const struct listener *listener, struct listener_counters *ret_counters);

#endif
