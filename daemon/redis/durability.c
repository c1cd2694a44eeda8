/*
 * What Redis says about its own persistence: what it is configured for (CONFIG GET) and whether it worked the last
 * time (INFO persistence), and what it does when its memory is full (INFO memory). Asked when the data connection
 * is made, and again every few seconds: an operator changes the one, a full disk the other. For `status` alone: no
 * answer is a reason to close the connection.
 */
#include <stdio.h>

#include "daemon/redis/internal.h"

#define DURABILITY_EVERY_NS (5 * NS_PER_S) /* picked */

static const char *const settings[] = {"appendonly", "appendfsync", "save"};
#define SETTING_COUNT 3
#define INFO_COUNT    2
#define REPLY_COUNT   (SETTING_COUNT + INFO_COUNT)

static const char *const sections[INFO_COUNT] = {"persistence", "memory"};

unsigned durability_ask(struct redis *redis)
{
    struct buffer *out = &redis->data.out;

    for (int i = 0; i < SETTING_COUNT; i++) {
        resp_command(out, 3);
        resp_argument_text(out, "CONFIG");
        resp_argument_text(out, "GET");
        resp_argument_text(out, settings[i]);
    }
    for (int i = 0; i < INFO_COUNT; i++) {
        resp_command(out, 2);
        resp_argument_text(out, "INFO");
        resp_argument_text(out, sections[i]);
    }
    redis->durability.asked_ns = uv_hrtime();
    return REPLY_COUNT;
}

/* appendonly, appendfsync and save come in this order; the first that matters decides the text. */
static void take_setting(struct durability *d, unsigned index, const redisReply *reply)
{
    char *text = d->next, word[32];
    size_t room = sizeof(d->next);
    bool known = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2 && reply_is_string(reply->element[1]);

    if (index == 0)
        text[0] = '\0';
    if (strncmp(text, "unknown", 7) == 0)
        return;
    if (!known) {
        struct slice error =
            reply_is_error(reply) ? error_text(word, sizeof(word), reply) : slice_text("Redis does not say");

        if (reply_has_code(reply, "NOPERM"))
            error = slice_text("no right to CONFIG GET");
        snprintf(text, room, "unknown: %.*s", (int)error.len, (const char *)error.data);
        return;
    }
    snprintf(word, sizeof(word), "%.*s", (int)reply->element[1]->len, reply->element[1]->str);
    if (index == 0)
        snprintf(text, room, "%s", strcmp(word, "yes") == 0 ? "aof" : "");
    else if (index == 1 && strcmp(text, "aof") == 0)
        snprintf(text, room, "aof %s", word);
    else if (index == 2 && text[0] == '\0')
        snprintf(text, room, "%s", word[0] != '\0' ? "rdb" : "none");
}

static void take_troubles(struct durability *d, const redisReply *reply)
{
    static const struct {
        const char *field, *text;
    } troubles[] = {
        {"aof_last_write_status", "the last write to the AOF failed"},
        {"aof_last_bgrewrite_status", "the last rewrite of the AOF failed"},
        {"rdb_last_bgsave_status", "the last RDB save failed"},
    };
    struct slice value;

    d->trouble[0] = '\0';
    for (size_t i = 0; reply_is_string(reply) && i < sizeof(troubles) / sizeof(troubles[0]); i++) {
        size_t used = strlen(d->trouble);

        if (!info_find(reply_text(reply), troubles[i].field, &value) || slice_equal(value, slice_text("ok")))
            continue;
        snprintf(d->trouble + used, sizeof(d->trouble) - used, "%s%s", used > 0 ? ", " : "", troubles[i].text);
    }
}

static uint64_t info_number(struct slice info, const char *name)
{
    struct slice value;
    uint64_t number = 0;

    if (!info_find(info, name, &value))
        return 0;
    for (size_t i = 0; i < value.len && value.data[i] >= '0' && value.data[i] <= '9'; i++)
        number = number > UINT64_MAX / 16 ? UINT64_MAX : number * 10 + (value.data[i] - '0');
    return number;
}

static void take_memory(struct durability *d, const redisReply *reply)
{
    struct slice info = reply_is_string(reply) ? reply_text(reply) : slice_of(NULL, 0);
    struct slice policy;

    d->max_bytes = info_number(info, "maxmemory");
    d->used_bytes = info_number(info, "used_memory");
    if (!info_find(info, "maxmemory_policy", &policy))
        policy = slice_text("unknown");
    snprintf(d->eviction, sizeof(d->eviction), "%.*s", (int)(policy.len < 40 ? policy.len : 40),
             (const char *)policy.data);
}

void durability_take(struct redis *redis, unsigned index, const redisReply *reply)
{
    struct durability *d = &redis->durability;

    if (index < SETTING_COUNT) {
        take_setting(d, index, reply);
        return;
    }
    if (index > SETTING_COUNT) {
        take_memory(d, reply);
        return;
    }
    memcpy(d->text, d->next, sizeof(d->text));
    take_troubles(d, reply);
}

static const char *durability_on_reply(struct redis *redis, struct pending *p, const redisReply *reply)
{
    durability_take(redis, p->seen - 1, reply);
    return NULL;
}

void durability_send(struct redis *redis)
{
    if (uv_hrtime() - redis->durability.asked_ns < DURABILITY_EVERY_NS)
        return;
    if (pending_new(redis, REPLY_COUNT, durability_on_reply))
        durability_ask(redis);
}
