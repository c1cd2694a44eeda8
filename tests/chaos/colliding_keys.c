/*
 * colliding_keys COUNT: prints COUNT keys, one per line, that all fall on one of 4096 buckets under hash_bytes
 * with a secret of zeros: what somebody who knows the function, but not the secret, can prepare.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/hash.h"

#define BUCKET_MASK 4095

int main(int argc, char **argv)
{
    static const uint8_t secret[HASH_SECRET_BYTES];
    unsigned long wanted = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    char key[32];

    for (uint64_t n = 0; wanted > 0; n++) {
        int len = snprintf(key, sizeof(key), "collide:%012" PRIu64, n);
        if (hash_bytes(secret, slice_of((const uint8_t *)key, (size_t)len)) & BUCKET_MASK)
            continue;
        puts(key);
        wanted--;
    }
    return argc == 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}
