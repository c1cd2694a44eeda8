/* The command line of chaos-check; README.md says what it means. */
#ifndef DCACHED_CHAOS_CHECK_CONFIG_H
#define DCACHED_CHAOS_CHECK_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#define CHECK_AOFS_MAX 8

struct check_config {
    const char *history, *text, *prefix, *fired, *require, *stats, *report;
    const char *aofs[CHECK_AOFS_MAX];
    int aofs_count;
    unsigned db;
    uint64_t bound_ms, max_stale_ms, patience_ms, min_reads;
    bool total, live, eat;
};

/* 0, or 2 with a message on standard error. Texts are borrowed from argv. */
int check_config_parse(struct check_config *config, int argc, char **argv);

#endif
