/* config.h - a config as a tree of values, with the file and line each came from.
 *
 * libconfig parses; this copies the result into a tree of our own, so that --set, presets and
 * canonical writing work on one form, and rescans the text for integers libconfig would wrap. A
 * config is untrusted data: depth, size and includes are bounded. All errors of a file are gathered
 * and reported at once.
 */
#ifndef METE_ENGINE_CONFIG_H
#define METE_ENGINE_CONFIG_H

#include <mete/base.h>
#include <stdbool.h>
#include <stdio.h>

/* Gathered errors, one sentence each: "FILE:LINE: PATH: what; what is allowed". */
typedef struct mete__errors {
    char **line;
    size_t count;
} mete__errors;
void mete__errors_add(mete__errors *errors, const char *format, ...) METE_PRINTF(2, 3);
void mete__errors_print(const mete__errors *errors, FILE *to);
void mete__errors_free(mete__errors *errors);

typedef enum mete__value_kind {
    METE__GROUP,
    METE__LIST, /* ( ... ) of anything, or [ ... ] of scalars */
    METE__INT,
    METE__REAL,
    METE__BOOL,
    METE__STRING
} mete__value_kind;

typedef struct mete__value {
    mete__value_kind kind;
    const char *name; /* member name, NULL for list items and the root */
    const char *path; /* "reward.of[1].weight"; the root's is "" */
    const char *file; /* where it was written; "--set" for the command line */
    int line;
    bool used;       /* somebody read it; unread members are unknown keys */
    int64_t integer; /* INT and BOOL */
    double real;     /* REAL, and INT as a double */
    const char *string;
    struct mete__value *parent, *first, *last, *next;
    size_t count; /* members or items */
} mete__value;

typedef struct mete__config mete__config;

/* Reads `path` with its includes, then applies `set[i]` = "path=value" (value in libconfig syntax,
 * or a bare word taken as a string). Preset files of the installation are found by
 * mete__config_preset. NULL when errors were added. */
mete__config *mete__config_read(const char *path, const char *const *set, size_t sets,
                                mete__errors *errors);
/* The same from memory; `name` stands for the file in messages. For tests and fuzzing. */
mete__config *mete__config_parse(const char *name, const char *text, size_t length,
                                 const char *const *set, size_t sets, mete__errors *errors);
void mete__config_free(mete__config *config);
mete__value *mete__config_root(mete__config *config);
/* Merges group `over` onto a copy of the file `conf/objective/NAME.cfg`-like preset: members of
 * `over` replace the preset's, groups merge. The result belongs to the config. NULL + error when
 * no such preset exists (nearest name given). `folder` is "objective". */
mete__value *mete__config_preset(mete__config *config, const char *folder, const char *name,
                                 const mete__value *over, mete__errors *errors);
/* The whole as canonical text (sorted nothing, includes resolved, sets applied); secrets, marked by
 * the option tables, are written as "***". Caller frees. */
char *mete__config_write(const mete__value *root);
void mete__value_mark_secret(mete__value *value);

/* Member of a group by name (marks it used), or NULL. */
mete__value *mete__value_get(mete__value *group, const char *name);
/* By dotted path such as "reward.of[1].weight" or by node name: "@rubric.weight". NULL if none. */
mete__value *mete__value_find(mete__value *root, const char *path);
/* Typed reads with a default when absent; a wrong type or a value outside [lo, hi] adds an error
 * naming file, line, path, what was found and what is allowed, and returns the default. */
int64_t mete__value_int(mete__value *group, const char *name, int64_t def, int64_t lo, int64_t hi,
                        mete__errors *errors);
double mete__value_real(mete__value *group, const char *name, double def, double lo, double hi,
                        mete__errors *errors);
bool mete__value_bool(mete__value *group, const char *name, bool def, mete__errors *errors);
/* Borrowed until the config is freed. */
const char *mete__value_string(mete__value *group, const char *name, const char *def,
                               mete__errors *errors);
/* Index into words "one|two|three". */
int mete__value_enum(mete__value *group, const char *name, int def, const char *words,
                     mete__errors *errors);
/* The same for a value at hand, an item of a list: -1 with an error added. */
int mete__value_word(mete__value *value, const char *words, mete__errors *errors);
/* Adds an error for each member nobody read, naming the nearest of `allowed` ("a b c", the names
 * this place knows) where one is near. Recurses only into `group` itself. */
void mete__value_unknown(mete__value *group, const char *allowed, mete__errors *errors);
/* The word of space- or bar-separated `words` nearest to `name`, or NULL when none is near
 * (Damerau-Levenshtein at most a third of the length). Caller frees. */
char *mete__nearest(const char *name, const char *words);
/* "path", resolved against the folder of the file that wrote `value` (or the working directory for
 * --set), falling back to the installation's data folder for shipped slices. Caller frees. */
char *mete__value_file(const mete__value *value);

#endif
