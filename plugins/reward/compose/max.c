/* max - the largest of the children's values, each times its weight. A child that does not apply to
 * a row is left out; one that failed fails the row. */
#include <mete/reward.h>

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    (void)self;
    for (size_t i = 0; i < batch->episodes; i++) {
        int found = 0;
        out->episode[i] = 0;
        for (size_t k = 0; k < mete_child_count(cx); k++) {
            const mete_scores *child = mete_child(cx, k);
            double value = mete_child_weight(cx, k) * child->episode[i];
            if (child->status[i] > METE_NOT_APPLICABLE)
                out->status[i] = child->status[i];
            if (child->status[i])
                continue;
            if (!found++ || value > out->episode[i])
                out->episode[i] = value;
        }
        if (!found && !out->status[i])
            out->status[i] = METE_NOT_APPLICABLE;
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(max, "1.0", "the largest of the children's values", .flags = METE_COMBINES,
                   .score = score);
