/*
 * Load for any server that answers requests of one length with answers of one length over a Unix socket.
 *
 *     load TURN_MS CONNECTIONS NAME,PID,SOCKET,REQUESTS,REQUEST_BYTES,DEPTH,OPERATIONS,VALUE_BYTES ...
 *
 * REQUESTS is a file of requests of REQUEST_BYTES each; DEPTH of them are under way on a connection; each counts
 * as OPERATIONS operations and brings that many values of VALUE_BYTES bytes 'v' (0: not looked at). Every line on
 * stdin, a number, begins a round: all targets take turns, the one of that number first. A turn is one line of
 * JSON on stdout, a round ends with an empty line. Ends at the end of stdin.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load_target.h"

#define TARGETS_MAX 16
#define WARM_UP_NS  20000000 /* caches and branch predictor; picked */

static void turn_print(const struct load_target *t, const struct load_turn *turn)
{
    printf("{\"target\": \"%s\", \"operations\": %" PRIu64 ", \"duration_ns\": %" PRIu64 ", \"p50_ns\": %" PRIu64
           ", \"p99_ns\": %" PRIu64 ", \"p999_ns\": %" PRIu64 ", \"server_run_ns\": %" PRIu64
           ", \"server_wait_ns\": %" PRIu64 ", \"client_run_ns\": %" PRIu64 ", \"client_wait_ns\": %" PRIu64
           ", \"gaps_ns\": %" PRIu64 "}\n",
           t->name, turn->operations, turn->duration_ns, histogram_quantile(&turn->latency, 0.5),
           histogram_quantile(&turn->latency, 0.99), histogram_quantile(&turn->latency, 0.999),
           turn->server.run_ns, turn->server.wait_ns, turn->client_run_ns, turn->client.wait_ns, turn->gaps_ns);
}

/* Cuts the text into the target's fields. 0, or -1. */
static int target_parse(struct load_target *t, char *text, unsigned connections)
{
    char *fields[8];

    for (unsigned i = 0; i < 8; i++) {
        fields[i] = strsep(&text, ",");
        if (!fields[i])
            return -1;
    }
    t->name = fields[0];
    t->pid = atoi(fields[1]);
    t->socket = fields[2];
    t->requests_path = fields[3];
    t->request_bytes = strtoul(fields[4], NULL, 10);
    t->depth = (unsigned)strtoul(fields[5], NULL, 10);
    t->operations = (unsigned)strtoul(fields[6], NULL, 10);
    t->value_bytes = strtoul(fields[7], NULL, 10);
    t->connections = connections;
    return !text && t->pid > 0 && t->request_bytes > 0 && t->depth > 0 && t->operations > 0 ? 0 : -1;
}

static int rounds_run(struct load_target *targets, unsigned count, uint64_t turn_ns)
{
    static struct load_turn turn;
    unsigned first;

    while (scanf("%u", &first) == 1) {
        for (unsigned i = 0; i < count; i++) {
            struct load_target *t = &targets[(first + i) % count];

            if (load_target_run(t, WARM_UP_NS, &turn) < 0 || load_target_run(t, turn_ns, &turn) < 0)
                return 1;
            turn_print(t, &turn);
        }
        putchar('\n');
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct load_target targets[TARGETS_MAX];
    const unsigned long turn_ms = argc > 3 ? strtoul(argv[1], NULL, 10) : 0;
    const unsigned long connections = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;
    unsigned count = 0;
    int r = 0;

    if (turn_ms == 0 || connections == 0 || connections > LOAD_CONNECTIONS_MAX || argc - 3 > TARGETS_MAX) {
        fputs("usage: load TURN_MS CONNECTIONS TARGET...\n", stderr);
        return 2;
    }
    for (; r == 0 && count < (unsigned)argc - 3; count++) {
        if (target_parse(&targets[count], argv[count + 3], (unsigned)connections) < 0) {
            fprintf(stderr, "load: target %u has not the fields it needs\n", count + 1);
            return 2;
        }
        r = load_target_init(&targets[count]) < 0;
    }
    if (r == 0)
        r = rounds_run(targets, count, turn_ms * 1000000);
    while (count > 0)
        load_target_deinit(&targets[--count]);
    return r;
}
