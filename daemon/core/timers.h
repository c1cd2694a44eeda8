/* Deadlines, earliest first: a binary heap of fixed capacity over timers that live in their owners. */
#ifndef DCACHED_CORE_TIMERS_H
#define DCACHED_CORE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t at;
    size_t place; /* 1-based place in the heap; 0: not armed */
};

struct timers {
    struct timer **heap; /* heap[0] is unused */
    size_t count, capacity;
};

int timers_init(struct timers *timers, size_t capacity); /* 0 or -ENOMEM */
void timers_deinit(struct timers *timers);
/* Arms an unarmed timer. The caller keeps count <= capacity. */
void timers_arm(struct timers *timers, struct timer *timer, uint64_t at);
void timers_disarm(struct timers *timers, struct timer *timer); /* fine if it is not armed */
struct timer *timers_first(const struct timers *timers);        /* NULL if there is none */

#endif
