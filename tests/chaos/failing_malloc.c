/*
 * For LD_PRELOAD: the n-th allocation of the process fails, once or for ever.
 *
 *   FAILING_MALLOC_AT=N        from 1; 0 or absent: none fails
 *   FAILING_MALLOC_FOREVER=1   all later ones fail, too
 *   FAILING_MALLOC_REPORT=PATH gets one byte per failed allocation ('x'), at most 64, and at the end of the
 *                              process the number of allocations asked for; 'u' where libuv gave up
 *
 * It stands on the names that glibc gives its own allocator, so that nothing has to be looked up, which allocates.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define REPORTED_MAX 64

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

__attribute__((visibility("default"))) void *malloc(size_t size);
__attribute__((visibility("default"))) void *calloc(size_t count, size_t size);
__attribute__((visibility("default"))) void *realloc(void *old, size_t size);
__attribute__((visibility("default"))) void *memalign(size_t alignment, size_t size);
__attribute__((visibility("default"))) void *aligned_alloc(size_t alignment, size_t size);
__attribute__((visibility("default"))) int posix_memalign(void **ret, size_t alignment, size_t size);

static atomic_ulong asked;
static unsigned long fail_at;
static bool forever;
static int report = -1;
static atomic_uint reported;

__attribute__((constructor)) static void failing_malloc_start(void)
{
    const char *path = getenv("FAILING_MALLOC_REPORT"), *at = getenv("FAILING_MALLOC_AT");

    if (path)
        report = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    forever = getenv("FAILING_MALLOC_FOREVER") != NULL;
    atomic_store(&asked, 0);
    fail_at = at ? strtoul(at, NULL, 10) : 0;
}

__attribute__((destructor)) static void failing_malloc_end(void)
{
    if (report >= 0)
        dprintf(report, "\n%lu\n", atomic_load(&asked));
}

/* libuv aborts where it cannot get memory for the loop or its threads. That is told apart from other deaths. */
__attribute__((visibility("default"))) void abort(void)
{
    Dl_info info;

    if (dladdr(__builtin_return_address(0), &info) && info.dli_fname && strstr(info.dli_fname, "libuv")) {
        if (report >= 0 && write(report, "u", 1) != 1)
            report = -1;
        _exit(EX_OSERR);
    }
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    _exit(EX_SOFTWARE);
}

static bool fails(void)
{
    unsigned long n = atomic_fetch_add(&asked, 1) + 1;

    if (fail_at == 0 || !(n == fail_at || (forever && n > fail_at)))
        return false;
    if (report >= 0 && atomic_fetch_add(&reported, 1) < REPORTED_MAX && write(report, "x", 1) != 1)
        report = -1;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    return fails() ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    void *p = memalign(alignment, size);

    if (!p)
        return ENOMEM;
    *ret = p;
    return 0;
}
