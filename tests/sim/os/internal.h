/*
 * What the parts of the simulated system share. Nobody else includes this.
 *
 *   os.c          the heap of events, time, random numbers, the hash
 *   process.c     processes: scheduling, stopping, killing
 *   fiber.c       their stacks
 *   net.c         connections: two flows and two ends
 *   flow.c        one direction: chunks, when they arrive, what rules do to them
 *   rules.c       which rules hold for which flow
 *   server.c      ends that belong to servers of the world; names
 *   kernel.c      descriptors and the system calls
 *   uv.c, uv_io.c libuv
 *   listener.c    daemon/net/listener.h without a file system
 *
 * How a wait works. A process that waits has yielded with a deadline. Whatever may end the wait calls
 * process_notify; after a step's time the process is resumed and looks for itself.
 */
#ifndef DCACHED_SIM_OS_INTERNAL_H
#define DCACHED_SIM_OS_INTERNAL_H

#include <poll.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "tests/sim/os/fiber.h"
#include "tests/sim/os/net.h"
#include "tests/sim/os/os.h"

#define FD_BASE        1000000
#define FD_PER_PROCESS 10000
#define PROCESSES_MAX  256
#define RULES_MAX      64 /* at one time */
#define PID_BASE       1000
#define BOOTTIME_BASE  (1000 * OS_S)
#define WALL_BASE      UINT64_C(1700000000000000000)
#define DYING_ADVANCE                                                                         \
    (3600 * OS_S) /* what the clock of a dying process shows too much: every deadline is over \
                   */
#define DESCRIPTORS_MAX 4096

struct net_conn;
struct net_end;
struct net_listener;

/* ---- os.c ------------------------------------------------------------------------------------------------- */

struct os_event {
    uint64_t at, order;
    size_t place; /* in the heap */
    void (*fn)(void *arg);
    void *arg;
};

struct net {
    struct net_config config;
    TAILQ_HEAD(, net_conn) conns;
    TAILQ_HEAD(, net_conn) dead; /* to be freed before the next event */
    TAILQ_HEAD(, net_server) servers;
    TAILQ_HEAD(, net_name) names;
    TAILQ_HEAD(, net_listener) listeners;
    TAILQ_HEAD(, net_rule_handle) rules; /* of all time */
    struct net_rule_handle *active[RULES_MAX];
    uint64_t active_mask;
    struct net_totals totals;
};

struct os {
    struct os_config config;
    uint64_t now, orders;
    struct os_event **heap;
    size_t events, room;
    struct os_event *spare[64];
    unsigned spares;
    uint64_t random, hash;
    struct os_process *processes[PROCESSES_MAX];
    unsigned process_count;
    void *owned[PROCESSES_MAX];
    unsigned owned_count;
    struct net net;
};

extern struct os *os_world;
extern struct os_process *os_running; /* NULL: the world */

/* Out of memory ends the program. */
void *os_alloc(size_t size);
void *os_grow(void *memory, size_t size);
static inline void os_mix(struct os *os, uint64_t value)
{
    os->hash = (os->hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    os->hash ^= os->hash >> 29;
}
/* Freed with the world. */
void os_own(struct os *os, void *memory);
/* True in `permille` of 1000 cases; draws nothing for 0. */
bool os_chance(struct os *os, unsigned permille);
uint64_t os_step_time(struct os *os);
/* *event is cancelled, if there is one, and NULL. */
void os_forget(struct os *os, struct os_event **event);

/* ---- process.c -------------------------------------------------------------------------------------------- */

enum fd_kind { FD_FREE, FD_SOCKET, FD_END, FD_LISTENER, FD_LOG, FD_DEAD };

struct os_fd {
    enum fd_kind kind;
    struct net_end *end;
    struct net_listener *listener;
};

struct os_process {
    struct os *os;
    char name[32];
    unsigned number;
    struct os_process_config config;
    enum os_process_state state;
    struct fiber *fiber;
    bool dying;
    unsigned dying_waits;
    struct os_event *wake;
    bool waking; /* `wake` is the end of a step, not a deadline */
    int64_t wall_jump_ns;
    unsigned pending_signals; /* a bit for each */
    struct os_fd *fds;
    unsigned fd_room, fd_used, fd_limit;
    struct {
        enum os_at_write what;
        unsigned n, link;
        void (*fn)(void *arg);
        void *arg;
    } at_write;
};

/* Within the process: until it is notified or `deadline` (UINT64_MAX: never) has come. At once when dying. May
 * return early for no reason. */
void process_wait(uint64_t deadline);
/* Within the process: a step's time passes. */
void process_step(void);
/* Something it may wait for has happened. */
void process_notify(struct os_process *process);
/* Something it waits for will happen at `at`. */
void process_notify_at(struct os_process *process, uint64_t at);
/* Within the process, before it hands bytes over. May stop here, or come back dying. */
void process_before_write(struct os_process *process, unsigned link);

/* ---- net.c, flow.c ---------------------------------------------------------------------------------------- */

enum seg_kind { SEG_DATA, SEG_SYN, SEG_SYNACK, SEG_REFUSED, SEG_FIN, SEG_RST };

struct seg {
    uint64_t due;
    uint32_t len;
    uint8_t kind; /* enum seg_kind */
    bool one_byte;
};

/* What end[i] sends is flow[i]. Bytes: `readable` arrived ones from `head`, then those under way. */
struct flow {
    struct net_conn *conn;
    uint8_t *bytes;
    size_t capacity, head, readable, total;
    struct seg *segs;
    size_t seg_head, seg_count, seg_room;
    uint64_t last_due;
    uint64_t queued; /* bytes ever queued */
    struct os_event *arrival;
    uint64_t rules;      /* active ones that match, a bit for each */
    uint64_t cut_at;     /* of `queued`; 0: nowhere */
    uint64_t corrupt_at; /* of `queued`; 0: nowhere */
    bool stalled;        /* by a rule that holds */
    bool swallowed;      /* by a rule that held once */
    bool ended;          /* FIN or RST was queued */
    bool full;           /* its sender waits for room */
    bool delivering;     /* the server is being called */
    size_t limit;
};

/* end[0] connected, end[1] was connected to. */
struct net_end {
    struct net_conn *conn;
    unsigned index;
    bool open;      /* somebody has it: a descriptor or a server */
    bool connected; /* end[0]: SYN was answered; end[1]: accepted */
    bool eof;       /* FIN arrived */
    bool shut;      /* shutdown by its owner */
    int error;      /* of the socket: ECONNRESET, ECONNREFUSED; stays */
    struct os_process *process;
    struct net_peer *peer;
};

struct net_peer {
    struct net_conn *conn;
    struct net_server *server;
    void *ctx;
    bool accepted, closing;
    uint8_t *backlog; /* what the flow has no room for */
    size_t backlog_len, backlog_room;
};

struct net_conn {
    struct os *os;
    uint64_t id;
    bool local; /* a Unix socket */
    bool dead;
    unsigned link;              /* enum os_link */
    struct os_process *process; /* that connected */
    struct net_server *server;  /* NULL: a daemon's socket */
    struct flow flow[2];
    struct net_end end[2];
    struct net_peer peer; /* end[1] if server */
    TAILQ_ENTRY(net_conn) link_all, link_pending;
};

struct net_server {
    struct os *os;
    char name[64];
    struct net_server_ops ops;
    void *ctx;
    bool stopped, down;
    TAILQ_ENTRY(net_server) link;
};

struct net_name {
    char name[64];
    struct net_server *server;
    TAILQ_ENTRY(net_name) link;
};

struct net_listener {
    struct os_process *process;
    char path[108];
    bool unlinked;
    TAILQ_HEAD(, net_conn) pending;
    unsigned count;
    TAILQ_ENTRY(net_listener) link;
};

struct net_rule_handle {
    struct os *os;
    struct net_rule rule;
    struct net_rule_counters counters;
    int slot; /* in active; -1: removed */
    TAILQ_ENTRY(net_rule_handle) link;
};

void net_init(struct os *os);
void net_deinit(struct os *os);
void net_reap(struct os *os);

/* Made, known to the rules, and nothing sent. The owner of end 0 is `process`. */
struct net_conn *net_conn_new(struct os *os, struct os_process *process, struct net_server *server, bool local);
/* The owner lets go: FIN, or RST if something was unread. */
void net_end_close(struct net_end *end);
/* Both ends lose everything that is under way, and learn of it now. */
void net_conn_reset(struct net_conn *conn, int error);
void net_conn_check(struct net_conn *conn); /* dead when nobody has it any more */
/* Whoever has the end is told that something changed there. */
void net_end_changed(struct net_end *end);

static inline struct flow *net_end_in(struct net_end *end)
{
    return &end->conn->flow[1 - end->index];
}

static inline struct flow *net_end_out(struct net_end *end)
{
    return &end->conn->flow[end->index];
}

/* Queues as much as the limit has room for; answers how much. */
size_t flow_send(struct flow *flow, const void *bytes, size_t len);
void flow_queue(struct flow *flow, enum seg_kind kind, const void *bytes, size_t len);
size_t flow_room(const struct flow *flow);
/* Takes `len` of the readable bytes. */
void flow_consume(struct flow *flow, size_t len);
void flow_clear(struct flow *flow);
void flow_deinit(struct flow *flow);
/* Rules have changed. */
void flow_rearm(struct flow *flow);

/* ---- rules.c ---------------------------------------------------------------------------------------------- */

bool rule_selects(const struct net_rule *rule, const struct net_conn *conn);
/* The rules for this connection are looked at anew. */
void rules_apply(struct net_conn *conn);
/* The first active rule with this property for a connection about to be made, or NULL. */
struct net_rule_handle *rules_find_refusal(struct os *os, const struct net_conn *conn);
struct net_server *rules_redirect(struct os *os, struct os_process *process, struct net_server *server);

/* ---- server.c --------------------------------------------------------------------------------------------- */

struct net_server *net_server_by_name(struct os *os, const char *name);
/* The number of a name, for addresses; < 0: unknown. */
int net_name_number(struct os *os, const char *name);
struct net_server *net_server_by_number(struct os *os, int number);
/* Something arrived at the server's end. */
void net_server_changed(struct net_end *end);
/* The flow to the process has room again. */
void net_server_pump(struct net_peer *peer);

/* ---- kernel.c --------------------------------------------------------------------------------------------- */

/* All within the process that runs. A new descriptor, or -EMFILE. */
int kernel_new_fd(enum fd_kind kind);
struct os_fd *kernel_fd(int fd);                             /* NULL: none of this process */
ssize_t kernel_read(int fd, void *bytes, size_t len);        /* or -errno */
ssize_t kernel_write(int fd, const void *bytes, size_t len); /* or -errno */
int kernel_close(int fd);
int kernel_connect_server(int fd, struct net_server *server);                /* -EINPROGRESS or another -errno */
int kernel_socket_error(int fd);                                             /* SO_ERROR */
short kernel_events(int fd);                                                 /* POLLIN ... */
uint64_t kernel_clock(void);                                                 /* CLOCK_BOOTTIME of the process */
int kernel_poll(struct pollfd *fds, nfds_t count, const uint64_t *deadline); /* it may come nearer meanwhile */
/* Closes all, of a process that ends. Its descriptors stay as dead ones. */
void kernel_close_all(struct os_process *process);
void kernel_random(struct os *os, void *bytes, size_t len);
/* -EADDRINUSE, or the descriptor of a listener. */
int kernel_listen(const char *path);
void kernel_unlisten(int fd); /* nobody finds it any more */
int kernel_accept(int fd);    /* -EAGAIN, -EMFILE */
pid_t kernel_accepted_pid(int fd);

#endif
