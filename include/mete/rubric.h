/* rubric.h - rubric generators: prompts in, criteria out, before any response is seen. */
#ifndef METE_RUBRIC_H
#define METE_RUBRIC_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a criterion is decided. Append only. */
typedef enum mete_criterion_kind {
    METE_CRITERION_JUDGED,  /* a model reads `text` */
    METE_CRITERION_PROGRAM, /* a program: `check` names it, `target` is its argument */
    METE_CRITERION_ORDINAL, /* a scale of `scale` grades */
    METE_CRITERION_PAIRWISE,
    METE_CRITERION_QUESTION, /* a question whose answer fixes the context */
    METE_CRITERION_TERM,
    METE_CRITERION_FACTOR,
    METE_CRITERION_SUBGOAL,
    METE_CRITERION_PARTS /* nothing decides it: the mean of those that name it as their parent,
                            weighted by their points */
} mete_criterion_kind;

/* One criterion. Texts are borrowed when added (the host copies them). */
typedef struct mete_criterion {
    uint32_t size;
    uint32_t kind;    /* mete_criterion_kind */
    mete_text id;     /* unique within its prompt; "" gets one by position */
    mete_text text;   /* for people and judges */
    double points;    /* negative: a fault to avoid */
    mete_text check;  /* PROGRAM: contains, not_contains, regex, not_regex, count, number, length */
    mete_text target; /* the check's argument, see the reward `rubric` */
    int32_t scale;    /* ORDINAL: number of grades */
    int32_t parent;   /* index of the one before it of kind PARTS that this is part of; any other
                         number: of none. Parts have no negative points, and not all 0 */
    mete_text source; /* where it came from */
} mete_criterion;

struct mete_scores;
typedef struct mete_criteria mete_criteria;

/* In `generate`: appends a criterion to prompt row `row`. Text is copied. */
METE_API int mete_criterion_add(mete_ctx *cx, mete_criteria *out, size_t row,
                                const mete_criterion *criterion) METE_CHECKED;

/* The criteria of each group of the batch, from generator `node` (a METE_RUBRIC option): rows
 * first[g]..first[g+1] of `item` are group g's. Cached by prompt, so a prompt's criteria are the
 * same for all its samples, in every command. NULL after an error. Lives until the call returns. */
typedef struct mete_rubric_table {
    uint32_t size;
    uint32_t stride; /* bytes from one criterion to the next */
    size_t count;
    const mete_criterion *item;
    const uint32_t *first; /* [groups + 1] */
    const uint64_t *key;   /* [count] hash of kind, check and target: equal criteria share one */
    /* [count] what meeting it adds to the prompt's sum: its own points, or of a part its share of
     * what the criterion above it adds. Of those without parts these add up to the sum */
    const double *points;
} mete_rubric_table;
METE_API const mete_rubric_table *mete_rubric_of(mete_ctx *cx, mete_node *node,
                                                 const mete_batch *batch);

/* How far the responses of a batch meet the criteria of their prompts. Row i's grades are at
 * begin[i]..begin[i + 1], in the order of its group's criteria in the table. */
typedef struct mete_grades {
    uint32_t size;
    uint32_t reserved;
    const size_t *begin; /* [episodes + 1] */
    double *grade;       /* from 0, not met, to 1; NaN, as all are at first: not known */
    double *agreement;   /* of several verdicts, the share of pairs that agree; NaN at first */
} mete_grades;

/* In `score` of a reward, once: where it writes its grades of the batch being scored by criteria of
 * `table`. The host keeps them, where somebody wants to know, for samples, scores written in full,
 * and the statistics of criteria; elsewhere, and of other batches, they are scratch until the call
 * returns. NULL when out of memory. */
METE_API mete_grades *mete_grades_of(mete_ctx *cx, const mete_rubric_table *table,
                                     const mete_batch *batch);

/* `prompts` has one row for each distinct prompt, columns a policy may see, and no response. */
typedef struct mete_rubric {
    METE_HEAD;
    int (*generate)(mete_ctx *cx, const void *self, const mete_batch *prompts, mete_criteria *out);
    /* A new version, in a stage do = "refine". `batch` has responses, and pairs [pairs] as the
     * stage's `label` or file prefers them (none without); `scores` are those of the reward that
     * holds the generator, on the batch's rows, NULL for records of a file; `rubric` has the
     * criteria of each group as they are. What is added to row g of `out` is from now on the rubric
     * of group g's prompt (of groups with one prompt the last counts); a group without keeps its
     * own if that was refined, and is generated anew otherwise, as are all other prompts: so what
     * holds for all is learnt in `self` (tensors, or save and load) and given by `generate` */
    int (*refine)(mete_ctx *cx, void *self, const mete_batch *batch,
                  const struct mete_scores *scores, const mete_rubric_table *rubric,
                  mete_criteria *out);
    int (*fit_batch)(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step);
    int (*fit_end)(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                   int *stop);
} mete_rubric;

#define METE_RUBRIC_PLUGIN(id, ver, brief, ...)                                                    \
    METE_EXPORT const mete_rubric mete_plugin_v1 = {                                               \
        METE_HEAD_INIT(mete_rubric, METE_KIND_RUBRIC, id, ver, brief), __VA_ARGS__}

#ifdef __cplusplus
}
#endif
#endif
