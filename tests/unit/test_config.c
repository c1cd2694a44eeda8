#include "tests/unit/config_fixture.h"

/* ---- defaults and the table ----------------------------------------------------------------------------- */

static void an_empty_file_gives_the_documented_defaults(void **state)
{
    (void)state;
    assert_loads("");
    assert_string_equal(config.pod.id, "default-pod");
    assert_int_equal(config.pod.role, ROLE_WRITER);
    assert_true(config.pod.may_write);
    assert_string_equal(config.listen.socket, "/run/dcached/dcached.sock");
    assert_int_equal(config.listen.socket_mode, 0660);
    assert_int_equal(config.listen.gid, (gid_t)-1);
    assert_string_equal(config.redis.host, "localhost");
    assert_int_equal(config.redis.port, 6379);
    assert_null(config.redis.unix_path);
    assert_null(config.redis.password);
    assert_string_equal(config.redis.invalidation_channel, "cache:invalidate");
    assert_string_equal(config.redis.key_prefix, "dc:");
    assert_int_equal(config.cache.max_memory, 64 << 20);
    assert_int_equal(config.cache.max_value, 1 << 20);
    assert_int_equal(config.cache.max_key, 1024);
    assert_int_equal(config.cache.default_ttl_ns, 0);
    assert_int_equal(config.cache.propagate, PROPAGATE_VALUE);
    assert_int_equal(config.staleness.bound_ns, 1000000000);
    assert_int_equal(config.staleness.on_partition, ON_PARTITION_REFUSE);
    assert_int_equal(config.staleness.max_stale_ns, 30 * 1000000000ull);
    assert_int_equal(config.staleness.tombstone_ttl_ns, 24 * 3600 * 1000000000ull);
    assert_int_equal(config.limits.connections, 1000);
    assert_int_equal(config_log_level(&config), LOG_LEVEL_INFO);
}

static void every_key_of_the_table_is_readable_from_file_and_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_key_count(); i++) {
        const struct config_key *key = config_key_at(i);
        char text[512], env[512];
        snprintf(text, sizeof text, "[%s]\n%s = %s\n", key->section, key->name, key->default_text);
        assert_loads(text);
        snprintf(env, sizeof env, "DCACHED_%s_%s=%s", key->section, key->name, key->default_text);
        for (char *c = env; *c != '='; c++)
            *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        assert_int_equal(load_env("", env), CONFIG_OK);
        assert_int_equal(report.warning_count, 0);
        assert_true(strlen(key->help) > 0 && !strchr(key->help, '\n'));
    }
}

static void what_is_printed_can_be_loaded_and_is_the_same(void **state)
{
    (void)state;
    assert_loads(
        "[pod]\nid = a;b\nrole = reader\n[redis]\naddr = [::1]:7000\n[cache]\ndefault_ttl = 90s\n"
        "max_value = 1000\n[staleness]\nbound = 1500ms\n[log]\nlevel = debug\n[listen]\nsocket_mode=600\n");
    char *first = NULL, *second = NULL;
    size_t first_len, second_len;
    FILE *to = open_memstream(&first, &first_len);
    config_print(&config, NULL, to);
    fclose(to);
    assert_loads(first);
    to = open_memstream(&second, &second_len);
    config_print(&config, NULL, to);
    fclose(to);
    assert_string_equal(first, second);
    assert_non_null(strstr(first, "id = a;b\n"));
    assert_non_null(strstr(first, "bound = 1500ms\n"));
    assert_non_null(strstr(first, "default_ttl = 90s\n"));
    assert_non_null(strstr(first, "socket_mode = 0600\n"));
    free(first);
    free(second);
}

/* ---- the form of the file ------------------------------------------------------------------------------- */

static void a_semicolon_does_not_cut_a_value(void **state)
{
    (void)state;
    assert_loads("[listen]\nsocket = /run/a ;b#c #d.sock\n");
    assert_string_equal(config.listen.socket, "/run/a ;b#c #d.sock");
    assert_int_equal(report.warning_count, 1);
    assert_loads("[pod]\nid = ;x\n");
    assert_string_equal(config.pod.id, ";x");
}

static void a_leading_blank_does_not_continue_a_value(void **state)
{
    (void)state;
    assert_refused("[pod]\nid = a\n  role = reader\n", NAME ":3: begins with a blank");
    assert_refused("[pod]\nid = a\n\tb\n", NAME ":3: begins with a blank");
    assert_refused("[pod]\n id = a\n", NAME ":2: begins with a blank");
    assert_loads("[pod]\nid = a\n   ; indented comment\n\t# another\n   \n");
    assert_string_equal(config.pod.id, "a");
}

static void a_long_line_is_refused_and_never_cut(void **state)
{
    (void)state;
    char text[1024] = "[redis]\npassword_file = /";
    memset(text + strlen(text), 'x', 300);
    strcat(text, "\ndb = 1\n");
    assert_refused(text, NAME ":2: is longer than ");
    assert_int_equal(report.error_count, 1);
    assert_error(0, "environment");

    char comment[2048] = "; ";
    memset(comment + 2, 'c', 1000);
    strcat(comment, "\n[redis]\ndb = 3\n");
    assert_loads(comment);
    assert_int_equal(config.redis.db, 3);
}

/* How long that is depends on how inih was built; the error says it. */
static void the_limit_of_a_line_is_exact(void **state)
{
    (void)state;
    char text[1024] = "[cache]\non_set_local_cache = /";
    const char *first = strchr(text, '\n') + 1;
    size_t start = strlen(text);
    unsigned limit = 0;
    memset(text + start, 'h', 900);
    assert_int_equal(load(text), CONFIG_INVALID);
    assert_int_equal(sscanf(report.errors[0], NAME ":2: is longer than %u bytes", &limit), 1);
    assert_in_range(limit, 160, 900);
    text[first - text + limit + 1] = '\0';
    assert_refused(text, ":2: is longer than ");
    text[first - text + limit] = '\0';
    assert_refused(text, strchr(text, '/')); /* there is no such file: the error has the whole path */
}

static void the_longest_line_that_fits_arrives_whole(void **state)
{
    (void)state;
    char text[512] = "[redis]\ninvalidation_channel = ";
    size_t start = strlen(text);
    memset(text + start, 'x', 128);
    text[start + 128] = '\n';
    assert_loads(text);
    assert_int_equal(strlen(config.redis.invalidation_channel), 128);
    text[start + 128] = 'x';
    text[start + 129] = '\n';
    assert_refused(text, NAME ":2: [redis] invalidation_channel: is 129 bytes long; at most 128");
}

static void a_nul_byte_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    static const char *const texts[] = {"[pod]\n@id = a\n", "[pod]\nid = a@b\n", "[pod]\nid = a\n@", "@",
                                        "[po@d]\n",         "; comment @\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char text[64];
        strcpy(text, texts[i]);
        *strchr(text, '@') = '\0';
        assert_int_equal(load_bytes(text, strlen(texts[i]), NULL), CONFIG_INVALID);
        assert_error(0, "holds the byte 0x00");
    }
}

static void control_bytes_are_refused_and_not_repeated(void **state)
{
    (void)state;
    assert_refused("[pod]\nid = a\x1b[31m\n", NAME ":2: holds the byte 0x1b");
    assert_refused("[pod]\nid = \x01\n", "0x01");
    assert_refused("[pod]\nid = a\tb\n", "control byte 0x09");
    assert_null(strchr(report.errors[0], '\x1b'));
}

static void duplicates_are_refused_with_both_lines(void **state)
{
    (void)state;
    assert_refused("[pod]\nid = a\nrole = reader\nid = b\n", NAME ":4: [pod] id: stands on line 2 already");
    assert_refused("[pod]\nid = a\n[redis]\n[pod]\nid = a\n", NAME ":5: [pod] id: stands on line 2 already");
}

static void unknown_sections_and_keys_are_refused(void **state)
{
    (void)state;
    assert_refused("[pods]\nid = a\n", NAME ":1: \"pods\" is no section");
    assert_int_equal(report.error_count, 1);
    assert_refused("[pod]\nidd = a\n", NAME ":2: [pod] has no key \"idd\"");
    assert_refused("[redis]\nbound = 1s\n", NAME ":2: [redis] has no key \"bound\"");
    assert_refused("[POD]\n", "no section");
    assert_refused("[pod]\nID = a\n", "no key");
    assert_refused("[]\n", "no section");
    assert_refused("id = a\n", NAME ":1: stands in no section");
    assert_refused("[redis]\npassword = hunter2\n", "no key \"password\"");
    assert_null(strstr(report.errors[0], "hunter2"));
}

static void malformed_lines_are_refused(void **state)
{
    (void)state;
    assert_refused("[pod\nid = a\n", NAME ":1: the section has no end");
    assert_refused("[pod] id = a\n", NAME ":1: something follows the section");
    assert_refused("[pod] id = a\nrole = x\n", NAME ":1: something follows the section");
    assert_error(1, NAME ":2: [pod] role: \"x\" is not known; one of writer, reader");
    assert_refused("[pod]\nid\n", NAME ":2: is neither");
    assert_refused("[pod]\n= a\n", NAME ":2: [pod] has no key \"\"");
    assert_refused("[pod]\nid = \"a\"\n", "quotes");
    assert_refused("[pod]\nid =\n", "is empty");
}

static void crlf_bom_and_a_missing_last_newline_are_fine(void **state)
{
    (void)state;
    assert_loads("\xef\xbb\xbf[pod]\r\nid = a\r\n\r\n[redis]\r\ndb: 7");
    assert_string_equal(config.pod.id, "a");
    assert_int_equal(config.redis.db, 7);
}

static void all_errors_are_reported_in_order(void **state)
{
    (void)state;
    char *const env[] = {(char *)(uintptr_t) "DCACHED_REDIS_DB=x", NULL};
    const char *text = "[pod]\nrole = boss\n[staleness]\nbound = 1\nnope = 1\n[cache]\nmax_memory = 2M\n";
    assert_int_equal(load_bytes(text, strlen(text), env), CONFIG_INVALID);
    assert_int_equal(report.error_count, 5);
    assert_error(0, NAME ":2: [pod] role");
    assert_error(1, NAME ":4: [staleness] bound: \"1\" has no unit");
    assert_error(2, NAME ":5: [staleness] has no key");
    assert_error(3, "DCACHED_REDIS_DB: [redis] db: \"x\" is no number");
    assert_error(4, NAME ":7: [cache] max_memory: max_memory holds less than four values");
}

static void a_bad_file_leaves_the_configuration_in_force_untouched(void **state)
{
    (void)state;
    assert_loads("[pod]\nid = kept\n");
    config_report_deinit(&report);
    const char *text = "[pod]\nid = other\n[redis]\ndb = -1\n";
    struct config_source source = {.path = NAME, .text = text, .text_len = strlen(text)};
    assert_int_equal(config_load(&config, &source, &report), CONFIG_INVALID);
    assert_string_equal(config.pod.id, "kept");
}

/* ---- environment ---------------------------------------------------------------------------------------- */

static void the_environment_wins_over_the_file(void **state)
{
    (void)state;
    assert_int_equal(load_env("[pod]\nid = file\n", "DCACHED_POD_ID=env ;not cut"), CONFIG_OK);
    assert_string_equal(config.pod.id, "env ;not cut");
    assert_int_equal(load_env("[redis]\nusername = u\n", "DCACHED_REDIS_USERNAME="), CONFIG_OK);
    assert_string_equal(config.redis.username, "");
}

static void the_environment_does_not_excuse_a_bad_file(void **state)
{
    (void)state;
    assert_int_equal(load_env("[redis]\ndb = x\n", "DCACHED_REDIS_DB=1"), CONFIG_INVALID);
    assert_error(0, "[redis] db: \"x\" is no number");
    assert_int_equal(report.error_count, 1);
}

static void bad_variables_are_named_and_unknown_ones_only_warned_about(void **state)
{
    (void)state;
    assert_int_equal(load_env("", "DCACHED_STALENESS_BOUND=1"), CONFIG_INVALID);
    assert_error(0, "DCACHED_STALENESS_BOUND: [staleness] bound: \"1\" has no unit");
    assert_int_equal(load_env("", "DCACHED_POD_ID=a\nb"), CONFIG_INVALID);
    assert_error(0, "control byte 0x0a");
    assert_int_equal(load_env("", "DCACHED_REDIS_PASSWORD=hunter2"), CONFIG_OK);
    assert_int_equal(report.warning_count, 1);
    assert_non_null(strstr(report.warnings[0], "DCACHED_REDIS_PASSWORD"));
    assert_null(strstr(report.warnings[0], "hunter2"));
    assert_int_equal(load_env("", "DCACHED_SOCKET=/x"), CONFIG_OK);
    assert_int_equal(report.warning_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_gives_the_documented_defaults),
        cmocka_unit_test(every_key_of_the_table_is_readable_from_file_and_environment),
        cmocka_unit_test(what_is_printed_can_be_loaded_and_is_the_same),
        cmocka_unit_test(a_semicolon_does_not_cut_a_value),
        cmocka_unit_test(a_leading_blank_does_not_continue_a_value),
        cmocka_unit_test(a_long_line_is_refused_and_never_cut),
        cmocka_unit_test(the_limit_of_a_line_is_exact),
        cmocka_unit_test(the_longest_line_that_fits_arrives_whole),
        cmocka_unit_test(a_nul_byte_is_refused_wherever_it_stands),
        cmocka_unit_test(control_bytes_are_refused_and_not_repeated),
        cmocka_unit_test(duplicates_are_refused_with_both_lines),
        cmocka_unit_test(unknown_sections_and_keys_are_refused),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(crlf_bom_and_a_missing_last_newline_are_fine),
        cmocka_unit_test(all_errors_are_reported_in_order),
        cmocka_unit_test(a_bad_file_leaves_the_configuration_in_force_untouched),
        cmocka_unit_test(the_environment_wins_over_the_file),
        cmocka_unit_test(the_environment_does_not_excuse_a_bad_file),
        cmocka_unit_test(bad_variables_are_named_and_unknown_ones_only_warned_about),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
