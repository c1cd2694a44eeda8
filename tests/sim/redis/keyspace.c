/*
 * Reading and changing keys. Every change notes the key with its value of before, once for each unit; at the end
 * of the unit the hooks are told, the stream gets the effects, and the disk keeps the notes as long as a kill
 * could take the unit back.
 */
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

uint64_t wall_ms(const struct server *server, uint64_t now)
{
    return server_wall_us(server, now) / 1000;
}

bool entry_is_expired(const struct server *server, const struct entry *entry, uint64_t now)
{
    return entry->expire_ms > 0 && entry->expire_ms < wall_ms(server, now);
}

/* ---- notes ----------------------------------------------------------------------------------------------- */

static struct slice slice_copy(struct slice s)
{
    uint8_t *data = memory_new(s.len);

    if (s.len > 0)
        memcpy(data, s.data, s.len);
    return slice_of(data, s.len);
}

void touched_free(struct touched *touched)
{
    free((void *)touched->key.data);
    value_unref(touched->value);
    if (touched->flushed) {
        dataset_clear(touched->flushed);
        free(touched->flushed);
    }
}

static bool server_wants_notes(const struct server *server)
{
    return server->hooks.changed || disk_keeps_undo(server);
}

static struct touched *unit_note(struct unit *unit)
{
    if (unit->touched_count == unit->touched_room) {
        unit->touched_room = unit->touched_room > 0 ? 2 * unit->touched_room : 8;
        unit->touched = memory_grow(unit->touched, unit->touched_room * sizeof(*unit->touched));
    }
    return &unit->touched[unit->touched_count++];
}

/* entry NULL: the key is absent. */
static void note_key(struct server *server, unsigned db, struct slice key, struct entry *entry)
{
    struct unit *unit = &server->unit;

    if (!server_wants_notes(server) || (entry && entry->unit == server->unit_number))
        return;
    for (size_t i = unit->touched_count; i-- > 0;) {
        const struct touched *t = &unit->touched[i];

        if (t->flushed)
            break;
        if (t->db == db && slice_equal(t->key, key))
            return;
    }
    *unit_note(unit) = (struct touched){.db = db,
                                        .key = slice_copy(key),
                                        .value = entry && disk_keeps_undo(server) ? value_ref(entry->value) : NULL,
                                        .expire_ms = entry ? entry->expire_ms : 0};
    if (entry)
        entry->unit = server->unit_number;
}

/* ---- keys ------------------------------------------------------------------------------------------------ */

static struct dict *call_dict(const struct call *call)
{
    return &call->server->data.dbs[*call->db];
}

struct entry *key_find(struct call *call, struct slice key)
{
    struct entry *entry = dict_find(call_dict(call), key);

    if (!entry || entry->expire_ms == 0 || call->obeys || !entry_is_expired(call->server, entry, call->now))
        return entry;
    if (server_is_master(call->server)) {
        effect_delete(call, key);
        key_delete(call, entry);
    }
    return NULL;
}

struct entry *key_find_type(struct call *call, struct slice key, char type, bool *ret_ok)
{
    struct entry *entry = key_find(call, key);

    *ret_ok = !entry || entry->value->type == type;
    if (!*ret_ok)
        reply_error(call, "%s", error_wrong_type);
    return entry;
}

void key_touch(struct call *call, struct entry *entry)
{
    const struct server_hooks *hooks = &call->server->hooks;

    if (hooks->passing && entry->unit == call->server->unit_number)
        hooks->passing(hooks->ctx, call->server, *call->db, entry_key(entry), call->now);
    note_key(call->server, *call->db, entry_key(entry), entry);
}

void key_expire_at(struct call *call, struct entry *entry, uint64_t expire_ms)
{
    key_touch(call, entry);
    entry->expire_ms = expire_ms;
    if (expire_ms > 0 && expire_ms < call->server->earliest_expiry_ms)
        call->server->earliest_expiry_ms = expire_ms;
}

void key_set(struct call *call, struct slice key, struct value *value, uint64_t expire_ms)
{
    struct entry *entry = dict_find(call_dict(call), key);

    if (entry) {
        key_touch(call, entry);
        value_unref(entry->value);
    } else {
        note_key(call->server, *call->db, key, NULL);
        entry = dict_add(call_dict(call), key);
        entry->unit = call->server->unit_number;
    }
    entry->value = value;
    entry->expire_ms = expire_ms;
    if (expire_ms > 0 && expire_ms < call->server->earliest_expiry_ms)
        call->server->earliest_expiry_ms = expire_ms;
}

void key_delete(struct call *call, struct entry *entry)
{
    key_touch(call, entry);
    dict_remove(call_dict(call), entry_key(entry));
}

void key_flush_all(struct call *call, int db)
{
    struct server *server = call->server;
    struct dataset *old = memory_zero(sizeof(*old));

    for (int i = 0; i < SERVER_DATABASES; i++) {
        if (db == -1 || db == i) {
            old->dbs[i] = server->data.dbs[i];
            server->data.dbs[i] = (struct dict){0};
        }
    }
    *unit_note(&server->unit) = (struct touched){.flushed = old, .db = db == -1 ? SERVER_DATABASES : (unsigned)db};
}

void server_find_earliest_expiry(struct server *server)
{
    server->earliest_expiry_ms = UINT64_MAX;
    for (unsigned db = 0; db < SERVER_DATABASES; db++) {
        size_t cursor = 0;

        for (struct entry *e; (e = dict_next(&server->data.dbs[db], &cursor));) {
            if (e->expire_ms > 0 && e->expire_ms < server->earliest_expiry_ms)
                server->earliest_expiry_ms = e->expire_ms;
        }
    }
}

/* Redis' cycle of active expiry, complete at every call. */
void server_expire(struct server *server, uint64_t now)
{
    uint64_t wall = wall_ms(server, now);

    if (!server_is_master(server) || server->earliest_expiry_ms >= wall)
        return;
    for (unsigned db = 0; db < SERVER_DATABASES; db++) {
        struct call call = {.server = server, .db = &db, .now = now};
        size_t cursor = 0;

        for (struct entry *e; (e = dict_next(&server->data.dbs[db], &cursor));) {
            if (!entry_is_expired(server, e, now))
                continue;
            effect_delete(&call, entry_key(e));
            key_delete(&call, e);
            unit_end(server, now);
            cursor--; /* the rest of the bucket has moved up */
        }
    }
    server_find_earliest_expiry(server);
}

/* ---- effects --------------------------------------------------------------------------------------------- */

void effect(struct call *call, const struct slice *argv, size_t argc)
{
    struct server *server = call->server;
    struct unit *unit = &server->unit;

    if (!server->stream.active || call->obeys)
        return;
    if (unit->effect_count == 0)
        unit->effect_db = server->stream.db;
    if (unit->effect_db != *call->db) {
        buffer_text(&unit->effects, "*2\r\n$6\r\nSELECT\r\n$%d\r\n%u\r\n", *call->db < 10 ? 1 : 2, *call->db);
        unit->effect_db = *call->db;
    }
    resp_put_head(&unit->effects, '*', (int64_t)argc);
    for (size_t i = 0; i < argc; i++)
        resp_put_bulk(&unit->effects, argv[i]);
    unit->effect_count++;
}

void effect_call(struct call *call)
{
    effect(call, call->argv, call->argc);
}

void effect_delete(struct call *call, struct slice key)
{
    const struct slice argv[] = {slice_text("DEL"), key};

    effect(call, argv, 2);
}

/* ---- units ----------------------------------------------------------------------------------------------- */

void unit_publish(struct call *call, struct slice channel, struct slice payload)
{
    struct buffer *published = &call->server->unit.published;

    if (!call->server->hooks.published)
        return;
    buffer_append(published, &channel.len, sizeof(channel.len));
    buffer_append(published, &payload.len, sizeof(payload.len));
    buffer_append(published, channel.data, channel.len);
    buffer_append(published, payload.data, payload.len);
}

static void tell_published(struct server *server, uint64_t now)
{
    const struct buffer *published = &server->unit.published;

    for (size_t at = 0; at < published->len;) {
        struct slice channel, payload;

        memcpy(&channel.len, published->data + at, sizeof(size_t));
        memcpy(&payload.len, published->data + at + sizeof(size_t), sizeof(size_t));
        channel.data = published->data + at + 2 * sizeof(size_t);
        payload.data = channel.data + channel.len;
        at += 2 * sizeof(size_t) + channel.len + payload.len;
        server->hooks.published(server->hooks.ctx, server, channel, payload, now);
    }
}

void unit_end(struct server *server, uint64_t now)
{
    struct unit *unit = &server->unit;

    server->unit_number++;
    if (unit->effect_count > 0)
        stream_take_unit(server);
    for (size_t i = 0; server->hooks.changed && i < unit->touched_count; i++) {
        const struct touched *t = &unit->touched[i];

        server->hooks.changed(server->hooks.ctx, server, t->flushed ? 0 : t->db,
                              t->flushed ? slice_text("") : t->key, now);
    }
    if (unit->published.len > 0) {
        tell_published(server, now);
        buffer_clear(&unit->published);
    }
    if (unit->touched_count > 0)
        disk_take_unit(server, now);
}

void unit_drop(struct server *server)
{
    struct unit *unit = &server->unit;

    for (size_t i = 0; i < unit->touched_count; i++)
        touched_free(&unit->touched[i]);
    free(unit->touched);
    buffer_deinit(&unit->effects);
    buffer_deinit(&unit->published);
    *unit = (struct unit){0};
}
