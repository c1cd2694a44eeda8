/*
 * One server under load: connections to its Unix socket, requests built beforehand, answers checked.
 *
 * It knows no protocol. All requests of a target have the same length and are asked for in the order of their
 * file, each connection beginning at another place. The first answer says how long an answer is and how it
 * begins; from then on every answer has to be like it.
 */
#ifndef DCACHED_BENCH_LOAD_TARGET_H
#define DCACHED_BENCH_LOAD_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/bench/load_cpu.h"
#include "tests/bench/load_histogram.h"

#define LOAD_CONNECTIONS_MAX 256

struct load_link {
    int fd;
    size_t next;      /* request to begin the next burst with */
    size_t received;  /* bytes of the burst that is under way */
    uint64_t sent_ns; /* when that burst was sent */
    uint8_t *answers;
};

struct load_target {
    /* Set before load_target_init; the strings stay the caller's. */
    const char *name, *socket, *requests_path;
    pid_t pid; /* whose CPU time is measured */
    size_t request_bytes;
    unsigned depth;      /* requests that are sent together and answered before the next */
    unsigned operations; /* of one request: its keys */
    size_t value_bytes;  /* an answer holds this many bytes 'v' for each operation; 0: not looked at */
    unsigned connections;

    uint8_t *requests;
    size_t requests_count;
    uint8_t *answer_first; /* the answer that was looked at */
    size_t answer_bytes;
    struct load_link *links;
    int epoll_fd;
};

struct load_turn {
    uint64_t operations, duration_ns;
    uint64_t client_run_ns, gaps_ns; /* gaps: sum of what pauses between two answers have above 2 ms */
    struct cpu_use client, server;
    struct histogram latency; /* of bursts */
};

/* 0, or -1 with a line on stderr. */
int load_target_init(struct load_target *t);
void load_target_deinit(struct load_target *t);

/* Asks for that long and then waits for what is under way. 0, or -1 with a line on stderr. */
int load_target_run(struct load_target *t, uint64_t duration_ns, struct load_turn *ret_turn);

#endif
