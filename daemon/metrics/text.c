#include "daemon/metrics/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "daemon/metrics/table.h"

void text_add(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

void text_format(struct buffer *b, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len > 0)
        buffer_append(b, text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

void text_sample_begin(struct buffer *b, const char *name, const char *suffix)
{
    text_add(b, name);
    text_add(b, suffix);
}

void text_label(struct buffer *b, const char *before, const char *name, const char *value)
{
    text_format(b, "%s%s=\"", before, name);
    for (const char *c = value; *c; c++) {
        if (*c == '\n')
            text_add(b, "\\n");
        else if (*c == '"' || *c == '\\')
            text_format(b, "\\%c", *c);
        else
            buffer_append(b, c, 1);
    }
    text_add(b, "\"");
}

void text_seconds(struct buffer *b, uint64_t ns)
{
    if (ns == UINT64_MAX)
        text_add(b, "+Inf");
    else
        text_format(b, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

void text_histogram(struct buffer *b, const char *name, const struct histogram *h)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < HISTOGRAM_FINITE; i++) {
        count += h->counts[i];
        text_format(b, "%s_bucket{le=\"", name);
        text_seconds(b, histogram_end_ns(i));
        text_format(b, "\"} %" PRIu64 "\n", count);
    }
    count += h->counts[HISTOGRAM_FINITE];
    text_format(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, count, name);
    text_seconds(b, h->sum_ns);
    text_format(b, "\n%s_count %" PRIu64 "\n", name, count);
}

/* ---- the table as text ------------------------------------------------------------------------------------ */

static void write_value(struct buffer *b, enum metric_form form, const void *at)
{
    switch (form) {
    case FORM_COUNT:
        text_format(b, "%" PRIu64 "\n", *(const uint64_t *)at);
        break;
    case FORM_NS:
        text_seconds(b, *(const uint64_t *)at);
        text_add(b, "\n");
        break;
    case FORM_MS:
        text_format(b, "%" PRIu64 ".%03" PRIu64 "\n", *(const uint64_t *)at / 1000, *(const uint64_t *)at % 1000);
        break;
    case FORM_PPM:
        text_format(b, "%" PRIu64 ".%06" PRIu64 "\n", *(const uint64_t *)at / 1000000,
                    *(const uint64_t *)at % 1000000);
        break;
    case FORM_BOOL:
        text_add(b, *(const bool *)at ? "1\n" : "0\n");
        break;
    case FORM_UNSIGNED:
        text_format(b, "%u\n", *(const unsigned *)at);
        break;
    case FORM_HISTOGRAM:
        break; /* has samples of its own */
    }
}

static void write_sample(struct buffer *b, const struct metric_family *family, const struct metric_sample *sample,
                         const void *at)
{
    if (!sample->name) {
        text_add(b, family->name);
        if (sample->labels)
            text_format(b, "{%s}", sample->labels);
        text_add(b, " ");
        write_value(b, family->form, at);
        return;
    }
    for (unsigned i = 0; i < sample->count; i++) {
        const char *name = sample->name(i);

        if (!name[0])
            continue;
        text_format(b, "%s{%s\"%s\"} ", family->name, sample->labels, name);
        write_value(b, family->form, (const uint64_t *)at + i);
    }
}

const char *metric_kind_name(enum metric_kind kind)
{
    static const char *const names[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

    return names[kind];
}

void metrics_write(struct buffer *b, const struct metrics_input *in)
{
    const struct metric_family *family;

    for (unsigned i = 0; (family = metric_family_at(i)); i++) {
        text_format(b, "# HELP %s %s\n# TYPE %s %s\n", family->name, metric_family_help(family), family->name,
                    metric_kind_name(family->kind));
        if (family->write) {
            family->write(b, family, in);
            continue;
        }
        for (unsigned j = 0; j < family->sample_count; j++) {
            const struct metric_sample *sample = &family->samples[j];
            const void *at = (const char *)in + sample->at;

            if (family->form == FORM_HISTOGRAM)
                text_histogram(b, family->name, at);
            else
                write_sample(b, family, sample, at);
        }
    }
}
