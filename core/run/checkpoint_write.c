/* checkpoint_write.c - writes a checkpoint so that a kill, a full disk or a lost line of power at
 * any moment leaves either the new one whole or the old ones as they were.
 *
 * Order: files into checkpoints/.tmp-ITERATION, fsync of each and of the folder, rename, fsync of
 * checkpoints/; only then are the oldest dropped.
 */
#include "run/checkpoint_file.h"
#include "run/crc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int
mete__file_write(int fd, const void *data, size_t length)
{
    const char *at = data;
    while (length) {
        ssize_t n = write(fd, at, length < (1u << 30) ? length : 1u << 30);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += n;
        length -= (size_t)n;
    }
    return 0;
}

static int
refused(mete_error *err, const char *what, const char *path)
{
    int why = errno;
    return mete_error_set(err, METE_EIO, "cannot %s %s: %s", what, path, strerror(why));
}

static int
sync_folder(const char *path, mete_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int bad = fd < 0 || fsync(fd);
    int rc = bad ? refused(err, "sync", path) : METE_OK;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* A folder of files only: a checkpoint, or what a kill left of one. */
static void
drop(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    rmdir(path);
}

/* Pieces of one file; the checksum of all of it. */
struct out {
    int fd;
    uint64_t length;
    uint32_t crc;
    bool failed;
    int why; /* errno of the first failure */
};

static void
put(struct out *out, const void *data, size_t length)
{
    if (out->failed)
        return;
    out->crc = mete__crc32c(out->crc, data, length);
    out->length += length;
    out->failed = mete__file_write(out->fd, data, length) != 0;
    out->why = out->failed ? errno : 0;
}

static struct out
begin(const char *path)
{
    struct out out = {.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    out.failed = out.fd < 0;
    out.why = out.failed ? errno : 0;
    return out;
}

static int
finish(struct out *out, const char *path, mete_error *err)
{
    if (!out->failed && fsync(out->fd)) {
        out->failed = true;
        out->why = errno;
    }
    if (out->fd >= 0 && close(out->fd) && !out->failed) {
        out->failed = true;
        out->why = errno;
    }
    errno = out->why;
    return out->failed ? refused(err, "write", path) : METE_OK;
}

/* state.safetensors; its size and checksum come back, and each array's checksum in `each`. */
static int
write_state(const mete__checkpoint *checkpoint, const char *path, uint64_t *length, uint32_t *crc,
            uint32_t *each, size_t *order, mete_error *err)
{
    mete_buffer header = mete_buffer_make(METE__TENSORS_HEADER_MAX);
    int rc = mete__tensors_header(checkpoint->array, checkpoint->arrays, checkpoint->fact,
                                  checkpoint->facts, order, &header);
    if (rc) {
        mete_buffer_free(&header);
        return mete_error_set(err, rc,
                              "the names in the checkpoint are too long, or out of memory");
    }
    struct out out = begin(path);
    put(&out, header.data, header.length);
    for (size_t i = 0; i < checkpoint->arrays; i++) {
        const mete__array *array = &checkpoint->array[order[i]];
        each[i] = mete__crc32c(0, array->data, array->end - array->begin);
        put(&out, array->data, array->end - array->begin);
    }
    mete_buffer_free(&header);
    *length = out.length;
    *crc = out.crc;
    return finish(&out, path, err);
}

/* The manifest's last member is the checksum of all bytes before it. */
static int
write_manifest(const mete__checkpoint *checkpoint, const char *path, uint64_t iteration,
               uint64_t length, uint32_t crc, const uint32_t *each, const size_t *order,
               mete_error *err)
{
    mete_buffer text = mete_buffer_make(0);
    mete_buffer_format(&text,
                       "{\"format\":1,\"iteration\":%" PRIu64
                       ",\"files\":{\"state.safetensors\":{\"bytes\":%" PRIu64
                       ",\"crc32c\":\"%08" PRIx32 "\"}},\"notes\":{",
                       iteration, length, crc);
    for (size_t i = 0; i < checkpoint->facts; i++) {
        if (i)
            mete_buffer_byte(&text, ',');
        mete_json_put_text(&text, mete_text_from(checkpoint->fact[i].key));
        mete_buffer_byte(&text, ':');
        mete_json_put_text(&text, mete_text_from(checkpoint->fact[i].value));
    }
    mete_buffer_string(&text, "},\"arrays\":{");
    for (size_t i = 0; i < checkpoint->arrays; i++) {
        if (i)
            mete_buffer_byte(&text, ',');
        mete_json_put_text(&text, mete_text_from(checkpoint->array[order[i]].name));
        mete_buffer_format(&text, ":\"%08" PRIx32 "\"", each[i]);
    }
    mete_buffer_byte(&text, '}');
    uint32_t self = mete__crc32c(0, text.data, text.length);
    mete_buffer_format(&text, ",\"self\":\"%08" PRIx32 "\"}\n", self);
    if (text.status) {
        mete_buffer_free(&text);
        return mete_error_set(err, METE_ENOMEM, "out of memory for a checkpoint");
    }
    struct out out = begin(path);
    put(&out, text.data, text.length);
    mete_buffer_free(&text);
    return finish(&out, path, err);
}

static int
write_files(const mete__checkpoint *checkpoint, const char *tmp, uint64_t iteration,
            mete_error *err)
{
    char state[PATH_MAX], manifest[PATH_MAX];
    size_t n = checkpoint->arrays ? checkpoint->arrays : 1;
    uint64_t length = 0;
    uint32_t crc = 0;
    if (snprintf(state, sizeof state, "%s/state.safetensors", tmp) >= (int)sizeof state ||
        snprintf(manifest, sizeof manifest, "%s/manifest.json", tmp) >= (int)sizeof manifest)
        return mete_error_set(err, METE_EINVAL, "the path %s is too long", tmp);
    size_t *order = malloc(n * sizeof *order);
    uint32_t *each = malloc(n * sizeof *each);
    int rc = METE_OK;
    if (!order || !each)
        rc = mete_error_set(err, METE_ENOMEM, "out of memory for a checkpoint");
    if (!rc)
        rc = write_state(checkpoint, state, &length, &crc, each, order, err);
    if (!rc)
        rc = write_manifest(checkpoint, manifest, iteration, length, crc, each, order, err);
    free(order);
    free(each);
    return rc ? rc : sync_folder(tmp, err);
}

/* Puts the folder in its place; one of that iteration already there is swapped out whole. */
static int
install(const char *tmp, const char *final, mete_error *err)
{
    if (rename(tmp, final) == 0)
        return METE_OK;
    if ((errno == ENOTEMPTY || errno == EEXIST) &&
        renameat2(AT_FDCWD, tmp, AT_FDCWD, final, RENAME_EXCHANGE) == 0)
        return METE_OK; /* tmp is the old one now; the caller drops it */
    return refused(err, "put in place", final);
}

static int
newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x > y ? -1 : x < y;
}

/* What is newer than the one just written was found damaged by whoever resumed before it. */
static void
prune(const char *parent, uint64_t iteration, size_t keep)
{
    size_t count;
    uint64_t *number = mete__checkpoint_numbers(parent, &count);
    char path[PATH_MAX];
    size_t kept = 0;
    if (number)
        qsort(number, count, sizeof *number, newest_first);
    for (size_t i = 0; number && i < count; i++) {
        if (number[i] <= iteration && kept < (keep ? keep : 1)) {
            kept++;
            continue;
        }
        if (snprintf(path, sizeof path, "%s/%08" PRIu64, parent, number[i]) < (int)sizeof path)
            drop(path);
    }
    free(number);
}

/* Leftovers of a killed writer; the run's lock says that no other is alive. */
static void
sweep(const char *parent)
{
    DIR *dir = opendir(parent);
    char path[PATH_MAX];
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));)
        if (strncmp(e->d_name, ".tmp-", 5) == 0 &&
            snprintf(path, sizeof path, "%s/%s", parent, e->d_name) < (int)sizeof path)
            drop(path);
    closedir(dir);
}

int
mete__checkpoint_write(const mete__checkpoint *checkpoint, const char *folder, uint64_t iteration,
                       size_t keep, mete_error *err)
{
    char parent[PATH_MAX], tmp[PATH_MAX], final[PATH_MAX];
    if (snprintf(parent, sizeof parent, "%s/checkpoints", folder) >= (int)sizeof parent ||
        snprintf(tmp, sizeof tmp, "%s/.tmp-%08" PRIu64, parent, iteration) >= (int)sizeof tmp ||
        snprintf(final, sizeof final, "%s/%08" PRIu64, parent, iteration) >= (int)sizeof final)
        return mete_error_set(err, METE_EINVAL, "the path %s is too long", folder);
    if (mkdir(parent, 0755) && errno != EEXIST)
        return refused(err, "create", parent);
    sweep(parent);
    if (mkdir(tmp, 0755))
        return refused(err, "create", tmp);
    int rc = write_files(checkpoint, tmp, iteration, err);
    if (!rc)
        rc = install(tmp, final, err);
    drop(tmp);
    if (rc)
        return rc;
    rc = sync_folder(parent, err);
    if (rc)
        return rc;
    prune(parent, iteration, keep);
    return METE_OK;
}
