/*
 * What the files of the configuration share: the draft that is filled key by key and taken over as a whole.
 *   config_keys.c   the table
 *   config_value.c  texts to values and back
 *   config_file.c   lines of the file to keys and texts
 *   config_check.c  what several keys, or the system, have to agree on
 *   config.c        loading: file, environment, checks
 *   config_change.c one configuration against another: printing, and what a reload takes over
 */
#ifndef DCACHED_HOST_CONFIG_INTERNAL_H
#define DCACHED_HOST_CONFIG_INTERNAL_H

#include "daemon/host/config.h"

#define CONFIG_WHY_MAX 4608 /* a path and a sentence */

struct draft {
    struct config config;
    const char *path; /* name of the file in errors */
    char *const *env;
    struct config_report *report;
    size_t unchecked_count; /* of the report's errors: those that are the name service's */
};

/* ---- config.c: the report ------------------------------------------------------------------------------- */

/* line 0: about the file as a whole. Control bytes in the result are replaced by '?'. */
__attribute__((format(printf, 3, 4))) void draft_error_at(struct draft *draft, int line, const char *format, ...);
/* About the key at `index`, named by the place its value came from. */
__attribute__((format(printf, 3, 4))) void draft_error_key(struct draft *draft, int index, const char *format,
                                                           ...);
__attribute__((format(printf, 2, 3))) void draft_warning(struct draft *draft, const char *format, ...);

/* The content of a regular file, NUL-terminated, owned by the caller; mode_refused: bits it must not have. NULL:
 * `why` says what is wrong, and *ret_missing whether it is that there is no such file. */
char *config_file_read(const char *path, size_t max, unsigned mode_refused, size_t *ret_len, bool *ret_missing,
                       char why[CONFIG_WHY_MAX]);

/* ---- config_value.c ------------------------------------------------------------------------------------- */

/* Puts the value into config. 0; 1: `why` says what is wrong and what is right, config is as before; -ENOMEM. */
int config_value_parse(const struct config_key *key, const char *text, struct config *config,
                       char why[CONFIG_WHY_MAX]);

/* A number of the key's type as an operator would write it: "100ms", "64M". */
void config_number_print(enum config_type type, uint64_t number, char *text, size_t size);

/* `text` in quotes, shortened, with unprintable bytes as \xNN, for an error. Returns `quoted`. */
#define CONFIG_QUOTE_MAX 96
const char *config_quote(const char *text, char quoted[CONFIG_QUOTE_MAX]);

/* ---- config_file.c -------------------------------------------------------------------------------------- */

/* Every key of the file into the draft, every error into the report. 0 or -ENOMEM. */
int config_file_parse(struct draft *draft, const char *text, size_t len);

/* ---- config_check.c ------------------------------------------------------------------------------------- */

/* After all values: derives host, port, gid, password ... and compares keys. 0 or -ENOMEM. */
int config_check(struct draft *draft);
/* The least [limits] buffers for its max_value and max_key. */
uint64_t config_buffers_min(const struct config *config);

#endif
