/* sum - children added, each times its weight.
 *
 * A child that is not applicable to a row is left out of that row's sum; a row no child applies to
 * is not applicable. A row that a child of nonzero weight failed is failed, for the sum is unknown.
 * When any child's value is per step, so is the sum: the others count at the row's last step.
 * Spreads add as of independent errors.
 */
#include <math.h>
#include <mete/reward.h>

static int
open_sum(mete_ctx *cx, void *self)
{
    (void)self;
    for (size_t k = 0; k < mete_child_count(cx); k++)
        if (mete_child_per_step(cx, k)) {
            mete_per_step(cx);
            break;
        }
    mete_spread(cx);
    return METE_OK;
}

/* What the children's statuses make of each row; one pass a child, none per row when all is valid.
 * */
static int
settle_rows(mete_ctx *cx, const mete_batch *batch, mete_scores *out)
{
    size_t children = mete_child_count(cx), rows = batch->episodes;
    uint8_t *absent = NULL; /* children that do not apply to a row; at most 255 count */
    for (size_t k = 0; k < children; k++) {
        const uint8_t *status = mete_child(cx, k)->status;
        int weighs = mete_child_weight(cx, k) != 0;
        uint8_t odd = 0;
        for (size_t i = 0; i < rows; i++)
            odd |= status[i];
        if (odd && !absent && !(absent = mete_arena(cx, rows)))
            return mete_fail(cx, METE_ENOMEM, "out of memory");
        for (size_t i = 0; odd && i < rows; i++) {
            absent[i] = (uint8_t)(absent[i] + (status[i] && absent[i] < 255));
            if (status[i] > METE_NOT_APPLICABLE && weighs)
                out->status[i] = status[i];
        }
    }
    for (size_t i = 0; absent && i < rows; i++)
        if (absent[i] >= (children < 255 ? children : 255) && !out->status[i])
            out->status[i] = METE_NOT_APPLICABLE;
    return METE_OK;
}

METE_WIDE static void
add_scaled(double *restrict sum, double weight, const double *restrict value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += weight * value[i];
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    int spread = 0;
    (void)self;
    for (size_t i = 0; i < batch->episodes; i++)
        out->episode[i] = 0;
    for (size_t k = 0; k < mete_child_count(cx); k++) {
        const mete_scores *child = mete_child(cx, k);
        double weight = mete_child_weight(cx, k);
        if (out->step) {
            const double *step = mete_child_steps(cx, batch, k);
            if (!step)
                return METE_ENOMEM;
            for (size_t t = 0; t < batch->steps; t++)
                out->step[t] += child->status[batch->step_row[t]] ? 0 : weight * step[t];
        }
        /* 0 for rows that are not valid; of rows with steps the host sums those */
        add_scaled(out->episode, weight, child->episode, batch->episodes);
        spread |= child->spread != NULL;
        for (size_t i = 0; child->spread && i < batch->episodes; i++)
            out->spread[i] += weight * weight * child->spread[i] * child->spread[i];
    }
    for (size_t i = 0; spread && i < batch->episodes; i++)
        out->spread[i] = sqrt(out->spread[i]);
    return settle_rows(cx, batch, out);
}

METE_REWARD_PLUGIN(sum, "1.0", "weighted sum of children",
                   .doc = "Weights stand in the children (weight = 0.5;) and may be schedules.",
                   .flags = METE_COMBINES | METE_SUMS, .open = open_sum, .score = score);
