/*
 * dcachectl: main.c reads the command line and finds the verb in the table; each verb is one function in a file of
 * its own or of its small group. A verb asks through libdcache-client and renders the answer; the functions that
 * render take what was answered and nothing else, so that the same answer always looks the same.
 */
#ifndef DCACHED_DCACHECTL_CTL_H
#define DCACHED_DCACHECTL_CTL_H

#include <signal.h>
#include <stdio.h>

#include "client/dcachectl/json.h"
#include "client/include/dcache/client.h"
#include "proto/rpc.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,
    EXIT_ABSENT = 4,
    EXIT_REJECTED = 5, /* stale or conflict */
    EXIT_REFUSED = 6,  /* or not ready */
    EXIT_PERMISSION = 7,
    EXIT_TIMEOUT = 8,
    EXIT_INDETERMINATE = 9,
};

/* Flags of verbs; X(name, takes an argument). */
#define CTL_FLAGS(X)     \
    X(strong, false)     \
    X(min_version, true) \
    X(epoch, true)       \
    X(allow_stale, true) \
    X(version, true)     \
    X(ttl, true)         \
    X(invalidate, false) \
    X(retry, true)       \
    X(yes, false)        \
    X(last, true)        \
    X(wait, true)        \
    X(for, true)         \
    X(watch, false)      \
    X(count, true)

enum ctl_flag_index {
#define X(name, argument) FLAG_INDEX_##name,
    CTL_FLAGS(X)
#undef X
        FLAG_COUNT
};

enum ctl_flag {
#define X(name, argument) FLAG_##name = 1 << FLAG_INDEX_##name,
    CTL_FLAGS(X)
#undef X
};

/* Of a verb's flags: it calls methods for administration. */
#define VERB_ADMIN (1u << 31)

struct ctl {
    dcache *cache;
    uint32_t timeout_ms;
    bool timeout_given;
    bool json;
    bool tty;   /* standard output is a terminal */
    bool color; /* it is one, and NO_COLOR is not set */

    unsigned given;                /* of enum ctl_flag */
    const char *flags[FLAG_COUNT]; /* their arguments */
    const char *operands[2];
    int operand_count;
};

struct verb {
    const char *name, *operands, *summary, *help;
    unsigned flags;
    int operands_min, operands_max;
    int (*run)(struct ctl *ctl);
    const char *words; /* what its operand is one of, for the completions; NULL: anything */
};

/* ---- verbs.c ---------------------------------------------------------------------------------------------- */

struct ctl_flag_row {
    const char *name; /* as in C: underscores are dashes on the command line */
    bool argument;
};

/* Options of all verbs. */
enum ctl_global_index {
    GLOBAL_SOCKET,
    GLOBAL_ADMIN_SOCKET,
    GLOBAL_JSON,
    GLOBAL_TIMEOUT,
    GLOBAL_HELP,
    GLOBAL_VERSION, /* behind a verb --version is an option of that verb */
    GLOBAL_COUNT
};

struct ctl_global {
    char letter; /* 0: none */
    const char *name;
    const char *argument; /* "PATH", "DUR"; NULL: none */
    const char *brief;    /* for the completions */
    const char *help;     /* lines after the first begin with GLOBAL_INDENT */
};

#define GLOBAL_INDENT "                      "

extern const struct ctl_global ctl_globals[GLOBAL_COUNT];
extern const struct verb ctl_verbs[];
extern const size_t ctl_verb_count;
extern const struct ctl_flag_row ctl_flag_table[FLAG_COUNT];

/* verb functions; each returns an enum exit_code */
int verb_ping(struct ctl *ctl);
int verb_status(struct ctl *ctl);
int verb_stats(struct ctl *ctl);
int verb_get(struct ctl *ctl);
int verb_set(struct ctl *ctl);
int verb_delete(struct ctl *ctl);
int verb_clear(struct ctl *ctl);
int verb_inspect(struct ctl *ctl);
int verb_versions(struct ctl *ctl);
int verb_watch(struct ctl *ctl);
int verb_verify(struct ctl *ctl);
int verb_trace(struct ctl *ctl);
int verb_wait(struct ctl *ctl);
int verb_doctor(struct ctl *ctl);
int verb_top(struct ctl *ctl);
int verb_clients(struct ctl *ctl);
int verb_log_level(struct ctl *ctl);
int verb_config(struct ctl *ctl);
int verb_completion(struct ctl *ctl);

/* ---- output.c --------------------------------------------------------------------------------------------- */

int exit_of_result(dcache_result result);

/* Says what the library said, on stderr, and with --json as {"error", "text"} on stdout. Returns the exit code. */
int ctl_fail(struct ctl *ctl, dcache_result result);
/* A mistake on the command line: the sentence and where help is. EXIT_USAGE. */
int ctl_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Calls a method; *ret borrows until the next call. On failure it has been said already. */
dcache_result ctl_call(struct ctl *ctl, const char *method, struct buffer *params, struct slice *ret);
/* The same for a method without parameters, copied into *ret, which is emptied first. Returns an enum exit_code.
 */
int ctl_ask(struct ctl *ctl, const char *method, struct buffer *ret);
uint64_t ctl_clock_ms(void); /* CLOCK_MONOTONIC */

/* ---- live.c: what goes on until it is interrupted ----------------------------------------------------------- */

/* SIGINT and SIGTERM are let in only while ppoll waits with this mask: none is lost between a look at
 * live_interrupted and the wait. */
void live_catch_signals(sigset_t *ret_while_waiting);
bool live_interrupted(void);

/* One sample after the other, every operand[0] (default 1 s), --count times or until q or interrupt. `ask` fills
 * one sample, `show` prints what happened between two. Returns an enum exit_code. */
struct live_sample {
    struct buffer stats, status, top; /* answers; those that are asked */
    uint64_t at_ms;
};
int live_run(struct ctl *ctl, int (*ask)(struct ctl *ctl, struct live_sample *ret),
             void (*show)(struct ctl *ctl, const struct live_sample *before, const struct live_sample *now));

/* The time that a daemon gets for its part of the call. */
uint64_t ctl_daemon_timeout_ms(const struct ctl *ctl);

enum color { COLOR_NONE, COLOR_GOOD, COLOR_WARN, COLOR_BAD };
const char *color_on(bool use, enum color color);
const char *color_off(bool use);

/* ---- args.c ----------------------------------------------------------------------------------------------- */

/* Each returns false if the text is no such thing. */
bool parse_duration_ms(const char *text, uint64_t *ret_ms); /* "500ms", "2s", "1m", "1h", "0" */
bool parse_count(const char *text, uint64_t *ret);          /* 1 .. 2^63-1 */
bool parse_version(const char *text, uint64_t *ret);        /* 1 .. 2^63-1 */
bool parse_write_id(const char *text, uint8_t ret[16]);     /* 32 hex digits */
void format_write_id(const uint8_t write_id[16], char ret[33]);

/* ---- rendering, by itself for the tests --------------------------------------------------------------------- */

void inspect_render(FILE *out, struct slice answer, uint64_t now_ns, bool color);
void status_render(FILE *out, struct slice answer, bool color);
void config_render(FILE *out, struct slice answer, bool escape);
void stats_render(FILE *out, struct slice answer);
void trace_render(FILE *out, struct slice answer, uint64_t now_ns);
void event_render(FILE *out, struct slice event, const char *clock);

#endif
