/*
 * Cache-aside with libdcache-client: read through the cache, fall back to the source of truth, write with the
 * version that the source gave.
 *
 *     plain_sync KEY [SOCKET]
 */
#include <dcache/client.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The source of truth: a database row with a version that its transactions raise. */
struct row {
    const char *text;
    uint64_t version;
};

static struct row load_row(const char *key)
{
    (void)key;
    return (struct row){.text = "from the database", .version = 42};
}

/*
 * Writes until the outcome is known. An indeterminate write is repeated with its write id: it commits once,
 * whatever happened to the first attempt.
 */
static dcache_result store(dcache *cache, const char *key, const struct row *row)
{
    dcache_write_options options = {
        .size = sizeof options, .version = row->version, .has_ttl = 1, .ttl_ms = 60000};
    dcache_written written;
    dcache_result result = dcache_set(cache, key, strlen(key), row->text, strlen(row->text), &options, &written);

    for (int i = 0; i < 3 && result == DCACHE_E_INDETERMINATE; i++) {
        options.write_id = written.write_id;
        options.retry = 1;
        result = dcache_set(cache, key, strlen(key), row->text, strlen(row->text), &options, &written);
    }
    switch (result) {
    case DCACHE_OK:
    case DCACHE_DUPLICATE:
    case DCACHE_LOCAL:
        printf("stored version %" PRIu64 " (%s)\n", written.version, dcache_result_name(result));
        break;
    case DCACHE_STALE:
        printf("somebody stored version %" PRIu64 " before us, which is newer\n", written.version);
        break;
    default:
        printf("not stored: %s\n", dcache_error(cache));
        break;
    }
    return result;
}

static int read_through(dcache *cache, const char *key)
{
    dcache_reading reading;
    struct row row;

    switch (dcache_get(cache, key, strlen(key), NULL, &reading)) {
    case DCACHE_OK:
        printf("cached version %" PRIu64 ": %.*s\n", reading.version, (int)reading.value_len,
               (const char *)reading.value);
        return 0;
    case DCACHE_ABSENT:
        row = load_row(key);
        printf("loaded version %" PRIu64 ": %s\n", row.version, row.text);
        return store(cache, key, &row) < 0;
    case DCACHE_E_REFUSED:
    case DCACHE_E_UNREACHABLE:
    case DCACHE_E_TIMEOUT:
    case DCACHE_E_UNAVAILABLE:
        /* The cache cannot help now. The source of truth can; what it gives is not put into the cache. */
        row = load_row(key);
        printf("loaded past the cache, version %" PRIu64 ": %s (%s)\n", row.version, row.text,
               dcache_error(cache));
        return 0;
    default:
        fprintf(stderr, "%s\n", dcache_error(cache));
        return 1;
    }
}

int main(int argc, char **argv)
{
    dcache_options options = {.size = sizeof options, .socket = argc > 2 ? argv[2] : NULL, .timeout_ms = 500};
    dcache *cache;
    int failed;

    if (argc < 2) {
        fprintf(stderr, "usage: plain_sync KEY [SOCKET]\n");
        return 2;
    }
    if (dcache_open(&cache, &options) != DCACHE_OK)
        return 1;
    failed = read_through(cache, argv[1]);
    dcache_close(cache);
    return failed;
}
