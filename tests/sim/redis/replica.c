/*
 * The stream of effects, as in PSYNC2: a history (replid) and an offset in bytes say what a server has seen. A
 * replica goes on where it stopped if its history is the master's, or the one the master had before it was
 * promoted and up to that moment; otherwise it gets a copy of everything.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

#define BACKLOG_BYTES (1 << 20) /* repl-backlog-size of Redis */
#define REPLICAS_MAX  (sizeof(((struct server *)0)->replicas) / sizeof(struct server *))

/* ---- the stream of a server ------------------------------------------------------------------------------ */

static void stream_trim(struct server *server)
{
    struct stream *s = &server->stream;
    uint64_t keep = server->offset > BACKLOG_BYTES ? server->offset - BACKLOG_BYTES : 0;
    size_t bytes = 0;

    if (s->bytes.len < 2 * BACKLOG_BYTES)
        return;
    for (unsigned i = 0; i < server->replica_count; i++) {
        if (server->replicas[i]->offset < keep)
            keep = server->replicas[i]->offset;
    }
    while (s->first < s->count && s->units[s->first].end <= keep)
        bytes += s->units[s->first++].len;
    buffer_consume(&s->bytes, bytes);
    s->start += bytes;
    s->count -= s->first;
    memmove(s->units, s->units + s->first, s->count * sizeof(*s->units));
    s->first = 0;
}

/* `begun`: offset and bytes are those of before the unit. */
static void stream_close_unit(struct server *server, size_t begun)
{
    struct stream *s = &server->stream;
    size_t len = s->bytes.len - begun;

    server->offset += len;
    if (s->count == s->room) {
        s->room = s->room > 0 ? 2 * s->room : 64;
        s->units = memory_grow(s->units, s->room * sizeof(*s->units));
    }
    s->units[s->count++] = (struct stream_unit){.len = len, .end = server->offset};
    stream_trim(server);
}

void stream_take_unit(struct server *server)
{
    struct unit *unit = &server->unit;
    struct stream *s = &server->stream;
    size_t begun = s->bytes.len;

    if (unit->effect_count > 1)
        buffer_text(&s->bytes, "*1\r\n$5\r\nMULTI\r\n");
    buffer_append(&s->bytes, unit->effects.data, unit->effects.len);
    if (unit->effect_count > 1)
        buffer_text(&s->bytes, "*1\r\n$4\r\nEXEC\r\n");
    s->db = unit->effect_db;
    stream_close_unit(server, begun);
    buffer_clear(&unit->effects);
    unit->effect_count = 0;
}

static void stream_begin(struct server *server)
{
    struct stream *s = &server->stream;

    buffer_clear(&s->bytes);
    s->first = s->count = 0;
    s->start = server->offset;
    s->db = SERVER_DATABASES;
    s->active = true;
}

void stream_drop(struct server *server)
{
    buffer_deinit(&server->stream.bytes);
    free(server->stream.units);
    server->stream = (struct stream){.db = SERVER_DATABASES};
}

void server_new_history(struct server *server)
{
    server_draw_id(server, server->replid);
    memset(server->replid2, '0', SERVER_RUN_ID_LEN);
    server->second_offset = UINT64_MAX;
}

/* ---- links ----------------------------------------------------------------------------------------------- */

void replica_detach(struct server *server)
{
    struct server *master = server->master;

    if (!server->link_up)
        return;
    server->link_up = false;
    for (unsigned i = 0; i < master->replica_count; i++) {
        if (master->replicas[i] == server)
            master->replicas[i--] = master->replicas[--master->replica_count];
    }
}

void replicas_lose_master(struct server *server)
{
    while (server->replica_count > 0)
        replica_detach(server->replicas[0]);
}

unsigned replicas_that_acked(const struct server *server, uint64_t offset)
{
    unsigned count = 0;

    for (unsigned i = 0; i < server->replica_count; i++)
        count += server->replicas[i]->acked >= offset;
    return count;
}

void replica_follow(struct server *server, struct server *master, const char *host, unsigned port, uint64_t now)
{
    replica_detach(server);
    replicas_lose_master(server);
    server->replica = true;
    server->master = master == server ? NULL : master;
    snprintf(server->master_host, sizeof(server->master_host), "%s", host);
    server->master_port = port;
    server->link_down_at = now;
    conns_end_blocked(server);
}

void server_set_replica_of(struct server *server, struct server *master, uint64_t now)
{
    if (server->replica && server->master == master)
        return;
    replica_follow(server, master, "127.0.0.1", 6379 + master->index, now);
    conns_tell(server);
}

void server_set_master(struct server *server, uint64_t now)
{
    (void)now;
    if (!server->replica)
        return;
    replica_detach(server);
    server->replica = false;
    server->master = NULL;
    memcpy(server->replid2, server->replid, sizeof(server->replid2));
    server->second_offset = server->offset + 1;
    server_draw_id(server, server->replid);
    server->stream.db = SERVER_DATABASES;
    server_find_earliest_expiry(server);
}

void server_break_link(struct server *replica, uint64_t now)
{
    if (replica->link_up)
        replica->link_down_at = now;
    replica_detach(replica);
}

/* ---- synchronisation ------------------------------------------------------------------------------------- */

static bool may_continue(const struct server *replica, const struct server *master)
{
    if (!master->stream.active || replica->offset < master->stream.start || replica->offset > master->offset)
        return false;
    if (strcmp(replica->replid, master->replid) == 0)
        return true;
    return strcmp(replica->replid, master->replid2) == 0 && replica->offset < master->second_offset;
}

static void copy_everything(struct server *replica, struct server *master, uint64_t now)
{
    if (!master->stream.active) {
        /* What was written until now is in no stream: nobody can have its history. */
        server_new_history(master);
        stream_begin(master);
    }
    master->stream.db = SERVER_DATABASES;
    disk_forget_undo(replica);
    dataset_clear(&replica->data);
    dataset_copy(&replica->data, &master->data);
    if (replica->persistence == PERSIST_RDB)
        server_save(replica, now);
    replica->offset = master->offset;
    if (replica->hooks.changed)
        replica->hooks.changed(replica->hooks.ctx, replica, 0, slice_text(""), now);
}

static bool attach(struct server *replica, uint64_t now)
{
    struct server *master = replica->master;

    if (master->replica_count == REPLICAS_MAX)
        return false;
    if (!may_continue(replica, master)) {
        copy_everything(replica, master, now);
        stream_begin(replica);
    } else if (!replica->stream.active) {
        stream_begin(replica);
    }
    memcpy(replica->replid, master->replid, sizeof(replica->replid));
    memcpy(replica->replid2, master->replid2, sizeof(replica->replid2));
    replica->second_offset = master->second_offset;
    replica->acked = 0;
    replica->acked_at = now;
    replica->link_up = true;
    master->replicas[master->replica_count++] = replica;
    return true;
}

/* The first unit that the replica has not got. */
static size_t next_unit(const struct server *replica)
{
    const struct stream *s = &replica->master->stream;
    size_t low = s->first, high = s->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (s->units[middle].end <= replica->offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void apply_unit(struct server *replica, struct slice bytes, uint64_t now)
{
    struct argv *argv = &replica->apply_argv;
    size_t begun = replica->stream.bytes.len, used;
    const char *error;
    int64_t db;

    buffer_append(&replica->stream.bytes, bytes.data, bytes.len);
    for (; bytes.len > 0; bytes = slice_of(bytes.data + used, bytes.len - used)) {
        if (resp_parse(bytes, false, argv, &used, &error) != RESP_COMMAND)
            abort(); /* our own stream */
        if (slice_is(argv->items[0], "select") && slice_to_int(argv->items[1], &db))
            replica->apply_db = (unsigned)db;
        else if (!slice_is(argv->items[0], "multi") && !slice_is(argv->items[0], "exec"))
            call_by_hand(replica, now, &replica->apply_db, argv->items, argv->count, true);
    }
    stream_close_unit(replica, begun);
    unit_end(replica, now);
}

size_t server_replicate(struct server *replica, uint64_t now, size_t max_commands)
{
    struct server *master = replica->master;
    size_t done = 0, unit;

    if (!master || max_commands == 0 || !server_can_execute(replica, now) || !server_can_execute(master, now))
        return 0;
    if (!replica->link_up) {
        if (!attach(replica, now))
            return 0;
        done = 1;
    }
    for (unit = next_unit(replica); done < max_commands && unit < master->stream.count; unit++, done++) {
        const struct stream_unit *u = &master->stream.units[unit];
        size_t at = (size_t)(u->end - u->len - master->stream.start);

        apply_unit(replica, slice_of(master->stream.bytes.data + at, u->len), now);
    }
    conns_tell(replica);
    return done;
}

size_t server_lag(const struct server *replica)
{
    return replica->link_up ? replica->master->stream.count - next_unit(replica) : SIZE_MAX;
}

void server_acknowledge(struct server *replica, uint64_t now)
{
    if (!replica->link_up || !server_can_execute(replica, now) || !server_is_running(replica->master))
        return;
    replica->acked = replica->offset;
    replica->acked_at = now;
    if (!server_can_execute(replica->master, now))
        return; /* server_tick will look at it */
    conns_check_waits(replica->master, now);
    conns_tell(replica->master);
}
