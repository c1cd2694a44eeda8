/* The table of keys, the shipped file and the manual page say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/host/config.h"

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyz_"

static char text[64 * 1024];

static void read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    assert_true(len > 0 && len < sizeof text - 1);
    text[len] = '\0';
    fclose(file);
}

static char *print(const struct config *config)
{
    char *printed = NULL;
    size_t len;
    FILE *to = open_memstream(&printed, &len);
    config_print(config, NULL, to);
    fclose(to);
    return printed;
}

/* The effective configuration as text, owned by the caller; the file has to be good and free of warnings. */
static char *effective(const char *content)
{
    struct config config = {0};
    struct config_report report = {0};
    struct config_source source = {.path = "conf", .text = content, .text_len = strlen(content)};
    if (config_load(&config, &source, &report) != CONFIG_OK)
        fail_msg("%s", report.errors[0]);
    assert_int_equal(report.warning_count, 0);
    char *printed = print(&config);
    config_deinit(&config);
    config_report_deinit(&report);
    return printed;
}

/*
 * Compares lines of the form PREFIX name SUFFIX = default, below lines that end in "[section]", with the table, in
 * order: each key once, with its default, and no other.
 */
static void assert_lists_the_table(const char *prefix, const char *suffix)
{
    char section[64] = "";
    size_t index = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (sscanf(line, "## [%60[a-z]]", section) == 1 || sscanf(line, "[%60[a-z]]", section) == 1)
            continue;
        size_t name_len = 0, prefix_len = strlen(prefix), suffix_len = strlen(suffix);
        if (strncmp(line, prefix, prefix_len) == 0)
            name_len = strspn(line + prefix_len, NAME_CHARACTERS);
        const char *rest = line + prefix_len + name_len;
        if (name_len == 0 || strncmp(rest, suffix, suffix_len) != 0 || strncmp(rest + suffix_len, " =", 2) != 0)
            continue;
        const struct config_key *key = config_key_at(index++);
        if (!key)
            fail_msg("listed, but not in the table: %s", line);
        char expected[CONFIG_VALUE_MAX];
        snprintf(expected, sizeof expected, "%s%s%s =%s%s", prefix, key->name, suffix,
                 *key->default_text ? " " : "", key->default_text);
        assert_string_equal(line, expected);
        assert_string_equal(section, key->section);
    }
    if (index != config_key_count())
        fail_msg("not listed: [%s] %s", config_key_at(index)->section, config_key_at(index)->name);
}

static void the_shipped_file_lists_every_key_at_its_default(void **state)
{
    (void)state;
    read_text(SHIPPED_FILE);
    assert_lists_the_table(";", "");
}

static void the_shipped_file_with_every_key_enabled_is_the_defaults(void **state)
{
    (void)state;
    read_text(SHIPPED_FILE);
    char *defaults = effective(""), *shipped = effective(text);
    assert_string_equal(shipped, defaults);
    free(shipped);
    for (char *line = text; line; line = strchr(line + 1, '\n')) {
        char *start = line + (*line == '\n');
        size_t name_len = start[0] == ';' ? strspn(start + 1, NAME_CHARACTERS) : 0;
        if (name_len && strncmp(start + 1 + name_len, " =", 2) == 0)
            memmove(start, start + 1, strlen(start));
    }
    assert_non_null(strstr(text, "\nbound = 1s\n"));
    shipped = effective(text);
    assert_string_equal(shipped, defaults);
    free(shipped);
    free(defaults);
}

static void the_seed_of_the_fuzzer_lists_every_key_at_its_default_and_is_good(void **state)
{
    (void)state;
    read_text(FUZZ_SEED);
    char *defaults = effective(""), *seed = effective(text);
    assert_string_equal(seed, defaults);
    free(seed);
    free(defaults);
    assert_lists_the_table("", "");
}

static void the_manual_page_lists_every_key_at_its_default(void **state)
{
    (void)state;
    read_text(MANUAL_PAGE);
    assert_lists_the_table("*", "*");
}

static void the_manual_page_marks_the_keys_that_change_on_sighup(void **state)
{
    (void)state;
    char section[64] = "";
    int index = -1;
    bool marked[CONFIG_KEY_MAX] = {false};
    read_text(MANUAL_PAGE);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[64];
        if (sscanf(line, "## [%60[a-z]]", section) == 1 || line[0] == '#')
            index = -1;
        else if (sscanf(line, "*%60[a-z_]* =", name) == 1)
            index = config_key_find(section, name);
        else if (strcmp(line, "\t_(SIGHUP)_") == 0 && index >= 0)
            marked[index] = true;
    }
    for (size_t i = 0; i < config_key_count(); i++)
        if (marked[i] != config_key_at(i)->live)
            fail_msg("[%s] %s is %s live", config_key_at(i)->section, config_key_at(i)->name,
                     config_key_at(i)->live ? "" : "not");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_file_lists_every_key_at_its_default),
        cmocka_unit_test(the_shipped_file_with_every_key_enabled_is_the_defaults),
        cmocka_unit_test(the_seed_of_the_fuzzer_lists_every_key_at_its_default_and_is_good),
        cmocka_unit_test(the_manual_page_lists_every_key_at_its_default),
        cmocka_unit_test(the_manual_page_marks_the_keys_that_change_on_sighup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
