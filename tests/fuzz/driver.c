/* driver.c - replays files and folders through a fuzz target, where libFuzzer is not linked. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replayed;

static int
fail(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return 1;
}

static int
replay_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return fail(path);
    /* No byte more than the file, so a sanitizer sees every read past it. */
    uint8_t *data = malloc(size ? size : 1);
    int bad = !data || fread(data, 1, size, f) != size;
    fclose(f);
    if (bad) {
        free(data);
        return fail(path);
    }
    LLVMFuzzerTestOneInput(data, size);
    replayed++;
    free(data);
    return 0;
}

static int replay(const char *path);

static int
replay_folder(const char *path)
{
    char child[4096];
    int failed = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return fail(path);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        int n = snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && n > 0 && (size_t)n < sizeof child)
            failed |= replay(child);
    }
    closedir(folder);
    return failed;
}

static int
replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fail(path);
    return S_ISDIR(st.st_mode) ? replay_folder(path) : replay_file(path, (size_t)st.st_size);
}

int
main(int argc, char **argv)
{
    int failed = argc < 2;
    if (argc < 2)
        fprintf(stderr, "usage: %s FILE-OR-FOLDER...\n", argv[0]);
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    /* An empty corpus tests nothing, and must not look like a pass. */
    if (!failed && replayed == 0) {
        fprintf(stderr, "%s: nothing to replay\n", argv[0]);
        failed = 1;
    }
    printf("%d inputs replayed\n", replayed);
    return failed;
}
