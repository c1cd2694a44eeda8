/*
 * What the daemon says of itself: its surroundings for `status`, its clients, the configuration in force and the
 * level of its log. Everything is looked up when it is asked for.
 */
#include <stdio.h>
#include <unistd.h>

#include "daemon/wiring.h"

void about_describe(void *ctx, struct ops_surroundings *ret)
{
    struct daemon *d = ctx;
    struct redis_status redis;

    redis_get_status(d->redis, &redis);
    *ret = (struct ops_surroundings){
        .redis_addr = redis.addr,
        .redis_data = redis.data_state,
        .redis_subscription = redis.subscription_state,
        .redis_version = redis.server_version,
        .redis_role = redis.role,
        .redis_durability = redis.durability,
        .redis_persistence_trouble = redis.persistence_trouble,
        .redis_eviction = redis.eviction,
        .redis_max_bytes = redis.max_bytes,
        .redis_used_bytes = redis.used_bytes,
        .redis_replicas = redis.replicas,
        .min_replicas = d->config->staleness.min_replicas,
        .memory_bytes = d->config->cache.max_memory,
        .config_error = d->reload.error ? d->reload.error : "",
        .config_restart = d->reload.restart ? d->reload.restart : "",
        .config_path = d->reload.source ? d->reload.source->path : "",
        .redis_password = d->config->redis.password != NULL,
        .config_loaded_ms = d->reload.loaded_at_ms,
        .uptime_ms = (daemon_clock() - d->started_at) / NS_PER_MS,
        .connections = connections_count(d->conns),
        .pid = (uint64_t)getpid(),
    };
}

const char *about_trouble(void *ctx)
{
    struct redis_status redis;

    redis_get_status(((struct daemon *)ctx)->redis, &redis);
    return redis.trouble;
}

const char *about_reason(const struct daemon *d, const struct core_status *status)
{
    struct redis_status redis;

    redis_get_status(d->redis, &redis);
    return *redis.trouble && status->reason_text == core_reason_text(REASON_NO_LINK) ? redis.trouble
                                                                                     : status->reason_text;
}

/* ---- clients ---------------------------------------------------------------------------------------------- */

/* Which of read, write and admin; by the bits of these classes. */
static const char *const access_names[] = {"none",  "read",       "write",       "read,write",
                                           "admin", "read,admin", "write,admin", "read,write,admin"};

/* Of a name is kept what a terminal, a log line and a MessagePack str all bear. */
void about_client_named(void *ctx, uint64_t client, struct slice name)
{
    struct daemon *d = ctx;
    struct connection_note *note = connection_get_note(d->conns, client);
    size_t len = name.len < CONNECTION_NAME_MAX ? name.len : CONNECTION_NAME_MAX - 1;

    for (size_t i = 0; i < len; i++)
        note->name[i] = name.data[i] >= ' ' && name.data[i] <= '~' ? (char)name.data[i] : '?';
    note->name[len] = '\0';
    if (log_wants(d->log, LOG_LEVEL_DEBUG))
        log_event(d->log, daemon_clock(), LOG_LEVEL_DEBUG, "client named", LOG_UINT("client", client),
                  LOG_TEXT("name", note->name));
}

bool about_client_at(void *ctx, uint32_t *index, struct ops_client *ret)
{
    struct daemon *d = ctx;
    struct connection_facts facts;

    if (!connections_next(d->conns, index, &facts))
        return false;
    *ret = (struct ops_client){
        .client = facts.client,
        .uid = facts.peer.uid,
        .gid = facts.peer.gid,
        .pid = facts.peer.pid > 0 ? (uint64_t)facts.peer.pid : 0,
        .access = access_names[facts.note.rights >> CLASS_read & 7],
        .socket = facts.peer.door == DOOR_ADMIN ? "admin" : "main",
        .name = connection_get_note(d->conns, facts.client)->name,
        .last_method = facts.note.asked_at > 0 ? proto_method_name((enum proto_method)facts.note.method) : NULL,
        .opened_at = facts.note.opened_at,
        .asked_at = facts.note.asked_at,
        .in_flight = facts.in_flight,
        .answered = facts.answered,
        .stored_bytes = facts.stored_bytes,
        .queued_bytes = facts.queued_bytes,
    };
    return true;
}

/* ---- the configuration ------------------------------------------------------------------------------------ */

bool about_setting_at(void *ctx, unsigned index, struct ops_setting *ret)
{
    static char value[CONFIG_VALUE_MAX], where[CONFIG_WHERE_MAX];
    static const char *const from[] = {
        [CONFIG_FROM_DEFAULT] = "default", [CONFIG_FROM_FILE] = "file", [CONFIG_FROM_ENV] = "environment"};
    struct daemon *d = ctx;
    const struct config_key *key = config_key_at(index);

    if (!key)
        return false;
    config_value_print(key, d->config, value);
    config_where(d->config, index, d->reload.source ? d->reload.source->path : "", where);
    *ret = (struct ops_setting){
        .section = key->section,
        .key = key->name,
        .value = value,
        .from = from[d->config->origins[index].kind],
        .where = where,
        .live = key->live,
    };
    return true;
}

/* ---- the log ---------------------------------------------------------------------------------------------- */

static bool find_level(struct slice name, enum log_level *ret)
{
    for (unsigned i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        if (!slice_equal(name, slice_text(log_level_name((enum log_level)i))))
            continue;
        *ret = (enum log_level)i;
        return true;
    }
    return false;
}

/* Said under the more talkative of the two levels. */
static void set_level(struct daemon *d, uint64_t client, enum log_level level)
{
    enum log_level before = d->log->level;
    struct peer peer = {0};

    connection_get_peer(d->conns, client, &peer);
    log_set_level(d->log, level > before ? level : before);
    log_event(d->log, daemon_clock(), LOG_LEVEL_WARNING, "log level set until the next reload or restart",
              LOG_TEXT("before", log_level_name(before)), LOG_TEXT("now", log_level_name(level)),
              LOG_UINT("uid", peer.uid), LOG_INT("pid", peer.pid));
    log_set_level(d->log, level);
}

bool about_log_level(void *ctx, uint64_t client, struct slice name, const char **ret_level,
                     const char **ret_configured)
{
    struct daemon *d = ctx;
    enum log_level level;

    if (name.len > 0) {
        if (!find_level(name, &level))
            return false;
        if (level != d->log->level)
            set_level(d, client, level);
    }
    *ret_level = log_level_name(d->log->level);
    *ret_configured = log_level_name(config_log_level(d->config));
    return true;
}
