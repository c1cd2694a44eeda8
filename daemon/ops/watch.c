/*
 * watch, unwatch and the events. An event goes to every watch whose prefix its key has; events without a key
 * (gaps, epochs, readiness) go to all. A watcher that does not take its events loses the newest: when there is
 * room again, an event `lost` with the number comes before the next one.
 */
#include <stdlib.h>

#include "daemon/ops/internal.h"
#include "daemon/ops/maps.h"

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

/* Which keys an event of each kind has. */
enum {
    HAS_KEY = 1,
    HAS_VERSION = 2,
    HAS_SEQ = 4,
    HAS_SOURCE = 8,
    HAS_CURRENT = 16,
    HAS_TEXT = 32,
    HAS_ORIGIN = 64,
};

static const struct {
    const char *name;
    unsigned has;
} kinds[] = {
    [NOTE_UPDATE] = {"update", HAS_KEY | HAS_VERSION | HAS_SEQ | HAS_SOURCE},
    [NOTE_DELETE] = {"delete", HAS_KEY | HAS_VERSION | HAS_SEQ | HAS_SOURCE},
    [NOTE_LOCAL] = {"local", HAS_KEY | HAS_VERSION},
    [NOTE_REJECTED] = {"rejected",
                       HAS_KEY | HAS_VERSION | HAS_SEQ | HAS_SOURCE | HAS_CURRENT | HAS_TEXT | HAS_ORIGIN},
    [NOTE_HOOK] = {"hook", HAS_KEY | HAS_VERSION | HAS_SOURCE},
    [NOTE_GAP] = {"gap", HAS_SEQ},
    [NOTE_EPOCH] = {"epoch", HAS_TEXT},
    [NOTE_READY] = {"ready", 0},
    [NOTE_NOT_READY] = {"not_ready", HAS_TEXT},
    [NOTE_BAD_MESSAGE] = {"bad_message", HAS_TEXT},
    [NOTE_BAD_RECORD] = {"bad_record", HAS_KEY | HAS_TEXT},
    [NOTE_WRITES] = {"writes", HAS_TEXT},
    [NOTE_INCONSISTENT] = {"inconsistent", HAS_KEY | HAS_VERSION | HAS_SEQ | HAS_CURRENT | HAS_TEXT},
};

static void pack_event(struct buffer *b, uint64_t watch, const struct core_effect *effect)
{
    unsigned has = kinds[effect->note.kind].has;

    rpc_pack_notification(b, "event");
    pack_array(b, 2);
    pack_uint(b, watch);
    pack_map(b, 1 + (unsigned)__builtin_popcount(has));
    map_text(b, "kind", kinds[effect->note.kind].name);
    if (has & HAS_KEY)
        map_bin(b, "key", effect->note.key);
    if (has & HAS_VERSION)
        map_uint(b, "version", effect->note.version);
    if (has & HAS_SEQ)
        map_uint(b, "seq", effect->note.seq);
    if (has & HAS_SOURCE)
        map_str(b, "source", effect->note.source);
    if (has & HAS_CURRENT)
        map_uint(b, "current_version", effect->note.current_version);
    if (has & HAS_TEXT)
        map_text(b, "text", effect->note.text);
    if (has & HAS_ORIGIN)
        map_text(b, "origin", effect->note.origin);
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

void ops_note(struct ops *ops, const struct core_effect *effect, uint64_t now)
{
    struct slice key = effect->note.key;

    if (effect->note.kind == NOTE_REJECTED)
        hot_add(&ops->hot_rejected, key, now);

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
