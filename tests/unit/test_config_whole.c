/* A file that somebody is writing while it is read is not taken for a whole one. */
#include "tests/unit/config_fixture.h"

#include <fcntl.h>
#include <sys/syscall.h>

static const char *written_meanwhile; /* path that grows when the next file is read; NULL: none */

/* Stands before libc's: what config reads a file with. */
ssize_t read(int fd, void *to, size_t len)
{
    ssize_t n = syscall(SYS_read, fd, to, len);
    if (written_meanwhile) {
        int other = open(written_meanwhile, O_WRONLY | O_APPEND);
        written_meanwhile = NULL;
        assert_true(other >= 0 && write(other, "role = reader\n", 14) == 14);
        close(other);
    }
    return n;
}

static int load_again(const char *text)
{
    forget();
    struct config_source source = {.path = NAME, .text = text, .text_len = strlen(text), .reload = true};
    return config_load(&config, &source, &report);
}

static void a_file_that_changes_while_it_is_read_is_refused(void **state)
{
    (void)state;
    const char *path = write_file("good", "[pod]\nid = a\n", 0644);
    written_meanwhile = path;
    assert_int_equal(load_file(path, true), CONFIG_INVALID);
    assert_null(written_meanwhile);
    assert_error(0, "good changed while it was read; a new file, renamed to this name");
    assert_int_equal(load_file(path, true), CONFIG_OK);
    assert_int_equal(config.pod.role, ROLE_READER);
}

static void a_password_file_that_changes_while_it_is_read_is_refused(void **state)
{
    (void)state;
    char text[1024];
    snprintf(text, sizeof text, "[redis]\npassword_file = %s\n", write_file("password", "secret\n", 0600));
    written_meanwhile = in_dir("password");
    assert_int_equal(load(text), CONFIG_INVALID);
    assert_error(0, "changed while it was read");
    assert_null(strstr(report.errors[0], "secret"));
}

static void a_reload_refuses_a_file_that_ends_within_a_line_or_before_the_first(void **state)
{
    (void)state;
    assert_int_equal(load_again("[cache]\nmax_memory = 64"), CONFIG_INVALID);
    assert_error(0, NAME ": ends within a line");
    assert_int_equal(load_again("[pod]\nid = a"), CONFIG_INVALID);
    assert_int_equal(report.error_count, 1);
    assert_int_equal(load_again(""), CONFIG_INVALID);
    assert_error(0, NAME ": is empty");
    assert_int_equal(load_again("[pod]\nid = a\n"), CONFIG_OK);
    assert_int_equal(load_again("; defaults\n"), CONFIG_OK);
}

static void a_start_warns_of_what_a_reload_will_refuse(void **state)
{
    (void)state;
    assert_loads("[pod]\nid = a");
    assert_string_equal(config.pod.id, "a");
    assert_int_equal(report.warning_count, 1);
    assert_non_null(strstr(report.warnings[0], NAME ": ends within a line, and a reload refuses that"));
    assert_loads("");
    assert_int_equal(report.warning_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_changes_while_it_is_read_is_refused),
        cmocka_unit_test(a_password_file_that_changes_while_it_is_read_is_refused),
        cmocka_unit_test(a_reload_refuses_a_file_that_ends_within_a_line_or_before_the_first),
        cmocka_unit_test(a_start_warns_of_what_a_reload_will_refuse),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
