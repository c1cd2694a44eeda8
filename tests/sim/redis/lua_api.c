/*
 * What scripts find: the parts of Lua that Redis leaves them, and the table `redis`. Not there: cjson, cmsgpack,
 * struct, bit, collectgarbage, gcinfo, and of `redis` what has to do with debugging and RESP3.
 *
 * Redis makes its tables read-only by a change of the interpreter. Here scripts get an empty table in place of
 * each, which finds its fields in the real one and refuses new ones; what would get around it is replaced.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/redis/engine.h"

#define READONLY "dcached.readonly" /* in the registry: a set of tables */

/* ---- redis.call ------------------------------------------------------------------------------------------ */

void lua_push_error(lua_State *lua, const char *text)
{
    lua_newtable(lua);
    if (text[0] == '-')
        lua_pushstring(lua, text + 1);
    else
        lua_pushfstring(lua, "ERR %s", text);
    lua_setfield(lua, -2, "err");
}

/* False: an argument is neither string nor number. */
static bool take_arguments(lua_State *lua, struct argv *argv)
{
    int count = lua_gettop(lua);

    if ((size_t)count > argv->room) {
        argv->room = 2 * (size_t)count;
        argv->items = memory_grow(argv->items, argv->room * sizeof(*argv->items));
    }
    for (int i = 1; i <= count; i++) {
        const char *text;
        size_t len;

        if (lua_type(lua, i) == LUA_TNUMBER) {
            char number[64];
            int size = snprintf(number, sizeof(number), "%.17g", lua_tonumber(lua, i));

            lua_pushlstring(lua, number, (size_t)size);
            lua_replace(lua, i);
        }
        if (lua_type(lua, i) != LUA_TSTRING)
            return false;
        text = lua_tolstring(lua, i, &len);
        argv->items[i - 1] = slice_of(text, len);
    }
    argv->count = (size_t)count;
    return true;
}

static int fail(lua_State *lua, bool raise, const char *text)
{
    lua_push_error(lua, text);
    return raise ? lua_error(lua) : 1;
}

static int redis_call(lua_State *lua, bool raise)
{
    struct engine *engine = engine_get();
    struct call *outer = engine->run.call, call = *outer;
    struct buffer *scratch = &call.server->scratch;
    const char *error;
    size_t at = 0;

    if (lua_gettop(lua) == 0)
        return fail(lua, raise, "Please specify at least one argument for this redis lib call");
    if (!take_arguments(lua, &engine->argv))
        return fail(lua, raise, "Lua redis lib command arguments must be strings or integers");
    buffer_clear(scratch);
    call.conn = NULL;
    call.db = &engine->run.db;
    call.script = true;
    call.argv = engine->argv.items;
    call.argc = engine->argv.count;
    call.out = scratch;
    error = call_from_script(&call, &engine->run.written, engine->run.out_of_memory);
    if (error)
        return fail(lua, raise, error);
    lua_push_reply(lua, slice_of(scratch->data, scratch->len), &at);
    return raise && scratch->data[0] == '-' ? lua_error(lua) : 1;
}

static int api_call(lua_State *lua)
{
    return redis_call(lua, true);
}

static int api_pcall(lua_State *lua)
{
    return redis_call(lua, false);
}

/* ---- the rest of `redis` --------------------------------------------------------------------------------- */

static int api_error_reply(lua_State *lua)
{
    const char *text;

    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
        lua_push_error(lua, "wrong number or type of arguments");
        return 1;
    }
    text = lua_tostring(lua, 1);
    /* A text of one word is no code. */
    if (text[0] != '-' && strchr(text, ' '))
        text = lua_pushfstring(lua, "-%s", text);
    lua_push_error(lua, text);
    return 1;
}

static int api_status_reply(lua_State *lua)
{
    if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
        lua_push_error(lua, "wrong number or type of arguments");
        return 1;
    }
    lua_newtable(lua);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "ok");
    return 1;
}

static int api_sha1hex(lua_State *lua)
{
    const char *text;
    char hex[41];
    size_t len;

    if (lua_gettop(lua) != 1)
        return fail(lua, true, "wrong number of arguments");
    text = lua_tolstring(lua, 1, &len);
    sha1_hex(slice_of(text ? text : "", text ? len : 0), hex);
    lua_pushstring(lua, hex);
    return 1;
}

static int api_log(lua_State *lua)
{
    if (lua_gettop(lua) < 2)
        return fail(lua, true, "redis.log() requires two arguments or more.");
    if (!lua_isnumber(lua, 1))
        return fail(lua, true, "First argument must be a number (log level).");
    return 0;
}

static int api_replicate_commands(lua_State *lua)
{
    lua_pushboolean(lua, 1);
    return 1;
}

/* ---- functions of Lua that Redis has its own way of ------------------------------------------------------ */

/* The error a script sees is the text of the table that redis.call raises. */
static int api_lua_pcall(lua_State *lua)
{
    int status;

    luaL_checkany(lua, 1);
    lua_pushboolean(lua, 1);
    lua_insert(lua, 1);
    status = lua_pcall(lua, lua_gettop(lua) - 2, LUA_MULTRET, 0);
    if (status != 0) {
        lua_remove(lua, 1);
        if (lua_istable(lua, -1)) {
            lua_getfield(lua, -1, "err");
            if (lua_isstring(lua, -1))
                lua_replace(lua, -2);
            else
                lua_pop(lua, 1);
        }
        lua_pushboolean(lua, 0);
        lua_insert(lua, 1);
    }
    return lua_gettop(lua);
}

/* The generator of Redis: one sequence for all scripts of a process. */
static int api_random(lua_State *lua)
{
    lua_Number r =
        (lua_Number)(nrand48(engine_get()->run.call->server->script_random) % INT32_MAX) / (lua_Number)INT32_MAX;
    int low = 1, high;

    if (lua_gettop(lua) == 0) {
        lua_pushnumber(lua, r);
        return 1;
    }
    if (lua_gettop(lua) > 2)
        return luaL_error(lua, "wrong number of arguments");
    if (lua_gettop(lua) == 2)
        low = luaL_checkint(lua, 1);
    high = luaL_checkint(lua, lua_gettop(lua));
    luaL_argcheck(lua, low <= high, lua_gettop(lua), "interval is empty");
    lua_pushnumber(lua, floor(r * (high - low + 1.0)) + low);
    return 1;
}

static int api_randomseed(lua_State *lua)
{
    unsigned short *state = engine_get()->run.call->server->script_random;
    uint32_t seed = (uint32_t)luaL_checkint(lua, 1);

    state[0] = 0x330e;
    state[1] = (unsigned short)seed;
    state[2] = (unsigned short)(seed >> 16);
    return 0;
}

static const char readonly_text[] = "Attempt to modify a readonly table";

static int readonly_newindex(lua_State *lua)
{
    return luaL_error(lua, "%s", readonly_text);
}

static int nonexistent_index(lua_State *lua)
{
    const char *name = lua_tostring(lua, 2);

    return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", name ? name : "?");
}

/* rawset and setmetatable, kept off read-only tables; the real function is the upvalue. */
static int guarded(lua_State *lua)
{
    if (lua_istable(lua, 1)) {
        lua_getfield(lua, LUA_REGISTRYINDEX, READONLY);
        lua_pushvalue(lua, 1);
        lua_rawget(lua, -2);
        if (lua_toboolean(lua, -1)) {
            lua_pushstring(lua, readonly_text);
            return lua_error(lua);
        }
        lua_pop(lua, 2);
    }
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
    return lua_gettop(lua);
}

/* ---- putting it together --------------------------------------------------------------------------------- */

static const luaL_Reg redis_functions[] = {{"call", api_call},
                                           {"pcall", api_pcall},
                                           {"error_reply", api_error_reply},
                                           {"status_reply", api_status_reply},
                                           {"sha1hex", api_sha1hex},
                                           {"log", api_log},
                                           {"replicate_commands", api_replicate_commands},
                                           {NULL, NULL}};

/* Pops a table, pushes what stands for it. */
static void push_readonly(lua_State *lua)
{
    lua_newtable(lua); /* the stand-in */
    lua_newtable(lua); /* its metatable */
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, readonly_newindex);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
    lua_getfield(lua, LUA_REGISTRYINDEX, READONLY);
    lua_pushvalue(lua, -2);
    lua_pushboolean(lua, 1);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
}

static void set_function(lua_State *lua, const char *name, lua_CFunction function)
{
    lua_pushcfunction(lua, function);
    lua_setfield(lua, -2, name);
}

static void open_libraries(lua_State *lua)
{
    static const luaL_Reg libraries[] = {{"", luaopen_base},
                                         {LUA_STRLIBNAME, luaopen_string},
                                         {LUA_TABLIBNAME, luaopen_table},
                                         {LUA_MATHLIBNAME, luaopen_math}};

    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        lua_pushcfunction(lua, libraries[i].func);
        lua_pushstring(lua, libraries[i].name);
        lua_call(lua, 1, 0);
    }
    lua_getglobal(lua, LUA_MATHLIBNAME);
    set_function(lua, "random", api_random);
    set_function(lua, "randomseed", api_randomseed);
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_settop(lua, 0);
}

/* The stack holds the table of globals at 1. */
static void fill_globals(lua_State *lua)
{
    static const char *const kept[] = {"assert",   "error", "getmetatable", "ipairs", "load",    "loadstring",
                                       "next",     "pairs", "rawequal",     "rawget", "select",  "tonumber",
                                       "tostring", "type",  "unpack",       "xpcall", "_VERSION"};
    static const char *const guards[] = {"rawset", "setmetatable"};
    static const char *const tables[] = {"string", "table", "math", "coroutine"};

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        lua_getglobal(lua, kept[i]);
        lua_setfield(lua, 1, kept[i]);
    }
    for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++) {
        lua_getglobal(lua, guards[i]);
        lua_pushcclosure(lua, guarded, 1);
        lua_setfield(lua, 1, guards[i]);
    }
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        lua_getglobal(lua, tables[i]);
        push_readonly(lua);
        lua_setfield(lua, 1, tables[i]);
    }
    set_function(lua, "pcall", api_lua_pcall);
    lua_newtable(lua);
    luaL_register(lua, NULL, redis_functions);
    for (int level = 0; level < 4; level++) {
        static const char *const names[] = {"LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"};

        lua_pushinteger(lua, level);
        lua_setfield(lua, -2, names[level]);
    }
    push_readonly(lua);
    lua_setfield(lua, 1, "redis");
}

void lua_api_open(lua_State *lua)
{
    open_libraries(lua);
    lua_newtable(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, READONLY);
    lua_newtable(lua);
    fill_globals(lua);
    lua_newtable(lua);
    set_function(lua, "__index", nonexistent_index);
    lua_setmetatable(lua, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, LUA_REGISTRYINDEX, GLOBALS);
    lua_pushvalue(lua, 1);
    push_readonly(lua);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, 1, "_G");
    lua_replace(lua, LUA_GLOBALSINDEX);
    lua_settop(lua, 0);
}
