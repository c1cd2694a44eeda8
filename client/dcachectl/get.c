#include <inttypes.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/text.h"

static int get_take_options(struct ctl *ctl, dcache_read_options *ret)
{
    uint64_t max_stale_ms = 0;

    *ret = (dcache_read_options){.size = sizeof *ret, .timeout_ms = ctl->timeout_ms};
    ret->strong = (ctl->given & FLAG_strong) != 0;
    ret->epoch = ctl->flags[FLAG_INDEX_epoch];
    if ((ctl->given & FLAG_min_version) && !parse_version(ctl->flags[FLAG_INDEX_min_version], &ret->min_version))
        return ctl_usage("--min-version: a number in 1 .. 2^63-1 is needed");
    if ((ctl->given & FLAG_epoch) && !(ctl->given & FLAG_min_version))
        return ctl_usage("--epoch: needs --min-version");
    if ((ctl->given & FLAG_allow_stale) &&
        (!parse_duration_ms(ctl->flags[FLAG_INDEX_allow_stale], &max_stale_ms) || max_stale_ms > UINT32_MAX))
        return ctl_usage("--allow-stale: a duration like 500ms or 2s is needed");
    ret->max_stale_ms = (uint32_t)max_stale_ms;
    return EXIT_OK;
}

static const char *state_name(dcache_state state)
{
    static const char *const names[] = {"absent", "fresh", "stale", "local"};

    return (unsigned)state < 4 ? names[state] : "unknown";
}

static void get_render_json(const char *key, const dcache_reading *reading)
{
    struct json json = json_to(stdout);

    json_open_object(&json);
    json_bytes(&json, "key", slice_text(key));
    if (reading->result == DCACHE_OK)
        json_bytes(&json, "value", slice_of(reading->value, reading->value_len));
    json_name(&json, "version");
    json_uint(&json, reading->version);
    json_name(&json, "timestamp");
    json_uint(&json, reading->timestamp_ns);
    json_name(&json, "source");
    json_text(&json, slice_text(reading->source));
    json_name(&json, "state");
    json_text(&json, slice_text(state_name(reading->state)));
    json_name(&json, "age_ms");
    json_uint(&json, reading->state == DCACHE_STATE_LOCAL ? 0 : reading->age_ns / 1000000);
    if (reading->replaced) {
        json_name(&json, "replaced");
        json_bool(&json, true);
    }
    json_close_object(&json);
}

static void get_render_text(const struct ctl *ctl, const dcache_reading *reading)
{
    struct slice value = slice_of(reading->value, reading->value_len);
    char age[TEXT_SMALL];

    if (ctl->tty) {
        text_escaped(stdout, value);
        putchar('\n');
    } else if (value.len > 0) {
        fwrite(value.data, 1, value.len, stdout);
    }
    if (reading->state == DCACHE_STATE_STALE)
        fprintf(stderr, "dcachectl: stale: proven current %s ago\n",
                text_duration(age, reading->age_ns / 1000000));
    if (reading->state == DCACHE_STATE_LOCAL)
        fprintf(stderr, "dcachectl: local: set by this reader pod for itself\n");
}

int verb_get(struct ctl *ctl)
{
    const char *key = ctl->operands[0];
    dcache_read_options options;
    dcache_reading reading;
    dcache_result result;
    int r = get_take_options(ctl, &options);

    if (r != EXIT_OK)
        return r;
    if (!*key)
        return ctl_usage("get: the key is empty");
    result = dcache_get(ctl->cache, key, strlen(key), &options, &reading);
    if (result < 0)
        return ctl_fail(ctl, result);
    if (ctl->json)
        get_render_json(key, &reading);
    else if (result == DCACHE_OK)
        get_render_text(ctl, &reading);
    else if (reading.version > 0)
        fprintf(stderr, "dcachectl: absent: deleted at version %" PRIu64 "\n", reading.version);
    else
        fprintf(stderr, "dcachectl: absent\n");
    return exit_of_result(result);
}
