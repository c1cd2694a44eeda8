/*
 * The store side on its own: takes effects as lines on standard input, prints events as lines.
 *
 *   redis_driver unix:PATH|HOST:PORT [user=U] [password=P] [db=N] [deadline_ms=N] [backoff_ms=N] [max_value=N]
 *
 *   subscribe | ping NONCE | identity ID | propose MIN_SEQ | fetch ID KEY | head ID KEY | reset data|subscription
 *   set ID KEY VALUE VERSION TTL_MS RETRY | delete ID KEY VERSION | clear ID | status | quit
 *
 * propose and the writes stand on the meta and run of the last identity. VALUE "*N" is N times 'x'.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/redis/redis.h"

struct written {
    struct written *next;
    struct write_request request;
    char key[256];
    char *value;
};

static struct redis *redis;
static struct meta meta;
static struct run_id run;
static struct written *writes;
static uv_pipe_t input;
static uv_check_t turn;
static char line[4096];
static size_t line_len;
static bool closing;

static const char *const statuses[] = {"ok", "not-sent", "definite", "unknown"};
static const char *const metas[] = {"ok", "missing", "invalid"};
static const char *const results[] = {"accepted",    "stale",   "duplicate", "conflict", "indeterminate",
                                      "wrong-epoch", "expired", "cleared",   "corrupt",  "exhausted"};

#define TEXT(s) (int)(s).len, (const char *)(s).data
#define LINK(l) ((l) == LINK_DATA ? "data" : "subscription")

static void print_record(const struct record *r)
{
    printf(" kind=%c version=%llu seq=%llu source=%.*s size=%zu value=%.*s", "vtb"[r->kind],
           (unsigned long long)r -> version, (unsigned long long)r -> seq, TEXT(r->source), r -> value.len,
           r->value.len < 100 ? (int)r->value.len : 100, (const char *)r->value.data);
}

static void print_fetched(const struct core_event *e)
{
    printf("fetched id=%llu status=%s meta=%s", (unsigned long long)e->fetched.id, statuses[e->fetched.status],
           metas[e->fetched.meta.state]);
    if (e->fetched.status != REPLY_OK)
        printf(" text=%.*s", TEXT(e->fetched.text));
    else if (e->fetched.result == FETCH_ABSENT)
        printf(" absent");
    else if (e->fetched.result == FETCH_INVALID)
        printf(" invalid text=%.*s", TEXT(e->fetched.text));
    else
        print_record(&e->fetched.record);
}

static void print_written(const struct core_event *e)
{
    printf("written id=%llu status=%s", (unsigned long long)e->written.id, statuses[e->written.status]);
    if (e->written.status != REPLY_OK)
        printf(" text=%.*s", TEXT(e->written.text));
    else
        printf(" result=%s version=%llu seq=%llu epoch=%s", results[e->written.result],
               (unsigned long long)e->written.version, (unsigned long long)e->written.seq, e->written.epoch.text);
}

static void on_event(void *ctx, struct core_event *e)
{
    (void)ctx;
    switch (e->type) {
    case EV_LINK_UP:
        printf("up %s master=%d run=%s", LINK(e->link_up.link), e->link_up.master, e->link_up.run.text);
        break;
    case EV_LINK_DOWN:
        printf("down %s", LINK(e->link_down.link));
        break;
    case EV_SUBSCRIBED:
        printf("subscribed");
        break;
    case EV_MESSAGE:
        printf("message %s key=%.*s ttl=%llu", e->message.kind == MESSAGE_RECORD ? "record" : "clear",
               TEXT(e->message.key), (unsigned long long)e->message.ttl_ms);
        print_record(&e->message.record);
        break;
    case EV_BAD_MESSAGE:
        printf("bad-message");
        break;
    case EV_PONG:
        printf("pong %llu", (unsigned long long)e->pong.nonce);
        break;
    case EV_IDENTITY:
        meta = e->identity.meta;
        run = e->identity.run;
        printf("identity id=%llu status=%s master=%d run=%s meta=%s epoch=%s seq=%llu text=%.*s",
               (unsigned long long)e->identity.id, statuses[e->identity.status], e->identity.master, run.text,
               metas[meta.state], meta.epoch.text, (unsigned long long)meta.seq, TEXT(e->identity.text));
        break;
    case EV_PROPOSED:
        printf("proposed status=%s text=%.*s", statuses[e->proposed.status], TEXT(e->proposed.text));
        break;
    case EV_FETCHED:
        print_fetched(e);
        break;
    case EV_WRITTEN:
        print_written(e);
        break;
    default:
        break;
    }
    printf("\n");
}

static void on_log(void *ctx, int level, const char *message, const char *fields)
{
    (void)ctx;
    printf("log %d %s %s\n", level, message, fields);
}

static void random_bytes(void *ctx, void *bytes, size_t len)
{
    (void)ctx;
    if (getentropy(bytes, len) < 0)
        abort();
}

static void start_write(enum write_op op, unsigned long long id, const char *key, const char *value,
                        unsigned long long version, unsigned long long ttl_ms, bool retry)
{
    struct written *w = calloc(1, sizeof(*w));
    struct core_effect fx = {.type = FX_WRITE};
    size_t repeat = value[0] == '*' ? strtoul(value + 1, NULL, 10) : 0;

    snprintf(w->key, sizeof(w->key), "%s", key);
    w->value = repeat > 0 ? malloc(repeat) : strdup(value);
    if (repeat > 0)
        memset(w->value, 'x', repeat);
    w->request = (struct write_request){
        .op = op,
        .key = slice_text(w->key),
        .value = repeat > 0 ? slice_of(w->value, repeat) : slice_text(w->value),
        .version = version,
        .ttl_ms = ttl_ms,
        .carry_value = true,
        .retry = retry,
    };
    memcpy(w->request.write_id, &id, sizeof(id));
    w->next = writes;
    writes = w;
    fx.write.id = id;
    fx.write.epoch = meta.epoch;
    fx.write.run = run;
    fx.write.deadline_store_us = UINT64_MAX;
    fx.write.request = &w->request;
    redis_execute(redis, &fx);
}

static void print_status(void)
{
    struct redis_status s;

    redis_get_status(redis, &s);
    printf("status addr=%s data=[%s] subscription=[%s] version=%s role=%s durability=[%s] connects=%llu\n", s.addr,
           s.data_state, s.subscription_state, s.server_version, s.role, s.durability,
           (unsigned long long)s.connects);
}

static void on_handle_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void on_redis_closed(void *ctx)
{
    (void)ctx;
    uv_close((uv_handle_t *)&turn, on_handle_closed);
    uv_close((uv_handle_t *)&input, on_handle_closed);
}

static void quit(void)
{
    if (!closing)
        redis_stop(redis, on_redis_closed, NULL);
    closing = true;
}

static void read_effect(struct core_effect *fx, const char *word, char *text)
{
    unsigned long long number;
    static char keys[1024][256];
    static unsigned next_key;
    char *key = keys[next_key++ % 1024];

    if (strcmp(word, "subscribe") == 0) {
        fx->type = FX_SUBSCRIBE;
    } else if (strcmp(word, "reset") == 0) {
        fx->type = FX_RESET;
        fx->reset.link = strstr(text, " data") ? LINK_DATA : LINK_SUBSCRIPTION;
        fx->reset.text = "asked for";
    } else if (sscanf(text, "%*s %llu", &number) != 1) {
        return;
    } else if (strcmp(word, "ping") == 0) {
        fx->type = FX_PING;
        fx->ping.nonce = number;
    } else if (strcmp(word, "identity") == 0) {
        fx->type = FX_IDENTITY;
        fx->identity.id = number;
    } else if (strcmp(word, "propose") == 0) {
        fx->type = FX_PROPOSE;
        fx->propose.seen = meta;
        fx->propose.run = run;
        fx->propose.min_seq = number;
    } else if (sscanf(text, "%*s %*u %255s", key) == 1) {
        fx->type = FX_FETCH;
        fx->fetch.id = number;
        fx->fetch.key = slice_text(key);
        fx->fetch.header_only = strcmp(word, "head") == 0;
    }
}

static void obey(char *text)
{
    struct core_effect fx = {.type = FX_NOTE};
    unsigned long long id, version = 0, ttl = 0;
    char word[32] = "", key[256], value[2048];
    int retry = 0;

    sscanf(text, "%31s", word);
    if (strcmp(word, "quit") == 0)
        quit();
    else if (strcmp(word, "status") == 0)
        print_status();
    else if (sscanf(text, "set %llu %255s %2047s %llu %llu %d", &id, key, value, &version, &ttl, &retry) >= 3)
        start_write(OP_SET, id, key, value, version, ttl, retry != 0);
    else if (sscanf(text, "delete %llu %255s %llu", &id, key, &version) >= 2)
        start_write(OP_DELETE, id, key, "", version, 0, false);
    else if (sscanf(text, "clear %llu", &id) == 1)
        start_write(OP_CLEAR, id, "", "", 0, 0, false);
    else {
        read_effect(&fx, word, text);
        redis_execute(redis, &fx);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)handle;
    (void)suggested;
    *ret = uv_buf_init(line + line_len, (unsigned)(sizeof(line) - 1 - line_len));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    char *end;

    (void)stream;
    (void)buffer;
    if (n < 0) {
        quit();
        return;
    }
    line_len += (size_t)n;
    line[line_len] = '\0';
    while (!closing && (end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        obey(line);
        line_len -= (size_t)(end + 1 - line);
        memmove(line, end + 1, line_len + 1);
    }
}

static void on_turn(uv_check_t *handle)
{
    (void)handle;
    if (!closing)
        redis_flush(redis);
}

static void take_option(struct redis_config *config, char *text)
{
    char *value = strchr(text, '=');

    if (!value)
        return;
    *value++ = '\0';
    if (strcmp(text, "user") == 0)
        config->username = value;
    else if (strcmp(text, "password") == 0)
        config->password = value;
    else if (strcmp(text, "db") == 0)
        config->db = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(text, "deadline_ms") == 0)
        config->answer_deadline_ns = strtoull(value, NULL, 10) * NS_PER_MS;
    else if (strcmp(text, "backoff_ms") == 0)
        config->backoff_max_ns = strtoull(value, NULL, 10) * NS_PER_MS;
    else if (strcmp(text, "max_value") == 0)
        config->max_value = strtoull(value, NULL, 10);
}

int main(int argc, char **argv)
{
    struct redis_config config = {
        .key_prefix = "dc:",
        .channel = "cache:invalidate",
        .source = "pod",
        .max_key = 1024,
        .max_value = 1 << 20,
        .answer_deadline_ns = 1000 * NS_PER_MS,
        .backoff_max_ns = 250 * NS_PER_MS,
        .on_event = on_event,
        .on_log = on_log,
        .random = random_bytes,
        .may_write = true,
    };
    uv_loop_t *loop = uv_default_loop();
    char *colon;

    if (argc < 2)
        return 2;
    if (strncmp(argv[1], "unix:", 5) == 0) {
        config.unix_path = argv[1] + 5;
    } else if ((colon = strrchr(argv[1], ':')) != NULL) {
        *colon = '\0';
        config.host = argv[1];
        config.port = (uint16_t)strtoul(colon + 1, NULL, 10);
    }
    for (int i = 2; i < argc; i++)
        take_option(&config, argv[i]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (redis_new(&redis, loop, &config) < 0)
        return 2;
    uv_check_init(loop, &turn);
    uv_check_start(&turn, on_turn);
    uv_pipe_init(loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    redis_start(redis);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    while (writes) {
        struct written *w = writes;

        writes = w->next;
        free(w->value);
        free(w);
    }
    return 0;
}
