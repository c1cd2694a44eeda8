/*
 * Loads the shared object of `[cache] on_set_local_cache` (client/include/dcache/hook.h) and adapts its hook to
 * core_config.hook.
 */
#ifndef DCACHED_HOST_HOOK_H
#define DCACHED_HOST_HOOK_H

#include "daemon/core/core.h"

struct hook;

enum {
    HOOK_LOADED = 0,
    HOOK_UNUSABLE = 1, /* error holds one sentence: cause and, where there is one, remedy */
};

/*
 * path is absolute. max_value: a longer replacement counts as REJECT. Calls the object's init(pod_id). 0,
 * HOOK_UNUSABLE or -ENOMEM.
 */
int hook_load(struct hook **ret, const char *path, const char *pod_id, size_t max_value, char *error,
              size_t error_size);

/* Calls the object's deinit. NULL is fine. */
void hook_unload(struct hook *hook);

/* For core_config.hook, with the struct hook as hook_ctx. */
enum hook_verdict hook_on_set(void *ctx, struct slice key, struct slice value, uint64_t version,
                              struct slice source, bool local, struct slice *ret_value);

#endif
