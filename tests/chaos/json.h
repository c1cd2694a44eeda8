/* The numbers of a small JSON file: enough for what is handed to the checker. */
#ifndef DCACHED_CHAOS_JSON_H
#define DCACHED_CHAOS_JSON_H

/* path: names and indices with dots between, "F1.count", "0.reads". */
typedef void (*json_number_fn)(void *ctx, const char *path, double value);

/* 0, -errno, or -EBADMSG. true counts as 1, false as 0; texts and null are passed over. */
int json_read(const char *path, json_number_fn fn, void *ctx);

#endif
