/* Users and groups that the name service knows, does not know, or cannot say anything about. */
#include "tests/unit/config_fixture.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

static const int
    *answers; /* of the name service, one for each call; the last one again and again. 0: no such name */
static unsigned asked;
static bool known; /* a 0 is user or group 77 instead */

static int answer(void)
{
    asked++;
    return answers[1] < 0 ? answers[0] : *answers++;
}

/* These two stand before libc's. */
int getpwnam_r(const char *name, struct passwd *pw, char *buffer, size_t size, struct passwd **result)
{
    int error = answer();
    (void)name, (void)buffer, (void)size;
    pw->pw_uid = 77;
    *result = error == 0 && known ? pw : NULL;
    return error;
}

int getgrnam_r(const char *name, struct group *gr, char *buffer, size_t size, struct group **result)
{
    int error = answer();
    (void)name, (void)buffer, (void)size;
    gr->gr_gid = 77;
    *result = error == 0 && known ? gr : NULL;
    return error;
}

#define END          -1
#define ANSWERS(...) answers = (const int[]){__VA_ARGS__, END}, asked = 0

static void a_name_that_is_not_there_is_a_bad_configuration(void **state)
{
    (void)state;
    static const int absent[] = {0, ENOENT, ESRCH, EBADF, EPERM};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        ANSWERS(absent[i]);
        assert_refused("[access]\nread = app\n", NAME ":2: [access] read: there is no user \"app\"");
        assert_refused("[access]\nread = @app\n", "there is no group \"app\"");
        assert_refused("[listen]\nsocket_group = app\n", "there is no group \"app\"");
    }
}

static void a_name_service_that_fails_is_no_bad_configuration(void **state)
{
    (void)state;
    static const int failures[] = {EIO, EMFILE, ENFILE, EAGAIN, ECONNREFUSED};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        ANSWERS(failures[i]);
        assert_int_equal(load("[access]\nread = app\nwrite = @ops\n[listen]\nsocket_group = web\n"),
                         CONFIG_UNCHECKED);
        assert_null(config.pod.id); /* nothing is taken over */
        assert_int_equal(report.error_count, 3);
        assert_error(0, NAME ":5: [listen] socket_group: group \"web\" cannot be looked up: ");
        assert_error(1, NAME ":2: [access] read: user \"app\" cannot be looked up: ");
        assert_error(1, strerror(failures[i]));
        assert_error(2, "group \"ops\" cannot be looked up: ");
    }
}

static void what_is_wrong_beside_a_failing_name_service_is_a_bad_configuration(void **state)
{
    (void)state;
    ANSWERS(EIO);
    assert_int_equal(load("[access]\nread = app\n[cache]\nmax_memory = much\n"), CONFIG_INVALID);
    assert_int_equal(report.error_count, 2);
}

static void numbers_need_no_name_service(void **state)
{
    (void)state;
    ANSWERS(EIO);
    assert_loads("[access]\nread = 1001 @55\n[listen]\nsocket_group = 7\n");
    assert_int_equal(asked, 0);
    assert_refused("[listen]\nsocket_group = 4294967295\n", "is no number of a group");
}

static void a_look_up_that_was_interrupted_is_tried_again(void **state)
{
    (void)state;
    known = true;
    ANSWERS(EINTR, EINTR, 0);
    assert_loads("[access]\nread = app\n");
    assert_int_equal(asked, 3);
    assert_int_equal(config.access.read.uids[0], 77);
    known = false;
}

static void want_of_memory_is_handed_up_as_such(void **state)
{
    (void)state;
    ANSWERS(ENOMEM);
    assert_int_equal(load("[access]\nread = app\n"), -ENOMEM);
    assert_int_equal(load("[listen]\nsocket_group = app\n"), -ENOMEM);
}

static void an_entry_that_no_buffer_holds_is_a_failure(void **state)
{
    (void)state;
    ANSWERS(ERANGE);
    assert_int_equal(load("[access]\nread = app\n"), CONFIG_UNCHECKED);
    assert_in_range(asked, 2, 20);
    assert_error(0, strerror(ERANGE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_is_not_there_is_a_bad_configuration),
        cmocka_unit_test(a_name_service_that_fails_is_no_bad_configuration),
        cmocka_unit_test(what_is_wrong_beside_a_failing_name_service_is_a_bad_configuration),
        cmocka_unit_test(numbers_need_no_name_service),
        cmocka_unit_test(a_look_up_that_was_interrupted_is_tried_again),
        cmocka_unit_test(want_of_memory_is_handed_up_as_such),
        cmocka_unit_test(an_entry_that_no_buffer_holds_is_a_failure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
