/*
 * The subscription connection: SUBSCRIBE once, then PING as the barrier of the heartbeat. What comes are arrays
 * of three kinds: the confirmation, messages, and pongs with their nonce in the order of the pings. Anything
 * else means that the stream cannot be trusted, and closes it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "daemon/redis/internal.h"

#define PING_MAX (sizeof(((struct redis *)NULL)->pings) / sizeof(((struct redis *)NULL)->pings[0]))

void subscription_drop(struct redis *redis)
{
    redis->subscribe_wanted = redis->subscribed = false;
    redis->subscribe_sent_ns = 0;
    redis->ping_first = redis->ping_count = 0;
}

void subscription_ping(struct redis *redis, uint64_t nonce)
{
    /* The oldest is overdue long before so many are out; the deadline closes the connection. */
    if (redis->ping_count == PING_MAX)
        return;
    redis->pings[(redis->ping_first + redis->ping_count) % PING_MAX].nonce = nonce;
    redis->pings[(redis->ping_first + redis->ping_count) % PING_MAX].sent_ns = 0;
    redis->ping_count++;
}

void subscription_flush(struct redis *redis)
{
    struct buffer *out = &redis->subscription.out;
    uint64_t now = uv_hrtime();

    if (!connection_is_ready(&redis->subscription))
        return;
    if (redis->subscribe_wanted) {
        redis->subscribe_wanted = false;
        redis->subscribe_sent_ns = now;
        resp_command(out, 2);
        resp_argument_text(out, "SUBSCRIBE");
        resp_argument_text(out, redis->channel);
    }
    for (unsigned i = 0; i < redis->ping_count; i++) {
        unsigned at = (redis->ping_first + i) % PING_MAX;

        if (redis->pings[at].sent_ns != 0)
            continue;
        redis->pings[at].sent_ns = now;
        resp_command(out, 2);
        resp_argument_text(out, "PING");
        resp_argument_number(out, redis->pings[at].nonce);
    }
    connection_flush(&redis->subscription);
}

static const char *take_confirmation(struct redis *redis)
{
    struct core_event e = {.type = EV_SUBSCRIBED};

    if (redis->subscribe_sent_ns == 0)
        return "confirmation of a subscription nobody asked for";
    redis->subscribe_sent_ns = 0;
    redis->subscribed = true;
    redis_emit(redis, &e);
    return NULL;
}

static const char *take_pong(struct redis *redis, struct slice text)
{
    struct core_event e = {.type = EV_PONG};
    char expected[24];

    if (redis->ping_count == 0 || redis->pings[redis->ping_first].sent_ns == 0)
        return "pong to no ping";
    e.pong.nonce = redis->pings[redis->ping_first].nonce;
    snprintf(expected, sizeof(expected), "%" PRIu64, e.pong.nonce);
    if (!slice_equal(text, slice_text(expected)))
        return "pong with another nonce";
    redis->ping_first = (redis->ping_first + 1) % PING_MAX;
    redis->ping_count--;
    redis_emit(redis, &e);
    return NULL;
}

static const char *take_message(struct redis *redis, const redisReply *channel, const redisReply *payload)
{
    struct core_event e = {.type = EV_MESSAGE};
    const char *error;

    if (!redis->subscribed || !slice_equal(reply_text(channel), slice_text(redis->channel)))
        return "message on another channel";
    /* nil: it was longer than anything we send, and was taken out of the stream. */
    if (payload->type != REDIS_REPLY_STRING && payload->type != REDIS_REPLY_NIL)
        return "message of another type";
    error =
        payload->type == REDIS_REPLY_NIL ? "message: too long" : message_decode(reply_text(payload), &e.message);
    if (error) {
        redis_log(redis, 3, "unreadable message", "reason=\"%s\"", error);
        e = (struct core_event){.type = EV_BAD_MESSAGE};
    }
    redis_emit(redis, &e);
    return NULL;
}

static const char *subscription_on_reply(struct connection *c, const redisReply *reply)
{
    struct redis *redis = c->redis;
    const redisReply *const *part = (const redisReply *const *)reply->element;
    struct slice kind;

    if (reply_is_error(reply)) {
        struct slice text = error_text(c->reason, sizeof(c->reason) - 1, reply);

        c->reason[text.len] = '\0';
        return c->reason;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 || !reply_is_string(part[0]) ||
        !reply_is_string(part[1]))
        return "unexpected answer on the subscription";
    kind = reply_text(part[0]);
    if (reply->elements == 3 && slice_equal(kind, slice_text("message")))
        return take_message(redis, part[1], part[2]);
    if (reply->elements == 2 && slice_equal(kind, slice_text("pong")))
        return take_pong(redis, reply_text(part[1]));
    if (reply->elements == 3 && slice_equal(kind, slice_text("subscribe")) &&
        slice_equal(reply_text(part[1]), slice_text(redis->channel)))
        return take_confirmation(redis);
    return "unexpected answer on the subscription";
}

static unsigned subscription_prepare(struct connection *c)
{
    (void)c;
    return 0;
}

static void subscription_on_ready(struct connection *c)
{
    redis_link_up(c->redis, c);
}

static uint64_t subscription_oldest_ns(const struct connection *c)
{
    const struct redis *redis = c->redis;

    if (redis->subscribe_sent_ns != 0)
        return redis->subscribe_sent_ns;
    return redis->ping_count > 0 ? redis->pings[redis->ping_first].sent_ns : 0;
}

static void subscription_on_lost(struct connection *c)
{
    redis_link_lost(c->redis, c);
}

const struct connection_role subscription_role = {
    .name = "subscription",
    .link = LINK_SUBSCRIPTION,
    .prepare = subscription_prepare,
    .on_ready = subscription_on_ready,
    .on_reply = subscription_on_reply,
    .oldest_ns = subscription_oldest_ns,
    .on_lost = subscription_on_lost,
};
