/*
 * The file, line by line. inih splits names from values; before it sees a line, the reader below has made it one
 * that can be read in one way only. Left to itself inih takes a line that begins with a blank for the rest of the
 * value before, cuts values at " ;", cuts long lines, ignores what follows a NUL or a `]`, and reports
 * little of that. Here each is an error with its line, except that `;` and `#` inside a value simply belong to it.
 */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/config_internal.h"

#define SECTION_MAX 32 /* below inih's 50, so that it cuts no section */

/* Stand-ins for what inih would take for a comment; as control bytes they cannot come from the file. */
#define SEMICOLON '\x01'
#define HASH      '\x02'

struct reader {
    struct draft *draft;
    const char *at, *end;
    int line;
    bool in_section; /* a header was seen, good or bad */
    bool skip;       /* keys of a refused section: one error is enough */
    bool no_memory;
    char section[SECTION_MAX + 1];
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* ---- lines ---------------------------------------------------------------------------------------------- */

struct line {
    const char *text;
    size_t len;
};

static struct line trim(struct line line)
{
    while (line.len && is_blank(line.text[0])) {
        line.text++;
        line.len--;
    }
    while (line.len && is_blank(line.text[line.len - 1]))
        line.len--;
    return line;
}

static bool next_line(struct reader *reader, struct line *ret)
{
    if (reader->at == reader->end)
        return false;
    const char *newline = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    ret->text = reader->at;
    ret->len = (size_t)((newline ? newline : reader->end) - reader->at);
    reader->at = newline ? newline + 1 : reader->end;
    reader->line++;
    if (ret->len && ret->text[ret->len - 1] == '\r')
        ret->len--;
    return true;
}

static bool has_control_byte(struct reader *reader, struct line line)
{
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            draft_error_at(reader->draft, reader->line, "holds the byte 0x%02x; printable characters only", c);
            return true;
        }
    }
    return false;
}

/* "[section]" with a known name and nothing after it. */
static bool check_section(struct reader *reader, struct line line)
{
    const char *close = memchr(line.text, ']', line.len);
    reader->in_section = true;
    reader->skip = true;
    if (!close) {
        draft_error_at(reader->draft, reader->line, "the section has no end; [name]");
        return false;
    }
    size_t len = (size_t)(close - line.text) - 1;
    if (len <= SECTION_MAX) {
        memcpy(reader->section, line.text + 1, len);
        reader->section[len] = '\0';
    }
    if (len > SECTION_MAX || !config_section_known(reader->section)) {
        char quoted[CONFIG_QUOTE_MAX];
        draft_error_at(reader->draft, reader->line, "%s is no section; dcached.conf(5) lists them",
                       len > SECTION_MAX ? "this" : config_quote(reader->section, quoted));
        return false;
    }
    reader->skip = false;
    if (close + 1 == line.text + line.len)
        return true;
    draft_error_at(reader->draft, reader->line, "something follows the section; a new line for it");
    return false;
}

/* "name = value" that belongs to a section. */
static bool check_key(struct reader *reader, struct line line)
{
    if (!reader->in_section) {
        draft_error_at(reader->draft, reader->line, "stands in no section; a line such as [pod] before it");
        return false;
    }
    if (reader->skip)
        return false;
    for (size_t i = 0; i < line.len; i++)
        if (line.text[i] == '=' || line.text[i] == ':')
            return true;
    draft_error_at(reader->draft, reader->line, "is neither a section, a key nor a comment; key = value");
    return false;
}

/* True: the line is one that inih may see. A refused one has its error; comments and empty lines have none. */
static bool check_line(struct reader *reader, struct line raw, int num)
{
    struct line line = trim(raw);
    if (has_control_byte(reader, line))
        return false;
    if (line.len == 0 || line.text[0] == ';' || line.text[0] == '#')
        return false;
    if (is_blank(raw.text[0])) {
        draft_error_at(reader->draft, reader->line,
                       "begins with a blank, which could continue the value before; begin in the first column");
        return false;
    }
    if (line.text[0] == '[')
        return check_section(reader, line);
    if (!check_key(reader, line))
        return false;
    if (line.len + 2 > (size_t)num) { /* newline and NUL */
        draft_error_at(reader->draft, reader->line,
                       "is longer than %d bytes; give this key by its environment variable", num - 2);
        return false;
    }
    return true;
}

/* ini_reader: like fgets, but each line is either harmless or empty. */
static char *read_line(char *str, int num, void *stream)
{
    struct reader *reader = stream;
    struct line line;
    if (reader->no_memory || !next_line(reader, &line))
        return NULL;
    size_t len = 0;
    if (check_line(reader, line, num)) {
        line = trim(line);
        for (; len < line.len; len++) {
            char c = line.text[len];
            str[len] = c == ';' ? SEMICOLON : c == '#' ? HASH : c;
        }
    }
    str[len] = '\n';
    str[len + 1] = '\0';
    return str;
}

/* ---- keys ----------------------------------------------------------------------------------------------- */

static void restore(char *text)
{
    for (; *text; text++)
        *text = *text == SEMICOLON ? ';' : *text == HASH ? '#' : *text;
}

static int set_key(struct reader *reader, const char *name, const char *value)
{
    struct draft *draft = reader->draft;
    char quoted[CONFIG_QUOTE_MAX];
    int index = config_key_find(reader->section, name);
    if (index < 0) {
        draft_error_at(draft, reader->line, "[%s] has no key %s; dcached.conf(5) lists them", reader->section,
                       config_quote(name, quoted));
        return 0;
    }
    if (draft->config.origins[index].kind == CONFIG_FROM_FILE) {
        draft_error_at(draft, reader->line, "[%s] %s: stands on line %d already; it may stand once",
                       reader->section, name, draft->config.origins[index].line);
        return 0;
    }
    draft->config.origins[index] = (struct config_origin){.kind = CONFIG_FROM_FILE, .line = reader->line};
    char why[CONFIG_WHY_MAX];
    int r = config_value_parse(config_key_at((size_t)index), value, &draft->config, why);
    if (r > 0)
        draft_error_key(draft, index, "%s", why);
    else if (r == 0 && (strstr(value, " ;") || strstr(value, " #")))
        draft_warning(draft,
                      "%s:%d: [%s] %s: the value includes what looks like a comment; comments stand on "
                      "lines of their own",
                      draft->path, reader->line, reader->section, name);
    return r < 0 ? r : 0;
}

/* ini_handler: 1 goes on. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct reader *reader = user;
    (void)section; /* the reader knows it, with what has been refused */
    if (!name)     /* some builds of inih announce sections like this */
        return 1;
    char *own_name = strdup(name), *own_value = strdup(value ? value : "");
    if (!own_name || !own_value) {
        reader->no_memory = true;
    } else {
        restore(own_name);
        restore(own_value);
        if (set_key(reader, own_name, own_value) < 0)
            reader->no_memory = true;
    }
    free(own_name);
    free(own_value);
    return 1;
}

int config_file_parse(struct draft *draft, const char *text, size_t len)
{
    struct reader reader = {.draft = draft, .at = text, .end = text + len};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        reader.at += 3;
    size_t errors = draft->report->error_count;
    int r = ini_parse_stream(read_line, &reader, on_key, &reader);
    if (r < -1 || reader.no_memory)
        return -ENOMEM;
    if (r != 0 && draft->report->error_count == errors)
        draft_error_at(draft, r > 0 ? r : 0, "cannot be understood; key = value");
    return 0;
}
