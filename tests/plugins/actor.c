/* kind: policy */
/* A linear softmax that breaks the contract as `mode` says; selftest must name each breach. */
#include <mete/policy.h>
#include <string.h>

#define SEEN 4
#define ACTIONS 3

enum {
    HONEST,
    OUT_OF_RANGE,
    FORBIDDEN,
    COUNTS_CALLS,
    LOOKS_ASIDE,
    DRAWS,
    FORGETS,
    OVERSTATES,
    BENDS,
    MISCOUNTS,
    NO_NUMBER,
    NOWHERE
};

struct actor {
    int mode;
    int born;
    size_t weight;
};

static const mete_option options[] = {
    METE_ENUM(struct actor, mode, HONEST,
              "honest|out_of_range|forbidden|counts_calls|looks_aside|draws|forgets|overstates|"
              "bends|miscounts|no_number|nowhere",
              "what it does wrong"),
    METE_OPTIONS_END};

static int
open_actor(mete_ctx *cx, void *self)
{
    static int born;
    (void)cx;
    ((struct actor *)self)->born = born++;
    return METE_OK;
}

static int
describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)
{
    struct actor *p = self;
    if (spaces->observation.kind != METE_SPACE_BOX || spaces->observation.size != SEEN ||
        spaces->action.kind != METE_SPACE_DISCRETE || spaces->action.count != ACTIONS ||
        p->mode == NOWHERE)
        return mete_fail(cx, METE_EINVAL, "is made for another world");
    out->classes = ACTIONS;
    out->gradient = out->stepwise = 1;
    return mete_parameter(cx, "w", ACTIONS, SEEN, METE_INIT_NORMAL, 1, &p->weight);
}

static void
log_probabilities(const struct actor *p, const float *w, const float *x, const uint8_t *mask,
                  float *logp)
{
    for (size_t a = 0; a < ACTIONS; a++) {
        logp[a] = 0;
        for (size_t k = 0; k < SEEN; k++)
            logp[a] += w[a * SEEN + k] * x[k];
    }
    mete_log_softmax_run(logp, 1, ACTIONS, p->mode == FORBIDDEN ? NULL : mask);
}

static int
act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
    mete_actions *out)
{
    static uint64_t calls;
    const struct actor *p = self;
    const float *w = (const float *)params->vector + p->weight;
    for (size_t i = 0; i < in->count; i++) {
        size_t at = p->mode == LOOKS_ASIDE ? 0 : i;
        int greedy = in->mode & METE_ACT_GREEDY && p->mode != DRAWS;
        uint64_t episode = in->episode[i];
        float logp[ACTIONS];
        episode += p->mode == COUNTS_CALLS ? 7 * calls++ : 0;
        episode += p->mode == FORGETS ? 7 * (uint64_t)p->born : 0;
        mete_rng rng = mete_random(cx, episode, in->step[i]);
        log_probabilities(p, w, in->observation + at * SEEN, in->action_mask + i * ACTIONS, logp);
        size_t action = mete_draw(logp, ACTIONS, greedy, &rng);
        out->action[i] = p->mode == OUT_OF_RANGE ? ACTIONS : (int32_t)action;
        out->logp[i] = logp[action] + (p->mode == OVERSTATES ? -0.1F : 0);
    }
    if (p->mode == NO_NUMBER)
        memset(out->logp, 0xff, sizeof *out->logp);
    return METE_OK;
}

static int
forward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
        mete_outputs *out, mete_tape *tape)
{
    const struct actor *p = self;
    size_t n = query->count;
    float *x = mete_tape_take(tape, n * SEEN * sizeof *x);
    uint8_t *mask = mete_tape_take(tape, n * ACTIONS);
    int32_t *action = mete_tape_take(tape, n * sizeof *action);
    if (!x || !mask || !action)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        size_t step = query->step && p->mode != MISCOUNTS ? query->step[i] : i;
        memcpy(x + i * SEEN, query->batch->observation + step * SEEN, SEEN * sizeof *x);
        memcpy(mask + i * ACTIONS, query->batch->action_mask + step * ACTIONS, ACTIONS);
        action[i] = query->batch->action[step];
    }
    mete_var *logits =
        mete_dense(tape, mete_input(tape, x, n, SEEN),
                   mete_weights(tape, params->vector, p->weight, ACTIONS, SEEN), NULL, METE_LINEAR);
    mete_answers a = {.logits = mete_log_softmax(tape, logits, mask)};
    a.logp = mete_pick(tape, a.logits, action);
    a.entropy = mete_entropy(tape, a.logits);
    return mete_answers_give(cx, tape, &a, out);
}

static int
backward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
         const mete_outputs *adjoint, mete_tape *tape, float *grad)
{
    const struct actor *p = self;
    int status = mete_answers_back(cx, tape, adjoint, grad);
    if (p->mode == BENDS)
        grad[p->weight] = -grad[p->weight] + 1;
    (void)params, (void)query;
    return status;
}

METE_POLICY_PLUGIN(actor, "1", "a linear softmax, with faults", .options = options,
                   .state_size = sizeof(struct actor), .element = METE_F32,
                   .flags = METE_SAMPLES | METE_LANES_ALONE, .open = open_actor,
                   .describe = describe, .act = act, .forward = forward, .backward = backward);
