/* partial.c - how a node's value answers to its children's: d value / d child value, by row or
 * step.
 *
 * Of a node that declares METE_SUMS the host knows it: the child's weight. Others say it themselves
 * (`partial`), or nobody knows, which is METE_ENOTSUP.
 */
#include "engine/context.h"

#include <math.h>

/* The mean of x over the rows (or steps, by `row`) that are valid. */
static double
valid_mean(const double *x, const uint32_t *row, size_t n, const uint8_t *status)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (!status[row ? row[i] : i]) {
            sum += x[i];
            count++;
        }
    return count ? sum / (double)count : 0;
}

/* x moved to `share` of its way from the mean, where it is valid; NULL when out of memory. */
static double *
moved(mete__arena *arena, const double *x, const uint32_t *row, size_t n, const uint8_t *status,
      double share)
{
    double *out = mete__arena_take(arena, (n + 1) * sizeof *out);
    double mean = valid_mean(x, row, n, status);
    for (size_t i = 0; out && i < n; i++)
        out[i] = status[row ? row[i] : i] ? x[i] : mean + share * (x[i] - mean);
    return out;
}

static bool
move_children(mete_ctx *cx, double share)
{
    const mete_batch *batch = cx->batch;
    for (size_t k = 0; k < cx->node->children; k++) {
        mete_scores *child = &cx->child[k];
        child->episode =
            moved(cx->arena, child->episode, NULL, batch->episodes, child->status, share);
        if (child->step)
            child->step =
                moved(cx->arena, child->step, batch->step_row, batch->steps, child->status, share);
        if (!child->episode || (child->steps_given && !child->step))
            return false;
        for (size_t i = 0; child->step && i < batch->episodes; i++) {
            size_t from = batch->step_begin[i], to = batch->step_begin[i + 1];
            double sum = 0;
            for (size_t t = from; t < to; t++)
                sum += child->step[t];
            child->episode[i] = from < to ? sum : child->episode[i];
        }
    }
    return true;
}

/* A sum's own: the weight, at the last step alone where the sum is per step and the child is not.
 */
static void
sum_slope(const mete_node *node, const mete_batch *batch, size_t k, double *slope, size_t n)
{
    bool last = node->per_step && !node->child[k]->per_step;
    for (size_t i = 0; i < n; i++)
        slope[i] = last ? 0 : node->weight[k];
    for (size_t i = 0; last && i < batch->episodes; i++)
        if (batch->step_begin[i] < batch->step_begin[i + 1])
            slope[batch->step_begin[i + 1] - 1] = node->weight[k];
}

static int
own_slope(mete_ctx *cx, size_t k, double share, double *slope, size_t n)
{
    const mete_node *node = cx->node;
    const mete_reward *reward = &node->plugin->as.reward;
    if (!reward->partial || node->private_->isolate)
        return mete_fail(cx, METE_ENOTSUP, "%s%s does not say how its value answers to '%s'",
                         node->plugin->as.head.name,
                         reward->partial ? ", in a process of its own," : "", node->child[k]->name);
    if (share != 1 && !move_children(cx, share))
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    int status = reward->partial(cx, node->self, cx->batch, k, slope);
    for (size_t i = 0; i < n && !status; i++)
        if (!isfinite(slope[i]))
            status = mete_fail(cx, METE_EPLUGIN, "gave the slope %g for '%s'", slope[i],
                               node->child[k]->name);
    return status;
}

int
mete__frame_partial(mete__frame *frame, mete_node *node, size_t k, double share, double *slope,
                    mete_error *err)
{
    mete_ctx cx = mete__scoring_ctx(frame, node, &frame->chunk[0], METE__SCORING, err);
    const mete_batch *batch = cx.batch;
    size_t n = node->per_step ? batch->steps : batch->episodes;
    const uint8_t *own = frame->result[node->private_->number].scores.status;
    const uint8_t *child = frame->result[node->child[k]->private_->number].scores.status;
    int status = METE_OK;
    for (size_t i = 0; i < n; i++)
        slope[i] = 0;
    if (!mete__see_children(&cx))
        status = mete_fail(&cx, METE_ENOMEM, "out of memory");
    else if (node->plugin->as.head.flags & METE_SUMS)
        sum_slope(node, batch, k, slope, n);
    else
        status = own_slope(&cx, k, share, slope, n);
    for (size_t i = 0; i < n; i++) {
        size_t row = node->per_step ? batch->step_row[i] : i;
        if (own[row] || child[row])
            slope[i] = 0;
    }
    return mete__ctx_blame(node, status, err);
}

int
mete__partial(mete_node *node, size_t k, double share, double *slope, mete_error *err)
{
    mete__frame *frame = node->engine->frame;
    if (!frame || !frame->chunk || !frame->result[node->private_->number].done)
        return mete_error_set(err, METE_EPLUGIN, "%s: asked for slopes before it was scored",
                              node->path);
    return mete__frame_partial(frame, node, k, share, slope, err);
}

int
mete_partial(mete_ctx *cx, mete_node *node, const mete_batch *batch, size_t k, double *slope)
{
    if (!node || !node->plugin || node->kind != METE_KIND_REWARD || k >= node->children)
        return mete_fail(cx, METE_EPLUGIN, "asked for a slope of something that has no child %zu",
                         k);
    mete__frame *frame = mete__frame_new(cx->engine, batch, cx->arena, true);
    if (!frame)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    int status = mete__frame_score(frame, node, cx->err);
    return status ? status : mete__frame_partial(frame, node, k, 1, slope, cx->err);
}
