/* checkpoint.h - everything learnt and everything needed to go on, as one safetensors file and a
 * manifest with checksums; written atomically, the last N kept. A damaged one is noticed and the
 * one before is taken. */
#ifndef METE_RUN_CHECKPOINT_H
#define METE_RUN_CHECKPOINT_H

#include <mete/base.h>
#include <stdbool.h>

typedef struct mete__checkpoint mete__checkpoint;

mete__checkpoint *mete__checkpoint_new(void);
void mete__checkpoint_free(mete__checkpoint *checkpoint);
/* Adds a named array (copied). Names are unique, any UTF-8. element: F32 F64 I32 I64 U8. */
int mete__checkpoint_add(mete__checkpoint *checkpoint, const char *name, mete_type element,
                         size_t count, const void *data, mete_error *err);
/* The array, borrowed, or NULL when there is none of that name, element and count (*count may be
 * SIZE_MAX on entry: any; it is set). */
const void *mete__checkpoint_get(const mete__checkpoint *checkpoint, const char *name,
                                 mete_type element, size_t *count);
/* The array of that name, element and count, to be written to; NULL when there is none. */
void *mete__checkpoint_edit(mete__checkpoint *checkpoint, const char *name, mete_type element,
                            size_t count);
/* Do nodes whose names begin with `prefix` keep the same bytes (METE_U8, ".../bytes") in both? */
bool mete__checkpoint_same(const mete__checkpoint *a, const mete__checkpoint *b,
                           const char *prefix);
/* Do two layouts of parameters, as checkpoints note them under "layout", agree? METE_EDATA with
 * where they part. */
int mete__layouts_agree(const char *then, const char *here, mete_error *err);
/* Short text facts: the manifest's own strings ("iteration", "seed", "blas", ...). */
int mete__checkpoint_note(mete__checkpoint *checkpoint, const char *key, const char *value,
                          mete_error *err);
const char *mete__checkpoint_noted(const mete__checkpoint *checkpoint, const char *key);
/* Writes folder/checkpoints/ITERATION/{state.safetensors,manifest.json}: into a temporary folder,
 * fsync, rename, fsync of the parent; then drops all but the newest `keep`. On any failure the old
 * ones stand and err says path and reason. */
int mete__checkpoint_write(const mete__checkpoint *checkpoint, const char *folder,
                           uint64_t iteration, size_t keep, mete_error *err);
/* The newest whole one under `folder`, skipping damaged ones (each told to `told`, may be NULL).
 * NULL with err.code METE_OK when there is none at all. */
mete__checkpoint *mete__checkpoint_read(const char *folder, uint64_t *iteration,
                                        void (*told)(void *user, const char *text), void *user,
                                        mete_error *err);

#endif
