/* Compiling and running scripts. A text is compiled once in the life of the program. */
#include <stdlib.h>

#include "tests/sim/redis/engine.h"

struct engine *engine_get(void)
{
    static struct engine engine;

    if (!engine.lua) {
        engine.lua = luaL_newstate();
        if (!engine.lua)
            abort();
        lua_api_open(engine.lua);
        lua_gc(engine.lua, LUA_GCSETPAUSE, 1000); /* picked: little is kept, much is dropped */
    }
    return &engine;
}

static unsigned bucket_of(struct slice text)
{
    uint32_t hash = (uint32_t)text.len;

    for (size_t i = text.len > 64 ? text.len - 64 : 0; i < text.len; i++)
        hash = (hash ^ text.data[i]) * 16777619;
    return (hash ^ hash >> 16) & 255;
}

const struct script *engine_compile(struct slice text, const char **ret_error)
{
    struct engine *engine = engine_get();
    struct script **bucket = &engine->buckets[bucket_of(text)], *script;
    lua_State *lua = engine->lua;

    for (script = *bucket; script; script = script->next) {
        if (slice_equal(slice_of(script->text, script->len), text))
            return script;
    }
    if ((text.len > 0 && text.data[0] == LUA_SIGNATURE[0]) ||
        luaL_loadbuffer(lua, text.len > 0 ? (const char *)text.data : "", text.len, "@user_script") != 0) {
        strncpy(engine->error, lua_gettop(lua) > 0 ? lua_tostring(lua, -1) : "binary", sizeof(engine->error) - 1);
        lua_settop(lua, 0);
        *ret_error = engine->error;
        return NULL;
    }
    script = memory_zero(sizeof(*script));
    script->ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    script->text = memory_new(text.len);
    script->len = text.len;
    if (text.len > 0)
        memcpy(script->text, text.data, text.len);
    sha1_hex(text, script->sha);
    script->next = *bucket;
    *bucket = script;
    return script;
}

/* ---- running --------------------------------------------------------------------------------------------- */

/* Makes a table of the error and notes where it was raised: in the function above, or the one that called it. */
static int on_error(lua_State *lua)
{
    lua_Debug where;
    bool known = lua_getstack(lua, 1, &where) && lua_getinfo(lua, "nSl", &where);

    if (known && where.what[0] == 'C')
        known = lua_getstack(lua, 2, &where) && lua_getinfo(lua, "nSl", &where);
    if (!lua_istable(lua, 1)) {
        const char *text = lua_tostring(lua, 1);

        lua_newtable(lua);
        lua_pushfstring(lua, "ERR %s", text ? text : luaL_typename(lua, 1));
        lua_setfield(lua, -2, "err");
        lua_replace(lua, 1);
    }
    lua_settop(lua, 1);
    if (known) {
        lua_pushstring(lua, where.source);
        lua_setfield(lua, 1, "source");
        lua_pushinteger(lua, where.currentline);
        lua_setfield(lua, 1, "line");
    }
    return 1;
}

static const char *text_field(lua_State *lua, const char *name)
{
    const char *text;

    lua_getfield(lua, -1, name);
    text = lua_tostring(lua, -1);
    lua_pop(lua, 1); /* the table still holds it */
    return text;
}

static void reply_failure(struct call *call, lua_State *lua, const struct script *script)
{
    const char *text, *source, *line;

    if (!lua_istable(lua, -1)) {
        text = lua_tostring(lua, -1);
        reply_error(call, "ERR Error running script %s, %.100s", script->sha, text ? text : "execution failure");
        return;
    }
    /* A number would be turned into a text that nothing holds. */
    lua_getfield(lua, -1, "line");
    line = lua_tostring(lua, -1);
    lua_insert(lua, -2);
    text = text_field(lua, "err");
    source = text_field(lua, "source");
    if (line && source)
        reply_error(call, "%s script: %s, on %s:%s.", text ? text : "(null)", script->sha, source, line);
    else
        reply_error(call, "%s", text ? text : "(null)");
}

static void push_texts(lua_State *lua, const char *name, const struct slice *texts, size_t count)
{
    lua_createtable(lua, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(lua, (const char *)texts[i].data, texts[i].len);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_setfield(lua, -2, name);
}

void engine_run(struct call *call, const struct script *script, const struct slice *keys, size_t key_count,
                const struct slice *args, size_t arg_count)
{
    struct engine *engine = engine_get();
    lua_State *lua = engine->lua;

    engine->run =
        (struct run){.call = call,
                     .db = *call->db,
                     .out_of_memory = server_is_master(call->server) && server_has_fault(call->server, FAULT_OOM)};
    lua_getfield(lua, LUA_REGISTRYINDEX, GLOBALS);
    push_texts(lua, "KEYS", keys, key_count);
    push_texts(lua, "ARGV", args, arg_count);
    lua_settop(lua, 0);
    lua_pushcfunction(lua, on_error);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->ref);
    if (lua_pcall(lua, 0, 1, 1) == 0)
        lua_reply(call, lua);
    else
        reply_failure(call, lua, script);
    lua_settop(lua, 0);
}
