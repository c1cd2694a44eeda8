/* The process, its faults, what is done to it by hand, and what a checker may look at. */
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

/* ---- chance ---------------------------------------------------------------------------------------------- */

/* splitmix64 */
uint64_t server_draw(struct server *server)
{
    uint64_t z = server->random += 0x9e3779b97f4a7c15ULL;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

void server_draw_id(struct server *server, char ret_id[SERVER_RUN_ID_LEN + 1])
{
    uint64_t bits = 0;

    for (int i = 0; i < SERVER_RUN_ID_LEN; i++, bits >>= 4) {
        if (i % 16 == 0)
            bits = server_draw(server);
        ret_id[i] = "0123456789abcdef"[bits & 15];
    }
    ret_id[SERVER_RUN_ID_LEN] = '\0';
}

/* ---- process --------------------------------------------------------------------------------------------- */

struct server *server_new(unsigned index, uint64_t seed, const struct server_hooks *hooks)
{
    struct server *server = memory_zero(sizeof(*server));

    server->index = index;
    server->random = seed ^ (uint64_t)(index + 1) * 0xd1342543de82ef95ULL;
    server->hooks = *hooks;
    server->listening = true;
    server->max_clients = 10000;
    server->unit_number = 1;
    server->stream.db = SERVER_DATABASES;
    server->earliest_expiry_ms = UINT64_MAX;
    users_init(server);
    return server;
}

void server_free(struct server *server)
{
    if (!server)
        return;
    server->hooks = (struct server_hooks){0};
    replica_detach(server);
    replicas_lose_master(server);
    while (server->conns)
        conn_close(server->conns);
    disk_forget_undo(server);
    dataset_clear(&server->data);
    dataset_clear(&server->snapshot);
    stream_drop(server);
    unit_drop(server);
    users_free(server);
    buffer_deinit(&server->scratch);
    free(server->apply_argv.items);
    free(server->subscriptions);
    free(server->scripts);
    free(server->undos);
    free(server);
}

void server_start(struct server *server, uint64_t now)
{
    if (server->running)
        return;
    server->running = true;
    server->started_at = now;
    server->paused_until = 0;
    server->faults &= ~(1u << FAULT_BUSY);
    server->next_conn_id = 0;
    server->script_count = 0;
    memcpy(server->script_random, (const unsigned short[]){0x330e, 0xabcd, 0x1234}, sizeof(server->script_random));
    server->offset = 0;
    server_find_earliest_expiry(server);
    server_draw_id(server, server->run_id);
    server_new_history(server);
    if (server->hooks.changed)
        server->hooks.changed(server->hooks.ctx, server, 0, slice_text(""), now);
}

static void end_process(struct server *server, uint64_t now)
{
    server->running = false;
    server->backlogged = false;
    replica_detach(server);
    replicas_lose_master(server);
    server->link_down_at = now;
    stream_drop(server);
    for (struct conn *c = server->conns; c; c = c->next)
        conn_end(c);
    disk_cut(server, now);
    conns_tell(server);
}

void server_kill(struct server *server, uint64_t now)
{
    if (server->running)
        end_process(server, now);
}

void server_stop(struct server *server, uint64_t now)
{
    if (!server->running)
        return;
    if (server->persistence == PERSIST_RDB)
        server_save(server, now);
    disk_forget_undo(server);
    end_process(server, now);
}

bool server_is_running(const struct server *server)
{
    return server->running;
}

bool server_can_execute(const struct server *server, uint64_t now)
{
    return server->running && now >= server->paused_until;
}

void server_tick(struct server *server, uint64_t now)
{
    if (!server_can_execute(server, now))
        return;
    server->paused_until = 0;
    if (server->backlogged)
        conns_run(server, now);
    if (server->blocked_count > 0)
        conns_check_waits(server, now);
    if (!server_has_fault(server, FAULT_LOADING))
        server_expire(server, now);
    conns_tell(server);
}

uint64_t server_next_deadline(const struct server *server, bool with_expiry)
{
    uint64_t next = UINT64_MAX;

    if (!server->running)
        return UINT64_MAX;
    if (server->paused_until > 0)
        return server->paused_until;
    for (struct conn *c = server->conns; c && server->blocked_count > 0; c = c->next) {
        if (c->blocked && c->wait_until < next)
            next = c->wait_until;
    }
    if (with_expiry && server_is_master(server) && server->earliest_expiry_ms != UINT64_MAX) {
        int64_t us = (int64_t)(server->earliest_expiry_ms + 1) * 1000 - (int64_t)SERVER_WALL_BASE_US -
                     server->clock_offset_us;
        uint64_t at = us > 0 ? (uint64_t)us * 1000 : 0;

        next = at < next ? at : next;
    }
    return next;
}

/* ---- faults ---------------------------------------------------------------------------------------------- */

void server_set_fault(struct server *server, enum server_fault fault, bool on)
{
    if (on)
        server->faults |= 1u << fault;
    else
        server->faults &= ~(1u << fault);
}

bool server_has_fault(const struct server *server, enum server_fault fault)
{
    return server->faults >> fault & 1;
}

void server_pause(struct server *server, uint64_t now, uint64_t until)
{
    (void)now;
    server->paused_until = until;
}

void server_set_listening(struct server *server, bool on)
{
    server->listening = on;
}

void server_set_max_clients(struct server *server, unsigned max)
{
    server->max_clients = max;
}

void server_set_pubsub_limit(struct server *server, size_t bytes)
{
    server->pubsub_limit = bytes;
}

void server_set_clock_us(struct server *server, int64_t offset_us)
{
    server->clock_offset_us = offset_us;
}

void server_set_finder(struct server *server,
                       struct server *(*find)(void *ctx, struct slice host, struct slice port), void *ctx)
{
    server->find = find;
    server->find_ctx = ctx;
}

/* ---- by hand --------------------------------------------------------------------------------------------- */

static void by_hand(struct server *server, uint64_t now, unsigned db, struct slice *argv, size_t argc)
{
    call_by_hand(server, now, &db, argv, argc, false);
    unit_end(server, now);
    conns_tell(server);
}

void server_flush_all(struct server *server, uint64_t now)
{
    struct slice argv[] = {slice_text("FLUSHALL")};

    if (server->running)
        by_hand(server, now, 0, argv, 1);
}

void server_flush_scripts(struct server *server)
{
    server->script_count = 0;
}

bool server_delete(struct server *server, uint64_t now, unsigned db, struct slice key)
{
    struct slice argv[] = {slice_text("DEL"), key};
    bool there = server->running && dict_find(&server->data.dbs[db], key);

    if (there)
        by_hand(server, now, db, argv, 2);
    return there;
}

bool server_delete_field(struct server *server, uint64_t now, unsigned db, struct slice key, struct slice field)
{
    struct slice argv[] = {slice_text("HDEL"), key, field};
    struct entry *entry = server->running ? dict_find(&server->data.dbs[db], key) : NULL;
    bool there = entry && entry->value->type == 'h' && hash_find(entry->value, field);

    if (there)
        by_hand(server, now, db, argv, 3);
    return there;
}

bool server_evict(struct server *server, uint64_t now, unsigned db, struct slice prefix, uint64_t pick)
{
    size_t cursor = 0, count = 0;

    if (!server->running)
        return false;
    for (struct entry *e; (e = dict_next(&server->data.dbs[db], &cursor));)
        count += slice_has_prefix(entry_key(e), prefix);
    if (count == 0)
        return false;
    pick %= count;
    cursor = 0;
    for (struct entry *e; (e = dict_next(&server->data.dbs[db], &cursor));) {
        struct slice argv[] = {slice_text("DEL"), slice_of(NULL, e->key_len)};
        uint8_t *key;

        if (!slice_has_prefix(entry_key(e), prefix) || pick-- > 0)
            continue;
        key = memory_new(e->key_len);
        if (e->key_len > 0)
            memcpy(key, e->key, e->key_len);
        argv[1].data = key;
        by_hand(server, now, db, argv, 2);
        free(key);
        return true;
    }
    return false;
}

void server_kill_clients(struct server *server)
{
    for (struct conn *c = server->conns; c; c = c->next)
        conn_end(c);
    conns_tell(server);
}

void server_kill_client(struct conn *conn)
{
    conn_end(conn);
    conns_tell(conn->server);
}

/* ---- accessors ------------------------------------------------------------------------------------------- */

static const struct value *look_up(const struct server *server, uint64_t now, unsigned db, struct slice key,
                                   char type)
{
    struct entry *entry = dict_find(&server->data.dbs[db], key);

    if (!entry || entry_is_expired(server, entry, now) || entry->value->type != type)
        return NULL;
    return entry->value;
}

bool server_get(const struct server *server, uint64_t now, unsigned db, struct slice key, struct slice *ret)
{
    const struct value *value = look_up(server, now, db, key, 's');

    if (value)
        *ret = value_bytes(value);
    return value;
}

bool server_get_field(const struct server *server, uint64_t now, unsigned db, struct slice key, struct slice field,
                      struct slice *ret)
{
    const struct value *hash = look_up(server, now, db, key, 'h');
    const struct field *found = hash ? hash_find(hash, field) : NULL;

    if (found)
        *ret = field_value(found);
    return found;
}

uint64_t server_get_expiry_ms(const struct server *server, unsigned db, struct slice key)
{
    struct entry *entry = dict_find(&server->data.dbs[db], key);

    return entry ? entry->expire_ms : 0;
}

bool server_next_key(const struct server *server, uint64_t now, unsigned db, size_t *cursor, struct slice *ret_key,
                     char *ret_type)
{
    for (struct entry *e; (e = dict_next(&server->data.dbs[db], cursor));) {
        if (entry_is_expired(server, e, now))
            continue;
        *ret_key = entry_key(e);
        *ret_type = e->value->type;
        return true;
    }
    return false;
}

size_t server_key_count(const struct server *server, unsigned db)
{
    return server->data.dbs[db].count;
}

unsigned server_index(const struct server *server)
{
    return server->index;
}

bool server_is_master(const struct server *server)
{
    return !server->replica;
}

struct server *server_master(const struct server *server)
{
    return server->master;
}

bool server_is_paused(const struct server *server, uint64_t now)
{
    return now < server->paused_until;
}

const char *server_run_id(const struct server *server)
{
    return server->run_id;
}

const char *server_replid(const struct server *server)
{
    return server->replid;
}

uint64_t server_offset(const struct server *server)
{
    return server->offset;
}

uint64_t server_wall_us(const struct server *server, uint64_t now)
{
    return SERVER_WALL_BASE_US + now / 1000 + (uint64_t)server->clock_offset_us;
}

uint64_t server_commands(const struct server *server)
{
    return server->commands;
}

uint64_t server_hindered(const struct server *server)
{
    return server->hindered;
}
