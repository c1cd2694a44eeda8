/*
 * watch, unwatch and the events. An event goes to every watch whose prefix its key has; events without a key
 * (gaps, epochs, readiness) go to all. A watcher that does not take its events loses the newest: when there is
 * room again, an event `lost` with the number comes before the next one.
 */
#include <stdlib.h>

#include "daemon/ops/internal.h"
#include "daemon/ops/maps.h"

static const char *note_name(enum note_kind kind)
{
    switch (kind) {
    case NOTE_UPDATE:
        return "update";
    case NOTE_DELETE:
        return "delete";
    case NOTE_LOCAL:
        return "local";
    case NOTE_REJECTED:
        return "rejected";
    case NOTE_HOOK:
        return "hook";
    case NOTE_GAP:
        return "gap";
    case NOTE_EPOCH:
        return "epoch";
    case NOTE_READY:
        return "ready";
    case NOTE_NOT_READY:
        return "not_ready";
    case NOTE_BAD_MESSAGE:
        return "bad_message";
    case NOTE_BAD_RECORD:
        return "bad_record";
    case NOTE_WRITES:
        return "writes";
    }
    return "unknown";
}

static unsigned watches_of(const struct ops *ops, uint64_t client)
{
    unsigned count = 0;

    for (unsigned i = 0; i < ops->watch_count; i++)
        count += ops->watches[i].client == client;
    return count;
}

static void watch_remove(struct ops *ops, unsigned index)
{
    free(ops->watches[index].prefix);
    ops->watches[index] = ops->watches[--ops->watch_count];
    if (ops->watch_count == 0)
        core_set_watching(ops->config.core, false);
}

/* NULL: no memory. */
static struct watch *watch_add(struct ops *ops, uint64_t client, struct slice prefix)
{
    uint8_t *copy = malloc(prefix.len + 1);
    struct watch *watch;

    if (!ops->watches)
        ops->watches = calloc(OPS_WATCHES_MAX, sizeof(*ops->watches));
    if (!copy || !ops->watches) {
        free(copy);
        return NULL;
    }
    if (prefix.len > 0)
        memcpy(copy, prefix.data, prefix.len);
    watch = &ops->watches[ops->watch_count++];
    *watch = (struct watch){.client = client, .id = ops->next_watch++, .prefix = copy, .prefix_len = prefix.len};
    core_set_watching(ops->config.core, true);
    return watch;
}

void run_watch(struct ops *ops, const struct request *request)
{
    struct slice prefix;
    struct watch *watch;
    struct buffer *b;
    uint64_t id;
    const char *error = proto_decode_watch(request->params, &prefix);

    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    if (prefix.len > ops->config.max_key) {
        answer_error(ops, request->client, request->id, RPC_TOO_LARGE, "prefix: longer than [cache] max_key");
        return;
    }
    if (ops->watch_count == OPS_WATCHES_MAX || watches_of(ops, request->client) >= PROTO_WATCHES_MAX) {
        answer_error(ops, request->client, request->id, RPC_BUSY,
                     "too many watches: 16 for each connection, 1024 in all");
        return;
    }
    watch = watch_add(ops, request->client, prefix);
    if (!watch) {
        answer_error(ops, request->client, request->id, RPC_INTERNAL, "out of memory");
        return;
    }
    id = watch->id;
    b = answer_begin(ops, request->client, request->id);
    if (!b)
        return;
    pack_uint(b, id);
    answer_end(ops, request->client);
}

void run_unwatch(struct ops *ops, const struct request *request)
{
    uint64_t id = 0;
    bool found = false;
    struct buffer *b;
    const char *error = proto_decode_unwatch(request->params, &id);

    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    for (unsigned i = 0; i < ops->watch_count && !found; i++) {
        if (ops->watches[i].id != id || ops->watches[i].client != request->client)
            continue;
        watch_remove(ops, i);
        found = true;
    }
    b = answer_begin(ops, request->client, request->id);
    if (!b)
        return;
    pack_bool(b, found);
    answer_end(ops, request->client);
}

void watches_forget(struct ops *ops, uint64_t client)
{
    for (unsigned i = ops->watch_count; i-- > 0;)
        if (ops->watches[i].client == client)
            watch_remove(ops, i);
}

/* ---- events ----------------------------------------------------------------------------------------------- */

static void pack_event(struct buffer *b, uint64_t watch, const struct core_effect *effect)
{
    rpc_pack_notification(b, "event");
    pack_array(b, 2);
    pack_uint(b, watch);
    pack_map(b, 9);
    map_text(b, "kind", note_name(effect->note.kind));
    map_bin(b, "key", effect->note.key);
    map_uint(b, "version", effect->note.version);
    map_uint(b, "seq", effect->note.seq);
    map_uint(b, "current_version", effect->note.current_version);
    map_uint(b, "current_seq", effect->note.current_seq);
    map_str(b, "source", effect->note.source);
    map_text(b, "origin", effect->note.origin);
    map_text(b, "text", effect->note.text);
}

static void pack_lost(struct buffer *b, uint64_t watch, uint64_t lost)
{
    rpc_pack_notification(b, "event");
    pack_array(b, 2);
    pack_uint(b, watch);
    pack_map(b, 2);
    map_text(b, "kind", "lost");
    map_uint(b, "lost", lost);
}

/* Making room may close clients, and with them take watches away. */
static bool still_there(const struct ops *ops, const struct watch *watch, uint64_t client)
{
    return watch < ops->watches + ops->watch_count && watch->client == client;
}

static void tell(struct ops *ops, struct watch *watch, const struct core_effect *effect)
{
    uint64_t client = watch->client;
    struct buffer *b;

    if (ops->config.queued_bytes(ops->config.ctx, client) > OPS_EVENTS_BYTES ||
        !ops->config.has_room(ops->config.ctx, client, 512 + effect->note.key.len)) {
        ops->counters.events_lost++;
        if (still_there(ops, watch, client))
            watch->lost++;
        return;
    }
    if (!still_there(ops, watch, client))
        return;
    b = ops->config.event_begin(ops->config.ctx, client);
    if (!b)
        return;
    if (watch->lost > 0)
        pack_lost(b, watch->id, watch->lost);
    watch->lost = 0;
    pack_event(b, watch->id, effect);
    ops->counters.events++;
    /* May close the client, and with it take the watch away. */
    ops->config.event_end(ops->config.ctx, client);
}

void ops_note(struct ops *ops, const struct core_effect *effect)
{
    struct slice key = effect->note.key;

    /* From the end: a watch that goes away is replaced by one that has been told. */
    for (unsigned i = ops->watch_count; i-- > 0;) {
        struct watch *watch;

        if (i >= ops->watch_count)
            continue;
        watch = &ops->watches[i];
        if (key.len == 0 || slice_has_prefix(key, slice_of(watch->prefix, watch->prefix_len)))
            tell(ops, watch, effect);
    }
}
