/* Which commands there are, and what Redis looks at, in its order, before it executes one. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/redis/internal.h"

#define EVERYWHERE (CMD_LOADING | CMD_STALE)
#define ADMIN      (CMD_NOSCRIPT | EVERYWHERE)

const struct command commands[] = {
    {"ping", -1, CMD_SUBSCRIBED, .run = cmd_ping},
    {"echo", 2, EVERYWHERE, .run = cmd_echo},
    {"quit", -1, ADMIN | CMD_NO_AUTH | CMD_SUBSCRIBED | CMD_BUSY, .run = cmd_quit},
    {"auth", -2, ADMIN | CMD_NO_AUTH | CMD_BUSY, .run = cmd_auth},
    {"select", 2, EVERYWHERE, .run = cmd_select},
    {"client", -2, ADMIN | CMD_CONTAINER},
    {"client|id", 2, ADMIN, .run = cmd_client_id},
    {"client|setname", 3, ADMIN, .run = cmd_client_setname},
    {"client|getname", 2, ADMIN, .run = cmd_client_getname},
    {"client|kill", -3, ADMIN, .run = cmd_client_kill},
    {"acl", -2, ADMIN | CMD_CONTAINER},
    {"acl|setuser", -3, ADMIN, .run = cmd_acl_setuser},
    {"acl|whoami", 2, ADMIN, .run = cmd_acl_whoami},
    {"get", 2, 0, 1, 1, .run = cmd_get},
    {"set", -3, CMD_WRITE | CMD_DENYOOM, 1, 1, .run = cmd_set},
    {"getrange", 4, 0, 1, 1, .run = cmd_getrange},
    {"strlen", 2, 0, 1, 1, .run = cmd_strlen},
    {"del", -2, CMD_WRITE, 1, -1, .run = cmd_del},
    {"exists", -2, 0, 1, -1, .run = cmd_exists},
    {"type", 2, 0, 1, 1, .run = cmd_type},
    {"expire", -3, CMD_WRITE, 1, 1, .run = cmd_expire},
    {"pexpire", -3, CMD_WRITE, 1, 1, .run = cmd_pexpire},
    {"expireat", -3, CMD_WRITE, 1, 1, .run = cmd_expireat},
    {"pexpireat", -3, CMD_WRITE, 1, 1, .run = cmd_pexpireat},
    {"ttl", 2, 0, 1, 1, .run = cmd_ttl},
    {"pttl", 2, 0, 1, 1, .run = cmd_pttl},
    {"persist", 2, CMD_WRITE, 1, 1, .run = cmd_persist},
    {"scan", -2, 0, .run = cmd_scan},
    {"dbsize", 1, 0, .run = cmd_dbsize},
    {"flushall", -1, CMD_WRITE, .run = cmd_flushall},
    {"flushdb", -1, CMD_WRITE, .run = cmd_flushdb},
    {"hset", -4, CMD_WRITE | CMD_DENYOOM, 1, 1, .run = cmd_hset},
    {"hget", 3, 0, 1, 1, .run = cmd_hget},
    {"hmget", -3, 0, 1, 1, .run = cmd_hmget},
    {"hdel", -3, CMD_WRITE, 1, 1, .run = cmd_hdel},
    {"hgetall", 2, 0, 1, 1, .run = cmd_hgetall},
    {"hlen", 2, 0, 1, 1, .run = cmd_hlen},
    {"publish", 3, EVERYWHERE, .first_channel = 1, .run = cmd_publish},
    {"subscribe", -2, ADMIN | CMD_SUBSCRIBED, .first_channel = 1, .many_channels = true, .run = cmd_subscribe},
    {"unsubscribe", -1, ADMIN | CMD_SUBSCRIBED, .run = cmd_unsubscribe},
    {"eval", -3, CMD_NOSCRIPT | CMD_STALE, 3, -2, .run = cmd_eval},
    {"evalsha", -3, CMD_NOSCRIPT | CMD_STALE, 3, -2, .run = cmd_evalsha},
    {"script", -2, CMD_NOSCRIPT | CMD_CONTAINER},
    {"script|load", 3, CMD_NOSCRIPT | CMD_STALE, .run = cmd_script_load},
    {"script|exists", -3, CMD_NOSCRIPT, .run = cmd_script_exists},
    {"script|flush", -2, CMD_NOSCRIPT, .run = cmd_script_flush},
    {"info", -1, EVERYWHERE, .run = cmd_info},
    {"config", -2, ADMIN | CMD_CONTAINER},
    {"config|get", -3, ADMIN, .run = cmd_config_get},
    {"config|set", -4, ADMIN, .run = cmd_config_set},
    {"time", 1, EVERYWHERE, .run = cmd_time},
    {"role", 1, ADMIN, .run = cmd_role},
    {"replicaof", 3, CMD_NOSCRIPT | CMD_STALE, .run = cmd_replicaof},
    {"wait", 3, CMD_NOSCRIPT, .run = cmd_wait},
};

const size_t command_count = sizeof(commands) / sizeof(commands[0]);

static const char error_oom[] = "-OOM command not allowed when used memory > 'maxmemory'.";
static const char error_misconf[] =
    "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands "
    "that may modify the data set are disabled, because this instance is configured to report errors during "
    "writes "
    "if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details "
    "about "
    "the RDB error.";
static const char error_noreplicas[] = "-NOREPLICAS Not enough good replicas to write.";
static const char error_readonly[] = "-READONLY You can't write against a read only replica.";
static const char error_masterdown[] =
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
static const char error_loading[] = "-LOADING Redis is loading the dataset in memory";
static const char error_busy[] =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";

size_t command_index(const struct command *command)
{
    return (size_t)(command - commands);
}

static bool name_is(const struct command *command, struct slice name, struct slice sub)
{
    const char *bar = strchr(command->name, '|');
    size_t len = bar ? (size_t)(bar - command->name) : strlen(command->name);

    if (name.len != len || strncasecmp((const char *)name.data, command->name, len) != 0)
        return false;
    return bar ? sub.data && slice_is(sub, bar + 1) : true;
}

/* A container is followed by its subcommands. */
const struct command *command_find(struct slice name, struct slice sub)
{
    for (size_t i = 0; i < command_count; i++) {
        if (name.len == 0 || (name.data[0] | 0x20) != commands[i].name[0] || strchr(commands[i].name, '|') ||
            !name_is(&commands[i], name, slice_of(NULL, 0)))
            continue;
        if (!(commands[i].flags & CMD_CONTAINER) || !sub.data)
            return &commands[i];
        for (size_t j = i + 1; j < command_count && strchr(commands[j].name, '|'); j++) {
            if (name_is(&commands[j], name, sub))
                return &commands[j];
        }
        return &commands[i];
    }
    return NULL;
}

bool command_arity_ok(const struct command *command, size_t argc)
{
    return command->arity > 0 ? argc == (size_t)command->arity : argc >= (size_t)-command->arity;
}

/* ---- what forbids a command ------------------------------------------------------------------------------ */

static void refuse_unknown(struct call *call)
{
    struct slice name = call->argv[0];
    char args[256] = "";
    size_t len = 0;

    for (size_t i = 1; i < call->argc && len < 128; i++) {
        int room = 128 - (int)len, size = (int)call->argv[i].len;

        len += (size_t)snprintf(args + len, sizeof(args) - len, "'%.*s' ", size < room ? size : room,
                                (const char *)call->argv[i].data);
    }
    reply_error(call, "ERR unknown command '%.*s', with args beginning with: %s",
                name.len < 128 ? (int)name.len : 128, (const char *)name.data, args);
}

/* Without a usable command, or with the wrong number of arguments. */
static bool refuse_shape(struct call *call)
{
    const struct command *command = call->command;

    if (!command) {
        refuse_unknown(call);
        return true;
    }
    if ((command->flags & CMD_CONTAINER) && call->argc > 1) {
        char name[16] = "";

        for (size_t i = 0; command->name[i] != '\0'; i++)
            name[i] = (char)(command->name[i] - 'a' + 'A');
        reply_error(call, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                    call->argv[1].len < 128 ? (int)call->argv[1].len : 128, (const char *)call->argv[1].data,
                    name);
        return true;
    }
    if (!command_arity_ok(command, call->argc)) {
        reply_error(call, "ERR wrong number of arguments for '%s' command", command->name);
        return true;
    }
    return false;
}

static bool refuse_rights(struct call *call)
{
    const struct command *command = call->command;

    if (!call->conn->authenticated && user_needs_password(user_default(call->server)) &&
        !(command->flags & CMD_NO_AUTH)) {
        reply_error(call, "NOAUTH Authentication required.");
        return true;
    }
    switch (user_check(call->user, call)) {
    case DENIED_NOT:
        return false;
    case DENIED_COMMAND:
        reply_error(call, "NOPERM this user has no permissions to run the '%s' command", command->name);
        return true;
    case DENIED_KEY:
        reply_error(call, "NOPERM this user has no permissions to access one of the keys used as arguments");
        return true;
    case DENIED_CHANNEL:
        reply_error(call, "NOPERM this user has no permissions to access one of the channels used as arguments");
        return true;
    }
    return false;
}

/* NULL: may be executed in the state the server is in. Texts begin with '-'. */
static const char *refuse_state(const struct call *call)
{
    const struct server *server = call->server;
    unsigned flags = call->command->flags;
    bool master = server_is_master(server), write = flags & CMD_WRITE;

    if (master && server_has_fault(server, FAULT_OOM) && (flags & CMD_DENYOOM))
        return error_oom;
    if (master && server_has_fault(server, FAULT_MISCONF) && (write || call->command->run == cmd_ping))
        return error_misconf;
    if (master && server_has_fault(server, FAULT_NOREPLICAS) && write)
        return error_noreplicas;
    if (!master && !server_has_fault(server, FAULT_NOT_READONLY) && write)
        return error_readonly;
    return NULL;
}

static const char *refuse_moment(const struct call *call)
{
    const struct server *server = call->server;
    unsigned flags = call->command->flags;

    if (!server_is_master(server) && !server->link_up && server_has_fault(server, FAULT_MASTERDOWN) &&
        !(flags & CMD_STALE))
        return error_masterdown;
    if (server_has_fault(server, FAULT_LOADING) && !(flags & CMD_LOADING))
        return error_loading;
    if (server_has_fault(server, FAULT_BUSY) && !(flags & CMD_BUSY))
        return error_busy;
    return NULL;
}

static bool refuse(struct call *call)
{
    const char *error;

    if (refuse_shape(call))
        return true;
    if (refuse_rights(call)) {
        call->server->hindered++;
        return true;
    }
    error = refuse_state(call);
    if (!error && call->conn->subscriptions > 0 && !(call->command->flags & CMD_SUBSCRIBED)) {
        reply_error(call,
                    "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                    "allowed in this context",
                    call->command->name);
        return true;
    }
    if (!error)
        error = refuse_moment(call);
    if (error) {
        call->server->hindered++;
        reply_error(call, "%s", error + 1);
    }
    return error;
}

/* ---- calls ----------------------------------------------------------------------------------------------- */

void call_from_conn(struct conn *conn, uint64_t now, struct slice *argv, size_t argc)
{
    struct server *server = conn->server;
    size_t before = conn->out.len;
    struct call call = {.server = server,
                        .conn = conn,
                        .user = conn->user,
                        .command = command_find(argv[0], argc > 1 ? argv[1] : slice_of(NULL, 0)),
                        .db = &conn->db,
                        .now = now,
                        .argv = argv,
                        .argc = argc,
                        .out = &conn->out};

    if (!refuse(&call)) {
        server->commands++;
        call.command->run(&call);
        unit_end(server, now);
        conn->written = server->offset;
    }
    if (conn->out.len != before)
        conn_dirty(conn);
}

void call_by_hand(struct server *server, uint64_t now, unsigned *db, struct slice *argv, size_t argc, bool obeys)
{
    struct call call = {.server = server,
                        .command = command_find(argv[0], slice_of(NULL, 0)),
                        .db = db,
                        .obeys = obeys,
                        .now = now,
                        .argv = argv,
                        .argc = argc,
                        .out = &server->scratch};

    buffer_clear(&server->scratch);
    server->commands++;
    call.command->run(&call);
}

static const char *refuse_script_rights(const struct call *call)
{
    switch (user_check(call->user, call)) {
    case DENIED_NOT:
        return NULL;
    case DENIED_COMMAND:
        return "The user executing the script can't run this command or subcommand";
    case DENIED_KEY:
        return "The user executing the script can't access at least one of the keys mentioned in the command "
               "arguments";
    case DENIED_CHANNEL:
        return "The user executing the script can't publish to the channel mentioned in the command";
    }
    return NULL;
}

/* A script that has written already is not stopped halfway by a state that has nothing to do with it. */
static const char *refuse_script_write(const struct call *call, bool written)
{
    const struct server *server = call->server;
    bool master = server_is_master(server);

    if (!(call->command->flags & CMD_WRITE))
        return NULL;
    if (!master && !server_has_fault(server, FAULT_NOT_READONLY))
        return error_readonly;
    if (written || !master)
        return NULL;
    if (server_has_fault(server, FAULT_MISCONF))
        return error_misconf;
    return server_has_fault(server, FAULT_NOREPLICAS) ? error_noreplicas : NULL;
}

const char *call_from_script(struct call *call, bool *written, bool out_of_memory)
{
    const char *error;

    call->command = command_find(call->argv[0], call->argc > 1 ? call->argv[1] : slice_of(NULL, 0));
    if (!call->command || ((call->command->flags & CMD_CONTAINER) && call->argc > 1))
        return "Unknown Redis command called from script";
    if (!command_arity_ok(call->command, call->argc))
        return "Wrong number of args calling Redis command from script";
    if (call->command->flags & CMD_NOSCRIPT)
        return "This Redis command is not allowed from script";
    error = refuse_script_rights(call);
    if (!error)
        error = refuse_script_write(call, *written);
    if (!error && out_of_memory && !*written && (call->command->flags & CMD_DENYOOM))
        error = error_oom;
    if (error) {
        call->server->hindered++;
        return error;
    }
    *written = *written || (call->command->flags & CMD_WRITE);
    call->command->run(call);
    return NULL;
}
