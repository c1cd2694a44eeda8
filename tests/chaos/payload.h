/*
 * What the load writes: bytes that say who wrote them for which key, and that can be made again from that.
 *
 *     4 "DCv1"   4 key   8 number of the write   8 version (0: auto)   n pattern made from all of that
 */
#ifndef DCACHED_CHAOS_PAYLOAD_H
#define DCACHED_CHAOS_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_MIN 32
#define PAYLOAD_MAX 65536

void payload_make(uint8_t *ret, size_t len, uint32_t key, uint64_t number, uint64_t version);
/* True if every byte is what payload_make makes for this key and this length; version is compared unless the write
 * was of an auto version. */
bool payload_verify(const uint8_t *data, size_t len, uint32_t key, uint64_t version, uint64_t *ret_number);

#endif
