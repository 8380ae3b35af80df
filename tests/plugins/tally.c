/* kind: reward */
/* Counts the steps of each episode in its episode state: 10 * steps so far. */
#include "mischief.h"

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    (void)self;
    for (size_t i = 0; i < batch->episodes; i++) {
        double *count = mete_episode_state(cx, i);
        if (!count)
            return METE_EPLUGIN;
        for (size_t t = batch->step_begin[i]; t < batch->step_begin[i + 1]; t++)
            out->step[t] = 10 * ++*count;
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(tally, "1", "counts steps", .episode_size = sizeof(double),
                   .flags = METE_PER_STEP, .score = score);
