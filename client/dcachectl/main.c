/* The command line of dcachectl, and its table of verbs. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/dcachectl/ctl.h"

#define TIMEOUT_DEFAULT_MS 2000

/* ---- help ------------------------------------------------------------------------------------------------- */

/* Options up to and without `end`. */
static void print_globals(unsigned end)
{
    for (unsigned i = 0; i < end; i++) {
        const struct ctl_global *g = &ctl_globals[i];
        char head[64], letter[8] = "";

        if (g->letter)
            snprintf(letter, sizeof letter, "-%c, ", g->letter);
        snprintf(head, sizeof head, "%s--%s%s%s", letter, g->name, g->argument ? " " : "",
                 g->argument ? g->argument : "");
        printf("  %-19s %s\n", head, g->help);
    }
}

static int print_help(void)
{
    printf("usage: dcachectl [OPTION...] VERB [ARGUMENT...]\n\nLooks into the dcached of this pod.\n\nverbs:\n");
    for (size_t i = 0; i < ctl_verb_count; i++)
        printf("  %-10s %-12s %s\n", ctl_verbs[i].name, ctl_verbs[i].operands, ctl_verbs[i].summary);
    printf("\noptions:\n");
    print_globals(GLOBAL_COUNT);
    printf(
        "\nDUR is a number with a unit: 500ms, 2s, 1m, 1h. After -- everything is an argument.\n"
        "\nexit: 0 ok, 1 failed, 2 usage, 3 daemon unreachable, 4 absent, 5 write rejected (stale or conflict),\n"
        "6 refused (freshness cannot be proven) or not ready, 7 permission, 8 timeout, 9 indeterminate write\n");
    return EXIT_OK;
}

static int print_verb_help(const struct verb *verb)
{
    printf("usage: dcachectl %s%s%s%s\n\n%s\n\noptions:\n%s", verb->name, verb->flags ? " [OPTION...]" : "",
           *verb->operands ? " " : "", verb->operands, verb->summary, verb->help ? verb->help : "");
    print_globals(GLOBAL_VERSION);
    return EXIT_OK;
}

/* ---- command line ----------------------------------------------------------------------------------------- */

struct line {
    int count;
    char **words;
    int at;
    const struct verb *verb;           /* NULL: not yet */
    const char *globals[GLOBAL_COUNT]; /* their arguments; "" of one that takes none; NULL: not given */
};

/* `word` is "--name" or "--name=argument"; is it `name`? Underscores of C names are dashes here. */
static bool word_is(const char *word, const char *name, const char **ret_argument)
{
    *ret_argument = NULL;
    word += 2;
    for (; *name; name++, word++)
        if (*word != (*name == '_' ? '-' : *name))
            return false;
    if (*word == '=')
        *ret_argument = word + 1;
    return *word == '\0' || *word == '=';
}

/* The argument of an option: behind its "=", or the next word. False: it is missing. */
static bool line_take_argument(struct line *line, const char **argument)
{
    if (*argument)
        return true;
    if (line->at >= line->count)
        return false;
    *argument = line->words[line->at++];
    return true;
}

enum { TAKEN, UNKNOWN, WRONG };

/* Is `word` this option? Its argument, if it stands in the same word, goes to *ret_argument. */
static bool line_is_global(const struct line *line, unsigned index, const char *word, const char **ret_argument)
{
    const struct ctl_global *g = &ctl_globals[index];

    if (word[1] != '-') {
        *ret_argument = word[2] ? word + 2 : NULL;
        if (!g->letter || word[1] != g->letter)
            return false;
    } else if ((index == GLOBAL_VERSION && line->verb) || !word_is(word, g->name, ret_argument)) {
        return false;
    }
    return g->argument || !*ret_argument;
}

static int line_take_global(struct line *line, const char *word)
{
    const char *argument;
    unsigned index = 0;

    while (index < GLOBAL_COUNT && !line_is_global(line, index, word, &argument))
        index++;
    if (index == GLOBAL_COUNT)
        return UNKNOWN;
    if (ctl_globals[index].argument && !line_take_argument(line, &argument))
        return ctl_usage("%s needs %s", word, ctl_globals[index].argument), WRONG;
    line->globals[index] = argument ? argument : "";
    return TAKEN;
}

static int line_take_flag(struct line *line, struct ctl *ctl, const char *word)
{
    for (unsigned i = 0; line->verb && strncmp(word, "--", 2) == 0 && i < FLAG_COUNT; i++) {
        const char *argument;

        if (!(line->verb->flags >> i & 1) || !word_is(word, ctl_flag_table[i].name, &argument))
            continue;
        if (argument && !ctl_flag_table[i].argument)
            return ctl_usage("%.*s takes no argument", (int)(argument - word - 1), word), WRONG;
        if (ctl_flag_table[i].argument && !line_take_argument(line, &argument))
            return ctl_usage("%s needs an argument", word), WRONG;
        ctl->given |= 1u << i;
        ctl->flags[i] = argument;
        return TAKEN;
    }
    return UNKNOWN;
}

/* Long words are cut: a value can be there by mistake. */
static int line_unknown(const struct line *line, const char *word)
{
    if (!line->verb)
        return ctl_usage("unknown option '%.40s'", word);
    return ctl_usage("%s: unknown option '%.40s' (a value that begins with - goes behind --)", line->verb->name,
                     word);
}

static int line_take_operand(struct line *line, struct ctl *ctl, const char *word)
{
    if (line->verb) {
        if (ctl->operand_count == line->verb->operands_max)
            return ctl_usage("%s: too many arguments: '%.40s'", line->verb->name, word);
        ctl->operands[ctl->operand_count++] = word;
        return EXIT_OK;
    }
    for (size_t i = 0; i < ctl_verb_count; i++)
        if (strcmp(word, ctl_verbs[i].name) == 0)
            line->verb = &ctl_verbs[i];
    return line->verb ? EXIT_OK : ctl_usage("unknown verb '%.40s'", word);
}

static int line_read(struct line *line, struct ctl *ctl)
{
    bool options = true;
    int r;

    while (line->at < line->count) {
        const char *word = line->words[line->at++];

        if (options && strcmp(word, "--") == 0) {
            options = false;
            continue;
        }
        if (options && word[0] == '-' && word[1] != '\0') {
            r = line_take_global(line, word);
            if (r == UNKNOWN)
                r = line_take_flag(line, ctl, word);
            if (r == WRONG)
                return EXIT_USAGE;
            if (r == UNKNOWN)
                return line_unknown(line, word);
            continue;
        }
        r = line_take_operand(line, ctl, word);
        if (r != EXIT_OK)
            return r;
    }
    return EXIT_OK;
}

/* ---- running ---------------------------------------------------------------------------------------------- */

/* Where the methods for administration are: named, or beside the main socket if something is there. */
static const char *admin_socket_of(const struct line *line, char *beside, size_t size)
{
    const char *const *given = line->globals;
    const char *named = given[GLOBAL_ADMIN_SOCKET] ? given[GLOBAL_ADMIN_SOCKET] : getenv("DCACHED_ADMIN_SOCKET");
    const char *socket = given[GLOBAL_SOCKET] ? given[GLOBAL_SOCKET] : getenv("DCACHED_SOCKET");
    size_t len;

    if (named && *named)
        return named;
    if (!socket || !*socket)
        socket = DCACHE_DEFAULT_SOCKET;
    len = strlen(socket);
    if (len > 5 && strcmp(socket + len - 5, ".sock") == 0)
        len -= 5;
    if (snprintf(beside, size, "%.*s-admin.sock", (int)len, socket) < (int)size && access(beside, F_OK) == 0)
        return beside;
    return given[GLOBAL_SOCKET];
}

static int ctl_open(struct ctl *ctl, const struct line *line)
{
    dcache_options options = {.size = sizeof options, .socket = line->globals[GLOBAL_SOCKET], .name = "dcachectl"};
    const char *timeout = line->globals[GLOBAL_TIMEOUT];
    const char *no_color = getenv("NO_COLOR");
    char beside[128];
    uint64_t timeout_ms = TIMEOUT_DEFAULT_MS;
    dcache_result result;

    if (timeout && (!parse_duration_ms(timeout, &timeout_ms) || timeout_ms == 0 || timeout_ms > INT32_MAX))
        return ctl_usage("--timeout: '%.40s' is no duration like 500ms or 2s", timeout);
    if (line->verb->flags & VERB_ADMIN)
        options.socket = admin_socket_of(line, beside, sizeof beside);
    ctl->timeout_given = timeout != NULL;
    ctl->timeout_ms = options.timeout_ms = (uint32_t)timeout_ms;
    ctl->tty = isatty(STDOUT_FILENO);
    ctl->color = ctl->tty && !(no_color && *no_color);
    result = dcache_open(&ctl->cache, &options);
    if (result == DCACHE_E_INVALID)
        return ctl_usage("the path of the socket is longer than 107 bytes, or DCACHED_SERVER_UID is no user");
    if (result != DCACHE_OK) {
        fprintf(stderr, "dcachectl: out of memory\n");
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static int line_run(struct line *line, struct ctl *ctl)
{
    int r;

    if (line->globals[GLOBAL_VERSION]) {
        puts("dcachectl " DCACHED_VERSION);
        return EXIT_OK;
    }
    if (line->globals[GLOBAL_HELP])
        return line->verb ? print_verb_help(line->verb) : print_help();
    if (!line->verb)
        return ctl_usage("a verb is missing");
    if (ctl->operand_count < line->verb->operands_min)
        return ctl_usage("%s: needs %s", line->verb->name, line->verb->operands);
    r = ctl_open(ctl, line);
    if (r == EXIT_OK)
        r = line->verb->run(ctl);
    dcache_close(ctl->cache);
    return r;
}

/* An answer that could not be written is a failure; that nobody reads on is not worth a word. */
static int close_stdout(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (errno != EPIPE)
        fprintf(stderr, "dcachectl: cannot write: %s\n", strerror(errno));
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct line line = {.count = argc, .words = argv, .at = 1};
    struct ctl ctl = {0};
    int r;

    signal(SIGPIPE, SIG_IGN);
    r = line_read(&line, &ctl);
    ctl.json = line.globals[GLOBAL_JSON] != NULL;
    /* Help is wanted whatever else is wrong. */
    if (r == EXIT_OK || line.globals[GLOBAL_HELP])
        r = line_run(&line, &ctl);
    return close_stdout(r);
}
