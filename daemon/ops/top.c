/* top: the keys that are read most, and those of which stale data is rejected most. */
#include "daemon/ops/internal.h"
#include "daemon/ops/maps.h"

/* One read in about SAMPLE_MEAN is looked at. The distance varies, so that a pattern of clients is not mistaken
 * for frequency. A sample of a key that is not in the sketch took 1 us on a busy machine, so a read pays 8 ns at
 * most. Picked. */
#define SAMPLE_LEAST  64
#define SAMPLE_SPREAD 128
#define SAMPLE_MEAN   128

void top_sample_read(struct ops *ops, struct slice key, uint64_t now)
{
    uint8_t random;

    ops->config.random(ops->config.ctx, &random, sizeof(random));
    ops->read_countdown = SAMPLE_LEAST + random % SAMPLE_SPREAD;
    hot_add(&ops->hot_reads, key, now);
}

static void pack_hot(struct buffer *b, const char *name, const struct hot *hot, unsigned count)
{
    pack_text(b, name);
    pack_array(b, count);
    for (unsigned i = 0; i < count; i++) {
        const struct hot_key *key = &hot->keys[i];

        pack_map(b, 3);
        map_bin(b, "key", slice_of(key->bytes, key->len));
        map_uint(b, "count", key->count);
        map_uint(b, "error", key->error);
    }
}

void run_top(struct ops *ops, const struct request *request)
{
    const char *error = proto_decode_empty(request->params);
    unsigned reads, rejected;
    struct buffer *b;

    if (error) {
        answer_error(ops, request->client, request->id, RPC_INVALID, error);
        return;
    }
    ops->config.spend(ops->config.ctx, request->client, 16);
    reads = hot_sort(&ops->hot_reads, request->now);
    rejected = hot_sort(&ops->hot_rejected, request->now);
    b = answer_begin(ops, request->client, request->id);
    if (!b)
        return;
    pack_map(b, 5);
    map_uint(b, "sampled_every", SAMPLE_MEAN);
    map_uint(b, "hot_total", ops->hot_reads.total);
    pack_hot(b, "hot", &ops->hot_reads, reads);
    map_uint(b, "rejected_total", ops->hot_rejected.total);
    pack_hot(b, "rejected", &ops->hot_rejected, rejected);
    answer_end(ops, request->client);
}
