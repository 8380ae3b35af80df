/* max - the largest of the children's values, each times its weight. A child that does not apply
 * to a row is left out; one that failed fails the row. */
#include "extreme.h"

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    (void)self;
    return score_extreme(cx, batch, 1, out);
}

static int
partial(mete_ctx *cx, const void *self, const mete_batch *batch, size_t k, double *slope)
{
    (void)self;
    return partial_extreme(cx, batch, 1, k, slope);
}

METE_REWARD_PLUGIN(max, "1.0", "the largest of the children's values", .flags = METE_COMBINES,
                   .score = score, .partial = partial);
