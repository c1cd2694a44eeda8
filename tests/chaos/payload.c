#include "tests/chaos/payload.h"

#include <string.h>

#include "tests/chaos/history.h"

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Eight bytes of the pattern; different for every write, key, length and place. */
static uint64_t pattern(uint64_t seed, size_t at)
{
    return mix(seed + at * UINT64_C(0x9e3779b97f4a7c15));
}

static uint64_t seed_of(size_t len, uint32_t key, uint64_t number, uint64_t version)
{
    return mix(number) ^ mix(version + 1) ^ mix((uint64_t)key << 32 | (uint32_t)len);
}

void payload_make(uint8_t *ret, size_t len, uint32_t key, uint64_t number, uint64_t version)
{
    uint64_t seed = seed_of(len, key, number, version), word;

    memcpy(ret, "DCv1", 4);
    memcpy(ret + 4, &key, 4);
    memcpy(ret + 8, &number, 8);
    memcpy(ret + 16, &version, 8);
    for (size_t at = 24; at < len; at += 8) {
        word = pattern(seed, at);
        memcpy(ret + at, &word, len - at < 8 ? len - at : 8);
    }
}

bool payload_verify(const uint8_t *data, size_t len, uint32_t key, uint64_t version, uint64_t *ret_number)
{
    uint64_t number, written, seed, word;
    uint32_t its_key;

    *ret_number = 0;
    if (len < PAYLOAD_MIN || len > PAYLOAD_MAX || memcmp(data, "DCv1", 4) != 0)
        return false;
    memcpy(&its_key, data + 4, 4);
    memcpy(&number, data + 8, 8);
    memcpy(&written, data + 16, 8);
    *ret_number = number & NUMBER_MASK;
    if (its_key != key || number > NUMBER_MASK || (written && written != version))
        return false;
    seed = seed_of(len, key, number, written);
    for (size_t at = 24; at < len; at += 8) {
        word = pattern(seed, at);
        if (memcmp(data + at, &word, len - at < 8 ? len - at : 8) != 0)
            return false;
    }
    return true;
}
