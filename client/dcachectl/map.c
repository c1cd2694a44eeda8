#include "client/dcachectl/map.h"

struct cursor map_find(struct slice map, const char *name)
{
    struct cursor c = cursor_of(map);
    uint32_t count;

    if (cursor_peek(&c) != CURSOR_MAP)
        return cursor_of(slice_of(NULL, 0));
    count = cursor_map(&c);
    for (uint32_t i = 0; i < count; i++) {
        enum cursor_type type = cursor_peek(&c);
        struct slice key;

        if (type != CURSOR_STR && type != CURSOR_BIN) {
            cursor_skip(&c);
            cursor_skip(&c);
            continue;
        }
        key = cursor_bytes(&c);
        if (!cursor_ok(&c))
            break;
        if (slice_equal(key, slice_text(name)))
            return c;
        cursor_skip(&c);
    }
    return cursor_of(slice_of(NULL, 0));
}

bool map_has(struct slice map, const char *name)
{
    struct cursor c = map_find(map, name);
    enum cursor_type type = cursor_peek(&c);

    return type != CURSOR_NONE && type != CURSOR_NIL;
}

uint64_t map_uint(struct slice map, const char *name)
{
    struct cursor c = map_find(map, name);

    return cursor_peek(&c) == CURSOR_UINT ? cursor_uint(&c) : 0;
}

bool map_bool(struct slice map, const char *name)
{
    struct cursor c = map_find(map, name);

    return cursor_peek(&c) == CURSOR_BOOL && cursor_bool(&c);
}

struct slice map_bytes(struct slice map, const char *name)
{
    struct cursor c = map_find(map, name);
    enum cursor_type type = cursor_peek(&c);

    return type == CURSOR_STR || type == CURSOR_BIN ? cursor_bytes(&c) : slice_of(NULL, 0);
}

struct slice map_map(struct slice map, const char *name)
{
    struct cursor c = map_find(map, name);

    return cursor_peek(&c) == CURSOR_MAP ? cursor_raw(&c) : slice_of(NULL, 0);
}
