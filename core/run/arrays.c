/* arrays.c - safetensors files as published, behind <mete/arrays.h>. */
#include "run/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <mete/arrays.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX "model.safetensors.index.json"
#define INDEX_MOST ((size_t)64 << 20)
#define FILES_MOST 1024

struct mapped {
    char *name; /* as the index has it */
    void *bytes;
    size_t length;
    mete__tensors tensors;
};

struct mete_arrays {
    struct mapped *file;
    size_t files;
    mete_array *array; /* by name */
    size_t arrays;
};

/* ---- opening --------------------------------------------------------------------------------- */

static int
map_file(const char *path, struct mapped *file, mete_error *err)
{
    struct stat info;
    mete_error why = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mete_error_set(err, METE_EIO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &info) || !S_ISREG(info.st_mode)) {
        close(fd);
        return mete_error_set(err, METE_EIO, "%s: is no regular file", path);
    }
    file->length = (size_t)info.st_size;
    file->bytes =
        file->length ? mmap(NULL, file->length, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (file->bytes == MAP_FAILED) {
        file->bytes = NULL;
        return mete_error_set(err, METE_EDATA, "%s: %s", path,
                              file->length ? "cannot be mapped" : "is empty");
    }
    int status = mete__tensors_parse(file->bytes, file->length, &file->tensors, &why);
    return status ? mete_error_set(err, status, "%s: %s", path, why.message) : METE_OK;
}

static struct mapped *
add_file(mete_arrays *arrays, const char *name)
{
    for (size_t i = 0; i < arrays->files; i++)
        if (strcmp(arrays->file[i].name, name) == 0)
            return &arrays->file[i];
    struct mapped *grown = realloc(arrays->file, (arrays->files + 1) * sizeof *grown);
    char *copy = strdup(name);
    if (grown)
        arrays->file = grown;
    if (!grown || !copy) {
        free(copy);
        return NULL;
    }
    grown[arrays->files] = (struct mapped){.name = copy};
    return &grown[arrays->files++];
}

/* The shards an index names: files beside it, so none leads out of the folder. */
static int
read_index(const char *path, mete_arrays *arrays, mete_error *err)
{
    mete_buffer text = mete_buffer_make(0);
    mete_error why = {0};
    int status = mete_file_read(path, INDEX_MOST, &text, err);
    mete_json *root = status ? NULL : mete_json_parse(mete_buffer_view(&text), &why);
    const mete_json *map = mete_json_get(root, "weight_map");
    if (!status && mete_json_kind(map) != METE_JSON_OBJECT)
        status = mete_error_set(err, METE_EDATA, "%s: %s", path,
                                root ? "has no object \"weight_map\"" : why.message);
    for (const mete_json *m = status ? NULL : mete_json_first(map); m && !status;
         m = mete_json_next(m)) {
        mete_text name = mete_json_text(m);
        char copy[256];
        if (!name.length || name.length >= sizeof copy || name.data[0] == '.' ||
            memchr(name.data, '/', name.length) || memchr(name.data, 0, name.length)) {
            status =
                mete_error_set(err, METE_EDATA, "%s: weight_map must name files beside it", path);
            break;
        }
        memcpy(copy, name.data, name.length);
        copy[name.length] = 0;
        if (arrays->files >= FILES_MOST || !add_file(arrays, copy))
            status = mete_error_set(err, METE_EDATA, "%s: names too many files", path);
    }
    mete_json_free(root);
    mete_buffer_free(&text);
    return status;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const mete_array *)a)->name, ((const mete_array *)b)->name);
}

static int
list_arrays(const char *path, mete_arrays *arrays, mete_error *err)
{
    size_t count = 0;
    for (size_t f = 0; f < arrays->files; f++)
        count += arrays->file[f].tensors.arrays;
    if (!(arrays->array = calloc(count + 1, sizeof *arrays->array)))
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    for (size_t f = 0; f < arrays->files; f++)
        for (size_t i = 0; i < arrays->file[f].tensors.arrays; i++) {
            const mete__array *a = &arrays->file[f].tensors.array[i];
            arrays->array[arrays->arrays++] =
                (mete_array){a->name, a->dimensions, a->shape, a->count, a};
        }
    qsort(arrays->array, arrays->arrays, sizeof *arrays->array, by_name);
    for (size_t i = 1; i < arrays->arrays; i++)
        if (strcmp(arrays->array[i - 1].name, arrays->array[i].name) == 0)
            return mete_error_set(err, METE_EDATA, "%s: array \"%s\" stands twice", path,
                                  arrays->array[i].name);
    return METE_OK;
}

static int
open_all(const char *path, mete_arrays *arrays, mete_error *err)
{
    char at[4096];
    struct stat info;
    if (stat(path, &info))
        return mete_error_set(err, METE_EIO, "%s: cannot open: %s", path, strerror(errno));
    bool folder = S_ISDIR(info.st_mode);
    if (folder) {
        snprintf(at, sizeof at, "%s/" INDEX, path);
        int status = access(at, F_OK) ? METE_OK : read_index(at, arrays, err);
        if (status)
            return status;
        if (!arrays->files && !add_file(arrays, "model.safetensors"))
            return mete_error_set(err, METE_ENOMEM, "out of memory");
    } else if (!add_file(arrays, path)) {
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    for (size_t f = 0; f < arrays->files; f++) {
        snprintf(at, sizeof at, folder ? "%s/%s" : "%s", folder ? path : arrays->file[f].name,
                 arrays->file[f].name);
        int status = map_file(at, &arrays->file[f], err);
        if (status)
            return status;
    }
    return list_arrays(path, arrays, err);
}

mete_arrays *
mete_arrays_open(const char *path, mete_error *err)
{
    mete_arrays *arrays = calloc(1, sizeof *arrays);
    if (!arrays) {
        mete_error_set(err, METE_ENOMEM, "out of memory");
        return NULL;
    }
    if (open_all(path, arrays, err)) {
        mete_arrays_close(arrays);
        return NULL;
    }
    return arrays;
}

void
mete_arrays_close(mete_arrays *arrays)
{
    if (!arrays)
        return;
    for (size_t i = 0; i < arrays->files; i++) {
        mete__tensors_free(&arrays->file[i].tensors);
        if (arrays->file[i].bytes)
            munmap(arrays->file[i].bytes, arrays->file[i].length);
        free(arrays->file[i].name);
    }
    free(arrays->file);
    free(arrays->array);
    free(arrays);
}

/* ---- asking ---------------------------------------------------------------------------------- */

size_t
mete_arrays_count(const mete_arrays *arrays)
{
    return arrays->arrays;
}

const mete_array *
mete_arrays_at(const mete_arrays *arrays, size_t i)
{
    return &arrays->array[i];
}

const mete_array *
mete_arrays_find(const mete_arrays *arrays, const char *name)
{
    mete_array key = {.name = name};
    return bsearch(&key, arrays->array, arrays->arrays, sizeof key, by_name);
}

static float
from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction. */
static float
from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, fraction = half & 0x3ff;
    uint32_t exponent = (half >> 10) & 31;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent)
        return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float tiny = (float)fraction * 0x1p-24f;
    return sign ? -tiny : tiny;
}

int
mete_array_read(const mete_array *array, size_t from, size_t count, float *out, mete_error *err)
{
    const mete__array *a = array->host;
    if (count > a->count || from > a->count - count)
        return mete_error_set(err, METE_EINVAL, "array \"%s\" has %zu elements", a->name, a->count);
    size_t size = mete__element_size(a->element);
    const char *at = (const char *)a->data + from * size;
    uint16_t half;
    double wide;
    if (a->element == METE_F32)
        memcpy(out, at, count * size);
    else if (a->element == METE__F16 || a->element == METE__BF16)
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, at + i * size, size);
            out[i] = a->element == METE__F16 ? from_half(half) : from_bits((uint32_t)half << 16);
        }
    else if (a->element == METE_F64)
        for (size_t i = 0; i < count; i++) {
            memcpy(&wide, at + i * size, size);
            out[i] = (float)wide;
        }
    else
        return mete_error_set(err, METE_ENOTSUP, "array \"%s\" is of integers", a->name);
    return METE_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int
write_file(FILE *file, const mete_buffer *header, const mete_array_given *array,
           const mete__array *placed, const size_t *order, size_t count)
{
    bool good = fwrite(header->data, 1, header->length, file) == header->length;
    for (size_t i = 0; i < count && good; i++) {
        size_t n = placed[order[i]].count;
        good = fwrite(array[order[i]].data, sizeof(float), n, file) == n;
    }
    return good && !fflush(file) && !fsync(fileno(file)) ? METE_OK : METE_EIO;
}

int
mete_arrays_write(const char *path, const mete_array_given *array, size_t count, mete_error *err)
{
    char part[4096];
    mete_buffer header = mete_buffer_make(0);
    mete__array *placed = calloc(count + 1, sizeof *placed);
    size_t *order = calloc(count + 1, sizeof *order);
    int status = placed && order ? METE_OK : METE_ENOMEM;
    for (size_t i = 0; i < count && !status; i++) {
        placed[i] = (mete__array){.name = (char *)(uintptr_t)array[i].name,
                                  .element = METE_F32,
                                  .count = 1,
                                  .dimensions = array[i].dimensions};
        for (size_t d = 0; d < array[i].dimensions; d++) {
            placed[i].shape[d] = array[i].shape[d];
            placed[i].count *= array[i].shape[d];
        }
    }
    const mete__fact format = {(char *)(uintptr_t) "format", (char *)(uintptr_t) "pt"};
    if (!status)
        status = mete__tensors_header(placed, count, &format, 1, order, &header);
    if (status)
        mete_error_set(err, status, "out of memory");
    FILE *file = NULL;
    snprintf(part, sizeof part, "%s.part", path);
    if (!status &&
        (!(file = fopen(part, "wbe")) || write_file(file, &header, array, placed, order, count)))
        status = mete_error_set(err, METE_EIO, "%s: cannot write: %s", part, strerror(errno));
    if (file && fclose(file) && !status)
        status = mete_error_set(err, METE_EIO, "%s: cannot write: %s", part, strerror(errno));
    if (!status && rename(part, path))
        status = mete_error_set(err, METE_EIO, "%s: cannot write: %s", path, strerror(errno));
    if (status && file)
        unlink(part);
    free(placed);
    free(order);
    mete_buffer_free(&header);
    return status;
}
