/* Between the engine (engine.c) and what scripts find in it (lua_api.c). */
#ifndef DCACHED_SIM_REDIS_ENGINE_H
#define DCACHED_SIM_REDIS_ENGINE_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "tests/sim/redis/internal.h"

/* The script that is running. */
struct run {
    struct call *call; /* the EVAL */
    unsigned db;
    bool written, out_of_memory;
};

/* One Lua state serves all servers: scripts can change nothing in it that outlives them. */
struct engine {
    lua_State *lua;
    struct run run;
    struct argv argv; /* of redis.call */
    struct script *buckets[256];
    char error[512];
};

struct engine *engine_get(void);

/* Makes what scripts see the globals of `lua`, and leaves the table behind them in the registry: GLOBALS. */
#define GLOBALS "dcached.globals"
void lua_api_open(lua_State *lua);
/* Pushes an error table {err=text}, with the code ERR unless the text begins with '-'. */
void lua_push_error(lua_State *lua, const char *text);
/* Answers the value at the top of the stack, and pops it. */
void lua_reply(struct call *call, lua_State *lua);
/* Pushes the answer in `bytes`; *at goes behind it. */
void lua_push_reply(lua_State *lua, struct slice bytes, size_t *at);

#endif
