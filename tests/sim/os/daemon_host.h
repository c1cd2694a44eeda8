/*
 * A process that runs the real daemon (daemon/daemon.h). Started, stopped, resumed, killed and started again by
 * the functions of os.h on its process; SIGTERM ends it gracefully.
 */
#ifndef DCACHED_SIM_DAEMON_HOST_H
#define DCACHED_SIM_DAEMON_HOST_H

#include "daemon/core/core.h"
#include "daemon/host/config.h"
#include "tests/sim/os/os.h"

struct daemon_host;

/*
 * Small budgets (a start has to be cheap), D = 1 s, a writer, Redis at "redis:6379", no socket. The texts are
 * literals: replace pointers, do not free. The socket is any path: names among simulated processes.
 */
void daemon_config_default(struct config *ret);

/* Not started. *config and the texts in it are the caller's and outlive the world. */
struct daemon_host *daemon_host_new(struct os *os, const char *name, struct config *config,
                                    int64_t boottime_offset_ns);
struct os_process *daemon_host_process(struct daemon_host *host);

/* Of the daemon that runs now; false: none does. For reading alone, from outside of every process. */
bool daemon_host_counters(const struct daemon_host *host, struct core_counters *ret);
bool daemon_host_status(const struct daemon_host *host, struct core_status *ret);
/* How often it was started, and how often its main returned without being asked or killed: that is a failure. */
unsigned daemon_host_starts(const struct daemon_host *host);
unsigned daemon_host_failures(const struct daemon_host *host);

#endif
