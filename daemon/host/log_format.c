#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/host/log_internal.h"

#define VALUE_MAX 256 /* bytes of one value as printed; picked: keys of usual length fit */

void log_put(struct log_out *out, const char *piece, size_t len)
{
    if (out->full || len > out->cap - out->len) {
        out->full = true;
        return;
    }
    memcpy(out->bytes + out->len, piece, len);
    out->len += len;
}

void log_put_text(struct log_out *out, const char *text)
{
    log_put(out, text, strlen(text));
}

struct log_field log_field_text(const char *name, const char *text)
{
    return LOG_SLICE(name, slice_text(text ? text : ""));
}

struct log_field log_field_raw(const char *text)
{
    return (struct log_field){.type = LOG_FIELD_RAW, .bytes = slice_text(text ? text : "")};
}

bool log_is_deceptive(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff0 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

size_t log_utf8_decode(const uint8_t *s, size_t left, uint32_t *ret)
{
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0x80) {
        *ret = s[0];
        return 1;
    }
    if (s[0] < 0xc2 || s[0] > 0xf4 || len > left)
        return 0;
    uint32_t c = s[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < lowest[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret = c;
    return len;
}

/* Length of the well-formed, harmless UTF-8 sequence of two to four bytes at s; 0: there is none. */
static size_t utf8_len(const uint8_t *s, size_t left)
{
    uint32_t c;
    size_t len = log_utf8_decode(s, left, &c);
    return len && !log_is_deceptive(c) ? len : 0;
}

/* Adds the character at s, escaped where it is unsafe; returns how many bytes of s it stands for. */
static size_t put_char(struct log_out *out, const uint8_t *s, size_t left, bool quoted)
{
    if (s[0] >= 0x80) {
        size_t len = utf8_len(s, left);
        if (len) {
            log_put(out, (const char *)s, len);
            return len;
        }
    } else if (s[0] >= 0x20 && s[0] < 0x7f) {
        char escaped[] = {'\\', (char)s[0]};
        bool escape = quoted && (s[0] == '"' || s[0] == '\\');
        log_put(out, escape ? escaped : escaped + 1, escape ? 2 : 1);
        return 1;
    }
    char hex[5];
    switch (s[0]) {
    case '\n':
        log_put_text(out, "\\n");
        break;
    case '\r':
        log_put_text(out, "\\r");
        break;
    case '\t':
        log_put_text(out, "\\t");
        break;
    default:
        snprintf(hex, sizeof hex, "\\x%02x", s[0]);
        log_put_text(out, hex);
    }
    return 1;
}

static void put_chars(struct log_out *out, struct slice s, bool quoted)
{
    for (size_t i = 0; i < s.len && !out->full;)
        i += put_char(out, s.data + i, s.len - i, quoted);
}

static bool needs_quotes(struct slice s)
{
    if (s.len == 0)
        return true;
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.data[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return true;
        size_t len = c < 0x80 ? 1 : utf8_len(s.data + i, s.len - i);
        if (len == 0)
            return true;
        i += len;
    }
    return false;
}

static void put_bytes(struct log_out *out, struct slice s)
{
    char value[VALUE_MAX];
    bool quoted = needs_quotes(s);
    struct log_out inner = {.bytes = value, .cap = sizeof value - 6}; /* two quotes, the dots and a NUL */
    put_chars(&inner, s, quoted);
    char whole[VALUE_MAX];
    int len = snprintf(whole, sizeof whole, "%s%.*s%s%s", quoted ? "\"" : "", (int)inner.len, value,
                       inner.full ? "..." : "", quoted ? "\"" : "");
    log_put(out, whole, (size_t)len);
}

static void put_field(struct log_out *out, const struct log_field *field)
{
    char number[24];
    if (field->type == LOG_FIELD_RAW) {
        if (field->bytes.len == 0)
            return;
        log_put_text(out, " ");
        put_chars(out, field->bytes, false);
        return;
    }
    log_put_text(out, " ");
    log_put_text(out, field->name);
    log_put_text(out, "=");
    switch (field->type) {
    case LOG_FIELD_UINT:
        snprintf(number, sizeof number, "%" PRIu64, field->number);
        log_put_text(out, number);
        break;
    case LOG_FIELD_INT:
        snprintf(number, sizeof number, "%" PRId64, (int64_t)field->number);
        log_put_text(out, number);
        break;
    default:
        put_bytes(out, field->bytes);
    }
}

int log_priority(enum log_level level)
{
    static const int priorities[] = {3, 4, 6, 7}; /* of syslog(3) */
    return priorities[level];
}

size_t log_put_time(char *text, size_t size, uint64_t wall_ns, int digits)
{
    time_t seconds = (time_t)(wall_ns / 1000000000);
    char fraction[16];
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t len = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(fraction, sizeof fraction, "%09u", (unsigned)(wall_ns % 1000000000));
    return len + (size_t)snprintf(text + len, size - len, ".%.*sZ", digits, fraction);
}

static void put_start(struct log_out *out, enum log_start start, const struct log_entry *entry)
{
    char text[64];
    if (start == LOG_START_NONE)
        return;
    if (start == LOG_START_PRIORITY)
        snprintf(text, sizeof text, "<%d>", log_priority(entry->level));
    else
        strcpy(text + log_put_time(text, sizeof text - 2, entry->wall_ns, 3), " ");
    log_put_text(out, text);
    log_put_text(out, log_level_name(entry->level));
    log_put_text(out, " ");
}

size_t log_format_text(char line[static LOG_LINE_MAX], enum log_start start, const struct log_entry *entry)
{
    enum { TAIL = 40 }; /* "...", the count of suppressed lines and the newline always fit */
    struct log_out out = {.bytes = line, .cap = LOG_LINE_MAX - TAIL};
    put_start(&out, start, entry);
    put_chars(&out, slice_text(entry->message), false);
    for (size_t i = 0; i < entry->count; i++)
        put_field(&out, &entry->fields[i]);

    bool cut = out.full;
    out.cap = LOG_LINE_MAX;
    out.full = false;
    if (cut)
        log_put_text(&out, "...");
    if (entry->suppressed) {
        struct log_field field = LOG_UINT("suppressed", entry->suppressed);
        put_field(&out, &field);
    }
    log_put_text(&out, "\n");
    return out.len;
}
