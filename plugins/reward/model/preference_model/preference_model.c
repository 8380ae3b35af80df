/* preference_model - a value learnt from pairs of texts, one preferred to the other.
 *
 * value(x) = w . f(x) n^-length_power, f the counts of the response's n hashed n-grams; with
 * hidden units v . tanh(W f(x) n^-length_power + c). With a `trunk`, f(x) is the state in which
 * that language model ends after prompt and response, divided by the root of its width; it stays
 * as it is, or learns with `trunk_rate`: all of it, or its adapters where it has them. Fitted by
 * P(a preferred to b) = sigma(value(a) - value(b)) (Bradley & Terry 1952), or by another `loss`;
 * soft labels are the records' chance. Terms add up: `centre` (Eisenstein et al. 2023),
 * `correlation` with what must not be bought, with `aside` as two heads of which only the first
 * scores (ODIN; Chen et al. 2024), `mmd` between bins of it (counterfactual invariance; Veitch et
 * al. 2021, Wang et al. 2025). What must not be bought, `spurious`, is named as rewards.
 * `mismatch` adds other records' responses to each prompt, which lose (RRM; Liu et al. 2024).
 * `heads` are several values over the same hidden units, of which the record's `tag` says whose it
 * is, w_c . f(x, y); `adversary` lets a classifier psi of an attribute read those units and turns
 * its gradient round, so that they forget it: min over f, w and max over psi of BT - adversary
 * CE(psi(f), c) (Kobalczyk & van der Schaar 2025; Ganin & Lempitsky 2015).
 * `members` are fitted on resamples of their own; the value is their mean, their worst, or mean -
 * caution sd (Coste et al. 2024), and the spread of the node is their standard deviation. Of
 * words never seen in fitting nothing is known: weight 0. */
#include "preference_model.h"

#include <math.h>
#include <mete/text.h>
#include <string.h>

static const mete_option options[] = {
    NET_OPTIONS,
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
    METE_REAL(
        struct preference_model, mismatch, 0, 0, 1e3,
        "weight of pairs with responses to other prompts, which lose to both of a prompt's own "
        "and tie with each other; needs context or a trunk, to tell them apart"),
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
    METE_STRINGS(struct preference_model, heads, 0,
                 "tags that have a value of their own each; none: one value for all"),
    METE_FIELD(struct preference_model, tag, "tag", METE_EPISODE, METE_TEXT, METE_OPTIONAL,
               "which head a row is judged by"),
    METE_REAL(struct preference_model, adversary, 0, 0, 1e3,
              "weight at which hidden units forget `attribute`; needs hidden"),
    METE_FIELD(struct preference_model, attribute, "tag", METE_EPISODE, METE_TEXT, METE_OPTIONAL,
               "what they forget"),
    METE_STRINGS(struct preference_model, classes, 0,
                 "what it may be, 2 or more; rows of others teach the adversary nothing"),
    METE_ENUM(struct preference_model, combine, COMBINE_MEAN, "mean|worst|lower",
              "the value of several: their mean, the least, or mean - caution sd"),
    METE_REAL(struct preference_model, caution, 1, 0, 1e3, "see combine"),
    METE_BOOL(struct preference_model, calibrate, 1,
              "values are divided by the temperature that fits the held-out pairs best"),
    METE_OPTIONS_END};

static int
check(mete_ctx *cx, const struct preference_model *p)
{
    if ((p->correlation > 0 || p->mmd > 0 || p->aside) && !p->spurious.count)
        return mete_fail(cx, METE_EINVAL,
                         "correlation, mmd and aside need spurious = ( { use = \"length\"; } )");
    if (p->orthogonal > 0 && (!p->aside || !p->net.hidden))
        return mete_fail(cx, METE_EINVAL, "orthogonal needs aside = true and hidden units");
    if (p->mismatch > 0 && !p->net.context.count && !p->net.crossed.count && !p->net.trunk)
        return mete_fail(cx, METE_EINVAL,
                         "mismatch needs context = [ \"prompt\" ], crossed or a trunk");
    if (p->adversary > 0 && (!p->net.hidden || p->classes.count < 2))
        return mete_fail(cx, METE_EINVAL,
                         "adversary needs hidden units and classes = [ \"A\", \"B\" ]");
    if (p->heads.count && p->aside)
        return mete_fail(cx, METE_EINVAL, "heads and aside do not go together");
    return METE_OK;
}

static int
open_model(mete_ctx *cx, void *self)
{
    struct preference_model *p = self;
    int status = check(cx, p);
    p->values = p->heads.count ? p->heads.count : 1;
    p->net.reversed = p->adversary > 0 ? p->classes.count : 0;
    p->net.reversal = p->adversary;
    p->net.columns = p->values + (p->aside ? 1 : 0) + p->net.reversed;
    if (!status && p->net.members > 1)
        mete_spread(cx);
    return status ? status : net_open(cx, &p->net);
}

static void
close_model(mete_ctx *cx, void *self)
{
    (void)cx;
    net_close(&((struct preference_model *)self)->net);
}

size_t
named(const mete_strings *names, const mete_field *field, const mete_batch *batch, size_t row)
{
    const mete_text *column = mete_text_of(batch, field);
    size_t k = 0;
    if (!column || !column[row].data)
        return names->count;
    while (k < names->count && !mete_text_equal(column[row], mete_text_from(names->item[k])))
        k++;
    return k;
}

double
combine(const struct preference_model *p, const double *out, size_t head, double *spread)
{
    double sum = 0, least = INFINITY, square = 0, n = (double)p->net.members;
    for (size_t m = 0; m < (size_t)p->net.members; m++) {
        double x = out[m * p->net.columns + head];
        sum += x;
        least = x < least ? x : least;
    }
    for (size_t m = 0; m < (size_t)p->net.members; m++) {
        double x = out[m * p->net.columns + head] - sum / n;
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
    const double *state = mete_tensor_read(cx, p->net.state);
    double t = state[STATE_INVERSE_TEMPERATURE], spread;
    double *value = mete_arena(cx, (batch->episodes + 1) * p->net.outs * sizeof *value);
    int status =
        value ? net_score(cx, &p->net, batch, value) : mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < batch->episodes && !status; i++) {
        size_t head = named(&p->heads, &p->tag, batch, i);
        if (p->heads.count && head == p->heads.count) {
            mete_row_fail(cx, i, METE_FAILED, "its \"%s\" is none of heads", p->tag.name);
            continue;
        }
        out->episode[i] = t * combine(p, value + i * p->net.outs, head, &spread);
        if (out->spread)
            out->spread[i] = t * spread;
    }
    return status;
}

METE_REWARD_PLUGIN(
    preference_model, "1", "a value learnt from preferred and other responses", .options = options,
    .state_size = sizeof(struct preference_model),
    .reference = "Bradley & Terry 1952, Biometrika 39(3/4); Weinberger et al. 2009, "
                 "arXiv:0902.2206; Eisenstein et al. 2023, arXiv:2312.09244; Chen et "
                 "al. 2024 (ODIN), arXiv:2402.07319; Liu et al. 2024 (RRM), "
                 "arXiv:2409.13156; Wang et al. 2025, "
                 "arXiv:2501.09620; Kobalczyk & van der Schaar 2025, arXiv:2506.05967; "
                 "Ganin & Lempitsky 2015, arXiv:1409.7495",
    .tags = "learnt text preferences", .open = open_model, .close = close_model, .score = score,
    .fit_batch = preference_fit_batch, .fit_end = preference_fit_end);
