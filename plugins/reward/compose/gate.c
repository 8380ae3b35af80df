/* gate - the other children count only where the first passes.
 *
 * The first child is the condition; where its value is at least `threshold` the row's value is the
 * weighted sum of the others, elsewhere `otherwise`. The others are asked only about rows that
 * pass, so a cheap check spares a costly judge. A row whose condition does not apply does not pass.
 */
#include <mete/reward.h>

struct gate {
    double threshold, otherwise;
    int passed;
};

static const mete_option options[] = {
    METE_REAL(struct gate, threshold, 0.5, -1e12, 1e12, "least value of the condition that passes"),
    METE_REAL(struct gate, otherwise, 0, -1e12, 1e12, "value of a row that does not pass"),
    METE_OPTIONS_END};

static int
open_gate(mete_ctx *cx, void *self)
{
    struct gate *p = self;
    if (mete_child_count(cx) < 2)
        return mete_fail(cx, METE_EINVAL, "needs a condition and at least one child it guards");
    p->passed =
        mete_signal(cx, "passed", METE_EPISODE, METE_ROLE_INFO, 0, 1, "1: the gate was open");
    return p->passed < 0 ? p->passed : METE_OK;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct gate *p = self;
    const mete_scores *condition = mete_child_rows(cx, 0, NULL);
    double *passed = mete_out(out, p->passed);
    uint8_t *open = mete_arena(cx, batch->episodes + 1);
    uint8_t *applies = mete_arena(cx, batch->episodes + 1);
    if (!condition || !open || !applies)
        return condition ? mete_fail(cx, METE_ENOMEM, "out of memory") : METE_EPLUGIN;
    for (size_t i = 0; i < batch->episodes; i++) {
        if (condition->status[i] > METE_NOT_APPLICABLE)
            out->status[i] = condition->status[i];
        open[i] = condition->status[i] == METE_VALID && condition->episode[i] >= p->threshold;
        passed[i] = open[i];
        out->episode[i] = open[i] ? 0 : p->otherwise;
    }
    for (size_t k = 1; k < mete_child_count(cx); k++) {
        const mete_scores *child = mete_child_rows(cx, k, open);
        if (!child)
            return METE_EPLUGIN;
        for (size_t i = 0; i < batch->episodes; i++) {
            if (!open[i])
                continue;
            out->episode[i] += mete_child_weight(cx, k) * child->episode[i];
            applies[i] |= child->status[i] == METE_VALID;
            if (child->status[i] > METE_NOT_APPLICABLE)
                out->status[i] = child->status[i];
        }
    }
    for (size_t i = 0; i < batch->episodes; i++)
        if (open[i] && !applies[i] && !out->status[i])
            out->status[i] = METE_NOT_APPLICABLE;
    return METE_OK;
}

/* The condition opens or shuts: wherever it has a slope, that is 0. */
static int
partial(mete_ctx *cx, const void *self, const mete_batch *batch, size_t k, double *slope)
{
    const struct gate *p = self;
    const mete_scores *condition = mete_child(cx, 0);
    for (size_t i = 0; k && i < batch->episodes; i++)
        if (!condition->status[i] && condition->episode[i] >= p->threshold)
            slope[i] = mete_child_weight(cx, k);
    return METE_OK;
}

METE_REWARD_PLUGIN(gate, "1.0", "children that count only where a condition passes",
                   .options = options, .state_size = sizeof(struct gate),
                   .flags = METE_COMBINES | METE_LAZY, .open = open_gate, .score = score,
                   .partial = partial);
