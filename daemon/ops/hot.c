#include "daemon/ops/hot.h"

#include <stdlib.h>

static void hot_halve(struct hot *hot, uint64_t now)
{
    if (hot->halved_at == 0 || now < hot->halved_at)
        hot->halved_at = now;
    for (; now - hot->halved_at >= hot->half_life_ns && hot->total > 0; hot->halved_at += hot->half_life_ns) {
        hot->total /= 2;
        for (unsigned i = 0; i < HOT_KEYS; i++) {
            struct hot_key *key = &hot->keys[i];

            key->count /= 2;
            key->error /= 2;
            if (key->count == 0)
                key->len = 0;
        }
    }
    if (hot->total == 0)
        hot->halved_at = now;
}

void hot_add(struct hot *hot, struct slice key, uint64_t now)
{
    struct hot_key *least = &hot->keys[0];
    uint32_t len = key.len < HOT_KEY_BYTES ? (uint32_t)key.len : HOT_KEY_BYTES;

    if (len == 0)
        return;
    hot_halve(hot, now);
    hot->total++;
    for (unsigned i = 0; i < HOT_KEYS; i++) {
        struct hot_key *place = &hot->keys[i];

        if (place->len == len && memcmp(place->bytes, key.data, len) == 0) {
            place->count++;
            return;
        }
        if (place->count < least->count)
            least = place;
    }
    least->error = least->count++;
    least->len = len;
    memcpy(least->bytes, key.data, len);
}

static int by_count(const void *a, const void *b)
{
    const struct hot_key *x = a, *y = b;

    return (x->count < y->count) - (x->count > y->count);
}

unsigned hot_sort(struct hot *hot, uint64_t now)
{
    unsigned count = 0;

    hot_halve(hot, now);
    qsort(hot->keys, HOT_KEYS, sizeof(hot->keys[0]), by_count);
    while (count < HOT_KEYS && hot->keys[count].count > 0)
        count++;
    return count;
}
