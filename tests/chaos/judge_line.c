#include <stdlib.h>
#include <string.h>

#include "tests/chaos/judge.h"

/* Only the last of those that nobody will ask about separately any more. */
static void line_prune(struct line *l, uint64_t before)
{
    uint32_t keep = 0;

    while (keep + 1 < l->count && l->demands[keep + 1].at < before)
        keep++;
    l->count -= keep;
    memmove(l->demands, l->demands + keep, l->count * sizeof(*l->demands));
}

void line_push(struct line *l, struct demand d, uint64_t horizon_ns)
{
    struct demand *last = l->count ? &l->demands[l->count - 1] : NULL;

    if (last && last->epoch == d.epoch && last->order >= d.order)
        return;
    if (l->count == l->room && l->room >= 16)
        line_prune(l, d.at > horizon_ns ? d.at - horizon_ns : 0);
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 4;
        l->demands = realloc(l->demands, l->room * sizeof(*l->demands));
        if (!l->demands)
            abort();
    }
    l->demands[l->count++] = d;
}

const struct demand *line_before(const struct line *l, uint64_t before)
{
    for (uint32_t i = l->count; i-- > 0;) {
        if (l->demands[i].at < before)
            return &l->demands[i];
    }
    return NULL;
}
