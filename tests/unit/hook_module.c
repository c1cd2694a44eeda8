/* Shared objects for test_hook.c: one source, one module per VARIANT. */
#include <stdlib.h>
#include <string.h>

#include <dcache/hook.h>

enum { GOOD, NO_SYMBOL, OTHER_ABI, NO_ON_SET, INIT_REFUSES };

extern char hook_module_state[];
__attribute__((visibility("default"))) char hook_module_state[64]; /* what init and deinit left, for the test */

/* The first byte of the value says what to answer. */
__attribute__((unused)) static int on_set(struct dcache_hook_set *set)
{
    const char *value = set->value;
    if (set->size != sizeof *set || set->value_len == 0)
        return DCACHE_HOOK_REJECT;
    switch (value[0]) {
    case 'k':
        return DCACHE_HOOK_KEEP;
    case 's': /* a replacement that says what was seen of source, version and local */
        if (set->version != 7 || !set->local)
            return DCACHE_HOOK_REJECT;
        set->replacement_len = strlen(set->source);
        strncpy(hook_module_state, set->source, sizeof hook_module_state - 1);
        set->replacement = hook_module_state;
        return DCACHE_HOOK_REPLACE;
    case 'n':
        set->replacement_len = 5;
        return DCACHE_HOOK_REPLACE;
    case 'e':
        return DCACHE_HOOK_REPLACE;
    case 'l':
        set->replacement = hook_module_state;
        set->replacement_len = sizeof hook_module_state;
        return DCACHE_HOOK_REPLACE;
    default:
        return value[0] == 'u' ? 17 : DCACHE_HOOK_REJECT;
    }
}

__attribute__((unused)) static int init(const char *pod_id)
{
    return strcmp(pod_id, "pod-1") != 0 || VARIANT == INIT_REFUSES ? 42 : 0;
}

__attribute__((unused)) static void deinit(void)
{
    setenv("HOOK_MODULE_DEINIT", "1", 1);
}

#if VARIANT != 1
__attribute__((visibility("default"))) extern const struct dcache_hook dcache_hook;
const struct dcache_hook dcache_hook = {
    .abi = VARIANT == OTHER_ABI ? DCACHE_HOOK_ABI + 1 : DCACHE_HOOK_ABI,
    .init = init,
    .on_set = VARIANT == NO_ON_SET ? NULL : on_set,
    .deinit = deinit,
};
#endif
