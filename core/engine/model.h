/* model.h - what the files behind include/mete/model.h share. Only the engine's own files include
 * this. */
#ifndef METE_ENGINE_MODEL_H
#define METE_ENGINE_MODEL_H

#include "engine/context.h"
#include <mete/text.h>

/* act.c: the policy and parameters of a snapshot's name; NULL when none is taken of it. */
mete_node *mete__model_resolve(const mete_node *model, mete_params *params);

enum mete__asking { METE__GENERATE, METE__LOGPROB, METE__CHOOSE, METE__STEPS };

/* model.c */
/* mete_generate, mete_logprob or mete_choose. */
const mete_replies *mete__ask(mete_ctx *cx, mete_node *model, const mete_request *request,
                              size_t count, enum mete__asking what);
uint32_t mete__policy_abilities(const mete_node *policy); /* mete_model_abilities */
/* Failed replies of that number in the arena; NULL after an error. */
mete_replies *mete__replies_new(mete_ctx *cx, size_t count);
/* A call into `policy` on behalf of `cx`, whose arena keeps the results. */
mete_ctx mete__answer_ctx(const mete_ctx *cx, mete_node *policy, const mete_params *params);
int mete__answer(mete_ctx *cx, mete_node *policy, mete_answer function, const mete_params *params,
                 const mete_requests *requests, mete_replies *replies);

/* model_derive.c: a service by way of another; each has the form of the service itself. */
int mete__generate_by_act(mete_ctx *cx, mete_node *policy, const mete_params *params,
                          const mete_requests *requests, mete_replies *replies);
int mete__logprob_by_forward(mete_ctx *cx, mete_node *policy, const mete_params *params,
                             const mete_requests *requests, mete_replies *replies);
int mete__choose_derived(mete_ctx *cx, mete_node *policy, const mete_params *params,
                         const mete_requests *requests, mete_replies *replies);
/* `act` of a policy that has `generate` alone. */
int mete__act_by_generate(mete_ctx *cx, mete_node *policy, const mete_params *params,
                          const mete_lanes *lanes, mete_actions *out);

#endif
