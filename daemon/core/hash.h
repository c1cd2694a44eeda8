/*
 * SipHash-1-3: a keyed hash of 64 bits. Who does not know the secret cannot choose keys that collide.
 * Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012, with one round per word and three at the end.
 */
#ifndef DCACHED_CORE_HASH_H
#define DCACHED_CORE_HASH_H

#include "daemon/core/types.h"

#define HASH_SECRET_BYTES 16

uint64_t hash_bytes(const uint8_t secret[HASH_SECRET_BYTES], struct slice bytes);

#endif
