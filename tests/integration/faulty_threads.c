/*
 * For LD_PRELOAD: faults of threads and of name services, on command. What is to go wrong is a file in the folder
 * $FAULTY_THREADS:
 *
 *   hang         look-ups of hosts and groups take a minute; "hanging" is made when the first one has begun
 *   no-threads   no thread can be made
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HANG_S 60

#define SHOWN __attribute__((visibility("default")))

SHOWN int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret);
SHOWN int getgrnam_r(const char *name, struct group *group, char *buffer, size_t size, struct group **ret);
SHOWN int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

static void path_of(const char *name, char *ret, size_t size)
{
    const char *folder = getenv("FAULTY_THREADS");

    snprintf(ret, size, "%s/%s", folder ? folder : "/nonexistent", name);
}

static bool is_wanted(const char *name)
{
    char path[512];

    path_of(name, path, sizeof(path));
    return access(path, F_OK) == 0;
}

static void hang_if_wanted(void)
{
    char path[512];

    if (!is_wanted("hang"))
        return;
    path_of("hanging", path, sizeof(path));
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    for (unsigned left = HANG_S; left > 0;)
        left = sleep(left);
}

/* C knows no conversion from an object pointer to a function pointer. */
static void find_real(const char *name, void *ret_function)
{
    void *found = dlsym(RTLD_NEXT, name);

    memcpy(ret_function, &found, sizeof(found));
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    find_real("getaddrinfo", &real);
    hang_if_wanted();
    return real(node, service, hints, ret);
}

int getgrnam_r(const char *name, struct group *group, char *buffer, size_t size, struct group **ret)
{
    int (*real)(const char *, struct group *, char *, size_t, struct group **);

    find_real("getgrnam_r", &real);
    hang_if_wanted();
    return real(name, group, buffer, size, ret);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    find_real("pthread_create", &real);
    return is_wanted("no-threads") ? EAGAIN : real(thread, attr, fn, arg);
}
