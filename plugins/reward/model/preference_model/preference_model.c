/* preference_model - a value learnt from pairs of texts, one preferred to the other.
 *
 * value(x) = w . f(x) n^-length_power, f the counts of the response's n hashed n-grams; with hidden
 * units v . tanh(W f(x) n^-length_power + c). Fitted by P(a preferred to b) = sigma(value(a) -
 * value(b)) (Bradley & Terry 1952), or by another `loss`; soft labels are the records' chance.
 * Terms add up: `centre` (Eisenstein et al. 2023), `correlation` with what must not be bought,
 * with `aside` as two heads of which only the first scores (ODIN; Chen et al. 2024), `mmd` between
 * bins of it (counterfactual invariance; Veitch et al. 2021, Wang et al. 2025). What must not be
 * bought, `spurious`, is named as rewards. `members` are fitted on resamples of their own; the
 * value is their mean, their worst, or mean - caution sd (Coste et al. 2024), and the spread of
 * the node is their standard deviation. Of words never seen in fitting nothing is known: weight 0.
 */
#include "preference_model.h"

#include <math.h>
#include <string.h>

static const mete_option options[] = {
    METE_INT(struct preference_model, words, 2, 0, 8, "longest n-gram of words; 0: none"),
    METE_INT(struct preference_model, chars_from, 1, 1, 8, "shortest n-gram of characters"),
    METE_INT(struct preference_model, chars_to, 0, 0, 8, "longest n-gram of characters; 0: none"),
    METE_INT(struct preference_model, buckets, 262144, 16, 1 << 26,
             "weights that n-grams are hashed to; a power of two"),
    METE_STRINGS(struct preference_model, context, 0,
                 "columns whose words count anew where the response says them, such as prompt"),
    METE_REAL(struct preference_model, length_power, 0.5, 0, 1,
              "features are divided by their number to this power: 0 sums, 1 is a mean"),
    METE_INT(struct preference_model, hidden, 0, 0, 4096, "hidden units; 0: linear"),
    METE_ENUM(struct preference_model, loss, LOSS_BT, "bt|focal|hinge|brier|davidson|rao_kupper",
              "loss of a pair"),
    METE_REAL(struct preference_model, focal, 2, 1, 10, "exponent of the focal loss"),
    METE_REAL(struct preference_model, tie, 1, 1e-6, 100,
              "weight of ties (davidson), or their threshold (rao_kupper)"),
    METE_FIELD(struct preference_model, margin, "margin", METE_EPISODE, METE_TEXT, METE_OPTIONAL,
               "how much better the preferred one is, from 0"),
    METE_ENUM(struct preference_model, margin_as, MARGIN_SHIFT, "shift|scale",
              "a margin is taken off the difference, or multiplies the loss"),
    METE_REAL(struct preference_model, centre, 0, 0, 1e3,
              "weight of (value(a) + value(b))^2, which fixes where 0 is"),
    METE_REWARDS(struct preference_model, spurious, 0, "what the value must not depend on"),
    METE_REAL(struct preference_model, correlation, 0, 0, 1e6,
              "weight of |correlation| with each of spurious"),
    METE_REAL(struct preference_model, mmd, 0, 0, 1e6,
              "weight of the distance between values in bins of spurious"),
    METE_INT(struct preference_model, bins, 4, 2, 64, "bins of mmd, by quantiles of the minibatch"),
    METE_REAL(struct preference_model, bandwidth, 1, 1e-3, 1e3,
              "width of the kernel of mmd, in sd of the values"),
    METE_BOOL(struct preference_model, aside, 0,
              "a second head takes what correlates with spurious, and does not score"),
    METE_REAL(struct preference_model, orthogonal, 0, 0, 1e6,
              "weight of |cosine| between the two heads; needs aside and hidden"),
    METE_INT(struct preference_model, members, 1, 1, 64, "models, each of a resample of its own"),
    METE_ENUM(struct preference_model, combine, COMBINE_MEAN, "mean|worst|lower",
              "the value of several: their mean, the least, or mean - caution sd"),
    METE_REAL(struct preference_model, caution, 1, 0, 1e3, "see combine"),
    METE_REAL(struct preference_model, rate, 0.1, 1e-9, 100, "step of AdaGrad"),
    METE_REAL(struct preference_model, decay, 0, 0, 100, "pull of weights that are used towards 0"),
    METE_INT(struct preference_model, patience, 2, 0, 1000000,
             "epochs without a lower held-out loss before the fit stops, and the best weights "
             "score; 0: the last do"),
    METE_BOOL(struct preference_model, calibrate, 1,
              "values are divided by the temperature that fits the held-out pairs best"),
    METE_OPTIONS_END};

static int
check(mete_ctx *cx, const struct preference_model *p)
{
    if (p->buckets & (p->buckets - 1))
        return mete_fail(cx, METE_EINVAL, "buckets = %lld must be a power of two",
                         (long long)p->buckets);
    if (!p->words && !p->chars_to)
        return mete_fail(cx, METE_EINVAL, "words and chars_to are both 0: there is nothing to see");
    if (p->chars_to && p->chars_from > p->chars_to)
        return mete_fail(cx, METE_EINVAL, "chars_from = %lld exceeds chars_to = %lld",
                         (long long)p->chars_from, (long long)p->chars_to);
    if ((p->correlation > 0 || p->mmd > 0 || p->aside) && !p->spurious.count)
        return mete_fail(cx, METE_EINVAL,
                         "correlation, mmd and aside need spurious = ( { use = \"length\"; } )");
    if (p->orthogonal > 0 && (!p->aside || !p->hidden))
        return mete_fail(cx, METE_EINVAL, "orthogonal needs aside = true and hidden units");
    if (p->width > SIZE_MAX / sizeof(float) / (size_t)p->buckets / 4)
        return mete_fail(cx, METE_EINVAL, "buckets x members x hidden is too much");
    return METE_OK;
}

static int
declare(mete_ctx *cx, const char *name, size_t count, int *handle)
{
    *handle = mete_tensor(cx, name, METE_F32, count);
    return *handle < 0 ? *handle : METE_OK;
}

static int
declare_all(mete_ctx *cx, struct preference_model *p)
{
    size_t table = (size_t)p->buckets * p->width, out = p->outs * (size_t)p->hidden;
    int status = declare(cx, "table", table, &p->table);
    status = status ? status : declare(cx, "table_sum", table, &p->table_sum);
    if (!status && p->patience)
        status = declare(cx, "best_table", table, &p->best_table);
    if (!status && p->hidden) {
        status = declare(cx, "bias", p->width, &p->bias);
        status = status ? status : declare(cx, "bias_sum", p->width, &p->bias_sum);
        status = status ? status : declare(cx, "out", out, &p->out);
        status = status ? status : declare(cx, "out_sum", out, &p->out_sum);
    }
    if (!status && p->hidden && p->patience) {
        status = declare(cx, "best_bias", p->width, &p->best_bias);
        status = status ? status : declare(cx, "best_out", out, &p->best_out);
    }
    p->state = status ? status : mete_tensor(cx, "state", METE_F64, STATE_NUMBERS);
    return p->state < 0 ? p->state : METE_OK;
}

/* Hidden units start small and different, and so do members; a linear model starts at 0. */
static int
start(mete_ctx *cx, const struct preference_model *p)
{
    double *state = mete_tensor_write(cx, p->state);
    if (!state)
        return METE_ENOMEM;
    state[STATE_INVERSE_TEMPERATURE] = 1;
    if (!p->hidden)
        return METE_OK;
    float *table = mete_tensor_write(cx, p->table), *out = mete_tensor_write(cx, p->out);
    if (!table || !out)
        return METE_ENOMEM;
    mete_rng rng = mete_random(cx, 0, 0);
    for (size_t k = 0; k < (size_t)p->buckets * p->width; k++)
        table[k] = (float)(.2 * mete_rng_uniform(&rng) - .1);
    double gain = 1 / sqrt((double)p->hidden);
    for (size_t k = 0; k < p->outs * (size_t)p->hidden; k++)
        out[k] = (float)(gain * (2 * mete_rng_uniform(&rng) - 1));
    return METE_OK;
}

static int
open_model(mete_ctx *cx, void *self)
{
    struct preference_model *p = self;
    p->columns = p->aside ? 2 : 1;
    p->outs = (size_t)p->members * p->columns;
    p->width = p->hidden ? (size_t)(p->members * p->hidden) : p->outs;
    int status = check(cx, p);
    p->field = mete_alloc(cx, (p->context.count + 1) * sizeof *p->field);
    for (size_t k = 0; k < p->context.count && !status && p->field; k++)
        if (strcmp(p->context.item[k], "prompt") != 0)
            status = mete_need(cx, p->context.item[k], METE_EPISODE, METE_TEXT, METE_OPTIONAL,
                               &p->field[k]);
    if (status)
        return status;
    p->grad = mete_alloc(cx, (size_t)p->buckets * p->width * sizeof *p->grad);
    p->touched = mete_alloc(cx, (size_t)p->buckets);
    if (!p->field || !p->grad || !p->touched)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %lld buckets", (long long)p->buckets);
    if (p->members > 1)
        mete_spread(cx);
    status = declare_all(cx, p);
    return status ? status : start(cx, p);
}

double
combine(const struct preference_model *p, const double *out, double *spread)
{
    double sum = 0, least = INFINITY, square = 0, n = (double)p->members;
    for (size_t m = 0; m < (size_t)p->members; m++) {
        double x = out[m * p->columns];
        sum += x;
        least = x < least ? x : least;
    }
    for (size_t m = 0; m < (size_t)p->members; m++) {
        double x = out[m * p->columns] - sum / n;
        square += x * x;
    }
    double sd = n > 1 ? sqrt(square / (n - 1)) : 0;
    if (spread)
        *spread = sd;
    return p->combine == COMBINE_WORST   ? least
           : p->combine == COMBINE_LOWER ? sum / n - p->caution * sd
                                         : sum / n;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct preference_model *p = self;
    struct weights w = scoring_weights(cx, p);
    const double *state = mete_tensor_read(cx, p->state);
    double t = state[STATE_INVERSE_TEMPERATURE], spread;
    struct bag_scratch scratch;
    if (!batch->response)
        return mete_fail(cx, METE_EINVAL, "scores texts, and these episodes have none");
    float *unit = mete_arena(cx, p->width * sizeof *unit);
    double *value = mete_arena(cx, p->outs * sizeof *value);
    int status = bag_scratch_make(cx, p, batch, &scratch);
    if (!unit || !value)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < batch->episodes && !status; i++) {
        size_t n = bag_of(p, batch, i, &scratch);
        forward(p, &w, scratch.bucket, n, unit, value);
        out->episode[i] = t * combine(p, value, &spread);
        if (out->spread)
            out->spread[i] = t * spread;
    }
    return status;
}

METE_REWARD_PLUGIN(preference_model, "1", "a value learnt from preferred and other responses",
                   .options = options, .state_size = sizeof(struct preference_model),
                   .reference = "Bradley & Terry 1952; Weinberger et al. 2009; Eisenstein et al. "
                                "2023; Chen et al. 2024 (ODIN); Wang et al. 2025",
                   .tags = "learnt text preferences", .open = open_model, .score = score,
                   .fit_batch = preference_fit_batch, .fit_end = preference_fit_end);
