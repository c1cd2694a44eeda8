#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/host/notify.h"

static char dir[] = "/tmp/dcached-notify-XXXXXX";
static char path[64];

static int bind_socket(int type, const char *name, socklen_t name_len)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, name, name_len);
    int fd = socket(AF_UNIX, type, 0);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(
        bind(fd, (struct sockaddr *)&addr, (socklen_t)offsetof(struct sockaddr_un, sun_path) + name_len), 0);
    return fd;
}

static const char *received(int fd)
{
    static char text[4096];
    ssize_t len = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

static int clean_env(void **state)
{
    (void)state;
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID",
                                        "LISTEN_FDS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    return 0;
}

static void without_systemd_nothing_happens(void **state)
{
    (void)state;
    struct notify notify;
    setenv("WATCHDOG_USEC", "1000", 1);
    assert_int_equal(notify_init(&notify), 0);
    assert_int_equal(notify.fd, -1);
    assert_int_equal(notify.watchdog_ns, 0);
    notify_ready(&notify, "x");
    notify_watchdog(&notify);
    notify_stopping(&notify, NULL);
    notify_deinit(&notify);
}

static void states_arrive_at_a_path(void **state)
{
    (void)state;
    struct notify notify;
    int fd = bind_socket(SOCK_DGRAM, path, (socklen_t)strlen(path) + 1);
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", "2000000", 1);
    assert_int_equal(notify_init(&notify), 0);
    assert_int_equal(notify.watchdog_ns, 2000000000);
    notify_ready(&notify, "listening");
    assert_string_equal(received(fd), "READY=1\nSTATUS=listening");
    notify_ready(&notify, NULL);
    assert_string_equal(received(fd), "READY=1\n");
    notify_status(&notify, "a\nREADY=1\x1b", 1);
    assert_string_equal(received(fd), "STATUS=a READY=1 ");
    notify_watchdog(&notify);
    assert_string_equal(received(fd), "WATCHDOG=1\n");
    notify_stopping(&notify, "bye");
    assert_string_equal(received(fd), "STOPPING=1\nSTATUS=bye");
    char status[2000];
    memset(status, 's', sizeof status - 1);
    status[sizeof status - 1] = '\0';
    notify_status(&notify, status, 1 + NOTIFY_PERIOD_NS);
    assert_int_equal(strlen(received(fd)), 7 + 512);
    notify_deinit(&notify);
    close(fd);
}

static void a_status_is_sent_when_it_changes_and_once_a_second_at_most(void **state)
{
    (void)state;
    struct notify notify;
    int fd = bind_socket(SOCK_DGRAM, path, (socklen_t)strlen(path) + 1);
    setenv("NOTIFY_SOCKET", path, 1);
    assert_int_equal(notify_init(&notify), 0);
    uint64_t now = 5;
    notify_status(&notify, "a", now);
    assert_string_equal(received(fd), "STATUS=a");
    notify_status(&notify, "b", now += NOTIFY_PERIOD_NS - 1);
    assert_string_equal(received(fd), "");
    notify_status(&notify, "b", now += 1);
    assert_string_equal(received(fd), "STATUS=b");
    notify_status(&notify, "b", now += 2 * NOTIFY_PERIOD_NS);
    assert_string_equal(received(fd), "");
    notify_ready(&notify, "reloaded");
    assert_string_equal(received(fd), "READY=1\nSTATUS=reloaded");
    notify_status(&notify, "b", now);
    assert_string_equal(received(fd), "STATUS=b");
    notify_deinit(&notify);
    close(fd);
}

static void states_arrive_at_an_abstract_socket(void **state)
{
    (void)state;
    struct notify notify;
    char name[64], env[64];
    int len = snprintf(name, sizeof name, "@dcached-test-%d", (int)getpid());
    strcpy(env, name);
    name[0] = '\0';
    int fd = bind_socket(SOCK_DGRAM, name, (socklen_t)len);
    setenv("NOTIFY_SOCKET", env, 1);
    assert_int_equal(notify_init(&notify), 0);
    notify_ready(&notify, NULL);
    assert_string_equal(received(fd), "READY=1\n");
    notify_deinit(&notify);
    close(fd);
}

static void a_full_or_absent_socket_does_not_block(void **state)
{
    (void)state;
    struct notify notify;
    int fd = bind_socket(SOCK_DGRAM, path, (socklen_t)strlen(path) + 1);
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", "1000", 1);
    assert_int_equal(notify_init(&notify), 0);
    for (int i = 0; i < 10000; i++)
        notify_watchdog(&notify);
    close(fd);
    unlink(path);
    notify_ready(&notify, NULL);
    notify_deinit(&notify);
}

static void an_unusable_address_is_an_error(void **state)
{
    (void)state;
    struct notify notify;
    static const char *const bad[] = {"relative", "vsock:2:1234", "/", "@"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        assert_int_equal(notify_init(&notify), -EINVAL);
        assert_int_equal(notify.fd, -1);
    }
    char longest[200];
    memset(longest, '/', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    assert_int_equal(notify_init(&notify), -ENAMETOOLONG);
}

static void a_watchdog_of_another_process_or_nonsense_is_none(void **state)
{
    (void)state;
    struct notify notify;
    char pid[32];
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", "1000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_init(&notify), 0);
    assert_int_equal(notify.watchdog_ns, 0);
    notify_deinit(&notify);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_init(&notify), 0);
    assert_int_equal(notify.watchdog_ns, 1000000);
    notify_deinit(&notify);
    static const char *const bad[] = {"", "-1", "1e3", "99999999999999999999", " 1", "9223372036854775807"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("WATCHDOG_USEC", bad[i], 1);
        assert_int_equal(notify_init(&notify), 0);
        assert_int_equal(notify.watchdog_ns, 0);
        notify_deinit(&notify);
    }
}

/* In a child, so that descriptor 3 is free to be what systemd would pass. The child exits with what was found. */
static int listen_result(int fd, const char *count)
{
    pid_t child = fork();
    if (child == 0) {
        char pid[32];
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", count, 1);
        if (fd != 3 && dup2(fd, 3) != 3)
            _exit(100);
        struct sockaddr_un addr;
        int r = notify_listen_fd(&addr);
        if (r == 3 && fcntl(3, F_GETFD) != FD_CLOEXEC)
            _exit(101);
        if (r == 3 && strncmp(addr.sun_path, path, sizeof addr.sun_path) != 0)
            _exit(102);
        _exit(r < 0 ? -r : r);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_listening_socket_is_taken_and_nothing_else(void **state)
{
    (void)state;
    struct sockaddr_un addr;
    assert_int_equal(notify_listen_fd(&addr), -ENOENT);
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    assert_int_equal(notify_listen_fd(&addr), -ENOENT);
    int fd = bind_socket(SOCK_STREAM, path, (socklen_t)strlen(path) + 1);
    assert_int_equal(listen_result(fd, "1"), EINVAL); /* not yet listening */
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(listen_result(fd, "1"), 3);
    assert_int_equal(listen_result(fd, "0"), ENOENT);
    assert_int_equal(listen_result(fd, "2"), EINVAL);
    close(fd);
    fd = bind_socket(SOCK_DGRAM, path, (socklen_t)strlen(path) + 1);
    assert_int_equal(listen_result(fd, "1"), EINVAL);
    close(fd);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/socket", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_systemd_nothing_happens, clean_env),
        cmocka_unit_test_setup(states_arrive_at_a_path, clean_env),
        cmocka_unit_test_setup(a_status_is_sent_when_it_changes_and_once_a_second_at_most, clean_env),
        cmocka_unit_test_setup(states_arrive_at_an_abstract_socket, clean_env),
        cmocka_unit_test_setup(a_full_or_absent_socket_does_not_block, clean_env),
        cmocka_unit_test_setup(an_unusable_address_is_an_error, clean_env),
        cmocka_unit_test_setup(a_watchdog_of_another_process_or_nonsense_is_none, clean_env),
        cmocka_unit_test_setup(a_listening_socket_is_taken_and_nothing_else, clean_env),
    };
    alarm(20);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
