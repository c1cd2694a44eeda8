/*
 * sim --seeds FROM COUNT [--jobs N] [--twice]    many seeds; ends with 1 if a promise was broken
 * sim --minutes M [--jobs N] [--twice]           the same for so long, with seeds from the clock
 * sim --seed N [--verbose]                       one seed, with its event log
 *
 * --twice runs each seed twice and compares the hashes over all bytes moved and all outcomes.
 *
 * A violation is printed with its seed, the faults without which it does not happen, and the last events of the
 * pod and key concerned. Many seeds must also show that they tested something: each kind of fault had an effect,
 * and at least half of the reads were hits. It is also said how many reads were judged, and exempt from what.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/fault.h"
#include "tests/sim/world.h"

#define JOBS_MAX        64
#define ENOUGH_SEEDS    2000 /* from so many on every kind of fault has to have had an effect, once in 1000 */
#define VIOLATIONS_TOLD 5    /* by each job; of those behind them only seed and promise */

static const char *const exemption_names[EXEMPT_COUNT] = {
#define X(name, text) [EXEMPT_##name] = #name,
    EXEMPTIONS(X)
#undef X
};

struct options {
    uint64_t from, count;
    time_t until; /* 0: when all are done */
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
        *ret_hash = world_hash(&w);
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
           w.bound_ns / NS_PER_MS, w.pods_count, w.keys_count, w.pods[pod].max_entries, w.pods[pod].max_floors);
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
    struct violation violation;
    uint64_t again, hash;
    int faults;

    world_init(&w, seed, 0, statistics);
    w.logging = options->verbose;
    world_run(&w);
    hash = world_hash(&w);
    if (options->verbose)
        printf("seed %" PRIu64 ": hash %016" PRIx64 "\n", seed, hash);
    violation = w.violation;
    faults = w.faults_count;
    world_deinit(&w);
    if (violation.promise && !options->verbose && statistics->violations > VIOLATIONS_TOLD)
        printf("---- seed %" PRIu64 ": %s broken\n", seed, violation.promise);
    else if (violation.promise && !options->verbose)
        report(seed, &violation, faults);
    if (options->twice) {
        promise_of(seed, 0, &again);
        if (again != hash) {
            printf("---- seed %" PRIu64 ": two runs differ\n", seed);
            statistics->violations++;
        }
    }
}

static void run_job(unsigned job, const struct options *options, struct statistics *statistics)
{
    for (uint64_t i = job; i < options->count && !(options->until && time(NULL) >= options->until);
         i += options->jobs)
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
    while (wait(&status) > 0) {
        if (WIFSIGNALED(status))
            printf("a job ended by signal %d\n", WTERMSIG(status));
        failed |= status != 0;
    }
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
    printf("seeds %" PRIu64 " (%" PRIu64 " virtual hours), core events %" PRIu64 ", MB moved %" PRIu64
           "\nreads %" PRIu64 ", hits %" PRIu64 " (%.1f %%), refused %" PRIu64 ", of these by the library %" PRIu64
           "; writes %" PRIu64 ", commits %" PRIu64 ", indeterminate %" PRIu64 "; crowds %" PRIu64 "\n",
           all.seeds, all.virtual_ms / 3600000, all.events, all.bytes >> 20, all.reads, all.hits,
           all.reads ? 100.0 * (double)all.hits / (double)all.reads : 0.0, all.refused, all.library_refused,
           all.writes, all.commits, all.indeterminate, all.crowds);
    printf("reads judged %" PRIu64 "; exempt:", all.judged);
    for (int i = 0; i < EXEMPT_COUNT; i++)
        printf("%s %s %" PRIu64, i ? "," : "", exemption_names[i], all.exempt[i]);
    printf("\nfaults:");
    for (int i = 0; i < KIND_COUNT; i++) {
        printf("%s %s %" PRIu64, i ? "," : "", fault_names[i], all.fired[i]);
        if (all.seeds >= ENOUGH_SEEDS && all.fired[i] < all.seeds / 1000) {
            printf(" (too rare)");
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
    fprintf(stderr, "usage: sim --seeds FROM COUNT [--jobs N] [--twice]\n"
                    "       sim --minutes M [--jobs N] [--twice]\n"
                    "       sim --seed N [--verbose] [--twice]\n");
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
        } else if (strcmp(argv[i], "--minutes") == 0 && i + 1 < argc) {
            options.from = (uint64_t)time(NULL) * 1000000;
            options.count = UINT64_MAX;
            options.until = time(NULL) + 60 * strtol(argv[++i], NULL, 10);
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
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* jobs share it: whole lines */
    jobs = mmap(NULL, JOBS_MAX * sizeof(*jobs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (jobs == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    failed = run_jobs(&options, jobs);
    return summarize(&options, jobs) || failed;
}
