/* arrays.h - named arrays of published checkpoints: safetensors files, whole or in shards.
 *
 * Files are mapped, not read: opening one of many gigabytes costs nothing until numbers are asked
 * for. All that a header says is checked against the file first; see safetensors.c.
 */
#ifndef METE_ARRAYS_H
#define METE_ARRAYS_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mete_arrays mete_arrays;

/* One array; borrowed until mete_arrays_close. */
typedef struct mete_array {
    const char *name;
    size_t dimensions;   /* at most 8 */
    const size_t *shape; /* [dimensions] */
    size_t count;        /* product of the shape */
    const void *host;
} mete_array;

/* The file at `path`, or in the folder there model.safetensors, or the shards that
 * model.safetensors.index.json names. NULL with a sentence: METE_EIO, METE_EDATA. */
METE_API mete_arrays *mete_arrays_open(const char *path, mete_error *err);
METE_API void mete_arrays_close(mete_arrays *arrays);
METE_API size_t mete_arrays_count(const mete_arrays *arrays);
METE_API const mete_array *mete_arrays_at(const mete_arrays *arrays, size_t i); /* by name */
/* NULL when there is none. */
METE_API const mete_array *mete_arrays_find(const mete_arrays *arrays, const char *name);
/* Elements [from, from + count) as float32: F32, F16 and BF16 exactly, F64 rounded. METE_ENOTSUP
 * for integers. */
METE_API int mete_array_read(const mete_array *array, size_t from, size_t count, float *out,
                             mete_error *err) METE_CHECKED;

/* What to write: a float32 array of up to 4 dimensions. */
typedef struct mete_array_given {
    const char *name;
    size_t dimensions, shape[4];
    const float *data;
} mete_array_given;

/* Writes a safetensors file at `path`, whole or not at all; what was there is replaced. */
METE_API int mete_arrays_write(const char *path, const mete_array_given *array, size_t count,
                               mete_error *err) METE_CHECKED;

#ifdef __cplusplus
}
#endif
#endif
