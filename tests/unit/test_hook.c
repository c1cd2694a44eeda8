#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/host/hook.h"

static const char *module_dir; /* argv[1]: where hook_module_*.so are */
static const char *example;    /* argv[2]: hook-example.so */
static char error[512];

static int load_module(const char *variant, struct hook **ret)
{
    char path[512];
    snprintf(path, sizeof path, "%s/hook_module_%s.so", module_dir, variant);
    error[0] = '\0';
    return hook_load(ret, path, "pod-1", 32, error, sizeof error);
}

static enum hook_verdict call(struct hook *hook, const char *key, const char *value, struct slice *ret)
{
    *ret = slice_of(NULL, 0);
    return hook_on_set(hook, slice_text(key), slice_text(value), 7, slice_text("writer-1"), true, ret);
}

static void assert_unusable(const char *variant, const char *cause)
{
    struct hook *hook = NULL;
    assert_int_equal(load_module(variant, &hook), HOOK_UNUSABLE);
    assert_null(hook);
    if (!strstr(error, cause))
        fail_msg("error is \"%s\"; wanted \"%s\"", error, cause);
}

static void an_unusable_object_is_refused_with_its_cause(void **state)
{
    (void)state;
    struct hook *hook;
    assert_unusable("absent", "cannot load the hook: ");
    assert_unusable("1", "exports no symbol dcache_hook");
    assert_unusable("2", "has hook ABI 2, this daemon has 1");
    assert_unusable("3", "on_set is not set");
    assert_unusable("4", "init refused to start with 42");
    assert_int_equal(hook_load(&hook, "hook.so", "p", 32, error, sizeof error), HOOK_UNUSABLE);
    assert_non_null(strstr(error, "has to be absolute"));
    assert_int_equal(hook_load(&hook, "/etc/passwd", "p", 32, error, sizeof error), HOOK_UNUSABLE);
    assert_non_null(strstr(error, "cannot load the hook: "));
}

static void verdicts_are_passed_on_and_unknown_ones_reject(void **state)
{
    (void)state;
    struct hook *hook;
    struct slice value;
    assert_int_equal(load_module("0", &hook), HOOK_LOADED);
    assert_int_equal(call(hook, "k", "keep", &value), HOOK_KEEP);
    assert_int_equal(call(hook, "k", "", &value), HOOK_REJECT);
    assert_int_equal(call(hook, "k", "reject", &value), HOOK_REJECT);
    assert_int_equal(call(hook, "k", "unknown number", &value), HOOK_REJECT);
    assert_null(value.data);
    hook_unload(hook);
}

static void the_hook_sees_source_version_and_local(void **state)
{
    (void)state;
    struct hook *hook;
    struct slice value;
    assert_int_equal(load_module("0", &hook), HOOK_LOADED);
    assert_int_equal(call(hook, "k", "see", &value), HOOK_REPLACE);
    assert_true(slice_equal(value, slice_text("writer-1")));
    /* A source is at most SOURCE_MAX bytes and arrives NUL-terminated even if it were longer; none is "". */
    char source[100];
    memset(source, 's', sizeof source);
    assert_int_equal(
        hook_on_set(hook, slice_text("k"), slice_text("see"), 7, slice_of(source, sizeof source), true, &value),
        HOOK_REJECT); /* 63 bytes of replacement, and 32 are allowed here */
    assert_int_equal(hook_on_set(hook, slice_text("k"), slice_text("see"), 7, slice_of(NULL, 0), true, &value),
                     HOOK_REPLACE);
    assert_int_equal(value.len, 0);
    hook_unload(hook);
}

static void a_replacement_without_bytes_or_above_max_value_rejects(void **state)
{
    (void)state;
    struct hook *hook;
    struct slice value;
    assert_int_equal(load_module("0", &hook), HOOK_LOADED);
    assert_int_equal(call(hook, "k", "null with a length", &value), HOOK_REJECT);
    assert_int_equal(call(hook, "k", "long", &value), HOOK_REJECT);
    assert_null(value.data);
    assert_int_equal(call(hook, "k", "empty", &value), HOOK_REPLACE);
    assert_int_equal(value.len, 0);
    hook_unload(hook);
}

static void unloading_calls_deinit_once(void **state)
{
    (void)state;
    struct hook *hook;
    unsetenv("HOOK_MODULE_DEINIT");
    assert_unusable("4", "init refused"); /* what was not initialised is not deinitialised */
    assert_null(getenv("HOOK_MODULE_DEINIT"));
    assert_int_equal(load_module("0", &hook), HOOK_LOADED);
    hook_unload(hook);
    assert_non_null(getenv("HOOK_MODULE_DEINIT"));
    hook_unload(NULL);
}

static void the_example_refuses_empty_values_and_upper_cases(void **state)
{
    (void)state;
    struct hook *hook;
    struct slice value;
    assert_int_equal(hook_load(&hook, example, "pod-1", 1024, error, sizeof error), HOOK_LOADED);
    assert_int_equal(call(hook, "upper:x", "", &value), HOOK_REJECT);
    assert_int_equal(call(hook, "other", "abc", &value), HOOK_KEEP);
    assert_int_equal(call(hook, "upper:x", "abC\xc3\xa4z1", &value), HOOK_REPLACE);
    assert_true(slice_equal(value, slice_text("ABC\xc3\xa4Z1")));
    hook_unload(hook);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    module_dir = argv[1];
    example = argv[2];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unusable_object_is_refused_with_its_cause),
        cmocka_unit_test(verdicts_are_passed_on_and_unknown_ones_reject),
        cmocka_unit_test(the_hook_sees_source_version_and_local),
        cmocka_unit_test(a_replacement_without_bytes_or_above_max_value_rejects),
        cmocka_unit_test(unloading_calls_deinit_once),
        cmocka_unit_test(the_example_refuses_empty_values_and_upper_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
