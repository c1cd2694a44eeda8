#include "tests/chaos/schedstat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

int schedstat_open(int pid)
{
    char path[64] = "/proc/thread-self/schedstat";
    int fd;

    if (pid)
        snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

bool schedstat_read(int fd, uint64_t *ret_waited_ns)
{
    char text[96];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

    if (n <= 0)
        return false;
    text[n] = '\0';
    return sscanf(text, "%*u %" SCNu64, ret_waited_ns) == 1;
}
