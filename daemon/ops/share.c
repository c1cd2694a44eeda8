/* What each client has under way of the limits that all share. */
#include <stdlib.h>

#include "daemon/ops/internal.h"

static bool shares_grow(struct ops *ops, uint32_t index)
{
    uint32_t count = ops->share_count ? ops->share_count : 16;
    struct share *shares;

    while (count <= index && count < 1u << 31)
        count *= 2;
    shares = realloc(ops->shares, count * sizeof(*shares));
    if (!shares)
        return false;
    memset(shares + ops->share_count, 0, (count - ops->share_count) * sizeof(*shares));
    ops->shares = shares;
    ops->share_count = count;
    return true;
}

/* A client that is gone can have calls under way still; its place may be another's by now. */
struct share *share_of(const struct ops *ops, uint64_t client)
{
    uint32_t index = (uint32_t)client;

    return index < ops->share_count && ops->shares[index].client == client ? &ops->shares[index] : NULL;
}

bool share_begin(struct ops *ops, uint64_t client)
{
    uint32_t index = (uint32_t)client;

    if (index >= ops->share_count && !shares_grow(ops, index))
        return false;
    if (ops->shares[index].client != client)
        ops->shares[index] = (struct share){.client = client};
    return true;
}

void share_release(struct ops *ops, uint64_t client, uint32_t calls, size_t gather_bytes, size_t write_bytes)
{
    struct share *share = share_of(ops, client);

    if (!share)
        return;
    share->calls -= calls;
    share->gather_bytes -= gather_bytes;
    share->write_bytes -= write_bytes;
}

bool share_is_used_up(struct ops *ops, uint64_t client)
{
    const struct share *share = share_of(ops, client);

    if (!share || (share->calls <= OPS_CALLS_SHARE && share->write_bytes <= ops->gather_max / 2))
        return false;
    ops->counters.share_used_up++;
    return true;
}

bool share_gathers(struct ops *ops, uint64_t client, size_t bytes)
{
    const struct share *share = share_of(ops, client);

    if (ops->gather_bytes + bytes > ops->gather_max)
        return false;
    if (!share || share->gather_bytes + bytes <= ops->gather_max / 2)
        return true;
    ops->counters.share_used_up++;
    return false;
}
