/*
 * The threads of libuv's pool, in which names are looked up and the configuration is read anew. libuv makes them
 * with the first work it is given, and aborts if it gets none: so they are made at the start, where that costs no
 * cache.
 */
#ifndef DCACHED_HOST_POOL_H
#define DCACHED_HOST_POOL_H

/* 0: they run, until the process ends. -errno: there are not enough threads or memory for them. */
int pool_start(void);

#endif
