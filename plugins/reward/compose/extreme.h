/* extreme.h - what min and max share. */
#include <mete/reward.h>

/* The largest of sign times each child's weighted value, by its own sign. A child that does not
 * apply to a row is left out; one that failed fails the row. */
static int
score_extreme(mete_ctx *cx, const mete_batch *batch, double sign, mete_scores *out)
{
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
            if (!found++ || sign * value > sign * out->episode[i])
                out->episode[i] = value;
        }
        if (!found && !out->status[i])
            out->status[i] = METE_NOT_APPLICABLE;
    }
    return METE_OK;
}
