/* clip - the child's value, bounded: cut at lo and hi, or bent smoothly towards them.
 *
 *   cut     min(hi, max(lo, v))
 *   smooth  lo + (hi - lo) sigmoid(4 (v - middle) / (hi - lo)): slope 1 in the middle
 */
#include <math.h>
#include <mete/reward.h>

struct clip {
    double lo, hi;
    int smooth;
};

static const mete_option options[] = {
    METE_REAL(struct clip, lo, -1, -1e12, 1e12, "lower bound"),
    METE_REAL(struct clip, hi, 1, -1e12, 1e12, "upper bound"),
    METE_BOOL(struct clip, smooth, 0, "bend towards the bounds instead of cutting"),
    METE_OPTIONS_END};

static int
open_clip(mete_ctx *cx, void *self)
{
    const struct clip *p = self;
    if (!(p->lo < p->hi))
        return mete_fail(cx, METE_EINVAL, "hi (%g) must exceed lo (%g)", p->hi, p->lo);
    if (mete_child_per_step(cx, 0))
        mete_per_step(cx);
    return METE_OK;
}

static double
bound(const struct clip *p, double v)
{
    if (p->smooth)
        return p->lo +
               (p->hi - p->lo) / (1 + exp(-4 * (v - 0.5 * (p->lo + p->hi)) / (p->hi - p->lo)));
    return v < p->lo ? p->lo : v > p->hi ? p->hi : v;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct clip *p = self;
    const mete_scores *child = mete_child(cx, 0);
    for (size_t i = 0; i < batch->episodes; i++) {
        out->status[i] = child->status[i];
        out->episode[i] = bound(p, child->episode[i]);
    }
    for (size_t t = 0; out->step && t < batch->steps; t++)
        out->step[t] = bound(p, child->step[t]);
    return METE_OK;
}

static double
slope_at(const struct clip *p, double v)
{
    double b = (bound(p, v) - p->lo) / (p->hi - p->lo);
    if (p->smooth) /* sigmoid' = sigmoid (1 - sigmoid) */
        return 4 * b * (1 - b);
    return v > p->lo && v < p->hi;
}

static int
partial(mete_ctx *cx, const void *self, const mete_batch *batch, size_t k, double *slope)
{
    const mete_scores *child = mete_child(cx, k);
    const double *value = child->step ? child->step : child->episode;
    for (size_t i = 0; i < (child->step ? batch->steps : batch->episodes); i++)
        slope[i] = slope_at(self, value[i]);
    return METE_OK;
}

METE_REWARD_PLUGIN(clip, "1.0", "the child's value within bounds", .options = options,
                   .doc = "A child that is per step is bounded step by step.",
                   .state_size = sizeof(struct clip), .flags = METE_COMBINES | METE_ONE_CHILD,
                   .open = open_clip, .score = score, .partial = partial);
