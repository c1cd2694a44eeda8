#include "client/server.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool owns_place(uid_t uid, const char *socket)
{
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const char *slash = strrchr(socket, '/');
    size_t len = slash ? (size_t)(slash - socket) : 0;
    struct stat dir, st;

    if (len >= sizeof directory)
        return false;
    memcpy(directory, socket, len);
    directory[len] = '\0';
    if (stat(len > 0 ? directory : slash ? "/" : ".", &dir) < 0)
        return false;
    if (dir.st_uid == uid)
        return true;
    return !(dir.st_mode & S_ISVTX) && stat(socket, &st) == 0 && st.st_uid == uid;
}

bool server_is_trusted(int fd, const char *socket, uid_t wanted, char *text, size_t text_size)
{
    struct ucred cred;
    socklen_t len = sizeof cred;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
        snprintf(text, text_size, "who listens at %.107s cannot be found out", socket);
        return false;
    }
    if (wanted != SERVER_UID_ANY) {
        if (cred.uid == wanted)
            return true;
        snprintf(text, text_size, "uid %u listens at %.107s, and the server is to be uid %u", (unsigned)cred.uid,
                 socket, (unsigned)wanted);
        return false;
    }
    if (cred.uid == 0 || cred.uid == geteuid() || owns_place(cred.uid, socket))
        return true;
    snprintf(text, text_size,
             "uid %u listens at %.107s, and the server is to be root, uid %u or the owner of the place: "
             "DCACHED_SERVER_UID names another",
             (unsigned)cred.uid, socket, (unsigned)geteuid());
    return false;
}
