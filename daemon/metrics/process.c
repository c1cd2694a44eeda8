#include "daemon/metrics/process.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static uint64_t resident_bytes(void)
{
    unsigned long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void process_look(struct process_status *ret)
{
    struct timespec cpu = {0};

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    ret->resident_bytes = resident_bytes();
    ret->cpu_ns = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
}
