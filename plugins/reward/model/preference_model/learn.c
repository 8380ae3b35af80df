/* learn.c - the forward pass, its gradient, and AdaGrad (Duchi et al. 2011) on what a minibatch
 * touched. */
#include "preference_model.h"

#include <math.h>
#include <mete/text.h>
#include <string.h>

static struct weights
weights_of(mete_ctx *cx, const struct preference_model *p, int table, int bias, int out)
{
    return (struct weights){mete_tensor_read(cx, table),
                            p->hidden ? mete_tensor_read(cx, bias) : NULL,
                            p->hidden ? mete_tensor_read(cx, out) : NULL};
}

struct weights
learning_weights(mete_ctx *cx, const struct preference_model *p)
{
    return weights_of(cx, p, p->table, p->bias, p->out);
}

struct weights
scoring_weights(mete_ctx *cx, const struct preference_model *p)
{
    const double *state = mete_tensor_read(cx, p->state);
    return p->patience && state[STATE_KEPT] != 0
               ? weights_of(cx, p, p->best_table, p->best_bias, p->best_out)
               : learning_weights(cx, p);
}

void
forward(const struct preference_model *p, const struct weights *w, const uint32_t *bucket, size_t n,
        float *unit, double *out)
{
    float scale = (float)bag_scale(p, n);
    if (p->width == 1) { /* one linear output: what is scored most */
        double sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += (double)w->table[bucket[k]];
        *out = sum * (double)scale;
        return;
    }
    memset(unit, 0, p->width * sizeof *unit);
    for (size_t k = 0; k < n; k++) {
        const float *row = w->table + bucket[k] * p->width;
        for (size_t j = 0; j < p->width; j++)
            unit[j] += row[j];
    }
    if (!p->hidden) {
        for (size_t j = 0; j < p->width; j++)
            out[j] = (double)(unit[j] * scale);
        return;
    }
    for (size_t j = 0; j < p->width; j++)
        unit[j] = tanhf(unit[j] * scale + w->bias[j]);
    for (size_t o = 0; o < p->outs; o++) {
        const float *v = w->out + o * (size_t)p->hidden;
        const float *h = unit + o / p->columns * (size_t)p->hidden;
        out[o] = 0;
        for (size_t j = 0; j < (size_t)p->hidden; j++)
            out[o] += (double)(v[j] * h[j]);
    }
}

/* ---- a minibatch ----------------------------------------------------------------------------- */

struct pass {
    const mete_batch *batch;
    struct bags bags;
    float *unit;         /* [rows x width] */
    double *out, *slope; /* [rows x outs] */
    double *x, *dx;      /* [rows] one output of all rows, and slopes by it */
    double **z;          /* [spurious] their values [rows] */
    double *margin;      /* [pairs] */
    uint32_t *rank;
    double loss, right, weight;
};

static int
read_margins(mete_ctx *cx, const struct preference_model *p, struct pass *t)
{
    const mete_text *column = mete_text_of(t->batch, &p->margin);
    for (size_t k = 0; k < t->batch->pairs && column; k++) {
        mete_text text = column[t->batch->pair_a[k]];
        if (text.data && text.length &&
            (!mete_number_parse(text, METE_NUMBER_EXPONENT, &t->margin[k]) ||
             !isfinite(t->margin[k]) || t->margin[k] < 0))
            return mete_fail(cx, METE_EDATA, "a margin is \"%.*s\"; it must be a number from 0",
                             (int)(text.length < 40 ? text.length : 40), text.data);
    }
    return METE_OK;
}

static int
pass_start(mete_ctx *cx, const struct preference_model *p, const mete_batch *batch,
           const struct weights *w, struct pass *t)
{
    size_t rows = batch->episodes;
    *t = (struct pass){.batch = batch};
    if (!batch->response)
        return mete_fail(cx, METE_EINVAL, "learns from texts, and these episodes have none");
    t->unit = mete_arena(cx, (rows + 1) * p->width * sizeof *t->unit);
    t->out = mete_arena(cx, (rows + 1) * p->outs * sizeof *t->out);
    t->slope = mete_arena(cx, (rows + 1) * p->outs * sizeof *t->slope);
    t->x = mete_arena(cx, (rows + 1) * sizeof *t->x);
    t->dx = mete_arena(cx, (rows + 1) * sizeof *t->dx);
    t->z = mete_arena(cx, (p->spurious.count + 1) * sizeof *t->z);
    t->margin = mete_arena(cx, (batch->pairs + 1) * sizeof *t->margin);
    t->rank = mete_arena(cx, (rows + 1) * sizeof *t->rank);
    if (!t->unit || !t->out || !t->slope || !t->x || !t->dx || !t->z || !t->margin || !t->rank)
        return mete_fail(cx, METE_ENOMEM, "out of memory for a minibatch");
    int status = bags_of(cx, p, batch, &t->bags);
    if (!status)
        status = read_margins(cx, p, t);
    for (size_t i = 0; i < rows && !status; i++)
        forward(p, w, t->bags.bucket + t->bags.offset[i], t->bags.offset[i + 1] - t->bags.offset[i],
                t->unit + i * p->width, t->out + i * p->outs);
    return status;
}

static int
see_spurious(mete_ctx *cx, const struct preference_model *p, struct pass *t)
{
    for (size_t k = 0; k < p->spurious.count; k++) {
        const mete_scores *scores = mete_evaluate(cx, p->spurious.item[k], t->batch);
        if (!scores)
            return METE_EPLUGIN;
        t->z[k] = scores->episode;
    }
    return METE_OK;
}

/* How often a pair counts in a member's resample: Poisson(1), the bootstrap of a stream (Oza &
 * Russell 2001); always the same for one pair. */
static double
times_drawn(mete_ctx *cx, const struct preference_model *p, const struct pass *t, size_t member,
            size_t pair)
{
    if (p->members == 1)
        return 1;
    mete_rng rng = mete_random(cx, t->batch->id[t->batch->pair_a[pair]], (uint32_t)member);
    double u = mete_rng_uniform(&rng), mass = exp(-1), below = mass;
    int times = 0;
    while (u >= below && times < 20) {
        mass /= ++times;
        below += mass;
    }
    return times;
}

/* Losses of the pairs by the value, or by value and aside together (ODIN's ranking term). */
static void
add_pairs(mete_ctx *cx, const struct preference_model *p, struct pass *t, size_t member)
{
    const mete_batch *batch = t->batch;
    size_t at = member * p->columns, n = batch->pairs;
    for (size_t k = 0; k < n; k++) {
        size_t a = batch->pair_a[k] * p->outs + at, b = batch->pair_b[k] * p->outs + at;
        double d = t->out[a] - t->out[b], slope, weight = times_drawn(cx, p, t, member, k);
        double own = d;
        if (p->aside)
            d += t->out[a + 1] - t->out[b + 1];
        double loss = pair_loss(p, d, batch->pair_p[k], t->margin[k], &slope);
        t->loss += weight * loss / (double)n;
        t->right += weight * (own > 0 ? batch->pair_p[k] : own < 0 ? 1 - batch->pair_p[k] : .5);
        t->weight += weight;
        slope *= weight / (double)n;
        double centre = p->centre * weight / (double)n, sum = t->out[a] + t->out[b];
        t->loss += centre * sum * sum;
        for (size_t c = 0; c < p->columns; c++) {
            t->slope[a + c] += slope;
            t->slope[b + c] -= slope;
        }
        t->slope[a] += 2 * centre * sum;
        t->slope[b] += 2 * centre * sum;
    }
}

static void
add_penalties(const struct preference_model *p, struct pass *t, size_t member)
{
    size_t rows = t->batch->episodes;
    for (size_t c = 0; c < p->columns; c++) {
        size_t at = member * p->columns + c;
        for (size_t i = 0; i < rows; i++) {
            t->x[i] = t->out[i * p->outs + at];
            t->dx[i] = 0;
        }
        for (size_t k = 0; k < p->spurious.count; k++) {
            double weight = c ? -p->correlation : p->correlation;
            if (weight != 0)
                t->loss += weight * correlation_term(t->x, t->z[k], rows, !c, weight, t->dx);
            if (p->mmd > 0 && !c)
                t->loss += p->mmd * mmd_term(t->x, t->z[k], rows, (size_t)p->bins, p->bandwidth,
                                             p->mmd, t->rank, t->dx);
        }
        for (size_t i = 0; i < rows; i++)
            t->slope[i * p->outs + at] += t->dx[i];
    }
}

/* What is added to a root of squares: slopes that are small from the first move little. */
#define EPSILON 1e-3

/* ---- backward and the step ------------------------------------------------------------------- */

static void
adagrad(const struct preference_model *p, float *x, float *sum, float *grad, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        double g = (double)grad[k] + p->decay * (double)x[k];
        double square = (double)sum[k] + g * g;
        sum[k] = (float)square;
        x[k] -= (float)(p->rate * g / (sqrt(square) + EPSILON));
        grad[k] = 0;
    }
}

/* |cosine| of the two columns' weights over a member's hidden units, times `orthogonal` (ODIN's
 * orthogonality term); slopes into grad [2 x hidden]. */
static double
orthogonal_term(const struct preference_model *p, const float *v, float *grad)
{
    double dot = 0, a = 0, b = 0;
    size_t n = (size_t)p->hidden;
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

/* Slopes by the outputs become slopes by what the table's rows sum to, in unit. */
static void
back_hidden(const struct preference_model *p, struct pass *t, const float *v, float *bias_grad,
            float *out_grad)
{
    size_t hidden = (size_t)p->hidden;
    for (size_t i = 0; i < t->batch->episodes; i++) {
        float *h = t->unit + i * p->width;
        const double *slope = t->slope + i * p->outs;
        for (size_t j = 0; j < p->width; j++) {
            size_t first = j / hidden * p->columns, k = j % hidden;
            double sum = 0;
            for (size_t o = first; o < first + p->columns; o++) {
                sum += slope[o] * (double)v[o * hidden + k];
                out_grad[o * hidden + k] += (float)(slope[o] * (double)h[j]);
            }
            h[j] = (float)(sum * (1 - (double)h[j] * (double)h[j]));
            bias_grad[j] += h[j];
        }
    }
}

static void
back_table(const struct preference_model *p, struct pass *t, float *table, float *table_sum)
{
    for (size_t i = 0; i < t->batch->episodes; i++) {
        const uint32_t *bucket = t->bags.bucket + t->bags.offset[i];
        size_t n = t->bags.offset[i + 1] - t->bags.offset[i];
        float scale = (float)bag_scale(p, n);
        for (size_t j = 0; j < p->width; j++)
            t->unit[i * p->width + j] *= scale;
        for (size_t k = 0; k < n; k++) {
            p->touched[bucket[k]] = 1;
            for (size_t j = 0; j < p->width; j++)
                p->grad[bucket[k] * p->width + j] += t->unit[i * p->width + j];
        }
    }
    size_t all = t->bags.offset[t->batch->episodes];
    for (size_t k = 0; k < all; k++) {
        size_t b = t->bags.bucket[k];
        if (!p->touched[b])
            continue;
        p->touched[b] = 0;
        adagrad(p, table + b * p->width, table_sum + b * p->width, p->grad + b * p->width,
                p->width);
    }
}

static int
step_weights(mete_ctx *cx, const struct preference_model *p, struct pass *t)
{
    float *table = mete_tensor_write(cx, p->table), *sum = mete_tensor_write(cx, p->table_sum);
    if (!table || !sum)
        return METE_EPLUGIN;
    if (p->hidden) {
        size_t count = p->outs * (size_t)p->hidden;
        float *v = mete_tensor_write(cx, p->out), *bias = mete_tensor_write(cx, p->bias);
        float *v_grad = mete_arena(cx, count * sizeof *v_grad);
        float *bias_grad = mete_arena(cx, p->width * sizeof *bias_grad);
        if (!v_grad || !bias_grad)
            return mete_fail(cx, METE_ENOMEM, "out of memory for a gradient");
        back_hidden(p, t, v, bias_grad, v_grad);
        for (size_t m = 0; m < (size_t)p->members && p->orthogonal > 0; m++) {
            size_t at = m * p->columns * (size_t)p->hidden;
            t->loss += orthogonal_term(p, v + at, v_grad + at);
        }
        adagrad(p, v, mete_tensor_write(cx, p->out_sum), v_grad, count);
        adagrad(p, bias, mete_tensor_write(cx, p->bias_sum), bias_grad, p->width);
    } else {
        for (size_t i = 0; i < t->batch->episodes * p->outs; i++)
            t->unit[i] = (float)t->slope[i];
    }
    back_table(p, t, table, sum);
    return METE_OK;
}

int
preference_fit_batch(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step)
{
    struct preference_model *p = self;
    struct weights w = learning_weights(cx, p);
    struct pass t;
    (void)step;
    if (!batch->pairs)
        return batch->episodes && !batch->pair_a
                   ? mete_fail(cx, METE_EDATA,
                               "learns from pairs, chosen and rejected; these "
                               "records are single responses")
                   : METE_OK;
    int status = pass_start(cx, p, batch, &w, &t);
    if (!status)
        status = see_spurious(cx, p, &t);
    for (size_t m = 0; m < (size_t)p->members && !status; m++) {
        add_pairs(cx, p, &t, m);
        add_penalties(p, &t, m);
    }
    if (!status)
        status = step_weights(cx, p, &t);
    if (!status && !isfinite(t.loss))
        status = mete_fail(cx, METE_EPLUGIN, "the loss is not finite; lower rate (%g)", p->rate);
    if (!status) {
        mete_metric(cx, "loss", t.loss / (double)p->members);
        if (t.weight > 0)
            mete_metric(cx, "accuracy", t.right / t.weight);
    }
    return status;
}

/* ---- the end of an epoch --------------------------------------------------------------------- */

static int
keep_best(mete_ctx *cx, const struct preference_model *p)
{
    const int from[] = {p->table, p->bias, p->out},
              to[] = {p->best_table, p->best_bias, p->best_out};
    const size_t count[] = {(size_t)p->buckets * p->width, p->width, p->outs * (size_t)p->hidden};
    for (int k = 0; k < (p->hidden ? 3 : 1); k++) {
        float *best = mete_tensor_write(cx, to[k]);
        if (!best)
            return METE_EPLUGIN;
        memcpy(best, mete_tensor_read(cx, from[k]), count[k] * sizeof *best);
    }
    return METE_OK;
}

int
preference_fit_end(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                   int *stop)
{
    struct preference_model *p = self;
    struct weights w = learning_weights(cx, p);
    struct pass t;
    double *state = mete_tensor_write(cx, p->state);
    size_t n = validation->pairs;
    (void)epoch;
    if (!n || !state)
        return state ? METE_OK : METE_EPLUGIN;
    int status = pass_start(cx, p, validation, &w, &t);
    double *d = mete_arena(cx, n * sizeof *d), loss = 0, right = 0, slope;
    if (!status && !d)
        status = mete_fail(cx, METE_ENOMEM, "out of memory");
    if (status)
        return status;
    for (size_t k = 0; k < n; k++) {
        const double *a = t.out + validation->pair_a[k] * p->outs,
                     *b = t.out + validation->pair_b[k] * p->outs;
        double chance = validation->pair_p[k];
        d[k] = combine(p, a, NULL) - combine(p, b, NULL);
        loss += pair_loss(p, d[k], chance, t.margin[k], &slope) / (double)n;
        right += (d[k] > 0 ? chance : d[k] < 0 ? 1 - chance : .5) / (double)n;
    }
    mete_metric(cx, "held_loss", loss);
    mete_metric(cx, "held_accuracy", right);
    int better = state[STATE_KEPT] == 0 || loss < state[STATE_BEST];
    if (better || !p->patience)
        state[STATE_INVERSE_TEMPERATURE] = p->calibrate ? calibrate(d, validation->pair_p, n) : 1;
    mete_metric(cx, "temperature", 1 / fmax(state[STATE_INVERSE_TEMPERATURE], 1e-6));
    if (!p->patience)
        return METE_OK;
    state[STATE_SINCE] = better ? 0 : state[STATE_SINCE] + 1;
    *stop = state[STATE_SINCE] >= (double)p->patience;
    if (!better)
        return METE_OK;
    state[STATE_BEST] = loss;
    state[STATE_KEPT] = 1;
    return keep_best(cx, p);
}
