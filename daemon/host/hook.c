#include "daemon/host/hook.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/include/dcache/hook.h"

struct hook {
    void *object;
    const struct dcache_hook *hook;
    size_t max_value;
};

__attribute__((format(printf, 3, 4))) static int unusable(char *error, size_t error_size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, error_size, format, args);
    va_end(args);
    return HOOK_UNUSABLE;
}

static const char *dl_cause(void)
{
    const char *cause = dlerror();
    return cause ? cause : "no cause given";
}

/* What can be said about the object's table before anything of it runs. */
static int check_table(const struct dcache_hook *table, const char *path, char *error, size_t error_size)
{
    if (!table)
        return unusable(error, error_size,
                        "%s exports no symbol dcache_hook: see dcache/hook.h, and give it default visibility",
                        path);
    if (table->abi != DCACHE_HOOK_ABI)
        return unusable(error, error_size, "%s has hook ABI %u, this daemon has %u: build it again", path,
                        table->abi, (unsigned)DCACHE_HOOK_ABI);
    if (!table->on_set)
        return unusable(error, error_size, "%s: dcache_hook.on_set is not set", path);
    return HOOK_LOADED;
}

int hook_load(struct hook **ret, const char *path, const char *pod_id, size_t max_value, char *error,
              size_t error_size)
{
    if (path[0] != '/')
        return unusable(error, error_size, "%s: the path of a hook has to be absolute", path);
    struct hook *hook = calloc(1, sizeof *hook);
    if (!hook)
        return -ENOMEM;
    hook->max_value = max_value;

    /* All symbols now: an unresolved one ends the start, not the daemon at the first set. */
    hook->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!hook->object) {
        int r = unusable(error, error_size, "cannot load the hook: %s", dl_cause());
        free(hook);
        return r;
    }
    hook->hook = dlsym(hook->object, "dcache_hook");
    int r = check_table(hook->hook, path, error, error_size);
    if (r == HOOK_LOADED && hook->hook->init) {
        int refused = hook->hook->init(pod_id);
        if (refused)
            r = unusable(error, error_size, "%s: its init refused to start with %d", path, refused);
    }
    if (r != HOOK_LOADED) {
        dlclose(hook->object);
        free(hook);
        return r;
    }
    *ret = hook;
    return HOOK_LOADED;
}

void hook_unload(struct hook *hook)
{
    if (!hook)
        return;
    if (hook->hook->deinit)
        hook->hook->deinit();
    dlclose(hook->object);
    free(hook);
}

enum hook_verdict hook_on_set(void *ctx, struct slice key, struct slice value, uint64_t version,
                              struct slice source, bool local, struct slice *ret_value)
{
    struct hook *hook = ctx;
    char source_text[SOURCE_MAX + 1] = {0};
    if (source.len > 0) /* memcpy may not be given NULL */
        memcpy(source_text, source.data, source.len < SOURCE_MAX ? source.len : SOURCE_MAX);
    struct dcache_hook_set set = {
        .size = sizeof set,
        .key = key.data,
        .key_len = key.len,
        .value = value.data,
        .value_len = value.len,
        .version = version,
        .source = source_text,
        .local = local,
    };
    switch (hook->hook->on_set(&set)) {
    case DCACHE_HOOK_KEEP:
        return HOOK_KEEP;
    case DCACHE_HOOK_REPLACE:
        if (set.replacement_len > hook->max_value || (!set.replacement && set.replacement_len))
            return HOOK_REJECT;
        *ret_value = slice_of(set.replacement, set.replacement_len);
        return HOOK_REPLACE;
    default:
        return HOOK_REJECT;
    }
}
