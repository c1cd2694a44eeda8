#include "client/clock.h"

#include <limits.h>
#include <time.h>

uint64_t clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void clock_map_reset(struct clock_map *map)
{
    *map = (struct clock_map){0};
}

void clock_map_learn(struct clock_map *map, uint64_t sent_ns, uint64_t received_ns, uint64_t daemon_ns)
{
    uint64_t offset = daemon_ns - sent_ns, offset_min = daemon_ns - received_ns;

    /* Signed comparison of the differences: offsets of either sign wrap alike. */
    if (!map->known || (int64_t)(offset - map->offset_ns) < 0)
        map->offset_ns = offset;
    if (!map->known || (int64_t)(offset_min - map->offset_min_ns) > 0)
        map->offset_min_ns = offset_min;
    map->known = true;
}

uint64_t clock_map_here(const struct clock_map *map, uint64_t daemon_ns)
{
    return daemon_ns - map->offset_ns;
}

uint64_t clock_map_there(const struct clock_map *map, uint64_t here_ns)
{
    return here_ns + map->offset_min_ns;
}

bool clock_is_fresh(uint64_t now_ns, uint64_t as_of_ns, uint64_t limit_ns, uint64_t *ret_age_ns)
{
    if (as_of_ns > now_ns) {
        *ret_age_ns = 0;
        return false;
    }
    *ret_age_ns = now_ns - as_of_ns;
    return *ret_age_ns <= limit_ns;
}

int clock_ms_until(uint64_t now_ns, uint64_t deadline_ns)
{
    uint64_t ms;

    if (deadline_ns <= now_ns)
        return 0;
    ms = (deadline_ns - now_ns - 1) / NS_PER_MS + 1;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}
