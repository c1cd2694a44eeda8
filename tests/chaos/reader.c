/*
 * One application that reads one key as fast as it can, and says what it was handed over and when.
 *
 *     reader SOCKET KEY [DEPTH [PAUSE_US [TIMEOUT_MS]]]
 *
 * DEPTH gets are under way at a time (1); PAUSE_US is slept after each turn (0). `started` is written at the first
 * value, and with depth 1 a line whenever what is read changes:
 *
 *     begin RESULT HOW VERSION VALUE INVOKED RETURNED
 *     end COUNT INVOKED RETURNED              of the last get of what began before
 *
 * HOW is `hit` where the proof is older than the call, so that the pod's cache has answered, and `asked` where
 * Redis was asked for it. VALUE is its text up to the first blank, `-` if there is none. Times are CLOCK_BOOTTIME
 * in ns. When standard input ends:
 *
 *     total READS OK MAX_AGE OVERDUE MAX_GAP
 *
 * MAX_AGE is the largest age the library named for a fresh value. OVERDUE is the largest age that such a value
 * had already *before* the library was called to hand it over, by the clock of this program: whatever the
 * library says of itself, it must not be above D. MAX_GAP is the longest time between two answers.
 */
#include <dcache/client.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 256
#define VALUE_MAX 64

struct slot {
    struct reader *reader;
    uint64_t invoked;
    int busy;
};

struct reader {
    dcache *cache;
    const char *key;
    dcache_read_options options;
    unsigned depth;
    struct slot slots[DEPTH_MAX];
    uint64_t before; /* when dcache_process was called */
    /* what is read now */
    int result;
    uint64_t as_of, version, count, last_invoked, last_returned;
    char value[VALUE_MAX];
    /* of all */
    uint64_t reads, good, max_age, overdue, max_gap;
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void value_text(const dcache_reading *reading, char *ret)
{
    size_t len = 0;
    const char *value = reading->value;

    while (len < reading->value_len && len < VALUE_MAX - 1 && value[len] > ' ' && value[len] < 127)
        len++;
    if (len == 0) {
        strcpy(ret, "-");
        return;
    }
    memcpy(ret, value, len);
    ret[len] = '\0';
}

static void end_run(const struct reader *r)
{
    if (r->count > 0)
        printf("end %llu %llu %llu\n", (unsigned long long)r->count, (unsigned long long)r->last_invoked,
               (unsigned long long)r->last_returned);
}

static int run_goes_on(const struct reader *r, const dcache_reading *reading, const char *value)
{
    return r->count > 0 && reading->result == r->result && reading->version == r->version &&
           (reading->result < 0 || reading->as_of_ns == r->as_of) && strcmp(value, r->value) == 0;
}

static void take_run(struct reader *r, const dcache_reading *reading, uint64_t invoked, uint64_t returned)
{
    char value[VALUE_MAX];

    value_text(reading, value);
    if (!run_goes_on(r, reading, value)) {
        end_run(r);
        r->result = reading->result;
        r->as_of = reading->as_of_ns;
        r->version = reading->version;
        strcpy(r->value, value);
        r->count = 0;
        printf("begin %d %llu %llu %s %llu %llu\n", r->result, (unsigned long long)r->as_of,
               (unsigned long long)r->version, value, (unsigned long long)invoked, (unsigned long long)returned);
    } else if (r->count == 1) {
        printf("hit %llu\n", (unsigned long long)returned);
    }
    fflush(stdout);
    r->count++;
}

static void on_reading(void *ctx, const dcache_reading *reading)
{
    struct slot *slot = ctx;
    struct reader *r = slot->reader;
    uint64_t returned = now_ns();

    slot->busy = 0;
    r->reads++;
    if (r->last_returned && returned - r->last_returned > r->max_gap)
        r->max_gap = returned - r->last_returned;
    if (reading->result == DCACHE_OK) {
        if (r->good++ == 0) {
            printf("started\n");
            fflush(stdout);
        }
        if (reading->age_ns > r->max_age)
            r->max_age = reading->age_ns;
        if (r->before > reading->as_of_ns && r->before - reading->as_of_ns > r->overdue)
            r->overdue = r->before - reading->as_of_ns;
    }
    if (r->depth == 1)
        take_run(r, reading, slot->invoked, returned);
    r->last_invoked = slot->invoked;
    r->last_returned = returned;
}

static void ask(struct reader *r)
{
    for (unsigned i = 0; i < r->depth; i++) {
        struct slot *slot = &r->slots[i];

        if (slot->busy)
            continue;
        slot->invoked = now_ns();
        if (dcache_get_async(r->cache, r->key, strlen(r->key), &r->options, on_reading, slot) != DCACHE_OK)
            continue;
        slot->busy = 1;
    }
}

/* False when standard input has ended. */
static int turn(struct reader *r, unsigned pause_us)
{
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = dcache_fd(r->cache), .events = dcache_events(r->cache)}};
    int timeout_ms = dcache_timeout_ms(r->cache);

    poll(fds, fds[1].fd < 0 ? 1 : 2, timeout_ms < 0 || timeout_ms > 100 ? 100 : timeout_ms);
    if (fds[0].revents)
        return 0;
    r->before = now_ns();
    dcache_process(r->cache);
    if (pause_us > 0)
        usleep(pause_us);
    return 1;
}

int main(int argc, char **argv)
{
    static struct reader r;
    dcache_options options = {.size = sizeof(options), .name = "reader"};
    unsigned pause_us = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;

    if (argc < 3) {
        fprintf(stderr, "usage: reader SOCKET KEY [DEPTH [PAUSE_US [TIMEOUT_MS]]]\n");
        return 2;
    }
    options.socket = argv[1];
    options.timeout_ms = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 0;
    r.key = argv[2];
    r.depth = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;
    if (r.depth < 1 || r.depth > DEPTH_MAX || dcache_open(&r.cache, &options) != DCACHE_OK) {
        fprintf(stderr, "reader: a depth of 1 to %d and a socket, please\n", DEPTH_MAX);
        return 2;
    }
    r.options.size = sizeof(r.options);
    for (unsigned i = 0; i < r.depth; i++)
        r.slots[i].reader = &r;
    do
        ask(&r);
    while (turn(&r, pause_us));
    end_run(&r);
    printf("total %llu %llu %llu %llu %llu\n", (unsigned long long)r.reads, (unsigned long long)r.good,
           (unsigned long long)r.max_age, (unsigned long long)r.overdue, (unsigned long long)r.max_gap);
    dcache_close(r.cache);
    return 0;
}
