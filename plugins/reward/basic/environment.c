/* environment - a number the environment gives each step: its reward, a cost, any signal. */
#include <mete/reward.h>

struct environment {
    mete_field signal;
    double scale;
};

static const mete_option options[] = {
    METE_FIELD(struct environment, signal, "reward", METE_STEP, METE_F32, 0,
               "the environment's signal; `reward` is its own"),
    METE_REAL(struct environment, scale, 1, -1e9, 1e9, "factor; a cost wants a negative one"),
    METE_OPTIONS_END};

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct environment *p = self;
    const float *signal = mete_f32_of(batch, &p->signal);
    if (!signal)
        return mete_fail(cx, METE_EDATA, "the batch has no signal '%s' per step", p->signal.name);
    for (size_t t = 0; t < batch->steps; t++)
        out->step[t] = p->scale * (double)signal[t];
    return METE_OK;
}

METE_REWARD_PLUGIN(
    environment, "1.0", "a signal of the environment, step by step",
    .doc = "The value is per step; an episode's is their sum, its undiscounted return.",
    .options = options, .state_size = sizeof(struct environment), .flags = METE_PER_STEP,
    .score = score);
