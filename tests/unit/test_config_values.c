#include "tests/unit/config_fixture.h"

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
                                      "\xc2\xa0\x31s"};
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

static void each_socket_has_a_path_of_its_own(void **state)
{
    (void)state;
    assert_refused("[listen]\nadmin_socket = /run/dcached/dcached.sock\n",
                   NAME ":2: [listen] admin_socket: is that of [listen] socket");
    assert_refused("[metrics]\nlisten = unix:/run/dcached/dcached.sock\n",
                   NAME ":2: [metrics] listen: is that of [listen] socket");
    assert_refused("[listen]\nadmin_socket = /run/a\n[metrics]\nlisten = unix:/run/a\n",
                   NAME ":4: [metrics] listen: is that of [listen] admin_socket");
    assert_loads("[listen]\nsocket = /run/a\nadmin_socket = /run/b\n[metrics]\nlisten = unix:/run/c\n");
    assert_string_equal(config.metrics.unix_path, "/run/c");
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
    assert_error(0, "is a directory; it has to be a regular file");
    const char *fifo = in_dir("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(load_file(fifo, true), CONFIG_INVALID);
    assert_error(0, "is a FIFO; it has to be a regular file");
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
    config_print(&config, NULL, to);
    fclose(to);
    assert_null(strstr(printed, "p w"));
    assert_non_null(strstr(printed, "; password = ***\n"));
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

static void a_user_without_a_password_is_warned_about(void **state)
{
    (void)state;
    assert_loads("[redis]\nusername = shop\n");
    assert_int_equal(report.warning_count, 1);
    assert_non_null(strstr(report.warnings[0], "[redis] username: no password was found"));
    assert_loads(format("[redis]\nusername = shop\npassword_file = %s\n", write_file("password", "x\n", 0400)));
    assert_int_equal(report.warning_count, 0);
    assert_loads("");
    assert_int_equal(report.warning_count, 0);
}

static void a_hook_is_a_regular_file_with_an_absolute_path(void **state)
{
    (void)state;
    assert_refused("[cache]\non_set_local_cache = hook.so\n", "is not absolute");
    assert_refused("[cache]\non_set_local_cache = /no/such.so\n", "No such file");
    assert_refused("[cache]\non_set_local_cache = /tmp\n", "is no regular file");
}

static void access_lists_are_resolved_to_numbers(void **state)
{
    (void)state;
    assert_loads("[access]\nread = root, 1001 @0,@55\n");
    assert_int_equal(config.access.read.uid_count, 2);
    assert_int_equal(config.access.read.uids[0], 0);
    assert_int_equal(config.access.read.uids[1], 1001);
    assert_int_equal(config.access.read.gid_count, 2);
    const gid_t groups[] = {7, 55};
    assert_true(access_list_has(&config.access.read, 1001, 9, NULL, 0));
    assert_true(access_list_has(&config.access.read, 9, 0, NULL, 0));
    assert_true(access_list_has(&config.access.read, 9, 9, groups, 2));
    assert_false(access_list_has(&config.access.read, 9, 9, groups, 1));
    assert_false(access_list_has(&config.access.read, (uid_t)-1, (gid_t)-1, NULL, 0));
    assert_true(access_list_has(&config.access.write, 9, 9, NULL, 0)); /* empty */
    assert_refused("[access]\nwrite = nobody-of-that-name\n", "there is no user \"nobody-of-that-name\"");
    assert_refused("[access]\nwrite = @no-such-group\n", "there is no group \"no-such-group\"");
    assert_refused("[access]\nadmin = 4294967295\n", "is no number of a user");
    assert_refused("[access]\nadmin = ,\n", "names nobody");
    assert_refused("[access]\nadmin = @\n", "there is no group");
    assert_refused("[listen]\nadmin_socket = x\n", "is not absolute");
    assert_loads("[access]\nadmin = 65534\n");
    assert_int_equal(report.warning_count, 1);
}

static struct config loaded_beside(const char *text)
{
    struct config other = {0};
    struct config_report errors = {0};
    struct config_source source = {.path = NAME, .text = text, .text_len = strlen(text)};
    assert_int_equal(config_load(&other, &source, &errors), CONFIG_OK);
    config_report_deinit(&errors);
    return other;
}

static void a_reload_takes_what_can_change_and_names_the_rest(void **state)
{
    (void)state;
    struct config_changes changes;
    assert_loads("[access]\nread = 7\n");
    struct config other = loaded_beside("[staleness]\nbound = 500ms\non_partition = stale\n[log]\nlevel = debug\n"
                                        "[access]\nread = 7 8\n[pod]\nid = other\n");
    assert_int_equal(config_take(&config, &other, &changes), 0);
    config_deinit(&other);
    assert_int_equal(changes.applied_count, 3);
    assert_string_equal(changes.applied, "access.read: 7 -> 7 8, staleness.on_partition: refuse -> stale, "
                                         "log.level: info -> debug");
    assert_string_equal(changes.restart, "pod.id: default-pod -> other needs a restart, "
                                         "staleness.bound: 1s -> 500ms needs a restart");
    assert_int_equal(changes.restart_count, 2);
    assert_int_equal(config.access.read.uid_count, 2);
    assert_int_equal(config.log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(config.staleness.bound_ns, 1000000000);
    assert_string_equal(config.pod.id, "default-pod");
    config_changes_deinit(&changes);
}

static void a_reload_keeps_what_would_not_fit_what_runs(void **state)
{
    (void)state;
    struct config_changes changes;
    assert_loads("[cache]\nmax_value = 16M\n[limits]\nbuffers = 64M\n[staleness]\nbound = 5s\nmax_stale = 9s\n");
    struct config other = loaded_beside("[limits]\nbuffers = 16M\n[staleness]\nbound = 1s\nmax_stale = 2s\n");
    assert_int_equal(config_take(&config, &other, &changes), 0);
    config_deinit(&other);
    assert_int_equal(changes.applied_count, 0);
    assert_int_equal(changes.restart_count, 4);
    assert_int_equal(config.limits.buffers, 64 << 20);
    assert_int_equal(config.staleness.max_stale_ns, 9000000000u);
    config_changes_deinit(&changes);
}

static void a_changed_password_is_said_and_never_shown(void **state)
{
    (void)state;
    struct config_changes changes;
    const char *path = write_file("password", "first-secret\n", 0600);
    char text[1024];
    snprintf(text, sizeof text, "[redis]\npassword_file = %s\n", path);
    assert_loads(text);
    write_file("password", "second-secret\n", 0600);
    struct config other = loaded_beside(text);
    assert_int_equal(config_take(&config, &other, &changes), 0);
    config_deinit(&other);
    assert_string_equal(changes.restart, "redis.password_file: the password has changed: needs a restart");
    assert_string_equal(config.redis.password, "first-secret");
    config_changes_deinit(&changes);
}

static void what_is_printed_says_where_each_value_is_from(void **state)
{
    (void)state;
    char *printed = NULL;
    size_t len;
    assert_int_equal(load_env("[pod]\nid = a\n", "DCACHED_POD_ROLE=reader"), CONFIG_OK);
    FILE *to = open_memstream(&printed, &len);
    config_print(&config, "/etc/x.conf", to);
    fclose(to);
    assert_non_null(
        strstr(printed, "[pod]\n; /etc/x.conf:2\nid = a\n; environment DCACHED_POD_ROLE\nrole = reader\n"));
    assert_non_null(strstr(printed, "; default\nbound = 1s\n"));
    assert_loads(printed);
    free(printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_need_a_unit_and_nothing_else),
        cmocka_unit_test(sizes_are_digits_with_an_optional_unit),
        cmocka_unit_test(numbers_modes_and_words_are_exact),
        cmocka_unit_test(a_pod_id_is_1_to_63_printable_characters),
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(a_socket_path_is_absolute_and_fits_a_sockaddr),
        cmocka_unit_test(each_socket_has_a_path_of_its_own),
        cmocka_unit_test(a_group_has_to_exist_or_be_a_number),
        cmocka_unit_test(a_key_prefix_has_no_braces),
        cmocka_unit_test(keys_that_contradict_each_other_are_refused),
        cmocka_unit_test(who_may_write_follows_from_role_and_permission),
        cmocka_unit_test(a_missing_file_is_an_error_only_when_it_was_asked_for),
        cmocka_unit_test(only_a_regular_file_is_read),
        cmocka_unit_test(a_file_is_read_with_its_name_in_errors),
        cmocka_unit_test(the_password_is_the_first_line_of_its_file),
        cmocka_unit_test(a_password_file_open_to_others_or_unusable_is_refused),
        cmocka_unit_test(a_credential_of_systemd_is_the_password_unless_a_file_is_named),
        cmocka_unit_test(a_user_without_a_password_is_warned_about),
        cmocka_unit_test(a_hook_is_a_regular_file_with_an_absolute_path),
        cmocka_unit_test(access_lists_are_resolved_to_numbers),
        cmocka_unit_test(a_reload_takes_what_can_change_and_names_the_rest),
        cmocka_unit_test(a_reload_keeps_what_would_not_fit_what_runs),
        cmocka_unit_test(a_changed_password_is_said_and_never_shown),
        cmocka_unit_test(what_is_printed_says_where_each_value_is_from),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
