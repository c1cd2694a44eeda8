/* Loading a configuration from a text and looking at what came of it; for the tests of config. */
#ifndef DCACHED_TESTS_CONFIG_FIXTURE_H
#define DCACHED_TESTS_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/host/config.h"

#define NAME "test.conf"

static struct config config;
static struct config_report report;
static char dir[] = "/tmp/dcached-config-XXXXXX";

__attribute__((unused)) static void forget(void)
{
    config_deinit(&config);
    config_report_deinit(&report);
}

__attribute__((unused)) static int load_bytes(const char *text, size_t len, char *const *env)
{
    forget();
    struct config_source source = {.path = NAME, .text = text, .text_len = len, .env = env};
    return config_load(&config, &source, &report);
}

__attribute__((unused)) static int load_env(const char *text, const char *entry)
{
    char *const env[] = {(char *)(uintptr_t)entry, NULL};
    return load_bytes(text, strlen(text), env);
}

__attribute__((unused)) static int load(const char *text)
{
    return load_bytes(text, strlen(text), NULL);
}

__attribute__((unused)) static int load_file(const char *path, bool required)
{
    forget();
    struct config_source source = {.path = path, .required = required};
    return config_load(&config, &source, &report);
}

__attribute__((unused)) static void assert_error(size_t index, const char *part)
{
    if (index >= report.error_count)
        fail_msg("no error %zu; wanted \"%s\"", index, part);
    if (!strstr(report.errors[index], part))
        fail_msg("error is \"%s\"; wanted \"%s\"", report.errors[index], part);
}

__attribute__((unused)) static void assert_loads(const char *text)
{
    if (load(text) != CONFIG_OK)
        fail_msg("refused: %s: %s", text, report.error_count ? report.errors[0] : "?");
}

__attribute__((unused)) static void assert_refused(const char *text, const char *part)
{
    if (load(text) != CONFIG_INVALID)
        fail_msg("accepted: %s", text);
    assert_error(0, part);
    assert_null(config.pod.id); /* nothing is taken over */
}

__attribute__((unused)) static const char *in_dir(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

__attribute__((unused)) static const char *write_file(const char *name, const char *text, mode_t mode)
{
    const char *path = in_dir(name);
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

__attribute__((unused)) static const char *format(const char *format_, const char *argument)
{
    static char text[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, format_, argument);
#pragma GCC diagnostic pop
    return text;
}

__attribute__((unused)) static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

__attribute__((unused)) static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"good", "bad", "password", "redis-password", "fifo"};
    forget();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_dir(names[i]));
    return rmdir(dir);
}

#endif
