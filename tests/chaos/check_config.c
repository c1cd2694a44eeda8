#include "tests/chaos/check_config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNSET UINT64_MAX

static const struct option options[] = {
    {"history", 1, NULL, 'h'},
    {"text", 1, NULL, 't'},
    {"prefix", 1, NULL, 'p'},
    {"fired", 1, NULL, 'f'},
    {"require", 1, NULL, 'q'},
    {"stats", 1, NULL, 's'},
    {"report", 1, NULL, 'r'},
    {"aof", 1, NULL, 'a'},
    {"db", 1, NULL, 'd'},
    {"bound-ms", 1, NULL, 'b'},
    {"max-stale-ms", 1, NULL, 'm'},
    {"patience-ms", 1, NULL, 'w'},
    {"min-reads", 1, NULL, 'n'},
    {"truth", 1, NULL, 'u'},
    {"live", 0, NULL, 'l'},
    {"eat", 0, NULL, 'e'},
    {0},
};

static bool number_parse(const char *text, uint64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return !errno && end != text && !*end && *text != '-';
}

static bool number_apply(struct check_config *c, int option)
{
    uint64_t value;

    if (!number_parse(optarg, &value))
        return false;
    switch (option) {
    case 'd':
        c->db = (unsigned)value;
        return value < 1000000;
    case 'b':
        c->bound_ms = value;
        return value > 0 && value <= 60000;
    case 'm':
        c->max_stale_ms = value;
        return value <= 100000000;
    case 'w':
        c->patience_ms = value;
        return value < UNSET / 1000000;
    case 'n':
        c->min_reads = value;
        return true;
    default:
        return false;
    }
}

static bool text_apply(struct check_config *c, int option, int *truth)
{
    const char **texts[128] = {['h'] = &c->history, ['t'] = &c->text,  ['p'] = &c->prefix, ['f'] = &c->fired,
                               ['q'] = &c->require, ['s'] = &c->stats, ['r'] = &c->report};

    switch (option) {
    case 'a':
        if (c->aofs_count == CHECK_AOFS_MAX)
            return false;
        c->aofs[c->aofs_count++] = optarg;
        return true;
    case 'u':
        *truth = strcmp(optarg, "aof") == 0;
        return *truth || strcmp(optarg, "acks") == 0;
    case 'l':
        return c->live = true;
    case 'e':
        return c->eat = true;
    case '?':
        return false;
    default:
        if (!texts[option])
            return number_apply(c, option);
        *texts[option] = optarg;
        return true;
    }
}

int check_config_parse(struct check_config *c, int argc, char **argv)
{
    int option, truth = -1;

    *c = (struct check_config){
        .prefix = "dc:", .bound_ms = 1000, .max_stale_ms = 30000, .patience_ms = UNSET, .min_reads = 1};
    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (!text_apply(c, option, &truth)) {
            fprintf(stderr, "chaos-check: bad option or value%s%s; see tests/chaos/README.md\n",
                    optarg ? ": " : "", optarg ? optarg : "");
            return 2;
        }
    }
    c->total = truth >= 0 ? truth : c->aofs_count == 1 || c->text;
    if (c->patience_ms == UNSET)
        c->patience_ms = c->live ? 90000 : 0;
    if (optind < argc || !c->history == !c->text || (c->total && !c->text && c->aofs_count != 1)) {
        fprintf(stderr,
                "chaos-check: either --history DIR or --text FILE; --truth aof needs --history and one --aof; "
                "see tests/chaos/README.md\n");
        return 2;
    }
    return 0;
}
