/*
 * The hook of `[cache] on_set_local_cache`: a shared object that sees every value before it enters the pod's
 * local cache. The StaleDetector decides first; the hook can refuse more, never less.
 *
 * The object exports one symbol of this type:
 *
 *     const struct dcache_hook dcache_hook = { .abi = DCACHE_HOOK_ABI, .on_set = my_on_set };
 *
 * on_set runs on the daemon's only thread: it has to return at once, must not block, and must not keep a
 * pointer that it was given. A crash in it is a crash of the daemon.
 */
#ifndef DCACHE_HOOK_H
#define DCACHE_HOOK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DCACHE_HOOK_ABI 1

/* What on_set answers. Any other number counts as REJECT. */
enum dcache_hook_verdict {
    DCACHE_HOOK_KEEP = 0,   /* cache the value as it is */
    DCACHE_HOOK_REJECT = 1, /* do not cache it: an older copy goes, the floor rises, readers fetch each time */
    DCACHE_HOOK_REPLACE = 2 /* cache *replacement instead; readings say `replaced`, verify leaves it out */
};

struct dcache_hook_set {
    size_t size; /* of this struct in the daemon; later versions append */
    const void *key;
    size_t key_len;
    const void *value;
    size_t value_len;
    uint64_t version;
    const char *source; /* pod that wrote it; NUL-terminated */
    int local;          /* this reader pod's own set */
    /* For REPLACE: has to stay valid until the next call of on_set. */
    const void *replacement;
    size_t replacement_len;
};

struct dcache_hook {
    uint32_t abi;                    /* DCACHE_HOOK_ABI */
    int (*init)(const char *pod_id); /* optional; non-zero: the daemon does not start */
    int (*on_set)(struct dcache_hook_set *set);
    void (*deinit)(void); /* optional */
};

#ifdef __cplusplus
}
#endif

#endif
