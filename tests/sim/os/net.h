/*
 * The simulated network. A connection is two directions, each a queue of chunks with the time they arrive. One
 * end is a descriptor of a process; the other is a descriptor too (a client at a daemon's socket) or belongs to a
 * server of the world (a simulated Redis).
 *
 * Faults are rules. A rule selects connections and a direction, and holds from os_rule_add to os_rule_remove, for
 * connections that exist and those made meanwhile. Several rules may match one connection: all hold at once (the
 * longest delay; any stall stalls). Each rule counts what it did, so that a run can prove that its faults fired.
 *
 * Without rules a chunk takes latency_min_ns .. latency_max_ns, and every read gives a random part of what is
 * there in split_permille of 1000 cases.
 */
#ifndef DCACHED_SIM_NET_H
#define DCACHED_SIM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/os/os.h"

/* ---- how things are without faults ------------------------------------------------------------------------ */

struct net_config {
    uint64_t latency_min_ns, latency_max_ns; /* of TCP, one way; default 20 us .. 120 us */
    uint64_t local_min_ns, local_max_ns;     /* of Unix sockets; default 1 us .. 10 us */
    unsigned split_permille;                 /* reads that give a part only; default 30 */
    size_t tcp_buffer, unix_buffer; /* bytes under way and unread that a direction holds; 256 KiB, 200 KiB */
};

void net_config_default(struct net_config *ret);
/* For connections made from now on. */
void net_configure(struct os *os, const struct net_config *config);

/* ---- servers of the world --------------------------------------------------------------------------------- */

struct net_server;
struct net_peer; /* the server's end of a connection; lives until `closed` was called or net_peer_close */

/* All are called outside of every process. */
struct net_server_ops {
    /* A connection was made. What it returns is `conn` of the others. */
    void *(*accepted)(void *server, struct net_peer *peer);
    /* Bytes have arrived; all of them are taken. */
    void (*received)(void *conn, const void *bytes, size_t len);
    /* The other end closed, or the connection was cut, or the server was killed: the peer is gone. */
    void (*closed)(void *conn);
};

/* `name` is how a process names it (host or host:port are the world's choice: only host is compared). */
struct net_server *net_server_new(struct os *os, const char *name, const struct net_server_ops *ops, void *server);

/* Queued without limit, as a Redis does; net_peer_queued says how much has not left yet. */
void net_peer_send(struct net_peer *peer, const void *bytes, size_t len);
size_t net_peer_queued(const struct net_peer *peer);
/* Closes (`closed` is not called): FIN after all that is queued, or RST at once. */
void net_peer_close(struct net_peer *peer, bool reset);
/* Of the process at the other end. */
struct os_process *net_peer_process(const struct net_peer *peer);

/* Stopped: connections are still made (by the kernel), and bytes collect; nothing is received until it resumes. */
void net_server_stop(struct net_server *server);
void net_server_resume(struct net_server *server);
/* Down: every connection is reset (`closed` is called), new ones are refused. */
void net_server_down(struct net_server *server);
void net_server_up(struct net_server *server);
bool net_server_is_stopped(const struct net_server *server);
bool net_server_is_up(const struct net_server *server);

/* From now on new connections to `name` go to this server (failover by name, F14, F15); existing ones stay.
 * NULL: the name is not known (the look-up fails). A rule's `redirect` does it for some connections only. */
void net_name_point(struct os *os, const char *name, struct net_server *to);

/* ---- rules ------------------------------------------------------------------------------------------------ */

/*
 * What a connection is. To a server it is data until the bytes SUBSCRIBE went over it.
 */
enum os_link {
    OS_LINK_ANY = 0,
    OS_LINK_DATA = 1,         /* to a server, no SUBSCRIBE seen (yet) */
    OS_LINK_SUBSCRIPTION = 2, /* to a server, SUBSCRIBE seen */
    OS_LINK_REDIS = 3,        /* either of both */
    OS_LINK_CLIENT = 4,       /* a client's to a daemon's socket */
};

/* Seen from the process that connected: from a daemon to Redis, from a client to its daemon. */
enum net_direction { NET_OUT = 1, NET_IN = 2, NET_BOTH = 3 };

struct net_rule {
    /* which */
    struct os_process *process; /* that connected (a daemon, for OS_LINK_REDIS); NULL: any */
    struct net_server *server;  /* NULL: any */
    unsigned link;              /* enum os_link; OS_LINK_ANY: any */
    enum net_direction direction;

    /* what; several at once are fine */
    uint64_t delay_min_ns, delay_max_ns; /* added to each chunk; order is kept */
    bool stall;                          /* nothing arrives until the rule is removed; nothing is lost */
    bool swallow;                /* what is sent is taken and never arrives; for the connection's life, also
                                    after the rule was removed. A SYN too: connecting gets no answer */
    bool one_byte;               /* arrives one byte at a time, each a chunk of its own */
    bool refuse;                 /* connecting fails: ECONNREFUSED */
    uint64_t cut_after;          /* n > 0: reset after n more bytes in this direction of a connection; again
                                    for each connection */
    uint64_t corrupt_at;         /* n > 0: the n-th byte from now on of a connection is changed, once */
    struct net_server *redirect; /* new connections go there */
};

/* What a rule did so far. */
struct net_rule_counters {
    uint64_t delayed, stalled, split; /* chunks */
    uint64_t swallowed;               /* bytes */
    uint64_t cuts, refusals, corrupted, redirected;
};

struct net_rule_handle;

struct net_rule_handle *net_rule_add(struct os *os, const struct net_rule *rule);
/* Heals. The handle stays valid for net_rule_counters until the world ends. Can be called twice. */
void net_rule_remove(struct net_rule_handle *rule);
void net_rules_remove_all(struct os *os);
struct net_rule_counters net_rule_counters(const struct net_rule_handle *rule);

/* Resets (RST at both ends, all that is under way is lost) the connections that process, server, link select; or
 * closes them with FIN. Returns how many. */
unsigned net_cut(struct os *os, const struct net_rule *select, bool reset);
/* How many connections these select now. */
unsigned net_count(const struct os *os, const struct net_rule *select);

/* ---- totals ----------------------------------------------------------------------------------------------- */

struct net_totals {
    uint64_t connections, chunks, bytes, full; /* full: writes that were cut short by a full buffer */
};

struct net_totals net_totals(const struct os *os);

#endif
