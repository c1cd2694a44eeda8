#include "tests/chaos/history.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t history_now(void)
{
    return now_of(CLOCK_BOOTTIME);
}

void history_write_id(uint64_t number, uint8_t ret[16])
{
    memcpy(ret, WRITE_ID_MAGIC, 8);
    for (int i = 0; i < 8; i++)
        ret[8 + i] = (uint8_t)(number >> (56 - 8 * i));
}

bool history_write_id_parse(const uint8_t id[16], uint64_t *ret_number)
{
    if (memcmp(id, WRITE_ID_MAGIC, 8) != 0)
        return false;
    *ret_number = 0;
    for (int i = 8; i < 16; i++)
        *ret_number = *ret_number << 8 | id[i];
    return *ret_number <= NUMBER_MASK;
}

uint64_t history_epoch(const char *text)
{
    char digits[17];
    char *end;
    uint64_t value;

    if (strlen(text) < 16)
        return 0;
    memcpy(digits, text, 16);
    digits[16] = '\0';
    value = strtoull(digits, &end, 16);
    return *end ? 0 : value;
}

/* ---- writing ---------------------------------------------------------------------------------------------- */

static void segment_path(char *ret, size_t size, const char *dir, unsigned process, unsigned thread,
                         unsigned segment)
{
    snprintf(ret, size, "%s/%02u-%02u-%06u.seg", dir, process, thread, segment);
}

/* It gets its name once it has its size and header: a reader never sees less. */
static int segment_make(struct history_writer *w)
{
    char path[256], hidden[280];
    struct segment_header header = {
        .magic = SEGMENT_MAGIC,
        .pid = (uint32_t)getpid(),
        .stream = w->stream,
        .realtime_offset = (int64_t)(now_of(CLOCK_REALTIME) - now_of(CLOCK_BOOTTIME)),
        .begun = history_now(),
    };
    int fd;

    segment_path(path, sizeof(path), w->dir, w->stream / 16, w->stream % 16, w->segment);
    snprintf(hidden, sizeof(hidden), "%s.new", path);
    fd = open(hidden, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, SEGMENT_BYTES) < 0)
        goto failed;
    w->map = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (w->map == MAP_FAILED)
        goto failed;
    memcpy(w->map, &header, sizeof(header));
    if (link(hidden, path) < 0)
        goto failed;
    unlink(hidden);
    close(fd);
    w->offset = sizeof(header);
    return 0;
failed:
    close(fd);
    unlink(hidden);
    return -errno;
}

int history_writer_open(struct history_writer *w, const char *dir, unsigned process, unsigned thread)
{
    *w = (struct history_writer){.dir = dir, .stream = process * 16 + thread};
    return segment_make(w);
}

void history_write(struct history_writer *w, struct history_record record, const struct history_more *more)
{
    struct history_record *at;
    size_t size = more ? 64 : 32;

    /* Decided without looking at the kind, so that the reader can do the same. */
    if (w->offset + 64 > SEGMENT_BYTES) {
        int r;

        munmap(w->map, SEGMENT_BYTES);
        w->segment++;
        r = segment_make(w);
        if (r < 0) {
            fprintf(stderr, "chaos-load: no room for the history: %s\n", strerror(-r));
            exit(3);
        }
    }
    if (record.time < w->last)
        record.time = w->last;
    w->last = record.time;
    at = (struct history_record *)(void *)(w->map + w->offset);
    if (more)
        memcpy(at + 1, more, sizeof(*more));
    memcpy((uint8_t *)at + sizeof(at->time), (uint8_t *)&record + sizeof(at->time),
           sizeof(*at) - sizeof(at->time));
    __atomic_store_n(&at->time, record.time, __ATOMIC_RELEASE);
    w->offset += size;
    w->bytes += size;
}

void history_writer_close(struct history_writer *w)
{
    history_write(w, (struct history_record){.time = history_now(), .kind = HISTORY_END}, NULL);
    munmap(w->map, SEGMENT_BYTES);
    w->map = NULL;
}
