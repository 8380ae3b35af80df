/* learn.c - minibatches of pairs: losses, penalties, and the end of an epoch. */
#include "preference_model.h"

#include <math.h>
#include <mete/text.h>

/* ---- a minibatch ----------------------------------------------------------------------------- */

/* What a minibatch of pairs has beside its rows. */
struct pairs {
    struct pass pass;
    double **z;     /* [spurious] their values [rows] */
    double *margin; /* [pairs] */
    uint32_t *rank;
};

static int
read_margins(mete_ctx *cx, const struct preference_model *p, struct pairs *t)
{
    const mete_text *column = mete_text_of(t->pass.batch, &p->margin);
    for (size_t k = 0; k < t->pass.batch->pairs && column; k++) {
        mete_text text = column[t->pass.batch->pair_a[k]];
        if (text.data && text.length &&
            (!mete_number_parse(text, METE_NUMBER_EXPONENT, &t->margin[k]) ||
             !isfinite(t->margin[k]) || t->margin[k] < 0))
            return mete_fail(cx, METE_EDATA, "a margin is \"%.*s\"; it must be a number from 0",
                             (int)(text.length < 40 ? text.length : 40), text.data);
    }
    return METE_OK;
}

static int
pairs_start(mete_ctx *cx, const struct preference_model *p, const mete_batch *batch,
            struct pairs *t)
{
    struct weights w = net_learning(cx, &p->net);
    int status = pass_start(cx, &p->net, batch, &w, &t->pass);
    t->z = mete_arena(cx, (p->spurious.count + 1) * sizeof *t->z);
    t->margin = mete_arena(cx, (batch->pairs + 1) * sizeof *t->margin);
    t->rank = mete_arena(cx, (batch->episodes + 1) * sizeof *t->rank);
    if (status)
        return status;
    if (!t->z || !t->margin || !t->rank)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a minibatch");
    return read_margins(cx, p, t);
}

static int
see_spurious(mete_ctx *cx, const struct preference_model *p, struct pairs *t)
{
    for (size_t k = 0; k < p->spurious.count; k++) {
        const mete_scores *scores = mete_evaluate(cx, p->spurious.item[k], t->pass.batch);
        if (!scores)
            return METE_EPLUGIN;
        t->z[k] = scores->episode;
    }
    return METE_OK;
}

/* Losses of the pairs by the value, or by value and aside together (ODIN's ranking term). */
static void
add_pairs(mete_ctx *cx, const struct preference_model *p, struct pairs *pairs, size_t member)
{
    struct pass *t = &pairs->pass;
    const mete_batch *batch = t->batch;
    size_t at = member * p->net.columns, outs = p->net.outs, n = batch->pairs;
    for (size_t k = 0; k < n; k++) {
        size_t a = batch->pair_a[k] * outs + at, b = batch->pair_b[k] * outs + at;
        double d = t->out[a] - t->out[b], slope;
        double weight = net_times_drawn(cx, &p->net, batch->id[batch->pair_a[k]], member);
        double own = d;
        if (p->aside)
            d += t->out[a + 1] - t->out[b + 1];
        double loss = pair_loss(p, d, batch->pair_p[k], pairs->margin[k], &slope);
        t->loss += weight * loss / (double)n;
        t->right += weight * (own > 0 ? batch->pair_p[k] : own < 0 ? 1 - batch->pair_p[k] : .5);
        t->weight += weight;
        slope *= weight / (double)n;
        double centre = p->centre * weight / (double)n, sum = t->out[a] + t->out[b];
        t->loss += centre * sum * sum;
        for (size_t c = 0; c < p->net.columns; c++) {
            t->slope[a + c] += slope;
            t->slope[b + c] -= slope;
        }
        t->slope[a] += 2 * centre * sum;
        t->slope[b] += 2 * centre * sum;
    }
}

static void
add_penalties(const struct preference_model *p, struct pairs *pairs, size_t member)
{
    struct pass *t = &pairs->pass;
    size_t rows = t->batch->episodes;
    for (size_t c = 0; c < p->net.columns; c++) {
        pass_take(&p->net, t, member, c);
        for (size_t k = 0; k < p->spurious.count; k++) {
            double weight = c ? -p->correlation : p->correlation;
            if (weight != 0)
                t->loss += weight * correlation_term(t->x, pairs->z[k], rows, !c, weight, t->dx);
            if (p->mmd > 0 && !c)
                t->loss += p->mmd * mmd_term(t->x, pairs->z[k], rows, (size_t)p->bins, p->bandwidth,
                                             p->mmd, pairs->rank, t->dx);
        }
        pass_put(&p->net, t, member, c);
    }
}

/* |cosine| of the two columns' weights over a member's hidden units, times `orthogonal` (ODIN's
 * orthogonality term); slopes into grad [2 x hidden]. */
static double
orthogonal_term(const struct preference_model *p, const float *v, float *grad)
{
    double dot = 0, a = 0, b = 0;
    size_t n = (size_t)p->net.hidden;
    for (size_t j = 0; j < n; j++) {
        dot += (double)v[j] * (double)v[n + j];
        a += (double)v[j] * (double)v[j];
        b += (double)v[n + j] * (double)v[n + j];
    }
    double norm = sqrt(a * b);
    if (!(norm > 1e-12))
        return 0;
    double sign = dot < 0 ? -p->orthogonal : p->orthogonal, cosine = dot / norm;
    for (size_t j = 0; j < n; j++) {
        grad[j] += (float)(sign * ((double)v[n + j] / norm - cosine * (double)v[j] / a));
        grad[n + j] += (float)(sign * ((double)v[j] / norm - cosine * (double)v[n + j] / b));
    }
    return sign * cosine;
}

/* The terms of all members: net.h, net_term. */
static double
orthogonal_terms(const struct net *net, const float *v, float *grad)
{
    const struct preference_model *p = (const struct preference_model *)(const void *)net;
    double sum = 0;
    for (size_t m = 0; m < (size_t)net->members; m++) {
        size_t at = m * net->columns * (size_t)net->hidden;
        sum += orthogonal_term(p, v + at, grad + at);
    }
    return sum;
}

int
preference_fit_batch(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step)
{
    struct preference_model *p = self;
    struct pairs pairs;
    struct pass *t = &pairs.pass;
    (void)step;
    if (!batch->pairs)
        return batch->episodes && !batch->pair_a
                   ? mete_fail(cx, METE_EDATA,
                               "learns from pairs, chosen and rejected; these "
                               "records are single responses")
                   : METE_OK;
    int status = pairs_start(cx, p, batch, &pairs);
    if (!status)
        status = see_spurious(cx, p, &pairs);
    for (size_t m = 0; m < (size_t)p->net.members && !status; m++) {
        add_pairs(cx, p, &pairs, m);
        add_penalties(p, &pairs, m);
    }
    if (!status)
        status = pass_step(cx, &p->net, t, p->orthogonal > 0 ? orthogonal_terms : NULL);
    if (!status && !isfinite(t->loss))
        status =
            mete_fail(cx, METE_EPLUGIN, "the loss is not finite; lower rate (%g)", p->net.rate);
    if (!status) {
        mete_metric(cx, "loss", t->loss / (double)p->net.members);
        if (t->weight > 0)
            mete_metric(cx, "accuracy", t->right / t->weight);
    }
    return status;
}

/* ---- the end of an epoch --------------------------------------------------------------------- */

int
preference_fit_end(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                   int *stop)
{
    struct preference_model *p = self;
    struct pairs pairs;
    size_t n = validation->pairs, outs = p->net.outs;
    (void)epoch;
    if (!n)
        return METE_OK;
    int status = pairs_start(cx, p, validation, &pairs);
    double *d = mete_arena(cx, n * sizeof *d), loss = 0, right = 0, slope;
    if (!status && !d)
        status = mete_fail(cx, METE_ENOMEM, "out of memory");
    if (status)
        return status;
    for (size_t k = 0; k < n; k++) {
        const double *a = pairs.pass.out + validation->pair_a[k] * outs,
                     *b = pairs.pass.out + validation->pair_b[k] * outs;
        double chance = validation->pair_p[k];
        d[k] = combine(p, a, NULL) - combine(p, b, NULL);
        loss += pair_loss(p, d[k], chance, pairs.margin[k], &slope) / (double)n;
        right += (d[k] > 0 ? chance : d[k] < 0 ? 1 - chance : .5) / (double)n;
    }
    mete_metric(cx, "held_loss", loss);
    mete_metric(cx, "held_accuracy", right);
    int better = net_judge(cx, &p->net, loss, stop);
    double *state = mete_tensor_write(cx, p->net.state);
    if (better < 0 || !state)
        return METE_EPLUGIN;
    if (better)
        state[STATE_INVERSE_TEMPERATURE] = p->calibrate ? calibrate(d, validation->pair_p, n) : 1;
    mete_metric(cx, "temperature", 1 / fmax(state[STATE_INVERSE_TEMPERATURE], 1e-6));
    return METE_OK;
}
