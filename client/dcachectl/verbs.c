/* The verbs and their options: what the command line, --help and the completions are made of. */
#include "client/dcachectl/ctl.h"

#define READ_FLAGS (FLAG_strong | FLAG_min_version | FLAG_epoch | FLAG_allow_stale)

const struct ctl_global ctl_globals[GLOBAL_COUNT] = {
    [GLOBAL_SOCKET] = {'s', "socket", "PATH", "socket of the daemon",
                       "of the daemon (default: $DCACHED_SOCKET, or " DCACHE_DEFAULT_SOCKET ")"},
    [GLOBAL_ADMIN_SOCKET] =
        {0, "admin-socket", "PATH", "socket for administration",
         "for clear, verify, clients, log-level and config (default:\n" GLOBAL_INDENT
         "$DCACHED_ADMIN_SOCKET, or NAME-admin.sock beside NAME.sock if there is\n" GLOBAL_INDENT
         "one, or the socket)"},
    [GLOBAL_JSON] = {0, "json", NULL, "answer as JSON", "answer as JSON"},
    [GLOBAL_TIMEOUT] = {0, "timeout", "DUR", "of the call", "of the call (default 2s)"},
    [GLOBAL_HELP] = {'h', "help", NULL, "help, of the program or of a verb", "this, or of a verb"},
    [GLOBAL_VERSION] = {'V', "version", NULL, "version of dcachectl", "version of dcachectl"},
};

const struct verb ctl_verbs[] = {
    {"ping", "", "is the daemon there?", NULL, 0, 0, 0, verb_ping},
    {"status", "", "is it healthy, and if not, why not? Exit 6 when it is not ready", NULL, 0, 0, 0, verb_status},
    {"wait", "", "until reads are served, or writes are possible. Exit 8 when the time is over",
     "  --for ready|writes  what to wait for (default ready); --timeout is for all of it (default 30s)\n",
     FLAG_for, 0, 0, verb_wait},
    {"doctor", "", "test from end to end, with cause and remedy of each finding. Exit 1 if anything fails", NULL,
     0, 0, 0, verb_doctor},
    {"stats", "[SECONDS]", "counters since the daemon's start",
     "  --watch             and what is added each second, or each SECONDS, until q or interrupt\n"
     "  --count N           so many times; a SECONDS or N alone watches, too\n",
     FLAG_watch | FLAG_count, 0, 1, verb_stats},
    {"top", "[SECONDS]", "rates, staleness, hottest and most rejected keys, live, until q or interrupt",
     "  --count N           so many times\n", FLAG_count, 0, 1, verb_top},
    {"get", "KEY", "the value of a key, raw; escaped on a terminal",
     "  --strong            reflect everything acknowledged, in any pod, before this call\n"
     "  --min-version N     only if the pod has at least this version\n"
     "  --epoch EPOCH       the epoch N was given in\n"
     "  --allow-stale DUR   if freshness cannot be proven, accept a value at most this old\n",
     READ_FLAGS, 1, 1, verb_get},
    {"set", "KEY VALUE|-", "write a value; - reads it from standard input",
     "  --version N         version of this value; without it the store gives one\n"
     "  --ttl DUR           time to live; 0: none; without it the daemon's default\n"
     "  --invalidate        other pods only drop their copy\n"
     "  --retry WRITE_ID    again, after an indeterminate attempt: commits once\n",
     FLAG_version | FLAG_ttl | FLAG_invalidate | FLAG_retry, 2, 2, verb_set},
    {"delete", "KEY", "leave a tombstone, so that no older write brings the key back",
     "  --version N         version of the tombstone\n"
     "  --retry WRITE_ID    again, after an indeterminate attempt: commits once\n",
     FLAG_version | FLAG_retry, 1, 1, verb_delete},
    {"clear", "", "remove all keys of the partition, in all pods", "  --yes               really\n",
     FLAG_yes | VERB_ADMIN, 0, 0, verb_clear},
    {"inspect", "KEY", "cached copy, floor and Redis side by side, with the verdict", NULL, 0, 1, 1, verb_inspect},
    {"versions", "[PREFIX]", "what the pod knows of its keys", NULL, 0, 0, 1, verb_versions},
    {"watch", "[PREFIX]", "events as they happen, until interrupted", NULL, 0, 0, 1, verb_watch},
    {"verify", "", "compare what is cached with Redis. Exit 1 if anything still differs after the bound",
     "  --wait DUR          look once more, that long after the second look\n", FLAG_wait | VERB_ADMIN, 0, 0,
     verb_verify},
    {"trace", "KEY", "what happened to a key lately, oldest first",
     "  --last N            at most so many events, up to 1000 (default 100)\n", FLAG_last, 1, 1, verb_trace},
    {"clients", "", "who is connected, what each may do and did last", NULL, VERB_ADMIN, 0, 0, verb_clients},
    {"log-level", "[LEVEL]", "the level of the daemon's log; LEVEL sets it until the next reload or restart",
     "  LEVEL               error, warning, info or debug\n", VERB_ADMIN, 0, 1, verb_log_level,
     .words = "error warning info debug"},
    {"config", "", "the configuration in force, and where each value comes from", NULL, VERB_ADMIN, 0, 0,
     verb_config},
    {"completion", "SHELL", "the completion script of bash, zsh or fish", NULL, 0, 1, 1, verb_completion,
     .words = "bash zsh fish"},
};

const size_t ctl_verb_count = sizeof ctl_verbs / sizeof *ctl_verbs;

const struct ctl_flag_row ctl_flag_table[FLAG_COUNT] = {
#define X(name, argument) {#name, argument},
    CTL_FLAGS(X)
#undef X
};
