#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/chaos/history.h"

static int stream_map(struct history_stream *s)
{
    char path[300];
    int fd;

    snprintf(path, sizeof(path), "%s/%02u-%02u-%06u.seg", s->path, s->process, s->thread, s->segment);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    s->map = mmap(NULL, SEGMENT_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (s->map == MAP_FAILED) {
        s->map = NULL;
        return -errno;
    }
    memcpy(&s->header, s->map, sizeof(s->header));
    s->offset = sizeof(s->header);
    if (s->eat)
        unlink(path);
    return s->header.magic == SEGMENT_MAGIC ? 0 : -EBADMSG;
}

int history_discover(const char *dir, struct history_stream *streams, int count, bool eat)
{
    DIR *folder = opendir(dir);
    struct dirent *entry;

    if (!folder)
        return -errno;
    while ((entry = readdir(folder))) {
        struct history_stream *s = &streams[count];
        unsigned process, thread;
        bool known = false;
        char tail;
        int r;

        if (sscanf(entry->d_name, "%2u-%2u-000000.se%c", &process, &thread, &tail) != 3 || tail != 'g' ||
            strlen(entry->d_name) != strlen("00-00-000000.seg"))
            continue;
        for (int i = 0; i < count; i++)
            known |= streams[i].process == process && streams[i].thread == thread;
        if (known || count == STREAMS_MAX)
            continue;
        *s = (struct history_stream){.process = process, .thread = thread, .eat = eat};
        snprintf(s->path, sizeof(s->path), "%s", dir);
        r = stream_map(s);
        if (r < 0) {
            closedir(folder);
            return r;
        }
        count++;
    }
    closedir(folder);
    return count;
}

const struct history_record *history_peek(struct history_stream *s, const struct history_more **ret_more)
{
    const struct history_record *at;

    if (s->ended)
        return NULL;
    if (s->map && s->offset + 64 > SEGMENT_BYTES) {
        s->segment++;
        munmap(s->map, SEGMENT_BYTES);
        s->map = NULL;
    }
    if (!s->map && stream_map(s) < 0)
        return NULL;
    at = (const struct history_record *)(const void *)(s->map + s->offset);
    if (!__atomic_load_n(&at->time, __ATOMIC_ACQUIRE))
        return NULL;
    *ret_more = (const struct history_more *)(const void *)(at + 1);
    return at;
}

void history_take(struct history_stream *s)
{
    const struct history_record *at = (const struct history_record *)(const void *)(s->map + s->offset);
    size_t size = history_has_more(at->kind & 15) ? 64 : 32;

    s->offset += size;
    s->bytes += size;
    s->ended = (at->kind & 15) == HISTORY_END;
}

bool history_writer_gone(const struct history_stream *s)
{
    return kill((pid_t)s->header.pid, 0) < 0 && errno == ESRCH;
}

void history_stream_close(struct history_stream *s)
{
    if (s->map)
        munmap(s->map, SEGMENT_BYTES);
    s->map = NULL;
    s->ended = true;
}
