/* index.h - a folder of runs as a table: what each was, how it ended, its last numbers.
 *
 * The table is kept in FOLDER/.mete-index.sqlite and is a cache: opening it looks at every run
 * folder below and reads anew those that changed, so it may be lost, damaged or old without harm.
 */
#ifndef METE_RUN_INDEX_H
#define METE_RUN_INDEX_H

#include <mete/base.h>
#include <stdbool.h>

typedef struct mete__index mete__index;

typedef struct mete__run_entry {
    char *path;            /* below the folder; "." is the folder itself */
    char *state;           /* finished, running, interrupted, failed, or stopped (killed) */
    char *started, *ended; /* as in the journal; "" where it does not say */
    char *policy, *environment, *objective; /* what each uses; "" where the config does not say */
    double seed, iterations;                /* iterations that metrics.jsonl has */
    char **name;                            /* [metrics] in the order of the file */
    double *value;                          /* the last of each; NaN: null */
    size_t metrics;
} mete__run_entry;

/* Brings the table up to date and reads it, by path. Runs are looked for five folders deep, and
 * not below one. NULL + err where the folder cannot be read. */
mete__index *mete__index_open(const char *folder, mete_error *err);
size_t mete__index_count(const mete__index *index);
const mete__run_entry *mete__index_at(const mete__index *index, size_t i);
void mete__index_close(mete__index *index);

/* Does the folder hold a run: a resolved config and a journal? */
bool mete__holds_run(const char *folder);
/* One run, read from its folder. NULL + err where it holds none. Freed by mete__run_entry_free. */
mete__run_entry *mete__run_entry_read(const char *folder, mete_error *err);
void mete__run_entry_free(mete__run_entry *entry);

#endif
