/* The listening socket of metrics: TCP, or a Unix socket that is never connectable outside its mode. */
#ifndef DCACHED_METRICS_LISTEN_H
#define DCACHED_METRICS_LISTEN_H

#include "daemon/metrics/metrics.h"

/*
 * A descriptor that listens, non-blocking, close-on-exec; -1: `error` says why in one sentence. A Unix socket that
 * nothing answers on is replaced; anything else at its path is an error. Names are resolved at once, by waiting.
 */
int metrics_listen(const struct metrics_config *config, char *error, size_t error_size);

#endif
