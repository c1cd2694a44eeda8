/*
 * coresim --seeds FROM COUNT [--jobs N] [--twice]    many seeds; ends with 1 if a promise was broken
 * coresim --seed N [--verbose]                       one seed, with its event log
 *
 * A violation is printed with its seed, the faults without which it does not happen, and the last events of the
 * pod and key concerned. Many seeds must also show that they tested something: each kind of fault had an effect,
 * and at least half of the reads were hits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/coresim/fault.h"
#include "tests/coresim/world.h"

#define JOBS_MAX           64
#define ENOUGH_SEEDS       2000 /* from so many on every kind of fault has to have fired */
#define VIOLATIONS_PRINTED 5    /* by each job */

struct options {
    uint64_t from, count;
    unsigned jobs;
    bool twice, verbose;
};

static const char *promise_of(uint64_t seed, uint32_t skip, uint64_t *ret_hash)
{
    static struct statistics unused;
    struct world w;
    const char *promise;

    world_init(&w, seed, skip, &unused);
    world_run(&w);
    promise = w.violation.promise;
    if (ret_hash)
        *ret_hash = w.hash;
    world_deinit(&w);
    return promise;
}

/* Leaves out one fault after the other as long as the same promise breaks. */
static uint32_t reduce(uint64_t seed, const char *promise, int faults)
{
    uint32_t skip = 0;

    for (int i = 0; i < faults; i++) {
        const char *p = promise_of(seed, skip | 1u << i, NULL);

        if (p && strcmp(p, promise) == 0)
            skip |= 1u << i;
    }
    return skip;
}

static void report(uint64_t seed, const struct violation *first, int faults)
{
    static struct statistics unused;
    uint32_t skip = reduce(seed, first->promise, faults);
    int pod = first->pod < 0 ? 0 : first->pod;
    struct world w;
    char text[160];

    world_init(&w, seed, skip, &unused);
    w.logging = true;
    w.log = calloc(SIM_LOG_LINES, sizeof(*w.log));
    w.log_pod = first->pod;
    w.log_key = first->key;
    world_run(&w);
    printf("---- seed %" PRIu64 ": %s broken at %.6f\n     %s\n", seed, first->promise,
           (double)w.violation.at / 1e9, w.violation.text);
    printf("     D %" PRIu64 " ms, %d pods, %d keys; the pod: entries %zu, floors %zu; faults that matter:\n",
           w.bound_ns / NS_PER_MS, w.pods_count, w.keys_count, w.pods[pod].config.max_entries,
           w.pods[pod].config.max_floors);
    for (int i = 0; i < w.faults_count; i++) {
        if (!w.faults[i].skipped)
            printf("       %s\n", fault_text(&w.faults[i], text, sizeof(text)));
    }
    for (unsigned i = w.log_count > SIM_LOG_LINES ? w.log_count - SIM_LOG_LINES : 0; i < w.log_count; i++)
        printf("%s\n", w.log[i % SIM_LOG_LINES]);
    fflush(stdout);
    world_deinit(&w);
}

static void run_seed(uint64_t seed, const struct options *options, struct statistics *statistics)
{
    struct world w;
    uint64_t again;

    world_init(&w, seed, 0, statistics);
    w.logging = options->verbose;
    world_run(&w);
    if (w.violation.promise && statistics->violations <= VIOLATIONS_PRINTED && !options->verbose)
        report(seed, &w.violation, w.faults_count);
    if (options->twice) {
        promise_of(seed, 0, &again);
        if (again != w.hash) {
            printf("---- seed %" PRIu64 ": two runs differ\n", seed);
            statistics->violations++;
        }
    }
    world_deinit(&w);
}

static void run_job(unsigned job, const struct options *options, struct statistics *statistics)
{
    for (uint64_t i = job; i < options->count; i += options->jobs)
        run_seed(options->from + i, options, statistics);
}

/* Each job is a process; their numbers come back through shared memory. */
static int run_jobs(const struct options *options, struct statistics *jobs)
{
    int failed = 0, status;

    if (options->jobs == 1) {
        run_job(0, options, &jobs[0]);
        return 0;
    }
    fflush(stdout);
    for (unsigned job = 0; job < options->jobs; job++) {
        pid_t pid = fork();

        if (pid < 0) {
            perror("fork");
            return 1;
        }
        if (pid == 0) {
            run_job(job, options, &jobs[job]);
            exit(0);
        }
    }
    while (wait(&status) > 0)
        failed |= status != 0;
    return failed;
}

static int summarize(const struct options *options, const struct statistics *jobs)
{
    struct statistics all = {0};
    int failed = 0;

    for (unsigned job = 0; job < options->jobs; job++) {
        const uint64_t *from = (const uint64_t *)&jobs[job];
        uint64_t *to = (uint64_t *)&all;

        for (size_t i = 0; i < sizeof(all) / sizeof(*to); i++)
            to[i] += from[i];
    }
    printf("seeds %" PRIu64 ", steps %" PRIu64 ", reads %" PRIu64 ", hits %" PRIu64 " (%.1f %%), refused %" PRIu64
           ", dropped by the library %" PRIu64 ", writes %" PRIu64 ", indeterminate %" PRIu64 "\n",
           all.seeds, all.steps, all.reads, all.hits,
           all.reads ? 100.0 * (double)all.hits / (double)all.reads : 0.0, all.refused, all.dropped_late,
           all.writes, all.indeterminate);
    printf("faults:");
    for (int i = 0; i < FAULT_COUNT; i++) {
        printf(" %s %" PRIu64, fault_names[i], all.fired[i]);
        if (!all.fired[i] && all.seeds >= ENOUGH_SEEDS) {
            printf(" (never fired)");
            failed = 1;
        }
    }
    printf("\nviolations: %" PRIu64 "\n", all.violations);
    if (all.seeds > 100 && all.hits * 2 < all.reads) {
        printf("fewer than half of the reads were hits\n");
        failed = 1;
    }
    return failed || all.violations > 0;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: coresim --seeds FROM COUNT [--jobs N] [--twice] | sim --seed N [--verbose] [--twice]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct options options = {.jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
    struct statistics *jobs;
    int failed;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 2 < argc) {
            options.from = strtoull(argv[++i], NULL, 10);
            options.count = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            options.from = strtoull(argv[++i], NULL, 10);
            options.count = 1;
        } else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc) {
            options.jobs = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--twice") == 0) {
            options.twice = true;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            options.verbose = true;
        } else {
            return usage();
        }
    }
    if (!options.count || !options.jobs)
        return usage();
    if (options.jobs > JOBS_MAX)
        options.jobs = JOBS_MAX;
    if (options.count < options.jobs)
        options.jobs = 1;
    jobs = mmap(NULL, JOBS_MAX * sizeof(*jobs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (jobs == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    failed = run_jobs(&options, jobs);
    return summarize(&options, jobs) || failed;
}
