/* kind: reward */
#include "mischief.h"
#include <math.h>

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    int status = mischief_score(cx, self, batch, out);
    out->episode[batch->episodes - 1] = NAN;
    return status;
}

METE_REWARD_PLUGIN(nan, "1", "NaN for the last row", .score = score);
