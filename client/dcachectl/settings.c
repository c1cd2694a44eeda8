/* config and log-level: how the daemon runs. */
#include "client/dcachectl/ctl.h"
#include "client/dcachectl/map.h"
#include "client/dcachectl/text.h"

/* ---- config: what --print-config prints, of the daemon that runs ------------------------------------------ */

/* Raw into a file, which dcached reads again; escaped on a terminal. */
static void put(FILE *out, struct slice text, bool escape)
{
    if (escape)
        text_escaped(out, text);
    else
        fwrite(text.data, 1, text.len, out);
}

static void put_origin(FILE *out, struct slice setting, bool escape)
{
    struct slice from = map_bytes(setting, "from"), where = map_bytes(setting, "where");

    fputs("; ", out);
    if (!slice_equal(from, slice_text("file")))
        put(out, from, escape);
    if (slice_equal(from, slice_text("environment")))
        putc(' ', out);
    put(out, where, escape);
    putc('\n', out);
}

static void put_setting(FILE *out, struct slice setting, bool password, bool escape)
{
    struct slice key = map_bytes(setting, "key"), value = map_bytes(setting, "value");

    put_origin(out, setting, escape);
    put(out, key, escape);
    fputs(value.len > 0 ? " = " : " =", out);
    put(out, value, escape);
    putc('\n', out);
    if (password && slice_equal(key, slice_text("password_file")))
        fputs("; password = ***\n", out);
}

void config_render(FILE *out, struct slice answer, bool escape)
{
    struct cursor c = map_find(answer, "keys");
    uint32_t count = cursor_peek(&c) == CURSOR_ARRAY ? cursor_array(&c) : 0;
    struct slice section = slice_of(NULL, 0);

    for (uint32_t i = 0; i < count && cursor_ok(&c); i++) {
        struct slice setting = cursor_raw(&c), its = map_bytes(setting, "section");

        if (!slice_equal(its, section)) {
            fputs(i > 0 ? "\n[" : "[", out);
            put(out, its, escape);
            fputs("]\n", out);
        }
        section = its;
        put_setting(out, setting, map_bool(answer, "password"), escape);
    }
}

int verb_config(struct ctl *ctl)
{
    struct buffer params = BUFFER_INIT;
    struct json json = json_to(stdout);
    struct slice answer;
    struct cursor c;
    dcache_result result;

    pack_array(&params, 0);
    result = ctl_call(ctl, "config", &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    c = cursor_of(answer);
    if (ctl->json)
        json_packed(&json, &c);
    else
        config_render(stdout, answer, ctl->tty);
    return EXIT_OK;
}

/* ---- log-level -------------------------------------------------------------------------------------------- */

int verb_log_level(struct ctl *ctl)
{
    struct buffer params = BUFFER_INIT;
    struct json json = json_to(stdout);
    struct slice answer, level, configured;
    struct cursor c;
    dcache_result result;

    pack_array(&params, (uint32_t)ctl->operand_count);
    if (ctl->operand_count > 0)
        pack_text(&params, ctl->operands[0]);
    result = ctl_call(ctl, "log_level", &params, &answer);
    if (result != DCACHE_OK)
        return exit_of_result(result);
    c = cursor_of(answer);
    if (ctl->json) {
        json_packed(&json, &c);
        return EXIT_OK;
    }
    level = map_bytes(answer, "level");
    configured = map_bytes(answer, "configured");
    text_escaped(stdout, level);
    if (!slice_equal(level, configured)) {
        fputs(" until the next reload or restart; configured is ", stdout);
        text_escaped(stdout, configured);
    }
    putchar('\n');
    return EXIT_OK;
}
