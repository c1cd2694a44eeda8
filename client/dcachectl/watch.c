#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

static void field_number(FILE *out, struct slice event, const char *name, const char *text)
{
    if (map_has(event, name))
        fprintf(out, "  %s %" PRIu64, text, map_uint(event, name));
}

static void field_text(FILE *out, struct slice event, const char *name, const char *text)
{
    if (map_bytes(event, name).len == 0)
        return;
    fprintf(out, "  %s", text);
    text_escaped(out, map_bytes(event, name));
}

void event_render(FILE *out, struct slice event, const char *clock)
{
    char *kind = text_escape(map_bytes(event, "kind"));
    bool more = map_has(event, "key") || map_has(event, "seq") || map_bytes(event, "text").len > 0;

    fprintf(out, "%s  %-*s", clock, more ? 9 : 0, kind ? kind : "");
    free(kind);
    field_text(out, event, "key", "");
    field_number(out, event, "version", "version");
    field_number(out, event, "current_version", "below");
    field_number(out, event, "seq", "seq");
    field_text(out, event, "source", "from ");
    field_text(out, event, "text", "");
    putc('\n', out);
}

static void clock_text(char ret[32])
{
    struct timespec now;
    struct tm tm;
    size_t len;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    len = strftime(ret, 16, "%H:%M:%S", &tm);
    snprintf(ret + len, 32 - len, ".%03u", (unsigned)(now.tv_nsec / 1000000));
}

static void on_event(void *ctx, const void *event, size_t len)
{
    struct ctl *ctl = ctx;
    struct cursor c = cursor_of(slice_of(event, len));
    struct json json = json_to(stdout);
    char clock[32];

    if (!event) {
        fprintf(stderr, "dcachectl: the connection was made again; events may be missing\n");
        return;
    }
    cursor_array(&c);
    cursor_skip(&c);
    if (cursor_peek(&c) != CURSOR_MAP)
        return;
    if (ctl->json) {
        json_packed(&json, &c);
    } else {
        clock_text(clock);
        event_render(stdout, cursor_raw(&c), clock);
    }
    fflush(stdout);
}

/* A reader of our output that goes away ends the watch, though nothing happens that could be written. */
static bool output_is_gone(const struct pollfd *output)
{
    return ferror(stdout) || (output->revents & (POLLERR | POLLNVAL));
}

static void watch_wait(struct ctl *ctl, struct pollfd pollfds[2], const sigset_t *while_waiting)
{
    int timeout_ms = dcache_timeout_ms(ctl->cache);
    struct timespec timeout = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};

    pollfds[0] = (struct pollfd){.fd = dcache_fd(ctl->cache), .events = dcache_events(ctl->cache)};
    pollfds[1] = (struct pollfd){.fd = STDOUT_FILENO};
    if (ppoll(pollfds, 2, timeout_ms < 0 ? NULL : &timeout, while_waiting) < 0)
        pollfds[0].revents = pollfds[1].revents = 0;
}

int verb_watch(struct ctl *ctl)
{
    const char *prefix = ctl->operand_count ? ctl->operands[0] : "";
    struct pollfd pollfds[2] = {0};
    sigset_t while_waiting;
    dcache_result result = dcache_ping(ctl->cache);

    if (result == DCACHE_OK)
        result = dcache_watch(ctl->cache, prefix, strlen(prefix), on_event, ctl);
    if (result != DCACHE_OK)
        return ctl_fail(ctl, result);
    live_catch_signals(&while_waiting);
    while (!live_interrupted() && !output_is_gone(&pollfds[1])) {
        result = dcache_process(ctl->cache);
        if (result != DCACHE_OK)
            return ctl_fail(ctl, result);
        watch_wait(ctl, pollfds, &while_waiting);
    }
    return live_interrupted() ? EXIT_OK : EXIT_FAILED;
}
