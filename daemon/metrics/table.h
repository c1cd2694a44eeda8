/*
 * The table of metrics: every name, what it is, and where its value stands in struct metrics_input. The text of
 * /metrics, the manual page dcached-metrics(7) and the tests follow it.
 */
#ifndef DCACHED_METRICS_TABLE_H
#define DCACHED_METRICS_TABLE_H

#include "daemon/metrics/metrics.h"
#include "proto/buffer.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* How the value stands in the input, and what makes it the unit of its name. */
enum metric_form {
    FORM_COUNT,     /* uint64_t */
    FORM_NS,        /* uint64_t nanoseconds, said in seconds; UINT64_MAX: +Inf */
    FORM_MS,        /* uint64_t milliseconds, said in seconds */
    FORM_PPM,       /* uint64_t parts per million, said as a ratio */
    FORM_BOOL,      /* bool */
    FORM_UNSIGNED,  /* unsigned */
    FORM_HISTOGRAM, /* struct histogram */
};

struct metric_sample {
    const char *labels; /* `result="hit"`; NULL: none */
    size_t at;          /* in struct metrics_input */
    /* Not NULL: an array of `count` uint64_t; labels ends in `name=`, and those without a name are left out. */
    const char *(*name)(unsigned index);
    unsigned count;
};

struct metric_family {
    const char *name;
    enum metric_kind kind;
    enum metric_form form;
    const char *help; /* NULL: that of the counter at samples[0].at */
    const struct metric_sample *samples;
    unsigned sample_count;
    /* Not NULL: writes the one sample, whose labels are texts of the input, instead. */
    void (*write)(struct buffer *b, const struct metric_family *family, const struct metrics_input *in);
};

/* index 0, 1, ...; NULL: past the end. */
const struct metric_family *metric_family_at(unsigned index);
const char *metric_family_help(const struct metric_family *family);
const char *metric_kind_name(enum metric_kind kind);

/* The text format, 0.0.4. Sets b->failed on ENOMEM. */
void metrics_write(struct buffer *b, const struct metrics_input *in);

#endif
