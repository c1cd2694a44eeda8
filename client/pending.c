/*
 * Requests between their beginning and their end: onto the queue, back to it, off all lists, and what a passed
 * deadline means where they stand.
 */
#include <stdarg.h>
#include <stdio.h>

#include "client/handle.h"

static void deadline_note(dcache *cache, uint64_t deadline_ns)
{
    if (deadline_ns < cache->next_deadline_ns)
        cache->next_deadline_ns = deadline_ns;
}

int request_submit(dcache *cache, struct request *request)
{
    int r = request_table_add(&cache->table, request);

    if (r < 0)
        return r;
    request_list_append(&cache->queue, request);
    deadline_note(cache, request->deadline_ns);
    return 0;
}

void request_resubmit(dcache *cache, struct request *request)
{
    request_list_remove(request);
    buffer_clear(&request->answer);
    request->failed = false;
    request_list_prepend(&cache->queue, request);
    deadline_note(cache, request->deadline_ns);
}

void request_withdraw(dcache *cache, struct request *request)
{
    request_list_remove(request);
    request_table_remove(&cache->table, request);
}

void request_finish(dcache *cache, struct request *request)
{
    request_list_remove(request);
    if (request->async)
        request_list_append(&cache->done, request);
}

void request_fail(dcache *cache, struct request *request, dcache_result result, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(request->text, sizeof request->text, format, args);
    va_end(args);
    request->failed = true;
    request->result = result;
    request_finish(cache, request);
}

void pending_fail_queue(dcache *cache, dcache_result result, const char *text)
{
    struct request *request = cache->queue.first, *next;

    for (; request; request = next) {
        next = request->next;
        if (request->kind != REQUEST_WATCH)
            request_fail(cache, request, result, "%s", text);
    }
}

static void request_expire(dcache *cache, struct request *request)
{
    const struct link *link = &cache->link;
    char text[sizeof request->text];

    if (request->list == &cache->lost) {
        memcpy(text, request->text, sizeof text);
        request_fail(cache, request, DCACHE_E_INDETERMINATE,
                     "%.100s before the answer came: the write may or may not have been done", text);
    } else if (request->list == &cache->sent) {
        if (request->writes)
            request_fail(cache, request, DCACHE_E_INDETERMINATE,
                         "no answer within %u ms: the write may or may not have been done", request->timeout_ms);
        else
            request_fail(cache, request, DCACHE_E_TIMEOUT, "no answer from dcached within %u ms",
                         request->timeout_ms);
    } else if (link->state != LINK_DOWN || link->backlog_full) {
        request_fail(cache, request, DCACHE_E_TIMEOUT,
                     "dcached did not take the request within %u ms; nothing was done", request->timeout_ms);
    } else {
        request_fail(cache, request, DCACHE_E_UNREACHABLE, "no connection to %s within %u ms: %s", cache->socket,
                     request->timeout_ms, link_remedy(link));
    }
}

void pending_expire(dcache *cache, uint64_t now_ns)
{
    struct request_list *lists[] = {&cache->lost, &cache->sent, &cache->queue};

    if (now_ns < cache->next_deadline_ns)
        return;
    cache->next_deadline_ns = UINT64_MAX;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct request *request = lists[i]->first, *next;

        for (; request; request = next) {
            next = request->next;
            if (request->deadline_ns <= now_ns)
                request_expire(cache, request);
            else
                deadline_note(cache, request->deadline_ns);
        }
    }
}
