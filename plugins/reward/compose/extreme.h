/* extreme.h - what min and max share. */
#include <mete/reward.h>

/* The child that decides row i, or the number of children where none applies. */
static size_t
deciding(mete_ctx *cx, double sign, size_t i)
{
    size_t children = mete_child_count(cx), best = children;
    double most = 0;
    for (size_t k = 0; k < children; k++) {
        double value = sign * mete_child_weight(cx, k) * mete_child(cx, k)->episode[i];
        if (!mete_child(cx, k)->status[i] && (best == children || value > most)) {
            best = k;
            most = value;
        }
    }
    return best;
}

/* The weight where the child decides (the first of equals does), else 0. */
static int
partial_extreme(mete_ctx *cx, const mete_batch *batch, double sign, size_t k, double *slope)
{
    for (size_t i = 0; i < batch->episodes; i++)
        slope[i] = deciding(cx, sign, i) == k ? mete_child_weight(cx, k) : 0;
    return METE_OK;
}

/* The largest of sign times each child's weighted value, by its own sign. A child that does not
 * apply to a row is left out; one that failed fails the row. */
static int
score_extreme(mete_ctx *cx, const mete_batch *batch, double sign, mete_scores *out)
{
    for (size_t i = 0; i < batch->episodes; i++) {
        size_t best = deciding(cx, sign, i);
        int found = best < mete_child_count(cx);
        out->episode[i] =
            found ? mete_child_weight(cx, best) * mete_child(cx, best)->episode[i] : 0;
        for (size_t k = 0; k < mete_child_count(cx); k++)
            if (mete_child(cx, k)->status[i] > METE_NOT_APPLICABLE)
                out->status[i] = mete_child(cx, k)->status[i];
        if (!found && !out->status[i])
            out->status[i] = METE_NOT_APPLICABLE;
    }
    return METE_OK;
}
