/* Runs a fuzz target over the files and folders that are named: found inputs stay tests without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned runs;

/* The input stands in memory of its exact size, so that ASan sees any read outside. */
static int replay_file(const char *path, size_t len)
{
    uint8_t *data = malloc(len > 0 ? len : 1);
    FILE *file = fopen(path, "rb");

    if (!data || !file || fread(data, 1, len, file) != len) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, len);
    free(data);
    runs++;
    return 0;
}

static int replay(const char *path)
{
    struct stat info;
    struct dirent *entry;
    char inner[4096];
    DIR *folder;
    int r = 0;

    if (stat(path, &info) < 0) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(info.st_mode))
        return replay_file(path, (size_t)info.st_size);
    folder = opendir(path);
    if (!folder) {
        perror(path);
        return 1;
    }
    while (r == 0 && (entry = readdir(folder)))
        if (entry->d_name[0] != '.') {
            snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
            r = replay(inner);
        }
    closedir(folder);
    return r;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (replay(argv[i]) != 0)
            return 1;
    printf("%u inputs\n", runs);
    return runs > 0 ? 0 : 1;
}
