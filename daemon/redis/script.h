/*
 * The Lua scripts that run inside Redis: common.lua followed by one of write.lua, clear.lua, propose.lua and
 * sweep.lua, which say what they take and answer. Turned into C by embed.py.
 */
#ifndef DCACHED_REDIS_SCRIPT_H
#define DCACHED_REDIS_SCRIPT_H

#include <stddef.h>

enum script_id { LUA_WRITE, LUA_CLEAR, LUA_PROPOSE, LUA_SWEEP, LUA_COUNT };

struct script {
    const char *name;
    const char *text;
    size_t len;
};

extern const struct script scripts[LUA_COUNT];

#endif
