/* kind: reward */
/* A random number for each episode, from the node's own stream. */
#include "mischief.h"

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    (void)self;
    for (size_t i = 0; i < batch->episodes; i++) {
        mete_rng rng = mete_random(cx, batch->id[i], 0);
        out->episode[i] = mete_rng_uniform(&rng);
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(noisy, "1", "noise", .flags = METE_SAMPLES, .score = score);
