#include "tests/sim/redis/store.h"

#include <stdlib.h>

void *memory_grow(void *at, size_t size)
{
    void *data = realloc(at, size > 0 ? size : 1);

    if (!data)
        abort();
    return data;
}

void *memory_new(size_t size)
{
    return memory_grow(NULL, size);
}

void *memory_zero(size_t size)
{
    return memset(memory_new(size), 0, size);
}

static void copy_bytes(uint8_t *to, struct slice from)
{
    if (from.len > 0)
        memcpy(to, from.data, from.len);
}

/* ---- values ---------------------------------------------------------------------------------------------- */

struct value *value_new_string(struct slice bytes)
{
    struct value *value = memory_new(sizeof(*value) + bytes.len);

    *value = (struct value){.refs = 1, .type = 's', .len = bytes.len, .data = (uint8_t *)(value + 1)};
    copy_bytes(value->data, bytes);
    return value;
}

struct value *value_new_hash(void)
{
    struct value *value = memory_new(sizeof(*value));

    *value = (struct value){.refs = 1, .type = 'h'};
    return value;
}

struct value *value_ref(struct value *value)
{
    value->refs++;
    return value;
}

void value_unref(struct value *value)
{
    if (!value || --value->refs > 0)
        return;
    for (size_t i = 0; value->type == 'h' && i < value->len; i++)
        free(value->fields[i]);
    free(value->fields);
    free(value);
}

struct slice value_bytes(const struct value *string)
{
    return slice_of(string->data, string->len);
}

/* ---- hashes ---------------------------------------------------------------------------------------------- */

struct slice field_name(const struct field *field)
{
    return slice_of(field->bytes, field->name_len);
}

struct slice field_value(const struct field *field)
{
    return slice_of(field->bytes + field->name_len, field->value_len);
}

static struct field *field_new(struct slice name, struct slice value)
{
    struct field *field = memory_new(sizeof(*field) + name.len + value.len);

    field->name_len = name.len;
    field->value_len = value.len;
    copy_bytes(field->bytes, name);
    copy_bytes(field->bytes + name.len, value);
    return field;
}

static size_t hash_index(const struct value *hash, struct slice name)
{
    size_t i = 0;

    while (i < hash->len && !slice_equal(field_name(hash->fields[i]), name))
        i++;
    return i;
}

const struct field *hash_find(const struct value *hash, struct slice name)
{
    size_t i = hash_index(hash, name);

    return i < hash->len ? hash->fields[i] : NULL;
}

static void hash_append(struct value *hash, struct field *field)
{
    if (hash->len == hash->room) {
        hash->room = hash->room > 0 ? 2 * hash->room : 4;
        hash->fields = memory_grow(hash->fields, hash->room * sizeof(*hash->fields));
    }
    hash->fields[hash->len++] = field;
}

static struct value *hash_unshare(struct value **hash)
{
    struct value *copy;

    if ((*hash)->refs == 1)
        return *hash;
    copy = value_new_hash();
    for (size_t i = 0; i < (*hash)->len; i++)
        hash_append(copy, field_new(field_name((*hash)->fields[i]), field_value((*hash)->fields[i])));
    value_unref(*hash);
    *hash = copy;
    return copy;
}

bool hash_set(struct value **hash, struct slice name, struct slice value)
{
    struct value *own = hash_unshare(hash);
    size_t i = hash_index(own, name);
    struct field *field;

    if (i < own->len && own->fields[i]->value_len == value.len) {
        field = own->fields[i];
        copy_bytes(field->bytes + field->name_len, value);
        return false;
    }
    field = field_new(name, value);
    if (i == own->len) {
        hash_append(own, field);
        return true;
    }
    free(own->fields[i]);
    own->fields[i] = field;
    return false;
}

bool hash_remove(struct value **hash, struct slice name)
{
    struct value *own;
    size_t i = hash_index(*hash, name);

    if (i == (*hash)->len)
        return false;
    own = hash_unshare(hash);
    free(own->fields[i]);
    own->len--;
    memmove(own->fields + i, own->fields + i + 1, (own->len - i) * sizeof(*own->fields));
    return true;
}

/* ---- dictionaries ---------------------------------------------------------------------------------------- */

/* FNV-1a, mixed at the end because buckets are taken from the low bits. */
static uint64_t key_hash(struct slice key)
{
    uint64_t hash = 14695981039346656037ULL;

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ key.data[i]) * 1099511628211ULL;
    return hash ^ (hash >> 29) ^ (hash >> 47);
}

struct slice entry_key(const struct entry *entry)
{
    return slice_of(entry->key, entry->key_len);
}

struct entry *dict_find(const struct dict *dict, struct slice key)
{
    uint64_t hash;

    if (dict->count == 0)
        return NULL;
    hash = key_hash(key);
    for (struct entry *e = dict->buckets[hash & (dict->bucket_count - 1)]; e; e = e->next) {
        if (e->hash == hash && slice_equal(entry_key(e), key))
            return e;
    }
    return NULL;
}

static void dict_grow(struct dict *dict)
{
    size_t count = dict->bucket_count > 0 ? 2 * dict->bucket_count : 16;
    struct entry **buckets = memory_zero(count * sizeof(struct entry *));

    for (size_t i = 0; i < dict->bucket_count; i++) {
        for (struct entry *e = dict->buckets[i], *next; e; e = next) {
            struct entry **bucket = &buckets[e->hash & (count - 1)];

            next = e->next;
            e->next = *bucket;
            *bucket = e;
        }
    }
    free(dict->buckets);
    dict->buckets = buckets;
    dict->bucket_count = count;
}

struct entry *dict_add(struct dict *dict, struct slice key)
{
    struct entry *entry = memory_new(sizeof(*entry) + key.len), **bucket;

    if (dict->count == dict->bucket_count)
        dict_grow(dict);
    *entry = (struct entry){.hash = key_hash(key), .key_len = key.len};
    copy_bytes(entry->key, key);
    bucket = &dict->buckets[entry->hash & (dict->bucket_count - 1)];
    entry->next = *bucket;
    *bucket = entry;
    dict->count++;
    return entry;
}

void dict_remove(struct dict *dict, struct slice key)
{
    struct entry *entry = dict_find(dict, key), **at;

    if (!entry)
        return;
    at = &dict->buckets[entry->hash & (dict->bucket_count - 1)];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    dict->count--;
    value_unref(entry->value);
    free(entry);
}

static uint64_t reversed(uint64_t bits)
{
    uint64_t result = 0;

    for (int i = 0; i < 64; i++, bits >>= 1)
        result = result << 1 | (bits & 1);
    return result;
}

/*
 * The cursor counts with its highest bits first: when the dictionary doubles, a bucket's keys move into buckets
 * that come directly after each other in this order.
 */
uint64_t dict_scan(const struct dict *dict, uint64_t cursor, void (*visit)(void *ctx, struct entry *entry),
                   void *ctx)
{
    uint64_t mask;

    if (dict->count == 0)
        return 0;
    mask = dict->bucket_count - 1;
    for (struct entry *e = dict->buckets[cursor & mask], *next; e; e = next) {
        next = e->next;
        visit(ctx, e);
    }
    return reversed(reversed(cursor | ~mask) + 1);
}

/* The cursor is a bucket and, in its low bits, how many of the bucket were given out. */
struct entry *dict_next(const struct dict *dict, size_t *cursor)
{
    const size_t bits = 16;
    size_t at = *cursor >> bits, skip = *cursor & (((size_t)1 << bits) - 1);

    for (; at < dict->bucket_count; at++, skip = 0) {
        struct entry *entry = dict->buckets[at];

        for (size_t i = 0; entry && i < skip; i++)
            entry = entry->next;
        if (entry) {
            *cursor = at << bits | (skip + 1);
            return entry;
        }
    }
    *cursor = at << bits;
    return NULL;
}

/* ---- datasets -------------------------------------------------------------------------------------------- */

void dataset_clear(struct dataset *dataset)
{
    for (int db = 0; db < SERVER_DATABASES; db++) {
        struct dict *dict = &dataset->dbs[db];

        for (size_t i = 0; i < dict->bucket_count; i++) {
            for (struct entry *e = dict->buckets[i], *next; e; e = next) {
                next = e->next;
                value_unref(e->value);
                free(e);
            }
        }
        free(dict->buckets);
        *dict = (struct dict){0};
    }
}

void dataset_copy(struct dataset *to, const struct dataset *from)
{
    for (int db = 0; db < SERVER_DATABASES; db++) {
        size_t cursor = 0;

        for (struct entry *e; (e = dict_next(&from->dbs[db], &cursor));) {
            struct entry *copy = dict_add(&to->dbs[db], entry_key(e));

            copy->expire_ms = e->expire_ms;
            copy->value = value_ref(e->value);
        }
    }
}
