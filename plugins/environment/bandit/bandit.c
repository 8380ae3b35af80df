/* bandit - one decision, one reward: Bernoulli, Gaussian and contextual linear arms.
 *
 *   bernoulli  r = 1 with probability mean[a]
 *   gaussian   r = mean[a] + noise * normal
 *   linear     context x uniform on the unit sphere of `dimension`, arm vectors theta[a] likewise;
 *              r = <x, theta[a]> + noise * normal (Li et al. 2010, disjoint arms)
 *
 * Means not given are drawn once from the node's own stream. The optimal arm's mean is a signal
 * that only measuring nodes see, so regret can be plotted and never learnt from.
 */
#include <math.h>
#include <mete/environment.h>
#include <string.h>

enum { BERNOULLI, GAUSSIAN, LINEAR };

struct bandit {
    int arms_are;
    int64_t arms, dimension;
    mete_reals mean;
    double noise;

    double *value;     /* [arms], or [arms x dimension] */
    float *context;    /* [lanes x dimension] as shown */
    struct lane *lane; /* [lanes] */
    size_t lanes;
    uint64_t key;
    int best, expected;
};

struct lane {
    uint64_t episode, task;
};

static const mete_option options[] = {
    METE_ENUM(struct bandit, arms_are, BERNOULLI, "bernoulli|gaussian|linear", "the kind of arms"),
    METE_INT(struct bandit, arms, 10, 2, 1000000, "number of arms"),
    METE_INT(struct bandit, dimension, 5, 1, 10000, "length of the context of linear arms"),
    METE_REALS(struct bandit, mean, -1e6, 1e6, 0,
               "the arms' means; drawn when absent (bernoulli: uniform, gaussian: normal)"),
    METE_REAL(struct bandit, noise, 1, 0, 1e6, "standard deviation of gaussian and linear rewards"),
    METE_OPTIONS_END};

static void
unit_vector(mete_rng *rng, double *out, size_t n)
{
    double norm = 0;
    for (size_t i = 0; i < n; i++) {
        out[i] = mete_rng_normal(rng);
        norm += out[i] * out[i];
    }
    norm = norm > 0 ? sqrt(norm) : 1;
    for (size_t i = 0; i < n; i++)
        out[i] /= norm;
}

static int
open_bandit(mete_ctx *cx, void *self)
{
    struct bandit *p = self;
    size_t arms = (size_t)p->arms, each = p->arms_are == LINEAR ? (size_t)p->dimension : 1;
    if (p->mean.count && p->arms_are == LINEAR)
        return mete_fail(cx, METE_EINVAL, "linear arms take no `mean`: their vectors are drawn");
    if (p->mean.count && p->mean.count != arms)
        return mete_fail(cx, METE_EINVAL, "mean has %zu numbers for %zu arms", p->mean.count, arms);
    for (size_t i = 0; i < p->mean.count && p->arms_are == BERNOULLI; i++)
        if (p->mean.item[i] < 0 || p->mean.item[i] > 1)
            return mete_fail(cx, METE_EINVAL, "mean[%zu] = %g is no probability", i,
                             p->mean.item[i]);
    if (!(p->value = mete_alloc(cx, arms * each * sizeof *p->value)))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu arms", arms);
    p->key = mete_hash_mix(mete_key(cx), 1);
    for (size_t a = 0; a < arms; a++) {
        mete_rng rng = mete_rng_make(p->key, a, 0);
        if (p->arms_are == LINEAR)
            unit_vector(&rng, p->value + a * each, each);
        else if (p->mean.count)
            p->value[a] = p->mean.item[a];
        else
            p->value[a] = p->arms_are == BERNOULLI ? mete_rng_uniform(&rng) : mete_rng_normal(&rng);
    }
    p->best = mete_provide_signal(cx, "optimal_value", METE_SEE_GOLD, -INFINITY, INFINITY,
                                  "mean reward of the best arm here");
    p->expected = mete_provide_signal(cx, "expected_value", METE_SEE_GOLD, -INFINITY, INFINITY,
                                      "mean reward of the arm taken");
    return p->best < 0 ? p->best : p->expected < 0 ? p->expected : METE_OK;
}

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct bandit *p = self;
    p->context = mete_alloc(cx, lanes * (size_t)p->dimension * sizeof *p->context);
    p->lane = mete_alloc(cx, lanes * sizeof *p->lane);
    if (!p->context || !p->lane)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    p->lanes = lanes;
    out->single_turn = 1;
    out->max_steps = 1;
    out->action = (mete_space){METE_SPACE_DISCRETE, (uint32_t)p->arms, 0, 0, 0};
    out->observation = p->arms_are == LINEAR
                           ? (mete_space){METE_SPACE_BOX, 0, (uint32_t)p->dimension, -1, 1}
                           : (mete_space){METE_SPACE_DISCRETE, 1, 0, 0, 0};
    return METE_OK;
}

/* The context of an episode follows from its id alone. */
static void
show(struct bandit *p, size_t lane, struct lane now, mete_observations *out)
{
    p->lane[lane] = now;
    out->prompt_id[lane] = now.task;
    if (p->arms_are != LINEAR) {
        out->observation[lane] = 0;
        return;
    }
    size_t n = (size_t)p->dimension;
    double norm = 0;
    float *to = p->context + lane * n;
    mete_rng rng = mete_rng_make(p->key, now.episode, 1);
    for (size_t i = 0; i < n; i++) {
        to[i] = (float)mete_rng_normal(&rng);
        norm += (double)to[i] * (double)to[i];
    }
    for (size_t i = 0; i < n; i++)
        to[i] = norm > 0 ? (float)(to[i] / sqrt(norm)) : 0;
    memcpy(out->observation + lane * n, to, n * sizeof *to);
}

static double
mean_of(const struct bandit *p, size_t lane, size_t arm)
{
    if (p->arms_are != LINEAR)
        return p->value[arm];
    double sum = 0;
    for (size_t i = 0; i < (size_t)p->dimension; i++)
        sum += p->value[arm * (size_t)p->dimension + i] *
               (double)p->context[lane * (size_t)p->dimension + i];
    return sum;
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct bandit *p = self;
    for (size_t k = 0; k < in->count; k++) {
        if (in->lane[k] >= p->lanes)
            return mete_fail(cx, METE_EPLUGIN, "lane %u of %zu", in->lane[k], p->lanes);
        show(p, in->lane[k], (struct lane){in->episode[k], in->task[k]}, out);
    }
    return METE_OK;
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct bandit *p = self;
    float *best = mete_lane_signal(out, p->best), *expected = mete_lane_signal(out, p->expected);
    for (size_t lane = 0; lane < p->lanes; lane++) {
        int32_t arm = in->action[lane];
        if (arm < 0 || arm >= p->arms)
            return mete_fail(cx, METE_EINVAL, "took arm %d of %lld", arm, (long long)p->arms);
        mete_rng rng = mete_rng_make(p->key, p->lane[lane].episode, 2);
        double mean = mean_of(p, lane, (size_t)arm), most = mean;
        for (size_t a = 0; a < (size_t)p->arms; a++)
            most = fmax(most, mean_of(p, lane, a));
        best[lane] = (float)most;
        expected[lane] = (float)mean;
        out->reward[lane] = p->arms_are == BERNOULLI
                                ? (float)(mete_rng_uniform(&rng) < mean)
                                : (float)(mean + p->noise * mete_rng_normal(&rng));
        out->terminated[lane] = 1;
        out->episode[lane] += out->stride;
        out->task[lane] += out->task_stride;
        if (p->arms_are == LINEAR)
            memcpy(out->final_observation + lane * (size_t)p->dimension,
                   p->context + lane * (size_t)p->dimension, (size_t)p->dimension * sizeof(float));
        else
            out->final_observation[lane] = 0;
        show(p, lane, (struct lane){out->episode[lane], out->task[lane]}, out->next);
    }
    return METE_OK;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    (void)cx;
    memcpy(bytes, &((const struct bandit *)self)->lane[lane], sizeof(struct lane));
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct lane saved;
    (void)cx;
    memcpy(&saved, bytes, sizeof saved);
    show(self, lane, saved, out);
    return METE_OK;
}

METE_ENVIRONMENT_PLUGIN(
    bandit, "1.0", "arms to pull: Bernoulli, Gaussian or contextual linear",
    .doc =
        "One step an episode. The observation is the context of linear arms, else 0. Signals that\n"
        "only gold nodes see: optimal_value and expected_value, so that regret is their\n"
        "difference.",
    .reference = "Li, Chu, Langford & Schapire 2010, WWW, arXiv:1003.0146", .options = options,
    .state_size = sizeof(struct bandit), .lane_size = sizeof(struct lane), .open = open_bandit,
    .spaces = spaces, .reset = reset, .step = step, .copy = copy, .restore = restore);
