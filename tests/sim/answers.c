/* Within the processes of applications: the calls of the library, and what it answers. */
#include <inttypes.h>

#include "tests/sim/calls.h"
#include "tests/sim/check.h"

static void op_log_asked(const struct op *op)
{
    static const char *const kinds[] = {"get", "set", "delete", "clear"};

    world_log(op->world, op->pod, op->key, "op %d asks: %s%s%s%s version %" PRIu64 " content %d first %d, %u ms",
              op->number, kinds[op->kind], op->group ? " (mget)" : "", op->strong ? " strong" : "",
              op->retry ? " retry" : "", op->kind == CALL_GET ? op->min_version : op->version, op->content,
              op->first, op->timeout_ms);
}

static void learn(struct world *w, const struct op *op)
{
    if (op->got_version > w->known[op->key])
        w->known[op->key] = op->got_version;
}

static void op_returned(struct op *op)
{
    struct world *w = op->world;
    uint64_t facts[] = {(uint64_t)op->number, (uint64_t)op->result, op->got_version, (uint64_t)op->content,
                        world_now(w)};

    op->state = OP_RETURNED;
    w->ops_open--;
    op->returned_at = world_now(w);
    os_hash_add(w->os, facts, sizeof(facts));
    world_log(w, op->pod, op->key, "op %d returns: %s state %d version %" PRIu64 " content %d as_of %.6f",
              op->number, dcache_result_name(op->result), op->kind == CALL_GET ? (int)op->read_state : 0,
              op->got_version, op->content, (double)op->as_of / 1e9);
}

/* ---- reads -------------------------------------------------------------------------------------------------- */

static void read_done(struct op *op, const dcache_reading *reading)
{
    struct world *w = op->world;
    bool replaced = false;

    op->result = reading->result;
    op->read_state = reading->state;
    if (reading->result == DCACHE_OK || reading->result == DCACHE_ABSENT) {
        op->got_version = reading->version;
        op->as_of = os_process_from_boottime(client_host_process(op->host), reading->as_of_ns);
        op->age_ns = reading->age_ns;
    }
    op->content = reading->result == DCACHE_OK
                      ? world_content(w, slice_of(reading->value, reading->value_len), &replaced)
                      : -1;
    op_returned(op);
    if (reading->result == DCACHE_OK && replaced != (reading->replaced != 0))
        world_violate(w, "NOGARB", op->pod, op->key,
                      "op %d: a replaced value is not marked, or the other way round", op->number);
    check_read_return(w, op);
    if (op->result == DCACHE_OK && op->read_state == DCACHE_STATE_FRESH)
        learn(w, op);
    if (op->probing && check_converged(w, op))
        w->pods[op->pod].converged[op->key] = true;
}

static void on_reading(void *ctx, const dcache_reading *reading)
{
    if (!os_dying() && ((struct op *)ctx)->state == OP_ASKED)
        read_done(ctx, reading);
}

static void read_options(const struct op *op, dcache_read_options *ret)
{
    *ret = (dcache_read_options){
        .size = sizeof(*ret),
        .strong = op->strong,
        .min_version = op->min_version,
        .epoch = op->min_version && op->min_epoch.text[0] ? op->min_epoch.text : NULL,
        .max_stale_ms = op->max_stale_ms,
        .timeout_ms = op->timeout_ms,
    };
}

static void ask_get(struct op *op, dcache *cache)
{
    const char *key = op->world->keys[op->key];
    dcache_read_options options;
    dcache_result r;

    read_options(op, &options);
    r = dcache_get_async(cache, key, strlen(key), &options, on_reading, op);
    if (r != DCACHE_OK)
        read_done(op, &(dcache_reading){.result = r, .source = ""});
}

static void ask_mget(struct op *first, dcache *cache)
{
    struct world *w = first->world;
    dcache_reading readings[SIM_CLIENT_KEYS + 1];
    dcache_key keys[SIM_CLIENT_KEYS + 1];
    dcache_read_options options;
    int count = first->group;

    for (int i = 0; i < count; i++) {
        struct op *op = w->ops[first->number + i];

        keys[i] = (dcache_key){w->keys[op->key], strlen(w->keys[op->key])};
        op->state = OP_ASKED;
        op->invoked_at = world_now(w);
        if (i)
            op_log_asked(op);
    }
    read_options(first, &options);
    dcache_mget(cache, keys, (size_t)count, &options, readings);
    for (int i = 0; i < count && !os_dying(); i++)
        read_done(w->ops[first->number + i], &readings[i]);
}

/* ---- writes ------------------------------------------------------------------------------------------------- */

static void write_done(struct op *op, const dcache_written *written)
{
    struct world *w = op->world;

    op->result = written->result;
    op->got_version = written->version;
    op->got_seq = written->seq;
    memcpy(op->got_epoch.text, written->epoch, sizeof(op->got_epoch.text));
    op_returned(op);
    check_write_return(w, op);
    if (op->result == DCACHE_E_INDETERMINATE) {
        w->statistics->indeterminate++;
        calls_retry_later(w, op);
    } else if (op->result == DCACHE_LOCAL) {
        calls_repeat(w, op);
    }
    if (op->kind == CALL_CLEAR || (op->result != DCACHE_OK && op->result != DCACHE_DUPLICATE))
        return;
    learn(w, op);
    w->last_write[op->key] = op->number;
}

static void on_written(void *ctx, const dcache_written *written)
{
    if (!os_dying() && ((struct op *)ctx)->state == OP_ASKED)
        write_done(ctx, written);
}

static void ask_write(struct op *op, dcache *cache)
{
    struct world *w = op->world;
    const char *key = w->keys[op->key];
    dcache_write_options options = {
        .size = sizeof(options),
        .version = op->version,
        .has_ttl = op->has_ttl,
        .ttl_ms = op->ttl_ms,
        .invalidate = op->invalidate,
        .timeout_ms = op->timeout_ms,
        .write_id = op->write_id,
        .retry = op->retry,
    };
    dcache_result r;

    if (op->kind == CALL_SET)
        r = dcache_set_async(cache, key, strlen(key), w->contents[op->content]->bytes + 1,
                             w->contents[op->content]->len, &options, on_written, op);
    else
        r = dcache_delete_async(cache, key, strlen(key), &options, on_written, op);
    if (r != DCACHE_OK)
        write_done(op, &(dcache_written){.result = r});
}

static void ask_clear(struct op *op, dcache *cache)
{
    dcache_written written = {.result = DCACHE_E_INTERNAL};

    written.result = dcache_clear(cache, &written);
    if (!os_dying())
        write_done(op, &written);
}

void calls_ask(void *arg)
{
    struct op *op = arg;
    dcache *cache = client_host_handle(op->host, op->handle);

    if (os_dying() || op->state != OP_POSTED)
        return;
    op->state = OP_ASKED;
    op->invoked_at = world_now(op->world);
    op_log_asked(op);
    if (op->kind == CALL_CLEAR)
        ask_clear(op, cache);
    else if (op->kind != CALL_GET)
        ask_write(op, cache);
    else if (op->group > 0)
        ask_mget(op, cache);
    else
        ask_get(op, cache);
}
