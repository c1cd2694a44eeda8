#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/load.h"

/* Options without a field of their own type have a letter. */
enum { OPT_HISTORY = 1000, OPT_POD, OPT_MIX, OPT_CONTROL, OPT_PROGRESS };

static const char *const mix_names[WEIGHTS] = {"get",       "mget", "strong", "min_version",
                                               "max_stale", "set",  "delete", "clear"};

static bool number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return !errno && *end == '\0' && end != text && *text != '-' && *ret >= least && *ret <= most;
}

static bool mix_set(struct load_config *c, const char *name, uint64_t value)
{
    if (!strcmp(name, "invalidate") || !strcmp(name, "retry")) {
        *(strcmp(name, "retry") ? &c->invalidate : &c->retry) = (unsigned)value;
        return value <= 100;
    }
    for (int i = 0; i < WEIGHTS; i++) {
        if (strcmp(name, mix_names[i]) == 0) {
            c->weights[i] = (unsigned)value;
            return true;
        }
    }
    return false;
}

static bool mix_parse(struct load_config *c, char *text)
{
    char *state = NULL;

    for (char *part = strtok_r(text, ",", &state); part; part = strtok_r(NULL, ",", &state)) {
        char *value = strchr(part, '=');
        uint64_t number;

        if (!value)
            return false;
        *value++ = '\0';
        if (!number_parse(value, 0, 1000000, &number) || !mix_set(c, part, number))
            return false;
    }
    return true;
}

struct numeric {
    const char *name;
    uint64_t least, most;
    unsigned *small;
    uint64_t *large;
};

static bool config_complete(struct load_config *c)
{
    for (int i = 0; i < WEIGHTS; i++)
        c->weights_sum += c->weights[i];
    if (!c->history || c->pods_count == 0 || c->weights_sum == 0 || c->ttl_keys > c->keys)
        return false;
    if (!c->clients)
        c->clients = 3 * c->pods_count;
    if (c->sync < c->pods_count)
        c->sync = c->pods_count; /* they converge */
    return c->threads + c->sync <= THREADS_MAX;
}

static bool option_apply(struct load_config *c, int option, const struct numeric *numeric)
{
    uint64_t value;

    switch (option) {
    case OPT_HISTORY:
        c->history = optarg;
        return true;
    case OPT_POD:
        if (c->pods_count < PODS_MAX)
            c->pods[c->pods_count] = optarg;
        return c->pods_count++ < PODS_MAX;
    case OPT_MIX:
        return mix_parse(c, optarg);
    case OPT_CONTROL:
        return c->control = true;
    case OPT_PROGRESS:
        return c->progress = true;
    case '?':
        return false;
    default:
        numeric += option;
        if (!number_parse(optarg, numeric->least, numeric->most, &value))
            return false;
        if (numeric->small)
            *numeric->small = (unsigned)value;
        else
            *numeric->large = value;
        return true;
    }
}

int load_config_parse(struct load_config *c, int argc, char **argv)
{
    *c = (struct load_config){
        .depth = 32,
        .threads = 1,
        .keys = 2000,
        .value_bytes = 96,
        .timeout_ms = 1000,
        .bound_ms = 1000,
        .weights = {900, 30, 5, 10, 10, 30, 2, 0},
        .invalidate = 10,
        .retry = 100,
        .writes_max = 2000,
        .seed = 1,
    };
    const struct numeric numerics[] = {
        {"name", 0, 15, &c->process, NULL},
        {"clients", 1, 4096, &c->clients, NULL},
        {"depth", 1, 1000, &c->depth, NULL},
        {"threads", 1, THREADS_MAX, &c->threads, NULL},
        {"sync", 0, THREADS_MAX, &c->sync, NULL},
        {"keys", 1, KEYS_MAX, &c->keys, NULL},
        {"ttl-keys", 0, KEYS_MAX, &c->ttl_keys, NULL},
        {"value-bytes", 64, PAYLOAD_MAX, &c->value_bytes, NULL},
        {"timeout-ms", 1, 60000, &c->timeout_ms, NULL},
        {"bound-ms", 1, 60000, &c->bound_ms, NULL},
        {"rate", 0, 100000000, NULL, &c->rate},
        {"writes-max", 0, 100000000, NULL, &c->writes_max},
        {"seed", 0, UINT64_MAX, NULL, &c->seed},
        {"seconds", 1, 1000000, NULL, &c->seconds},
    };
    enum { NUMERICS = sizeof(numerics) / sizeof(*numerics) };
    struct option options[NUMERICS + 6] = {{"history", 1, NULL, OPT_HISTORY},
                                           {"pod", 1, NULL, OPT_POD},
                                           {"mix", 1, NULL, OPT_MIX},
                                           {"control", 0, NULL, OPT_CONTROL},
                                           {"progress", 0, NULL, OPT_PROGRESS}};
    int option;

    for (int i = 0; i < NUMERICS; i++)
        options[5 + i] = (struct option){numerics[i].name, 1, NULL, i};
    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (!option_apply(c, option, numerics)) {
            fprintf(stderr, "chaos-load: bad option or value%s%s; see tests/chaos/README.md\n", optarg ? ": " : "",
                    optarg ? optarg : "");
            return 2;
        }
    }
    if (optind < argc || !config_complete(c)) {
        fprintf(stderr, "chaos-load: --history DIR and --pod PATH are needed; see tests/chaos/README.md\n");
        return 2;
    }
    return 0;
}
