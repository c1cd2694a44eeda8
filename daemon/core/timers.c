#include "daemon/core/timers.h"

#include <errno.h>
#include <stdlib.h>

int timers_init(struct timers *timers, size_t capacity)
{
    timers->heap = calloc(capacity + 1, sizeof(struct timer *));
    timers->count = 0;
    timers->capacity = capacity;
    return timers->heap ? 0 : -ENOMEM;
}

void timers_deinit(struct timers *timers)
{
    free(timers->heap);
    timers->heap = NULL;
}

static void timers_place(struct timers *timers, size_t place, struct timer *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

static void timers_rise(struct timers *timers, size_t place, struct timer *timer)
{
    while (place > 1 && timers->heap[place / 2]->at > timer->at) {
        timers_place(timers, place, timers->heap[place / 2]);
        place /= 2;
    }
    timers_place(timers, place, timer);
}

static void timers_sink(struct timers *timers, size_t place, struct timer *timer)
{
    for (;;) {
        size_t child = 2 * place;
        if (child > timers->count)
            break;
        if (child < timers->count && timers->heap[child + 1]->at < timers->heap[child]->at)
            child++;
        if (timers->heap[child]->at >= timer->at)
            break;
        timers_place(timers, place, timers->heap[child]);
        place = child;
    }
    timers_place(timers, place, timer);
}

void timers_arm(struct timers *timers, struct timer *timer, uint64_t at)
{
    timer->at = at;
    timers_rise(timers, ++timers->count, timer);
}

void timers_disarm(struct timers *timers, struct timer *timer)
{
    size_t place = timer->place;

    if (place == 0)
        return;
    timer->place = 0;
    struct timer *last = timers->heap[timers->count--];
    if (last == timer)
        return;
    if (place > 1 && timers->heap[place / 2]->at > last->at)
        timers_rise(timers, place, last);
    else
        timers_sink(timers, place, last);
}

struct timer *timers_first(const struct timers *timers)
{
    return timers->count > 0 ? timers->heap[1] : NULL;
}
