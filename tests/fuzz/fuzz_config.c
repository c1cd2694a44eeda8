/*
 * A configuration file is read: any bytes give either errors or a configuration, and what --print-config makes of
 * that is accepted and means the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char *print(const struct config *config)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        abort();
    config_print(config, NULL, to);
    if (fclose(to) != 0)
        abort();
    return text;
}

static int load(struct config *config, const char *text, size_t len)
{
    struct config_report report = {0};
    struct config_source source = {.path = "fuzz.conf", .text = text, .text_len = len};
    int r = config_load(config, &source, &report);
    if ((r == CONFIG_OK) != (report.error_count == 0))
        abort();
    for (size_t i = 0; i < report.error_count; i++)
        for (const char *c = report.errors[i]; *c; c++)
            if ((unsigned char)*c < 0x20)
                abort();
    config_report_deinit(&report);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config first = {0}, second = {0};
    if (load(&first, (const char *)data, len) != CONFIG_OK)
        return 0;
    char *text = print(&first);
    /* A value may fit its key and, after "key = ", not the line: then the environment is its only place. */
    if (load(&second, text, strlen(text)) == CONFIG_OK) {
        char *again = print(&second);
        if (strcmp(text, again) != 0)
            abort();
        free(again);
    } else if (len < 150) {
        abort();
    }
    free(text);
    config_deinit(&first);
    config_deinit(&second);
    return 0;
}
