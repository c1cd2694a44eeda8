/* The load's main thread: commands, phases, progress, totals. */
#include "tests/chaos/load.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct load_shared shared;
static struct load_worker workers[THREADS_MAX];
static pthread_t threads[THREADS_MAX];
static struct load_worker self; /* the main thread's stream */
static volatile sig_atomic_t terminated;

static void on_term(int signum)
{
    (void)signum;
    terminated = 1;
}

static unsigned workers_count(void)
{
    return shared.config.threads + shared.config.sync;
}

/* ---- phases ----------------------------------------------------------------------------------------------- */

static void phase(enum phase_kind kind, uint64_t at, uint64_t argument, const char *text)
{
    struct history_more more = {.argument = argument};

    if (text)
        snprintf(more.text, sizeof(more.text), "%s", text);
    history_write(
        &self.history,
        (struct history_record){.time = history_now(), .what = at, .key = (uint16_t)kind, .kind = HISTORY_PHASE},
        &more);
}

static void converge(void)
{
    phase(PHASE_CONVERGE, history_now(), 0, NULL);
    atomic_store(&shared.converged, 0);
    atomic_fetch_add(&shared.converge, 1);
    while (atomic_load(&shared.converged) < shared.config.pods_count && !terminated) {
        load_tick(&self, history_now());
        usleep(1000);
    }
    printf("{\"converged\": true}\n");
}

static bool command_phase(const char *word, char *arguments)
{
    uint64_t a = 0, b = 0, now = history_now();
    char tail[16] = "";
    int n = sscanf(arguments, "%" SCNu64 " %" SCNu64 " %15s", &a, &b, tail);

    if (!strcmp(word, "faults") && !strncmp(arguments, "on", 2)) {
        n = sscanf(arguments + 2, "%" SCNu64, &a);
        phase(PHASE_FAULTS, n == 1 ? a : now, 0, NULL);
    } else if (!strcmp(word, "healed")) {
        phase(PHASE_HEALED, n >= 1 ? a : now, b * 1000000, NULL);
    } else if (!strcmp(word, "loss") && n >= 2 && a <= b) {
        phase(!strcmp(tail, "empty")  ? PHASE_EMPTIED
              : !strcmp(tail, "kept") ? PHASE_KEPT
                                      : PHASE_LOSS,
              a, b, NULL);
    } else {
        return false;
    }
    return true;
}

/* False: the end. */
static bool command_run(char *line)
{
    char word[16] = "";
    char *arguments;
    bool known = true;

    line[strcspn(line, "\r\n")] = '\0';
    sscanf(line, "%15s", word);
    arguments = line + strspn(line, " ") + strlen(word);
    arguments += strspn(arguments, " ");
    if (!strcmp(word, "stop"))
        return false;
    if (!strcmp(word, "quiesce") || !strcmp(word, "resume")) {
        atomic_store(&shared.quiesced, word[0] == 'q');
        phase(word[0] == 'q' ? PHASE_QUIESCE : PHASE_RESUME, history_now(), 0, NULL);
    } else if (!strcmp(word, "converge")) {
        converge();
    } else if (!strcmp(word, "mark")) {
        phase(PHASE_MARK, history_now(), 0, arguments);
    } else {
        known = command_phase(word, arguments);
    }
    printf("{\"%s\": \"%s\"}\n", known ? "ok" : "unknown", word);
    return true;
}

/* Lines of standard input. False: the end was told, or there will be no more. */
static bool commands_read(int timeout_ms)
{
    static char buffer[1024];
    static size_t len;
    struct pollfd fd = {.fd = 0, .events = POLLIN};
    ssize_t n;
    char *end;

    if (!shared.config.control) {
        usleep((useconds_t)timeout_ms * 1000);
        return true;
    }
    if (poll(&fd, 1, timeout_ms) <= 0)
        return true;
    n = read(0, buffer + len, sizeof(buffer) - 1 - len);
    if (n <= 0)
        return false;
    len += (size_t)n;
    buffer[len] = '\0';
    while ((end = strchr(buffer, '\n'))) {
        *end = '\0';
        if (!command_run(buffer))
            return false;
        len -= (size_t)(end + 1 - buffer);
        memmove(buffer, end + 1, len + 1);
    }
    return len < sizeof(buffer) - 1;
}

/* ---- the whole -------------------------------------------------------------------------------------------- */

static uint64_t totals_print(const char *extra)
{
    uint64_t reads = 0, writes = 0, refused = 0, garbage = 0, bytes = 0;

    for (unsigned i = 0; i < workers_count(); i++) {
        reads += atomic_load(&workers[i].reads);
        writes += atomic_load(&workers[i].writes);
        refused += atomic_load(&workers[i].refused);
        garbage += atomic_load(&workers[i].garbage);
        bytes += atomic_load(&workers[i].bytes);
    }
    printf("{\"reads\": %" PRIu64 ", \"writes\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"garbage\": %" PRIu64
           ", \"bytes\": %" PRIu64 "%s}\n",
           reads, writes, refused, garbage, bytes, extra);
    return garbage;
}

static int workers_start(void)
{
    int r = history_writer_open(&self.history, shared.config.history, shared.config.process, 0);

    for (unsigned i = 0; i < workers_count() && r == 0; i++) {
        struct load_worker *w = &workers[i];

        r = history_writer_open(&w->history, shared.config.history, shared.config.process, i + 1);
        load_worker_init(w, &shared, i);
    }
    for (unsigned i = 0; i < workers_count() && r == 0; i++)
        r = -pthread_create(&threads[i], NULL, i < shared.config.threads ? load_worker_run : load_caller_run,
                            &workers[i]);
    if (r < 0)
        fprintf(stderr, "chaos-load: %s: %s\n", shared.config.history, strerror(-r));
    return r;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_term};
    uint64_t begun, said;
    char extra[64];

    if (load_config_parse(&shared.config, argc, argv) != 0)
        return 2;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    setlinebuf(stdout);
    load_worker_init(&self, &shared, 99);
    if (workers_start() < 0)
        return 3;
    printf("{\"ready\": true}\n");
    begun = said = history_now();
    while (!terminated && commands_read(5)) {
        uint64_t now = history_now();

        load_tick(&self, now);
        if (shared.config.progress && now - said > 1000000000) {
            said = now;
            totals_print("");
        }
        if (shared.config.seconds && now - begun > shared.config.seconds * 1000000000) {
            char quiesce[] = "quiesce";

            command_run(quiesce);
            usleep((useconds_t)(2000 + shared.config.bound_ms) * 1000);
            converge();
            break;
        }
    }
    atomic_store(&shared.stop, true);
    snprintf(extra, sizeof(extra), ", \"seconds\": %.3f", (double)(history_now() - begun) / 1e9);
    for (unsigned i = 0; i < workers_count(); i++)
        pthread_join(threads[i], NULL);
    history_writer_close(&self.history);
    return totals_print(extra) ? 1 : 0;
}
