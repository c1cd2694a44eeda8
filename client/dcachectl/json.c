#include "client/dcachectl/json.h"

#include <inttypes.h>

/* ---- UTF-8 ------------------------------------------------------------------------------------------------ */

size_t utf8_next(struct slice bytes, uint32_t *ret_code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = bytes.len ? bytes.data[0] : 0xff;
    size_t len = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
    uint32_t code;

    if (len == 0 || len > bytes.len)
        return 0;
    code = len == 1 ? first : first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((bytes.data[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (bytes.data[i] & 0x3f);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *ret_code = code;
    return len;
}

bool utf8_is_valid(struct slice bytes)
{
    uint32_t code;

    while (bytes.len > 0) {
        size_t len = utf8_next(bytes, &code);

        if (len == 0)
            return false;
        bytes = slice_of(bytes.data + len, bytes.len - len);
    }
    return true;
}

/* ---- structure -------------------------------------------------------------------------------------------- */

struct json json_to(FILE *out)
{
    return (struct json){.out = out};
}

/* What has to stand before a value or a name. */
static void json_separate(struct json *json)
{
    if (json->named) {
        json->named = false;
        return;
    }
    if (json->filled[json->depth])
        putc(',', json->out);
    json->filled[json->depth] = true;
}

static void json_open(struct json *json, char bracket)
{
    json_separate(json);
    putc(bracket, json->out);
    if (json->depth < JSON_DEPTH_MAX)
        json->depth++;
    json->filled[json->depth] = false;
}

static void json_close(struct json *json, char bracket)
{
    putc(bracket, json->out);
    json->depth--;
    if (json->depth == 0)
        putc('\n', json->out);
}

void json_open_object(struct json *json)
{
    json_open(json, '{');
}

void json_close_object(struct json *json)
{
    json_close(json, '}');
}

void json_open_array(struct json *json)
{
    json_open(json, '[');
}

void json_close_array(struct json *json)
{
    json_close(json, ']');
}

static void json_write_text(FILE *out, struct slice text)
{
    uint32_t code;

    putc('"', out);
    while (text.len > 0) {
        size_t len = utf8_next(text, &code);

        if (len == 0) {
            fputs("\\ufffd", out);
            len = 1;
        } else if (code == '"' || code == '\\') {
            fprintf(out, "\\%c", (char)code);
        } else if (code == '\n') {
            fputs("\\n", out);
        } else if (code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029) {
            fprintf(out, "\\u%04" PRIx32, code);
        } else {
            fwrite(text.data, 1, len, out);
        }
        text = slice_of(text.data + len, text.len - len);
    }
    putc('"', out);
}

void json_name(struct json *json, const char *name)
{
    json_separate(json);
    json_write_text(json->out, slice_text(name));
    putc(':', json->out);
    json->named = true;
}

/* ---- values ----------------------------------------------------------------------------------------------- */

void json_null(struct json *json)
{
    json_separate(json);
    fputs("null", json->out);
}

void json_bool(struct json *json, bool value)
{
    json_separate(json);
    fputs(value ? "true" : "false", json->out);
}

void json_uint(struct json *json, uint64_t value)
{
    json_separate(json);
    fprintf(json->out, "%" PRIu64, value);
}

void json_int(struct json *json, int64_t value)
{
    json_separate(json);
    fprintf(json->out, "%" PRId64, value);
}

void json_text(struct json *json, struct slice text)
{
    json_separate(json);
    json_write_text(json->out, text);
}

static void json_base64(struct json *json, struct slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    json_separate(json);
    putc('"', json->out);
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16 | (left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0) |
                         (left > 2 ? bytes.data[i + 2] : 0u);

        putc(digits[group >> 18], json->out);
        putc(digits[group >> 12 & 63], json->out);
        putc(left > 1 ? digits[group >> 6 & 63] : '=', json->out);
        putc(left > 2 ? digits[group & 63] : '=', json->out);
    }
    putc('"', json->out);
}

void json_bytes(struct json *json, const char *name, struct slice bytes)
{
    char base64_name[80];

    if (utf8_is_valid(bytes)) {
        json_name(json, name);
        json_text(json, bytes);
        return;
    }
    snprintf(base64_name, sizeof base64_name, "%s_base64", name);
    json_name(json, base64_name);
    json_base64(json, bytes);
}

/* ---- packed objects --------------------------------------------------------------------------------------- */

static void json_packed_map(struct json *json, struct cursor *c)
{
    uint32_t count = cursor_map(c);

    json_open_object(json);
    for (uint32_t i = 0; i < count && cursor_ok(c); i++) {
        struct slice key = cursor_bytes(c);
        char name[64];

        snprintf(name, sizeof name, "%.*s", (int)(key.len < sizeof name ? key.len : sizeof name - 1),
                 key.len ? (const char *)key.data : "");
        if (cursor_peek(c) == CURSOR_BIN) {
            json_bytes(json, name, cursor_bytes(c));
        } else {
            json_name(json, name);
            json_packed(json, c);
        }
    }
    json_close_object(json);
}

static void json_packed_array(struct json *json, struct cursor *c)
{
    uint32_t count = cursor_array(c);

    json_open_array(json);
    for (uint32_t i = 0; i < count && cursor_ok(c); i++)
        json_packed(json, c);
    json_close_array(json);
}

bool json_packed(struct json *json, struct cursor *c)
{
    switch (cursor_peek(c)) {
    case CURSOR_BOOL:
        json_bool(json, cursor_bool(c));
        break;
    case CURSOR_UINT:
        json_uint(json, cursor_uint(c));
        break;
    case CURSOR_INT:
        json_int(json, cursor_int(c));
        break;
    case CURSOR_STR:
    case CURSOR_BIN:
        json_text(json, cursor_bytes(c));
        break;
    case CURSOR_ARRAY:
        json_packed_array(json, c);
        break;
    case CURSOR_MAP:
        json_packed_map(json, c);
        break;
    case CURSOR_NIL:
    case CURSOR_FLOAT:
    case CURSOR_EXT:
    case CURSOR_NONE:
        json_null(json);
        cursor_skip(c);
        break;
    }
    return cursor_ok(c);
}
