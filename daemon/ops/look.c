/* inspect, versions and verify: what the pod has, beside what Redis has. */
#include "daemon/ops/internal.h"
#include "daemon/ops/maps.h"

#define PAGE_COST 16 /* gets that a page costs beside its keys; picked */

static const char *verdict_name(enum read_outcome verdict)
{
    static const char *const names[] = {
        [READ_ABSENT] = "absent", [READ_FRESH] = "fresh",     [READ_STALE] = "stale",
        [READ_LOCAL] = "local",   [READ_REFUSED] = "refused", [READ_ERROR] = "error",
    };

    return (unsigned)verdict <= READ_ERROR ? names[verdict] : "unknown";
}

/* ---- inspect ---------------------------------------------------------------------------------------------- */

static void pack_cached(struct buffer *b, const struct core_view *view, uint64_t now)
{
    pack_text(b, "cached");
    if (!view->cached) {
        pack_nil(b);
        return;
    }
    pack_map(b, 10);
    map_uint(b, "version", view->cached_version);
    map_uint(b, "seq", view->cached_seq);
    map_uint(b, "timestamp", view->cached_timestamp_ns);
    map_uint(b, "bytes", view->cached_bytes);
    map_age(b, "as_of_age_ms", now, view->cached_as_of);
    pack_text(b, "expires_in_ms");
    if (view->cached_expires_at == 0)
        pack_nil(b);
    else
        pack_uint(b, view->cached_expires_at > now ? (view->cached_expires_at - now) / NS_PER_MS : 0);
    map_bool(b, "suspect", view->suspect);
    map_bool(b, "local", view->cached_local);
    map_bool(b, "replaced", view->cached_replaced);
    map_bool(b, "tombstone", view->cached_tombstone);
}

static void pack_floor(struct buffer *b, const struct core_view *view, uint64_t now)
{
    pack_text(b, "floor");
    if (!view->floor) {
        pack_nil(b);
        return;
    }
    pack_map(b, 3);
    map_uint(b, "version", view->floor_version);
    map_uint(b, "seq", view->floor_seq);
    map_age(b, "seen_age_ms", now, view->floor_seen_at);
}

static const char *redis_state(const struct core_effect *effect)
{
    if (effect->inspect_done.status != REPLY_OK)
        return "unreachable";
    switch (effect->inspect_done.result) {
    case FETCH_ABSENT:
        return "absent";
    case FETCH_RECORD:
        return effect->inspect_done.record.kind == RECORD_TOMBSTONE ? "tombstone" : "value";
    default:
        return "unreadable";
    }
}

static void pack_redis(struct buffer *b, const struct ops *ops, const struct core_effect *effect)
{
    bool found = effect->inspect_done.status == REPLY_OK && effect->inspect_done.result == FETCH_RECORD;
    struct record none = {0};
    const struct record *record = found ? &effect->inspect_done.record : &none;
    uint64_t store_ms = effect->inspect_done.store_us / 1000;
    struct slice text = effect->inspect_done.text;

    if (effect->inspect_done.status != REPLY_OK)
        text = reason_slice(ops, effect->inspect_done.reason, text);
    pack_text(b, "redis");
    pack_map(b, 7);
    map_text(b, "state", redis_state(effect));
    map_uint(b, "version", record->version);
    map_uint(b, "seq", record->seq);
    map_uint(b, "timestamp", record->timestamp_ns);
    map_str(b, "source", record->source);
    pack_text(b, "expires_in_ms");
    if (record->expiry_ms == 0 || store_ms == 0)
        pack_nil(b);
    else
        pack_uint(b, record->expiry_ms > store_ms ? record->expiry_ms - store_ms : 0);
    map_str(b, "text", text);
}

void run_inspect(struct ops *ops, const struct request *request)
{
    struct core_event event = {.type = EV_INSPECT, .now = request->now};
    enum rpc_error code = RPC_INVALID;
    uint64_t timeout_ms = 0, token;
    struct gather *g;
    struct slice key;
    const char *error = proto_decode_inspect(request->params, &key, &timeout_ms);

    if (!error)
        error = check_key(ops, key, &code);
    if (error) {
        answer_error(ops, request->client, request->id, code, error);
        return;
    }
    /* A gathering of one keeps the key, which the answer repeats. */
    g = gather_new(ops, request, 1);
    if (g)
        gather_charge(ops, g, key.len);
    if (!g || share_is_used_up(ops, request->client) ||
        !call_take(ops, CALL_INSPECT, request->client, request->id, 0, &token)) {
        if (g)
            gather_free(ops, g);
        answer_error(ops, request->client, request->id, RPC_BUSY, core_reason_text(REASON_BUSY));
        return;
    }
    buffer_append(&g->key_bytes, key.data, key.len);
    call_of(ops, token)->gather = g;
    event.inspect.token = token;
    event.inspect.key = key;
    event.inspect.deadline = deadline_of(ops, request->now, timeout_ms);
    ops->config.step(ops->config.ctx, &event);
}

void inspect_answered(struct ops *ops, const struct call *call, const struct core_effect *effect, uint64_t now)
{
    const struct core_view *view = &effect->inspect_done.view;
    struct gather *g = call->gather;
    struct core_status status;
    struct buffer *b = answer_begin(ops, call->client, call->id);

    if (b) {
        core_get_status(ops->config.core, now, &status);
        pack_map(b, 10);
        map_bin(b, "key", slice_of(g->key_bytes.data, g->key_bytes.len));
        map_text(b, "verdict", verdict_name(view->verdict));
        pack_text(b, "reason");
        if (view->verdict == READ_REFUSED)
            pack_str(b, reason_slice(ops, view->reason, slice_of(NULL, 0)));
        else
            pack_nil(b);
        pack_cached(b, view, now);
        pack_floor(b, view, now);
        pack_redis(b, ops, effect);
        map_uint(b, "bound_ms", ops->config.bound_ns / NS_PER_MS);
        map_age(b, "as_of_age_ms", now, status.as_of);
        map_uint(b, "generation", status.generation);
        map_text(b, "epoch", status.epoch.text);
        answer_end(ops, call->client);
    }
    gather_free(ops, g);
}

/* ---- versions --------------------------------------------------------------------------------------------- */

struct page {
    struct buffer *b;
    uint64_t now;
    uint32_t count;
};

static const char *entry_state(const struct core_view *view)
{
    if (!view->cached)
        return "floor";
    if (view->cached_local)
        return "local";
    if (view->suspect)
        return "suspect";
    if (view->verdict == READ_REFUSED || view->verdict == READ_STALE)
        return "expired_lease";
    return view->cached_tombstone ? "deleted" : "fresh";
}

static void map_version(struct buffer *b, const char *name, bool known, uint64_t version)
{
    pack_text(b, name);
    if (known)
        pack_uint(b, version);
    else
        pack_nil(b);
}

static void pack_entry(void *ctx, struct slice key, const struct core_view *view)
{
    struct page *page = ctx;
    uint64_t cached_seq = view->cached ? view->cached_seq : 0;

    page->count++;
    pack_map(page->b, 6);
    map_bin(page->b, "key", key);
    map_version(page->b, "cached_version", view->cached, view->cached_version);
    map_version(page->b, "floor_version", view->floor, view->floor_version);
    map_uint(page->b, "seq", cached_seq > view->floor_seq ? cached_seq : view->floor_seq);
    map_age(page->b, "age_ms", page->now, view->cached ? view->cached_as_of : view->floor_seen_at);
    map_text(page->b, "state", entry_state(view));
}

void run_versions(struct ops *ops, const struct request *request)
{
    struct page page = {.b = &ops->scratch, .now = request->now};
    struct slice prefix;
    uint64_t cursor;
    uint32_t limit;
    struct buffer *b;
    const char *error = proto_decode_versions(request->params, &prefix, &cursor, &limit);

    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    ops->config.spend(ops->config.ctx, request->client, PAGE_COST + limit);
    buffer_clear(&ops->scratch);
    core_versions(ops->config.core, request->now, prefix, &cursor, limit, pack_entry, &page);
    if (ops->scratch.failed || !ops->config.has_room(ops->config.ctx, request->client, ops->scratch.len)) {
        answer_error(ops, request->client, request->id, RPC_BUSY, "no memory for the page: ask for a smaller one");
    } else if ((b = answer_begin(ops, request->client, request->id)) != NULL) {
        pack_map(b, 2);
        map_uint(b, "cursor", cursor);
        pack_text(b, "entries");
        pack_array(b, page.count);
        buffer_append(b, ops->scratch.data, ops->scratch.len);
        answer_end(ops, request->client);
    }
    buffer_deinit(&ops->scratch);
}

/* ---- verify ----------------------------------------------------------------------------------------------- */

static void collect_key(void *ctx, struct slice key, const struct core_view *view)
{
    struct gather *g = ctx;

    if (!view->cached || view->cached_local || view->cached_replaced || g->count == GATHER_MAX)
        return;
    /* Offsets first: the buffer moves while it grows. */
    g->items[g->count] = (struct gather_item){.at = g->key_bytes.len, .len = key.len};
    buffer_append(&g->key_bytes, key.data, key.len);
    g->count++;
}

static bool differs(const struct core_effect *effect)
{
    const struct core_view *view = &effect->inspect_done.view;
    const struct record *record = &effect->inspect_done.record;

    /* It may have changed or gone while Redis was asked. */
    if (!view->cached || view->cached_local || view->cached_replaced)
        return false;
    if (effect->inspect_done.result == FETCH_RECORD)
        return record->seq > view->cached_seq;
    return effect->inspect_done.result == FETCH_ABSENT ? !view->cached_tombstone : true;
}

static void pack_difference(struct buffer *b, struct slice key, const struct core_effect *effect)
{
    bool found = effect->inspect_done.result == FETCH_RECORD;
    uint64_t store_ns = effect->inspect_done.store_us * NS_PER_US;
    uint64_t since = effect->inspect_done.record.timestamp_ns;

    pack_map(b, 6);
    map_bin(b, "key", key);
    map_uint(b, "cached_version", effect->inspect_done.view.cached_version);
    map_uint(b, "cached_seq", effect->inspect_done.view.cached_seq);
    map_uint(b, "redis_version", found ? effect->inspect_done.record.version : 0);
    map_uint(b, "redis_seq", found ? effect->inspect_done.record.seq : 0);
    pack_text(b, "differs_ms");
    /* Since when a record is gone nobody knows. */
    if (!found || store_ns == 0)
        pack_nil(b);
    else
        pack_uint(b, store_ns > since ? (store_ns - since) / NS_PER_MS : 0);
}

static void finish_verify(struct ops *ops, struct gather *g)
{
    struct buffer *b;

    if (g->bytes.failed || !ops->config.has_room(ops->config.ctx, g->client, g->bytes.len)) {
        ops->counters.answers_shortened++;
        answer_error(ops, g->client, g->id, RPC_BUSY, "no memory for the page: ask for a smaller one");
    } else if ((b = answer_begin(ops, g->client, g->id)) != NULL) {
        pack_map(b, 4);
        map_uint(b, "cursor", g->cursor);
        map_uint(b, "checked", g->count - g->unknown);
        map_uint(b, "unknown", g->unknown);
        pack_text(b, "different");
        pack_array(b, g->different);
        buffer_append(b, g->bytes.data, g->bytes.len);
        answer_end(ops, g->client);
    }
    gather_free(ops, g);
}

void verify_answered(struct ops *ops, const struct call *call, const struct core_effect *effect)
{
    struct gather *g = call->gather;
    const struct gather_item *item = &g->items[call->index];
    size_t before = g->bytes.len;

    if (effect->inspect_done.status != REPLY_OK) {
        g->unknown++;
    } else if (differs(effect)) {
        g->different++;
        pack_difference(&g->bytes, slice_of(g->key_bytes.data + item->at, item->len), effect);
        gather_charge(ops, g, g->bytes.len - before);
    }
    if (--g->left == 0 && g->all_asked)
        finish_verify(ops, g);
}

static void verify_key(struct ops *ops, struct gather *g, uint32_t index, struct core_event *event)
{
    uint64_t token;

    if (share_is_used_up(ops, g->client) || !call_take(ops, CALL_VERIFY_KEY, g->client, g->id, 0, &token)) {
        g->unknown++;
        g->left--;
        return;
    }
    call_of(ops, token)->gather = g;
    call_of(ops, token)->index = index;
    event->inspect.token = token;
    event->inspect.key = slice_of(g->key_bytes.data + g->items[index].at, g->items[index].len);
    ops->config.step(ops->config.ctx, event);
}

void run_verify(struct ops *ops, const struct request *request)
{
    struct core_event event = {.type = EV_INSPECT, .now = request->now};
    uint64_t cursor = 0, timeout_ms = 0;
    struct gather *g;
    uint32_t limit;
    const char *error = proto_decode_verify(request->params, &cursor, &limit, &timeout_ms);

    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    g = gather_new(ops, request, GATHER_MAX);
    if (!g) {
        answer_error(ops, request->client, request->id, RPC_BUSY, GATHER_BUSY);
        return;
    }
    g->count = 0;
    ops->config.spend(ops->config.ctx, request->client, PAGE_COST + limit);
    core_versions(ops->config.core, request->now, slice_of(NULL, 0), &cursor, limit, collect_key, g);
    gather_charge(ops, g, g->key_bytes.len);
    if (g->key_bytes.failed || !share_gathers(ops, g->client, 0)) {
        answer_error(ops, request->client, request->id, RPC_BUSY, GATHER_BUSY);
        gather_free(ops, g);
        return;
    }
    g->cursor = cursor;
    g->left = g->count;
    event.inspect.deadline = deadline_of(ops, request->now, timeout_ms);
    for (uint32_t i = 0; i < g->count; i++)
        verify_key(ops, g, i, &event);
    g->all_asked = true;
    if (g->left == 0)
        finish_verify(ops, g);
}
