/* mete.h - for programs that score: a config's reward tree in a few lines of C.
 *
 *     mete_error err = {0};
 *     mete_results *out;
 *     mete_scorer *scorer = mete_open("reward.cfg", NULL, &err);
 *     mete_record row = {.size = sizeof row, .prompt = mete_text_from("What is 2 + 2?"),
 *                        .response = mete_text_from("It is 4.")};
 *     if (!scorer || mete_score(scorer, &row, 1, &out, &err))
 *         return fprintf(stderr, "%s\n", err.message), 1;
 *     printf("%g\n", out->reward[0]);
 *     mete_results_free(out);
 *     mete_close(scorer);
 *
 * A record's score has the same bits as `mete score` gives it. Any thread may call any function at
 * any time, but mete_close, which comes last. Plugins are found as the command finds them (the
 * installation's folder, METE_PLUGIN_PATH). Link with `pkg-config --libs mete`.
 */
#ifndef METE_METE_H
#define METE_METE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A config's reward tree, opened. */
typedef struct mete_scorer mete_scorer;

typedef struct mete_open_options {
    uint32_t size;          /* sizeof(mete_open_options) */
    unsigned threads;       /* calls that may score side by side, each with a tree of its own; the
                               next one waits. 0: 1 */
    const char *const *set; /* [sets] "path=value" as after --set; or NULL */
    size_t sets;
    /* What plugins have to say (level 2: a warning, 3: an error), from the threads that score. */
    void (*log)(void *user, const char *path, int level, const char *text); /* or NULL */
    void *user;
} mete_open_options;

/* Reads the config and opens its reward. `options` may be NULL. NULL after an error, all faults of
 * the config in err->message, a line each. */
METE_API mete_scorer *mete_open(const char *config, const mete_open_options *options,
                                mete_error *err);
/* NULL is fine. No call may be under way; results stay until they are freed. */
METE_API void mete_close(mete_scorer *scorer);

/* One more column of a record. */
typedef struct mete_cell {
    const char *name; /* as a file's record names it: the config's data.map is applied */
    mete_text value;
    uint32_t element; /* METE_TEXT: a string, as it is; METE_JSON: one JSON value, such as 4.5 or
                         ["a","b"] */
} mete_cell;

/* Flags of a record: the prompt, the response is a JSON array of messages {"role","content"}. */
enum { METE_PROMPT_JSON = 1, METE_RESPONSE_JSON = 2 };

/* One response to judge. Texts are borrowed until the call returns. */
typedef struct mete_record {
    uint32_t size; /* sizeof(mete_record), in each record of an array */
    uint32_t cells;
    mete_text prompt, response;
    mete_text group;       /* adjacent records of equal group are judged together; empty: alone */
    const mete_cell *cell; /* [cells] */
    uint32_t flags;        /* METE_PROMPT_JSON, METE_RESPONSE_JSON */
} mete_record;

/* Scores of records, in their order. All is one piece of memory, of mete_results_free. */
typedef struct mete_results {
    uint32_t size;
    uint32_t components;       /* nodes below the tree's root */
    size_t count;              /* records */
    const double *reward;      /* [count] NaN where the status is not METE_VALID */
    const double *spread;      /* [count] the root's standard deviation; NaN where it states none */
    const uint8_t *status;     /* [count] mete_row_status */
    const char *const *reason; /* [count] a sentence where the status is not METE_VALID, else "" */
    const char *const *name;   /* [components] as in the lines of `mete score` */
    const double *component;   /* [components x count], NaN where not valid */
    const uint8_t *component_status; /* [components x count]; METE_NOT_APPLICABLE where a node was
                                        not asked */
} mete_results;

/* Scores `count` records as one batch; record i draws what the i-th line of a file would. METE_OK
 * with *results (a record that could not be read is METE_FAILED in it), else a status, a sentence
 * in `err`, and *results NULL. */
METE_API METE_CHECKED int mete_score(mete_scorer *scorer, const mete_record *record, size_t count,
                                     mete_results **results, mete_error *err);
/* The same for records in JSON, as files have them: one object, an array of objects, or lines of
 * an object each. */
METE_API METE_CHECKED int mete_score_json(mete_scorer *scorer, mete_text records,
                                          mete_results **results, mete_error *err);
METE_API void mete_results_free(mete_results *results);

/* The column that a single "label" or "ground_truth" of a trainer fills: the only one the tree
 * reads, else "label". Borrowed from the scorer. */
METE_API const char *mete_label_name(const mete_scorer *scorer);
/* Parts a text that is a whole dialogue, as chat templates write it: what stands before the last
 * answer, and the answer without marks of its end such as <|im_end|>. `prompt`, where it is not
 * empty, says what comes before; where it is not found the marks of templates do. Both are borrowed
 * from the arguments. */
METE_API void mete_dialogue_split(mete_text whole, mete_text prompt, mete_text *before,
                                  mete_text *answer);

#ifdef __cplusplus
}
#endif
#endif
