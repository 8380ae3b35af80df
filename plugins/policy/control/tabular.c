/* tabular - a softmax over actions for each state of a table, with exact gradients.
 *
 * pi(a | s) = softmax(theta[s])[a] (Sutton & Barto 2018, section 13.1, one feature a state). The
 * state is made of the observation values that `inputs` names (the first, when absent): a value of
 * a discrete observation is its own index; others are cut into `bins` equal parts of [low, high],
 * and what lies outside falls in the nearest part. Several inputs count like digits. An optional
 * value table is the critic. Logits given out are normalised log-probabilities.
 */
#include <math.h>
#include <mete/policy.h>
#include <string.h>

#define STATES_MOST 10000000

struct tabular {
    mete_ints inputs, bins;
    mete_reals low, high;
    int critic;

    int discrete;
    uint32_t seen, states, actions;
    size_t inputs_read, theta, value;
};

static const mete_option options[] = {
    METE_INTS(struct tabular, inputs, 0, 65535, 0, "observation values that make the state"),
    METE_INTS(struct tabular, bins, 1, 1000000, 0, "parts each input is cut into"),
    METE_REALS(struct tabular, low, -1e30, 1e30, 0, "lower end of each input"),
    METE_REALS(struct tabular, high, -1e30, 1e30, 0, "upper end of each input"),
    METE_BOOL(struct tabular, critic, 1, "has a value for each state"),
    METE_OPTIONS_END};

static int
open_tabular(mete_ctx *cx, void *self)
{
    struct tabular *p = self;
    size_t n = p->inputs_read = p->inputs.count ? p->inputs.count : 1;
    if (p->bins.count && (p->bins.count != n || p->low.count != n || p->high.count != n))
        return mete_fail(cx, METE_EINVAL,
                         "bins, low and high must each have %zu numbers, one an "
                         "input",
                         n);
    if (!p->bins.count && (p->low.count || p->high.count))
        return mete_fail(cx, METE_EINVAL, "low and high mean nothing without bins");
    for (size_t k = 0; k < p->bins.count; k++)
        if (!(p->low.item[k] < p->high.item[k]))
            return mete_fail(cx, METE_EINVAL, "low[%zu] (%g) must be less than high (%g)", k,
                             p->low.item[k], p->high.item[k]);
    return METE_OK;
}

static int
count_states(mete_ctx *cx, struct tabular *p, const mete_space *see)
{
    double states = 1;
    if (see->kind == METE_SPACE_DISCRETE && !p->bins.count) {
        p->discrete = 1;
        states = see->count;
    } else if (!p->bins.count) {
        return mete_fail(cx, METE_EINVAL, "observations are real numbers: give bins, low and high");
    }
    for (size_t k = 0; k < p->bins.count; k++)
        states *= (double)p->bins.item[k];
    for (size_t k = 0; k < p->inputs.count; k++)
        if (p->inputs.item[k] >= p->seen)
            return mete_fail(cx, METE_EINVAL, "inputs[%zu] = %lld, but observations have %u values",
                             k, (long long)p->inputs.item[k], p->seen);
    if (states < 1 || states > STATES_MOST)
        return mete_fail(cx, METE_EINVAL, "the table would have %.0f states; 1 to %d are allowed",
                         states, STATES_MOST);
    p->states = (uint32_t)states;
    return METE_OK;
}

static int
describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)
{
    struct tabular *p = self;
    const mete_space *see = &spaces->observation;
    if (see->kind != METE_SPACE_BOX && see->kind != METE_SPACE_DISCRETE)
        return mete_fail(cx, METE_EINVAL, "needs observations that are numbers");
    if (spaces->action.kind != METE_SPACE_DISCRETE || !spaces->action.count)
        return mete_fail(cx, METE_EINVAL, "needs an environment with discrete actions");
    p->seen = see->kind == METE_SPACE_DISCRETE ? 1 : see->size;
    p->actions = spaces->action.count;
    int status = count_states(cx, p, see);
    if (!status)
        status = mete_parameter(cx, "theta", p->states, p->actions, METE_INIT_ZERO, 0, &p->theta);
    if (!status && p->critic)
        status = mete_parameter(cx, "value", p->states, 1, METE_INIT_ZERO, 0, &p->value);
    out->heads = p->critic ? 1 : 0;
    out->classes = p->actions;
    out->gradient = out->stepwise = 1;
    return status;
}

/* The state an observation is in; no number falls outside the table, NaN is in the first part. */
static size_t
state_of(const struct tabular *p, const float *observation)
{
    size_t state = 0;
    for (size_t k = 0; k < p->inputs_read; k++) {
        double x = (double)observation[p->inputs.count ? p->inputs.item[k] : 0];
        double parts = p->discrete ? p->states : (double)p->bins.item[k];
        double part =
            p->discrete ? x
                        : floor((x - p->low.item[k]) / (p->high.item[k] - p->low.item[k]) * parts);
        part = part >= 0 ? part : 0;
        part = part < parts ? part : parts - 1;
        state = state * (size_t)parts + (size_t)part;
    }
    return state;
}

static int
act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
    mete_actions *out)
{
    const struct tabular *p = self;
    int greedy = (in->mode & METE_ACT_GREEDY) != 0;
    float *logp = mete_arena(cx, p->actions * sizeof *logp);
    if (!logp)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    if (in->count && (!in->observation || in->observation_size != p->seen))
        return mete_fail(cx, METE_EPLUGIN, "was shown %u numbers a lane and was made for %u",
                         in->observation_size, p->seen);
    for (size_t i = 0; i < in->count; i++) {
        const float *vector = params->lane ? params->lane[i] : params->vector;
        size_t state = state_of(p, in->observation + i * in->observation_size);
        memcpy(logp, vector + p->theta + state * p->actions, p->actions * sizeof *logp);
        if (!greedy && in->temperature > 0 && in->temperature != 1)
            for (size_t a = 0; a < p->actions; a++)
                logp[a] = (float)((double)logp[a] / in->temperature);
        mete_log_softmax_run(logp, 1, p->actions,
                             in->action_mask ? in->action_mask + i * p->actions : NULL);
        mete_rng rng = mete_random(cx, in->episode[i], in->step[i]);
        size_t action = mete_draw(logp, p->actions, greedy, &rng);
        out->action[i] = (int32_t)action;
        out->logp[i] = logp[action];
        if (p->critic)
            out->value[i] = vector[p->value + state];
    }
    return METE_OK;
}

static int
forward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
        mete_outputs *out, mete_tape *tape)
{
    const struct tabular *p = self;
    const mete_batch *batch = query->batch;
    size_t n = query->count;
    if (!batch->observation || batch->observation_size != p->seen ||
        (query->want & METE_WANT_LOGP && !batch->action))
        return mete_fail(cx, METE_EPLUGIN, "was asked about steps without states or actions");
    int32_t *state = mete_arena(cx, (n + 1) * sizeof *state);
    int32_t *action = mete_arena(cx, (n + 1) * sizeof *action);
    uint8_t *mask = batch->action_mask ? mete_arena(cx, n * p->actions + 1) : NULL;
    mete_answers a = {0};
    if (!state || !action || (batch->action_mask && !mask))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu steps", n);
    for (size_t i = 0; i < n; i++) {
        size_t step = query->step ? query->step[i] : i;
        state[i] = (int32_t)state_of(p, batch->observation + step * p->seen);
        action[i] = batch->action ? batch->action[step] : 0;
        if (mask)
            memcpy(mask + i * p->actions, batch->action_mask + step * p->actions, p->actions);
    }
    const float *vector = params->vector;
    mete_var *theta = mete_weights(tape, vector, p->theta, p->states, p->actions);
    a.logits = mete_query_logits(tape, query, mete_rows_of(tape, theta, state, n), mask);
    if (query->want & METE_WANT_LOGP)
        a.logp = mete_pick(tape, a.logits, action);
    if (query->want & METE_WANT_ENTROPY)
        a.entropy = mete_entropy(tape, a.logits);
    if (query->want & METE_WANT_VALUE && p->critic)
        a.value = mete_rows_of(tape, mete_weights(tape, vector, p->value, p->states, 1), state, n);
    return mete_answers_give(cx, tape, &a, out);
}

static int
backward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
         const mete_outputs *adjoint, mete_tape *tape, float *grad)
{
    (void)self;
    (void)params;
    (void)query;
    return mete_answers_back(cx, tape, adjoint, grad);
}

METE_POLICY_PLUGIN(
    tabular, "1.0", "a softmax over actions for each state of a table",
    .doc = "For small worlds: the state is the first observation value, or the values "
           "that `inputs` names, cut into `bins` where they are real numbers.",
    .reference = "Sutton & Barto 2018, Reinforcement Learning, section 13.1",
    .tags = "control discrete exact", .options = options, .state_size = sizeof(struct tabular),
    .element = METE_F32, .flags = METE_SAMPLES, .open = open_tabular, .describe = describe,
    .act = act, .forward = forward, .backward = backward);
