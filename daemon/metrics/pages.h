/* The pages: from a path to a status and a text. Knows no HTTP beyond its numbers. */
#ifndef DCACHED_METRICS_PAGES_H
#define DCACHED_METRICS_PAGES_H

#include "daemon/metrics/metrics.h"
#include "proto/buffer.h"

enum page { PAGE_INDEX, PAGE_METRICS, PAGE_LIVE, PAGE_READY, PAGE_UNKNOWN, PAGE_METHOD /* not GET, not HEAD */ };

enum page page_find(const char *path);
const char *page_type(enum page page); /* Content-Type */
/* Appends the text; returns the status. The input is completed with what is known of the process. */
unsigned page_write(enum page page, struct buffer *b, struct metrics_input *in);

#endif
