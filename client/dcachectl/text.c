#include "client/dcachectl/text.h"

#include <inttypes.h>
#include <stdlib.h>

#include "client/dcachectl/json.h"

static bool code_is_safe(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
        return false;
    /* Line separators and what turns the direction of text. */
    return !(code >= 0x2028 && code <= 0x202e) && !(code >= 0x2066 && code <= 0x2069) && code != 0x200e &&
           code != 0x200f && code != 0xfeff;
}

void text_escaped(FILE *out, struct slice bytes)
{
    uint32_t code;

    while (bytes.len > 0) {
        size_t len = utf8_next(bytes, &code);

        if (len == 0 || (code < 0x80 && !code_is_safe(code))) {
            fprintf(out, "\\x%02x", bytes.data[0]);
            len = 1;
        } else if (!code_is_safe(code)) {
            fprintf(out, "\\u{%" PRIx32 "}", code);
        } else {
            if (code == '\\')
                putc('\\', out);
            fwrite(bytes.data, 1, len, out);
        }
        bytes = slice_of(bytes.data + len, bytes.len - len);
    }
}

char *text_escape(struct slice bytes)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    text_escaped(out, bytes);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

const char *text_duration(char *ret, uint64_t ms)
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        snprintf(ret, TEXT_SMALL, "%" PRIu64 " ms", ms);
    else if (s < 60 && ms % 1000 == 0)
        snprintf(ret, TEXT_SMALL, "%" PRIu64 " s", s);
    else if (s < 60)
        snprintf(ret, TEXT_SMALL, "%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
    else if (s < 3600)
        snprintf(ret, TEXT_SMALL, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(ret, TEXT_SMALL, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(ret, TEXT_SMALL, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
    return ret;
}

const char *text_rate(char *ret, uint64_t count, uint64_t interval_ms)
{
    double rate = (double)count * 1000 / (double)(interval_ms ? interval_ms : 1);

    snprintf(ret, TEXT_SMALL, rate < 10 ? "%.1f/s" : "%.0f/s", rate);
    return ret;
}

const char *text_share(char *ret, uint64_t part, uint64_t whole)
{
    if (whole == 0)
        snprintf(ret, TEXT_SMALL, "-");
    else
        snprintf(ret, TEXT_SMALL, "%.1f %%", 100 * (double)part / (double)whole);
    return ret;
}

const char *text_size(char *ret, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double scaled = (double)bytes / 1024;
    unsigned unit = 0;

    if (bytes < 1024) {
        snprintf(ret, TEXT_SMALL, "%" PRIu64 " B", bytes);
        return ret;
    }
    while (scaled >= 1024 && unit < sizeof units / sizeof *units - 1) {
        scaled /= 1024;
        unit++;
    }
    snprintf(ret, TEXT_SMALL, "%.1f %s", scaled, units[unit]);
    return ret;
}

/* ---- tables ----------------------------------------------------------------------------------------------- */

void grid_init(struct grid *grid, unsigned columns)
{
    *grid = (struct grid){.columns = columns};
}

void grid_clear(struct grid *grid)
{
    for (size_t i = 0; i < grid->rows * grid->columns; i++)
        free(grid->cells[i]);
    grid->rows = 0;
}

void grid_deinit(struct grid *grid)
{
    grid_clear(grid);
    free(grid->cells);
    grid_init(grid, grid->columns);
}

/* Characters, not bytes: wide ones count as one. */
static size_t cell_width(const char *cell)
{
    size_t width = 0;

    for (; cell && *cell; cell++)
        width += ((uint8_t)*cell & 0xc0) != 0x80;
    return width;
}

void grid_add(struct grid *grid, const char *const *cells)
{
    if (grid->rows == grid->capacity) {
        size_t capacity = grid->capacity ? grid->capacity * 2 : 16;
        char **grown = realloc(grid->cells, capacity * grid->columns * sizeof *grown);

        if (!grown)
            return;
        grid->cells = grown;
        grid->capacity = capacity;
    }
    for (unsigned i = 0; i < grid->columns; i++) {
        size_t width = cell_width(cells[i]);

        grid->cells[grid->rows * grid->columns + i] = strdup(cells[i] ? cells[i] : "");
        if (width > grid->widths[i])
            grid->widths[i] = width;
    }
    grid->rows++;
}

static void pad(FILE *out, size_t count)
{
    while (count-- > 0)
        putc(' ', out);
}

static void grid_print_row(const struct grid *grid, size_t row, FILE *out, unsigned right)
{
    char *const *cells = grid->cells + row * grid->columns;
    size_t owed = 0; /* blanks, written only when something follows */

    for (unsigned i = 0; i < grid->columns; i++) {
        const char *cell = cells[i] ? cells[i] : "";
        size_t width = cell_width(cell), fill = grid->widths[i] - width;

        if (width > 0) {
            pad(out, owed + (right >> i & 1 ? fill : 0));
            fputs(cell, out);
            owed = (right >> i & 1 ? 0 : fill) + 2;
        } else {
            owed += fill + 2;
        }
    }
    putc('\n', out);
}

void grid_print(const struct grid *grid, FILE *out, const char *indent, unsigned right)
{
    for (size_t row = 0; row < grid->rows; row++) {
        fputs(indent, out);
        grid_print_row(grid, row, out, right);
    }
}
