/* region.h - memory that two processes see at one address, and a batch laid down in it. */
#ifndef METE_ENGINE_REGION_H
#define METE_ENGINE_REGION_H

#include <mete/batch.h>
#include <stdbool.h>

/* Bump memory. Pages are the system's until they are touched, so `size` may be generous. */
typedef struct mete__region {
    char *base;
    size_t size, used;
    bool full; /* something did not fit since the last rewind */
} mete__region;

/* Maps `size` bytes that processes forked from now on share; false where the system refuses. */
bool mete__region_map(mete__region *region, size_t size);
void mete__region_unmap(mete__region *region);
/* Forgets all but the first `keep` bytes, and gives pages back where they were many. */
void mete__region_rewind(mete__region *region, size_t keep);
/* `bytes` at a 64-byte boundary, not zeroed; NULL (and `full`) when they do not fit. */
void *mete__region_take(mete__region *region, size_t bytes);
/* A copy of an array; NULL of NULL. */
void *mete__region_put(mete__region *region, const void *from, size_t bytes);
/* A copy of an array of texts and of their bytes; NULL of NULL. */
mete_text *mete__region_texts(mete__region *region, const mete_text *from, size_t count);
/* The whole batch with all it points to; NULL when it does not fit. */
mete_batch *mete__region_batch(mete__region *region, const mete_batch *from);

#endif
