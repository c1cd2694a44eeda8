/* Redis' conversions between answers and values of Lua, both ways. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/redis/engine.h"

/* ---- from an answer -------------------------------------------------------------------------------------- */

static int64_t take_number(struct slice bytes, size_t *at)
{
    int64_t number = strtoll((const char *)bytes.data + *at + 1, NULL, 10);

    *at = (size_t)((const uint8_t *)memchr(bytes.data + *at, '\n', bytes.len - *at) - bytes.data) + 1;
    return number;
}

static void push_line(lua_State *lua, struct slice bytes, size_t *at, const char *field)
{
    const uint8_t *begin = bytes.data + *at + 1, *end = memchr(begin, '\r', bytes.len - *at - 1);

    lua_newtable(lua);
    lua_pushlstring(lua, (const char *)begin, (size_t)(end - begin));
    lua_setfield(lua, -2, field);
    *at = (size_t)(end - bytes.data) + 2;
}

static void push_array(lua_State *lua, struct slice bytes, size_t *at)
{
    int64_t count = take_number(bytes, at);

    lua_createtable(lua, (int)count, 0);
    for (int i = 1; i <= count; i++) {
        lua_push_reply(lua, bytes, at);
        lua_rawseti(lua, -2, i);
    }
}

void lua_push_reply(lua_State *lua, struct slice bytes, size_t *at)
{
    int64_t number;

    switch (bytes.data[*at]) {
    case '+':
        push_line(lua, bytes, at, "ok");
        break;
    case '-':
        push_line(lua, bytes, at, "err");
        break;
    case ':':
        lua_pushnumber(lua, (lua_Number)take_number(bytes, at));
        break;
    case '*':
        push_array(lua, bytes, at);
        break;
    default:
        number = take_number(bytes, at);
        if (number < 0) {
            lua_pushboolean(lua, 0);
            break;
        }
        lua_pushlstring(lua, (const char *)bytes.data + *at, (size_t)number);
        *at += (size_t)number + 2;
    }
}

/* ---- to an answer ---------------------------------------------------------------------------------------- */

/* As x86-64 converts: what does not fit is the lowest number. */
static int64_t to_integer(lua_Number number)
{
    return number >= -9223372036854775808.0 && number < 9223372036854775808.0 ? (int64_t)number : INT64_MIN;
}

/* Pushes the field and says whether it is of this type; pops it again if not. */
static bool has_field(lua_State *lua, const char *name, int type)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == type)
        return true;
    lua_pop(lua, 1);
    return false;
}

static void reply_line(struct call *call, char type, lua_State *lua)
{
    size_t len;
    const char *text = lua_tolstring(lua, -1, &len);

    buffer_append(call->out, &type, 1);
    for (size_t i = 0; i < len; i++)
        buffer_append(call->out, text[i] == '\r' || text[i] == '\n' ? " " : &text[i], 1);
    buffer_append(call->out, "\r\n", 2);
    lua_pop(lua, 1);
}

static void reply_table(struct call *call, lua_State *lua)
{
    char text[64];
    size_t count = 0;

    if (has_field(lua, "err", LUA_TSTRING)) {
        reply_line(call, '-', lua);
        return;
    }
    if (has_field(lua, "ok", LUA_TSTRING)) {
        reply_line(call, '+', lua);
        return;
    }
    if (has_field(lua, "double", LUA_TNUMBER)) {
        snprintf(text, sizeof(text), "%.17g", lua_tonumber(lua, -1));
        reply_text(call, text);
        lua_pop(lua, 1);
        return;
    }
    for (;; count++) {
        lua_rawgeti(lua, -1, (int)count + 1);
        if (lua_isnil(lua, -1))
            break;
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    reply_array(call, count);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(lua, -1, (int)i);
        lua_reply(call, lua);
    }
}

void lua_reply(struct call *call, lua_State *lua)
{
    struct slice bytes;

    if (!lua_checkstack(lua, 4)) {
        reply_error(call, "ERR reached lua stack limit");
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        bytes.data = (const uint8_t *)lua_tolstring(lua, -1, &bytes.len);
        reply_bulk(call, bytes);
        break;
    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, -1))
            reply_integer(call, 1);
        else
            reply_nil(call);
        break;
    case LUA_TNUMBER:
        reply_integer(call, to_integer(lua_tonumber(lua, -1)));
        break;
    case LUA_TTABLE:
        reply_table(call, lua);
        break;
    default:
        reply_nil(call);
    }
    lua_pop(lua, 1);
}
