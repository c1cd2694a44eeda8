/* set, delete and clear. */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/text.h"

#define STDIN_MAX ((size_t)1 << 30) /* picked: far above every max_value */

struct write_call {
    const char *verb, *key;
    dcache_write_options options;
    uint8_t write_id[16];
};

static int write_take_options(struct ctl *ctl, struct write_call *call)
{
    dcache_write_options *options = &call->options;

    *options = (dcache_write_options){.size = sizeof *options, .timeout_ms = ctl->timeout_ms};
    options->invalidate = (ctl->given & FLAG_invalidate) != 0;
    if ((ctl->given & FLAG_version) && !parse_version(ctl->flags[FLAG_INDEX_version], &options->version))
        return ctl_usage("--version: a number in 1 .. 2^63-1 is needed");
    if (ctl->given & FLAG_ttl) {
        options->has_ttl = 1;
        if (!parse_duration_ms(ctl->flags[FLAG_INDEX_ttl], &options->ttl_ms))
            return ctl_usage("--ttl: a duration like 500ms or 2s, or 0 for none, is needed");
    }
    if (ctl->given & FLAG_retry) {
        options->retry = 1;
        options->write_id = call->write_id;
        if (!parse_write_id(ctl->flags[FLAG_INDEX_retry], call->write_id))
            return ctl_usage("--retry: the write id of the first attempt, 32 hex digits, is needed");
    }
    if (!*call->key)
        return ctl_usage("%s: the key is empty", call->verb);
    return EXIT_OK;
}

static const char *outcome_name(dcache_result result)
{
    return result == DCACHE_OK ? "accepted" : dcache_result_name(result);
}

static void write_render_json(const struct write_call *call, const dcache_written *written)
{
    struct json json = json_to(stdout);
    char write_id[33];

    format_write_id(written->write_id, write_id);
    json_open_object(&json);
    json_bytes(&json, "key", slice_text(call->key));
    json_name(&json, "outcome");
    json_text(&json, slice_text(outcome_name(written->result)));
    json_name(&json, "version");
    json_uint(&json, written->version);
    json_name(&json, "seq");
    json_uint(&json, written->seq);
    json_name(&json, "epoch");
    json_text(&json, slice_text(written->epoch));
    json_name(&json, "write_id");
    json_text(&json, slice_text(write_id));
    json_close_object(&json);
}

static void write_render_text(const dcache_written *written)
{
    switch (written->result) {
    case DCACHE_OK:
        printf("accepted: version %" PRIu64 ", seq %" PRIu64 "\n", written->version, written->seq);
        break;
    case DCACHE_STALE:
        printf("stale: rejected, version %" PRIu64 " is stored\n", written->version);
        break;
    case DCACHE_DUPLICATE:
        printf("duplicate: this write is stored already as version %" PRIu64 "\n", written->version);
        break;
    case DCACHE_CONFLICT:
        printf("conflict: rejected, other content is stored at version %" PRIu64 "\n", written->version);
        break;
    default:
        printf("local: version %" PRIu64 " is kept by this reader pod for itself\n", written->version);
        break;
    }
}

/* An indeterminate write says how it can be retried safely. */
static int write_fail(struct ctl *ctl, const struct write_call *call, const dcache_written *written)
{
    char write_id[33];

    format_write_id(written->write_id, write_id);
    if (written->result != DCACHE_E_INDETERMINATE)
        return ctl_fail(ctl, written->result);
    fprintf(stderr, "dcachectl: indeterminate: ");
    text_escaped(stderr, slice_text(dcache_error(ctl->cache)));
    fprintf(stderr, "\nTo retry, so that it commits once: the same command with --retry %s\n", write_id);
    if (ctl->json) {
        struct json json = json_to(stdout);

        json_open_object(&json);
        json_name(&json, "error");
        json_text(&json, slice_text("indeterminate"));
        json_name(&json, "text");
        json_text(&json, slice_text(dcache_error(ctl->cache)));
        json_bytes(&json, "key", slice_text(call->key));
        json_name(&json, "write_id");
        json_text(&json, slice_text(write_id));
        json_close_object(&json);
    }
    return EXIT_INDETERMINATE;
}

static int write_report(struct ctl *ctl, const struct write_call *call, const dcache_written *written)
{
    if (written->result < 0)
        return write_fail(ctl, call, written);
    if (ctl->json)
        write_render_json(call, written);
    else
        write_render_text(written);
    return exit_of_result(written->result);
}

/* All of standard input. False: it was said why not. */
static bool read_stdin(struct buffer *ret)
{
    for (;;) {
        uint8_t *at = buffer_reserve(ret, 65536);
        ssize_t n = at ? read(STDIN_FILENO, at, 65536) : -1;

        if (at && n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            fprintf(stderr, "dcachectl: cannot read standard input: %s\n", at ? strerror(errno) : "out of memory");
            return false;
        }
        if (n == 0)
            return true;
        ret->len += (size_t)n;
        if (ret->len > STDIN_MAX) {
            fprintf(stderr, "dcachectl: standard input is longer than any value may be\n");
            return false;
        }
    }
}

int verb_set(struct ctl *ctl)
{
    struct write_call call = {.verb = "set", .key = ctl->operands[0]};
    struct slice value = slice_text(ctl->operands[1]);
    struct buffer input = BUFFER_INIT;
    dcache_written written;
    int r = write_take_options(ctl, &call);

    if (r != EXIT_OK)
        return r;
    if (slice_equal(value, slice_text("-"))) {
        if (!read_stdin(&input)) {
            buffer_deinit(&input);
            return EXIT_FAILED;
        }
        value = slice_of(input.data, input.len);
    }
    dcache_set(ctl->cache, call.key, strlen(call.key), value.data, value.len, &call.options, &written);
    r = write_report(ctl, &call, &written);
    buffer_deinit(&input);
    return r;
}

int verb_delete(struct ctl *ctl)
{
    struct write_call call = {.verb = "delete", .key = ctl->operands[0]};
    dcache_written written;
    int r = write_take_options(ctl, &call);

    if (r != EXIT_OK)
        return r;
    dcache_delete(ctl->cache, call.key, strlen(call.key), &call.options, &written);
    return write_report(ctl, &call, &written);
}

int verb_clear(struct ctl *ctl)
{
    struct json json = json_to(stdout);
    dcache_written written;
    dcache_result result;

    if (!(ctl->given & FLAG_yes))
        return ctl_usage("clear removes all keys of the partition, in all pods; if that is meant: clear --yes");
    result = dcache_clear(ctl->cache, &written);
    if (result < 0) {
        int r = ctl_fail(ctl, result);

        if (result == DCACHE_E_INDETERMINATE)
            fprintf(stderr, "A clear can be repeated; it removes what was written meanwhile, too.\n");
        return r;
    }
    if (!ctl->json) {
        printf("cleared up to seq %" PRIu64 ", new epoch %s\n", written.seq, written.epoch);
        return EXIT_OK;
    }
    json_open_object(&json);
    json_name(&json, "outcome");
    json_text(&json, slice_text(outcome_name(result)));
    json_name(&json, "version");
    json_uint(&json, written.version);
    json_name(&json, "seq");
    json_uint(&json, written.seq);
    json_name(&json, "epoch");
    json_text(&json, slice_text(written.epoch));
    json_close_object(&json);
    return exit_of_result(result);
}
