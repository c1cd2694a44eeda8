/* In place of the HTTP side where the daemon is built without libmicrohttpd. */
#include <stdio.h>

#include "daemon/metrics/metrics.h"

int metrics_new(struct metrics **ret, uv_loop_t *loop, const struct metrics_config *config, char *error,
                size_t error_size)
{
    (void)ret, (void)loop, (void)config;
    snprintf(error, error_size,
             "[metrics] listen: this dcached was built without libmicrohttpd; an empty one, or a build with it");
    return METRICS_UNUSABLE;
}

void metrics_close(struct metrics *metrics)
{
    (void)metrics;
}
