/* learn.c - minibatches of rated texts, and the end of an epoch. */
#include "rating_model.h"

#include <math.h>
#include <mete/text.h>

static double *
as_doubles(mete_ctx *cx, const struct rating_model *p, int tensor)
{
    size_t count = (size_t)p->net.members * p->offsets;
    const float *from = mete_tensor_read(cx, tensor);
    double *out = mete_arena(cx, (count + 1) * sizeof *out);
    for (size_t k = 0; out && k < count; k++)
        out[k] = (double)from[k];
    if (!out)
        mete_fail(cx, METE_ENOMEM, "out of memory");
    return out;
}

double *
scoring_offsets(mete_ctx *cx, const struct rating_model *p)
{
    return as_doubles(cx, p, net_keeps(cx, &p->net) ? p->best_offset : p->offset);
}

double
rating_of(const struct rating_model *p, const double *out, const double *offset, double *spread)
{
    double sum = 0, square = 0, variances = 0, n = (double)p->net.members, variance;
    for (size_t m = 0; m < (size_t)p->net.members; m++) {
        double x = rating_mean(p->kind, (size_t)p->levels, out + m * p->net.columns,
                               offset + m * p->offsets, &variance);
        sum += x;
        square += x * x;
        variances += variance;
    }
    double between = n > 1 ? fmax(0, square - sum * sum / n) / (n - 1) : 0;
    *spread = sqrt(variances / n + between);
    return sum / n;
}

/* The rows' ratings as shares of the range. */
static int
read_ratings(mete_ctx *cx, const struct rating_model *p, const mete_batch *batch, double *share)
{
    const mete_text *column = mete_text_of(batch, &p->rating);
    const mete_scores *taught = NULL;
    if (p->teacher && !(taught = mete_evaluate(cx, p->teacher, batch)))
        return METE_EPLUGIN;
    if (!taught && !column)
        return mete_fail(cx, METE_EDATA, "learns from ratings, and these records have no \"%s\"",
                         p->rating.name);
    for (size_t i = 0; i < batch->episodes; i++) {
        double rating;
        mete_text text = taught ? (mete_text){"", 0} : column[i];
        if (taught && taught->status[i] != METE_VALID)
            return mete_fail(cx, METE_EDATA, "the teacher has no value for a text");
        if (taught)
            rating = taught->episode[i];
        else if (!text.data || !mete_number_parse(text, METE_NUMBER_EXPONENT, &rating))
            return mete_fail(cx, METE_EDATA, "a rating is \"%.*s\"; it must be a number",
                             (int)(text.length < 40 ? text.length : 40),
                             text.data ? text.data : "");
        if (!(rating >= p->low && rating <= p->high))
            return mete_fail(cx, METE_EDATA, "a rating is %g; low = %g and high = %g", rating,
                             p->low, p->high);
        share[i] = (rating - p->low) / (p->high - p->low);
    }
    return METE_OK;
}

int
rating_fit_batch(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step)
{
    struct rating_model *p = self;
    struct weights w = net_learning(cx, &p->net);
    struct pass t;
    size_t rows = batch->episodes, members = (size_t)p->net.members, levels = (size_t)p->levels;
    (void)step;
    if (!rows)
        return METE_OK;
    int status = pass_start(cx, &p->net, batch, &w, &t);
    double *share = mete_arena(cx, (rows + 1) * sizeof *share), by[LEVELS_MOST],
           by_offset[LEVELS_MOST];
    float *grad = mete_arena(cx, members * p->offsets * sizeof *grad);
    double *offset = as_doubles(cx, p, p->offset);
    if (!status && (!share || !grad || !offset))
        status = mete_fail(cx, METE_ENOMEM, "out of memory for a minibatch");
    if (!status)
        status = read_ratings(cx, p, batch, share);
    for (size_t k = 0; k < rows * members && !status; k++) {
        size_t i = k / members, m = k % members, at = i * p->net.outs + m * p->net.columns;
        double weight = net_times_drawn(cx, &p->net, batch->id[i], m) / (double)rows;
        t.loss += weight * rating_loss(p->kind, levels, t.out + at, offset + m * p->offsets,
                                       share[i], by, by_offset);
        for (size_t c = 0; c < p->net.columns; c++)
            t.slope[at + c] = weight * by[c];
        for (size_t c = 0; c < p->offsets; c++)
            grad[m * p->offsets + c] += (float)(weight * by_offset[c]);
    }
    if (!status)
        status = pass_step(cx, &p->net, &t, NULL);
    if (status)
        return status;
    float *x = mete_tensor_write(cx, p->offset), *sum = mete_tensor_write(cx, p->offset_sum);
    if (!x || !sum)
        return METE_EPLUGIN;
    net_adagrad(&p->net, p->net.rate, x, sum, grad, members * p->offsets);
    if (!isfinite(t.loss))
        return mete_fail(cx, METE_EPLUGIN, "the loss is not finite; lower rate (%g)", p->net.rate);
    mete_metric(cx, "loss", t.loss / (double)members);
    return METE_OK;
}

/* Pearson's; 0 where either does not vary. */
static double
correlation(const double *x, const double *y, size_t n)
{
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    return xx > 1e-18 && yy > 1e-18 ? xy / sqrt(xx * yy) : 0;
}

static int
keep_offsets(mete_ctx *cx, const struct rating_model *p)
{
    const float *from = mete_tensor_read(cx, p->offset);
    float *best = p->net.patience ? mete_tensor_write(cx, p->best_offset) : NULL;
    for (size_t k = 0; best && k < (size_t)p->net.members * p->offsets; k++)
        best[k] = from[k];
    return best || !p->net.patience ? METE_OK : METE_EPLUGIN;
}

int
rating_fit_end(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation, int *stop)
{
    struct rating_model *p = self;
    struct weights w = net_learning(cx, &p->net);
    struct pass t;
    size_t n = validation->episodes;
    (void)epoch;
    if (!n)
        return METE_OK;
    int status = pass_start(cx, &p->net, validation, &w, &t);
    double *share = mete_arena(cx, n * sizeof *share), *found = mete_arena(cx, n * sizeof *found);
    double *offset = as_doubles(cx, p, p->offset), by[LEVELS_MOST], by_offset[LEVELS_MOST];
    double loss = 0, square = 0, spread;
    if (!status && (!share || !found || !offset))
        status = mete_fail(cx, METE_ENOMEM, "out of memory");
    if (!status)
        status = read_ratings(cx, p, validation, share);
    if (status)
        return status;
    for (size_t i = 0; i < n; i++) {
        const double *out = t.out + i * p->net.outs;
        for (size_t m = 0; m < (size_t)p->net.members; m++)
            loss += rating_loss(p->kind, (size_t)p->levels, out + m * p->net.columns,
                                offset + m * p->offsets, share[i], by, by_offset) /
                    (double)(n * (size_t)p->net.members);
        found[i] = rating_of(p, out, offset, &spread);
        square += (found[i] - share[i]) * (found[i] - share[i]) / (double)n;
    }
    mete_metric(cx, "held_loss", loss);
    mete_metric(cx, "held_error", sqrt(square) * (p->high - p->low));
    mete_metric(cx, "held_correlation", correlation(found, share, n));
    int better = net_judge(cx, &p->net, loss, stop);
    return better < 0 ? better : better ? keep_offsets(cx, p) : METE_OK;
}
