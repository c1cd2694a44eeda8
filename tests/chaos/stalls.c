/*
 * The stall monitor: a stream of ticks that say for how long daemons, links and Redis were ready to run and got no
 * CPU, and for how long the machine as a whole stood still, told by wake-ups of its own that came late.
 *
 *     chaos-stalls --history DIR --name N
 *
 * Standard input has lines "SLOT POD PID": the process of that slot (a number below 64) is now PID and works for
 * pod POD; POD "redis": for all. It ends with its input.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/chaos/history.h"
#include "tests/chaos/schedstat.h"

#define SLOTS   64
#define LOOK_NS UINT64_C(10000000)
#define NAP_NS  UINT64_C(2000000)
#define LATE_NS UINT64_C(2000000) /* less is how timers are. Picked */

struct slot {
    int fd; /* 0: none */
    enum stall_of of;
    unsigned pod;
    uint64_t waited;
    bool used; /* before: what its next process waits for counts from its beginning */
};

struct monitor {
    struct history_writer history;
    struct slot slots[SLOTS];
    uint64_t machine; /* late wake-ups since the last look */
};

static void tick(struct monitor *m, enum stall_of of, unsigned pod, uint64_t ns)
{
    history_write(&m->history,
                  (struct history_record){.time = history_now(),
                                          .what = ns,
                                          .key = (uint16_t)of,
                                          .kind = HISTORY_TICK,
                                          .pod_flags = (uint8_t)pod},
                  NULL);
}

static void slot_look(struct monitor *m, struct slot *s)
{
    uint64_t waited;

    if (s->fd <= 0)
        return;
    if (!schedstat_read(s->fd, &waited)) {
        close(s->fd);
        s->fd = 0;
        return;
    }
    if (waited > s->waited)
        tick(m, s->of, s->pod, waited - s->waited);
    s->waited = waited;
}

static void look(struct monitor *m)
{
    for (int i = 0; i < SLOTS; i++)
        slot_look(m, &m->slots[i]);
    tick(m, STALL_MACHINE, 0, m->machine);
    m->machine = 0;
}

static bool line_apply(struct monitor *m, const char *line)
{
    unsigned slot;
    char pod[16];
    int pid;
    struct slot *s;

    if (sscanf(line, "%u %15s %d", &slot, pod, &pid) != 3 || slot >= SLOTS || pid <= 0)
        return false;
    s = &m->slots[slot];
    slot_look(m, s);
    if (s->fd > 0)
        close(s->fd);
    s->fd = schedstat_open(pid);
    s->of = strcmp(pod, "redis") == 0 ? STALL_REDIS : STALL_POD;
    s->pod = (unsigned)atoi(pod) % PODS_MAX;
    s->waited = 0;
    if (!s->used && s->fd > 0)
        schedstat_read(s->fd, &s->waited);
    s->used = true;
    return true;
}

/* False: the end of the input. */
static bool input_read(struct monitor *m)
{
    static char buffer[4096];
    static size_t len;
    struct pollfd fd = {.fd = 0, .events = POLLIN};
    char *end;
    ssize_t n;

    if (poll(&fd, 1, 0) <= 0)
        return true;
    n = read(0, buffer + len, sizeof(buffer) - 1 - len);
    if (n <= 0)
        return false;
    len += (size_t)n;
    buffer[len] = '\0';
    while ((end = strchr(buffer, '\n'))) {
        *end = '\0';
        if (!line_apply(m, buffer))
            fprintf(stderr, "chaos-stalls: not understood: %s\n", buffer);
        len -= (size_t)(end + 1 - buffer);
        memmove(buffer, end + 1, len + 1);
    }
    return true;
}

static void nap(struct monitor *m)
{
    uint64_t before = history_now(), took;
    struct timespec t = {.tv_nsec = NAP_NS};

    nanosleep(&t, NULL);
    took = history_now() - before;
    if (took > NAP_NS + LATE_NS)
        m->machine += took - NAP_NS;
}

int main(int argc, char **argv)
{
    static struct monitor m;
    struct sched_param preferred = {.sched_priority = 2};
    uint64_t looked = history_now();
    int r;

    if (argc != 5 || strcmp(argv[1], "--history") != 0 || strcmp(argv[3], "--name") != 0) {
        fprintf(stderr, "chaos-stalls: --history DIR --name N; see tests/chaos/README.md\n");
        return 2;
    }
    /* Where it is permitted it goes before what it watches, and sees the machine alone. */
    sched_setscheduler(0, SCHED_RR, &preferred);
    r = history_writer_open(&m.history, argv[2], (unsigned)atoi(argv[4]) % 16, 0);
    if (r < 0) {
        fprintf(stderr, "chaos-stalls: %s: %s\n", argv[2], strerror(-r));
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    while (input_read(&m)) {
        nap(&m);
        if (history_now() - looked < LOOK_NS)
            continue;
        looked = history_now();
        look(&m);
    }
    history_writer_close(&m.history);
    return 0;
}
