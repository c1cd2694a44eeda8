#include "tests/bench/load_cpu.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static int thread_add(const char *folder, const char *thread, struct cpu_use *use)
{
    uint64_t run, wait;
    char path[320];
    FILE *file;
    int fields;

    snprintf(path, sizeof path, "%s/%s/schedstat", folder, thread);
    file = fopen(path, "r");
    if (!file)
        return -errno;
    fields = fscanf(file, "%" SCNu64 " %" SCNu64, &run, &wait);
    fclose(file);
    if (fields != 2)
        return -EIO;
    use->run_ns += run;
    use->wait_ns += wait;
    return 0;
}

int cpu_use_read(pid_t pid, struct cpu_use *ret_use)
{
    char folder[48];
    struct dirent *thread;
    DIR *threads;
    int r = 0;

    *ret_use = (struct cpu_use){0};
    snprintf(folder, sizeof folder, "/proc/%d/task", (int)pid);
    threads = opendir(folder);
    if (!threads)
        return -errno;
    while (r == 0 && (thread = readdir(threads)))
        if (thread->d_name[0] != '.')
            r = thread_add(folder, thread->d_name, ret_use);
    closedir(threads);
    return r;
}
