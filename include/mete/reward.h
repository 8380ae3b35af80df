/* reward.h - rewards: batch in, scores out. A combinator is a reward whose inputs are rewards. */
#ifndef METE_REWARD_H
#define METE_REWARD_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a signal is for. Append only. */
typedef enum mete_role {
    METE_ROLE_INFO,
    METE_ROLE_REWARD,
    METE_ROLE_COST,
    METE_ROLE_ADVANTAGE,
    METE_ROLE_WEIGHT,
    METE_ROLE_KL_WEIGHT,
    METE_ROLE_MARGIN,
    METE_ROLE_LABEL,
    METE_ROLE_MASK,
    METE_ROLE_POTENTIAL
} mete_role;

/* Where a reward writes. All arrays are the host's, allocated for the batch; `episode` is not
 * zeroed: a plugin sets every valid row (NaN there is an error naming the row). */
typedef struct mete_scores {
    uint32_t size;
    uint32_t steps_given; /* host: 1 when `step` holds this node's value per step */
    double *episode;      /* [episodes] the node's value. With METE_PER_STEP it is zeroed, and the
                             host sums the row's steps into it; a row without steps keeps what the
                             plugin set */
    double *step;         /* [steps] METE_PER_STEP only, else NULL; zeroed */
    double *spread;       /* [episodes] standard deviation of the value, for nodes that called
                             mete_spread at open; else NULL. Zeroed */
    uint8_t *status;      /* [episodes] mete_row_status, METE_VALID at first; see mete_row_fail */
    void *host;
} mete_scores;

/* Declares, in `open`, a named sub-signal: level METE_EPISODE, METE_STEP, METE_TURN, METE_GROUP or
 * METE_BATCH, its role, the range it keeps (for lint and plots; infinite where unknown) and one
 * line of help. It is logged as <path>/<name>. Returns a handle >= 0, or a negative status. */
METE_API int mete_signal(mete_ctx *cx, const char *name, mete_level level, mete_role role,
                         double lo, double hi, const char *help);
/* The signal's array in `out`, zeroed, by its level; never NULL for a valid handle. */
METE_API double *mete_out(mete_scores *out, int handle);
/* For people who read a sample: what this node found in `row` of the batch being scored, such as a
 * criterion, and how far it holds (0: not, 1: wholly). Kept, with the text copied, of the few rows
 * that become samples; of all others nothing is done. Grades of criteria go to mete_grades_of. */
METE_API void mete_row_note(mete_ctx *cx, size_t row, mete_text text, double value);
/* Declares, in `open`, that this node states a spread. */
METE_API void mete_spread(mete_ctx *cx);

/* ---- Children (METE_COMBINES) and other nodes ------------------------------------------------ */

/* The children under `of`, in the config's order. Names are their handles; positions are not. */
METE_API size_t mete_child_count(const mete_ctx *cx);
METE_API const char *mete_child_name(const mete_ctx *cx, size_t k);
/* `weight` of child k as of this iteration (1 unless the config says otherwise). */
METE_API double mete_child_weight(const mete_ctx *cx, size_t k);
/* Child k's scores on the batch being scored; in `score` not for METE_LAZY nodes. Never NULL. */
METE_API const mete_scores *mete_child(const mete_ctx *cx, size_t k);
/* METE_LAZY: scores child k where mask[row] is 1 (NULL: everywhere). Rows not asked for have status
 * METE_NOT_APPLICABLE and value 0. NULL after an error, which the caller passes on. */
METE_API const mete_scores *mete_child_rows(mete_ctx *cx, size_t k, const uint8_t *mask);
/* Child k's named signal on this batch, by its level; NULL when it has none of that name. */
METE_API const double *mete_child_signal(const mete_ctx *cx, size_t k, const char *name);
/* The mete_level of child k's named signal, -1 when it has none of that name. Known from `open` on.
 * */
METE_API int mete_child_signal_level(const mete_ctx *cx, size_t k, const char *name);
/* 1 when child k's value is per step (its `step` is set). Known from `open` on. */
METE_API int mete_child_per_step(const mete_ctx *cx, size_t k);
/* Declares, in `open`, that this combinator's value is per step, as METE_PER_STEP does. */
METE_API void mete_per_step(mete_ctx *cx);
/* Child k's value as steps [steps]: its own when it is per step, else its episode value on the
 * row's last step and 0 before. In the arena. */
METE_API const double *mete_child_steps(mete_ctx *cx, const mete_batch *batch, size_t k);

/* Child k as a node, to score on other batches by mete_evaluate and mete_compare. */
METE_API mete_node *mete_child_node(const mete_ctx *cx, size_t k);
/* Scores `node` (a reward option, or a child) on a batch, usually a derived one. NULL after an
 * error. The scores live until the caller's call returns. */
METE_API const mete_scores *mete_evaluate(mete_ctx *cx, mete_node *node, const mete_batch *batch);
/* The probability that a is preferred to b for each pair, by `node`: its own `compare`, or the
 * logistic of the difference of its values, NaN where one of the two has none. p is [pairs]. */
METE_API int mete_compare(mete_ctx *cx, mete_node *node, const mete_batch *batch, const uint32_t *a,
                          const uint32_t *b, size_t pairs, double *p) METE_CHECKED;
/* d value / d value of child k of `node` (a reward option, or a child) by row of the batch, which
 * `node` is scored on for this. slope: room for [episodes] and [steps]; the second are filled where
 * the node's value is per step, as `partial` below says. METE_ENOTSUP where `node` does not know.
 */
METE_API int mete_partial(mete_ctx *cx, mete_node *node, const mete_batch *batch, size_t k,
                          double *slope) METE_CHECKED;
/* episode_size bytes that live as long as row's episode: zero at its start, carried over its
 * fragments, in the checkpoint; a throw-away copy in calls on derived batches. */
METE_API void *mete_episode_state(mete_ctx *cx, size_t row);
/* log-probability of every step of the batch under a model [steps] (teacher-forced; for text the
 * tokens of the model's own tokeniser when the batch has steps of that model). NULL after an
 * error. Lives until the call returns. From a process of the node's own (isolate = "process") of
 * the batch it scores alone, not of one derived from it. */
METE_API const float *mete_model_logp(mete_ctx *cx, mete_node *model, const mete_batch *batch);

/* ---- The descriptor -------------------------------------------------------------------------- */

/* Functions after the head; NULL = absent. [call]: `score` may run on several threads at once on
 * one instance, each with rows of its own unless a METE_WHOLE_ flag says otherwise; all others run
 * alone. `score` depends on batch, learnt state, episode state and random streams, and learns
 * nothing: `self` is const. */
typedef struct mete_reward {
    METE_HEAD;
    int (*score)(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out);
    /* once per accepted batch, with this node's own scores of it (children: mete_child) */
    int (*update)(mete_ctx *cx, void *self, const mete_batch *batch, const mete_scores *scores);
    /* p[k] = probability that row a[k] is preferred to row b[k] */
    int (*compare)(mete_ctx *cx, const void *self, const mete_batch *batch, const uint32_t *a,
                   const uint32_t *b, size_t pairs, double *p);
    /* METE_COMBINES: d value / d value of child k at the children's scores (mete_child) -> slope,
     * zeroed: [episodes], or [steps] where this node's value is per step: of each step, by the
     * child's same step, or by its episode value where it is not per step. One-sided where there is
     * a kink. The host takes 0 where a row is not valid here or in the child. METE_ENOTSUP where a
     * row's value depends on other rows'. Not asked of METE_SUMS, whose slope is the weight */
    int (*partial)(mete_ctx *cx, const void *self, const mete_batch *batch, size_t k,
                   double *slope);
    /* one minibatch of offline learning; the host shuffles, counts and resumes */
    int (*fit_batch)(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step);
    /* after each epoch, with the validation rows; sets *stop to end early */
    int (*fit_end)(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                   int *stop);
    /* a few labelled rows of one user or context `key` */
    int (*adapt)(mete_ctx *cx, void *self, uint64_t key, const mete_batch *batch);
    /* adjoint[episodes] in, d value / d action_vector [steps x action_size] times it out */
    int (*grad)(mete_ctx *cx, const void *self, const mete_batch *batch, const double *adjoint,
                float *out);
} mete_reward;

#define METE_REWARD_PLUGIN(id, ver, brief, ...)                                                    \
    METE_EXPORT const mete_reward mete_plugin_v1 = {                                               \
        METE_HEAD_INIT(mete_reward, METE_KIND_REWARD, id, ver, brief), __VA_ARGS__}

#ifdef __cplusplus
}
#endif
#endif
