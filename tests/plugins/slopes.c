/* kind: reward */
/* slopes - the slope of its child in that one's first child, as its own value. */
#include <mete/reward.h>

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    (void)self;
    double *slope = mete_arena(cx, (batch->episodes + batch->steps + 1) * sizeof *slope);
    if (!slope)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    int status = mete_partial(cx, mete_child_node(cx, 0), batch, 0, slope);
    for (size_t i = 0; i < batch->episodes && !status; i++)
        out->episode[i] = slope[i];
    return status;
}

METE_REWARD_PLUGIN(slopes, "1", "the slope of its child in that one's first",
                   .flags = METE_COMBINES | METE_ONE_CHILD, .score = score);
