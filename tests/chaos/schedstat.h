/* The kernel's account of how long a thread or process was ready to run and got no CPU. */
#ifndef DCACHED_CHAOS_SCHEDSTAT_H
#define DCACHED_CHAOS_SCHEDSTAT_H

#include <stdbool.h>
#include <stdint.h>

/* pid 0: of the calling thread; otherwise of the first thread of that process. A descriptor, or -errno. */
int schedstat_open(int pid);
/* Since it began, in ns. False: it is gone, or the kernel does not say. */
bool schedstat_read(int fd, uint64_t *ret_waited_ns);

#endif
