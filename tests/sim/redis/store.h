/*
 * What a server stores: values that are shared by count and changed only while unshared, and dictionaries of keys.
 * A copy of a dataset (snapshot, full resync) therefore costs one count for each key. Out of memory ends the
 * program.
 */
#ifndef DCACHED_SIM_REDIS_STORE_H
#define DCACHED_SIM_REDIS_STORE_H

#include "proto/slice.h"
#include "tests/sim/redis/server.h"

/* malloc, realloc and calloc that do not fail; `size` 0 is allowed. */
void *memory_new(size_t size);
void *memory_zero(size_t size);
void *memory_grow(void *at, size_t size);

/* A field of a hash: its name, then its value, in `bytes`. */
struct field {
    size_t name_len, value_len;
    uint8_t bytes[];
};

struct value {
    unsigned refs;
    char type;     /* 's' string, 'h' hash */
    size_t len;    /* bytes of a string, fields of a hash */
    uint8_t *data; /* string; stands behind the struct */
    struct field **fields;
    size_t room;
};

struct value *value_new_string(struct slice bytes);
struct value *value_new_hash(void);
struct value *value_ref(struct value *value);
void value_unref(struct value *value); /* NULL is allowed */
struct slice value_bytes(const struct value *string);

struct slice field_name(const struct field *field);
struct slice field_value(const struct field *field);
/* Fields keep the order in which they came, as Redis' small hashes do. */
const struct field *hash_find(const struct value *hash, struct slice name);
/* *hash is replaced by a copy if it is shared. True: the field is new. */
bool hash_set(struct value **hash, struct slice name, struct slice value);
bool hash_remove(struct value **hash, struct slice name); /* true: it was there */

struct entry {
    struct entry *next; /* in its bucket */
    uint64_t hash;
    uint64_t expire_ms; /* wall clock; 0: never */
    uint64_t unit;      /* the last command or script that touched it */
    struct value *value;
    size_t key_len;
    uint8_t key[];
};

struct dict {
    struct entry **buckets;
    size_t bucket_count, count; /* buckets: a power of two, or 0 */
};

struct dataset {
    struct dict dbs[SERVER_DATABASES];
};

struct slice entry_key(const struct entry *entry);
struct entry *dict_find(const struct dict *dict, struct slice key);
struct entry *dict_add(struct dict *dict, struct slice key); /* must be absent; its value is NULL */
void dict_remove(struct dict *dict, struct slice key);
/*
 * One step of SCAN: visits one bucket or, with larger strides, part of it, and answers the next cursor, 0 at the
 * end. A key that is there from the first to the last step is visited at least once, however the dictionary grows.
 */
uint64_t dict_scan(const struct dict *dict, uint64_t cursor, void (*visit)(void *ctx, struct entry *entry),
                   void *ctx);
/* All entries in the order of the buckets: begin with *cursor = 0; NULL at the end. */
struct entry *dict_next(const struct dict *dict, size_t *cursor);

void dataset_clear(struct dataset *dataset);
void dataset_copy(struct dataset *to, const struct dataset *from); /* `to` is empty */

#endif
