/*
 * The command line of dcached: configuration first, then daemon_run. Exit statuses are those of sysexits.h, so
 * that systemd and a person can tell a bad configuration from a failed start.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/host/config.h"
#include "daemon/host/log.h"
#include "daemon/host/notify.h"
#include "daemon/host/pool.h"

extern char **environ;

enum action { ACTION_RUN, ACTION_CHECK, ACTION_PRINT };

struct command {
    enum action action;
    const char *config_path; /* NULL: the default */
};

static const char help[] =
    "Usage: dcached [OPTION]...\n"
    "The cache daemon of a pod: never serves a version older than one the pod has seen.\n"
    "\n"
    "  -c, --config PATH   configuration file (default " CONFIG_DEFAULT_PATH ")\n"
    "      --check-config  print every error of the configuration and exit: 0 good, 78 bad\n"
    "      --print-config  print the effective configuration and exit\n"
    "      --version       print the version and exit\n"
    "  -h, --help          print this and exit\n"
    "\n"
    "Every key can also be given as DCACHED_SECTION_KEY in the environment, which wins.\n"
    "See dcached(8) and dcached.conf(5).\n";

/* What was printed has to arrive, or the exit status says so. */
static int flush_stdout(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "dcached: cannot write to standard output: %s\n", strerror(errno));
    return EXIT_FAILURE;
}

/* -1: go on; otherwise the exit status. */
static int parse_command(int argc, char **argv, struct command *ret)
{
    enum { OPT_CHECK = 256, OPT_PRINT, OPT_VERSION };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, OPT_CHECK},
        {"print-config", no_argument, NULL, OPT_PRINT},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            ret->config_path = optarg;
            break;
        case OPT_CHECK:
            ret->action = ACTION_CHECK;
            break;
        case OPT_PRINT:
            ret->action = ACTION_PRINT;
            break;
        case OPT_VERSION:
            printf("dcached %s\n", DCACHED_VERSION);
            return flush_stdout(EX_OK);
        case 'h':
            fputs(help, stdout);
            return flush_stdout(EX_OK);
        default: /* getopt_long has said what is wrong */
            fputs("Try dcached --help.\n", stderr);
            return EX_USAGE;
        }
    }
    if (optind < argc) {
        fputs("dcached: takes options only, no arguments\nTry dcached --help.\n", stderr);
        return EX_USAGE;
    }
    return -1;
}

/* A descriptor 0, 1 or 2 that is closed would be given to a socket, which stderr would then write into. */
static void open_standard_fds(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static bool start_pool(struct log *log)
{
    int r = pool_start();
    if (r < 0)
        log_event(log, now_ns(), LOG_LEVEL_ERROR, "cannot start",
                  LOG_TEXT("cause", "no threads: a limit of processes (TasksMax, pids, nproc) or of memory"),
                  LOG_TEXT("error", strerror(-r)));
    return r == 0;
}

static int run_daemon(struct config *config, const struct config_source *source,
                      const struct config_report *report)
{
    struct log log;
    log_init(&log, STDERR_FILENO, config_log_level(config), getenv("JOURNAL_STREAM"));
    log_set_format(&log, config->log.format, LOG_JOURNAL_SOCKET);
    for (size_t i = 0; i < report->warning_count; i++)
        log_event(&log, now_ns(), LOG_LEVEL_WARNING, "configuration", LOG_TEXT("text", report->warnings[i]));
    if (!start_pool(&log)) {
        log_deinit(&log);
        return EXIT_FAILURE;
    }

    struct notify notify;
    int r = notify_init(&notify);
    if (r < 0)
        log_event(&log, now_ns(), LOG_LEVEL_WARNING, "NOTIFY_SOCKET cannot be used: systemd will not hear of us",
                  LOG_TEXT("cause", strerror(-r)));
    r = daemon_run(config, source, &log, &notify);
    notify_deinit(&notify);
    log_deinit(&log);
    return r == DAEMON_OK ? EX_OK : EXIT_FAILURE;
}

static const char *path_of(const struct command *command)
{
    return command->config_path ? command->config_path : CONFIG_DEFAULT_PATH;
}

static int act(const struct command *command, struct config *config, const struct config_source *source,
               const struct config_report *report)
{
    if (command->action == ACTION_RUN)
        return run_daemon(config, source, report);
    for (size_t i = 0; i < report->warning_count; i++)
        fprintf(stderr, "warning: %s\n", report->warnings[i]);
    if (command->action == ACTION_CHECK)
        puts("ok");
    else
        config_print(config, path_of(command), stdout);
    return flush_stdout(EX_OK);
}

/* Errors before there is a configuration: the journal is told that they are some, a terminal is not, and who gave
 * json in the environment reads nothing else. */
static void say_errors(const struct config_report *report)
{
    const char *format = getenv("DCACHED_LOG_FORMAT");
    struct log log;

    log_init(&log, STDERR_FILENO, LOG_LEVEL_ERROR, getenv("JOURNAL_STREAM"));
    if (format && strcmp(format, "json") == 0)
        log_set_format(&log, LOG_FORMAT_JSON, LOG_JOURNAL_SOCKET);
    for (size_t i = 0; i < report->error_count; i++) {
        if (log.format == LOG_FORMAT_JSON) /* as if a second apart: none is held back */
            log_event(&log, i * UINT64_C(1000000000), LOG_LEVEL_ERROR, "configuration",
                      LOG_TEXT("text", report->errors[i]));
        else
            fprintf(stderr, "%s%s\n", log.journal ? "<3>" : "", report->errors[i]);
    }
    log_deinit(&log);
}

int main(int argc, char **argv)
{
    open_standard_fds();
    signal(SIGPIPE, SIG_IGN);
    struct command command = {.action = ACTION_RUN};
    int status = parse_command(argc, argv, &command);
    if (status >= 0)
        return status;

    struct config config = {0};
    struct config_report report = {0};
    struct config_source source = {
        .path = path_of(&command),
        .required = command.config_path != NULL,
        .env = environ,
    };
    int r = config_load(&config, &source, &report);
    if (r == CONFIG_OK) {
        status = act(&command, &config, &source, &report);
        config_deinit(&config);
    } else if (r > 0) {
        say_errors(&report);
        status = r == CONFIG_INVALID ? EX_CONFIG : EX_OSERR;
    } else {
        fprintf(stderr, "dcached: %s\n", strerror(-r));
        status = EX_OSERR;
    }
    config_report_deinit(&report);
    return status;
}
