/*
 * Watches. Each has a request of its own that is sent on every new connection; its answer names the watch, and
 * events carry that name. They queue up until dcache_process, where callbacks run; past the limit of the queue
 * they are dropped and the callback hears that some are missing.
 */
#include <stdlib.h>

#include "client/handle.h"

dcache_result dcache_watch(dcache *cache, const void *prefix, size_t prefix_len, dcache_event_fn fn, void *ctx)
{
    struct watch *watch = NULL;
    dcache_result result = handle_enter(cache);

    if (result != DCACHE_OK)
        return result;
    if ((!prefix && prefix_len > 0) || prefix_len > MESSAGE_EARLY / 2)
        return handle_fail(cache, DCACHE_E_INVALID, "the prefix is missing or longer than any key");
    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++) {
        struct watch *other = &cache->watches[i];

        if (other->used && slice_equal(other->request.params, slice_of(prefix, prefix_len)))
            return handle_fail(cache, DCACHE_E_INVALID, "this prefix is watched already");
        if (!other->used && !watch)
            watch = other;
    }
    if (!watch)
        return handle_fail(cache, DCACHE_E_BUSY, "at most %d watches on one handle", PROTO_WATCHES_MAX);

    *watch = (struct watch){.fn = fn, .ctx = ctx, .prefix = malloc(prefix_len + 1)};
    if (!watch->prefix)
        return handle_fail(cache, DCACHE_E_NOMEM, "out of memory");
    if (prefix_len > 0)
        memcpy(watch->prefix, prefix, prefix_len);
    watch->request = (struct request){.kind = REQUEST_WATCH, .deadline_ns = UINT64_MAX};
    watch->request.params = slice_of(watch->prefix, prefix_len);
    if (request_submit(cache, &watch->request) < 0) {
        free(watch->prefix);
        return handle_fail(cache, DCACHE_E_NOMEM, "out of memory");
    }
    watch->used = true;
    return DCACHE_OK;
}

static void watch_remove(dcache *cache, struct watch *watch)
{
    request_withdraw(cache, &watch->request);
    buffer_deinit(&watch->request.answer);
    free(watch->prefix);
    watch->used = false;
    for (struct event *event = cache->events; event; event = event->next)
        if (event->watch == watch) {
            event->watch = NULL;
            event->id = 0;
        }
}

/* Its request is on the way: events of an id that nobody knows may be its. */
static bool watch_is_pending(const dcache *cache)
{
    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++)
        if (cache->watches[i].used && cache->watches[i].request.list == &cache->sent)
            return true;
    return false;
}

void watch_interrupt(dcache *cache)
{
    /* Ids are those of a connection. */
    for (struct event *event = cache->events; event; event = event->next)
        event->id = 0;
    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++) {
        struct watch *watch = &cache->watches[i];

        if (!watch->used || watch->request.list == &cache->queue)
            continue;
        watch->again = watch->again || watch->made;
        watch->made = false;
        request_resubmit(cache, &watch->request);
    }
}

/* ---- events ----------------------------------------------------------------------------------------------- */

static struct watch *watch_find(dcache *cache, uint64_t id)
{
    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++)
        if (cache->watches[i].used && cache->watches[i].made && cache->watches[i].id == id)
            return &cache->watches[i];
    return NULL;
}

/* The watches whose answer stands before the event in the stream have to be known by their id. */
static void watch_take_answer(dcache *cache, struct watch *watch)
{
    struct rpc_frame frame;

    if (watch->made || watch->request.list || watch->request.failed || watch->request.answer.len == 0)
        return;
    rpc_decode(slice_of(watch->request.answer.data, watch->request.answer.len), &frame);
    if (!answer_is_good(&frame))
        return;
    watch->id = cursor_uint(&frame.result);
    watch->made = cursor_ok(&frame.result);
    if (!watch->made)
        return;
    buffer_clear(&watch->request.answer);
    watch->gap = watch->gap || watch->again;
    watch->again = false;
    for (struct event *event = cache->events; event; event = event->next)
        if (!event->watch && event->id == watch->id)
            event->watch = watch;
}

static void watch_take_answers(dcache *cache)
{
    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++)
        if (cache->watches[i].used)
            watch_take_answer(cache, &cache->watches[i]);
}

void watch_receive(dcache *cache, struct slice method, struct cursor params)
{
    struct slice raw = cursor_raw(&params);
    struct cursor c = cursor_of(raw);
    struct watch *watch;
    struct event *event;
    uint64_t id;

    if (!slice_equal(method, slice_text("event")) || cursor_array(&c) < 2)
        return;
    watch_take_answers(cache);
    id = cursor_uint(&c);
    watch = watch_find(cache, id);
    if (!cursor_ok(&c) || (watch ? watch->gap : !watch_is_pending(cache)))
        return;
    event = raw.len <= EVENT_BYTES_MAX - cache->event_bytes ? malloc(sizeof *event + raw.len) : NULL;
    if (!event && watch)
        watch->gap = true;
    if (!event)
        return;
    *event = (struct event){.watch = watch, .id = id, .len = raw.len};
    memcpy(event->bytes, raw.data, raw.len);
    *cache->events_end = event;
    cache->events_end = &event->next;
    cache->event_bytes += raw.len;
}

dcache_result watch_settle(dcache *cache)
{
    dcache_result result = DCACHE_OK;

    watch_take_answers(cache);
    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++) {
        struct watch *watch = &cache->watches[i];
        struct slice ignored;

        if (!watch->used || watch->made || watch->request.list)
            continue;
        result = answer_plain(cache, &watch->request, &ignored);
        if (result == DCACHE_OK)
            result = handle_fail(cache, DCACHE_E_PROTOCOL, "the answer to watch is no number");
        watch_remove(cache, watch);
    }
    return result;
}

/* The first one may have to wait for the answer that says whose it is. */
static bool event_is_due(const dcache *cache)
{
    return cache->events && (cache->events->watch || !watch_is_pending(cache));
}

static struct event *event_pop(dcache *cache)
{
    struct event *event = cache->events;

    cache->events = event->next;
    if (!cache->events)
        cache->events_end = &cache->events;
    cache->event_bytes -= event->len;
    return event;
}

void watch_deliver(dcache *cache)
{
    struct event *event;

    while (event_is_due(cache)) {
        event = event_pop(cache);
        if (event->watch && event->watch->fn)
            event->watch->fn(event->watch->ctx, event->bytes, event->len);
        free(event);
    }
    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++) {
        struct watch *watch = &cache->watches[i];

        if (!watch->used || !watch->gap)
            continue;
        watch->gap = false;
        if (watch->fn)
            watch->fn(watch->ctx, NULL, 0);
    }
}

/* There is something to tell of it. */
static bool watch_is_ready(const struct watch *watch)
{
    return watch->used && (watch->gap || (!watch->made && !watch->request.list));
}

bool watch_is_due(const dcache *cache)
{
    if (event_is_due(cache))
        return true;
    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++)
        if (watch_is_ready(&cache->watches[i]))
            return true;
    return false;
}

void watch_deinit(dcache *cache)
{
    struct event *event;

    for (unsigned i = 0; i < PROTO_WATCHES_MAX; i++)
        if (cache->watches[i].used)
            watch_remove(cache, &cache->watches[i]);
    while (cache->events) {
        event = event_pop(cache);
        free(event);
    }
}
