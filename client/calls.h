/*
 * From the arguments of a call to a request; for sync.c and async.c alike. Arguments are checked here; what
 * only the daemon can know (limits on keys and values) is left to it.
 */
#ifndef DCACHED_CLIENT_CALLS_H
#define DCACHED_CLIENT_CALLS_H

#include "client/handle.h"

/* DCACHE_OK, or DCACHE_E_INVALID with its text. */
dcache_result call_check_key(dcache *cache, const void *key, size_t key_len);
dcache_result call_check_value(dcache *cache, const void *value, size_t value_len);

/* Kind, deadline (timeout_ms 0: the handle's). */
void call_start(dcache *cache, struct request *request, enum request_kind kind, uint32_t timeout_ms);
/* `epoch` of the options is borrowed. */
void call_set_read(struct request *request, const dcache_read_options *options);
/* Draws a write id unless the options name one; ret_write_id gets it either way. */
void call_set_write(struct proto_write *write, const dcache_write_options *options, struct slice key,
                    struct slice value, uint8_t ret_write_id[PROTO_WRITE_ID_BYTES]);

#endif
