/* mischief.h - what plugins that break the contract on purpose share. */
#include <mete/reward.h>

static inline int
mischief_score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    (void)cx;
    (void)self;
    for (size_t i = 0; i < batch->episodes; i++)
        out->episode[i] = 42;
    return METE_OK;
}
