/* fuzz_safetensors.c - any bytes as a safetensors file: no crash, every array within the file and
 * where the one before ends, and what is read is written again as a file that reads the same.
 */
#include "run/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition)
{
    if (!condition)
        abort();
}

static void
rewrite(const mete__tensors *was)
{
    mete__tensors again;
    mete_buffer out = {0};
    size_t *order = calloc(was->arrays + 1, sizeof *order);
    mete__array *array = calloc(was->arrays + 1, sizeof *array);
    require(order && array);
    if (was->arrays)
        memcpy(array, was->array, was->arrays * sizeof *array);
    require(mete__tensors_header(array, was->arrays, was->fact, was->facts, order, &out) ==
            METE_OK);
    require(out.length % 8 == 0);
    for (size_t i = 0; i < was->arrays; i++)
        mete_buffer_append(&out, array[order[i]].data, array[order[i]].end - array[order[i]].begin);
    int rc = mete__tensors_parse(out.data, out.length, &again, NULL);
    require(rc == METE_OK && again.arrays == was->arrays && again.facts == was->facts);
    mete__tensors_free(&again);
    mete_buffer_free(&out);
    free(order);
    free(array);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mete__tensors tensors;
    mete_error err = {0};
    size_t at = 0;
    int rc = mete__tensors_parse(data, size, &tensors, &err);
    if (rc) {
        require(err.message[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < tensors.arrays; i++) {
        const mete__array *a = &tensors.array[i];
        require(a->begin == at && a->end >= a->begin && tensors.data + a->end <= size);
        require(a->count * mete__element_size(a->element) == a->end - a->begin);
        at = a->end;
    }
    require(tensors.data + at == size);
    rewrite(&tensors);
    mete__tensors_free(&tensors);
    return 0;
}
