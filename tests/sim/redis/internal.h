/*
 * The parts of the simulated server and how they hang together:
 *
 *     conn.c       bytes to commands, output, ends of connections
 *     dispatch.c   table of commands, and what forbids one (rights, faults, role)
 *     cmd_*.c      the commands
 *     script.c     EVAL and SCRIPT; engine.c, lua_api.c: the Lua state, the function `redis.call`
 *     keyspace.c   reading and changing keys; the end of a unit
 *     disk.c       what a kill leaves
 *     replica.c    the stream of effects
 *     acl.c        users
 *     server.c     process, faults, accessors
 *
 * A unit is a command or script from a connection, a piece of the stream, or something done by hand. What it does
 * to keys goes through keyspace.c, and unit_end tells the rest of the world: hooks, stream, disk.
 */
#ifndef DCACHED_SIM_REDIS_INTERNAL_H
#define DCACHED_SIM_REDIS_INTERNAL_H

#include "tests/sim/redis/server.h"
#include "tests/sim/redis/store.h"

#define NS_PER_SECOND 1000000000ULL

struct command;
struct script;
struct user;

/* One command being executed. */
struct call {
    struct server *server;
    struct conn *conn; /* NULL: from the stream or by hand */
    struct user *user; /* NULL: may everything */
    const struct command *command;
    unsigned *db;
    bool script; /* from redis.call */
    bool obeys;  /* comes from the master: nothing is refused, nothing expires */
    uint64_t now;
    struct slice *argv;
    size_t argc;
    struct buffer *out;
};

/* A key before the unit touched it; key_len SIZE_MAX: everything was flushed. */
struct touched {
    unsigned db;
    struct slice key; /* owned */
    struct value *value;
    uint64_t expire_ms;
    struct dataset *flushed;
};

#define TOUCHED_FLUSH SIZE_MAX

/* The arguments of one command; slices into the bytes it was read from. */
struct argv {
    struct slice *items;
    size_t count, room;
};

struct unit {
    struct touched *touched;
    size_t touched_count, touched_room;
    struct buffer effects; /* RESP */
    size_t effect_count;
    unsigned effect_db;      /* database that the stream is in, while the unit lasts */
    struct buffer published; /* two lengths, channel, payload, ... */
};

/* A unit that a kill may take back. */
struct undo {
    uint64_t at;
    struct touched *touched;
    size_t count;
};

struct stream_unit {
    size_t len;   /* bytes in the stream */
    uint64_t end; /* offset behind it */
};

/* The effects, from the first replica on. Offsets count bytes, as in Redis. */
struct stream {
    bool active;
    uint64_t start; /* offset of the first byte kept */
    struct buffer bytes;
    struct stream_unit *units;
    size_t first, count, room; /* units[first .. count) are kept */
    unsigned db;               /* selected in the stream; SERVER_DATABASES: none yet */
};

struct subscription {
    struct conn *conn;
    struct slice channel; /* owned */
};

struct server {
    unsigned index;
    uint64_t random; /* state of the generator */
    struct server_hooks hooks;

    /* process */
    bool running, listening;
    char run_id[SERVER_RUN_ID_LEN + 1];
    uint64_t started_at, paused_until, next_conn_id, arrivals;
    uint64_t commands, hindered, unit_number;
    int64_t clock_offset_us;
    unsigned faults; /* bits by server_fault */
    unsigned max_clients, conn_count;
    size_t pubsub_limit;
    struct conn *conns, *conns_last, *dirty;
    unsigned blocked_count;
    bool backlogged; /* bytes wait for the end of a pause */
    struct subscription *subscriptions;
    size_t subscription_count, subscription_room;
    const struct script **scripts; /* those loaded since the start or SCRIPT FLUSH */
    size_t script_count, script_room;
    unsigned short script_random[3]; /* of math.random */
    struct user *users;

    /* data */
    struct dataset data;
    uint64_t earliest_expiry_ms; /* none is earlier; UINT64_MAX: none */
    struct unit unit;
    struct buffer scratch; /* the answer of a command called by a script */

    /* disk */
    enum server_persistence persistence;
    bool disk_wiped;
    struct dataset snapshot;
    struct undo *undos; /* [undo_first .. undo_count) */
    size_t undo_first, undo_count, undo_room;

    /* replication */
    bool replica;
    char master_host[64];
    unsigned master_port;
    struct server *master; /* NULL on a replica: nobody is behind that address */
    bool link_up;
    unsigned apply_db; /* selected in the master's stream */
    struct argv apply_argv;
    char replid[SERVER_RUN_ID_LEN + 1], replid2[SERVER_RUN_ID_LEN + 1];
    uint64_t offset, second_offset; /* UINT64_MAX: there is no second history */
    uint64_t acked, acked_at;       /* of a replica: what it told its master */
    uint64_t link_down_at;
    struct stream stream;
    struct server *replicas[8]; /* picked; links that are up */
    unsigned replica_count;
    struct server *(*find)(void *ctx, struct slice host, struct slice port);
    void *find_ctx;
};

struct conn {
    struct conn *next, *previous, *dirty_next;
    struct server *server;
    void *ctx;
    uint64_t id, arrival; /* order in which bytes wait */
    bool open, dirty, closed_told, authenticated;
    struct user *user;
    unsigned db, subscriptions;
    struct buffer in, out;
    struct argv argv;
    char name[64];
    uint64_t written; /* offset behind its last command */
    bool blocked;     /* by WAIT */
    uint64_t wait_until, wait_offset;
    unsigned wait_replicas;
};

/* ---- reply.c: answers and texts -------------------------------------------------------------------------- */

void reply_status(struct call *call, const char *text);
void reply_error(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_integer(struct call *call, int64_t number);
void reply_bulk(struct call *call, struct slice bytes);
void reply_text(struct call *call, const char *text);
void reply_number_text(struct call *call, uint64_t number); /* as a bulk */
void reply_nil(struct call *call);
void reply_array(struct call *call, size_t count);
void resp_put_head(struct buffer *out, char type, int64_t number);
void resp_put_bulk(struct buffer *out, struct slice bytes);
void buffer_text(struct buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

extern const char error_wrong_type[], error_not_integer[], error_syntax[];

bool slice_is(struct slice s, const char *text); /* without regard to case */
bool slice_to_int(struct slice s, int64_t *ret); /* as strict as Redis */
bool glob_match(struct slice pattern, struct slice text);
/* Reads an argument; false: the error has been answered. */
bool argument_int(struct call *call, size_t index, int64_t *ret);

/* ---- keyspace.c ------------------------------------------------------------------------------------------ */

/* NULL: absent or expired (then removed). */
struct entry *key_find(struct call *call, struct slice key);
/* The same, with the error answered and *ret_ok false when it holds another type. */
struct entry *key_find_type(struct call *call, struct slice key, char type, bool *ret_ok);
/* Before a value that stays is changed: remembers it. */
void key_touch(struct call *call, struct entry *entry);
void key_set(struct call *call, struct slice key, struct value *value /* taken */, uint64_t expire_ms);
void key_expire_at(struct call *call, struct entry *entry, uint64_t expire_ms);
void key_delete(struct call *call, struct entry *entry); /* does not propagate */
void key_flush_all(struct call *call, int db);           /* -1: all */
/* The call itself is an effect; or another command in its place. */
void effect_call(struct call *call);
void effect(struct call *call, const struct slice *argv, size_t argc);
void effect_delete(struct call *call, struct slice key);
void unit_publish(struct call *call, struct slice channel, struct slice payload);
void unit_end(struct server *server, uint64_t now);
void unit_drop(struct server *server); /* frees what it holds */
uint64_t wall_ms(const struct server *server, uint64_t now);
bool entry_is_expired(const struct server *server, const struct entry *entry, uint64_t now);
void server_find_earliest_expiry(struct server *server);
void server_expire(struct server *server, uint64_t now);
void touched_free(struct touched *touched);

/* ---- disk.c ---------------------------------------------------------------------------------------------- */

void disk_take_unit(struct server *server, uint64_t now); /* keeps what undoes it, as long as it can be lost */
bool disk_keeps_undo(const struct server *server);
void disk_cut(struct server *server, uint64_t now); /* the process dies: the data becomes what is found again */
void disk_forget_undo(struct server *server);

/* ---- replica.c ------------------------------------------------------------------------------------------- */

void stream_take_unit(struct server *server);
void stream_drop(struct server *server);
void replica_detach(struct server *server);       /* its link breaks */
void replicas_lose_master(struct server *server); /* the links of all its replicas break */
void replica_follow(struct server *server, struct server *master, const char *host, unsigned port, uint64_t now);
unsigned replicas_that_acked(const struct server *server, uint64_t offset);
void server_new_history(struct server *server); /* a new replid without a second */

/* ---- acl.c ----------------------------------------------------------------------------------------------- */

enum denied { DENIED_NOT, DENIED_COMMAND, DENIED_KEY, DENIED_CHANNEL };

struct user *user_find(struct server *server, struct slice name);
struct user *user_default(struct server *server);
const char *user_name(const struct user *user);
bool user_needs_password(const struct user *user);
bool user_takes(const struct user *user, struct slice password); /* on, and the password is right */
enum denied user_check(const struct user *user, const struct call *call);
bool user_may_listen(const struct user *user, struct slice channel);
void users_init(struct server *server);
void users_free(struct server *server);
/* NULL, or why the rule is none. */
const char *user_apply(struct user *user, struct slice rule);
struct user *user_get(struct server *server, struct slice name); /* made if it is not there */
/* All rules or none: the error, and in *ret_bad the rule. */
const char *user_change(struct server *server, struct slice name, const struct slice *rules, size_t count,
                        size_t *ret_bad);
void server_close_denied(struct server *server); /* subscribers who lost their channel */

/* ---- dispatch.c ------------------------------------------------------------------------------------------ */

enum command_flag {
    CMD_WRITE = 1,
    CMD_DENYOOM = 2,
    CMD_NOSCRIPT = 4,
    CMD_LOADING = 8,     /* allowed while loading */
    CMD_STALE = 16,      /* allowed on a replica without its master */
    CMD_NO_AUTH = 32,    /* needs no authentication */
    CMD_SUBSCRIBED = 64, /* allowed to subscribers */
    CMD_BUSY = 128,      /* allowed while a script runs */
    CMD_CONTAINER = 256, /* has subcommands */
};

struct command {
    const char *name; /* a subcommand: "client|id" */
    int arity;        /* the name included; negative: at least */
    unsigned flags;
    int first_key, last_key; /* argument numbers; 0: none; last -1: to the end; EVAL: -2 */
    int first_channel;       /* 0: none */
    bool many_channels;      /* to the end */
    void (*run)(struct call *call);
};

extern const struct command commands[];
extern const size_t command_count;

/* Also finds subcommands by "name|sub". NULL: unknown. */
const struct command *command_find(struct slice name, struct slice sub);
size_t command_index(const struct command *command);
bool command_arity_ok(const struct command *command, size_t argc);
/* Everything that comes before and after the execution of a command from a connection. */
void call_from_conn(struct conn *conn, uint64_t now, struct slice *argv, size_t argc);
/* A command from the stream or by hand. Answers go nowhere. */
void call_by_hand(struct server *server, uint64_t now, unsigned *db, struct slice *argv, size_t argc, bool obeys);
/* redis.call: the error text (static or in `room`), or NULL and the answer is in call->out. */
const char *call_from_script(struct call *call, bool *written, bool out_of_memory);

/* ---- conn.c ---------------------------------------------------------------------------------------------- */

enum resp_parse { RESP_MORE, RESP_COMMAND, RESP_BROKEN };

void conn_dirty(struct conn *conn);  /* something to tell its owner at the end of the call */
void conn_end(struct conn *conn);    /* the server closes it now; what is unsent is lost */
void conn_finish(struct conn *conn); /* the same, but what is unsent can still be taken */
void conns_tell(struct server *server);
void conns_run(struct server *server, uint64_t now); /* executes what waited */
void conns_check_waits(struct server *server, uint64_t now);
void conns_end_blocked(struct server *server); /* a master with waiting clients becomes a replica */
/*
 * One command out of `bytes`, which `ret_argv` then points into. *ret_used: its length. BROKEN: *ret_error says
 * why. limited: nobody has authenticated yet.
 */
enum resp_parse resp_parse(struct slice bytes, bool limited, struct argv *ret_argv, size_t *ret_used,
                           const char **ret_error);

/* ---- script.c, engine.c ---------------------------------------------------------------------------------- */

/* A compiled text; lives as long as the program, shared by all servers. */
struct script {
    struct script *next;
    char sha[41];
    int ref; /* in the Lua registry */
    size_t len;
    uint8_t *text;
};

/* NULL: it does not compile; *ret_error until the next call. */
const struct script *engine_compile(struct slice text, const char **ret_error);
void engine_run(struct call *call, const struct script *script, const struct slice *keys, size_t key_count,
                const struct slice *args, size_t arg_count);
void sha1_hex(struct slice bytes, char ret_hex[41]);

/* ---- cmd_pubsub.c ---------------------------------------------------------------------------------------- */

void conn_unsubscribe_all(struct conn *conn); /* without answers */

/* ---- server.c -------------------------------------------------------------------------------------------- */

uint64_t server_draw(struct server *server);
void server_draw_id(struct server *server, char ret_id[SERVER_RUN_ID_LEN + 1]);
bool server_has_fault(const struct server *server, enum server_fault fault);
bool server_can_execute(const struct server *server, uint64_t now);

typedef void command_run(struct call *call);

command_run cmd_ping, cmd_echo, cmd_quit, cmd_auth, cmd_select, cmd_client_id, cmd_client_setname,
    cmd_client_getname, cmd_client_kill, cmd_acl_setuser, cmd_acl_whoami, cmd_get, cmd_set, cmd_getrange,
    cmd_strlen, cmd_del, cmd_exists, cmd_type, cmd_expire, cmd_pexpire, cmd_expireat, cmd_pexpireat, cmd_ttl,
    cmd_pttl, cmd_persist, cmd_scan, cmd_dbsize, cmd_flushall, cmd_flushdb, cmd_hset, cmd_hget, cmd_hmget,
    cmd_hdel, cmd_hgetall, cmd_hlen, cmd_publish, cmd_subscribe, cmd_unsubscribe, cmd_eval, cmd_evalsha,
    cmd_script_load, cmd_script_exists, cmd_script_flush, cmd_info, cmd_config_get, cmd_config_set, cmd_time,
    cmd_role, cmd_replicaof, cmd_wait;

#endif
