/* For LD_PRELOAD: a name service that cannot say whether there is a user of that name. */
#include <errno.h>
#include <pwd.h>
#include <stddef.h>

__attribute__((visibility("default"))) int getpwnam_r(const char *name, struct passwd *pw, char *buffer,
                                                      size_t size, struct passwd **result)
{
    (void)name, (void)pw, (void)buffer, (void)size;
    *result = NULL;
    return EIO;
}
