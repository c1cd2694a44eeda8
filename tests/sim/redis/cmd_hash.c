/* HSET, HGET, HMGET, HDEL, HGETALL, HLEN. */
#include "tests/sim/redis/internal.h"

void cmd_hset(struct call *call)
{
    struct entry *entry;
    int64_t added = 0;
    bool ok;

    if (call->argc % 2 == 1) {
        reply_error(call, "ERR wrong number of arguments for 'hset' command");
        return;
    }
    entry = key_find_type(call, call->argv[1], 'h', &ok);
    if (!ok)
        return;
    if (entry) {
        key_touch(call, entry);
    } else {
        key_set(call, call->argv[1], value_new_hash(), 0);
        entry = key_find(call, call->argv[1]);
    }
    for (size_t i = 2; i < call->argc; i += 2)
        added += hash_set(&entry->value, call->argv[i], call->argv[i + 1]);
    effect_call(call);
    reply_integer(call, added);
}

static void reply_field(struct call *call, const struct entry *entry, struct slice name)
{
    const struct field *field = entry ? hash_find(entry->value, name) : NULL;

    if (field)
        reply_bulk(call, field_value(field));
    else
        reply_nil(call);
}

void cmd_hget(struct call *call)
{
    bool ok;
    struct entry *entry = key_find_type(call, call->argv[1], 'h', &ok);

    if (ok)
        reply_field(call, entry, call->argv[2]);
}

void cmd_hmget(struct call *call)
{
    bool ok;
    struct entry *entry = key_find_type(call, call->argv[1], 'h', &ok);

    if (!ok)
        return;
    reply_array(call, call->argc - 2);
    for (size_t i = 2; i < call->argc; i++)
        reply_field(call, entry, call->argv[i]);
}

void cmd_hdel(struct call *call)
{
    bool ok;
    struct entry *entry = key_find_type(call, call->argv[1], 'h', &ok);
    int64_t removed = 0;

    if (!ok)
        return;
    for (size_t i = 2; entry && i < call->argc; i++) {
        if (!hash_find(entry->value, call->argv[i]))
            continue;
        key_touch(call, entry);
        removed += hash_remove(&entry->value, call->argv[i]);
    }
    if (entry && entry->value->len == 0)
        key_delete(call, entry);
    if (removed > 0)
        effect_call(call);
    reply_integer(call, removed);
}

void cmd_hgetall(struct call *call)
{
    bool ok;
    struct entry *entry = key_find_type(call, call->argv[1], 'h', &ok);

    if (!ok)
        return;
    reply_array(call, entry ? 2 * entry->value->len : 0);
    for (size_t i = 0; entry && i < entry->value->len; i++) {
        reply_bulk(call, field_name(entry->value->fields[i]));
        reply_bulk(call, field_value(entry->value->fields[i]));
    }
}

void cmd_hlen(struct call *call)
{
    bool ok;
    struct entry *entry = key_find_type(call, call->argv[1], 'h', &ok);

    if (ok)
        reply_integer(call, entry ? (int64_t)entry->value->len : 0);
}
