#include <string.h>

#include "daemon/host/config.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define K      UINT64_C(1024)
#define M      (1024 * K)
#define G      (1024 * M)

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define KEY(section_, name_, when_, field_, type_, default_, min_, max_, choices_, help_)                 \
    {                                                                                                     \
        .section = #section_, .name = #name_, .live = (when_), .type = CONFIG_##type_,                    \
        .default_text = (default_), .min = (min_), .max = (max_), .choices = (choices_), .help = (help_), \
        .offset = offsetof(struct config, section_.field_),                                               \
    }

/* When a changed value holds: at once on SIGHUP, or after a restart. */
#define LIVE    true
#define RESTART false

#define TEXT(section, name, when, default_, min, max, help) \
    KEY(section, name, when, name, TEXT, default_, min, max, NULL, help)
#define DURATION(section, name, when, default_, min, max, help) \
    KEY(section, name, when, name##_ns, DURATION, default_, min, max, NULL, help)
#define SIZE(section, name, when, default_, min, max, help) \
    KEY(section, name, when, name, SIZE, default_, min, max, NULL, help)
#define NUMBER(section, name, when, default_, min, max, help) \
    KEY(section, name, when, name, NUMBER, default_, min, max, NULL, help)
#define BOOL(section, name, when, default_, help) KEY(section, name, when, name, BOOL, default_, 0, 1, NULL, help)
#define CHOICE(section, name, when, default_, words, help) \
    KEY(section, name, when, name, CHOICE, default_, 0, 0, words, help)
#define ACCESS(section, name, help) KEY(section, name, LIVE, name, ACCESS, "", 0, 4000, NULL, help)

/* The lengths of paths follow from struct sockaddr_un and PATH_MAX; the other limits are picked. */
static const struct config_key keys[] = {
    TEXT(pod, id, RESTART, "default-pod", 1, 63, "name of this pod; the source of every record it writes"),
    CHOICE(pod, role, RESTART, "writer", WORDS("writer", "reader"),
           "writer pods commit to Redis; reader pods do not"),

    TEXT(listen, socket, RESTART, "/run/dcached/dcached.sock", 1, 107, "path of the Unix socket for applications"),
    KEY(listen, socket_mode, RESTART, socket_mode, MODE, "0660", 0, 0777, NULL,
        "permissions of the socket, octal"),
    TEXT(listen, socket_group, RESTART, "", 0, 64,
         "group of the socket, by name or number; empty: the daemon's own"),

    TEXT(listen, admin_socket, RESTART, "", 0, 107,
         "path of the admin socket; empty: admin methods on the first one"),
    KEY(listen, admin_socket_mode, RESTART, admin_socket_mode, MODE, "0600", 0, 0777, NULL,
        "permissions of the admin socket, octal"),
    TEXT(listen, admin_socket_group, RESTART, "", 0, 64, "group of the admin socket; empty: the daemon's own"),

    ACCESS(access, read, "users and @groups that may read; empty: everybody who can connect"),
    ACCESS(access, write, "users and @groups that may set and delete; empty: everybody who can connect"),
    ACCESS(access, admin, "users and @groups that may call admin methods; empty: everybody who can connect"),

    TEXT(redis, addr, RESTART, "localhost:6379", 1, 512, "HOST:PORT, [IPv6]:PORT or unix:/PATH"),
    TEXT(redis, username, RESTART, "", 0, 128, "ACL user; empty: the default user"),
    TEXT(redis, password_file, RESTART, "", 0, 4095,
         "file whose first line is the password, not readable by others"),
    NUMBER(redis, db, RESTART, "0", 0, 65535, "number of the database"),
    TEXT(redis, invalidation_channel, RESTART, "cache:invalidate", 1, 128,
         "name that the pub/sub channel begins with"),
    TEXT(redis, key_prefix, RESTART, "dc:", 0, 64, "what every key in Redis begins with; one per service"),
    BOOL(redis, reader_can_set_to_redis, RESTART, "no", "a reader pod may commit to Redis too"),

    SIZE(cache, max_memory, RESTART, "64M", 1 * M, 1024 * G, "one budget: values, index and floors"),
    SIZE(cache, max_value, RESTART, "1M", 1, 256 * M, "longest value; max_memory is at least four times this"),
    SIZE(cache, max_key, RESTART, "1024", 1, 8 * K, "longest key"),
    SIZE(cache, entry_size, RESTART, "160", 16, 1 * M,
         "expected key, source and value of one entry; sizes the index"),
    DURATION(cache, default_ttl, LIVE, "0", 0, 87600 * HOUR, "time to live of a set that names none; 0: no end"),
    TEXT(cache, on_set_local_cache, RESTART, "", 0, 4095, "path of a shared object with a hook; empty: none"),
    CHOICE(cache, propagate, LIVE, "value", WORDS("value", "invalidate"), "what messages to other pods carry"),

    DURATION(staleness, bound, RESTART, "1s", 100 * MS, 60 * SECOND,
             "D: no answer is further than this behind Redis"),
    CHOICE(staleness, on_partition, LIVE, "refuse", WORDS("refuse", "stale"),
           "reads while freshness cannot be proven"),
    DURATION(staleness, max_stale, LIVE, "30s", 100 * MS, 24 * HOUR,
             "oldest proof that a stale answer may rest on"),
    NUMBER(staleness, min_replicas, RESTART, "0", 0, 100,
           "replicas that have to acknowledge every heartbeat; 0: none"),
    DURATION(staleness, tombstone_ttl, LIVE, "24h", 1 * SECOND, 87600 * HOUR,
             "how long Redis remembers deleted versions"),

    NUMBER(limits, connections, RESTART, "1000", 1, 65536, "clients connected at one time"),
    SIZE(limits, buffers, LIVE, "16M", 64 * K, 64 * G, "one budget: unfinished and unsent bytes of all clients"),
    DURATION(limits, timeout, LIVE, "1s", 1 * MS, 1 * HOUR, "deadline of a call that names none"),

    DURATION(verify, interval, LIVE, "1s", 0, 1 * HOUR,
             "how often cached entries are compared with Redis; 0: never"),
    NUMBER(verify, samples, LIVE, "4", 1, 100, "entries compared each time"),

    NUMBER(trace, events, RESTART, "32768", 0, 1048576,
           "events the flight recorder holds, 48 bytes each; 0: none"),

    TEXT(metrics, listen, RESTART, "", 0, 512,
         "where /metrics, /livez and /readyz are: HOST:PORT, :PORT or unix:/PATH; empty: nowhere"),

    CHOICE(log, level, LIVE, "info", WORDS("error", "warning", "info", "debug"),
           "least important lines still written"),
    CHOICE(log, format, LIVE, "auto", WORDS("auto", "text", "json", "journal"),
           "auto: the journal's protocol where standard error is the journal, otherwise text"),
    BOOL(log, debug_mode, LIVE, "no", "level debug, whatever level says"),
};

_Static_assert(sizeof keys / sizeof *keys <= CONFIG_KEY_MAX, "raise CONFIG_KEY_MAX");

size_t config_key_count(void)
{
    return sizeof keys / sizeof *keys;
}

const struct config_key *config_key_at(size_t index)
{
    return index < config_key_count() ? &keys[index] : NULL;
}

int config_key_find(const char *section, const char *name)
{
    for (size_t i = 0; i < config_key_count(); i++)
        if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, name) == 0)
            return (int)i;
    return -1;
}

bool config_section_known(const char *section)
{
    for (size_t i = 0; i < config_key_count(); i++)
        if (strcmp(keys[i].section, section) == 0)
            return true;
    return false;
}
