/* clients, log_level and config: what those who run the daemon look at and turn. */
#include "daemon/ops/internal.h"
#include "daemon/ops/maps.h"

#define PAGE_COST   16 /* gets that a page costs beside its clients; picked */
#define CONFIG_COST 64 /* picked: some 50 keys, printed */

static void refuse(struct ops *ops, const struct request *request, const char *error)
{
    answer_error(ops, request->client, request->id, RPC_INVALID, error);
}

/* The map that `head` begins, with what was collected in `scratch` as the array `name`, its last pair. */
static void answer_list(struct ops *ops, const struct request *request, struct buffer *head, const char *name,
                        uint32_t count)
{
    struct buffer *b = NULL;

    if (head->failed || ops->scratch.failed ||
        !ops->config.has_room(ops->config.ctx, request->client, head->len + ops->scratch.len))
        answer_error(ops, request->client, request->id, RPC_BUSY, "no memory for the answer: try again later");
    else
        b = answer_begin(ops, request->client, request->id);
    if (b) {
        buffer_append(b, head->data, head->len);
        pack_text(b, name);
        pack_array(b, count);
        buffer_append(b, ops->scratch.data, ops->scratch.len);
        answer_end(ops, request->client);
    }
    buffer_deinit(head);
    buffer_deinit(&ops->scratch);
}

/* ---- clients ---------------------------------------------------------------------------------------------- */

static void pack_client(struct buffer *b, const struct ops_client *c, uint64_t now)
{
    pack_map(b, 14);
    map_uint(b, "client", c->client);
    map_uint(b, "uid", c->uid);
    map_uint(b, "gid", c->gid);
    map_uint(b, "pid", c->pid);
    map_text(b, "name", c->name);
    map_text(b, "access", c->access);
    map_text(b, "socket", c->socket);
    map_age(b, "age_ms", now, c->opened_at);
    map_age(b, "idle_ms", now, c->asked_at > 0 ? c->asked_at : c->opened_at);
    map_text(b, "last_method", c->last_method);
    map_uint(b, "in_flight", c->in_flight);
    map_uint(b, "answered", c->answered);
    map_uint(b, "input_bytes", c->stored_bytes);
    map_uint(b, "queued_bytes", c->queued_bytes);
}

void run_clients(struct ops *ops, const struct request *request)
{
    struct buffer head = BUFFER_INIT;
    struct ops_client client;
    uint64_t cursor;
    uint32_t limit, index, count = 0;
    const char *error = proto_decode_clients(request->params, &cursor, &limit);

    if (error) {
        refuse(ops, request, error);
        return;
    }
    ops->config.spend(ops->config.ctx, request->client, PAGE_COST + limit);
    buffer_clear(&ops->scratch);
    index = cursor < UINT32_MAX ? (uint32_t)cursor : UINT32_MAX;
    cursor = 0;
    while (ops->config.client_at(ops->config.ctx, &index, &client)) {
        pack_client(&ops->scratch, &client, request->now);
        if (++count == limit) {
            cursor = index;
            break;
        }
    }
    pack_map(&head, 2);
    map_uint(&head, "cursor", cursor);
    answer_list(ops, request, &head, "clients", count);
}

/* ---- log_level -------------------------------------------------------------------------------------------- */

void run_log_level(struct ops *ops, const struct request *request)
{
    const char *level, *configured, *error;
    struct slice wanted;
    struct buffer *b;

    error = proto_decode_log_level(request->params, &wanted);
    if (!error && !ops->config.log_level(ops->config.ctx, request->client, wanted, &level, &configured))
        error = "level: error, warning, info or debug expected";
    if (error) {
        refuse(ops, request, error);
        return;
    }
    b = answer_begin(ops, request->client, request->id);
    if (!b)
        return;
    pack_map(b, 2);
    map_text(b, "level", level);
    map_text(b, "configured", configured);
    answer_end(ops, request->client);
}

/* ---- config ----------------------------------------------------------------------------------------------- */

static void pack_setting(struct buffer *b, const struct ops_setting *s)
{
    pack_map(b, 6);
    map_text(b, "section", s->section);
    map_text(b, "key", s->key);
    map_text(b, "value", s->value);
    map_text(b, "from", s->from);
    map_text(b, "where", s->where);
    map_bool(b, "live", s->live);
}

void run_config(struct ops *ops, const struct request *request)
{
    const char *error = proto_decode_empty(request->params);
    struct ops_surroundings around = {0};
    struct buffer head = BUFFER_INIT;
    struct ops_setting setting;
    unsigned count = 0;

    if (error) {
        refuse(ops, request, error);
        return;
    }
    ops->config.spend(ops->config.ctx, request->client, CONFIG_COST);
    ops->config.describe(ops->config.ctx, &around);
    buffer_clear(&ops->scratch);
    while (ops->config.setting_at(ops->config.ctx, count, &setting)) {
        pack_setting(&ops->scratch, &setting);
        count++;
    }
    pack_map(&head, 3);
    map_text(&head, "path", around.config_path);
    map_bool(&head, "password", around.redis_password);
    answer_list(ops, request, &head, "keys", count);
}
