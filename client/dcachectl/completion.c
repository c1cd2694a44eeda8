/* completion: scripts for shells, made of the table of verbs. */
#include <string.h>

#include "client/dcachectl/ctl.h"

/* "-s --socket --json ..."; before_verb: with those that hold there alone. */
static void put_globals(bool before_verb)
{
    for (unsigned i = 0; i < (before_verb ? GLOBAL_COUNT : GLOBAL_VERSION); i++) {
        if (ctl_globals[i].letter)
            printf("-%c ", ctl_globals[i].letter);
        printf("--%s ", ctl_globals[i].name);
    }
}

/* "-s|--socket|--timeout": those with an argument, or with a path. */
static void put_global_pattern(bool paths)
{
    const char *between = "";

    for (unsigned i = 0; i < GLOBAL_COUNT; i++) {
        const struct ctl_global *g = &ctl_globals[i];

        if (!g->argument || (paths && strcmp(g->argument, "PATH") != 0))
            continue;
        if (g->letter)
            printf("%s-%c|", between, g->letter);
        printf("%s--%s", g->letter ? "" : between, g->name);
        between = "|";
    }
}

/* "--min-version" of min_version. */
static void put_flag(const char *name, const char *before)
{
    fputs(before, stdout);
    for (; *name; name++)
        putchar(*name == '_' ? '-' : *name);
}

static void put_flags(const struct verb *verb, const char *before)
{
    for (unsigned i = 0; i < FLAG_COUNT; i++)
        if (verb->flags >> i & 1)
            put_flag(ctl_flag_table[i].name, before);
}

/* Flags with an argument: the word behind them is no verb. */
static void put_pattern(void)
{
    put_global_pattern(false);
    for (unsigned i = 0; i < FLAG_COUNT; i++)
        if (ctl_flag_table[i].argument)
            put_flag(ctl_flag_table[i].name, "|--");
}

/* In single quotes. */
static void put_quoted(const char *text, const char *quote)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs(quote, stdout);
        else
            putchar(*text);
    }
}

static void print_bash(void)
{
    puts("# dcachectl: completion for bash. Made by `dcachectl completion bash`.\n"
         "_dcachectl()\n{\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb= skip= word\n"
         "    local words=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n\n"
         "    # Bash splits --option=argument in three.\n"
         "    [[ $cur == = ]] && cur=\n"
         "    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
         "    for word in \"${words[@]}\"; do\n"
         "        if [[ -n $skip ]]; then [[ $word == = ]] || skip=; continue; fi\n"
         "        case $word in");
    fputs("        ", stdout);
    put_pattern();
    puts(") skip=1 ;;\n        -*|=) ;;\n        *) verb=$word; break ;;\n        esac\n    done\n"
         "    COMPREPLY=()\n    case $prev in");
    fputs("    ", stdout);
    put_global_pattern(true);
    puts(") mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n"
         "    --for) mapfile -t COMPREPLY < <(compgen -W 'ready writes' -- \"$cur\"); return ;;");
    fputs("    ", stdout);
    put_pattern();
    puts(") return ;;\n    esac\n    case $verb in");
    fputs("    '') words='", stdout);
    for (size_t i = 0; i < ctl_verb_count; i++)
        printf("%s ", ctl_verbs[i].name);
    put_globals(true);
    puts("' ;;");
    for (size_t i = 0; i < ctl_verb_count; i++) {
        printf("    %s) words='", ctl_verbs[i].name);
        put_globals(false);
        fputs(ctl_verbs[i].words ? ctl_verbs[i].words : "", stdout);
        put_flags(&ctl_verbs[i], " --");
        puts("' ;;");
    }
    puts("    *) return ;;\n    esac\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
         "}\ncomplete -F _dcachectl dcachectl");
}

static void print_zsh(void)
{
    puts("#compdef dcachectl\n# dcachectl: completion for zsh. Made by `dcachectl completion zsh`.\n"
         "_dcachectl()\n{\n    local -a verbs\n    local verb= skip= word\n\n    verbs=(");
    for (size_t i = 0; i < ctl_verb_count; i++) {
        printf("        '%s:", ctl_verbs[i].name);
        put_quoted(ctl_verbs[i].summary, "'\\''");
        puts("'");
    }
    puts("    )\n    for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
         "        if [[ -n $skip ]]; then skip=; continue; fi\n        case $word in");
    fputs("        ", stdout);
    put_pattern();
    puts(") skip=1 ;;\n        -*) ;;\n        *) verb=$word; break ;;\n        esac\n    done\n"
         "    case ${words[CURRENT-1]} in");
    fputs("    ", stdout);
    put_global_pattern(true);
    puts(") _files; return ;;\n"
         "    --for) compadd -- ready writes; return ;;");
    fputs("    ", stdout);
    put_pattern();
    puts(") return ;;\n    esac\n    case $verb in\n    '')");
    fputs("        _describe verb verbs\n        compadd -- ", stdout);
    put_globals(true);
    puts("\n        ;;");
    for (size_t i = 0; i < ctl_verb_count; i++) {
        printf("    %s) compadd -- ", ctl_verbs[i].name);
        put_globals(false);
        fputs(ctl_verbs[i].words ? ctl_verbs[i].words : "", stdout);
        put_flags(&ctl_verbs[i], " --");
        puts(" ;;");
    }
    puts("    esac\n}\n\nif [[ ${funcstack[1]} == _dcachectl ]]; then\n    _dcachectl \"$@\"\nelse\n"
         "    compdef _dcachectl dcachectl\nfi");
}

static void print_fish_flags(const struct verb *verb)
{
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        if (!(verb->flags >> i & 1))
            continue;
        printf("complete -c dcachectl -n '__fish_seen_subcommand_from %s' -l ", verb->name);
        put_flag(ctl_flag_table[i].name, "");
        if (1u << i == FLAG_for)
            fputs(" -a 'ready writes'", stdout);
        puts(ctl_flag_table[i].argument ? " -x" : "");
    }
}

static void print_fish_globals(void)
{
    for (unsigned i = 0; i < GLOBAL_COUNT; i++) {
        const struct ctl_global *g = &ctl_globals[i];

        fputs("complete -c dcachectl", stdout);
        if (i == GLOBAL_VERSION)
            fputs(" -n __fish_use_subcommand", stdout);
        if (g->letter)
            printf(" -s %c", g->letter);
        printf(" -l %s", g->name);
        if (g->argument)
            fputs(strcmp(g->argument, "PATH") == 0 ? " -r -F" : " -x", stdout);
        fputs(" -d '", stdout);
        put_quoted(g->brief, "\\'");
        puts("'");
    }
}

static void print_fish(void)
{
    puts("# dcachectl: completion for fish. Made by `dcachectl completion fish`.\n"
         "complete -c dcachectl -f");
    print_fish_globals();
    for (size_t i = 0; i < ctl_verb_count; i++) {
        printf("complete -c dcachectl -n __fish_use_subcommand -a %s -d '", ctl_verbs[i].name);
        put_quoted(ctl_verbs[i].summary, "\\'");
        puts("'");
        if (ctl_verbs[i].words)
            printf("complete -c dcachectl -n '__fish_seen_subcommand_from %s' -a '%s'\n", ctl_verbs[i].name,
                   ctl_verbs[i].words);
        print_fish_flags(&ctl_verbs[i]);
    }
}

int verb_completion(struct ctl *ctl)
{
    const char *shell = ctl->operands[0];

    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else if (strcmp(shell, "fish") == 0)
        print_fish();
    else
        return ctl_usage("completion: bash, zsh or fish is needed");
    return EXIT_OK;
}
