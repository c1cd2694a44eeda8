#include "daemon/metrics/pages.h"

#include "daemon/metrics/process.h"
#include "daemon/metrics/table.h"
#include "daemon/metrics/text.h"

static const struct {
    const char *path, *what;
} pages[] = {
    [PAGE_INDEX] = {"/", "this list"},
    [PAGE_METRICS] = {"/metrics", "metrics, for Prometheus; see dcached-metrics(7)"},
    [PAGE_LIVE] = {"/livez", "200 while the daemon runs, whatever Redis does"},
    [PAGE_READY] = {"/readyz", "200 while plain reads are served; otherwise 503 and the reason"},
};

#define PAGES (sizeof(pages) / sizeof(*pages))

enum page page_find(const char *path)
{
    for (unsigned i = 0; i < PAGES; i++)
        if (strcmp(pages[i].path, path) == 0)
            return (enum page)i;
    return PAGE_UNKNOWN;
}

const char *page_type(enum page page)
{
    return page == PAGE_METRICS ? "text/plain; version=0.0.4; charset=utf-8" : "text/plain; charset=utf-8";
}

static void complete(struct metrics_input *in)
{
    process_look(&in->process);
    in->proof_age_ns = in->status.as_of == 0 ? UINT64_MAX : in->now - in->status.as_of;
    if (!in->status.ready)
        in->not_ready[in->status.reason] = 1;
}

/* One line, whatever Redis said: the text can be its. */
static void write_reason(struct buffer *b, const char *text)
{
    for (const char *c = text; *c; c++)
        text_format(b, "%c", *c < 0x20 || *c == 0x7f ? '?' : *c);
    text_add(b, "\n");
}

static unsigned write_ready(struct buffer *b, const struct metrics_input *in)
{
    if (!in->stopping && in->status.ready) {
        text_add(b, "ready\n");
        return 200;
    }
    text_add(b, "not ready: ");
    write_reason(b, in->stopping ? "the daemon is stopping" : in->status.reason_text);
    return 503;
}

unsigned page_write(enum page page, struct buffer *b, struct metrics_input *in)
{
    switch (page) {
    case PAGE_INDEX:
        for (unsigned i = 0; i < PAGES; i++)
            text_format(b, "%-9s %s\n", pages[i].path, pages[i].what);
        return 200;
    case PAGE_METRICS:
        complete(in);
        metrics_write(b, in);
        return 200;
    case PAGE_LIVE:
        text_add(b, "alive\n");
        return 200;
    case PAGE_READY:
        return write_ready(b, in);
    case PAGE_METHOD:
        text_add(b, "only GET and HEAD\n");
        return 405;
    case PAGE_UNKNOWN:
        break;
    }
    text_add(b, "there is no such page; / lists them\n");
    return 404;
}
