#include "daemon/redis/connection.h"
#include "daemon/redis/record.h"

bool info_find(struct slice info, const char *name, struct slice *ret)
{
    size_t name_len = strlen(name), at = 0;

    while (at < info.len) {
        const uint8_t *line = info.data + at, *end = memchr(line, '\n', info.len - at);
        size_t len = end ? (size_t)(end - line) : info.len - at;

        at += len + 1;
        if (len > 0 && line[len - 1] == '\r')
            len--;
        if (len > name_len && memcmp(line, name, name_len) == 0 && line[name_len] == ':') {
            *ret = slice_of(line + name_len + 1, len - name_len - 1);
            return true;
        }
    }
    return false;
}

/* Copies what is plain and fits; the text goes into logs and status. */
static void info_copy(struct slice text, char *ret, size_t room)
{
    size_t len = 0;

    while (len < text.len && len < room - 1 && text.data[len] > ' ' && text.data[len] < 127) {
        ret[len] = (char)text.data[len];
        len++;
    }
    ret[len] = '\0';
}

bool info_decode_server(struct slice info, struct run_id *ret_run, char ret_version[32])
{
    struct slice text;

    ret_version[0] = '\0';
    if (info_find(info, "valkey_version", &text) || info_find(info, "redis_version", &text))
        info_copy(text, ret_version, 32);
    return info_find(info, "run_id", &text) && run_id_decode(text, ret_run);
}

bool info_decode_replication(struct slice info, bool *ret_master, struct run_id *ret_history, char ret_role[16])
{
    struct slice text;

    if (!info_find(info, "master_replid", &text) || !run_id_decode(text, ret_history))
        *ret_history = (struct run_id){0};

    if (!info_find(info, "role", &text))
        return false;
    info_copy(text, ret_role, 16);
    *ret_master = slice_equal(text, slice_text("master"));
    return true;
}

unsigned info_decode_replicas(struct slice info)
{
    struct slice text;
    uint64_t count;

    if (!info_find(info, "connected_slaves", &text) || text.len == 0 || text.len > 6 ||
        !take_number(&text, text.len, &count))
        return 0;
    return (unsigned)count;
}
