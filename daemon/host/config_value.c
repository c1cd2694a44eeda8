#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/config_internal.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* From small to large. */
static const struct unit duration_units[] = {
    {"ms", UINT64_C(1000000)},
    {"s", UINT64_C(1000000000)},
    {"m", UINT64_C(60000000000)},
    {"h", UINT64_C(3600000000000)},
    {NULL, 0},
};

static const struct unit size_units[] = {
    {"", 1}, {"K", UINT64_C(1) << 10}, {"M", UINT64_C(1) << 20}, {"G", UINT64_C(1) << 30}, {NULL, 0},
};

static const struct unit plain_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum config_type type)
{
    if (type == CONFIG_DURATION)
        return duration_units;
    return type == CONFIG_SIZE ? size_units : plain_units;
}

static const char *form_of(enum config_type type)
{
    if (type == CONFIG_DURATION)
        return "digits followed by ms, s, m or h, such as 500ms";
    return type == CONFIG_SIZE ? "digits, optionally followed by K, M or G, such as 64M" : "a number in digits";
}

const char *config_quote(const char *text, char quoted[CONFIG_QUOTE_MAX])
{
    size_t len = 0;
    quoted[len++] = '"';
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (len > CONFIG_QUOTE_MAX - 10) { /* an escape, the dots, the quote and the NUL */
            memcpy(quoted + len, "...", 3);
            len += 3;
            break;
        }
        if (*c < 0x20 || *c >= 0x7f)
            len += (size_t)snprintf(quoted + len, 5, "\\x%02x", *c);
        else
            quoted[len++] = (char)*c;
    }
    quoted[len++] = '"';
    quoted[len] = '\0';
    return quoted;
}

void config_number_print(enum config_type type, uint64_t number, char *text, size_t size)
{
    if (type == CONFIG_MODE) {
        snprintf(text, size, "%04" PRIo64, number);
        return;
    }
    const struct unit *best = units_of(type);
    if (number == 0) {
        snprintf(text, size, "0");
        return;
    }
    for (const struct unit *unit = best; unit->name; unit++)
        if (number % unit->factor == 0)
            best = unit;
    snprintf(text, size, "%" PRIu64 "%s", number / best->factor, best->name);
}

/* ---- parsing: 0, or 1 with `why` ------------------------------------------------------------------------ */

/* Digits alone: no sign, no blank, no 0x, no exponent. False: none, or more than 64 bits. */
static bool parse_digits(const char **text, unsigned base, uint64_t *ret)
{
    const char *c = *text;
    uint64_t number = 0;
    for (; *c >= '0' && *c < '0' + (char)base; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (__builtin_mul_overflow(number, base, &number) || __builtin_add_overflow(number, digit, &number))
            return false;
    }
    bool some = c != *text;
    *text = c;
    *ret = number;
    return some;
}

static int parse_range(const struct config_key *key, const char *text, uint64_t number, bool overflow,
                       char why[CONFIG_WHY_MAX])
{
    char quoted[CONFIG_QUOTE_MAX], min[32], max[32];
    if (!overflow && number >= key->min && number <= key->max)
        return 0;
    config_number_print(key->type, key->min, min, sizeof min);
    config_number_print(key->type, key->max, max, sizeof max);
    snprintf(why, CONFIG_WHY_MAX, "%s is out of range; %s .. %s", config_quote(text, quoted), min, max);
    return 1;
}

static int parse_number(const struct config_key *key, const char *text, uint64_t *ret, char why[CONFIG_WHY_MAX])
{
    char quoted[CONFIG_QUOTE_MAX];
    const char *rest = text + strspn(text, "0123456789");
    if (rest == text) {
        snprintf(why, CONFIG_WHY_MAX, "%s is no %s; %s", config_quote(text, quoted),
                 key->type == CONFIG_DURATION ? "duration"
                 : key->type == CONFIG_SIZE   ? "size"
                                              : "number",
                 form_of(key->type));
        return 1;
    }
    uint64_t number = 0;
    const char *digits = text;
    bool overflow = !parse_digits(&digits, 10, &number);
    const struct unit *unit = units_of(key->type);
    while (unit->name && strcmp(unit->name, rest) != 0)
        unit++;
    if (unit->name) {
        overflow = overflow || __builtin_mul_overflow(number, unit->factor, &number);
    } else if (*rest || overflow || number != 0) { /* a bare 0 needs no unit */
        snprintf(why, CONFIG_WHY_MAX, "%s %s; %s", config_quote(text, quoted),
                 *rest ? "ends in no unit that is known" : "has no unit", form_of(key->type));
        return 1;
    }
    int r = parse_range(key, text, number, overflow, why);
    if (r == 0)
        *ret = number;
    return r;
}

static int parse_mode(const struct config_key *key, const char *text, unsigned *ret, char why[CONFIG_WHY_MAX])
{
    char quoted[CONFIG_QUOTE_MAX];
    const char *rest = text;
    uint64_t number;
    if (!parse_digits(&rest, 8, &number) || *rest || number > key->max) {
        snprintf(why, CONFIG_WHY_MAX, "%s is no mode; octal digits from 0000 to 0777, such as 0660",
                 config_quote(text, quoted));
        return 1;
    }
    *ret = (unsigned)number;
    return 0;
}

static int parse_bool(const char *text, bool *ret, char why[CONFIG_WHY_MAX])
{
    char quoted[CONFIG_QUOTE_MAX];
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        snprintf(why, CONFIG_WHY_MAX, "%s is neither; yes or no", config_quote(text, quoted));
        return 1;
    }
    *ret = text[0] == 'y';
    return 0;
}

static int parse_choice(const struct config_key *key, const char *text, unsigned *ret, char why[CONFIG_WHY_MAX])
{
    char quoted[CONFIG_QUOTE_MAX];
    for (unsigned i = 0; key->choices[i]; i++) {
        if (strcmp(key->choices[i], text) == 0) {
            *ret = i;
            return 0;
        }
    }
    int len = snprintf(why, CONFIG_WHY_MAX, "%s is not known; one of", config_quote(text, quoted));
    for (unsigned i = 0; key->choices[i]; i++)
        len += snprintf(why + len, CONFIG_WHY_MAX - (size_t)len, "%s %s", i ? "," : "", key->choices[i]);
    return 1;
}

static int parse_text(const struct config_key *key, const char *text, char **ret, char why[CONFIG_WHY_MAX])
{
    size_t len = strlen(text);
    if (len < key->min || len > key->max) {
        if (len == 0)
            snprintf(why, CONFIG_WHY_MAX, "is empty; a text of up to %" PRIu64 " bytes", key->max);
        else
            snprintf(why, CONFIG_WHY_MAX, "is %zu bytes long; at most %" PRIu64, len, key->max);
        return 1;
    }
    if (len >= 2 && (text[0] == '"' || text[0] == '\'') && text[len - 1] == text[0]) {
        snprintf(why, CONFIG_WHY_MAX, "stands in quotes, which would belong to the value; write it without");
        return 1;
    }
    if (len && (text[0] == ' ' || text[len - 1] == ' ')) {
        snprintf(why, CONFIG_WHY_MAX, "begins or ends with a blank; write it without");
        return 1;
    }
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            snprintf(why, CONFIG_WHY_MAX, "holds the control byte 0x%02x; printable characters only",
                     (unsigned char)*c);
            return 1;
        }
    }
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    free(*ret);
    *ret = copy;
    return 0;
}

int config_value_parse(const struct config_key *key, const char *text, struct config *config,
                       char why[CONFIG_WHY_MAX])
{
    void *field = (char *)config + key->offset;
    uint64_t number = 0;
    int r;
    switch (key->type) {
    case CONFIG_TEXT:
        return parse_text(key, text, field, why);
    case CONFIG_ACCESS:
        return parse_text(key, text, &((struct access_list *)field)->text, why);
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        return parse_number(key, text, field, why);
    case CONFIG_NUMBER:
        r = parse_number(key, text, &number, why);
        if (r == 0)
            *(unsigned *)field = (unsigned)number;
        return r;
    case CONFIG_BOOL:
        return parse_bool(text, field, why);
    case CONFIG_CHOICE:
        return parse_choice(key, text, field, why); /* enums are unsigned here: see the assertion below */
    case CONFIG_MODE:
        return parse_mode(key, text, field, why);
    }
    return -EINVAL;
}

_Static_assert(sizeof(enum config_role) == sizeof(unsigned) && sizeof(enum config_propagate) == sizeof(unsigned) &&
                   sizeof(enum config_on_partition) == sizeof(unsigned) &&
                   sizeof(enum log_level) == sizeof(unsigned) && sizeof(enum log_format) == sizeof(unsigned),
               "a choice is stored as an unsigned");

void config_value_print(const struct config_key *key, const struct config *config, char text[CONFIG_VALUE_MAX])
{
    const void *field = (const char *)config + key->offset;
    switch (key->type) {
    case CONFIG_TEXT:
        snprintf(text, CONFIG_VALUE_MAX, "%s", *(char *const *)field);
        break;
    case CONFIG_ACCESS:
        snprintf(text, CONFIG_VALUE_MAX, "%s", ((const struct access_list *)field)->text);
        break;
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        config_number_print(key->type, *(const uint64_t *)field, text, CONFIG_VALUE_MAX);
        break;
    case CONFIG_NUMBER:
    case CONFIG_MODE:
        config_number_print(key->type, *(const unsigned *)field, text, CONFIG_VALUE_MAX);
        break;
    case CONFIG_BOOL:
        snprintf(text, CONFIG_VALUE_MAX, "%s", *(const bool *)field ? "yes" : "no");
        break;
    case CONFIG_CHOICE:
        snprintf(text, CONFIG_VALUE_MAX, "%s", key->choices[*(const unsigned *)field]);
        break;
    }
}
