/* normalize - the child's value on a common scale.
 *
 *   running  (v - mean) / (sd + epsilon) with moments of all batches so far, merged after each
 *            (Welford 1962); `centre` off divides only
 *   batch    the same with the moments of this batch
 *   group    of the samples of one prompt
 *   min_max  (v - least) / (largest - least) of all batches so far
 *
 * The moments are learnt in `update`, after a batch was used, and saved with the run. A child that
 * is per step is normalised step by step (running and batch), with the moments of steps.
 */
#include <math.h>
#include <mete/reward.h>

enum { RUNNING, BATCH, GROUP, MIN_MAX };
enum { COUNT, MEAN, SQUARES, LEAST, LARGEST, STATE };

struct normalize {
    int mode, centre;
    double epsilon, bound;
    int state; /* tensor: count, mean, sum of squared differences, least, largest */
};

static const mete_option options[] = {
    METE_ENUM(struct normalize, mode, RUNNING, "running|batch|group|min_max", "whose moments"),
    METE_BOOL(struct normalize, centre, 1, "subtract the mean"),
    METE_REAL(struct normalize, epsilon, 1e-8, 0, 1, "added to the standard deviation"),
    METE_REAL(struct normalize, bound, 10, 0, 1e12, "results are cut at +-bound; 0: not"),
    METE_OPTIONS_END};

static int
open_normalize(mete_ctx *cx, void *self)
{
    struct normalize *p = self;
    p->state = mete_tensor(cx, "moments", METE_F64, STATE);
    if (p->state < 0)
        return p->state;
    if (!mete_child_per_step(cx, 0))
        return METE_OK;
    if (p->mode == GROUP || p->mode == MIN_MAX)
        return mete_fail(cx, METE_EINVAL,
                         "'%s' is per step: only running and batch normalise step by step",
                         mete_child_name(cx, 0));
    mete_per_step(cx);
    return METE_OK;
}

struct moments {
    double mean, sd;
};

static struct moments
moments_of(const mete_scores *child, size_t from, size_t to)
{
    double sum = 0, square = 0;
    size_t count = 0;
    for (size_t i = from; i < to; i++)
        if (!child->status[i]) {
            sum += child->episode[i];
            count++;
        }
    double mean = count ? sum / (double)count : 0;
    for (size_t i = from; i < to; i++)
        if (!child->status[i])
            square += (child->episode[i] - mean) * (child->episode[i] - mean);
    return (struct moments){mean, count > 1 ? sqrt(square / (double)(count - 1)) : 0};
}

/* The same over the steps of valid rows. */
static struct moments
step_moments(const mete_scores *child, const mete_batch *batch)
{
    double sum = 0, square = 0;
    size_t count = 0;
    for (size_t t = 0; t < batch->steps; t++)
        if (!child->status[batch->step_row[t]]) {
            sum += child->step[t];
            count++;
        }
    double mean = count ? sum / (double)count : 0;
    for (size_t t = 0; t < batch->steps; t++)
        if (!child->status[batch->step_row[t]])
            square += (child->step[t] - mean) * (child->step[t] - mean);
    return (struct moments){mean, count > 1 ? sqrt(square / (double)(count - 1)) : 0};
}

static double
scaled(const struct normalize *p, double v, struct moments m)
{
    double z = (p->centre ? v - m.mean : v) / (m.sd + p->epsilon);
    if (m.sd == 0) /* no spread yet: nothing to scale by */
        z = p->centre ? v - m.mean : v;
    return p->bound > 0 ? fmax(-p->bound, fmin(p->bound, z)) : z;
}

/* Of all batches so far. */
static struct moments
running(const double *state)
{
    return (struct moments){state[MEAN],
                            state[COUNT] > 1 ? sqrt(state[SQUARES] / (state[COUNT] - 1)) : 0};
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct normalize *p = self;
    const mete_scores *child = mete_child(cx, 0);
    const double *state = mete_tensor_read(cx, p->state);
    struct moments m = running(state);
    double range = state[LARGEST] - state[LEAST];
    if (p->mode == BATCH)
        m = child->step ? step_moments(child, batch) : moments_of(child, 0, batch->episodes);
    for (size_t t = 0; child->step && t < batch->steps; t++)
        out->step[t] = scaled(p, child->step[t], m);
    for (size_t g = 0; g < batch->groups; g++) {
        if (p->mode == GROUP)
            m = moments_of(child, batch->group[g], batch->group[g + 1]);
        for (size_t i = batch->group[g]; i < batch->group[g + 1]; i++) {
            out->status[i] = child->status[i];
            out->episode[i] = p->mode == MIN_MAX
                                  ? (range > 0 ? (child->episode[i] - state[LEAST]) / range : 0)
                                  : scaled(p, child->episode[i], m);
        }
    }
    return METE_OK;
}

/* Of this batch's own moments a row's value depends on all rows, which no slope of a row tells. */
static int
partial(mete_ctx *cx, const void *self, const mete_batch *batch, size_t k, double *slope)
{
    const struct normalize *p = self;
    const mete_scores *child = mete_child(cx, k);
    const double *state = mete_tensor_read(cx, p->state);
    const double *value = child->step ? child->step : child->episode;
    struct moments m = running(state);
    double range = state[LARGEST] - state[LEAST];
    if (p->mode == BATCH || p->mode == GROUP)
        return mete_fail(cx, METE_ENOTSUP, "with mode = \"%s\" a row's value depends on all rows",
                         p->mode == BATCH ? "batch" : "group");
    for (size_t i = 0; i < (child->step ? batch->steps : batch->episodes); i++)
        if (p->mode == MIN_MAX)
            slope[i] = range > 0 ? 1 / range : 0;
        else if (!(p->bound > 0) || fabs(scaled(p, value[i], m)) < p->bound)
            slope[i] = m.sd > 0 ? 1 / (m.sd + p->epsilon) : 1;
    return METE_OK;
}

static void
take(double *state, double v)
{
    double delta = v - state[MEAN];
    state[LEAST] = state[COUNT] > 0 ? fmin(state[LEAST], v) : v;
    state[LARGEST] = state[COUNT] > 0 ? fmax(state[LARGEST], v) : v;
    state[COUNT] += 1;
    state[MEAN] += delta / state[COUNT];
    state[SQUARES] += delta * (v - state[MEAN]);
}

/* Merges the batch's moments into the running ones. */
static int
update(mete_ctx *cx, void *self, const mete_batch *batch, const mete_scores *scores)
{
    const struct normalize *p = self;
    const mete_scores *child = mete_child(cx, 0);
    double *state = mete_tensor_write(cx, p->state);
    (void)scores;
    if (!state)
        return METE_EPLUGIN;
    for (size_t t = 0; child->step && t < batch->steps; t++)
        if (!child->status[batch->step_row[t]])
            take(state, child->step[t]);
    for (size_t i = 0; !child->step && i < batch->episodes; i++)
        if (!child->status[i])
            take(state, child->episode[i]);
    mete_metric(cx, "mean", state[MEAN]);
    mete_metric(cx, "sd", state[COUNT] > 1 ? sqrt(state[SQUARES] / (state[COUNT] - 1)) : 0);
    return METE_OK;
}

METE_REWARD_PLUGIN(
    normalize, "1.0", "the child's value on a common scale",
    .doc = "running and min_max pass values through unscaled until a first batch was seen.",
    .reference = "Welford 1962, Technometrics 4(3)", .options = options,
    .state_size = sizeof(struct normalize),
    .flags = METE_COMBINES | METE_ONE_CHILD | METE_WHOLE_BATCH, .open = open_normalize,
    .score = score, .update = update, .partial = partial);
