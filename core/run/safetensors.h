/* safetensors.h - the safetensors file format: eight bytes of header length (little endian), a JSON
 * header naming each array's type, shape and place, then the arrays, one after another without
 * gaps. Text facts stand under "__metadata__".
 */
#ifndef METE_RUN_SAFETENSORS_H
#define METE_RUN_SAFETENSORS_H

#include <mete/text.h>

/* The most the reader takes of a header, and of arrays: far above any use, far below trouble. */
#define METE__TENSORS_HEADER_MAX ((size_t)100 << 20)
#define METE__TENSORS_MAX ((size_t)1 << 20)

/* Types that only published checkpoints have, beside those of mete_type. */
#define METE__F16 ((mete_type)100)
#define METE__BF16 ((mete_type)101)

#define METE__DIMENSIONS_MAX 8

typedef struct mete__array {
    char *name;
    mete_type element;                              /* F32 F64 I32 I64 U8, METE__F16 METE__BF16 */
    size_t count;                                   /* product of the shape */
    size_t dimensions, shape[METE__DIMENSIONS_MAX]; /* writing: 0 dimensions mean [count] */
    size_t begin, end;                              /* bytes, counted from the end of the header */
    void *data; /* reading: inside the file's bytes, maybe unaligned */
} mete__array;

typedef struct mete__fact {
    char *key, *value;
} mete__fact;

/* A parsed header. The arrays are in the order of their places. */
typedef struct mete__tensors {
    mete__array *array;
    size_t arrays;
    mete__fact *fact;
    size_t facts;
    size_t data; /* where the arrays begin in the file */
} mete__tensors;

/* Bytes of one element; 0 for a type that has no fixed size. */
size_t mete__element_size(mete_type element);

/* Gives every array its place, widest elements first so that each lies aligned, and appends the
 * length and the header, padded to 8 bytes. `order` [count] is the order to write the arrays in. */
int mete__tensors_header(mete__array *array, size_t count, const mete__fact *fact, size_t facts,
                         size_t *order, mete_buffer *out);
/* Reads a whole file in memory; everything in it is checked against its length. METE_EDATA with a
 * sentence, and an empty `out`, when it is not right. */
int mete__tensors_parse(const void *bytes, size_t length, mete__tensors *out, mete_error *err);
void mete__tensors_free(mete__tensors *tensors);

#endif
