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

/*
 * All three outlive the call. Listens as soon as possible, and answers (refusing) while Redis is absent. Returns
 * DAEMON_OK after a graceful stop: nothing more is accepted, what is in flight is answered within 2 s, the
 * socket is removed.
 */
int daemon_run(const struct config *config, struct log *log, struct notify *notify);

#endif
