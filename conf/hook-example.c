/*
 * An example for `[cache] on_set_local_cache`: it keeps empty values out of the pod's cache, and upper-cases the
 * values of keys that begin with "upper:". Build it outside of this project with
 *
 *     cc -shared -fPIC -o hook-example.so hook-example.c
 *
 * and name the result, by its absolute path, in dcached.conf. dcache/hook.h says what a hook may and may not do.
 */
#include <stdlib.h>
#include <string.h>

#include <dcache/hook.h>

static unsigned char *buffer; /* holds the last replacement until the next call */
static size_t buffer_size;

static int reserve(size_t size)
{
    if (size <= buffer_size)
        return 1;
    unsigned char *larger = realloc(buffer, size);
    if (!larger)
        return 0;
    buffer = larger;
    buffer_size = size;
    return 1;
}

/* ASCII only: toupper would follow the locale of the daemon. */
static unsigned char upper(unsigned char c)
{
    return c >= 'a' && c <= 'z' ? (unsigned char)(c - 'a' + 'A') : c;
}

static int on_set(struct dcache_hook_set *set)
{
    static const char prefix[] = "upper:";
    if (set->value_len == 0)
        return DCACHE_HOOK_REJECT;
    if (set->key_len < sizeof prefix - 1 || memcmp(set->key, prefix, sizeof prefix - 1) != 0)
        return DCACHE_HOOK_KEEP;
    if (!reserve(set->value_len)) /* the value as it is would break what readers of these keys rely on */
        return DCACHE_HOOK_REJECT;

    const unsigned char *value = set->value;
    for (size_t i = 0; i < set->value_len; i++)
        buffer[i] = upper(value[i]);
    set->replacement = buffer;
    set->replacement_len = set->value_len;
    return DCACHE_HOOK_REPLACE;
}

static void deinit(void)
{
    free(buffer);
    buffer = NULL;
    buffer_size = 0;
}

/* The daemon looks this symbol up: it has to be visible even under -fvisibility=hidden. */
__attribute__((visibility("default"))) extern const struct dcache_hook dcache_hook;

const struct dcache_hook dcache_hook = {
    .abi = DCACHE_HOOK_ABI,
    .on_set = on_set,
    .deinit = deinit,
};
