#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net/internal.h"

#define NO_SLOT         UINT32_MAX
#define IN_IDLE_LIMIT_S 5 /* sweeps an unfinished frame may stand still while others wait for memory; picked */

/* ---- numbers --------------------------------------------------------------------------------------------- */

static struct connection *find(const struct connections *conns, uint64_t client)
{
    uint32_t slot = (uint32_t)client;

    if (slot >= conns->slots_count || conns->slots[slot].generation != (uint32_t)(client >> 32))
        return NULL;
    return conns->slots[slot].connection;
}

void connections_forget(struct connections *conns, struct connection *c)
{
    struct connection_slot *slot = &conns->slots[c->slot];

    if (c->listed) {
        TAILQ_REMOVE(&conns->ready, c, ready_link);
        conns->ready_count--;
    }
    if (c->unflushed)
        TAILQ_REMOVE(&conns->flush, c, flush_link);
    if (c->waiting)
        TAILQ_REMOVE(&conns->waiters, c, waiter_link);
    c->listed = c->unflushed = c->waiting = false;
    connections_unprivilege(conns, c);
    connections_charge(conns, c);
    conns->config.on_closed(conns->config.ctx, connection_client(c));
    slot->connection = NULL;
    slot->generation++;
    slot->next_free = conns->first_free;
    conns->first_free = c->slot;
    conns->counters.connections--;
    conns->through[c->peer.door]--;
}

static void free_conns(struct connections *conns)
{
    buffer_deinit(&conns->out);
    free(conns->slots);
    free(conns->read_buffer);
    free(conns);
}

void connections_handle_gone(struct connections *conns)
{
    if (--conns->open_handles == 0)
        free_conns(conns);
}

/* ---- lists ----------------------------------------------------------------------------------------------- */

void connections_mark_ready(struct connections *conns, struct connection *c)
{
    if (c->listed || c->state == CONNECTION_CLOSING)
        return;
    c->listed = true;
    conns->ready_count++;
    TAILQ_INSERT_TAIL(&conns->ready, c, ready_link);
}

void connections_mark_flush(struct connections *conns, struct connection *c)
{
    if (c->unflushed || c->state == CONNECTION_CLOSING)
        return;
    c->unflushed = true;
    TAILQ_INSERT_TAIL(&conns->flush, c, flush_link);
}

void connections_mark_waiting(struct connections *conns, struct connection *c)
{
    if (c->waiting || c->state == CONNECTION_CLOSING)
        return;
    conns->counters.input_waits++;
    c->waiting = true;
    TAILQ_INSERT_TAIL(&conns->waiters, c, waiter_link);
}

static void flush_all(struct connections *conns)
{
    struct connection *c;

    while ((c = TAILQ_FIRST(&conns->flush)) != NULL) {
        TAILQ_REMOVE(&conns->flush, c, flush_link);
        c->unflushed = false;
        connection_write_queued(c);
    }
}

/* ---- the budget ------------------------------------------------------------------------------------------ */

static bool has_read_room(const struct connections *conns)
{
    return conns->used + CONNECTION_TURN_BYTES <= conns->config.budget_bytes;
}

static void wake_waiters(struct connections *conns)
{
    struct connection *c;

    while ((c = TAILQ_FIRST(&conns->waiters)) != NULL) {
        TAILQ_REMOVE(&conns->waiters, c, waiter_link);
        c->waiting = false;
        connections_mark_ready(conns, c);
    }
}

static void on_sweep(uv_timer_t *timer);

void connections_charge(struct connections *conns, struct connection *c)
{
    size_t now = c->state == CONNECTION_CLOSING ? 0 : c->in.capacity + c->out.capacity;

    if (now == c->charged)
        return;
    conns->used += now;
    conns->used -= c->charged;
    if (now < c->charged && !TAILQ_EMPTY(&conns->waiters) && has_read_room(conns))
        wake_waiters(conns);
    c->charged = now;
    if (now > 0 && !uv_is_active((uv_handle_t *)&conns->sweep) && !conns->closing)
        uv_timer_start(&conns->sweep, on_sweep, CONNECTION_SWEEP_MS, CONNECTION_SWEEP_MS);
}

size_t connections_read_size(struct connections *conns, struct connection *c)
{
    size_t stored = connection_stored(c);

    if (conns->used + CONNECTION_READ_BYTES <= conns->config.budget_bytes && stored > 0)
        return CONNECTION_READ_BYTES;
    if (has_read_room(conns) || conns->privileged == c)
        return CONNECTION_TURN_BYTES;
    if (stored < CONNECTION_FREE_BYTES)
        return CONNECTION_FREE_BYTES - stored;
    if (conns->privileged)
        return 0;
    conns->privileged = c;
    return CONNECTION_TURN_BYTES;
}

void connections_unprivilege(struct connections *conns, struct connection *c)
{
    if (conns->privileged != c)
        return;
    conns->privileged = NULL;
    wake_waiters(conns);
}

static void close_for_budget(struct connections *conns, struct connection *c)
{
    conns->counters.closed_budget++;
    connection_move(c, CONNECTION_STALLED);
}

/* The client that has left its answers untaken for longest gives way. False: all have taken some lately. */
static bool close_most_stalled(struct connections *conns, const struct connection *except)
{
    struct connection *worst = NULL;

    for (uint32_t i = 0; i < conns->slots_count; i++) {
        struct connection *c = conns->slots[i].connection;

        if (c && c != except && connection_queued(c) > 0 && c->out_idle_s > 0 &&
            (!worst || c->out_idle_s > worst->out_idle_s))
            worst = c;
    }
    if (!worst)
        return false;
    close_for_budget(conns, worst);
    return true;
}

static void sweep_connection(struct connections *conns, struct connection *c)
{
    if (connection_queued(c) > 0 && ++c->out_idle_s >= CONNECTION_STALL_S) {
        conns->counters.closed_stalled++;
        connection_move(c, CONNECTION_STALLED);
        return;
    }
    if (connection_stored(c) == 0 || c->waiting || c->paused)
        return;
    if (++c->in_idle_s >= IN_IDLE_LIMIT_S && !TAILQ_EMPTY(&conns->waiters))
        close_for_budget(conns, c);
}

void connections_sweep(struct connections *conns)
{
    for (uint32_t i = 0; i < conns->slots_count; i++)
        if (conns->slots[i].connection)
            sweep_connection(conns, conns->slots[i].connection);
    while (conns->used > conns->config.budget_bytes && close_most_stalled(conns, NULL))
        ;
    if (conns->used == 0)
        uv_timer_stop(&conns->sweep);
}

static void on_sweep(uv_timer_t *timer)
{
    connections_sweep(timer->data);
}

/* ---- turns ----------------------------------------------------------------------------------------------- */

static void on_check(uv_check_t *check)
{
    struct connections *conns = check->data;
    struct connection *c;

    /* Those that are marked during the phase have their turn in the next one. */
    for (unsigned turns = conns->ready_count; turns > 0; turns--) {
        c = TAILQ_FIRST(&conns->ready);
        if (!c)
            break;
        TAILQ_REMOVE(&conns->ready, c, ready_link);
        conns->ready_count--;
        c->listed = false;
        connection_turn(c);
    }
    flush_all(conns);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

void connections_before_poll(struct connections *conns)
{
    if (conns->closing)
        return;
    flush_all(conns);
    if (TAILQ_EMPTY(&conns->ready))
        uv_idle_stop(&conns->idle);
    else
        uv_idle_start(&conns->idle, on_idle);
}

/* ---- from outside ---------------------------------------------------------------------------------------- */

static void init_handles(struct connections *conns, uv_loop_t *loop)
{
    uv_check_init(loop, &conns->check);
    uv_idle_init(loop, &conns->idle);
    uv_timer_init(loop, &conns->sweep);
    conns->check.data = conns->idle.data = conns->sweep.data = conns;
    conns->open_handles = 3;
    uv_check_start(&conns->check, on_check);
}

int connections_new(struct connections **ret, uv_loop_t *loop, const struct connections_config *config)
{
    struct connections *conns = calloc(1, sizeof(*conns));

    if (!conns)
        return -ENOMEM;
    conns->config = *config;
    conns->loop = loop;
    conns->read_buffer = malloc(CONNECTION_READ_BYTES);
    for (unsigned door = 0; door < CONNECTION_DOORS; door++)
        conns->slots_count += config->max_connections[door];
    conns->slots = calloc(conns->slots_count, sizeof(*conns->slots));
    if (!conns->read_buffer || !conns->slots) {
        free_conns(conns);
        return -ENOMEM;
    }
    TAILQ_INIT(&conns->ready);
    TAILQ_INIT(&conns->flush);
    TAILQ_INIT(&conns->waiters);
    for (uint32_t i = 0; i < conns->slots_count; i++)
        conns->slots[i] =
            (struct connection_slot){.generation = 1, .next_free = i + 1 < conns->slots_count ? i + 1 : NO_SLOT};
    conns->first_free = conns->slots_count > 0 ? 0 : NO_SLOT;
    init_handles(conns, loop);
    signal(SIGPIPE, SIG_IGN);
    *ret = conns;
    return 0;
}

static void say_full(struct connections *conns, int fd, const struct peer *peer)
{
    struct buffer message = BUFFER_INIT;

    conns->config.on_full(conns->config.ctx, peer, &message);
    if (!message.failed)
        send(fd, message.data, message.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    buffer_deinit(&message);
}

void connections_adopt(struct connections *conns, int fd, const struct peer *peer)
{
    uint32_t slot = conns->first_free;
    struct connection *c = NULL;

    if (conns->through[peer->door] >= conns->config.max_connections[peer->door])
        say_full(conns, fd, peer);
    else if (!conns->closing)
        c = connection_new(conns, fd, slot, conns->slots[slot].generation);
    if (!c) {
        conns->counters.connections_refused++;
        close(fd);
        return;
    }
    c->peer = *peer;
    conns->through[peer->door]++;
    conns->first_free = conns->slots[slot].next_free;
    conns->slots[slot].connection = c;
    conns->open_handles++;
    conns->counters.connections++;
    conns->counters.connections_accepted++;
    conns->config.on_opened(conns->config.ctx, connection_client(c), peer);
}

int connection_get_peer(const struct connections *conns, uint64_t client, struct peer *ret_peer)
{
    const struct connection *c = find(conns, client);

    if (!c)
        return -1;
    *ret_peer = c->peer;
    return c->fd;
}

struct connection_note *connection_get_note(const struct connections *conns, uint64_t client)
{
    struct connection *c = find(conns, client);

    return c ? &c->note : NULL;
}

bool connections_next(const struct connections *conns, uint32_t *index, struct connection_facts *ret)
{
    while (*index < conns->slots_count) {
        const struct connection *c = conns->slots[(*index)++].connection;

        if (!c)
            continue;
        *ret = (struct connection_facts){
            .client = connection_client(c),
            .peer = c->peer,
            .note = c->note,
            .in_flight = c->in_flight,
            .answered = c->answered,
            .stored_bytes = connection_stored(c),
            .queued_bytes = connection_queued(c),
        };
        return true;
    }
    return false;
}

void connections_each(struct connections *conns, void (*fn)(void *ctx, uint64_t client), void *ctx)
{
    for (uint32_t i = 0; i < conns->slots_count; i++)
        if (conns->slots[i].connection)
            fn(ctx, connection_client(conns->slots[i].connection));
}

void connections_set_budget(struct connections *conns, size_t budget_bytes)
{
    conns->config.budget_bytes = budget_bytes;
}

static void move_all(struct connections *conns, enum connection_event event)
{
    for (uint32_t i = 0; i < conns->slots_count; i++)
        if (conns->slots[i].connection)
            connection_move(conns->slots[i].connection, event);
}

void connections_drain(struct connections *conns)
{
    move_all(conns, CONNECTION_STOP);
}

unsigned connections_count(const struct connections *conns)
{
    return (unsigned)conns->counters.connections;
}

static void on_own_handle_closed(uv_handle_t *handle)
{
    connections_handle_gone(handle->data);
}

void connections_close(struct connections *conns)
{
    if (!conns)
        return;
    conns->closing = true;
    move_all(conns, CONNECTION_ERROR);
    uv_close((uv_handle_t *)&conns->check, on_own_handle_closed);
    uv_close((uv_handle_t *)&conns->idle, on_own_handle_closed);
    uv_close((uv_handle_t *)&conns->sweep, on_own_handle_closed);
}

void connections_get_counters(const struct connections *conns, struct net_counters *ret_counters)
{
    *ret_counters = conns->counters;
    ret_counters->buffered_bytes = conns->used;
}

struct buffer *connection_event_begin(struct connections *conns, uint64_t client)
{
    struct connection *c = find(conns, client);

    return c && c->state == CONNECTION_OPEN ? connection_buffer(c) : NULL;
}

void connection_event_end(struct connections *conns, uint64_t client)
{
    struct connection *c = find(conns, client);

    if (c)
        connection_packed(c, connection_buffer(c));
}

struct buffer *connection_answer_begin(struct connections *conns, uint64_t client)
{
    struct connection *c = find(conns, client);

    if (c)
        return connection_buffer(c);
    conns->counters.answers_dropped++;
    return NULL;
}

void connection_answer_end(struct connections *conns, uint64_t client)
{
    struct connection *c = find(conns, client);

    if (!c)
        return;
    c->in_flight--;
    c->answered++;
    connection_packed(c, connection_buffer(c));
    if (c->state == CONNECTION_CLOSING)
        return;
    connection_resume(c);
    if (c->state == CONNECTION_DRAINING)
        connections_mark_ready(conns, c);
}

void connection_spend(struct connections *conns, uint64_t client, unsigned frames)
{
    if (conns->current && connection_client(conns->current) == client)
        conns->current->turn_frames += frames;
}

bool connection_has_room(struct connections *conns, uint64_t client, size_t len)
{
    struct connection *c = find(conns, client);

    if (!c)
        return true;
    if (connection_queued(c) + len > CONNECTION_OUTPUT_HIGH + conns->config.max_message)
        return false;
    if (conns->used + len <= conns->config.budget_bytes)
        return true;
    /* Whoever has taken everything so far will most likely take this at once. */
    if (connection_queued(c) == 0 && conns->out.len + len <= CONNECTION_SHORT_BYTES)
        return true;
    while (conns->used + len > conns->config.budget_bytes)
        if (!close_most_stalled(conns, c))
            return connection_queued(c) == 0 &&
                   conns->used + len <= conns->config.budget_bytes + 2 * conns->config.max_message;
    return true;
}

size_t connection_queued_bytes(const struct connections *conns, uint64_t client)
{
    const struct connection *c = find((struct connections *)(uintptr_t)conns, client);

    return c ? connection_queued(c) : 0;
}
