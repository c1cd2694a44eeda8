#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/host/log_internal.h"

/* ---- strings -------------------------------------------------------------------------------------------- */

static void put_unit(struct log_out *out, uint32_t unit)
{
    char text[8];
    snprintf(text, sizeof text, "\\u%04x", unit & 0xffff);
    log_put_text(out, text);
}

/* Escaped wherever a reader or a terminal could take it for something else. */
static void put_code_point(struct log_out *out, uint32_t c, const uint8_t *s, size_t len)
{
    if (c >= 0x10000 && log_is_deceptive(c)) {
        put_unit(out, 0xd800 + ((c - 0x10000) >> 10));
        put_unit(out, 0xdc00 + ((c - 0x10000) & 0x3ff));
        return;
    }
    if (c < 0x20 || c == 0x7f || log_is_deceptive(c)) {
        put_unit(out, c);
        return;
    }
    if (c == '"' || c == '\\')
        log_put_text(out, "\\");
    log_put(out, (const char *)s, len);
}

static bool is_utf8(struct slice s)
{
    uint32_t c;
    for (size_t i = 0, len; i < s.len; i += len)
        if ((len = log_utf8_decode(s.data + i, s.len - i, &c)) == 0)
            return false;
    return true;
}

/* At most `max` bytes of it, and whole characters. */
static struct slice cut_utf8(struct slice s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && (s.data[max] & 0xc0) == 0x80)
        max--;
    return slice_of(s.data, max);
}

static void put_string(struct log_out *out, struct slice s)
{
    uint32_t c;
    log_put_text(out, "\"");
    for (size_t i = 0; i < s.len;) {
        size_t len = log_utf8_decode(s.data + i, s.len - i, &c);
        if (len)
            put_code_point(out, c, s.data + i, len);
        else
            log_put_text(out, "\\ufffd");
        i += len ? len : 1;
    }
    log_put_text(out, "\"");
}

static void put_base64(struct log_out *out, struct slice s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    log_put_text(out, "\"");
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t second = left > 1 ? s.data[i + 1] : 0, third = left > 2 ? s.data[i + 2] : 0;
        uint32_t bits = (uint32_t)s.data[i] << 16 | second << 8 | third;
        char four[] = {digits[bits >> 18], digits[bits >> 12 & 63], left > 1 ? digits[bits >> 6 & 63] : '=',
                       left > 2 ? digits[bits & 63] : '='};
        log_put(out, four, sizeof four);
    }
    log_put_text(out, "\"");
}

/* ---- fields --------------------------------------------------------------------------------------------- */

static void put_name(struct log_out *out, bool first, const char *name, const char *suffix)
{
    log_put_text(out, first ? "\"" : ",\"");
    log_put_text(out, name);
    log_put_text(out, suffix);
    log_put_text(out, "\":");
}

static void put_number(struct log_out *out, uint64_t number, bool is_signed)
{
    char text[24];
    if (is_signed)
        snprintf(text, sizeof text, "%" PRId64, (int64_t)number);
    else
        snprintf(text, sizeof text, "%" PRIu64, number);
    log_put_text(out, text);
}

static void put_bytes(struct log_out *out, bool first, const char *name, struct slice s, size_t max)
{
    bool text = is_utf8(s);
    put_name(out, first, name, text ? "" : "_base64");
    if (text)
        put_string(out, cut_utf8(s, max));
    else
        put_base64(out, slice_of(s.data, s.len < max ? s.len : max));
    if (s.len <= max)
        return;
    put_name(out, false, name, "_bytes");
    put_number(out, s.len, false);
}

/* The whole field, or nothing of it. */
static bool put_field(struct log_out *out, bool first, const struct log_field *field)
{
    size_t before = out->len;
    switch (field->type) {
    case LOG_FIELD_UINT:
    case LOG_FIELD_INT:
        put_name(out, first, field->name, "");
        put_number(out, field->number, field->type == LOG_FIELD_INT);
        break;
    case LOG_FIELD_BYTES:
        put_bytes(out, first, field->name, field->bytes, LOG_JSON_VALUE);
        break;
    case LOG_FIELD_RAW: /* other modules' own words: several facts in one text */
        if (field->bytes.len == 0)
            return false;
        put_bytes(out, first, "detail", field->bytes, LOG_LINE_MAX);
        break;
    }
    if (!out->full)
        return true;
    out->len = before;
    return false;
}

size_t log_format_json(char line[static LOG_JSON_MAX], const struct log_entry *entry)
{
    enum { TAIL = 80 }; /* "truncated", the count of suppressed lines, the end: always fit */
    struct log_out out = {.bytes = line, .cap = LOG_JSON_MAX - TAIL};
    char time[48];
    bool cut = false, first = true;
    log_put_time(time, sizeof time, entry->wall_ns, 9);
    log_put_text(&out, "{\"time\":\"");
    log_put_text(&out, time);
    log_put_text(&out, "\",\"level\":\"");
    log_put_text(&out, log_level_name(entry->level));
    log_put_text(&out, "\",\"message\":");
    put_string(&out, cut_utf8(slice_text(entry->message), LOG_JSON_VALUE));
    log_put_text(&out, ",\"fields\":{");
    for (size_t i = 0; i < entry->count; i++) {
        if (put_field(&out, first, &entry->fields[i]))
            first = false;
        cut = cut || out.full;
        out.full = false;
    }
    out.cap = LOG_JSON_MAX;
    log_put_text(&out, "}");
    if (cut)
        log_put_text(&out, ",\"truncated\":true");
    if (entry->suppressed) {
        put_name(&out, false, "suppressed", "");
        put_number(&out, entry->suppressed, false);
    }
    log_put_text(&out, "}\n");
    return out.len;
}
