/* environment.h - environments: many lanes stepped by one call; a lane is one agent's track.
 *
 * Observations, actions and results are structure-of-arrays over lanes, so a step of a thousand
 * lanes is one call and one vectorised loop. A lane that ends resets itself inside `step` (its last
 * observation is kept in `final_observation`) and goes on as the episode id + `stride`. For text an
 * environment sees whole messages; tokens are the policy's affair. An environment of several steps
 * whose observation is a text is a conversation: each `prompt` it shows is a message, which the
 * host appends to what was said before, and the policy answers the whole.
 */
#ifndef METE_ENVIRONMENT_H
#define METE_ENVIRONMENT_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mete_space_kind {
    METE_SPACE_NONE,
    METE_SPACE_DISCRETE,  /* an integer in [0, count) */
    METE_SPACE_BOX,       /* `size` floats in [low, high]; without bounds where both are 0 */
    METE_SPACE_TEXT,      /* a message */
    METE_SPACE_CANDIDATES /* an index into the lane's list column `candidates` */
} mete_space_kind;

typedef struct mete_space {
    uint32_t kind;
    uint32_t count; /* DISCRETE: number of values; CANDIDATES: the largest list, 0 unknown */
    uint32_t size;  /* BOX: number of floats */
    float low, high;
} mete_space;

typedef struct mete_spaces {
    uint32_t size;
    uint32_t single_turn; /* 1: every episode is one step (bandits, one-turn text) */
    mete_space observation, action;
    uint32_t max_steps; /* an episode is cut after so many steps; 0: never. For information */
    uint64_t tasks;     /* number of distinct tasks (rows of a data file); 0: unbounded */
} mete_spaces;

struct mete_scores;
struct mete_mdp;

/* What a policy decided, lane by lane. The host allocates; a policy writes. */
typedef struct mete_actions {
    uint32_t size;
    uint32_t vector_size;
    uint32_t heads;
    size_t lanes;
    int32_t *action; /* [lanes] DISCRETE and CANDIDATES; else NULL */
    float *vector;   /* [lanes x vector_size] BOX; else NULL */
    mete_text *text; /* [lanes] TEXT; else NULL; set by mete_act_tokens */
    float *logp;     /* [lanes] log-probability of the action as sampled (TEXT: of the whole) */
    float *value;    /* [lanes x heads] */
    void *host;
} mete_actions;

/* Lanes to start anew. */
typedef struct mete_reset {
    uint32_t size;
    uint32_t evaluation; /* 1: held-out episodes (data split, fixed starts) */
    size_t count;
    const uint32_t *lane;    /* [count] */
    const uint64_t *episode; /* [count] ids: keys of the random streams */
    const uint64_t *task;    /* [count] task numbers: equal for samples of one prompt. Task k of a
                                data environment is a row of its file, permuted by epoch */
    uint32_t counted; /* since ABI 1.2: 1: only the tasks that mete_spaces.tasks counts are meant,
                         as answers given with them are taken (`responses` of a stage) or kinds of
                         them are drawn (`tasks`); 0: others may be shown beside them */
    uint32_t reserved;
} mete_reset;

/* What lanes show after reset or step. The host owns the arrays, one element a lane, and keeps what
 * was written until it is overwritten. */
typedef struct mete_observations {
    uint32_t size;
    uint32_t observation_size;
    size_t lanes;
    float *observation;   /* [lanes x observation_size]; NULL when none */
    uint8_t *action_mask; /* [lanes x action.count], 1 = allowed, all 1 at first; or NULL */
    mete_text *prompt;    /* [lanes] text environments: the message the policy answers; else NULL */
    uint64_t *prompt_id;  /* [lanes] identity of the prompt (hash of its content or row) */
    void *host;
    uint8_t *role; /* since ABI 1.2: [lanes] who says `prompt`: METE_USER, as at first, METE_TOOL or
                      METE_SYSTEM (model.h); NULL when there is no prompt */
} mete_observations;

/* What a step did. */
typedef struct mete_transitions {
    uint32_t size;
    uint32_t reserved;
    size_t lanes;
    mete_observations *next;  /* after the step, and after the auto-reset where a lane ended */
    float *reward;            /* [lanes] the environment's own reward (signal "reward"), zeroed */
    uint8_t *terminated;      /* [lanes] zeroed */
    uint8_t *truncated;       /* [lanes] zeroed */
    float *final_observation; /* [lanes x observation_size] written where a lane ended; or NULL */
    uint64_t *episode;        /* [lanes] id of the running episode; += stride where a lane ended */
    uint64_t *task;           /* [lanes] likewise += task_stride */
    uint64_t stride, task_stride;
    mete_text *final_prompt; /* since ABI 1.2: [lanes] conversations: the message after the last
                                answer, where a lane ended; absent unless written. Copied by the
                                host after the call. NULL when there is no prompt */
} mete_transitions;

/* Declares, in `open`, a column this environment provides with who may see it. Its level says what
 * a value is of: METE_EPISODE, written at reset; METE_STEP, written with each observation; in
 * conversations METE_TURN, written with each message shown and holding for it and for its answer. A
 * METE_LIST here is one list an episode. Returns a handle >= 0, or a negative status. */
METE_API int mete_provide(mete_ctx *cx, const char *name, mete_level level, mete_type element,
                          mete_visible visible, const char *help);
/* A METE_LIST column of texts with a list for each row of `parent`: METE_EPISODE, METE_STEP or
 * METE_TURN, as above. Since ABI 1.2. */
METE_API int mete_provide_lists(mete_ctx *cx, const char *name, mete_level parent,
                                mete_visible visible, const char *help);
/* The column's values by lane, to write in reset and step: mete_text *, double * and so on; what is
 * not written stays. Texts are copied by the host after the call, so they may point into the
 * plugin's own memory. */
METE_API void *mete_lane_column(mete_observations *out, int handle);
/* The items of a METE_LIST column for one lane; copied by the host. */
METE_API int mete_lane_list(mete_ctx *cx, mete_observations *out, int handle, size_t lane,
                            const mete_text *item, size_t count) METE_CHECKED;
/* Declares, in `open`, a named number per step beside the reward (a cost, an event): a METE_STEP
 * column. In conversations it stands, as the reward does, at the last token of the answer, and as a
 * METE_TURN column of the same name at the answer. Returns a handle >= 0, or a negative status. */
METE_API int mete_provide_signal(mete_ctx *cx, const char *name, mete_visible visible, double lo,
                                 double hi, const char *help);
/* Its array [lanes], to write in step; zeroed. */
METE_API float *mete_lane_signal(mete_transitions *out, int handle);

/* The record, of `count`, that a task stands for: each epoch goes through all of them, with
 * `shuffle` in an order of its own. count > 0. */
static inline uint64_t
mete_task_record(uint64_t key, uint64_t task, uint64_t count, int shuffle)
{
    uint64_t at = task % count;
    return shuffle ? mete_permute(mete_hash_mix(key, task / count), at, count) : at;
}

/* [call] All functions run alone on an instance; different instances may run side by side: the host
 * splits lanes over several instances of one config, each with lanes of its own. */
typedef struct mete_environment {
    METE_HEAD;
    /* describes the spaces for `lanes` lanes; called once after open. `lanes` lanes are then kept
     * */
    int (*spaces)(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out);
    int (*reset)(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out);
    int (*step)(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out);
    /* lane_size bytes, pointer-free: everything that decides the lane's future */
    int (*copy)(mete_ctx *cx, const void *self, size_t lane, void *bytes);
    int (*restore)(mete_ctx *cx, void *self, size_t lane, const void *bytes,
                   mete_observations *out);
    /* the exact model of a small world, appended later */
    int (*model)(mete_ctx *cx, const void *self, struct mete_mdp *out);
    /* between epochs of a world that learns */
    int (*epoch)(mete_ctx *cx, void *self, const mete_batch *batch,
                 const struct mete_scores *scores);
    int (*emit)(mete_ctx *cx, const void *self, const char *what, uint64_t count, void *sink);
    int (*fit_batch)(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step);
    int (*fit_end)(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                   int *stop);
} mete_environment;

#define METE_ENVIRONMENT_PLUGIN(id, ver, brief, ...)                                               \
    METE_EXPORT const mete_environment mete_plugin_v1 = {                                          \
        METE_HEAD_INIT(mete_environment, METE_KIND_ENVIRONMENT, id, ver, brief), __VA_ARGS__}

#ifdef __cplusplus
}
#endif
#endif
