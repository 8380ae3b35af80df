/* best_of_n - asks another policy n times and keeps the answer a judge scores highest.
 *
 * The n samples of a lane draw from streams of their own; of equal scores the first is kept, and a
 * sample the judge could not score is kept only when no other was. The log-probability handed on is
 * the inner policy's of the kept sample, NOT of the distribution best-of-n samples from: that one
 * is sharper, by at most log n - (n - 1)/n nats of divergence (Beirami et al. 2024), so
 * a ratio taken against it is biased. Use it to act and to compare with, or with n = 1 to train.
 * A greedy call asks the inner policy once: there is nothing to choose from.
 * The inner policy must keep no recurrent state of its own.
 */
#include <mete/policy.h>
#include <mete/reward.h>
#include <string.h>

struct best_of_n {
    mete_node *inner, *judge;
    int64_t n;
};

static const mete_option options[] = {
    METE_POLICY(struct best_of_n, inner, METE_REQUIRED, "the policy asked"),
    METE_REWARD(struct best_of_n, judge, METE_REQUIRED, "scores each sample; the highest is kept"),
    METE_INT(struct best_of_n, n, 4, 1, 4096, "samples for each answer"), METE_OPTIONS_END};

static int
describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)
{
    const struct best_of_n *p = self;
    const mete_policy_info *info = mete_inner_info(cx, p->inner);
    (void)spaces;
    if (!info)
        return mete_fail(cx, METE_EINVAL, "the policy asked does not describe itself");
    *out = *info;
    return METE_OK;
}

/* One sample of every lane: from streams of its own, scored. */
static int
sample(mete_ctx *cx, const struct best_of_n *p, const mete_params *params, const mete_lanes *in,
       uint64_t draw, mete_actions *actions, const mete_scores **scores)
{
    mete_lanes lanes = *in;
    uint64_t *episode = mete_arena(cx, (in->count + 1) * sizeof *episode);
    if (!episode)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", in->count);
    for (size_t i = 0; i < in->count; i++)
        episode[i] = draw ? mete_hash_mix(in->episode[i], draw) : in->episode[i];
    lanes.episode = episode;
    lanes.state = NULL;
    int status = mete_inner_act(cx, p->inner, params, &lanes, actions);
    const mete_batch *batch = status ? NULL : mete_batch_of_actions(cx, &lanes, actions);
    *scores = batch ? mete_evaluate(cx, p->judge, batch) : NULL;
    return status ? status : *scores ? METE_OK : METE_EPLUGIN;
}

static int
act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
    mete_actions *out)
{
    const struct best_of_n *p = self;
    if (!in->count)
        return METE_OK;
    if (p->n == 1 || in->mode & METE_ACT_GREEDY)
        return mete_inner_act(cx, p->inner, params, in, out);
    double *best = mete_arena(cx, in->count * sizeof *best);
    uint8_t *scored = mete_arena(cx, in->count);
    if (!best || !scored)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", in->count);
    mete_actions *actions = mete_actions_new(cx, out, in->count);
    if (!actions)
        return METE_ENOMEM;
    for (int64_t k = 0; k < p->n; k++) {
        const mete_scores *scores = NULL;
        int status = sample(cx, p, params, in, (uint64_t)k, actions, &scores);
        for (size_t i = 0; i < in->count && !status; i++) {
            int valid = scores->status[i] == METE_VALID;
            if (k && !(valid && (!scored[i] || scores->episode[i] > best[i])))
                continue;
            scored[i] = (uint8_t)valid;
            best[i] = scores->episode[i];
            status = mete_actions_take(cx, actions, i, out, i);
        }
        if (status)
            return status;
    }
    return METE_OK;
}

static int
forward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
        mete_outputs *out, mete_tape *tape)
{
    const struct best_of_n *p = self;
    return mete_inner_forward(cx, p->inner, params, query, out, tape);
}

static int
backward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
         const mete_outputs *adjoint, mete_tape *tape, float *grad)
{
    const struct best_of_n *p = self;
    return mete_inner_backward(cx, p->inner, params, query, adjoint, tape, grad);
}

static int
encode(mete_ctx *cx, const void *self, const mete_batch *batch, mete_actions *out)
{
    const struct best_of_n *p = self;
    return mete_inner_encode(cx, p->inner, batch, out);
}

METE_POLICY_PLUGIN(
    best_of_n, "1.0", "asks a policy n times and keeps what a judge scores highest",
    .doc = "The log-probability is the inner policy's of the kept sample, which is not "
           "that of the sharper distribution sampled from.",
    .reference = "Stiennon et al. 2020, arXiv:2009.01325; Beirami et al. 2024, "
                 "arXiv:2401.01879",
    .tags = "wrapper text control", .options = options, .state_size = sizeof(struct best_of_n),
    .element = METE_F32, .flags = METE_SAMPLES, .describe = describe, .act = act,
    .forward = forward, .backward = backward, .encode = encode);
