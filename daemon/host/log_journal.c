/* The native protocol of systemd-journald: NAME=value lines; or NAME, length and bytes for a value with a newline.
 */
#include <ctype.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/host/log_internal.h"

#define FIELD_NAME_MAX 64 /* journald's own limit */

struct out {
    char *bytes;
    size_t len, cap;
    bool cut;
};

static void put(struct out *out, const void *bytes, size_t len)
{
    memcpy(out->bytes + out->len, bytes, len);
    out->len += len;
}

/* The whole field, or nothing of it. */
static void put_value(struct out *out, const char *name, const void *value, size_t len)
{
    uint64_t length = htole64(len);
    size_t name_len = strlen(name), around = 1 + sizeof length + 1;
    if (name_len + len + around > out->cap - out->len) {
        out->cut = true;
        return;
    }
    put(out, name, name_len);
    if (memchr(value, '\n', len)) {
        put(out, "\n", 1);
        put(out, &length, sizeof length);
    } else {
        put(out, "=", 1);
    }
    put(out, value, len);
    put(out, "\n", 1);
}

static void put_text(struct out *out, const char *name, const char *text)
{
    put_value(out, name, text, strlen(text));
}

static void put_number(struct out *out, const char *name, uint64_t number, bool is_signed)
{
    char text[24];
    if (is_signed)
        snprintf(text, sizeof text, "%" PRId64, (int64_t)number);
    else
        snprintf(text, sizeof text, "%" PRIu64, number);
    put_text(out, name, text);
}

static void put_field(struct out *out, const struct log_field *field)
{
    char name[FIELD_NAME_MAX + 1] = "DCACHED_DETAIL";
    if (field->type == LOG_FIELD_RAW && field->bytes.len == 0)
        return;
    if (field->type != LOG_FIELD_RAW)
        snprintf(name, sizeof name, "DCACHED_%s", field->name);
    for (char *c = name; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    if (field->type == LOG_FIELD_UINT || field->type == LOG_FIELD_INT)
        put_number(out, name, field->number, field->type == LOG_FIELD_INT);
    else
        put_value(out, name, field->bytes.len ? (const void *)field->bytes.data : "", field->bytes.len);
}

size_t log_format_journal(char data[static LOG_JOURNAL_MAX], const struct log_entry *entry)
{
    enum { TAIL = 32 }; /* DCACHED_TRUNCATED always fits */
    struct out out = {.bytes = data, .cap = LOG_JOURNAL_MAX - TAIL};
    char message[LOG_LINE_MAX];
    size_t len = log_format_text(message, LOG_START_NONE, entry);
    put_value(&out, "MESSAGE", message, len - 1);
    put_number(&out, "PRIORITY", (uint64_t)log_priority(entry->level), false);
    put_text(&out, "SYSLOG_IDENTIFIER", "dcached");
    put_text(&out, "DCACHED_EVENT", entry->message);
    if (entry->suppressed)
        put_number(&out, "DCACHED_SUPPRESSED", entry->suppressed, false);
    for (size_t i = 0; i < entry->count; i++)
        put_field(&out, &entry->fields[i]);
    out.cap = LOG_JOURNAL_MAX;
    if (out.cut)
        put_text(&out, "DCACHED_TRUNCATED", "1");
    return out.len;
}
