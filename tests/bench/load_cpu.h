/*
 * What a process has used of the CPUs, to the nanosecond, from /proc/PID/task/TID/schedstat.
 */
#ifndef DCACHED_BENCH_LOAD_CPU_H
#define DCACHED_BENCH_LOAD_CPU_H

#include <stdint.h>
#include <sys/types.h>

struct cpu_use {
    uint64_t run_ns;  /* on a CPU; what runs at this moment is behind by up to a timer tick */
    uint64_t wait_ns; /* ready to run, and not on a CPU */
};

/* All threads together. 0, or -errno. */
int cpu_use_read(pid_t pid, struct cpu_use *ret_use);

#endif
