/*
 * The HTTP side. A turn: MHD_run accepts, reads, answers and writes whatever is ready, for at most
 * HTTP_CONNECTIONS_MAX connections; then the descriptor is not looked at for HTTP_TURN_MS, however much is there.
 *
 * libmicrohttpd knows no limit for a whole request: a client that sends a byte now and then is active to it. So
 * each connection has a moment here from which it is judged, and `evict` shuts the sockets of those that took too
 * long; libmicrohttpd finds them at their end in its next turn.
 */
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/metrics/listen.h"
#include "daemon/metrics/pages.h"

#define HTTP_LOOK_MS         1000 /* how often connections are judged; picked */
#define HTTP_LOOK_CROWDED_MS 10   /* while there is no room for another */

struct slot {
    bool taken;
    int fd;
    uint64_t since; /* uv_now of its start, or of the end of its last request */
};

struct metrics {
    struct metrics_config config;
    char *unix_path;
    struct MHD_Daemon *mhd;
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned open; /* handles */
    bool resting;  /* between two turns */
    struct slot slots[HTTP_CONNECTIONS_MAX];
    unsigned connections; /* slots taken */
    uint64_t full_at;     /* uv_now when they last were all taken; 0: never */
    struct http_counters counters;
    struct MHD_Response *body; /* of /metrics, made in this turn; NULL: not yet */
};

/* ---- answers ---------------------------------------------------------------------------------------------- */

static struct MHD_Response *response_new(const char *type, struct buffer *text)
{
    struct MHD_Response *response = NULL;

    if (!text->failed)
        response = MHD_create_response_from_buffer(text->len, text->data, MHD_RESPMEM_MUST_COPY);
    buffer_deinit(text);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return response;
}

static struct MHD_Response *make_answer(struct metrics *m, enum page page, unsigned *ret_status)
{
    struct buffer text = BUFFER_INIT;
    struct metrics_input in;
    struct MHD_Response *response;

    if (page == PAGE_METRICS && m->body) {
        *ret_status = MHD_HTTP_OK;
        return m->body;
    }
    memset(&in, 0, sizeof(in));
    m->config.collect(m->config.ctx, &in);
    in.http = m->counters;
    *ret_status = page_write(page, &text, &in);
    response = response_new(page_type(page), &text);
    if (page == PAGE_METRICS)
        m->body = response;
    if (response && page == PAGE_METHOD)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    return response;
}

static bool has_body(struct MHD_Connection *connection)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload, size_t *upload_len,
                                  void **request)
{
    struct metrics *m = ctx;
    bool known = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    enum page page = known ? page_find(url) : PAGE_METHOD;
    enum MHD_Result r;
    unsigned status;
    struct MHD_Response *response;

    (void)version, (void)upload, (void)upload_len;
    /* Answered at this first call, the connection would be closed afterwards: right for one with a body only. */
    if (known && !*request && !has_body(connection)) {
        *request = m;
        return MHD_YES;
    }
    m->counters.requests++;
    m->counters.requests_refused += page == PAGE_METHOD || page == PAGE_UNKNOWN;
    response = make_answer(m, page, &status);
    if (!response)
        return MHD_NO; /* no memory: closed */
    r = MHD_queue_response(connection, status, response);
    if (response != m->body)
        MHD_destroy_response(response);
    return r;
}

/* ---- connections ------------------------------------------------------------------------------------------ */

static void on_connection(void *ctx, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct metrics *m = ctx;
    struct slot *slot = *socket_context;

    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (!slot)
            return;
        slot->taken = false;
        m->connections--;
        return;
    }
    m->counters.connections++;
    for (slot = m->slots; slot < m->slots + HTTP_CONNECTIONS_MAX && slot->taken; slot++)
        ;
    if (slot == m->slots + HTTP_CONNECTIONS_MAX)
        return; /* cannot be: libmicrohttpd has the same limit */
    *slot = (struct slot){
        .taken = true,
        .fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
        .since = uv_now(m->timer.loop),
    };
    *socket_context = slot;
    m->connections++;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode how)
{
    struct metrics *m = ctx;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct slot *slot = info ? info->socket_context : NULL;

    (void)request;
    if (slot && how == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        slot->since = uv_now(m->timer.loop);
}

/* For a while after all were taken: there may be more in the backlog, which only a turn takes out of it. */
static bool crowded(const struct metrics *m)
{
    return m->full_at > 0 && uv_now(m->timer.loop) - m->full_at < HTTP_LOOK_MS;
}

static void evict(struct metrics *m)
{
    uint64_t now = uv_now(m->timer.loop);
    uint64_t limit = crowded(m) ? HTTP_CROWDED_MS : HTTP_IDLE_MS;

    for (struct slot *slot = m->slots; slot < m->slots + HTTP_CONNECTIONS_MAX; slot++) {
        if (!slot->taken || slot->fd < 0 || now - slot->since < limit)
            continue;
        shutdown(slot->fd, SHUT_RDWR);
        slot->fd = -1;
        m->counters.evicted++;
    }
}

/* ---- turns ------------------------------------------------------------------------------------------------ */

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);

static void turn(struct metrics *m)
{
    MHD_run(m->mhd);
    if (m->connections == HTTP_CONNECTIONS_MAX)
        m->full_at = uv_now(m->timer.loop);
    evict(m);
    if (m->body)
        MHD_destroy_response(m->body); /* connections that send it have their own hold on it */
    m->body = NULL;
    uv_poll_stop(&m->poll);
    m->resting = true;
    uv_timer_start(&m->timer, on_timer, HTTP_TURN_MS, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    turn(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    struct metrics *m = timer->data;
    MHD_UNSIGNED_LONG_LONG due;

    if (!m->resting || (MHD_get_timeout(m->mhd, &due) == MHD_YES && due == 0)) {
        turn(m);
        return;
    }
    m->resting = false;
    uv_poll_start(&m->poll, UV_READABLE, on_poll);
    if (crowded(m) || m->connections > 0)
        uv_timer_start(&m->timer, on_timer, crowded(m) ? HTTP_LOOK_CROWDED_MS : HTTP_LOOK_MS, 0);
}

/* ---- life ------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct metrics *m = handle->data;

    if (--m->open > 0)
        return;
    free(m->unix_path);
    free(m);
}

void metrics_close(struct metrics *m)
{
    if (!m)
        return;
    uv_close((uv_handle_t *)&m->poll, on_closed);
    uv_close((uv_handle_t *)&m->timer, on_closed);
    if (m->unix_path)
        unlink(m->unix_path);
    MHD_stop_daemon(m->mhd);
}

static struct MHD_Daemon *start(struct metrics *m, int fd)
{
    return MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, m, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_REQUEST_BYTES,
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, m, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, m, MHD_OPTION_END);
}

int metrics_new(struct metrics **ret, uv_loop_t *loop, const struct metrics_config *config, char *error,
                size_t error_size)
{
    struct metrics *m = calloc(1, sizeof(*m));
    int fd = m ? metrics_listen(config, error, error_size) : -1, r = -ENOMEM;

    if (fd < 0) {
        free(m);
        return m ? METRICS_UNUSABLE : r;
    }
    m->config = *config;
    m->poll.data = m->timer.data = m;
    if (config->unix_path)
        m->unix_path = strdup(config->unix_path);
    if (!config->unix_path || m->unix_path)
        m->mhd = start(m, fd);
    if (m->mhd)
        r = uv_poll_init(loop, &m->poll, MHD_get_daemon_info(m->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    if (r < 0) {
        if (config->unix_path)
            unlink(config->unix_path);
        if (m->mhd)
            MHD_stop_daemon(m->mhd);
        else
            close(fd);
        free(m->unix_path);
        free(m);
        return r;
    }
    uv_timer_init(loop, &m->timer);
    m->open = 2;
    uv_poll_start(&m->poll, UV_READABLE, on_poll);
    *ret = m;
    return METRICS_OK;
}
