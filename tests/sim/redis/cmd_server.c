/* Commands about the server: INFO, CONFIG, TIME, ROLE, REPLICAOF. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/redis/internal.h"

/* ---- INFO ------------------------------------------------------------------------------------------------ */

static void info_server(struct server *s, struct buffer *out, uint64_t now)
{
    uint64_t up = (now - s->started_at) / NS_PER_SECOND;

    buffer_text(out, "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\narch_bits:64\r\n");
    buffer_text(out, "process_id:%u\r\nrun_id:%s\r\ntcp_port:%u\r\n", 1 + s->index, s->run_id, 6379 + s->index);
    buffer_text(out, "server_time_usec:%llu\r\nuptime_in_seconds:%llu\r\nuptime_in_days:%llu\r\nhz:10\r\n",
                (unsigned long long)server_wall_us(s, now), (unsigned long long)up,
                (unsigned long long)up / 86400);
}

static void info_clients(struct server *s, struct buffer *out, uint64_t now)
{
    (void)now;
    buffer_text(out, "# Clients\r\nconnected_clients:%u\r\ncluster_connections:0\r\nmaxclients:%u\r\n",
                s->conn_count, s->max_clients);
    buffer_text(out, "blocked_clients:%u\r\ntracking_clients:0\r\nclients_in_timeout_table:0\r\n",
                s->blocked_count);
}

static bool keeps_aof(const struct server *s)
{
    return s->persistence >= PERSIST_AOF_ALWAYS;
}

static void info_persistence(struct server *s, struct buffer *out, uint64_t now)
{
    const char *status = server_has_fault(s, FAULT_MISCONF) ? "err" : "ok";

    (void)now;
    buffer_text(out, "# Persistence\r\nloading:%d\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\n",
                server_has_fault(s, FAULT_LOADING));
    buffer_text(out, "rdb_last_bgsave_status:%s\r\naof_enabled:%d\r\naof_rewrite_in_progress:0\r\n", status,
                keeps_aof(s));
    buffer_text(out, "aof_last_bgrewrite_status:ok\r\naof_last_write_status:ok\r\n");
}

static void info_master_link(struct server *s, struct buffer *out, uint64_t now)
{
    buffer_text(out, "master_host:%s\r\nmaster_port:%u\r\nmaster_link_status:%s\r\n", s->master_host,
                s->master_port, s->link_up ? "up" : "down");
    buffer_text(out, "master_last_io_seconds_ago:%d\r\nmaster_sync_in_progress:0\r\n", s->link_up ? 0 : -1);
    buffer_text(out, "slave_read_repl_offset:%llu\r\nslave_repl_offset:%llu\r\n", (unsigned long long)s->offset,
                (unsigned long long)s->offset);
    if (!s->link_up)
        buffer_text(out, "master_link_down_since_seconds:%llu\r\n",
                    (unsigned long long)((now - s->link_down_at) / NS_PER_SECOND));
    buffer_text(out, "slave_priority:100\r\nslave_read_only:%d\r\nreplica_announced:1\r\n",
                !server_has_fault(s, FAULT_NOT_READONLY));
}

static void info_replication(struct server *s, struct buffer *out, uint64_t now)
{
    const struct stream *stream = &s->stream;

    buffer_text(out, "# Replication\r\nrole:%s\r\n", s->replica ? "slave" : "master");
    if (s->replica)
        info_master_link(s, out, now);
    buffer_text(out, "connected_slaves:%u\r\n", s->replica_count);
    for (unsigned i = 0; i < s->replica_count; i++) {
        const struct server *r = s->replicas[i];

        buffer_text(out, "slave%u:ip=127.0.0.1,port=%u,state=online,offset=%llu,lag=%llu\r\n", i, 6379 + r->index,
                    (unsigned long long)r->acked, (unsigned long long)((now - r->acked_at) / NS_PER_SECOND));
    }
    buffer_text(out, "master_failover_state:no-failover\r\nmaster_replid:%s\r\nmaster_replid2:%s\r\n", s->replid,
                s->replid2);
    buffer_text(out, "master_repl_offset:%llu\r\nsecond_repl_offset:%lld\r\nrepl_backlog_active:%d\r\n",
                (unsigned long long)s->offset, (long long)s->second_offset, stream->active);
    buffer_text(out,
                "repl_backlog_size:1048576\r\nrepl_backlog_first_byte_offset:%llu\r\nrepl_backlog_histlen:%zu\r\n",
                (unsigned long long)(stream->active ? stream->start + 1 : 0), stream->bytes.len);
}

static const struct section {
    const char *name;
    void (*write)(struct server *server, struct buffer *out, uint64_t now);
} sections[] = {{"server", info_server},
                {"clients", info_clients},
                {"persistence", info_persistence},
                {"replication", info_replication}};

static bool section_wanted(const struct call *call, const char *name)
{
    for (size_t i = 1; i < call->argc; i++) {
        if (slice_is(call->argv[i], name) || slice_is(call->argv[i], "all") ||
            slice_is(call->argv[i], "default") || slice_is(call->argv[i], "everything"))
            return true;
    }
    return call->argc == 1;
}

void cmd_info(struct call *call)
{
    struct buffer text = BUFFER_INIT;

    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!section_wanted(call, sections[i].name))
            continue;
        if (text.len > 0)
            buffer_text(&text, "\r\n");
        sections[i].write(call->server, &text, call->now);
    }
    reply_bulk(call, slice_of(text.data, text.len));
    buffer_deinit(&text);
}

/* ---- CONFIG ---------------------------------------------------------------------------------------------- */

static void setting_text(const struct server *s, const char *name, char *text, size_t room)
{
    static const char *const fsync[] = {"everysec", "everysec", "always", "everysec", "no"};

    text[0] = '\0';
    if (strcmp(name, "appendonly") == 0)
        snprintf(text, room, "%s", keeps_aof(s) ? "yes" : "no");
    else if (strcmp(name, "appendfsync") == 0)
        snprintf(text, room, "%s", fsync[s->persistence]);
    else if (strcmp(name, "save") == 0)
        snprintf(text, room, "%s", s->persistence == PERSIST_RDB ? "3600 1 300 100 60 10000" : "");
    else if (strcmp(name, "maxmemory") == 0)
        snprintf(text, room, "%d", server_has_fault(s, FAULT_OOM));
    else if (strcmp(name, "maxmemory-policy") == 0)
        snprintf(text, room, "noeviction");
    else if (strcmp(name, "min-replicas-to-write") == 0)
        snprintf(text, room, "%d", server_has_fault(s, FAULT_NOREPLICAS));
    else if (strcmp(name, "replica-serve-stale-data") == 0)
        snprintf(text, room, "%s", server_has_fault(s, FAULT_MASTERDOWN) ? "no" : "yes");
    else if (strcmp(name, "maxclients") == 0)
        snprintf(text, room, "%u", s->max_clients);
    else if (strcmp(name, "databases") == 0)
        snprintf(text, room, "%d", SERVER_DATABASES);
}

static const char *const settings[] = {"appendonly",
                                       "appendfsync",
                                       "save",
                                       "maxmemory",
                                       "maxmemory-policy",
                                       "min-replicas-to-write",
                                       "replica-serve-stale-data",
                                       "maxclients",
                                       "databases"};
#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

static bool setting_asked(const struct call *call, const char *name)
{
    for (size_t i = 2; i < call->argc; i++) {
        if (glob_match(call->argv[i], slice_text(name)))
            return true;
    }
    return false;
}

void cmd_config_get(struct call *call)
{
    size_t count = 0;
    char text[64];

    for (size_t i = 0; i < SETTING_COUNT; i++)
        count += setting_asked(call, settings[i]);
    reply_array(call, 2 * count);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (!setting_asked(call, settings[i]))
            continue;
        setting_text(call->server, settings[i], text, sizeof(text));
        reply_text(call, settings[i]);
        reply_text(call, text);
    }
}

/* The settings that stand for a fault; all others are refused as Redis refuses unknown ones. */
void cmd_config_set(struct call *call)
{
    static const struct {
        const char *name;
        enum server_fault fault;
    } faults[] = {{"maxmemory", FAULT_OOM}, {"min-replicas-to-write", FAULT_NOREPLICAS}};
    int64_t number;

    for (size_t i = 0; i < 2; i++) {
        if (!slice_is(call->argv[2], faults[i].name) || !slice_to_int(call->argv[3], &number))
            continue;
        server_set_fault(call->server, faults[i].fault, number > 0);
        reply_status(call, "OK");
        return;
    }
    if (slice_is(call->argv[2], "replica-serve-stale-data")) {
        server_set_fault(call->server, FAULT_MASTERDOWN, slice_is(call->argv[3], "no"));
        reply_status(call, "OK");
        return;
    }
    reply_error(call, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'", (int)call->argv[2].len,
                (const char *)call->argv[2].data);
}

/* ---- TIME, ROLE, REPLICAOF ------------------------------------------------------------------------------- */

void cmd_time(struct call *call)
{
    uint64_t us = server_wall_us(call->server, call->now);

    reply_array(call, 2);
    reply_number_text(call, us / 1000000);
    reply_number_text(call, us % 1000000);
}

void cmd_role(struct call *call)
{
    const struct server *s = call->server;

    if (s->replica) {
        reply_array(call, 5);
        reply_text(call, "slave");
        reply_text(call, s->master_host);
        reply_integer(call, s->master_port);
        reply_text(call, s->link_up ? "connected" : "connect");
        reply_integer(call, s->link_up ? (int64_t)s->offset : -1);
        return;
    }
    reply_array(call, 3);
    reply_text(call, "master");
    reply_integer(call, (int64_t)s->offset);
    reply_array(call, s->replica_count);
    for (unsigned i = 0; i < s->replica_count; i++) {
        reply_array(call, 3);
        reply_text(call, "127.0.0.1");
        reply_number_text(call, 6379 + s->replicas[i]->index);
        reply_number_text(call, s->replicas[i]->acked);
    }
}

void cmd_replicaof(struct call *call)
{
    struct server *s = call->server;
    struct slice host = call->argv[1], port = call->argv[2];
    char host_text[64];
    int64_t number;

    if (slice_is(host, "no") && slice_is(port, "one")) {
        server_set_master(s, call->now);
        reply_status(call, "OK");
        return;
    }
    if (!slice_to_int(port, &number) || number < 0 || number > 65535) {
        reply_error(call, "ERR Invalid master port");
        return;
    }
    snprintf(host_text, sizeof(host_text), "%.*s", (int)host.len, (const char *)host.data);
    if (s->replica && strcmp(s->master_host, host_text) == 0 && s->master_port == (unsigned)number) {
        reply_status(call, "OK Already connected to specified master");
        return;
    }
    replica_follow(s, s->find ? s->find(s->find_ctx, host, port) : NULL, host_text, (unsigned)number, call->now);
    reply_status(call, "OK");
}
