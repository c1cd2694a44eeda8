/* Sending: as many requests as may go out, in few pieces, with no doubt about those that did not. */
#include <stdio.h>

#include "client/handle.h"

#define SEND_BATCH ((size_t)64 << 10) /* packed at one go before the kernel is asked; picked */
#define BATCH_MAX  64

#define SENDS_AT_ONCE 16 /* a peer that reads as fast gets this much of one call; picked */

/* May the first of the queue go out now? */
bool link_may_send(const dcache *cache)
{
    const struct request *request = cache->queue.first;

    if (!request || cache->link.state == LINK_DOWN || cache->sent.count >= cache->link.max_in_flight)
        return false;
    return cache->link.state == LINK_READY || !request->writes;
}

/* What was packed into an empty `out` at one go. */
struct batch {
    size_t hello_end; /* 0: hello is not part of it */
    unsigned count;
    struct request *requests[BATCH_MAX];
    size_t starts[BATCH_MAX];
};

static void batch_pack_hello(dcache *cache, struct batch *batch, uint64_t now_ns)
{
    struct link *link = &cache->link;

    if (!link->hello_due)
        return;
    proto_pack_hello(&link->stream.out, HELLO_ID, cache->name);
    batch->hello_end = link->stream.out.len;
    link->hello_due = false;
    link->hello_sent_ns = now_ns;
}

/* What a write is packed with is the deadline by the daemon's clock, which hello tells. */
static bool goes_before_hello(const struct request *request, size_t len)
{
    return !request->writes && len <= MESSAGE_EARLY;
}

/* A request that cannot be packed, or that no daemon would take, fails here. */
static void batch_pack(dcache *cache, struct batch *batch, uint64_t now_ns)
{
    struct link *link = &cache->link;
    struct buffer *out = &link->stream.out;

    *batch = (struct batch){0};
    batch_pack_hello(cache, batch, now_ns);
    while (batch->count < BATCH_MAX && out->len < SEND_BATCH && link_may_send(cache)) {
        struct request *request = cache->queue.first;
        size_t start = out->len, len;

        request_pack(request, out, now_ns, &link->clock);
        len = out->len - start;
        if (!out->failed && len <= link->max_message &&
            (link->state == LINK_READY || goes_before_hello(request, len))) {
            request_list_remove(request);
            request_list_append(&cache->sent, request);
            batch->requests[batch->count] = request;
            batch->starts[batch->count++] = start;
            continue;
        }
        if (!out->failed && len <= link->max_message) {
            out->len = start;
            return; /* waits for hello */
        }
        if (out->failed)
            request_fail(cache, request, DCACHE_E_NOMEM, "out of memory");
        else
            request_fail(cache, request, DCACHE_E_TOO_LARGE,
                         "the request takes %zu bytes, the daemon accepts at most %zu", len, link->max_message);
        out->failed = false;
        out->len = start;
    }
}

/*
 * Requests no byte of which went out return to the queue: they can still be given up without a doubt, and are
 * packed again with the time they have left by then. `out` keeps at most the rest of one frame.
 */
static void batch_take_back(dcache *cache, struct batch *batch, size_t sent)
{
    while (batch->count > 0 && batch->starts[batch->count - 1] >= sent) {
        size_t start = batch->starts[--batch->count];

        if (batch->hello_end == 0 || start >= batch->hello_end)
            stream_take_back(&cache->link.stream, start);
        request_list_remove(batch->requests[batch->count]);
        request_list_prepend(&cache->queue, batch->requests[batch->count]);
    }
}

/* Whatever the daemon still had to say before it went is read first. */
static void link_send_failed(dcache *cache, int error, uint64_t now_ns)
{
    link_receive(cache, now_ns);
    link_lose_broken(cache, error);
}

/* The rest of a frame, if there is one; otherwise the next batch. */
static int link_send_once(dcache *cache, uint64_t now_ns, size_t *ret_sent)
{
    struct stream *stream = &cache->link.stream;
    struct batch batch;
    int r;

    if (stream_unsent(stream) > 0)
        return stream_send(stream, ret_sent);
    batch_pack(cache, &batch, now_ns);
    r = stream_send(stream, ret_sent);
    batch_take_back(cache, &batch, *ret_sent);
    return r;
}

void link_send(dcache *cache, uint64_t now_ns)
{
    size_t sent = 1;

    for (int i = 0; i < SENDS_AT_ONCE && sent > 0; i++) {
        int r = link_send_once(cache, now_ns, &sent);

        if (r < 0) {
            link_send_failed(cache, -r, now_ns);
            return;
        }
    }
}
