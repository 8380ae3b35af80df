/* mete.h - for programs: a config's reward tree, or its environment, in a few lines of C.
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
 * any time, but mete_close, which comes last.
 *
 *     mete_world *world = mete_world_open("env.cfg", NULL, &err);
 *     uint64_t episode = 1, task = 0;
 *     int bad = !world || mete_world_reset(world, NULL, 1, &episode, &task, 0, &err);
 *     while (!bad) {
 *         world->actions->action[0] = choose(world->now->observation);
 *         bad = mete_world_step(world, &err);
 *         total += world->moved->reward[0];
 *     }
 *
 * A world is used by one thread at a time; different ones may be used side by side.
 *
 * Plugins are found as the command finds them (the installation's folder, METE_PLUGIN_PATH). Link
 * with `pkg-config --libs mete`.
 */
#ifndef METE_METE_H
#define METE_METE_H

#include "base.h"
#include "environment.h"

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
/* Values of one column for all records, end to end. */
typedef struct mete_values {
    uint32_t size; /* sizeof(mete_values), in each of an array */
    uint32_t reserved;
    const char *name;       /* as in mete_cell; of prompts and responses it is not read */
    const char *bytes;      /* value i is bytes [offset[i], offset[i + 1]) */
    const uint64_t *offset; /* [count + 1] rising */
    const uint8_t *element; /* [count] METE_TEXT, METE_JSON or METE_ABSENT; NULL: METE_TEXT each.
                               JSON prompts and responses are messages */
} mete_values;
enum { METE_ABSENT = 255 };

/* The same for columns, which costs a caller nothing a record. `prompt` may be NULL; else adjacent
 * records of equal prompt are judged together. `column` [columns]. */
METE_API METE_CHECKED int mete_score_columns(mete_scorer *scorer, const mete_values *prompt,
                                             const mete_values *response, const mete_values *column,
                                             size_t columns, size_t count, mete_results **results,
                                             mete_error *err);
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

/* ---- Environments ---------------------------------------------------------------------------- */

/* What an environment shows of its lanes beside the observation. */
typedef struct mete_world_column {
    uint32_t size;
    uint32_t level; /* mete_level: a value is of an episode, a step or a turn; METE_LIST: a list */
    uint32_t element; /* mete_type */
    uint32_t visible; /* mete_visible: who is meant to see it; a policy only METE_SEE_POLICY */
    uint32_t signal;  /* 1: a number that the last step did, such as a cost: float values */
    const char *name, *help;
    const void *value; /* [lanes] of mete_text (METE_TEXT, METE_JSON), double, float, int32_t ...;
                          NULL for lists, see mete_world_list */
} mete_world_column;

/* An environment, opened. Pointers stay as they are until it is closed; what they point to is
 * written by reset and step. See environment.h for each struct. */
typedef struct mete_world {
    uint32_t size;
    uint32_t columns;
    size_t lanes;
    const mete_spaces *spaces;
    mete_actions *actions;         /* for the program to fill before a step: action, vector or text,
                                      as spaces->action says; texts are borrowed until it returns */
    const mete_observations *now;  /* what each lane shows */
    const mete_transitions *moved; /* what the last step did. A lane that ended began its next
                                      episode in that step: `now` is the new one's first */
    const mete_world_column *column; /* [columns] */
} mete_world;

typedef struct mete_world_options {
    uint32_t size;          /* sizeof(mete_world_options) */
    unsigned threads;       /* that step lanes side by side; 0: 1 */
    size_t lanes;           /* 0: 1 */
    const char *const *set; /* [sets] "path=value" as after --set; or NULL */
    size_t sets;
    void (*log)(void *user, const char *path, int level, const char *text); /* as in mete_open */
    void *user;
} mete_world_options;

/* Opens `env` of a config. `config` may be NULL: one of what `set` says alone, such as
 * "env.use=cartpole". `options` may be NULL. NULL after an error. Run's seed is 1 unless the config
 * says another: equal seeds and episodes are the same world. */
METE_API mete_world *mete_world_open(const char *config, const mete_world_options *options,
                                     mete_error *err);
/* NULL is fine. */
METE_API void mete_world_close(mete_world *world);
/* Starts `count` lanes (`lane` [count], or NULL: the first ones) with episodes of these ids, which
 * key all that is drawn in them, and tasks of these numbers (the rows of a data environment, in its
 * order). `evaluation` 1: held-out episodes. A lane that ends goes on with episode and task +
 * lanes. METE_OK or a status. */
METE_API METE_CHECKED int mete_world_reset(mete_world *world, const uint32_t *lane, size_t count,
                                           const uint64_t *episode, const uint64_t *task,
                                           int evaluation, mete_error *err);
/* One step of all lanes by world->actions. All lanes must have been started. METE_EINVAL, and
 * nothing moved, where an action is outside the environment's space. */
METE_API METE_CHECKED int mete_world_step(mete_world *world, mete_error *err);
/* The lane's list of a METE_LIST column: until the next reset or step. */
METE_API mete_texts mete_world_list(const mete_world *world, size_t column, size_t lane);
/* Writes the names of the plugins of a kind that are installed, sorted, with spaces between, as
 * snprintf writes: at most `size` bytes with the end, and how long the whole is. */
METE_API size_t mete_plugin_names(mete_kind kind, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
