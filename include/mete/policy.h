/* policy.h - policies: what acts, what is trained, and every model that answers.
 *
 * The host owns the flat parameter vector; a policy says what it means. `act` decides for lanes;
 * `forward` answers the outputs asked for on stored steps and `backward` takes adjoints on any of
 * them; `learn` is for policies with a rule of their own. A text policy also implements `encode`.
 */
#ifndef METE_POLICY_H
#define METE_POLICY_H

#include "environment.h"
#include "model.h"
#include "nn.h"
#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

enum mete_act_mode {
    METE_ACT_GREEDY = 1u << 0,  /* the most probable action, no draw */
    METE_ACT_EVALUATE = 1u << 1 /* held-out: nothing that only training wants (exploration noise) */
};

/* Lanes to act for. */
typedef struct mete_lanes {
    uint32_t size;
    uint32_t mode; /* mete_act_mode bits */
    size_t count;
    const uint64_t *episode;  /* [count] id of the running episode: keys the random stream */
    const uint32_t *step;     /* [count] step within it: for text the number of the first token to
                                 say, so that (episode, step + k) keys token k of an answer */
    const float *observation; /* [count x observation_size], or NULL */
    uint32_t observation_size;
    uint32_t action_count;
    const uint8_t *action_mask; /* [count x action_count], or NULL: all allowed */
    const mete_batch *context;  /* a row a lane: prompt, ids and the columns a policy may see. In a
                                   conversation `prompt` is all that was said, `message` the same
                                   by speaker, and a column of turns is the latest message's */
    void *state;                /* [count x lane_size] recurrent state, zero at episode start */
    double temperature;         /* of sampling; 1 is the policy itself */
} mete_lanes;

/* In `act` and `encode`: the lane's whole response and its tokens; both are copied. Their
 * log-probabilities sum into out->logp[lane]. */
METE_API int mete_act_tokens(mete_ctx *cx, mete_actions *out, size_t lane, const mete_token *token,
                             size_t count, mete_text text) METE_CHECKED;

/* Outputs of forward, as bits of `want`. Append only. */
#define METE_WANT_LOGP (1ull << 0) /* log-probability of the stored action */
#define METE_WANT_VALUE (1ull << 1)
#define METE_WANT_ENTROPY (1ull << 2)
#define METE_WANT_LOGITS (1ull << 3)
#define METE_WANT_AUX (1ull << 4) /* the policy's own losses */
#define METE_WANT_HIDDEN (1ull << 5)
#define METE_WANT_SAMPLE (1ull << 6)

enum mete_query_flags {
    METE_QUERY_FIT = 1u << 0 /* given texts are learnt by likelihood alone: what only helps that,
                                such as dropout, may be done. Never where a ratio is formed */
};

/* The steps asked about. In a conversation each answer is a row of its own, as in mete_batch_turns,
 * so a policy has no need to know of turns. */
typedef struct mete_query {
    uint32_t size;
    uint32_t flags; /* mete_query_flags */
    const mete_batch *batch;
    const uint32_t
        *step; /* [count] indices of steps in the batch; NULL: all, count = batch->steps */
    size_t count;
    uint64_t want; /* METE_WANT_ bits */
    double
        temperature; /* of the distribution asked about, as of mete_lanes: what was sampled at one
                           is learnt from at it. 0 and 1: the policy itself */
} mete_query;

/* The query's temperature, 1 where it has none. */
static inline double
mete_query_temperature(const mete_query *query)
{
    return query->temperature > 0 ? query->temperature : 1;
}

/* Answers (forward) or adjoints (backward: d loss / d output), in the order of the query's steps.
 * Members not wanted are NULL; a NULL adjoint is zero. The host owns the arrays. */
typedef struct mete_outputs {
    uint32_t size;
    uint32_t heads;   /* value heads */
    uint32_t classes; /* width of logits */
    uint32_t auxes;   /* number of own losses */
    float *logp;      /* [count] */
    float *value;     /* [count x heads] */
    float *entropy;   /* [count] */
    float *logits;    /* [count x classes] */
    float *aux;       /* [auxes] */
} mete_outputs;

/* What a policy tells of itself, filled by `describe` after open and after the spaces are known. */
typedef struct mete_policy_info {
    uint32_t size;
    uint32_t heads;   /* value heads; 0: no critic */
    uint32_t classes; /* width of logits; 0: no distribution over classes */
    uint32_t auxes;
    uint32_t gradient; /* 1: forward and backward may be called */
    uint32_t stepwise; /* 1: any subset of steps may be asked about; 0: whole rows only */
    uint32_t width;    /* numbers of a state that `embed` gives; 0: it gives none */
} mete_policy_info;

/* [call] act and forward may run on several threads with tapes and outputs of their own. */
typedef struct mete_policy {
    METE_HEAD;
    /* called once, after open: the spaces it will meet; parameters are declared here */
    int (*describe)(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out);
    int (*act)(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
               mete_actions *out);
    int (*forward)(mete_ctx *cx, const void *self, const mete_params *params,
                   const mete_query *query, mete_outputs *out, mete_tape *tape);
    /* adds d loss / d parameter to grad [params->count], for the forward still on the tape */
    int (*backward)(mete_ctx *cx, const void *self, const mete_params *params,
                    const mete_query *query, const mete_outputs *adjoint, mete_tape *tape,
                    float *grad);
    /* own rule: once per accepted batch, after scoring */
    int (*learn)(mete_ctx *cx, void *self, const mete_batch *batch,
                 const struct mete_scores *scores);
    /* text policies: the tokens of given responses, row by row, by mete_act_tokens (lane = row) */
    int (*encode)(mete_ctx *cx, const void *self, const mete_batch *batch, mete_actions *out);
    /* text policies: learns its vocabulary from these texts (the stage that trains on data calls it
     * once, before describe, when the run starts); kept in host tensors or save/load */
    int (*vocabulary)(mete_ctx *cx, void *self, const mete_batch *texts);
    /* text policies: what is made of each row's prompt and response read to its end, as a variable
     * of the tape [episodes x width], differentiable by the parameters; see mete_embed */
    int (*embed)(mete_ctx *cx, const void *self, const mete_params *params, const mete_batch *batch,
                 mete_tape *tape, mete_var **out);
    int (*ask)(mete_ctx *cx, void *self, size_t count, float *vectors);
    int (*tell)(mete_ctx *cx, void *self, size_t count, const double *score);
    int (*fit_batch)(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step);
    int (*fit_end)(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                   int *stop);
    /* since ABI 1.1: text policies as models, see model.h. A policy has `act` or `generate`; the
     * host derives the one from the other */
    mete_answer generate;
    mete_answer logprob;
    mete_answer choose;
    /* a fresh vector, as `describe` declared it and the host drew it, may be given other numbers:
     * those of a published model */
    int (*start)(mete_ctx *cx, const void *self, float *vector);
    /* writes what `params` make it into the folder, in the form such models are published in */
    int (*emit)(mete_ctx *cx, const void *self, const mete_params *params, const char *folder);
} mete_policy;

#define METE_POLICY_PLUGIN(id, ver, brief, ...)                                                    \
    METE_EXPORT const mete_policy mete_plugin_v1 = {                                               \
        METE_HEAD_INIT(mete_policy, METE_KIND_POLICY, id, ver, brief), __VA_ARGS__}

/* ---- What most policies do alike ------------------------------------------------------------- */

/* An index with probability exp(logp[i]), by the inverse of the cumulative distribution; greedy:
 * the first of the largest, and no draw. What is impossible (-1e30) is never drawn. count > 0. */
METE_API size_t mete_draw(const float *logp, size_t count, int greedy, mete_rng *rng);

/* What forward computed on the tape, in the shapes of mete_outputs; NULL where not asked for. */
typedef struct mete_answers {
    mete_var *logp, *value, *entropy, *logits;
} mete_answers;

/* Log-probabilities of each row's classes from its logits, at the query's temperature; mask as of
 * mete_log_softmax. */
METE_API mete_var *mete_query_logits(mete_tape *tape, const mete_query *query, mete_var *logits,
                                     const uint8_t *mask);
/* The end of forward: copies the answers out and keeps them on the tape (mete_tape_keep) for
 * mete_answers_back. Fails with the tape's error. */
METE_API int mete_answers_give(mete_ctx *cx, mete_tape *tape, const mete_answers *answers,
                               mete_outputs *out) METE_CHECKED;
/* All of backward for such a forward: seeds the kept answers and runs the tape into grad. */
METE_API int mete_answers_back(mete_ctx *cx, mete_tape *tape, const mete_outputs *adjoint,
                               float *grad) METE_CHECKED;

/* ---- Wrappers: policies that hold policies --------------------------------------------------- */

/* Empty actions of the kind `like` has, for `lanes` lanes; in the arena. NULL when out of memory.
 * */
METE_API mete_actions *mete_actions_new(mete_ctx *cx, const mete_actions *like, size_t lanes);
/* Asks an inner policy to act. `params` are the caller's own: the host passes the inner one's part
 * of them. */
METE_API int mete_inner_act(mete_ctx *cx, mete_node *inner, const mete_params *params,
                            const mete_lanes *in, mete_actions *out) METE_CHECKED;
METE_API int mete_inner_forward(mete_ctx *cx, mete_node *inner, const mete_params *params,
                                const mete_query *query, mete_outputs *out,
                                mete_tape *tape) METE_CHECKED;
METE_API int mete_inner_backward(mete_ctx *cx, mete_node *inner, const mete_params *params,
                                 const mete_query *query, const mete_outputs *adjoint,
                                 mete_tape *tape, float *grad) METE_CHECKED;
METE_API int mete_inner_encode(mete_ctx *cx, mete_node *inner, const mete_batch *batch,
                               mete_actions *out) METE_CHECKED;
METE_API const mete_policy_info *mete_inner_info(mete_ctx *cx, mete_node *inner);
/* The tokens one lane of `from` said, borrowed; *count may be 0. */
METE_API const mete_token *mete_actions_tokens(const mete_actions *from, size_t lane,
                                               size_t *count);
/* Copies lane `lane` of `from` (action, text, tokens, logp, value) into lane `to` of `out`. */
METE_API int mete_actions_take(mete_ctx *cx, const mete_actions *from, size_t lane,
                               mete_actions *out, size_t to) METE_CHECKED;
/* A batch of one-step episodes made of lanes and what was decided for them, to score it. NULL after
 * an error; lives until the call returns. Rows of one lane repeated are told apart by their ids. */
METE_API const mete_batch *mete_batch_of_actions(mete_ctx *cx, const mete_lanes *lanes,
                                                 const mete_actions *actions);

#ifdef __cplusplus
}
#endif
#endif
