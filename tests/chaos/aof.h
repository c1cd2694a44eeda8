/*
 * Follows the append-only file of a Redis server (7 and 8) while it grows, and tells the truth what it says.
 *
 * The folder holds a manifest, a base and one or more files of increments. At first the base is read (it has to be
 * written with `aof-use-rdb-preamble no`), then the increments in their order. Later bases hold what the
 * increments said already and are passed over. What stands between MULTI and EXEC counts once the EXEC is there:
 * Redis drops a transaction whose end was lost.
 */
#ifndef DCACHED_CHAOS_AOF_H
#define DCACHED_CHAOS_AOF_H

#include "tests/chaos/truth.h"

struct aof {
    struct truth *truth;
    const char *dir;
    char key_head[80], meta[80]; /* P{0}: and P{0}!meta */
    unsigned db, selected;
    int fd;
    bool base_read;
    unsigned incr; /* number of the increments being read; 0: none yet */
    char *buffer;
    size_t len, room;
    uint64_t consumed; /* bytes of the file */
    char error[1024];
};

/* dir is kept. */
void aof_init(struct aof *a, struct truth *truth, const char *dir, const char *prefix, unsigned db);
void aof_deinit(struct aof *a);
/* Reads what is there now. 0; -EBADMSG: it is no append-only file, with `error`. A folder that is not there yet,
 * and an end in the middle of a command, are no errors. */
int aof_poll(struct aof *a);

#endif
