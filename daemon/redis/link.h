/*
 * One socket of a connection. It lives until its close callback has run; the connection may have another one by
 * then, so whoever holds a link looks at its owner first.
 */
#ifndef DCACHED_REDIS_LINK_H
#define DCACHED_REDIS_LINK_H

#include "daemon/redis/connection.h"

struct link {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    struct redis *redis;
    struct connection *owner; /* NULL: given up */
    struct resp_reader resp;
    uv_connect_t connect;
    uv_write_t write;
    struct buffer writing; /* what the kernel did not take at once */
    bool write_busy;
};

int link_new(struct connection *c);   /* sets c->link; 0 or -errno */
void link_drop(struct connection *c); /* closes it, if there is one, and forgets what is queued */
/* Without these a TCP peer that vanished goes unnoticed for a quarter of an hour. */
void link_set_options(struct connection *c);
int link_start_reading(struct link *link);

/* What a link tells its connection (connection.c). on_reply returns NULL, or why to close. */
void connection_fail(struct connection *c, const char *reason);
const char *connection_on_reply(struct connection *c, const redisReply *reply);

#endif
