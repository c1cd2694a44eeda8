#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "client/handle.h"

#define TIMEOUT_DEFAULT_MS 1000

const char *dcache_result_name(dcache_result result)
{
    switch (result) {
    case DCACHE_OK:
        return "ok";
    case DCACHE_ABSENT:
        return "absent";
    case DCACHE_STALE:
        return "stale";
    case DCACHE_DUPLICATE:
        return "duplicate";
    case DCACHE_CONFLICT:
        return "conflict";
    case DCACHE_LOCAL:
        return "local";
    case DCACHE_E_REFUSED:
        return "refused";
    case DCACHE_E_UNREACHABLE:
        return "unreachable";
    case DCACHE_E_TIMEOUT:
        return "timeout";
    case DCACHE_E_INDETERMINATE:
        return "indeterminate";
    case DCACHE_E_PERMISSION:
        return "permission";
    case DCACHE_E_INVALID:
        return "invalid";
    case DCACHE_E_TOO_LARGE:
        return "too_large";
    case DCACHE_E_BUSY:
        return "busy";
    case DCACHE_E_STORE:
        return "store";
    case DCACHE_E_CORRUPT:
        return "corrupt";
    case DCACHE_E_PROTOCOL:
        return "protocol";
    case DCACHE_E_NOMEM:
        return "nomem";
    case DCACHE_E_MIN_VERSION:
        return "min_version";
    case DCACHE_E_OTHER_EPOCH:
        return "other_epoch";
    case DCACHE_E_UNAVAILABLE:
        return "unavailable";
    case DCACHE_E_FORKED:
        return "forked";
    case DCACHE_E_INTERNAL:
        return "internal";
    }
    return "unknown";
}

dcache_result handle_fail(dcache *cache, dcache_result result, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(cache->error, sizeof cache->error, format, args);
    va_end(args);
    return result;
}

dcache_result handle_enter(dcache *cache)
{
    if (!cache)
        return DCACHE_E_INVALID;
    if (cache->pid != getpid())
        return handle_fail(cache, DCACHE_E_FORKED,
                           "the handle was made before a fork: open one of its own in the child");
    if (cache->closing)
        return handle_fail(cache, DCACHE_E_UNREACHABLE, "the handle is being closed: it takes no more calls");
    return DCACHE_OK;
}

static const char *program_name(void)
{
    return program_invocation_short_name && *program_invocation_short_name ? program_invocation_short_name
                                                                           : "unnamed";
}

/* What the caller's struct has of ours; members it does not know stay zero. */
static bool options_copy(void *to, size_t to_size, const void *from, size_t from_size)
{
    memset(to, 0, to_size);
    if (!from)
        return true;
    if (from_size < sizeof(size_t))
        return false;
    memcpy(to, from, from_size < to_size ? from_size : to_size);
    return true;
}

static dcache_result handle_set_socket(dcache *cache, const char *path)
{
    if (!path)
        path = getenv("DCACHED_SOCKET");
    if (!path || !*path)
        path = DCACHE_DEFAULT_SOCKET;
    if (strlen(path) >= sizeof cache->socket)
        return DCACHE_E_INVALID;
    memcpy(cache->socket, path, strlen(path) + 1);
    return DCACHE_OK;
}

/* A number, or a name of the name service. */
static dcache_result handle_set_server(dcache *cache, const char *user)
{
    struct passwd entry, *found = NULL;
    char buffer[4096], *end;
    unsigned long long number;

    if (!user)
        user = getenv("DCACHED_SERVER_UID");
    cache->server_uid = SERVER_UID_ANY;
    if (!user || !*user)
        return DCACHE_OK;
    errno = 0;
    number = strtoull(user, &end, 10);
    if (user[0] >= '0' && user[0] <= '9' && *end == '\0') {
        cache->server_uid = (uid_t)number;
        return !errno && number < SERVER_UID_ANY ? DCACHE_OK : DCACHE_E_INVALID;
    }
    if (getpwnam_r(user, &entry, buffer, sizeof buffer, &found) != 0 || !found)
        return DCACHE_E_INVALID;
    cache->server_uid = entry.pw_uid;
    return DCACHE_OK;
}

static void handle_set_random(dcache *cache)
{
    if (getrandom(&cache->random, sizeof cache->random, GRND_NONBLOCK) != sizeof cache->random)
        cache->random = clock_now_ns();
    cache->random |= 1; /* xorshift never leaves 0 */
}

dcache_result dcache_open(dcache **ret, const dcache_options *options)
{
    dcache_options taken;
    dcache *cache;

    *ret = NULL;
    if (!options_copy(&taken, sizeof taken, options, options ? options->size : 0))
        return DCACHE_E_INVALID;
    cache = calloc(1, sizeof *cache);
    if (!cache)
        return DCACHE_E_NOMEM;
    if (handle_set_socket(cache, taken.socket) != DCACHE_OK ||
        handle_set_server(cache, taken.server_user) != DCACHE_OK) {
        free(cache);
        return DCACHE_E_INVALID;
    }
    snprintf(cache->name, sizeof cache->name, "%s", taken.name && *taken.name ? taken.name : program_name());
    cache->timeout_ms = taken.timeout_ms ? taken.timeout_ms : TIMEOUT_DEFAULT_MS;
    cache->pid = getpid();
    cache->next_deadline_ns = UINT64_MAX;
    cache->events_end = &cache->events;
    handle_set_random(cache);
    stream_init(&cache->link.stream);
    cache->link.shown_fd = cache->link.parked_fd = -1;
    cache->link.max_in_flight = IN_FLIGHT_MAX;
    *ret = cache;
    return DCACHE_OK;
}

void dcache_close(dcache *cache)
{
    if (!cache || cache->closing)
        return;
    cache->closing = true;
    link_close(cache);
    async_abandon(cache, cache->pid == getpid());
    watch_deinit(cache);
    request_table_deinit(&cache->table);
    buffer_deinit(&cache->result);
    free(cache);
}

const char *dcache_error(const dcache *cache)
{
    return cache ? cache->error : "no handle";
}

bool handle_read_options(dcache *cache, const dcache_read_options *options, dcache_read_options *ret)
{
    if (!options_copy(ret, sizeof *ret, options, options ? options->size : 0)) {
        handle_fail(cache, DCACHE_E_INVALID, "options: size has to be sizeof(dcache_read_options)");
        return false;
    }
    if (ret->min_version > PROTO_VERSION_MAX) {
        handle_fail(cache, DCACHE_E_INVALID, "min_version: versions are 1 .. 2^63-1");
        return false;
    }
    if (ret->epoch && strlen(ret->epoch) > PROTO_EPOCH_TEXT) {
        handle_fail(cache, DCACHE_E_INVALID, "epoch: has at most %d characters", PROTO_EPOCH_TEXT);
        return false;
    }
    return true;
}

bool handle_write_options(dcache *cache, const dcache_write_options *options, dcache_write_options *ret)
{
    if (!options_copy(ret, sizeof *ret, options, options ? options->size : 0)) {
        handle_fail(cache, DCACHE_E_INVALID, "options: size has to be sizeof(dcache_write_options)");
        return false;
    }
    if (ret->version > PROTO_VERSION_MAX) {
        handle_fail(cache, DCACHE_E_INVALID, "version: versions are 1 .. 2^63-1");
        return false;
    }
    if (ret->retry && !ret->write_id) {
        handle_fail(cache, DCACHE_E_INVALID, "retry: needs the write_id of the first attempt");
        return false;
    }
    return true;
}
