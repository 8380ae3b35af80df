/* checkpoint_file.h - what checkpoint.c and its file side share; nobody else includes this. */
#ifndef METE_RUN_CHECKPOINT_FILE_H
#define METE_RUN_CHECKPOINT_FILE_H

#include "run/checkpoint.h"
#include "run/safetensors.h"

struct mete__checkpoint {
    mete__array *array; /* data owned */
    size_t arrays, array_room;
    mete__fact *fact;
    size_t facts, fact_room;
};

/* A file whole in memory; at most `limit` bytes. Caller frees with free(). */
char *mete__file_read(const char *path, size_t limit, size_t *length, mete_error *err);
/* Writes everything, through short writes and signals. */
int mete__file_write(int fd, const void *data, size_t length);

/* Iterations that have a folder under `parent`, in no order; NULL with *count 0 when there are
 * none. Caller frees. */
uint64_t *mete__checkpoint_numbers(const char *parent, size_t *count);

#endif
