/* talk.h - how a worker asks models: the question is laid down in memory the run sees, too, and the
 * run asks in the node's name and lays down the answers. Only the engine's own files include this.
 */
#ifndef METE_ENGINE_TALK_H
#define METE_ENGINE_TALK_H

#include "engine/model.h"

struct mete__worker;

/* What stands at the beginning of that memory. */
typedef struct mete__question {
    enum mete__asking what;
    size_t model; /* its node's number */
    size_t count;
    const mete_request *request; /* [count] */
    /* written by the run */
    const mete_reply *reply; /* [count], or */
    const float *logp;       /* METE__STEPS: [steps] */
    mete_error err;          /* where neither is there */
} mete__question;

/* ---- in the worker ---- */

/* Is a model asked in the run, because this process is a worker? */
bool mete__talk_far(void);
/* As mete_generate, mete_logprob or mete_choose, by the run. */
const mete_replies *mete__talk_ask(mete_ctx *cx, mete_node *model, const mete_requests *requests,
                                   enum mete__asking what);
/* As mete_model_logp, by the run; of the batch that is being scored alone. */
const float *mete__talk_steps(mete_ctx *cx, mete_node *model, const mete_batch *batch);

/* ---- in the run ---- */

/* Answers what the worker asks. Every length and pointer of the question is the worker's word
 * alone: false where one leaves the memory that is shared, or names no model. */
bool mete__talk_answer(mete_ctx *cx, struct mete__worker *from);

#endif
