/* Pieces of Prometheus' text format. */
#ifndef DCACHED_METRICS_TEXT_H
#define DCACHED_METRICS_TEXT_H

#include "daemon/core/histogram.h"
#include "proto/buffer.h"

void text_add(struct buffer *b, const char *text);
__attribute__((format(printf, 2, 3))) void text_format(struct buffer *b, const char *format, ...);
/* name and suffix ("_bucket"), without labels and value */
void text_sample_begin(struct buffer *b, const char *name, const char *suffix);
/* before, then name="value" with the value escaped; before is "{" or "," */
void text_label(struct buffer *b, const char *before, const char *name, const char *value);
void text_seconds(struct buffer *b, uint64_t ns); /* exact; UINT64_MAX: +Inf */
void text_histogram(struct buffer *b, const char *name, const struct histogram *h);

#endif
