/* product - children multiplied: value = prod_k (weight_k value_k).
 *
 * When any child is per step, so is the product: each step is multiplied by the episode values of
 * the others, and the row's value is the sum of its steps. */
#include <mete/reward.h>

static int
open_product(mete_ctx *cx, void *self)
{
    (void)self;
    for (size_t k = 0; k < mete_child_count(cx); k++)
        if (mete_child_per_step(cx, k)) {
            mete_per_step(cx);
            break;
        }
    return METE_OK;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    (void)self;
    for (size_t i = 0; i < batch->episodes; i++)
        out->episode[i] = 1;
    for (size_t t = 0; out->step && t < batch->steps; t++)
        out->step[t] = 1;
    for (size_t k = 0; k < mete_child_count(cx); k++) {
        const mete_scores *child = mete_child(cx, k);
        double weight = mete_child_weight(cx, k);
        for (size_t i = 0; i < batch->episodes; i++) {
            if (child->status[i]) /* an unknown factor makes an unknown product */
                out->status[i] =
                    child->status[i] > out->status[i] ? child->status[i] : out->status[i];
            out->episode[i] *= weight * child->episode[i];
        }
        for (size_t t = 0; out->step && t < batch->steps; t++)
            out->step[t] *=
                weight * (child->step ? child->step[t] : child->episode[batch->step_row[t]]);
    }
    return METE_OK;
}

/* The product of the other factors, and the child's own weight. */
static int
partial(mete_ctx *cx, const void *self, const mete_batch *batch, size_t k, double *slope)
{
    int steps = 0;
    (void)self;
    for (size_t j = 0; j < mete_child_count(cx); j++)
        steps |= mete_child_per_step(cx, j);
    size_t n = steps ? batch->steps : batch->episodes;
    for (size_t i = 0; i < n; i++)
        slope[i] = mete_child_weight(cx, k);
    for (size_t j = 0; j < mete_child_count(cx); j++) {
        const mete_scores *child = mete_child(cx, j);
        for (size_t i = 0; i < n && j != k; i++)
            slope[i] *= mete_child_weight(cx, j) * (child->step ? child->step[i]
                                                    : steps     ? child->episode[batch->step_row[i]]
                                                                : child->episode[i]);
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(
    product, "1.0", "children multiplied",
    .doc =
        "A row is valid when every child is. Episode values multiply each step of children that\n"
        "are per step; the row's value is then the sum of its steps.",
    .flags = METE_COMBINES, .open = open_product, .score = score, .partial = partial);
