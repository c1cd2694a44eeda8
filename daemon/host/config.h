/*
 * The configuration: an ini file, then the environment, which wins. Every key has one row in a table
 * (config_key_at): parser, environment, --print-config, the shipped file and dcached.conf(5) follow it.
 *
 * All errors of the file and the environment are collected, each as
 *     FILE:LINE: [section] key: what is wrong; what is right
 * (for the environment: DCACHED_SECTION_KEY: ...), and nothing is taken over unless all of it is good.
 *
 * Durations are held in nanoseconds (_ns), sizes in bytes. Texts are owned by the struct, never NULL unless
 * said here, and NUL-terminated.
 */
#ifndef DCACHED_HOST_CONFIG_H
#define DCACHED_HOST_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "daemon/host/access.h"
#include "daemon/host/log.h"

#define CONFIG_DEFAULT_PATH "/etc/dcached/dcached.conf"

enum config_role { ROLE_WRITER, ROLE_READER };
enum config_propagate { PROPAGATE_VALUE, PROPAGATE_INVALIDATE };
enum config_on_partition { ON_PARTITION_REFUSE, ON_PARTITION_STALE };

#define CONFIG_VALUE_MAX 4096 /* bytes of a value, its NUL included */
#define CONFIG_KEY_MAX   64   /* room for the table; checked when it is compiled */

/* Where a key got its value from. */
enum config_from { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_ENV };

struct config_origin {
    enum config_from kind;
    int line; /* CONFIG_FROM_FILE */
};

struct config {
    struct config_origin origins[CONFIG_KEY_MAX]; /* by index in the table of keys */
    struct {
        char *id; /* 1 .. 63 printable characters; the source of every record */
        enum config_role role;
        bool may_write; /* derived: a writer, or a reader with reader_can_set_to_redis */
    } pod;
    struct {
        char *socket; /* absolute, <= 107 bytes */
        unsigned socket_mode;
        char *socket_group; /* "": the daemon's own group */
        gid_t gid;          /* derived; (gid_t)-1: the daemon's own group */
        char *admin_socket; /* "": none */
        unsigned admin_socket_mode;
        char *admin_socket_group;
        gid_t admin_gid; /* as gid */
    } listen;
    struct {
        struct access_list read, write, admin;
    } access;
    struct {
        char *addr;      /* as written */
        char *host;      /* derived; NULL when unix_path is set; no brackets around an IPv6 address */
        uint16_t port;   /* derived */
        char *unix_path; /* derived; NULL when host is set */
        char *username;  /* "": none */
        char *password_file;
        char *password; /* first line of password_file, or of the credential; NULL: none. Never print it */
        unsigned db;
        char *invalidation_channel;
        char *key_prefix;
        bool reader_can_set_to_redis;
    } redis;
    struct {
        uint64_t max_memory;
        uint64_t max_value;
        uint64_t max_key;
        uint64_t entry_size;      /* expected key + source + value of one entry; sizes the index */
        uint64_t default_ttl_ns;  /* 0: none; otherwise a whole number of milliseconds */
        char *on_set_local_cache; /* "": no hook */
        enum config_propagate propagate;
    } cache;
    struct {
        uint64_t bound_ns; /* D */
        enum config_on_partition on_partition;
        uint64_t max_stale_ns;
        unsigned min_replicas;     /* 0: no replica guard */
        uint64_t tombstone_ttl_ns; /* a whole number of milliseconds */
    } staleness;
    struct {
        unsigned connections; /* clients at one time */
        uint64_t buffers;     /* one budget: unfinished and unsent bytes of all clients */
        uint64_t timeout_ns;  /* deadline of a call that names none */
    } limits;
    struct {
        uint64_t interval_ns; /* 0: never */
        unsigned samples;
    } verify;
    struct {
        unsigned events; /* 0: none */
    } trace;
    struct {
        char *listen;    /* as written; "": none */
        char *host;      /* derived; NULL: every interface, or unix_path is set */
        uint16_t port;   /* derived */
        char *unix_path; /* derived; NULL: TCP */
    } metrics;
    struct {
        enum log_level level; /* as written; see config_log_level */
        enum log_format format;
        bool debug_mode;
    } log;
};

/* debug_mode implies the level debug. */
enum log_level config_log_level(const struct config *config);

/* ---- loading -------------------------------------------------------------------------------------------- */

/* The lines for the operator, in the order found; owned by the report. Never a secret among them. */
struct config_report {
    char **errors;
    size_t error_count;
    char **warnings;
    size_t warning_count;
    bool no_memory; /* a line is missing for want of memory; counts as an error */
};

void config_report_deinit(struct config_report *report);

struct config_source {
    const char *path; /* of the file, and its name in errors */
    bool required;    /* a missing file is an error; otherwise: the defaults, and a warning */
    const char *text; /* not NULL: the content, instead of reading the file */
    size_t text_len;
    char *const *env; /* like environ; NULL: none */
    bool reload;      /* a file without an end is an error: somebody may be writing it. Otherwise a warning */
};

enum {
    CONFIG_OK = 0,
    /* report->errors says why; *ret is untouched. */
    CONFIG_INVALID = 1,
    CONFIG_UNCHECKED = 2, /* the name service failed, and nothing else is wrong: it may be good later */
};

/*
 * report has to be zeroed. It reads the password file and looks the group up, so that what is accepted here
 * works. 0, CONFIG_INVALID, CONFIG_UNCHECKED or -ENOMEM.
 */
int config_load(struct config *ret, const struct config_source *source, struct config_report *report);

/* Overwrites the password before freeing. A zeroed config is fine. */
void config_deinit(struct config *config);

#define CONFIG_WHERE_MAX (CONFIG_VALUE_MAX + 16)

/* Where the key at `index` has its value from: "PATH:LINE" or "DCACHED_SECTION_KEY"; "" for a default. */
void config_where(const struct config *config, size_t index, const char *path, char where[CONFIG_WHERE_MAX]);

/*
 * The effective configuration as an ini file that config_load accepts. Above each key a comment says where it has
 * its value from: "; PATH:LINE", "; environment DCACHED_SECTION_KEY" or "; default". path NULL: without these. Of
 * the password: "; password = ***".
 */
void config_print(const struct config *config, const char *path, FILE *to);

/* ---- reloading ------------------------------------------------------------------------------------------ */

/* What config_take did, in words for the log and `status`; each owned by the struct, never NULL after it. */
struct config_changes {
    char *applied; /* "log.level: info -> debug, ..."; "": none */
    char *restart; /* "staleness.bound: 1s -> 500ms needs a restart, ..."; "": none */
    size_t applied_count, restart_count;
};

/*
 * Takes over from `loaded` what can change while the daemon runs, and says what cannot. What is taken holds beside
 * the rest as it runs: buffers and max_stale that are too small for the max_value and the bound in force wait for
 * the restart with these. Secrets are said to have changed, no more. `loaded` stays the caller's to deinit. 0 or
 * -ENOMEM (nothing was taken).
 */
int config_take(struct config *running, struct config *loaded, struct config_changes *ret);
void config_changes_deinit(struct config_changes *changes);

/* ---- the table of keys ---------------------------------------------------------------------------------- */

enum config_type {
    CONFIG_TEXT,
    CONFIG_DURATION, /* digits and one of ms s m h; a bare 0 is fine */
    CONFIG_SIZE,     /* digits, then nothing or one of K M G (1024) */
    CONFIG_NUMBER,
    CONFIG_BOOL, /* yes no */
    CONFIG_CHOICE,
    CONFIG_MODE,   /* octal */
    CONFIG_ACCESS, /* a struct access_list, as text */
};

struct config_key {
    const char *section, *name;
    bool live; /* a changed value holds after SIGHUP; otherwise after a restart */
    enum config_type type;
    const char *default_text;   /* "": empty */
    uint64_t min, max;          /* of the value; of the length of a text, in bytes */
    const char *const *choices; /* CONFIG_CHOICE: the words of the enum in its order; NULL-terminated */
    const char *help;           /* one line */
    size_t offset;              /* in struct config */
};

/* index 0, 1, ... in the order of the file; NULL: past the end. */
const struct config_key *config_key_at(size_t index);
size_t config_key_count(void);
/* The index of a key, or -1. */
int config_key_find(const char *section, const char *name);
bool config_section_known(const char *section);

/* "DCACHED_SECTION_KEY" */
void config_env_name(const struct config_key *key, char *name, size_t size);

/* The value of one key as an operator would write it. */
void config_value_print(const struct config_key *key, const struct config *config, char text[CONFIG_VALUE_MAX]);

#endif
