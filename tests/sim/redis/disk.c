/*
 * What a kill leaves. An AOF is the data itself: instead of writing commands down, those that could still be lost
 * keep what takes them back. At a kill the newest of them are undone, down to a point that the seed draws.
 */
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

/* How long a command may stay unwritten. AOF_NO: Linux writes pages back after 30 s (dirty_expire_centisecs). */
static uint64_t window_ns(const struct server *server)
{
    switch (server->persistence) {
    case PERSIST_AOF_EVERYSEC:
        return NS_PER_SECOND;
    case PERSIST_AOF_NO:
        return 30 * NS_PER_SECOND;
    default:
        return 0;
    }
}

bool disk_keeps_undo(const struct server *server)
{
    return window_ns(server) > 0;
}

static void undo_free(struct undo *undo)
{
    for (size_t i = 0; i < undo->count; i++)
        touched_free(&undo->touched[i]);
    free(undo->touched);
}

void disk_forget_undo(struct server *server)
{
    while (server->undo_first < server->undo_count)
        undo_free(&server->undos[server->undo_first++]);
    server->undo_first = server->undo_count = 0;
}

static void forget_written(struct server *server, uint64_t now)
{
    uint64_t window = window_ns(server);

    while (server->undo_first < server->undo_count && server->undos[server->undo_first].at + window <= now)
        undo_free(&server->undos[server->undo_first++]);
    if (server->undo_first == server->undo_count)
        server->undo_first = server->undo_count = 0;
}

static struct undo *undo_new(struct server *server)
{
    if (server->undo_count == server->undo_room && server->undo_first > server->undo_room / 2) {
        server->undo_count -= server->undo_first;
        memmove(server->undos, server->undos + server->undo_first, server->undo_count * sizeof(*server->undos));
        server->undo_first = 0;
    }
    if (server->undo_count == server->undo_room) {
        server->undo_room = server->undo_room > 0 ? 2 * server->undo_room : 64;
        server->undos = memory_grow(server->undos, server->undo_room * sizeof(*server->undos));
    }
    return &server->undos[server->undo_count++];
}

void disk_take_unit(struct server *server, uint64_t now)
{
    struct unit *unit = &server->unit;

    if (disk_keeps_undo(server)) {
        forget_written(server, now);
        *undo_new(server) = (struct undo){.at = now, .touched = unit->touched, .count = unit->touched_count};
        unit->touched = NULL;
        unit->touched_room = 0;
    }
    for (size_t i = 0; unit->touched && i < unit->touched_count; i++)
        touched_free(&unit->touched[i]);
    unit->touched_count = 0;
}

static void take_back(struct server *server, struct touched *t)
{
    struct dict *dict;
    struct entry *entry;

    if (t->flushed) {
        for (unsigned db = 0; db < SERVER_DATABASES; db++) {
            struct dict now_there = server->data.dbs[db];

            if (t->db != SERVER_DATABASES && t->db != db)
                continue;
            server->data.dbs[db] = t->flushed->dbs[db];
            t->flushed->dbs[db] = now_there;
        }
        return;
    }
    dict = &server->data.dbs[t->db];
    if (!t->value) {
        dict_remove(dict, t->key);
        return;
    }
    entry = dict_find(dict, t->key);
    if (!entry)
        entry = dict_add(dict, t->key);
    value_unref(entry->value);
    entry->value = value_ref(t->value);
    entry->expire_ms = t->expire_ms;
}

void disk_cut(struct server *server, uint64_t now)
{
    if (server->disk_wiped || server->persistence == PERSIST_NONE || server->persistence == PERSIST_RDB)
        dataset_clear(&server->data);
    if (!server->disk_wiped && server->persistence == PERSIST_RDB)
        dataset_copy(&server->data, &server->snapshot);
    if (!server->disk_wiped && disk_keeps_undo(server)) {
        size_t units;

        forget_written(server, now);
        units = server->undo_count - server->undo_first;
        for (size_t lost = units > 0 ? server_draw(server) % (units + 1) : 0; lost > 0; lost--) {
            struct undo *undo = &server->undos[--server->undo_count];

            for (size_t i = undo->count; i-- > 0;)
                take_back(server, &undo->touched[i]);
            undo_free(undo);
        }
    }
    if (server->disk_wiped)
        dataset_clear(&server->snapshot);
    server->disk_wiped = false;
    disk_forget_undo(server);
}

/* ---- as the world sees it -------------------------------------------------------------------------------- */

void server_set_persistence(struct server *server, enum server_persistence mode)
{
    disk_forget_undo(server); /* an AOF begins with everything there is */
    server->persistence = mode;
}

void server_save(struct server *server, uint64_t now)
{
    (void)now;
    if (!server->running)
        return;
    dataset_clear(&server->snapshot);
    dataset_copy(&server->snapshot, &server->data);
}

void server_wipe_disk(struct server *server)
{
    if (server->running) {
        server->disk_wiped = true;
        return;
    }
    dataset_clear(&server->data);
    dataset_clear(&server->snapshot);
}
