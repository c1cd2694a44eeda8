/*
 * The history checker: merges the streams of a history in the order of their times, follows the append-only file
 * just ahead of them, and judges. See README.md for its command line.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/aof.h"
#include "tests/chaos/check_config.h"
#include "tests/chaos/check_files.h"
#include "tests/chaos/text.h"

enum { PASSED, VIOLATED, USAGE, REFUSED, UNREADABLE, STALLED };

/* The append-only file is read at least so far behind the history: a commit and its expiry are there before.
 * Picked; what is needed and missing is waited for in any case. */
#define LAG_NS UINT64_C(100000000)

struct checker {
    struct check_config config;
    struct report report;
    struct truth truth;
    struct judge judge;
    struct aof aofs[CHECK_AOFS_MAX];
    struct history_stream streams[STREAMS_MAX + 1];
    int streams_count;
    uint64_t polled_at;     /* everything up to here is in the truth, if Redis has written it */
    uint64_t waiting_since; /* for a commit that is not there; 0: not waiting */
};

static volatile sig_atomic_t terminated;

static void on_term(int signum)
{
    (void)signum;
    terminated = 1;
}

/* ---- streams ---------------------------------------------------------------------------------------------- */

static int poll_aofs(struct checker *c)
{
    uint64_t now = history_now();

    for (int i = 0; i < c->config.aofs_count; i++) {
        int r = aof_poll(&c->aofs[i]);

        if (r < 0) {
            fprintf(stderr, "chaos-check: %s\n", c->aofs[i].error[0] ? c->aofs[i].error : strerror(-r));
            return r;
        }
    }
    c->polled_at = now;
    return 0;
}

static int discover(struct checker *c)
{
    int n = history_discover(c->config.history, c->streams, c->streams_count, c->config.eat);

    if (n < 0) {
        fprintf(stderr, "chaos-check: %s: %s\n", c->config.history, strerror(-n));
        return n;
    }
    c->streams_count = n;
    if (n > 0 && !c->truth.dated) {
        c->truth.dated = true;
        c->truth.realtime_offset = c->streams[0].header.realtime_offset;
    }
    return 0;
}

/* A stream whose writer is gone, or that will not grow any more, ends where it is. */
static const struct history_record *head_of(struct checker *c, struct history_stream *s,
                                            const struct history_more **ret_more)
{
    const struct history_record *r = history_peek(s, ret_more);

    if (r || s->ended)
        return r;
    if (c->config.live && !terminated && !history_writer_gone(s))
        return NULL;
    r = history_peek(s, ret_more); /* its last words */
    if (!r) {
        c->report.streams_cut++;
        history_stream_close(s);
    }
    return r;
}

struct next {
    struct history_stream *stream; /* NULL: none */
    uint64_t others;               /* no other stream has anything before this */
    bool waiting;                  /* a stream has nothing now, but may yet */
};

static struct next next_stream(struct checker *c)
{
    struct next next = {.others = UINT64_MAX};
    uint64_t first = UINT64_MAX;

    for (int i = 0; i < c->streams_count; i++) {
        const struct history_more *more;
        const struct history_record *r = head_of(c, &c->streams[i], &more);

        if (!r) {
            next.waiting |= !c->streams[i].ended;
        } else if (r->time < first) {
            next.others = first;
            first = r->time;
            next.stream = &c->streams[i];
        } else if (r->time < next.others) {
            next.others = r->time;
        }
    }
    return next;
}

/* ---- judging ---------------------------------------------------------------------------------------------- */

/* True: whatever is not in the truth by now will not come. */
static bool is_final(struct checker *c)
{
    uint64_t now = history_now();

    if (!c->waiting_since)
        c->waiting_since = now;
    return now - c->waiting_since >= c->config.patience_ms * UINT64_C(1000000);
}

/* Judges what is before all others and covered by the truth. Returns how many records. */
static uint64_t run_stream(struct checker *c, const struct next *next)
{
    uint64_t until = c->config.live && !terminated ? c->polled_at - LAG_NS : UINT64_MAX, count = 0;
    const struct history_more *more;
    const struct history_record *r;

    c->judge.stream = next->stream->process * 16 + next->stream->thread;
    if (until > next->others)
        until = next->others;
    while ((r = history_peek(next->stream, &more)) && r->time <= until) {
        if (!judge_record(&c->judge, r, more, false)) {
            if (!is_final(c))
                break;
            judge_record(&c->judge, r, more, true);
        }
        c->waiting_since = 0;
        history_take(next->stream);
        count++;
    }
    return count;
}

static bool may_come(const struct checker *c)
{
    char path[300];

    if (!c->config.live || terminated)
        return false;
    snprintf(path, sizeof(path), "%s/open", c->config.history);
    return c->streams_count == 0 || access(path, F_OK) == 0;
}

/* 0: all is judged. */
static int run(struct checker *c)
{
    int r;

    for (;;) {
        struct next next;

        /* In this order: commits are dated by the clocks that the history names. */
        r = discover(c);
        if (r == 0 && c->streams_count > 0)
            r = poll_aofs(c);
        if (r < 0)
            return r;
        do
            next = next_stream(c);
        while (next.stream && !next.waiting && run_stream(c, &next) > 0);
        if (!next.stream && !next.waiting && !may_come(c))
            return 0;
        if (c->config.live || c->waiting_since)
            usleep(2000);
    }
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

static int conclude(struct checker *c)
{
    FILE *f = c->config.report ? fopen(c->config.report, "we") : NULL;

    for (int i = 0; i < c->streams_count; i++)
        c->report.bytes += c->streams[i].bytes;
    judge_end(&c->judge);
    if (check_files(&c->config, &c->report) < 0)
        return UNREADABLE;
    if (c->report.checked < c->config.min_reads)
        report_refuse(&c->report, "%llu checked reads, at least %llu are wanted",
                      (unsigned long long)c->report.checked, (unsigned long long)c->config.min_reads);
    report_print_text(&c->report, stdout);
    if (f) {
        report_print_json(&c->report, f);
        fclose(f);
    } else if (c->config.report) {
        fprintf(stderr, "chaos-check: %s: %s\n", c->config.report, strerror(errno));
        return UNREADABLE;
    }
    if (report_timeless_violations(&c->report) == 0 && report_is_stalled(&c->report))
        return STALLED;
    return report_violations(&c->report) ? VIOLATED : c->report.refusals[0] ? REFUSED : PASSED;
}

static void checker_init(struct checker *c)
{
    struct check_config *config = &c->config;

    truth_init(&c->truth, config->total, &c->report);
    judge_init(&c->judge, &c->truth, &c->report, config->bound_ms * UINT64_C(1000000),
               config->max_stale_ms * UINT64_C(1000000));
    for (int i = 0; i < config->aofs_count; i++)
        aof_init(&c->aofs[i], &c->truth, config->aofs[i], config->prefix, config->db);
}

static void checker_deinit(struct checker *c)
{
    for (int i = 0; i < c->config.aofs_count; i++)
        aof_deinit(&c->aofs[i]);
    for (int i = 0; i < c->streams_count; i++)
        history_stream_close(&c->streams[i]);
    judge_deinit(&c->judge);
    truth_deinit(&c->truth);
    report_deinit(&c->report);
}

int main(int argc, char **argv)
{
    static struct checker c;
    struct sigaction action = {.sa_handler = on_term};
    int status, r;

    if (check_config_parse(&c.config, argc, argv) != 0)
        return USAGE;
    sigaction(SIGTERM, &action, NULL);
    checker_init(&c);
    r = c.config.text ? text_judge(c.config.text, &c.truth, &c.judge) : run(&c);
    status = r < 0 ? UNREADABLE : conclude(&c);
    checker_deinit(&c);
    return status;
}
