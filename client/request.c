#include "client/request.h"

#include <errno.h>
#include <stdlib.h>

#define WAY_BACK_MAX_MS 100 /* picked: longer than any scheduling delay of a healthy pod */

void request_list_append(struct request_list *list, struct request *request)
{
    request->list = list;
    request->next = NULL;
    request->previous = list->last;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
    list->count++;
}

void request_list_prepend(struct request_list *list, struct request *request)
{
    request->list = list;
    request->previous = NULL;
    request->next = list->first;
    if (list->first)
        list->first->previous = request;
    else
        list->last = request;
    list->first = request;
    list->count++;
}

void request_list_remove(struct request *request)
{
    struct request_list *list = request->list;

    if (!list)
        return;
    if (request->previous)
        request->previous->next = request->next;
    else
        list->first = request->next;
    if (request->next)
        request->next->previous = request->previous;
    else
        list->last = request->previous;
    request->list = NULL;
    request->previous = request->next = NULL;
    list->count--;
}

static uint64_t request_daemon_timeout_ms(const struct request *request, uint64_t now_ns)
{
    uint64_t left_ms = request->deadline_ns > now_ns ? (request->deadline_ns - now_ns) / NS_PER_MS : 0;
    uint64_t back_ms = left_ms / 10 < WAY_BACK_MAX_MS ? left_ms / 10 : WAY_BACK_MAX_MS;

    return left_ms > back_ms ? left_ms - back_ms : 1;
}

/*
 * The moment of the daemon's clock after which a write must not be executed: none that its caller was told is
 * indeterminate is committed later, even if the daemon was stopped with the request unread. 0: its clock is not
 * known.
 */
static uint64_t request_daemon_deadline_ns(const struct request *request, const struct clock_map *clock,
                                           uint64_t now_ns, uint64_t timeout_ms)
{
    uint64_t deadline_ns = now_ns + timeout_ms * NS_PER_MS;

    if (!clock->known)
        return 0;
    return clock_map_there(clock, deadline_ns < request->deadline_ns ? deadline_ns : request->deadline_ns);
}

void request_pack(const struct request *request, struct buffer *buffer, uint64_t now_ns,
                  const struct clock_map *clock)
{
    uint64_t timeout_ms = request_daemon_timeout_ms(request, now_ns);
    uint64_t deadline_ns = request_daemon_deadline_ns(request, clock, now_ns, timeout_ms);
    struct proto_read_options read = request->read;
    struct proto_write write;

    read.timeout_ms = timeout_ms;
    switch (request->kind) {
    case REQUEST_GET:
        proto_pack_get(buffer, request->id, request->keys[0], &read);
        return;
    case REQUEST_MGET:
        proto_pack_mget(buffer, request->id, request->keys, request->count, &read);
        return;
    case REQUEST_SET:
    case REQUEST_DELETE:
    case REQUEST_CLEAR:
        write = *request->write;
        write.timeout_ms = timeout_ms;
        write.deadline_ns = deadline_ns;
        if (request->kind == REQUEST_SET)
            proto_pack_set(buffer, request->id, &write);
        else if (request->kind == REQUEST_CLEAR)
            proto_pack_clear(buffer, request->id, &write);
        else
            proto_pack_delete(buffer, request->id, &write);
        return;
    case REQUEST_MSET:
        for (uint32_t i = 0; i < request->count; i++)
            request->write[i].deadline_ns = deadline_ns;
        proto_pack_mset(buffer, request->id, request->write, request->count, timeout_ms);
        return;
    case REQUEST_PLAIN:
        rpc_pack_request(buffer, request->id, request->method);
        buffer_append(buffer, request->params.data, request->params.len);
        return;
    case REQUEST_WATCH:
        rpc_pack_request(buffer, request->id, "watch");
        pack_array(buffer, 1);
        pack_bin(buffer, request->params);
        return;
    }
}

static int request_table_grow(struct request_table *table)
{
    unsigned size = table->size ? table->size * 2 : 16;
    struct request_slot *slots;

    if (size > REQUEST_SLOTS_MAX)
        size = REQUEST_SLOTS_MAX;
    if (size == table->size)
        return -ENOMEM;
    slots = realloc(table->slots, size * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    for (unsigned i = size; i-- > table->size;) {
        slots[i] = (struct request_slot){.next_free = table->first_free};
        if (i > 0)
            table->first_free = (uint16_t)i;
    }
    table->slots = slots;
    table->size = size;
    return 0;
}

int request_table_add(struct request_table *table, struct request *request)
{
    unsigned slot;

    if (!table->first_free) {
        int r = request_table_grow(table);

        if (r < 0)
            return r;
    }
    slot = table->first_free;
    table->first_free = table->slots[slot].next_free;
    table->slots[slot].request = request;
    request->id = (uint32_t)++table->slots[slot].uses << 16 | slot;
    return 0;
}

void request_table_remove(struct request_table *table, struct request *request)
{
    unsigned slot = request->id & 0xffff;

    if (!request->id || table->slots[slot].request != request)
        return;
    table->slots[slot].request = NULL;
    table->slots[slot].next_free = table->first_free;
    table->first_free = (uint16_t)slot;
    request->id = 0;
}

struct request *request_table_find(const struct request_table *table, uint32_t id)
{
    unsigned slot = id & 0xffff;
    struct request *request = slot < table->size ? table->slots[slot].request : NULL;

    return request && request->id == id ? request : NULL;
}

void request_table_deinit(struct request_table *table)
{
    free(table->slots);
    *table = (struct request_table){0};
}
