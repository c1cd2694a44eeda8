/* EVAL, EVALSHA, SCRIPT LOAD, EXISTS, FLUSH. */
#include <stdlib.h>
#include <strings.h>

#include "tests/sim/redis/internal.h"

static const struct script *find_loaded(const struct server *server, struct slice sha)
{
    for (size_t i = 0; sha.len == 40 && i < server->script_count; i++) {
        if (strncasecmp(server->scripts[i]->sha, (const char *)sha.data, 40) == 0)
            return server->scripts[i];
    }
    return NULL;
}

static void load(struct server *server, const struct script *script)
{
    for (size_t i = 0; i < server->script_count; i++) {
        if (server->scripts[i] == script)
            return;
    }
    if (server->script_count == server->script_room) {
        server->script_room = server->script_room > 0 ? 2 * server->script_room : 8;
        server->scripts = memory_grow(server->scripts, server->script_room * sizeof(*server->scripts));
    }
    server->scripts[server->script_count++] = script;
}

static const struct script *compile(struct call *call, struct slice text)
{
    const char *error = NULL;
    const struct script *script = engine_compile(text, &error);

    if (script)
        load(call->server, script);
    else
        reply_error(call, "ERR Error compiling script (new function): %s", error);
    return script;
}

static bool masterdown(struct call *call)
{
    const struct server *server = call->server;

    if (server_is_master(server) || server->link_up || !server_has_fault(server, FAULT_MASTERDOWN))
        return false;
    reply_error(call, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
    return true;
}

static void eval(struct call *call, bool by_sha)
{
    const struct script *script;
    int64_t keys;

    if (!argument_int(call, 2, &keys))
        return;
    if (keys > (int64_t)call->argc - 3) {
        reply_error(call, "ERR Number of keys can't be greater than number of args");
        return;
    }
    if (keys < 0) {
        reply_error(call, "ERR Number of keys can't be negative");
        return;
    }
    script = by_sha ? find_loaded(call->server, call->argv[1]) : compile(call, call->argv[1]);
    if (!script && by_sha)
        reply_error(call, "NOSCRIPT No matching script. Please use EVAL.");
    if (!script || masterdown(call))
        return;
    engine_run(call, script, call->argv + 3, (size_t)keys, call->argv + 3 + keys, call->argc - 3 - (size_t)keys);
}

void cmd_eval(struct call *call)
{
    eval(call, false);
}

void cmd_evalsha(struct call *call)
{
    eval(call, true);
}

void cmd_script_load(struct call *call)
{
    const struct script *script = compile(call, call->argv[2]);

    if (script)
        reply_text(call, script->sha);
}

void cmd_script_exists(struct call *call)
{
    reply_array(call, call->argc - 2);
    for (size_t i = 2; i < call->argc; i++)
        reply_integer(call, find_loaded(call->server, call->argv[i]) != NULL);
}

void cmd_script_flush(struct call *call)
{
    if (call->argc > 3 ||
        (call->argc == 3 && !slice_is(call->argv[2], "sync") && !slice_is(call->argv[2], "async"))) {
        reply_error(call, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    call->server->script_count = 0;
    reply_status(call, "OK");
}
