/*
 * The daemon: builds everything from the configuration, wires net, redis, ops and core to one loop, and runs
 * until SIGTERM or SIGINT. The only place where they meet.
 */
#ifndef DCACHED_DAEMON_H
#define DCACHED_DAEMON_H

#include "daemon/host/config.h"
#include "daemon/host/log.h"
#include "daemon/host/notify.h"

enum {
    DAEMON_OK = 0,
    DAEMON_FAILED = 1, /* could not start; one line of the log says why */
};

struct daemon;

/*
 * All three outlive the daemon. It listens when this returns DAEMON_OK, and answers (refusing) while Redis is
 * absent. DAEMON_FAILED leaves nothing behind.
 */
int daemon_new(struct daemon **ret, struct config *config, struct log *log, struct notify *notify);
/*
 * Serves until SIGTERM or SIGINT. The stop is graceful: nothing more is accepted, what is in flight is answered
 * within 2 s, the socket is removed. False: all of that is done, and a thread still looks up a name or reads the
 * configuration, which nothing can end.
 */
bool daemon_serve(struct daemon *daemon);
/* Closes what is still open at once, without an answer to anybody, waits for threads, and frees everything.
 * Returns NULL. */
struct daemon *daemon_free(struct daemon *daemon);

/* All of it. DAEMON_OK after a graceful stop, but the process exits with 0 from here if a thread hangs. SIGHUP
 * reads `source` anew and changes config and log; it outlives the daemon too. */
int daemon_run(struct config *config, const struct config_source *source, struct log *log, struct notify *notify);

#endif
