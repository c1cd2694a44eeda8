#include "tests/chaos/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const phase_names[PHASE_COUNT] = {"faults",  "healed", "loss",     "emptied", "kept",
                                                     "quiesce", "resume", "converge", "mark"};
static const char *const stall_names[] = {"own", "pod", "redis", "machine"};
static const char *const op_names[] = {"set", "delete", "clear"};

/* ---- printing --------------------------------------------------------------------------------------------- */

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static int format_read(const struct history_record *r, char *text, size_t size)
{
    unsigned outcome = r->kind >> 4;
    int n = snprintf(text, size, "%s t=%.6f i=%.6f pod=%d key=%d out=%s", report_kind_name(r->kind & 15),
                     ms(r->time), ms(record_invoked(r)), r->pod_flags & 15, r->key, report_outcome_name(outcome));

    if (outcome == OUT_ABSENT)
        n += snprintf(text + n, size - (size_t)n, " v=%" PRIu64, r->what);
    else if (outcome <= OUT_LOCAL)
        n += snprintf(text + n, size - (size_t)n, " n=%" PRIu64 ":%" PRIu64,
                      (r->what & NUMBER_MASK) >> COUNTER_BITS, r->what & UINT32_MAX);
    if (outcome <= OUT_LOCAL)
        n += snprintf(text + n, size - (size_t)n, " asof=%.6f check=%.6f flags=%d", ms(record_as_of(r)),
                      ms(record_as_of(r) + (uint64_t)r->age * HISTORY_UNIT), r->pod_flags >> 4);
    return n + snprintf(text + n, size - (size_t)n, "\n");
}

int history_format(const struct history_record *r, const struct history_more *more, char *text, size_t size)
{
    unsigned kind = r->kind & 15;

    if (history_is_read(kind))
        return format_read(r, text, size);
    if (kind == HISTORY_PHASE)
        return snprintf(text, size, "phase t=%.6f kind=%s at=%.6f arg=%.6f\n", ms(r->time),
                        phase_names[r->key % PHASE_COUNT], ms(r->what), ms(more->argument));
    if (kind == HISTORY_INVOKED)
        return snprintf(text, size,
                        "invoked t=%.6f pod=%d key=%d n=%" PRIu64 ":%" PRIu64 " op=%s v=%" PRIu64 " ttl=%u\n",
                        ms(r->time), r->pod_flags & 15, r->key, r->what >> COUNTER_BITS, r->what & UINT32_MAX,
                        op_names[more->write.kind % 3], more->write.version, more->write.ttl_ms);
    if (kind == HISTORY_ANSWERED)
        return snprintf(text, size,
                        "answered t=%.6f i=%.6f pod=%d key=%d n=%" PRIu64 ":%" PRIu64 " out=%s op=%s v=%" PRIu64
                        " seq=%" PRIu64 " epoch=%016" PRIx64 " retry=%d\n",
                        ms(r->time), ms(record_invoked(r)), r->pod_flags & 15, r->key, r->what >> COUNTER_BITS,
                        r->what & UINT32_MAX, report_outcome_name(r->kind >> 4), op_names[more->write.kind % 3],
                        more->write.version, more->write.seq, more->write.epoch, more->write.retry);
    return snprintf(text, size, "%s t=%.6f\n", kind == HISTORY_END ? "end" : "tick", ms(r->time));
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

#define FIELDS_MAX 16
#define LINE_BYTES 512

struct fields {
    const char *names[FIELDS_MAX], *values[FIELDS_MAX];
    int count;
    bool bad;
};

static const char *field(const struct fields *f, const char *name)
{
    for (int i = 0; i < f->count; i++) {
        if (strcmp(f->names[i], name) == 0)
            return f->values[i];
    }
    return NULL;
}

static uint64_t field_number(struct fields *f, const char *name, int base)
{
    const char *text = field(f, name);
    char *end = NULL;
    uint64_t n = text ? strtoull(text, &end, base) : 0;

    f->bad |= text && (end == text || *end);
    return n;
}

/* Milliseconds with decimals; `absent` if it is not given. */
static uint64_t field_time(struct fields *f, const char *name, uint64_t absent)
{
    const char *text = field(f, name);
    char *end = NULL;
    double value = text ? strtod(text, &end) : 0;

    f->bad |= text && (end == text || *end);
    return text ? (uint64_t)(value * 1e6 + .5) : absent;
}

static uint64_t field_write(struct fields *f)
{
    const char *text = field(f, "n");
    unsigned stream, counter;

    if (!text)
        return 0;
    f->bad |= sscanf(text, "%u:%u", &stream, &counter) != 2 || stream >= STREAMS_MAX;
    return f->bad ? 0 : history_number(stream, counter);
}

static unsigned field_name(struct fields *f, const char *name, const char *(*name_of)(unsigned), unsigned count)
{
    const char *text = field(f, name);

    for (unsigned i = 0; text && i < count; i++) {
        if (name_of(i) && strcmp(name_of(i), text) == 0)
            return i;
    }
    f->bad |= text != NULL;
    return 0;
}

static const char *op_name(unsigned i)
{
    return op_names[i];
}

static const char *phase_name(unsigned i)
{
    return phase_names[i];
}

static const char *stall_name(unsigned i)
{
    return stall_names[i];
}

/* The kind of the line, NULL: nothing on it. */
static const char *line_split(char *line, struct fields *ret)
{
    char *state = NULL, *kind;

    line[strcspn(line, "#\r\n")] = '\0';
    *ret = (struct fields){0};
    kind = strtok_r(line, " ", &state);
    for (char *word = kind ? strtok_r(NULL, " ", &state) : NULL; word; word = strtok_r(NULL, " ", &state)) {
        char *value = strchr(word, '=');

        if (!value || ret->count == FIELDS_MAX) {
            ret->bad = true;
            break;
        }
        *value = '\0';
        ret->names[ret->count] = word;
        ret->values[ret->count++] = value + 1;
    }
    return kind;
}

/* Its commits. False: the line is another. */
static bool line_commit(const char *kind, struct fields *f, struct truth *t)
{
    uint32_t key = (uint32_t)field_number(f, "key", 10) % KEYS_MAX;
    struct record record = {.version = field_number(f, "v", 10),
                            .seq = field_number(f, "seq", 10),
                            .timestamp_ns = field_time(f, "at", 0),
                            .kind = field_number(f, "tombstone", 10) ? RECORD_TOMBSTONE : RECORD_VALUE};

    if (!strcmp(kind, "meta"))
        truth_meta(t, field_number(f, "epoch", 16),
                   field(f, "cleared") ? field_number(f, "cleared", 10) : NEVER_SET);
    else if (!strcmp(kind, "cleared"))
        truth_clear(t, field_number(f, "epoch", 16), field_number(f, "seq", 10));
    else if (!strcmp(kind, "commit"))
        truth_commit(t, key, field_write(f), &record, field_number(f, "expires", 10));
    else if (!strcmp(kind, "gone"))
        truth_gone(t, key);
    else if (!strcmp(kind, "gone_all"))
        truth_gone_all(t);
    else if (!strcmp(kind, "gone_noted"))
        truth_emptied(t, field_time(f, "loss", 0));
    else
        return false;
    return true;
}

static void line_write(struct fields *f, struct history_record *r, struct history_more *more)
{
    r->what = field_write(f);
    more->write.version = field_number(f, "v", 10);
    more->write.seq = field_number(f, "seq", 10);
    more->write.epoch = field_number(f, "epoch", 16);
    more->write.ttl_ms = (uint32_t)field_number(f, "ttl", 10);
    more->write.kind = (uint8_t)field_name(f, "op", op_name, 3);
    more->write.retry = (uint8_t)field_number(f, "retry", 10);
}

static void line_read(struct fields *f, struct history_record *r)
{
    uint64_t as_of = field_time(f, "asof", r->time), check = field_time(f, "check", r->time);
    unsigned outcome = r->kind >> 4;

    f->bad |= as_of > r->time || check < as_of;
    r->as_of = history_units(r->time - as_of, true);
    r->age = history_units(check - as_of, false);
    r->what = field_number(f, "v", 10);
    if (outcome == OUT_VALUE || outcome == OUT_STALE || outcome == OUT_LOCAL)
        r->what = field_write(f) | history_fold(r->what) << NUMBER_BITS;
    r->pod_flags |= (uint8_t)(field_number(f, "flags", 10) << 4);
}

static bool line_record(const char *kind, struct fields *f, struct history_record *r, struct history_more *more)
{
    uint64_t invoked;
    unsigned number = 0;

    *r = (struct history_record){.time = field_time(f, "t", 0)};
    *more = (struct history_more){0};
    while (number <= HISTORY_END && (!report_kind_name(number) || strcmp(report_kind_name(number), kind) != 0))
        number++;
    if (number > HISTORY_END || !r->time)
        return false;
    invoked = field_time(f, "i", r->time);
    r->latency = history_units(r->time - invoked, true);
    r->key = (uint16_t)field_number(f, "key", 10);
    r->kind = (uint8_t)(number | field_name(f, "out", report_outcome_name, OUT_COUNT) << 4);
    r->pod_flags = field_number(f, "pod", 10) & 15;
    if (number == HISTORY_TICK) {
        r->key = (uint16_t)field_name(f, "of", stall_name, 4);
        r->what = field_time(f, "stall", 0);
    } else if (number == HISTORY_PHASE) {
        r->key = (uint16_t)field_name(f, "kind", phase_name, PHASE_COUNT);
        r->what = field_time(f, "at", r->time);
        more->argument = field_time(f, "arg", 0);
    } else if (number == HISTORY_INVOKED || number == HISTORY_ANSWERED) {
        line_write(f, r, more);
    } else {
        line_read(f, r);
    }
    return invoked <= r->time;
}

/* One pass over the file: its commits, or its history. Number of the line that is wrong, 0: none. */
static int pass(FILE *file, bool commits, struct truth *truth, struct judge *judge)
{
    char line[LINE_BYTES];
    uint64_t last = 0;

    rewind(file);
    for (int number = 1; fgets(line, sizeof(line), file); number++) {
        struct history_record r;
        struct history_more more;
        struct fields f;
        const char *kind = line_split(line, &f);
        bool is_commit = kind && (!strcmp(kind, "meta") || !strcmp(kind, "commit") || !strcmp(kind, "cleared") ||
                                  !strncmp(kind, "gone", 4));

        if (!kind || is_commit != commits)
            continue;
        if (is_commit ? !line_commit(kind, &f, truth) : !line_record(kind, &f, &r, &more) || r.time < last)
            return number;
        if (f.bad)
            return number;
        if (is_commit)
            continue;
        last = r.time;
        judge_record(judge, &r, &more, true);
    }
    return 0;
}

int text_judge(const char *path, struct truth *truth, struct judge *judge)
{
    FILE *file = fopen(path, "re");
    int wrong;

    if (!file) {
        fprintf(stderr, "chaos-check: %s: %s\n", path, strerror(errno));
        return -1;
    }
    truth->dated = true;
    wrong = pass(file, true, truth, judge);
    if (!wrong)
        wrong = pass(file, false, truth, judge);
    fclose(file);
    if (wrong)
        fprintf(stderr, "chaos-check: %s:%d: not a line of a history\n", path, wrong);
    return wrong ? -1 : 0;
}
