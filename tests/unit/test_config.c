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

static void forget(void)
{
    config_deinit(&config);
    config_report_deinit(&report);
}

static int load_bytes(const char *text, size_t len, char *const *env)
{
    forget();
    struct config_source source = {.path = NAME, .text = text, .text_len = len, .env = env};
    return config_load(&config, &source, &report);
}

static int load_env(const char *text, const char *entry)
{
    char *const env[] = {(char *)(uintptr_t)entry, NULL};
    return load_bytes(text, strlen(text), env);
}

static int load(const char *text)
{
    return load_bytes(text, strlen(text), NULL);
}

static int load_file(const char *path, bool required)
{
    forget();
    struct config_source source = {.path = path, .required = required};
    return config_load(&config, &source, &report);
}

static void assert_error(size_t index, const char *part)
{
    if (index >= report.error_count)
        fail_msg("no error %zu; wanted \"%s\"", index, part);
    if (!strstr(report.errors[index], part))
        fail_msg("error is \"%s\"; wanted \"%s\"", report.errors[index], part);
}

static void assert_loads(const char *text)
{
    if (load(text) != CONFIG_OK)
        fail_msg("refused: %s: %s", text, report.error_count ? report.errors[0] : "?");
}

static void assert_refused(const char *text, const char *part)
{
    if (load(text) != CONFIG_INVALID)
        fail_msg("accepted: %s", text);
    assert_error(0, part);
    assert_null(config.pod.id); /* nothing is taken over */
}

static const char *in_dir(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static const char *write_file(const char *name, const char *text, mode_t mode)
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

static const char *format(const char *format_, const char *argument)
{
    static char text[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, format_, argument);
#pragma GCC diagnostic pop
    return text;
}

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
    config_print(&config, to);
    fclose(to);
    assert_loads(first);
    to = open_memstream(&second, &second_len);
    config_print(&config, to);
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

/* ---- values --------------------------------------------------------------------------------------------- */

static void durations_need_a_unit_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"100ms", 100000000},
                {"1s", 1000000000},
                {"1m", 60000000000},
                {"60000ms", 60000000000},
                {"007s", 7000000000}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_loads(format("[staleness]\nmax_stale = 1h\nbound = %s\n", good[i].text));
        assert_int_equal(config.staleness.bound_ns, good[i].ns);
    }
    static const char *const bad[] = {"1",
                                      "1e3",
                                      "1e3ms",
                                      "-1s",
                                      "+1s",
                                      "1 s",
                                      "1S",
                                      "1ss",
                                      "1.5s",
                                      "0x1s",
                                      "s",
                                      "ms",
                                      "99ms",
                                      "61s",
                                      "0",
                                      "0s",
                                      "1d",
                                      "1s ;",
                                      "nan",
                                      "1s2ms",
                                      "18446744073709551616ms",
                                      "99999999999999999999999s",
                                      "5124095577h",
                                      "18446744073709551617s",
                                      "18446744074s",
                                      "18446744073709551621s",
                                      "\xc2\xa0"
                                      "1s"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(format("[staleness]\nmax_stale = 1h\nbound = %s\n", bad[i]),
                       NAME ":3: [staleness] bound: ");
    assert_loads("[cache]\ndefault_ttl = 0\n");
    assert_refused("[cache]\ndefault_ttl = 1\n", "has no unit; digits followed by ms, s, m or h");
}

static void sizes_are_digits_with_an_optional_unit(void **state)
{
    (void)state;
    assert_loads("[cache]\nmax_memory = 8M\nmax_value = 4096\nmax_key = 8K\n");
    assert_int_equal(config.cache.max_memory, 8 << 20);
    assert_int_equal(config.cache.max_value, 4096);
    assert_int_equal(config.cache.max_key, 8192);
    static const char *const bad[] = {"",
                                      "1e3",
                                      "-1",
                                      "+1M",
                                      "1 M",
                                      "1m",
                                      "1MB",
                                      "1.5M",
                                      "M",
                                      "0x1",
                                      "1MiB",
                                      "1T",
                                      "18446744073709551616",
                                      "18014398509481984K",
                                      "17179869184G",
                                      "18014398509547520K",
                                      "0",
                                      "1023K",
                                      "2048G"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(format("[cache]\nmax_memory = %s\n", bad[i]), NAME ":2: [cache] max_memory: ");
    assert_refused("[cache]\nmax_key = 8193\n", "out of range; 1 .. 8K");
}

static void numbers_modes_and_words_are_exact(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[redis]\ndb = -1\n",
        "[redis]\ndb = 1K\n",
        "[redis]\ndb = 65536\n",
        "[redis]\ndb = 4294967296\n",
        "[redis]\ndb =\n",
        "[limits]\nconnections = 0\n",
        "[listen]\nsocket_mode = 9\n",
        "[listen]\nsocket_mode = 1777\n",
        "[listen]\nsocket_mode = 0x1\n",
        "[listen]\nsocket_mode = rw\n",
        "[listen]\nsocket_mode =\n",
        "[log]\ndebug_mode = true\n",
        "[log]\ndebug_mode = Yes\n",
        "[log]\ndebug_mode = 1\n",
        "[log]\nlevel = loud\n",
        "[cache]\npropagate = both\n",
        "[staleness]\non_partition = Refuse\n",
        "[pod]\nrole = writer,reader\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i], NAME ":2: [");
    assert_loads("[listen]\nsocket_mode = 777\n[log]\ndebug_mode = yes\nlevel = error\n");
    assert_int_equal(config.listen.socket_mode, 0777);
    assert_int_equal(config_log_level(&config), LOG_LEVEL_DEBUG);
}

static void a_pod_id_is_1_to_63_printable_characters(void **state)
{
    (void)state;
    char text[128] = "[pod]\nid = ";
    size_t start = strlen(text);
    memset(text + start, 'p', 63);
    assert_loads(text);
    text[start + 63] = 'p';
    assert_refused(text, "is 64 bytes long; at most 63");
    assert_refused("[pod]\nid = p\xc3\xa4\n", "is not ASCII");
}

static void addresses_are_taken_apart(void **state)
{
    (void)state;
    assert_loads("[redis]\naddr = redis.svc:1\n");
    assert_string_equal(config.redis.host, "redis.svc");
    assert_int_equal(config.redis.port, 1);
    assert_loads("[redis]\naddr = [fe80::1%eth0]:65535\n");
    assert_string_equal(config.redis.host, "fe80::1%eth0");
    assert_int_equal(config.redis.port, 65535);
    assert_loads("[redis]\naddr = unix:/run/redis.sock\n");
    assert_string_equal(config.redis.unix_path, "/run/redis.sock");
    assert_null(config.redis.host);
    static const char *const bad[] = {"localhost",
                                      "localhost:",
                                      ":6379",
                                      "::1:6379",
                                      "[::1]",
                                      "[::1]6379",
                                      "[::g]:1",
                                      "[]:1",
                                      "[::1:1",
                                      "h:0",
                                      "h:65536",
                                      "h:6379x",
                                      "h: 6379",
                                      "h:+1",
                                      "unix:",
                                      "unix:rel",
                                      "h h:1",
                                      "u@h:1",
                                      "redis://u:hunter2@h:1",
                                      "h:999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(format("[redis]\naddr = %s\n", bad[i]), NAME ":2: [redis] addr: ");
        assert_null(strstr(report.errors[0], "hunter2"));
    }
    char text[256] = "[redis]\naddr = unix:/";
    memset(text + strlen(text), 'x', 107);
    assert_refused(text, "more than 107 bytes");
}

static void a_socket_path_is_absolute_and_fits_a_sockaddr(void **state)
{
    (void)state;
    char text[256] = "[listen]\nsocket = /";
    size_t start = strlen(text);
    memset(text + start, 's', 106);
    assert_loads(text);
    text[start + 106] = 's';
    assert_refused(text, "is 108 bytes long; at most 107");
    assert_refused("[listen]\nsocket = run/x\n", "is not absolute");
    assert_refused("[listen]\nsocket = /run/\n", "names a directory");
}

static void a_group_has_to_exist_or_be_a_number(void **state)
{
    (void)state;
    assert_loads("[listen]\nsocket_group = root\n");
    assert_int_equal(config.listen.gid, 0);
    assert_loads("[listen]\nsocket_group = 1234\n");
    assert_int_equal(config.listen.gid, 1234);
    assert_refused("[listen]\nsocket_group = no-such-group\n", "there is no group \"no-such-group\"");
}

static void a_key_prefix_has_no_braces(void **state)
{
    (void)state;
    assert_refused("[redis]\nkey_prefix = a{b}:\n", "holds { or }");
    assert_loads("[redis]\nkey_prefix =\n");
    assert_string_equal(config.redis.key_prefix, "");
}

static void keys_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    assert_refused("[staleness]\nbound = 40s\n", NAME ":2: [staleness] bound: max_stale is shorter than bound; "
                                                      "max_stale = 40s or more");
    assert_refused("[staleness]\nbound = 2s\nmax_stale = 1999ms\n", NAME ":3: [staleness] max_stale: ");
    assert_loads("[staleness]\nbound = 30s\n");
    assert_refused("[cache]\nmax_value = 17M\n[limits]\nbuffers = 1G\n", NAME ":2: [cache] max_value: max_memory");
    assert_loads("[cache]\nmax_memory = 4M\n");
    assert_refused("[cache]\nmax_memory = 4095K\n", "max_memory = 4M or more");
    assert_refused("[limits]\nbuffers = 2M\n", NAME ":2: [limits] buffers: ");
}

static void who_may_write_follows_from_role_and_permission(void **state)
{
    (void)state;
    assert_loads("[pod]\nrole = reader\n");
    assert_false(config.pod.may_write);
    assert_loads("[pod]\nrole = reader\n[redis]\nreader_can_set_to_redis = yes\n");
    assert_true(config.pod.may_write);
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

/* ---- files ---------------------------------------------------------------------------------------------- */

static void a_missing_file_is_an_error_only_when_it_was_asked_for(void **state)
{
    (void)state;
    assert_int_equal(load_file(in_dir("missing"), true), CONFIG_INVALID);
    assert_error(0, "/missing cannot be read: No such file");
    assert_int_equal(load_file(in_dir("missing"), false), CONFIG_OK);
    assert_int_equal(report.warning_count, 1);
    assert_string_equal(config.pod.id, "default-pod");
}

static void only_a_regular_file_is_read(void **state)
{
    (void)state;
    assert_int_equal(load_file(dir, false), CONFIG_INVALID);
    assert_error(0, "is a directory; a regular file");
    const char *fifo = in_dir("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(load_file(fifo, true), CONFIG_INVALID);
    assert_error(0, "is a FIFO; a regular file");
    unlink(fifo);
    assert_int_equal(load_file("/dev/zero", true), CONFIG_INVALID);
    assert_error(0, "is a device");
}

static void a_file_is_read_with_its_name_in_errors(void **state)
{
    (void)state;
    const char *path = write_file("good", "[pod]\nid = from-file\n", 0644);
    assert_int_equal(load_file(path, true), CONFIG_OK);
    assert_string_equal(config.pod.id, "from-file");
    path = write_file("bad", "[pod]\nrole = x\n", 0644);
    assert_int_equal(load_file(path, true), CONFIG_INVALID);
    assert_error(0, path);
    assert_error(0, "/bad:2: [pod] role: ");
}

static void the_password_is_the_first_line_of_its_file(void **state)
{
    (void)state;
    const char *path = write_file("password", "p w;#\"=\r\nsecond line\n", 0640);
    assert_loads(format("[redis]\npassword_file = %s\n", path));
    assert_string_equal(config.redis.password, "p w;#\"=");
    char *printed = NULL;
    size_t len;
    FILE *to = open_memstream(&printed, &len);
    config_print(&config, to);
    fclose(to);
    assert_null(strstr(printed, "p w"));
    assert_non_null(strstr(printed, "; the password is set, and not shown\n"));
    free(printed);
}

static void a_password_file_open_to_others_or_unusable_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0644, 0604, 0602, 0601, 0646};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        assert_refused(format("[redis]\npassword_file = %s\n", write_file("password", "secret\n", modes[i])),
                       "is open to all users");
    assert_refused(format("[redis]\npassword_file = %s\n", write_file("password", "\nsecret\n", 0600)),
                   "is empty");
    assert_refused(format("[redis]\npassword_file = %s\n", write_file("password", "", 0600)), "is empty");
    assert_refused(format("[redis]\npassword_file = %s\n", dir), "is a directory");
    assert_refused(format("[redis]\npassword_file = %s\n", in_dir("missing")), "cannot be read: No such file");
    assert_refused("[redis]\npassword_file = secret\n", "is not absolute");
}

static void a_credential_of_systemd_is_the_password_unless_a_file_is_named(void **state)
{
    (void)state;
    char env[600];
    snprintf(env, sizeof env, "CREDENTIALS_DIRECTORY=%s", dir);
    unlink(in_dir("redis-password"));
    assert_int_equal(load_env("", env), CONFIG_OK);
    assert_null(config.redis.password);
    write_file("redis-password", "from-systemd\n", 0400);
    assert_int_equal(load_env("", env), CONFIG_OK);
    assert_string_equal(config.redis.password, "from-systemd");
    const char *path = write_file("password", "from-file\n", 0400);
    assert_int_equal(load_env(format("[redis]\npassword_file = %s\n", path), env), CONFIG_OK);
    assert_string_equal(config.redis.password, "from-file");
}

static void a_hook_is_a_regular_file_with_an_absolute_path(void **state)
{
    (void)state;
    assert_refused("[cache]\non_set_local_cache = hook.so\n", "is not absolute");
    assert_refused("[cache]\non_set_local_cache = /no/such.so\n", "No such file");
    assert_refused("[cache]\non_set_local_cache = /tmp\n", "is no regular file");
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"good", "bad", "password", "redis-password", "fifo"};
    forget();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_dir(names[i]));
    return rmdir(dir);
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
        cmocka_unit_test(durations_need_a_unit_and_nothing_else),
        cmocka_unit_test(sizes_are_digits_with_an_optional_unit),
        cmocka_unit_test(numbers_modes_and_words_are_exact),
        cmocka_unit_test(a_pod_id_is_1_to_63_printable_characters),
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(a_socket_path_is_absolute_and_fits_a_sockaddr),
        cmocka_unit_test(a_group_has_to_exist_or_be_a_number),
        cmocka_unit_test(a_key_prefix_has_no_braces),
        cmocka_unit_test(keys_that_contradict_each_other_are_refused),
        cmocka_unit_test(who_may_write_follows_from_role_and_permission),
        cmocka_unit_test(the_environment_wins_over_the_file),
        cmocka_unit_test(the_environment_does_not_excuse_a_bad_file),
        cmocka_unit_test(bad_variables_are_named_and_unknown_ones_only_warned_about),
        cmocka_unit_test(a_missing_file_is_an_error_only_when_it_was_asked_for),
        cmocka_unit_test(only_a_regular_file_is_read),
        cmocka_unit_test(a_file_is_read_with_its_name_in_errors),
        cmocka_unit_test(the_password_is_the_first_line_of_its_file),
        cmocka_unit_test(a_password_file_open_to_others_or_unusable_is_refused),
        cmocka_unit_test(a_credential_of_systemd_is_the_password_unless_a_file_is_named),
        cmocka_unit_test(a_hook_is_a_regular_file_with_an_absolute_path),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
