#include "tests/chaos/aof.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/chaos/payload.h"

#define READ_BYTES  (1u << 20)
#define WORDS_MAX   4096
#define INCOMPLETE  1
#define COMMAND_MAX (64u << 20)
/* The runner sets it behind a flush, to the moment at which the loss began. */
#define EMPTIED_KEY "chaos:emptied"

struct command {
    struct slice words[WORDS_MAX];
    unsigned count;
};

void aof_init(struct aof *a, struct truth *truth, const char *dir, const char *prefix, unsigned db)
{
    *a = (struct aof){.truth = truth, .dir = dir, .db = db, .fd = -1};
    snprintf(a->key_head, sizeof(a->key_head), "%s{0}:key:", prefix);
    snprintf(a->meta, sizeof(a->meta), "%s{0}!meta", prefix);
}

void aof_deinit(struct aof *a)
{
    if (a->fd >= 0)
        close(a->fd);
    free(a->buffer);
}

static bool word_is(struct slice word, const char *text)
{
    return word.len == strlen(text) && strncasecmp((const char *)word.data, text, word.len) == 0;
}

static uint64_t word_number(struct slice word)
{
    uint64_t value = 0;

    for (size_t i = 0; i < word.len && word.data[i] >= '0' && word.data[i] <= '9'; i++)
        value = value * 10 + (word.data[i] - (unsigned)'0');
    return value;
}

/* False: not a key of the load. */
static bool key_parse(const struct aof *a, struct slice word, uint32_t *ret)
{
    size_t head = strlen(a->key_head);
    uint64_t number;

    if (word.len <= head || word.len > head + 5 || memcmp(word.data, a->key_head, head) != 0)
        return false;
    for (size_t i = head; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
    }
    number = word_number(slice_of(word.data + head, word.len - head));
    *ret = (uint32_t)number;
    return number < KEYS_MAX;
}

/* ---- what commands mean ----------------------------------------------------------------------------------- */

static void check_payload(struct aof *a, uint32_t key, uint64_t number, const struct record *r)
{
    uint64_t found;
    char text[200];

    if (r->kind != RECORD_VALUE || !number ||
        (payload_verify(r->value.data, r->value.len, key, r->version, &found) && found == number))
        return;
    snprintf(text, sizeof(text),
             "  stored: key=%u n=%" PRIu64 ":%" PRIu64 " version=%" PRIu64 ", its payload is another\n", key,
             number >> COUNTER_BITS, number & UINT32_MAX, r->version);
    report_violate(a->truth->report, P_NOGARB, text);
}

static void apply_set(struct aof *a, const struct command *c)
{
    struct record record;
    uint64_t number = 0;
    uint32_t key;

    if (c->count >= 3 && word_is(c->words[1], EMPTIED_KEY))
        truth_emptied(a->truth, word_number(c->words[2]));
    if (c->count < 3 || !key_parse(a, c->words[1], &key) || record_decode(c->words[2], &record))
        return;
    if (!history_write_id_parse(record.write_id, &number) || number >> COUNTER_BITS >= STREAMS_MAX)
        number = 0;
    check_payload(a, key, number, &record);
    truth_commit(a->truth, key, number, &record, record.expiry_ms > 0);
}

static void apply_meta(struct aof *a, const struct command *c)
{
    uint64_t epoch = 0, cleared = NEVER_SET;
    bool run = false; /* set with an epoch, except by a clear */

    for (unsigned i = 2; i + 1 < c->count; i += 2) {
        struct slice value = c->words[i + 1];

        if (word_is(c->words[i], "epoch") && value.len == 32) {
            char text[33] = "";

            memcpy(text, value.data, 32);
            epoch = history_epoch(text);
        } else if (word_is(c->words[i], "run")) {
            run = true;
        } else if (word_is(c->words[i], "cleared")) {
            cleared = word_number(value);
        }
    }
    if (epoch && !run && cleared != NEVER_SET)
        truth_clear(a->truth, epoch, cleared);
    else
        truth_meta(a->truth, epoch, cleared);
}

static void apply_gone(struct aof *a, const struct command *c)
{
    uint32_t key;

    for (unsigned i = 1; i < c->count; i++) {
        if (key_parse(a, c->words[i], &key))
            truth_gone(a->truth, key);
    }
}

static void apply(struct aof *a, const struct command *c)
{
    struct slice name = c->words[0];

    if (word_is(name, "select") && c->count == 2) {
        a->selected = (unsigned)word_number(c->words[1]);
    } else if (word_is(name, "flushall")) {
        truth_gone_all(a->truth);
    } else if (a->selected != a->db) {
        return;
    } else if (word_is(name, "set")) {
        apply_set(a, c);
    } else if ((word_is(name, "hset") || word_is(name, "hmset")) && c->count > 3 &&
               word_is(c->words[1], a->meta)) {
        apply_meta(a, c);
    } else if (word_is(name, "del") || word_is(name, "unlink")) {
        apply_gone(a, c);
    } else if (word_is(name, "flushdb")) {
        truth_gone_all(a->truth);
    }
}

/* ---- commands --------------------------------------------------------------------------------------------- */

/* A line after its first character; *at goes behind it. */
static int take_line(const struct aof *a, size_t *at, char first, uint64_t *ret)
{
    const char *end = memchr(a->buffer + *at, '\n', a->len - *at);
    size_t start = *at;

    if (!end)
        return a->len - *at > 64 ? -EBADMSG : INCOMPLETE;
    if (a->buffer[start] != first)
        return -EBADMSG;
    *at = (size_t)(end - a->buffer) + 1;
    *ret = word_number(slice_of((const uint8_t *)a->buffer + start + 1, *at - start - 1));
    return 0;
}

static int take_command(const struct aof *a, size_t *at, struct command *ret)
{
    uint64_t words, len;
    size_t p = *at;
    int r;

    while (p < a->len && a->buffer[p] == '#') { /* a note of the time */
        const char *end = memchr(a->buffer + p, '\n', a->len - p);

        if (!end)
            return INCOMPLETE;
        p = (size_t)(end - a->buffer) + 1;
    }
    if (p == a->len)
        return INCOMPLETE;
    r = take_line(a, &p, '*', &words);
    if (r != 0 || words == 0)
        return r ? r : -EBADMSG;
    ret->count = 0;
    for (uint64_t i = 0; i < words; i++) {
        if (p == a->len)
            return INCOMPLETE;
        r = take_line(a, &p, '$', &len);
        if (r != 0 || len > COMMAND_MAX)
            return r ? r : -EBADMSG;
        if (a->len - p < len + 2)
            return INCOMPLETE;
        if (ret->count < WORDS_MAX)
            ret->words[ret->count++] = slice_of((const uint8_t *)a->buffer + p, len);
        p += len + 2;
    }
    *at = p;
    return 0;
}

/* One command, or one transaction as a whole. */
static int take_unit(struct aof *a, size_t *at)
{
    static __thread struct command c;
    size_t p = *at, begin;
    int r = take_command(a, &p, &c);

    if (r != 0)
        return r;
    if (!word_is(c.words[0], "multi")) {
        apply(a, &c);
        *at = p;
        return 0;
    }
    begin = p;
    do {
        r = take_command(a, &p, &c);
        if (r != 0)
            return r;
    } while (!word_is(c.words[0], "exec"));
    for (p = begin; take_command(a, &p, &c) == 0 && !word_is(c.words[0], "exec");)
        apply(a, &c);
    *at = p;
    return 0;
}

/* What the open file has more. */
static int file_follow(struct aof *a)
{
    ssize_t n;

    /* The incomplete rest of last time is read again: a server that restarts cuts it off and goes on there. */
    a->len = 0;
    do {
        size_t at = 0;
        int r = 0;

        if (a->room - a->len < READ_BYTES) {
            a->room = a->len + 2 * READ_BYTES;
            a->buffer = realloc(a->buffer, a->room);
            if (!a->buffer)
                abort();
        }
        n = pread(a->fd, a->buffer + a->len, READ_BYTES, (off_t)(a->consumed + a->len));
        if (n < 0)
            return -errno;
        a->len += (size_t)n;
        while (r == 0)
            r = take_unit(a, &at);
        memmove(a->buffer, a->buffer + at, a->len - at);
        a->len -= at;
        a->consumed += at;
        if (r < 0) {
            snprintf(a->error, sizeof(a->error), "%s: not a command, %" PRIu64 " bytes from the beginning", a->dir,
                     a->consumed);
            return r;
        }
    } while (n > 0);
    return 0;
}

/* ---- files ------------------------------------------------------------------------------------------------ */

struct manifest {
    char base[256];
    char incr[256];
    unsigned incr_number; /* the lowest above the one being read; 0: none */
    bool current_listed;
};

static bool manifest_read(const struct aof *a, struct manifest *ret)
{
    char path[512], line[600], name[256], type;
    struct dirent *entry;
    DIR *dir = opendir(a->dir);
    FILE *f = NULL;
    unsigned number;

    *ret = (struct manifest){0};
    while (dir && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);

        if (len < 9 || strcmp(entry->d_name + len - 9, ".manifest") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", a->dir, entry->d_name);
        f = fopen(path, "re");
        break;
    }
    if (dir)
        closedir(dir);
    if (!f)
        return false;
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "file %255s seq %u type %c", name, &number, &type) != 3)
            continue;
        if (type == 'b')
            memcpy(ret->base, name, sizeof(name));
        if (type != 'i')
            continue;
        ret->current_listed |= number == a->incr;
        if (number > a->incr && (!ret->incr_number || number < ret->incr_number)) {
            ret->incr_number = number;
            memcpy(ret->incr, name, sizeof(name));
        }
    }
    fclose(f);
    return true;
}

static int file_open(struct aof *a, const char *name)
{
    char path[600];

    if (a->fd >= 0)
        close(a->fd);
    a->consumed = 0;
    a->selected = 0;
    snprintf(path, sizeof(path), "%s/%s", a->dir, name);
    a->fd = open(path, O_RDONLY | O_CLOEXEC);
    return a->fd < 0 ? -errno : 0;
}

static int base_read(struct aof *a, const char *name)
{
    char first = '*';
    int r = name[0] ? file_open(a, name) : 0;

    if (r < 0 || !name[0])
        return r;
    if (pread(a->fd, &first, 1, 0) == 1 && first == 'R') {
        snprintf(a->error, sizeof(a->error), "%s/%s is an RDB file: aof-use-rdb-preamble has to be no", a->dir,
                 name);
        return -EBADMSG;
    }
    a->truth->loading = true;
    r = file_follow(a);
    a->truth->loading = false;
    return r;
}

int aof_poll(struct aof *a)
{
    struct manifest m;
    int r = 0;

    /* A server that began anew in another folder of the same name is followed from its base on. */
    if (a->incr && manifest_read(a, &m) && !m.current_listed && !m.incr_number) {
        file_follow(a);
        a->incr = 0;
        a->base_read = false;
    }
    if (a->incr)
        r = file_follow(a);
    while (r == 0 && manifest_read(a, &m) && m.incr_number) {
        /* What the server appended to the last file before it made this one. */
        if (a->incr)
            r = file_follow(a);
        if (r == 0 && !a->base_read)
            r = base_read(a, m.base);
        if (r == 0)
            r = file_open(a, m.incr);
        if (r < 0)
            return r == -ENOENT ? 0 : r;
        a->base_read = true;
        a->incr = m.incr_number;
        r = file_follow(a);
    }
    return r;
}
