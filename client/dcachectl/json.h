/*
 * Writes JSON: one compact document, escaped so that it is valid UTF-8 and safe on a terminal, whatever the bytes
 * were.
 */
#ifndef DCACHED_DCACHECTL_JSON_H
#define DCACHED_DCACHECTL_JSON_H

#include <stdio.h>

#include "proto/cursor.h"

#define JSON_DEPTH_MAX (CURSOR_DEPTH_MAX + 4)

struct json {
    FILE *out;
    unsigned depth;
    bool filled[JSON_DEPTH_MAX + 1]; /* something stands at that level already */
    bool named;                      /* a name was written, its value is next */
};

struct json json_to(FILE *out);

void json_open_object(struct json *json);
void json_close_object(struct json *json);
void json_open_array(struct json *json);
void json_close_array(struct json *json);
void json_name(struct json *json, const char *name);

void json_null(struct json *json);
void json_bool(struct json *json, bool value);
void json_uint(struct json *json, uint64_t value);
void json_int(struct json *json, int64_t value);
/* What is not UTF-8 becomes U+FFFD. */
void json_text(struct json *json, struct slice text);

/* A named member of bytes: "name" when they are UTF-8, otherwise "name_base64". */
void json_bytes(struct json *json, const char *name, struct slice bytes);

/* Any packed object: maps become objects, bytes under a name as json_bytes does. Returns false at input that is
 * no good MessagePack; what was written stays. */
bool json_packed(struct json *json, struct cursor *c);

bool utf8_is_valid(struct slice bytes);
/* Length of the character at the start of bytes, with its code point; 0: no valid UTF-8. */
size_t utf8_next(struct slice bytes, uint32_t *ret_code);

#endif
