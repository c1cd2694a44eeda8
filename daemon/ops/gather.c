/* Gathering the answers of many questions to the core into one answer. */
#include <stdlib.h>

#include "daemon/ops/internal.h"

#define SPARE_BYTES (256 * 1024) /* a spare gathering keeps no more; picked */

static void gather_destroy(struct gather *g)
{
    buffer_deinit(&g->bytes);
    buffer_deinit(&g->key_bytes);
    free(g->items);
    free(g);
}

/* The spare one, or one made now, with room for so many items. NULL: no memory. */
static struct gather *gather_take(struct ops *ops, uint32_t room)
{
    struct gather *g = ops->spare ? ops->spare : calloc(1, sizeof(*g));
    struct gather_item *items;

    ops->spare = NULL;
    if (!g || room <= g->room)
        return g;
    items = realloc(g->items, room * sizeof(*items));
    if (!items) {
        gather_destroy(g);
        return NULL;
    }
    g->items = items;
    g->room = room;
    return g;
}

struct gather *gather_new(struct ops *ops, const struct request *request, uint32_t count)
{
    size_t bytes = sizeof(struct gather) + count * sizeof(struct gather_item);
    struct gather *g;

    if (!share_gathers(ops, request->client, bytes))
        return NULL;
    g = gather_take(ops, count);
    if (!g)
        return NULL;
    g->charged = 0;
    g->client = request->client;
    gather_charge(ops, g, bytes);
    g->id = request->id;
    g->count = g->left = count;
    g->all_asked = g->writes = false;
    g->cursor = 0;
    g->unknown = g->different = 0;
    for (uint32_t i = 0; i < count; i++)
        g->items[i].counted = COUNTED_NOT;
    return g;
}

void gather_free(struct ops *ops, struct gather *g)
{
    ops->gather_bytes -= g->charged;
    share_release(ops, g->client, 0, g->charged, 0);
    if (!ops->spare && g->bytes.capacity <= SPARE_BYTES && g->key_bytes.capacity <= SPARE_BYTES &&
        !g->bytes.failed && !g->key_bytes.failed) {
        buffer_clear(&g->bytes);
        buffer_clear(&g->key_bytes);
        ops->spare = g;
        return;
    }
    gather_destroy(g);
}

void gather_free_spare(struct ops *ops)
{
    if (ops->spare)
        gather_destroy(ops->spare);
    ops->spare = NULL;
}

void gather_charge(struct ops *ops, struct gather *g, size_t bytes)
{
    struct share *share = share_of(ops, g->client);

    g->charged += bytes;
    ops->gather_bytes += bytes;
    if (share)
        share->gather_bytes += bytes;
}

struct slice gather_text(struct ops *ops, const struct gather *g, struct slice text)
{
    return share_gathers(ops, g->client, text.len) ? text : slice_of(NULL, 0);
}

struct buffer *gather_put(struct ops *ops, struct gather *g, uint32_t index, size_t len, enum rpc_error *ret_code,
                          const char **ret_text)
{
    g->items[index].at = g->bytes.len;
    if (g->bytes.len + len > ops->config.max_message) {
        *ret_code = RPC_TOO_LARGE;
        *ret_text = "the whole answer would be longer than max_message: ask for fewer keys at a time";
        return NULL;
    }
    if (!share_gathers(ops, g->client, len)) {
        *ret_code = RPC_BUSY;
        *ret_text = GATHER_BUSY;
        return NULL;
    }
    return &g->bytes;
}

bool gather_put_end(struct ops *ops, struct gather *g, uint32_t index, uint64_t as_of)
{
    struct gather_item *item = &g->items[index];

    item->len = g->bytes.len - item->at;
    item->as_of = as_of;
    gather_charge(ops, g, item->len);
    g->left--;
    return g->left == 0 && g->all_asked;
}

/* A key that could not be one is no read, and counts as none. */
static void count_refused(struct ops *ops, const struct gather *g, uint32_t index, enum core_reason reason)
{
    if (g->items[index].counted != COUNTED_NOT)
        core_count_refused(ops->config.core, g->items[index].counted, reason);
}

/* An item that came early may have lost its proof while the last one was waited for. */
static void pack_item(struct ops *ops, struct buffer *b, const struct gather *g, uint32_t index, uint64_t now)
{
    const struct gather_item *item = &g->items[index];

    if (item->as_of == 0 || now - item->as_of <= ops->config.bound_ns) {
        buffer_append(b, g->bytes.data + item->at, item->len);
        return;
    }
    count_refused(ops, g, index, REASON_LEASE);
    pack_array(b, 3);
    pack_uint(b, STATE_FAILED);
    pack_uint(b, RPC_REFUSED);
    pack_text(b, core_reason_text(REASON_LEASE));
}

/* Instead of what was gathered. What may have been committed is not to be called undone. */
static void answer_none(struct ops *ops, const struct gather *g, enum rpc_error code, const char *text)
{
    for (uint32_t i = 0; i < g->count; i++)
        count_refused(ops, g, i, REASON_BUSY);
    answer_error(ops, g->client, g->id, g->writes ? RPC_INDETERMINATE : code, text);
}

void gather_answer(struct ops *ops, struct gather *g, uint64_t now)
{
    struct buffer *b;

    if (g->bytes.failed) {
        answer_none(ops, g, RPC_INTERNAL, "out of memory");
        return;
    }
    /* As that of a single write, an answer that tells of writes is short, and never kept back. */
    if (!g->writes && !ops->config.has_room(ops->config.ctx, g->client, g->bytes.len)) {
        ops->counters.answers_shortened++;
        answer_none(ops, g, RPC_BUSY, "too many answers wait to be taken by this client");
        return;
    }
    b = answer_begin(ops, g->client, g->id);
    if (!b)
        return;
    pack_array(b, g->count);
    for (uint32_t i = 0; i < g->count; i++)
        pack_item(ops, b, g, i, now);
    answer_end(ops, g->client);
}
