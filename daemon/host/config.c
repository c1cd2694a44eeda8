#include "daemon/host/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/host/config_internal.h"

#define FILE_MAX   (1024 * 1024) /* picked: the shipped file has 6 KiB */
#define REPORT_MAX 10000         /* lines of each sort; picked */
#define ENV_PREFIX "DCACHED_"

enum log_level config_log_level(const struct config *config)
{
    return config->log.debug_mode ? LOG_LEVEL_DEBUG : config->log.level;
}

/* ---- report --------------------------------------------------------------------------------------------- */

static void add_line(struct config_report *report, char ***lines, size_t *count, char *line)
{
    if (*count >= REPORT_MAX) { /* enough to go on with; the count of errors stays above zero */
        free(line);
        return;
    }
    char **larger = line ? realloc(*lines, (*count + 1) * sizeof **lines) : NULL;
    if (!larger) {
        free(line);
        report->no_memory = true;
        return;
    }
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    *lines = larger;
    larger[(*count)++] = line;
}

/* "where" and ": " before the formatted text; NULL for want of memory. */
__attribute__((format(printf, 2, 0))) static char *make_line(const char *where, const char *format, va_list args)
{
    char *text = NULL, *line = NULL;
    if (vasprintf(&text, format, args) < 0)
        return NULL;
    if (asprintf(&line, "%s%s", where, text) < 0)
        line = NULL;
    free(text);
    return line;
}

void draft_error_at(struct draft *draft, int line, const char *format, ...)
{
    char where[CONFIG_VALUE_MAX + 32];
    if (line)
        snprintf(where, sizeof where, "%.*s:%d: ", CONFIG_VALUE_MAX, draft->path, line);
    else
        snprintf(where, sizeof where, "%.*s: ", CONFIG_VALUE_MAX, draft->path);
    va_list args;
    va_start(args, format);
    add_line(draft->report, &draft->report->errors, &draft->report->error_count, make_line(where, format, args));
    va_end(args);
}

void draft_error_key(struct draft *draft, int index, const char *format, ...)
{
    const struct config_key *key = config_key_at((size_t)index);
    const struct config_origin *origin = &draft->config.origins[index];
    char where[CONFIG_VALUE_MAX + 128], name[64];
    config_env_name(key, name, sizeof name);
    if (origin->kind == CONFIG_FROM_FILE)
        snprintf(where, sizeof where, "%.*s:%d: [%s] %s: ", CONFIG_VALUE_MAX, draft->path, origin->line,
                 key->section, key->name);
    else
        snprintf(where, sizeof where, "%s: [%s] %s: ", origin->kind == CONFIG_FROM_ENV ? name : "default",
                 key->section, key->name);
    va_list args;
    va_start(args, format);
    add_line(draft->report, &draft->report->errors, &draft->report->error_count, make_line(where, format, args));
    va_end(args);
}

void draft_warning(struct draft *draft, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_line(draft->report, &draft->report->warnings, &draft->report->warning_count, make_line("", format, args));
    va_end(args);
}

static void free_lines(char **lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(lines[i]);
    free(lines);
}

void config_report_deinit(struct config_report *report)
{
    free_lines(report->errors, report->error_count);
    free_lines(report->warnings, report->warning_count);
    memset(report, 0, sizeof *report);
}

/* ---- files ---------------------------------------------------------------------------------------------- */

static const char *kind_name(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a FIFO";
    return S_ISSOCK(mode) ? "a socket" : "a device";
}

static bool check_file(const struct stat *st, const char *path, size_t max, unsigned mode_refused,
                       char why[CONFIG_WHY_MAX])
{
    if (!S_ISREG(st->st_mode))
        snprintf(why, CONFIG_WHY_MAX, "%s is %s; it has to be a regular file", path, kind_name(st->st_mode));
    else if (st->st_mode & mode_refused)
        snprintf(why, CONFIG_WHY_MAX, "%s is open to all users (mode %04o); chmod o= %s", path,
                 (unsigned)st->st_mode & 07777, path);
    else if (st->st_size > (off_t)max)
        snprintf(why, CONFIG_WHY_MAX, "%s has more than %zu bytes; a smaller file", path, max);
    else
        return true;
    return false;
}

/* Content alone: a new file that is renamed to its name changes nothing of the one that is read. */
static bool is_unchanged(int fd, const struct stat *before)
{
    struct stat now;
    return fstat(fd, &now) == 0 && now.st_size == before->st_size &&
           now.st_mtim.tv_sec == before->st_mtim.tv_sec && now.st_mtim.tv_nsec == before->st_mtim.tv_nsec;
}

static char *read_all(int fd, size_t max, size_t *ret_len)
{
    char *text = malloc(max + 1);
    if (!text) {
        errno = ENOMEM;
        return NULL;
    }
    size_t len = 0;
    while (len < max) {
        ssize_t n = read(fd, text + len, max - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(text);
            return NULL;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    text[len] = '\0';
    *ret_len = len;
    return text;
}

char *config_file_read(const char *path, size_t max, unsigned mode_refused, size_t *ret_len, bool *ret_missing,
                       char why[CONFIG_WHY_MAX])
{
    /* Not blocking: a FIFO would wait for a writer that never comes. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *ret_missing = fd < 0 && errno == ENOENT;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        snprintf(why, CONFIG_WHY_MAX, "%s cannot be read: %s; uid %u has to be able to read it", path,
                 strerror(errno), (unsigned)geteuid());
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char *text = NULL;
    if (check_file(&st, path, max, mode_refused, why)) {
        text = read_all(fd, max, ret_len);
        if (!text)
            snprintf(why, CONFIG_WHY_MAX, "%s cannot be read: %s", path, strerror(errno));
    }
    if (text && !is_unchanged(fd, &st)) {
        snprintf(why, CONFIG_WHY_MAX, "%s changed while it was read; a new file, renamed to this name", path);
        explicit_bzero(text, *ret_len);
        free(text);
        text = NULL;
    }
    close(fd);
    return text;
}

/* ---- loading -------------------------------------------------------------------------------------------- */

void config_env_name(const struct config_key *key, char *name, size_t size)
{
    snprintf(name, size, ENV_PREFIX "%s_%s", key->section, key->name);
    for (char *c = name; *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

static int set_defaults(struct draft *draft)
{
    char why[CONFIG_WHY_MAX];
    for (size_t i = 0; i < config_key_count(); i++) {
        const struct config_key *key = config_key_at(i);
        int r = config_value_parse(key, key->default_text, &draft->config, why);
        if (r < 0)
            return r;
        if (r > 0) /* the table contradicts itself; a unit test loads the defaults */
            draft_error_key(draft, (int)i, "%s", why);
    }
    return 0;
}

/* A writer that is not done has left a part of the file: often of a line, or nothing. */
static void check_end(struct draft *draft, const char *text, size_t len, bool reload)
{
    const char *what = "ends within a line: it may be half written; a newline at its end";
    if (len > 0 && text[len - 1] == '\n')
        return;
    if (len == 0)
        what = "is empty: it may be half written; at least a comment";
    if (reload)
        draft_error_at(draft, 0, "%s", what);
    else if (len > 0)
        draft_warning(draft, "%s: ends within a line, and a reload refuses that; a newline at its end",
                      draft->path);
}

static int load_file(struct draft *draft, const struct config_source *source)
{
    if (source->text) {
        check_end(draft, source->text, source->text_len, source->reload);
        return config_file_parse(draft, source->text, source->text_len);
    }
    char why[CONFIG_WHY_MAX];
    size_t len;
    bool missing;
    char *text = config_file_read(source->path, FILE_MAX, 0, &len, &missing, why);
    if (!text && missing && !source->required) {
        draft_warning(draft, "there is no %s: the environment and the defaults are used", source->path);
        return 0;
    }
    if (!text) {
        char *line = strdup(why);
        add_line(draft->report, &draft->report->errors, &draft->report->error_count, line);
        return 0;
    }
    check_end(draft, text, len, source->reload);
    int r = config_file_parse(draft, text, len);
    free(text);
    return r;
}

/* The key of the variable `entry` ("NAME=value"), or -1. */
static int key_of_env(const char *entry, size_t name_len)
{
    char name[64];
    for (size_t i = 0; i < config_key_count(); i++) {
        config_env_name(config_key_at(i), name, sizeof name);
        if (strlen(name) == name_len && memcmp(name, entry, name_len) == 0)
            return (int)i;
    }
    return -1;
}

static bool is_for_clients(const char *entry)
{
    static const char *const names[] = {"DCACHED_SOCKET=", "DCACHED_ADMIN_SOCKET=", "DCACHED_SERVER_UID="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static int load_env(struct draft *draft)
{
    char why[CONFIG_WHY_MAX], quoted[CONFIG_QUOTE_MAX], name[64];
    for (char *const *env = draft->env; env && *env; env++) {
        const char *entry = *env, *equals = strchr(entry, '=');
        if (strncmp(entry, ENV_PREFIX, strlen(ENV_PREFIX)) != 0 || !equals)
            continue;
        size_t name_len = (size_t)(equals - entry);
        int index = key_of_env(entry, name_len);
        if (index >= 0) {
            draft->config.origins[index] = (struct config_origin){.kind = CONFIG_FROM_ENV};
            int r = config_value_parse(config_key_at((size_t)index), equals + 1, &draft->config, why);
            if (r > 0)
                draft_error_key(draft, index, "%s", why);
            if (r < 0)
                return r;
        } else if (!is_for_clients(entry)) {
            snprintf(name, sizeof name, "%.*s", (int)name_len, entry);
            draft_warning(draft, "the environment variable %s is of no key; dcached.conf(5) lists them",
                          config_quote(name, quoted));
        }
    }
    return 0;
}

int config_load(struct config *ret, const struct config_source *source, struct config_report *report)
{
    struct draft draft = {.path = source->path, .env = source->env, .report = report};
    int r = set_defaults(&draft);
    if (r == 0)
        r = load_file(&draft, source);
    if (r == 0)
        r = load_env(&draft);
    if (r == 0)
        r = config_check(&draft);
    if (r == 0 && report->no_memory)
        r = -ENOMEM;
    if (r == 0 && report->error_count)
        r = report->error_count > draft.unchecked_count ? CONFIG_INVALID : CONFIG_UNCHECKED;
    if (r) {
        config_deinit(&draft.config);
        return r;
    }
    *ret = draft.config;
    return CONFIG_OK;
}

void config_deinit(struct config *config)
{
    for (size_t i = 0; i < config_key_count(); i++) {
        const struct config_key *key = config_key_at(i);
        if (key->type == CONFIG_TEXT)
            free(*(char **)((char *)config + key->offset));
        if (key->type == CONFIG_ACCESS)
            access_list_deinit((struct access_list *)(void *)((char *)config + key->offset));
    }
    free(config->redis.host);
    free(config->redis.unix_path);
    free(config->metrics.host);
    free(config->metrics.unix_path);
    if (config->redis.password)
        explicit_bzero(config->redis.password, strlen(config->redis.password));
    free(config->redis.password);
    memset(config, 0, sizeof *config);
}
