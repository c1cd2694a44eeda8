/*
 * doctor: the way of a write and of its message, tried with a canary, and what the daemon's own figures say. The
 * daemon writes the canary to a key of its own; `last` of its status passing the canary's seq shows that the
 * subscription has delivered it.
 */
#include "client/dcachectl/doctor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"
#include "proto/methods.h"

#define LOOK_PAUSE_NS    200000  /* between two looks for the canary; picked */
#define RECENT_WINDOW_US 1000000 /* in which a refusal is a recent one; picked */

void doctor_add(struct doctor *d, enum level level, const char *check, const char *remedy, const char *format, ...)
{
    struct finding *f = &d->findings[d->count];
    va_list args;

    if (d->count == FINDINGS_MAX)
        return;
    d->count++;
    f->level = level;
    f->check = check;
    f->remedy = remedy;
    va_start(args, format);
    vsnprintf(f->cause, sizeof f->cause, format, args);
    va_end(args);
}

void doctor_not_tried(struct doctor *d, const char *check)
{
    doctor_add(d, LEVEL_INFO, check, "", "not tried: no connection to Redis");
}

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Like ctl_ask, but says nothing: what fails is a finding. */
static dcache_result ask(struct ctl *ctl, const char *method, struct buffer *ret)
{
    const void *data = NULL;
    size_t len = 0;
    dcache_result result = dcache_call(ctl->cache, method, "\x90", 1, ctl->timeout_ms, &data, &len);

    buffer_clear(ret);
    if (result == DCACHE_OK)
        buffer_append(ret, data, len);
    return result;
}

static struct slice answer_of(const struct buffer *b)
{
    return slice_of(b->data, b->len);
}

/* ---- connection --------------------------------------------------------------------------------------------- */

static const char *daemon_remedy(dcache_result result)
{
    switch (result) {
    case DCACHE_E_TIMEOUT:
        return "it is there and does not answer: see `systemctl status dcached` and the log, then restart it";
    case DCACHE_E_PERMISSION:
        return "add this user to the socket's group, or to the lists of [access]";
    default:
        return "start dcached, or give the path of its socket with --socket";
    }
}

static bool check_hello(struct ctl *ctl, struct doctor *d)
{
    struct buffer answer = BUFFER_INIT;
    uint64_t before_us = clock_us(CLOCK_BOOTTIME), after_us, clock;
    struct proto_hello hello;
    dcache_result result = ask(ctl, "hello", &answer);

    if (result != DCACHE_OK || proto_decode_hello_result(cursor_of(answer_of(&answer)), &hello)) {
        doctor_add(d, LEVEL_FAIL, "daemon", daemon_remedy(result), "%s: %s", dcache_result_name(result),
                   dcache_error(ctl->cache));
        buffer_deinit(&answer);
        return false;
    }
    after_us = clock_us(CLOCK_BOOTTIME);
    clock = hello.clock_ns / 1000;
    doctor_add(d, LEVEL_OK, "daemon", "", "%.*s answers, pod %.*s, %.*s", (int)hello.server.len,
               (const char *)hello.server.data, (int)hello.pod.len, (const char *)hello.pod.data,
               (int)hello.role.len, (const char *)hello.role.data);
    if (slice_equal(hello.pod, slice_text("default-pod")))
        doctor_add(
            d, LEVEL_INFO, "pod", "",
            "has the id that every installation begins with: [pod] id tells pods apart in records and logs");
    if (clock + 1000 < before_us || clock > after_us + 1000)
        doctor_add(d, LEVEL_WARN, "boot clock",
                   "nothing, if the daemon runs in another time namespace: clients allow for that",
                   "the daemon's CLOCK_BOOTTIME is another than the one here");
    else
        doctor_add(d, LEVEL_OK, "boot clock", "", "the same for the daemon and here");
    buffer_deinit(&answer);
    return true;
}

/* ---- the canary --------------------------------------------------------------------------------------------- */

/* Waits until the subscription has delivered seq. */
static void look_for(struct ctl *ctl, struct doctor *d, uint64_t seq, uint64_t generation, uint64_t sent_us)
{
    const struct timespec pause = {.tv_nsec = LOOK_PAUSE_NS};
    struct buffer status = BUFFER_INIT;
    uint64_t limit_us = sent_us + (uint64_t)ctl->timeout_ms * 1000, now_us;

    do {
        dcache_result result = ask(ctl, "status", &status);
        struct slice answer = answer_of(&status);

        now_us = clock_us(CLOCK_BOOTTIME);
        if (result != DCACHE_OK)
            break;
        if (map_uint(answer, "generation") != generation) {
            doctor_add(d, LEVEL_FAIL, "canary",
                       "see `dcachectl watch` and the log; if it happens again: the link to Redis loses messages",
                       "it was committed, and a message got lost: a new generation began");
            buffer_deinit(&status);
            return;
        }
        if (map_uint(answer, "last") >= seq) {
            d->seen_us = now_us - sent_us;
            doctor_add(d, LEVEL_OK, "canary", "",
                       "committed after %" PRIu64 " us, back on the subscription within %" PRIu64 " us",
                       d->committed_us, d->seen_us);
            buffer_deinit(&status);
            return;
        }
        nanosleep(&pause, NULL);
    } while (now_us < limit_us);
    doctor_add(d, LEVEL_FAIL, "canary", "check that the user may SUBSCRIBE, and that the subscription is up",
               "it was committed, and did not come back on the subscription");
    buffer_deinit(&status);
}

static void check_canary(struct ctl *ctl, struct doctor *d, uint64_t generation)
{
    struct buffer answer = BUFFER_INIT;
    uint64_t sent_us = clock_us(CLOCK_BOOTTIME);
    struct proto_written written;
    struct cursor c;
    dcache_result result = ask(ctl, "canary", &answer);

    d->committed_us = clock_us(CLOCK_BOOTTIME) - sent_us;
    c = cursor_of(answer_of(&answer));
    if (result == DCACHE_E_PERMISSION) {
        doctor_add(d, LEVEL_INFO, "canary", "", "not tried, which takes a user in [access] write: %s",
                   dcache_error(ctl->cache));
        d->committed_us = 0;
    } else if (result != DCACHE_OK) {
        doctor_add(d, LEVEL_FAIL, "canary",
                   "see the cause; `dcachectl status` says what the daemon knows of Redis",
                   "it could not be written: %s: %s", dcache_result_name(result), dcache_error(ctl->cache));
        d->committed_us = 0;
    } else if (proto_decode_written(&c, &written) || written.outcome != OUTCOME_ACCEPTED) {
        doctor_add(d, LEVEL_FAIL, "canary", "try again; other pods of the same id would explain it",
                   "it was not accepted");
        d->committed_us = 0;
    } else {
        look_for(ctl, d, written.seq, generation, sent_us);
    }
    buffer_deinit(&answer);
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

static bool is_reader(struct slice status)
{
    return slice_equal(map_bytes(status, "role"), slice_text("reader")) && !map_bool(status, "writes_ok");
}

static void try_canary(struct ctl *ctl, struct doctor *d, struct slice status)
{
    if (is_reader(status))
        doctor_add(d, LEVEL_INFO, "canary", "", "not tried: this pod is a reader and writes nothing to Redis");
    else if (!doctor_link_is_up(status))
        doctor_not_tried(d, "canary");
    else
        check_canary(ctl, d, map_uint(status, "generation"));
}

/* Refusals of long ago say nothing of now: where there were some, the figures are read again. */
static void check_refusals(struct ctl *ctl, struct doctor *d, struct slice status, uint64_t asked_us)
{
    struct buffer later = BUFFER_INIT;
    uint64_t passed_us = clock_us(CLOCK_BOOTTIME) - asked_us;

    if (!doctor_has_refusals(status)) {
        doctor_judge_refusals(d, status, status, 0);
        return;
    }
    if (passed_us < RECENT_WINDOW_US) {
        uint64_t left_us = RECENT_WINDOW_US - passed_us;

        nanosleep(&(struct timespec){(time_t)(left_us / 1000000), (long)(left_us % 1000000) * 1000}, NULL);
    }
    if (ask(ctl, "status", &later) == DCACHE_OK)
        doctor_judge_refusals(d, status, answer_of(&later), (clock_us(CLOCK_BOOTTIME) - asked_us) / 1000);
    buffer_deinit(&later);
}

static void examine(struct ctl *ctl, struct doctor *d)
{
    struct buffer answer = BUFFER_INIT;
    uint64_t asked_us;
    dcache_result result;

    if (!check_hello(ctl, d))
        return;
    asked_us = clock_us(CLOCK_BOOTTIME);
    result = ask(ctl, "status", &answer);
    if (result != DCACHE_OK) {
        doctor_add(d, LEVEL_FAIL, "status", "see the cause", "%s: %s", dcache_result_name(result),
                   dcache_error(ctl->cache));
    } else {
        doctor_judge(d, answer_of(&answer), clock_us(CLOCK_REALTIME));
        try_canary(ctl, d, answer_of(&answer));
        check_refusals(ctl, d, answer_of(&answer), asked_us);
    }
    buffer_deinit(&answer);
}

static const char *const level_names[] = {"OK", "INFO", "WARN", "FAIL"};

static void print_text(const struct ctl *ctl, const struct doctor *d, const unsigned counts[LEVEL_COUNT])
{
    static const enum color colors[] = {COLOR_GOOD, COLOR_NONE, COLOR_WARN, COLOR_BAD};

    for (unsigned i = 0; i < d->count; i++) {
        const struct finding *f = &d->findings[i];

        printf("%s%-4s%s  %-12s ", color_on(ctl->color, colors[f->level]), level_names[f->level],
               color_off(ctl->color), f->check);
        text_escaped(stdout, slice_text(f->cause));
        putchar('\n');
        if (*f->remedy)
            printf("%19s-> %s\n", "", f->remedy);
    }
    printf("\n%u checks: %u OK, %u INFO, %u WARN, %u FAIL\n", d->count, counts[LEVEL_OK], counts[LEVEL_INFO],
           counts[LEVEL_WARN], counts[LEVEL_FAIL]);
}

static void print_json(const struct doctor *d, bool healthy)
{
    struct json json = json_to(stdout);

    json_open_object(&json);
    json_name(&json, "healthy");
    json_bool(&json, healthy);
    json_name(&json, "findings");
    json_open_array(&json);
    for (unsigned i = 0; i < d->count; i++) {
        json_open_object(&json);
        json_name(&json, "level");
        json_text(&json, slice_text(level_names[d->findings[i].level]));
        json_name(&json, "check");
        json_text(&json, slice_text(d->findings[i].check));
        json_name(&json, "cause");
        json_text(&json, slice_text(d->findings[i].cause));
        json_name(&json, "remedy");
        json_text(&json, slice_text(d->findings[i].remedy));
        json_close_object(&json);
    }
    json_close_array(&json);
    json_name(&json, "canary_committed_us");
    json_uint(&json, d->committed_us);
    json_name(&json, "canary_seen_us");
    json_uint(&json, d->seen_us);
    json_close_object(&json);
}

int verb_doctor(struct ctl *ctl)
{
    struct doctor d = {0};
    unsigned counts[LEVEL_COUNT] = {0};

    examine(ctl, &d);
    for (unsigned i = 0; i < d.count; i++)
        counts[d.findings[i].level]++;
    if (ctl->json)
        print_json(&d, counts[LEVEL_FAIL] == 0);
    else
        print_text(ctl, &d, counts);
    return counts[LEVEL_FAIL] ? EXIT_FAILED : EXIT_OK;
}
