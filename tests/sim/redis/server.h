/*
 * A Redis server as the bytes on its connections show it: a model of one server process, without I/O, clock or
 * global state. RESP goes in, RESP comes out, time is an argument; the same calls give the same bytes.
 *
 *     server = server_new(0, seed, &hooks);
 *     server_start(server, now);
 *     conn = server_connect(server, now, ctx);
 *     conn_feed(conn, now, bytes);                  executes every complete command in it
 *     ...send conn_output(conn), buffer_consume() what was taken...
 *
 * Scripts really run, in Lua 5.1. The answers are those of Redis 7.0 (tests/integration/test_simulated_redis.py
 * compares them byte for byte). One database is kept per index of SELECT below SERVER_DATABASES.
 *
 * Time: `now` is in ns, the same clock for every server of a world, never going backwards. The wall clock of a
 * server (TIME, expiry) is SERVER_WALL_BASE_US + now / 1000 + its offset.
 *
 * A server object stands for a machine with a disk: it outlives its processes. server_start begins a process
 * (new run id) on what the disk kept, server_kill ends it.
 *
 * Hooks are called from within the functions below. They may use the accessors (the last section) and
 * conn_output with buffer_consume, and nothing else of this header. One thread.
 */
#ifndef DCACHED_SIM_REDIS_SERVER_H
#define DCACHED_SIM_REDIS_SERVER_H

#include "proto/buffer.h"
#include "proto/slice.h"

#define SERVER_DATABASES    16
#define SERVER_WALL_BASE_US 1700000000000000ULL
#define SERVER_RUN_ID_LEN   40

struct server;
struct conn;

struct server_hooks {
    void *ctx;
    /* `conn` has bytes to be taken out of conn_output. Called at the end of the call that made them, once. */
    void (*output)(void *ctx, struct conn *conn);
    /*
     * The server ended the connection (kill, output limit, protocol error, CLIENT KILL). Whether the client learns
     * of it, and when, is the network's affair. The object stays until conn_close. Called at the end of the call.
     */
    void (*closed)(void *ctx, struct conn *conn);
    /*
     * After a command or script, once for each key it changed, removed or found expired, in the order of the first
     * change. An empty key: everything may have changed (flush, load at start, full resync). `db` is the database.
     */
    void (*changed)(void *ctx, struct server *server, unsigned db, struct slice key, uint64_t now);
    /* Before a command or script changes a key that it changed already: what is stored now nobody gets to read. */
    void (*passing)(void *ctx, struct server *server, unsigned db, struct slice key, uint64_t now);
    /* After the `changed` of the command or script that published; on replicas when they apply it. */
    void (*published)(void *ctx, struct server *server, struct slice channel, struct slice payload, uint64_t now);
};

/* ---- the machine and its process ------------------------------------------------------------------------- */

/*
 * `index` numbers the servers of a world (it goes into run ids, INFO's slaveN and ports: 6379 + index); all that
 * the server draws comes from `seed` and `index`. Hooks may be NULL one by one; the struct is copied. Not started.
 * Running out of memory ends the program, here and below.
 */
struct server *server_new(unsigned index, uint64_t seed, const struct server_hooks *hooks);
void server_free(struct server *server); /* frees its connections too; no hook is called */

/* Nothing if it runs. Role, users and faults (BUSY excepted) are configuration: they stay. */
void server_start(struct server *server, uint64_t now);
void server_kill(struct server *server, uint64_t now); /* kill -9: all connections end; the disk is cut */
/* SIGTERM: a snapshot if PERSIST_RDB, everything written if an AOF is kept; then the process ends. */
void server_stop(struct server *server, uint64_t now);
bool server_is_running(const struct server *server);

/* What of the data is found again by server_start. */
enum server_persistence {
    PERSIST_NONE,         /* nothing */
    PERSIST_RDB,          /* the state of the last server_save */
    PERSIST_AOF_ALWAYS,   /* every executed command */
    PERSIST_AOF_EVERYSEC, /* a prefix of the executed commands; lost are those of at most the last second */
    PERSIST_AOF_NO,       /* the same with 30 s, which is what Linux takes to write dirty pages back */
};

/* May be switched at any time; commands and scripts are lost whole. Default: PERSIST_NONE. */
void server_set_persistence(struct server *server, enum server_persistence mode);
/* BGSAVE that ends at once. Only PERSIST_RDB loads it. */
void server_save(struct server *server, uint64_t now);
/* The disk is empty at the next start, whatever the mode. */
void server_wipe_disk(struct server *server);

/*
 * Time has passed: a pause ends, blocked WAITs time out, expired keys are removed (a replica leaves that to its
 * master). To be called at server_next_deadline, at the latest; calling it at any other time is allowed.
 */
void server_tick(struct server *server, uint64_t now);
/* UINT64_MAX: nothing to wait for. Expiry counts only with `with_expiry`. */
uint64_t server_next_deadline(const struct server *server, bool with_expiry);

/* ---- connections ----------------------------------------------------------------------------------------- */

/*
 * NULL: connection refused (no process, or not listening). With maxclients reached the connection is
 * made, holds Redis' error text in its output, and is closed by the server. `ctx` belongs to the caller.
 */
struct conn *server_connect(struct server *server, uint64_t now, void *ctx);
/* Bytes in any pieces. Ignored after the server closed the connection; kept for later while it is paused. */
void conn_feed(struct conn *conn, uint64_t now, struct slice bytes);
/* Bytes that wait to be taken; the caller consumes. What the server closed or lost to a limit is dropped. */
struct buffer *conn_output(struct conn *conn);
void conn_close(struct conn *conn); /* the client's end is gone; frees the connection */
void *conn_ctx(const struct conn *conn);
struct server *conn_server(const struct conn *conn);
bool conn_is_open(const struct conn *conn);       /* false: the server closed it */
uint64_t conn_id(const struct conn *conn);        /* as CLIENT ID and CLIENT KILL ID say */
bool conn_is_subscribed(const struct conn *conn); /* to at least one channel */

/* ---- replication ----------------------------------------------------------------------------------------- */

/*
 * REPLICAOF: the server gives up the mastership and follows `master` (another server of the world; the command
 * REPLICAOF does the same, see server_set_finder). Its data stays until the first server_replicate, which
 * asks for the stream: it goes on where it stopped if the histories are one, else everything is copied.
 */
void server_set_replica_of(struct server *server, struct server *master, uint64_t now);
/* REPLICAOF NO ONE: a new master_replid, the old one remembered as the second. Nothing if it is one. */
void server_set_master(struct server *server, uint64_t now);
/*
 * Which server the command REPLICAOF means by an address. NULL from it, or no function: the server becomes a
 * replica of nobody, whose link is down, as with a wrong address in Redis.
 */
void server_set_finder(struct server *server,
                       struct server *(*find)(void *ctx, struct slice host, struct slice port), void *ctx);
/*
 * Carries at most `max_commands` effects from the master to `replica` and applies them; the lag is the caller's.
 * A sync counts as one. Answers how many were applied; 0 also if either process is down or paused, or the server
 * is no replica, or eight have their link up already. Chains (a replica of a replica) are not modelled: what is
 * replicated is not passed on.
 */
size_t server_replicate(struct server *replica, uint64_t now, size_t max_commands);
size_t server_lag(const struct server *replica); /* effects waiting; SIZE_MAX when the link is down */
/* The replica tells its master how far it is; answers WAITs there. server_replicate does not by itself. */
void server_acknowledge(struct server *replica, uint64_t now);
/* The link between the two breaks; the next server_replicate begins with a sync. */
void server_break_link(struct server *replica, uint64_t now);

/* ---- faults ---------------------------------------------------------------------------------------------- */

/* States in which commands get an error; each named by the error of Redis. */
enum server_fault {
    FAULT_OOM,         /* maxmemory reached, noeviction */
    FAULT_MISCONF,     /* the last snapshot or AOF write failed; writes are refused */
    FAULT_LOADING,     /* the data is being loaded */
    FAULT_BUSY,        /* a script has been running for too long */
    FAULT_NOREPLICAS,  /* min-replicas-to-write is not reached */
    FAULT_MASTERDOWN,  /* replica-serve-stale-data no (shows on replicas whose link is down) */
    FAULT_NOT_READONLY /* replica-read-only no: a replica takes writes */
};

void server_set_fault(struct server *server, enum server_fault fault, bool on);
/* Executes nothing until then (SIGSTOP, DEBUG SLEEP, a stalled machine); bytes are kept. */
void server_pause(struct server *server, uint64_t now, uint64_t until);
/* New connections are refused (no process behind the port) while `on` is false. Default: true. */
void server_set_listening(struct server *server, bool on);
void server_set_max_clients(struct server *server, unsigned max); /* default 10000 */
/* client-output-buffer-limit pubsub, hard limit: a subscriber with more unconsumed bytes is closed. 0: none. */
void server_set_pubsub_limit(struct server *server, size_t bytes);
void server_set_clock_us(struct server *server, int64_t offset_us); /* wall clock offset */
/* A wrong clock of the replicas is set on each of them; effects carry absolute times, as in Redis. */

/*
 * ACL SETUSER `user` with `rules` separated by blanks: on off >password nopass resetpass ~pattern allkeys
 * resetkeys &pattern allchannels resetchannels +command -command +command|sub +@all -@all allcommands nocommands
 * reset. 0, or -EINVAL for a rule not known. What a connection may is looked up at every command; connections of a
 * user who is switched off stay, as in Redis, and a subscriber who lost its channel is closed.
 */
int server_set_user(struct server *server, const char *user, const char *rules);
/* requirepass: the password of the user default; "": none. */
void server_set_password(struct server *server, const char *password);

/* By hand of somebody: executed as that command would be, replicated and kept like it. */
void server_flush_all(struct server *server, uint64_t now);
void server_flush_scripts(struct server *server);
bool server_delete(struct server *server, uint64_t now, unsigned db, struct slice key);
bool server_delete_field(struct server *server, uint64_t now, unsigned db, struct slice key, struct slice field);
/* Evicts one key that `pick` (any number) points to among those with `prefix`; false: there is none. */
bool server_evict(struct server *server, uint64_t now, unsigned db, struct slice prefix, uint64_t pick);
void server_kill_clients(struct server *server); /* CLIENT KILL of all of them */
void server_kill_client(struct conn *conn);      /* of this one */

/* ---- accessors ------------------------------------------------------------------------------------------- */

/* Expired keys are absent. Slices are valid until the next call that executes or applies commands. */
bool server_get(const struct server *server, uint64_t now, unsigned db, struct slice key, struct slice *ret);
bool server_get_field(const struct server *server, uint64_t now, unsigned db, struct slice key, struct slice field,
                      struct slice *ret);
/* Wall clock ms at which the key expires; 0: never or absent. */
uint64_t server_get_expiry_ms(const struct server *server, unsigned db, struct slice key);
/* Keys in a fixed order: start with *cursor = 0; false at the end. Types: 's' string, 'h' hash. */
bool server_next_key(const struct server *server, uint64_t now, unsigned db, size_t *cursor, struct slice *ret_key,
                     char *ret_type);
size_t server_key_count(const struct server *server, unsigned db); /* expired ones not yet removed included */

unsigned server_index(const struct server *server);
bool server_is_master(const struct server *server);
struct server *server_master(const struct server *server); /* NULL: it is one, or follows nobody */
bool server_is_paused(const struct server *server, uint64_t now);
const char *server_run_id(const struct server *server); /* 40 hex digits; "" before the first start */
const char *server_replid(const struct server *server); /* master_replid */
uint64_t server_offset(const struct server *server);    /* master_repl_offset */
uint64_t server_wall_us(const struct server *server, uint64_t now);
uint64_t server_commands(const struct server *server); /* executed so far, of all its processes */
/* Commands refused for a right or for the state the server is in, and pieces that came during a pause. */
uint64_t server_hindered(const struct server *server);

#endif
