/* What the kernel says of this process. */
#ifndef DCACHED_METRICS_PROCESS_H
#define DCACHED_METRICS_PROCESS_H

#include "daemon/metrics/metrics.h"

/* started_ms is left alone. What cannot be read is 0. */
void process_look(struct process_status *ret);

#endif
