/*
 * Text for people: bytes made safe for a terminal, ages, sizes, aligned tables.
 */
#ifndef DCACHED_DCACHECTL_TEXT_H
#define DCACHED_DCACHECTL_TEXT_H

#include <stdio.h>

#include "proto/slice.h"

#define TEXT_SMALL 48 /* holds every age and size */

/* Control characters, what is not UTF-8 and what turns the direction of text become \xNN or \u{NNNN}; a backslash
 * becomes two. Nothing that reaches the terminal can steer it. */
void text_escaped(FILE *out, struct slice bytes);
/* The same as a string; NULL on ENOMEM. The caller frees it. */
char *text_escape(struct slice bytes);

/* "120 ms", "5.0 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". Returns `ret`, of TEXT_SMALL bytes. */
const char *text_duration(char *ret, uint64_t ms);
/* "512 B", "1.2 KiB". */
const char *text_size(char *ret, uint64_t bytes);

/* "12000/s", "0.5/s"; an interval of 0 counts as a millisecond. */
const char *text_rate(char *ret, uint64_t count, uint64_t interval_ms);
/* "98.2 %"; "-" of nothing. */
const char *text_share(char *ret, uint64_t part, uint64_t whole);

/* Columns aligned to their widest cell. Cells are copied; NULL is an empty one. */
#define GRID_COLUMNS_MAX 9

struct grid {
    unsigned columns;
    size_t rows, capacity;
    size_t widths[GRID_COLUMNS_MAX]; /* the widest so far, of rows cleared too */
    char **cells;
};

void grid_init(struct grid *grid, unsigned columns);
void grid_deinit(struct grid *grid);
/* Drops the rows; later ones are aligned with them. */
void grid_clear(struct grid *grid);
/* One row; `cells` has grid->columns of them. */
void grid_add(struct grid *grid, const char *const *cells);
/* Columns whose bit is set in `right` are aligned to the right; two blanks between columns. */
void grid_print(const struct grid *grid, FILE *out, const char *indent, unsigned right);

#endif
