/*
 * Looking into the packed maps that the daemon answers with. A key that is missing or of another type gives the
 * empty value of its type: an older daemon says less, and what it says is still shown.
 */
#ifndef DCACHED_DCACHECTL_MAP_H
#define DCACHED_DCACHECTL_MAP_H

#include "proto/cursor.h"

/* The value under `name` as a cursor at it; at the end of input if there is none. */
struct cursor map_find(struct slice map, const char *name);

bool map_has(struct slice map, const char *name); /* there, and not nil */
uint64_t map_uint(struct slice map, const char *name);
bool map_bool(struct slice map, const char *name);
struct slice map_bytes(struct slice map, const char *name); /* str or bin */
struct slice map_map(struct slice map, const char *name);   /* empty slice: none */

#endif
