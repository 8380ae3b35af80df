/* checkpoint_read.c - finds the newest whole checkpoint.
 *
 * Every byte of both files is covered by a checksum, so a flipped byte or a cut anywhere makes a
 * checkpoint damaged; a damaged one is told of and the one before is tried.
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

#define MANIFEST_MAX ((size_t)256 << 20)
#define SELF_LENGTH 20 /* of ,"self":"01234567"} and a newline */

char *
mete__file_read(const char *path, size_t limit, size_t *length, mete_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *data = NULL;
    size_t at = 0;
    ssize_t n = -1;
    if (fd < 0 || fstat(fd, &st)) {
        mete_error_set(err, METE_EIO, "cannot read %s: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > limit) {
        mete_error_set(err, METE_EDATA, "%s is no file of at most %zu bytes", path, limit);
        goto done;
    }
    size_t size = (size_t)st.st_size;
    data = malloc(size + 1);
    if (!data) {
        mete_error_set(err, METE_ENOMEM, "out of memory for the %zu bytes of %s", size, path);
        goto done;
    }
    while (at < size && (n = read(fd, data + at, size - at)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    if (at < size) {
        mete_error_set(err, METE_EIO, "cannot read %s: %s", path,
                       n < 0 ? strerror(errno) : "it became shorter");
        free(data);
        data = NULL;
        goto done;
    }
    data[size] = '\0';
    *length = size;
done:
    if (fd >= 0)
        close(fd);
    return data;
}

uint64_t *
mete__checkpoint_numbers(const char *parent, size_t *count)
{
    DIR *dir = opendir(parent);
    uint64_t *number = NULL;
    size_t room = 0;
    *count = 0;
    if (!dir)
        return NULL;
    for (struct dirent *e; (e = readdir(dir));) {
        size_t digits = strspn(e->d_name, "0123456789");
        if (digits < 8 || digits > 19 || e->d_name[digits])
            continue;
        if (*count == room) {
            room = room ? 2 * room : 16;
            uint64_t *wider = realloc(number, room * sizeof *number);
            if (!wider)
                break;
            number = wider;
        }
        number[(*count)++] = strtoull(e->d_name, NULL, 10);
    }
    closedir(dir);
    return number;
}

static bool
is_crc(mete_text word, uint32_t crc)
{
    char hex[9];
    snprintf(hex, sizeof hex, "%08" PRIx32, crc);
    return mete_text_is(word, hex);
}

/* The manifest, checked against its own checksum. */
static mete_json *
read_manifest(const char *path, uint64_t iteration, mete_error *err)
{
    size_t length;
    char *text = mete__file_read(path, MANIFEST_MAX, &length, err);
    mete_json *root = NULL;
    char tail[32];
    if (!text)
        return NULL;
    size_t end = length > SELF_LENGTH ? length - SELF_LENGTH : 0;
    snprintf(tail, sizeof tail, ",\"self\":\"%08" PRIx32 "\"}\n", mete__crc32c(0, text, end));
    if (!end || memcmp(text + end, tail, SELF_LENGTH) != 0) {
        mete_error_set(err, METE_EDATA, "%s does not match its own checksum", path);
    } else {
        root = mete_json_parse((mete_text){text, length - 1}, err);
        if (root && mete_json_number(mete_json_get(root, "format")) != 1) {
            mete_error_set(err, METE_EDATA, "%s has a format this version does not read", path);
            mete_json_free(root);
            root = NULL;
        } else if (root &&
                   mete_json_number(mete_json_get(root, "iteration")) != (double)iteration) {
            mete_error_set(err, METE_EDATA, "%s is of another iteration than its folder", path);
            mete_json_free(root);
            root = NULL;
        }
    }
    free(text);
    return root;
}

/* Copies the arrays and facts out of a file known to be whole. */
static mete__checkpoint *
copy_out(const mete__tensors *tensors, mete_error *err)
{
    mete__checkpoint *checkpoint = mete__checkpoint_new();
    if (!checkpoint) {
        mete_error_set(err, METE_ENOMEM, "out of memory for a checkpoint");
        return NULL;
    }
    int rc = METE_OK;
    for (size_t i = 0; i < tensors->arrays && !rc; i++) {
        const mete__array *a = &tensors->array[i];
        rc = mete__checkpoint_add(checkpoint, a->name, a->element, a->count, a->data, err);
    }
    for (size_t i = 0; i < tensors->facts && !rc; i++)
        rc = mete__checkpoint_note(checkpoint, tensors->fact[i].key, tensors->fact[i].value, err);
    if (rc) {
        mete__checkpoint_free(checkpoint);
        return NULL;
    }
    return checkpoint;
}

/* Says which array is damaged, where the header still tells. */
static int
blame(const char *path, const char *bytes, size_t length, const mete_json *manifest,
      mete_error *err)
{
    mete__tensors tensors;
    const mete_json *arrays = mete_json_get(manifest, "arrays");
    if (mete__tensors_parse(bytes, length, &tensors, NULL) == METE_OK) {
        for (size_t i = 0; i < tensors.arrays; i++) {
            const mete__array *a = &tensors.array[i];
            if (!is_crc(mete_json_text(mete_json_get(arrays, a->name)),
                        mete__crc32c(0, a->data, a->end - a->begin))) {
                int rc =
                    mete_error_set(err, METE_EDATA, "%s is damaged in array \"%s\"", path, a->name);
                mete__tensors_free(&tensors);
                return rc;
            }
        }
        mete__tensors_free(&tensors);
    }
    return mete_error_set(err, METE_EDATA, "%s is damaged in its header", path);
}

static mete__checkpoint *
read_state(const char *path, const mete_json *manifest, mete_error *err)
{
    const mete_json *file = mete_json_get(mete_json_get(manifest, "files"), "state.safetensors");
    mete__checkpoint *checkpoint = NULL;
    mete__tensors tensors;
    size_t length;
    char *bytes = mete__file_read(path, SIZE_MAX / 2, &length, err);
    if (!bytes)
        return NULL;
    if ((double)length != mete_json_number(mete_json_get(file, "bytes")))
        mete_error_set(err, METE_EDATA, "%s has %zu bytes, not the %.0f it was written with", path,
                       length, mete_json_number(mete_json_get(file, "bytes")));
    else if (!is_crc(mete_json_text(mete_json_get(file, "crc32c")), mete__crc32c(0, bytes, length)))
        blame(path, bytes, length, manifest, err);
    else if (mete__tensors_parse(bytes, length, &tensors, err) == METE_OK) {
        checkpoint = copy_out(&tensors, err);
        mete__tensors_free(&tensors);
    }
    free(bytes);
    return checkpoint;
}

static mete__checkpoint *
read_one(const char *parent, uint64_t iteration, mete_error *err)
{
    char path[PATH_MAX], state[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%08" PRIu64 "/manifest.json", parent, iteration) >=
            (int)sizeof path ||
        snprintf(state, sizeof state, "%s/%08" PRIu64 "/state.safetensors", parent, iteration) >=
            (int)sizeof state) {
        mete_error_set(err, METE_EINVAL, "the path %s is too long", parent);
        return NULL;
    }
    mete_json *manifest = read_manifest(path, iteration, err);
    if (!manifest)
        return NULL;
    mete__checkpoint *checkpoint = read_state(state, manifest, err);
    mete_json_free(manifest);
    return checkpoint;
}

static int
newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x > y ? -1 : x < y;
}

mete__checkpoint *
mete__checkpoint_read(const char *folder, uint64_t *iteration,
                      void (*told)(void *user, const char *text), void *user, mete_error *err)
{
    char parent[PATH_MAX];
    mete_error why = {0};
    size_t count;
    if (err)
        *err = (mete_error){0};
    if (snprintf(parent, sizeof parent, "%s/checkpoints", folder) >= (int)sizeof parent) {
        mete_error_set(err, METE_EINVAL, "the path %s is too long", folder);
        return NULL;
    }
    uint64_t *number = mete__checkpoint_numbers(parent, &count);
    mete__checkpoint *checkpoint = NULL;
    if (number)
        qsort(number, count, sizeof *number, newest_first);
    for (size_t i = 0; i < count && !checkpoint; i++) {
        checkpoint = read_one(parent, number[i], &why);
        if (checkpoint)
            *iteration = number[i];
        else if (told)
            told(user, why.message);
    }
    if (!checkpoint && count)
        mete_error_set(err, METE_EDATA, "none of the %zu checkpoints in %s is whole: %s", count,
                       parent, why.message);
    free(number);
    return checkpoint;
}
