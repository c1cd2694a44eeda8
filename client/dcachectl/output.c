#include <stdarg.h>
#include <time.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/text.h"

int exit_of_result(dcache_result result)
{
    switch (result) {
    case DCACHE_OK:
    case DCACHE_DUPLICATE:
    case DCACHE_LOCAL:
        return EXIT_OK;
    case DCACHE_ABSENT:
        return EXIT_ABSENT;
    case DCACHE_STALE:
    case DCACHE_CONFLICT:
        return EXIT_REJECTED;
    case DCACHE_E_REFUSED:
    case DCACHE_E_UNAVAILABLE:
    case DCACHE_E_MIN_VERSION:
    case DCACHE_E_OTHER_EPOCH:
        return EXIT_REFUSED;
    case DCACHE_E_UNREACHABLE:
        return EXIT_UNREACHABLE;
    case DCACHE_E_TIMEOUT:
        return EXIT_TIMEOUT;
    case DCACHE_E_INDETERMINATE:
        return EXIT_INDETERMINATE;
    case DCACHE_E_PERMISSION:
        return EXIT_PERMISSION;
    case DCACHE_E_INVALID:
        return EXIT_USAGE;
    case DCACHE_E_TOO_LARGE:
    case DCACHE_E_BUSY:
    case DCACHE_E_STORE:
    case DCACHE_E_CORRUPT:
    case DCACHE_E_PROTOCOL:
    case DCACHE_E_NOMEM:
    case DCACHE_E_FORKED:
    case DCACHE_E_INTERNAL:
        break;
    }
    return EXIT_FAILED;
}

int ctl_fail(struct ctl *ctl, dcache_result result)
{
    struct slice text = slice_text(dcache_error(ctl->cache));
    struct json json = json_to(stdout);

    fprintf(stderr, "dcachectl: %s: ", dcache_result_name(result));
    text_escaped(stderr, text);
    putc('\n', stderr);
    if (ctl->json) {
        json_open_object(&json);
        json_name(&json, "error");
        json_text(&json, slice_text(dcache_result_name(result)));
        json_name(&json, "text");
        json_text(&json, text);
        json_close_object(&json);
    }
    return exit_of_result(result);
}

int ctl_usage(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fputs("dcachectl: ", stderr);
    text_escaped(stderr, slice_text(text));
    fputs("\nTry 'dcachectl --help'.\n", stderr);
    return EXIT_USAGE;
}

dcache_result ctl_call(struct ctl *ctl, const char *method, struct buffer *params, struct slice *ret)
{
    const void *data = NULL;
    size_t len = 0;
    dcache_result result =
        dcache_call(ctl->cache, method, params->data, params->len, ctl->timeout_ms, &data, &len);

    buffer_deinit(params);
    *ret = slice_of(data, len);
    if (result != DCACHE_OK)
        ctl_fail(ctl, result);
    return result;
}

int ctl_ask(struct ctl *ctl, const char *method, struct buffer *ret)
{
    struct buffer params = BUFFER_INIT;
    struct slice answer;
    dcache_result result;

    pack_array(&params, 0);
    result = ctl_call(ctl, method, &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    buffer_clear(ret);
    buffer_append(ret, answer.data, answer.len);
    return EXIT_OK;
}

uint64_t ctl_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t ctl_daemon_timeout_ms(const struct ctl *ctl)
{
    uint64_t back_ms = ctl->timeout_ms / 10;

    return ctl->timeout_ms - (back_ms < 100 ? back_ms : 100);
}

const char *color_on(bool use, enum color color)
{
    if (!use)
        return "";
    switch (color) {
    case COLOR_GOOD:
        return "\033[32m";
    case COLOR_WARN:
        return "\033[33m";
    case COLOR_BAD:
        return "\033[31m";
    case COLOR_NONE:
        break;
    }
    return "";
}

const char *color_off(bool use)
{
    return use ? "\033[0m" : "";
}
