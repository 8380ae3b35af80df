/* answers.c - what most policies do alike: draw an action, hand out what a tape computed. */
#include "engine/context.h"

#include <math.h>
#include <string.h>

#include <mete/policy.h>

size_t
mete_draw(const float *logp, size_t count, int greedy, mete_rng *rng)
{
    size_t best = 0;
    if (greedy) {
        for (size_t i = 1; i < count; i++)
            best = logp[i] > logp[best] ? i : best;
        return best;
    }
    double u = mete_rng_uniform(rng), sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (logp[i] <= -1e29f)
            continue;
        sum += (double)expf(logp[i]);
        best = i;
        if (u < sum)
            break;
    }
    return best;
}

static void
give(const mete_var *from, float *to)
{
    if (from && to)
        memcpy(to, from->data, from->rows * from->columns * sizeof *to);
}

mete_var *
mete_query_logits(mete_tape *tape, const mete_query *query, mete_var *logits, const uint8_t *mask)
{
    double temperature = mete_query_temperature(query);
    if (temperature < 1 || temperature > 1)
        logits = mete_affine(tape, logits, (float)(1 / temperature), 0);
    return mete_log_softmax(tape, logits, mask);
}

int
mete_answers_give(mete_ctx *cx, mete_tape *tape, const mete_answers *answers, mete_outputs *out)
{
    mete_error err;
    mete_answers *kept = mete_tape_take(tape, sizeof *kept);
    if (mete_tape_status(tape, &err))
        return mete_fail(cx, err.code, "%s", err.message);
    if (!kept)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    *kept = *answers;
    mete_tape_keep(tape, kept);
    give(kept->logp, out->logp);
    give(kept->value, out->value);
    give(kept->entropy, out->entropy);
    give(kept->logits, out->logits);
    return METE_OK;
}

int
mete_answers_back(mete_ctx *cx, mete_tape *tape, const mete_outputs *adjoint, float *grad)
{
    const mete_answers *a = mete_tape_kept(tape);
    mete_error err;
    if (!a)
        return mete_fail(cx, METE_EPLUGIN, "backward without a forward on this tape");
    const struct {
        mete_var *var;
        const float *adjoint;
    } seed[] = {{a->logp, adjoint->logp},
                {a->value, adjoint->value},
                {a->entropy, adjoint->entropy},
                {a->logits, adjoint->logits}};
    for (size_t i = 0; i < sizeof seed / sizeof *seed; i++)
        if (seed[i].var && seed[i].adjoint)
            mete_seed(tape, seed[i].var, seed[i].adjoint);
    if (mete_tape_backward(tape, grad))
        return mete_fail(cx, mete_tape_status(tape, &err), "%s", err.message);
    return METE_OK;
}
