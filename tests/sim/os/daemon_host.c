#include "tests/sim/os/daemon_host.h"

#include "daemon/wiring.h"
#include "tests/sim/os/internal.h"

struct daemon_host {
    struct os_process *process;
    struct config *config;
    struct daemon *daemon; /* NULL: none runs */
    unsigned starts, failures;
};

void daemon_config_default(struct config *ret)
{
    static char id[] = "pod", socket[] = "/sim/dcached.sock", empty[] = "", addr[] = "redis:6379",
                host[] = "redis", channel[] = "cache:invalidate", prefix[] = "dc:";

    *ret = (struct config){
        .pod = {.id = id, .role = ROLE_WRITER, .may_write = true},
        .listen = {.socket = socket,
                   .socket_mode = 0660,
                   .socket_group = empty,
                   .gid = (gid_t)-1,
                   .admin_socket = empty},
        .redis = {.addr = addr,
                  .host = host,
                  .port = 6379,
                  .username = empty,
                  .password_file = empty,
                  .invalidation_channel = channel,
                  .key_prefix = prefix},
        .cache = {.max_memory = 256 * 1024,
                  .max_value = 4096,
                  .max_key = 256,
                  .entry_size = 256,
                  .on_set_local_cache = empty,
                  .propagate = PROPAGATE_VALUE},
        .staleness = {.bound_ns = OS_S,
                      .on_partition = ON_PARTITION_REFUSE,
                      .max_stale_ns = 30 * OS_S,
                      .tombstone_ttl_ns = 24 * 3600 * OS_S},
        .limits = {.connections = 64, .buffers = 4 * 1024 * 1024, .timeout_ns = OS_S},
        .metrics = {.listen = empty},
        .log = {.level = LOG_LEVEL_INFO},
    };
}

static void daemon_main(void *arg)
{
    struct daemon_host *host = arg;
    bool logged = host->process->os->config.on_log != NULL;
    struct log log = {.fd = kernel_new_fd(FD_LOG),
                      .level = logged ? config_log_level(host->config) : LOG_LEVEL_ERROR};
    struct notify notify = {.fd = -1};
    struct daemon *daemon;

    host->starts++;
    if (daemon_new(&daemon, host->config, &log, &notify) != DAEMON_OK) {
        host->failures += !os_dying();
        kernel_close(log.fd);
        return;
    }
    host->daemon = daemon;
    daemon_serve(daemon);
    host->failures += !os_dying() && !daemon->stopping;
    host->daemon = NULL;
    daemon_free(daemon);
    kernel_close(log.fd);
}

struct daemon_host *daemon_host_new(struct os *os, const char *name, struct config *config,
                                    int64_t boottime_offset_ns)
{
    struct daemon_host *host = os_alloc(sizeof(*host));
    struct os_process_config process = {
        .name = name, .main = daemon_main, .arg = host, .boottime_offset_ns = boottime_offset_ns};

    host->config = config;
    host->process = os_process_new(os, &process);
    os_own(os, host);
    return host;
}

struct os_process *daemon_host_process(struct daemon_host *host)
{
    return host->process;
}

bool daemon_host_counters(const struct daemon_host *host, struct core_counters *ret)
{
    if (!host->daemon)
        return false;
    core_get_counters(host->daemon->core, ret);
    return true;
}

bool daemon_host_status(const struct daemon_host *host, struct core_status *ret)
{
    if (!host->daemon)
        return false;
    core_get_status(host->daemon->core, os_process_boottime(host->process), ret);
    return true;
}

unsigned daemon_host_starts(const struct daemon_host *host)
{
    return host->starts;
}

unsigned daemon_host_failures(const struct daemon_host *host)
{
    return host->failures;
}
