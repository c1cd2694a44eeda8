#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/host/config_internal.h"

#define PASSWORD_FILE_MAX 4096 /* picked */
#define CREDENTIAL        "redis-password"

#define KEY_INDEX(section, name) config_key_find(#section, #name)

/* The checks below look at one value each and report it themselves; only want of memory is handed up. */

static void check_pod(struct draft *draft)
{
    struct config *config = &draft->config;
    for (const char *c = config->pod.id; *c; c++) {
        if (*c < 0x20 || *c >= 0x7f) {
            draft_error_key(draft, KEY_INDEX(pod, id), "is not ASCII; 1 .. 63 printable characters");
            break;
        }
    }
    config->pod.may_write = config->pod.role == ROLE_WRITER || config->redis.reader_can_set_to_redis;
}

static void check_socket_path(struct draft *draft, int index, const char *path)
{
    if (path[0] != '/')
        draft_error_key(draft, index, "is not absolute; a path that begins with /");
    else if (path[strlen(path) - 1] == '/')
        draft_error_key(draft, index, "names a directory; the path of the socket itself");
}

static void check_sockets(struct draft *draft)
{
    const char *main_socket = draft->config.listen.socket, *admin = draft->config.listen.admin_socket;
    check_socket_path(draft, KEY_INDEX(listen, socket), main_socket);
    if (*admin)
        check_socket_path(draft, KEY_INDEX(listen, admin_socket), admin);
    if (*admin && strcmp(admin, main_socket) == 0)
        draft_error_key(draft, KEY_INDEX(listen, admin_socket), "is that of [listen] socket; another path");
}

/* Reports what came of looking up the names of a key: `r` and `why` are of access.h. */
static int note_names(struct draft *draft, int index, int r, const char *why)
{
    if (r > 0)
        draft_error_key(draft, index, "%s", why);
    if (r == ACCESS_UNCHECKED)
        draft->unchecked_count++;
    return r < 0 ? r : 0;
}

/* A name of /etc/group, or a number: containers often have no such file. */
static int check_group(struct draft *draft, int index, const char *name, gid_t *ret)
{
    char why[CONFIG_WHY_MAX];
    *ret = (gid_t)-1;
    return *name ? note_names(draft, index, access_find_group(name, ret, why, sizeof why), why) : 0;
}

static int check_groups(struct draft *draft)
{
    struct config *config = &draft->config;
    int r = check_group(draft, KEY_INDEX(listen, socket_group), config->listen.socket_group, &config->listen.gid);
    return r ? r
             : check_group(draft, KEY_INDEX(listen, admin_socket_group), config->listen.admin_socket_group,
                           &config->listen.admin_gid);
}

static int check_list(struct draft *draft, int index, struct access_list *list)
{
    char why[CONFIG_WHY_MAX];
    int r = note_names(draft, index, access_list_resolve(list, why, sizeof why), why);
    for (size_t i = 0; i < list->uid_count; i++)
        if (list->uids[i] == ACCESS_UNMAPPED)
            draft_warning(draft, "[access] %s: %d is also what every process of another user namespace looks like",
                          config_key_at((size_t)index)->name, ACCESS_UNMAPPED);
    return r;
}

static int check_access(struct draft *draft)
{
    struct config *config = &draft->config;
    int r = check_list(draft, KEY_INDEX(access, read), &config->access.read);
    if (r == 0)
        r = check_list(draft, KEY_INDEX(access, write), &config->access.write);
    return r ? r : check_list(draft, KEY_INDEX(access, admin), &config->access.admin);
}

/* ---- [redis] addr --------------------------------------------------------------------------------------- */

static const char *parse_port(const char *text, uint16_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long port = strtoul(text, NULL, 10);
    if (digits == 0 || digits > 5 || text[digits] || port < 1 || port > 65535)
        return "the port is no number from 1 to 65535";
    *ret = (uint16_t)port;
    return NULL;
}

static bool is_ipv6(const char *text, size_t len)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr in6;
    const char *zone = memchr(text, '%', len);
    if (zone)
        len = (size_t)(zone - text);
    if (len >= sizeof address)
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    return inet_pton(AF_INET6, address, &in6) == 1;
}

/* Finds host and port inside addr. NULL, or what is wrong. */
static const char *split_addr(const char *addr, const char **ret_host, size_t *ret_len, uint16_t *ret_port)
{
    if (strstr(addr, "://"))
        return "is a URL";
    if (strpbrk(addr, "@/ "))
        return "holds @, / or a blank";
    if (addr[0] == '[') {
        const char *close = strchr(addr, ']');
        if (!close || !is_ipv6(addr + 1, (size_t)(close - addr - 1)))
            return "has no IPv6 address between [ and ]";
        if (close[1] != ':')
            return "has no port";
        *ret_host = addr + 1;
        *ret_len = (size_t)(close - addr - 1);
        return parse_port(close + 2, ret_port);
    }
    const char *colon = strchr(addr, ':');
    if (!colon)
        return "has no port";
    if (strchr(colon + 1, ':'))
        return "has several colons: an IPv6 address stands in [ and ]";
    if (colon == addr)
        return "has no host";
    if (colon - addr > 253)
        return "has a host name of more than 253 bytes";
    *ret_host = addr;
    *ret_len = (size_t)(colon - addr);
    return parse_port(colon + 1, ret_port);
}

static const char *check_unix_path(const char *path)
{
    if (path[0] != '/')
        return "is no absolute path after unix:";
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return "has a path of more than 107 bytes";
    return NULL;
}

static int check_addr(struct draft *draft)
{
    struct config *config = &draft->config;
    const char *addr = config->redis.addr;
    const char *wrong, *host = NULL;
    size_t host_len = 0;
    if (strncmp(addr, "unix:", 5) == 0) {
        wrong = check_unix_path(addr + 5);
        if (!wrong && !(config->redis.unix_path = strdup(addr + 5)))
            return -ENOMEM;
    } else {
        wrong = split_addr(addr, &host, &host_len, &config->redis.port);
        if (!wrong && !(config->redis.host = strndup(host, host_len)))
            return -ENOMEM;
    }
    if (wrong) /* the value is not repeated: a URL may hold a password */
        draft_error_key(draft, KEY_INDEX(redis, addr), "%s; HOST:PORT, [IPv6]:PORT or unix:/PATH", wrong);
    return 0;
}

/* Of one path, the socket that is bound second would take the first for another program's. */
static void check_metrics_socket(struct draft *draft, const char *path)
{
    const struct config *config = &draft->config;
    if (strcmp(path, config->listen.socket) == 0)
        draft_error_key(draft, KEY_INDEX(metrics, listen), "is that of [listen] socket; another path");
    else if (strcmp(path, config->listen.admin_socket) == 0)
        draft_error_key(draft, KEY_INDEX(metrics, listen), "is that of [listen] admin_socket; another path");
}

/* :PORT is every interface. */
static int check_metrics(struct draft *draft)
{
    struct config *config = &draft->config;
    const char *addr = config->metrics.listen;
    const char *wrong, *host = NULL;
    size_t host_len = 0;
    if (!*addr)
        return 0;
    if (strncmp(addr, "unix:", 5) == 0) {
        wrong = check_unix_path(addr + 5);
        if (!wrong && !(config->metrics.unix_path = strdup(addr + 5)))
            return -ENOMEM;
    } else if (addr[0] == ':') {
        wrong = parse_port(addr + 1, &config->metrics.port);
    } else {
        wrong = split_addr(addr, &host, &host_len, &config->metrics.port);
        if (!wrong && !(config->metrics.host = strndup(host, host_len)))
            return -ENOMEM;
    }
    if (wrong)
        draft_error_key(draft, KEY_INDEX(metrics, listen),
                        "%s; HOST:PORT, [IPv6]:PORT, :PORT, unix:/PATH or nothing", wrong);
    else if (config->metrics.unix_path)
        check_metrics_socket(draft, config->metrics.unix_path);
    return 0;
}

static void check_names(struct draft *draft)
{
    if (strpbrk(draft->config.redis.key_prefix, "{}"))
        draft_error_key(draft, KEY_INDEX(redis, key_prefix),
                        "holds { or }, which would move keys between cluster slots; a prefix without");
}

/* ---- password ------------------------------------------------------------------------------------------- */

/* 0; 1: `why`; -ENOMEM. */
static int read_password(const char *path, unsigned mode_refused, char **ret, char why[CONFIG_WHY_MAX])
{
    size_t len;
    bool missing;
    char *text = config_file_read(path, PASSWORD_FILE_MAX, mode_refused, &len, &missing, why);
    if (!text)
        return 1;
    size_t line = strcspn(text, "\r\n");
    int r = 0;
    if (memchr(text, '\0', len)) {
        snprintf(why, CONFIG_WHY_MAX, "%s holds a NUL byte; the password as its first line", path);
        r = 1;
    } else if (line == 0) {
        snprintf(why, CONFIG_WHY_MAX, "the first line of %s is empty; the password as its first line", path);
        r = 1;
    } else if (!(*ret = strndup(text, line))) {
        r = -ENOMEM;
    }
    explicit_bzero(text, len);
    free(text);
    return r;
}

static const char *env_value(char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

/* A credential that systemd placed for this service (LoadCredential=redis-password:...); false: there is none. */
static bool credential_path(char *const *env, char *path, size_t size)
{
    const char *directory = env_value(env, "CREDENTIALS_DIRECTORY");
    if (!directory || directory[0] != '/')
        return false;
    int len = snprintf(path, size, "%s/" CREDENTIAL, directory);
    return len > 0 && (size_t)len < size && access(path, F_OK) == 0;
}

/* No error: it may be right, and the credential is there only for what systemd starts. */
static void warn_of_no_password(struct draft *draft)
{
    if (draft->config.redis.username[0])
        draft_warning(draft,
                      "[redis] username: no password was found; unless Redis wants none of this user (nopass), "
                      "give password_file or the credential " CREDENTIAL);
}

static int check_password(struct draft *draft)
{
    char path[PATH_MAX], why[CONFIG_WHY_MAX];
    const char *file = draft->config.redis.password_file;
    if (*file && file[0] != '/') {
        draft_error_key(draft, KEY_INDEX(redis, password_file), "is not absolute; a path that begins with /");
        return 0;
    }
    if (!*file && !credential_path(draft->env, path, sizeof path)) {
        warn_of_no_password(draft);
        return 0;
    }
    int r = read_password(*file ? file : path, S_IRWXO, &draft->config.redis.password, why);
    if (r > 0)
        draft_error_key(draft, KEY_INDEX(redis, password_file), "%s", why);
    return r < 0 ? r : 0;
}

/* ---- keys that depend on each other --------------------------------------------------------------------- */

/* Reports the key that somebody wrote, rather than one that stands at its default. */
static int to_blame(const struct draft *draft, int first, int second)
{
    return draft->config.origins[first].kind == CONFIG_FROM_DEFAULT ? second : first;
}

uint64_t config_buffers_min(const struct config *config)
{
    return 2 * (config->cache.max_value + config->cache.max_key);
}

static void check_sizes(struct draft *draft)
{
    const struct config *config = &draft->config;
    char max_value[32], least[32];
    config_number_print(CONFIG_SIZE, config->cache.max_value, max_value, sizeof max_value);
    if (config->cache.max_memory / 4 < config->cache.max_value) {
        config_number_print(CONFIG_SIZE, config->cache.max_value * 4, least, sizeof least);
        draft_error_key(draft, to_blame(draft, KEY_INDEX(cache, max_memory), KEY_INDEX(cache, max_value)),
                        "max_memory holds less than four values of %s; max_memory = %s or more", max_value, least);
    }
    if (config->limits.buffers < config_buffers_min(config)) {
        config_number_print(CONFIG_SIZE, config_buffers_min(config), least, sizeof least);
        draft_error_key(draft, to_blame(draft, KEY_INDEX(limits, buffers), KEY_INDEX(cache, max_value)),
                        "buffers cannot hold two messages of max_value = %s; [limits] buffers = %s or more",
                        max_value, least);
    }
}

static void check_staleness(struct draft *draft)
{
    const struct config *config = &draft->config;
    char bound[32];
    if (config->staleness.max_stale_ns >= config->staleness.bound_ns)
        return;
    config_number_print(CONFIG_DURATION, config->staleness.bound_ns, bound, sizeof bound);
    draft_error_key(draft, to_blame(draft, KEY_INDEX(staleness, max_stale), KEY_INDEX(staleness, bound)),
                    "max_stale is shorter than bound; max_stale = %s or more", bound);
}

/* Only what can be said without running it; the daemon loads it. */
static void check_hook(struct draft *draft)
{
    const char *path = draft->config.cache.on_set_local_cache;
    struct stat st;
    if (!*path)
        return;
    int index = KEY_INDEX(cache, on_set_local_cache);
    if (path[0] != '/')
        draft_error_key(draft, index, "is not absolute; a path that begins with /");
    else if (stat(path, &st) < 0)
        draft_error_key(draft, index, "%s: %s; the path of a shared object", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        draft_error_key(draft, index, "%s is no regular file; the path of a shared object", path);
}

int config_check(struct draft *draft)
{
    check_pod(draft);
    check_sockets(draft);
    check_names(draft);
    check_sizes(draft);
    check_staleness(draft);
    check_hook(draft);
    int r = check_groups(draft);
    if (r == 0)
        r = check_access(draft);
    if (r == 0)
        r = check_addr(draft);
    if (r == 0)
        r = check_metrics(draft);
    return r ? r : check_password(draft);
}
