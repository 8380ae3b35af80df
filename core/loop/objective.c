/* objective.c - what is minimised: a sum of generic terms, with the adjoint of each.
 *
 * With w the step's weight (the weights of a minibatch sum to 1), A its advantage, l its
 * log-probability, l_old as sampled, l_ref under the reference, rho = exp(l - l_old):
 *   nll      -w l
 *   ratio    -w min(rho A, clip(rho, 1 - clip, 1 + clip_high) A)   (Schulman et al. 2017, eq. 7);
 *            clip 0: -w rho A
 *   value    w/2 (v - target)^2, or the larger of that and its clipped form
 *   kl       w k(l_ref - l): k1 = -x, k2 = x^2/2, k3 = e^x - x - 1 (Schulman 2020)
 *   entropy  -w H
 *   implicit -w A beta (l - l_ref); with `tokens` A is what that node gives the step, rho. Beside
 *            pair, with mean = "row", this is -implicit E_y 1/|y| sum_t rho_t b_t over both texts
 *            of the pairs, b_t = beta (l_t - l_ref,t) the reward that DPO implies of a token: it
 *            is drawn to rho, and the pair's own term is left as it was (after T-REG; Zhou et al.
 *            2024, arXiv:2412.02685)
 *   match    w KL(teacher || policy) over the classes of a step
 *   aux      the policy's own losses, summed
 * A pair (a preferred to b with probability p) has h = s_a - s_b, with s the sum (pair_mean: the
 * mean) of l - l_ref over a row's steps, and z = beta h - margin:
 *   logistic -p log sigma(z) - (1 - p) log sigma(-z)   (Rafailov et al. 2023, eq. 7; p < 1 is the
 *            soft label of Mitchell 2023)
 *   square   (h - margin - (2 p - 1) / (2 beta))^2     (Azar et al. 2023, eq. 17)
 *   hinge    p max(0, 1 - z) + (1 - p) max(0, 1 + z)   (Zhao et al. 2023)
 * With `beta_gain` beta is the pair's own, beta (1 + beta_gain (1 - exp(-beta_rate delta))), delta
 * by how much a is better by the node `beta_by`, from 0 (MM-DPO; Zhang et al. 2025,
 * arXiv:2502.10391).
 */
#include "loop/inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static mete__schedule
read_number(mete__value *group, const char *name, double def, double lo, double hi,
            mete__errors *errors)
{
    mete__value *value = mete__value_get(group, name);
    mete__schedule schedule = mete__schedule_constant(def);
    if (value && mete__schedule_read(value, &schedule, errors) == METE_OK &&
        (fmin(schedule.from, schedule.to) < lo || fmax(schedule.from, schedule.to) > hi))
        mete__errors_add(errors, "%s:%d: %s is outside [%g, %g]", value->file, value->line,
                         value->path, lo, hi);
    return schedule;
}

#define TERM_WORDS "nll|ratio|value|kl|entropy|pair|implicit|match|aux"

static unsigned
read_terms(mete__value *group, mete__errors *errors)
{
    mete__value *list = mete__value_get(group, "terms");
    unsigned terms = 0;
    if (list && list->kind != METE__LIST) {
        mete__errors_add(errors, "%s:%d: %s must be a list [ \"ratio\", ... ]", list->file,
                         list->line, list->path);
        return 0;
    }
    for (mete__value *item = list ? list->first : NULL; item; item = item->next) {
        int term = mete__value_word(item, TERM_WORDS, errors);
        if (term >= 0)
            terms |= 1u << term;
    }
    if (!terms && !errors->count)
        mete__errors_add(errors, "%s:%d: %s: names no terms (%s)", group->file, group->line,
                         group->path, TERM_WORDS);
    return terms;
}

void
mete__pairing_read(mete__value *group, mete__objective *out, mete__errors *errors)
{
    out->pairing = (enum mete__pairing)mete__value_enum(group, "pairing", METE__PAIR_BEST_WORST,
                                                        "best_worst|all|next", errors);
    out->pair_gap = mete__value_real(group, "gap", 0, 0, 1e300, errors);
}

/* Which rows become pairs or are kept, and how a pair is weighed. */
static void
read_choice(mete__value *group, mete__objective *out, mete__errors *errors)
{
    out->link = (enum mete__link)mete__value_enum(group, "link", METE__LINK_LOGISTIC,
                                                  "logistic|square|hinge", errors);
    mete__pairing_read(group, out, errors);
    out->keep = (enum mete__keep)mete__value_enum(group, "keep", METE__KEEP_ALL,
                                                  "all|best|threshold", errors);
    out->keep_above = mete__value_real(group, "threshold", 0, -1e300, 1e300, errors);
    out->pair_mean = mete__value_bool(group, "pair_mean", false, errors);
    out->reference_free = mete__value_bool(group, "reference_free", false, errors);
    out->beta = read_number(group, "beta", 0.1, 1e-9, 1e9, errors);
    out->margin = read_number(group, "margin", 0, -1e6, 1e6, errors);
    out->beta_gain = mete__value_real(group, "beta_gain", 0, 0, 1e3, errors);
    out->beta_rate = mete__value_real(group, "beta_rate", 0.5, 0, 1e6, errors);
    const char *by = mete__value_string(group, "beta_by", "", errors);
    snprintf(out->beta_by, sizeof out->beta_by, "%s", by);
    const char *tokens = mete__value_string(group, "tokens", "", errors);
    snprintf(out->tokens, sizeof out->tokens, "%s", tokens);
    const char *teacher = mete__value_string(group, "teacher", "teacher", errors);
    snprintf(out->teacher, sizeof out->teacher, "%s", teacher);
}

void
mete__objective_read(mete__config *config, mete__value *value, mete__objective *out,
                     mete__errors *errors)
{
    memset(out, 0, sizeof *out);
    if (!value || value->kind != METE__GROUP) {
        mete__errors_add(errors, "%s: say objective = { use = \"ppo\"; } (see conf/objective)",
                         value ? value->path : "objective");
        return;
    }
    const char *use = mete__value_string(value, "use", NULL, errors);
    mete__value *group = value;
    if (use && !(group = mete__config_preset(config, "objective", use, value, errors)))
        return;
    mete__value_get(group, "use");
    out->name = use ? use : "objective";
    out->terms = read_terms(group, errors);
    out->form = (mete__advantage_form)mete__value_enum(group, "advantage", METE__ADVANTAGE_NONE,
                                                       "none|togo|gae|group|leave_one_out", errors);
    out->divide = mete__value_bool(group, "divide", false, errors);
    out->normalise = mete__value_bool(group, "normalise", false, errors);
    out->drop_zero_variance = mete__value_bool(group, "drop_zero_variance", false, errors);
    out->kl_in_reward = mete__value_enum(group, "kl_in", 0, "loss|reward", errors) == 1;
    out->sequence_mean = mete__value_enum(group, "mean", 0, "step|row", errors) == 1;
    out->kl_estimator = 1 + mete__value_enum(group, "kl_estimator", 2, "k1|k2|k3", errors);
    out->epsilon = mete__value_real(group, "epsilon", 1e-4, 0, 1, errors);
    out->target_kl = mete__value_real(group, "target_kl", 0, 0, 1e6, errors);
    out->epochs = (uint64_t)mete__value_int(group, "epochs", 1, 1, 100000, errors);
    out->minibatch = (uint64_t)mete__value_int(group, "minibatch", 0, 0, 1 << 30, errors);
    out->gamma = read_number(group, "gamma", 1, 0, 1, errors);
    out->lambda = read_number(group, "lambda", 1, 0, 1, errors);
    out->clip = read_number(group, "clip", 0, 0, 1e6, errors);
    out->clip_high = read_number(group, "clip_high", -1, -1, 1e6, errors);
    out->value_clip = read_number(group, "value_clip", 0, 0, 1e6, errors);
    out->nll = read_number(group, "nll", 1, -1e6, 1e6, errors);
    out->ratio = read_number(group, "ratio", 1, 0, 1e6, errors);
    out->value = read_number(group, "value", 0.5, 0, 1e6, errors);
    out->kl = read_number(group, "kl", 0, 0, 1e6, errors);
    out->entropy = read_number(group, "entropy", 0, -1e6, 1e6, errors);
    out->pair = read_number(group, "pair", 1, 0, 1e6, errors);
    out->implicit = read_number(group, "implicit", 1, -1e6, 1e6, errors);
    out->match = read_number(group, "match", 1, 0, 1e6, errors);
    out->aux = read_number(group, "aux", 1, 0, 1e6, errors);
    read_choice(group, out, errors);
    mete__value_unknown(group,
                        "use terms advantage divide normalise drop_zero_variance kl_in mean "
                        "kl_estimator epsilon target_kl epochs minibatch gamma lambda clip "
                        "clip_high value_clip nll ratio value kl entropy pair implicit match aux "
                        "link pairing keep threshold gap pair_mean reference_free beta beta_gain "
                        "beta_rate beta_by margin teacher tokens",
                        errors);
    for (mete__value *item = value->first; item; item = item->next)
        item->used = true; /* read through the merged copy */
}

/* The ratio term at one step: loss without its weight, and d loss / d l. */
static double
ratio_term(const mete__weights_now *now, double l, double old, double advantage, double *slope,
           int *clipped)
{
    double rho = exp(fmin(l - old, 40)), high = now->clip_high >= 0 ? now->clip_high : now->clip;
    double plain = rho * advantage;
    *slope = -plain;
    if (now->clip <= 0 || (rho >= 1 - now->clip && rho <= 1 + high))
        return -plain;
    double bound = (rho < 1 ? 1 - now->clip : 1 + high) * advantage;
    *clipped = 1;
    if (plain <= bound)
        return -plain; /* the pessimistic side: the gradient still flows */
    *slope = 0;
    return -bound;
}

static double
kl_term(int estimator, double x, double *slope)
{
    if (estimator == 1) {
        *slope = 1;
        return -x;
    }
    if (estimator == 2) {
        *slope = -x;
        return 0.5 * x * x;
    }
    double e = exp(fmin(x, 40));
    *slope = 1 - e;
    return e - x - 1;
}

static double
value_term(double clip, double v, double old, double target, double *slope)
{
    double plain = 0.5 * (v - target) * (v - target);
    *slope = v - target;
    if (clip <= 0)
        return plain;
    double near = fmax(old - clip, fmin(old + clip, v));
    double bound = 0.5 * (near - target) * (near - target);
    if (plain >= bound)
        return plain;
    *slope = near == v ? near - target : 0;
    return bound;
}

mete__weights_now
mete__weights_at(const mete__objective *o, double at)
{
    return (mete__weights_now){.clip = mete__schedule_at(&o->clip, at),
                               .clip_high = mete__schedule_at(&o->clip_high, at),
                               .value_clip = mete__schedule_at(&o->value_clip, at),
                               .nll = mete__schedule_at(&o->nll, at),
                               .ratio = mete__schedule_at(&o->ratio, at),
                               .value = mete__schedule_at(&o->value, at),
                               .kl = mete__schedule_at(&o->kl, at),
                               .entropy = mete__schedule_at(&o->entropy, at),
                               .pair = mete__schedule_at(&o->pair, at),
                               .implicit = mete__schedule_at(&o->implicit, at),
                               .match = mete__schedule_at(&o->match, at),
                               .aux = mete__schedule_at(&o->aux, at),
                               .beta = mete__schedule_at(&o->beta, at),
                               .margin = mete__schedule_at(&o->margin, at)};
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* log(1 + e^x) without overflow. */
static double
softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

double
mete__pair_scale(const mete__objective *o, double delta)
{
    return 1 + o->beta_gain * -expm1(-o->beta_rate * fmax(delta, 0));
}

/* Loss of one pair from h, and d loss / d h. */
static double
pair_loss(enum mete__link link, const mete__weights_now *now, double h, double p, double *slope)
{
    double z = now->beta * h - now->margin;
    if (link == METE__LINK_SQUARE) {
        double off = h - now->margin - (2 * p - 1) / (2 * now->beta);
        *slope = 2 * off;
        return off * off;
    }
    if (link == METE__LINK_HINGE) {
        *slope = now->beta * ((z > -1 ? 1 - p : 0) - (z < 1 ? p : 0));
        return p * fmax(0, 1 - z) + (1 - p) * fmax(0, 1 + z);
    }
    *slope = now->beta * (1 / (1 + exp(-z)) - p);
    return p * softplus(-z) + (1 - p) * softplus(z);
}

/* The sum or mean of a row's log-ratios; *each is what one step counts. row_begin counts from the
 * minibatch's start, the arrays from the piece's. */
static double
row_score(const mete__objective *o, const mete__minibatch *m, const float *logp, size_t row,
          double *each)
{
    uint32_t base = m->row_begin[0];
    uint32_t from = m->row_begin[row] - base, to = m->row_begin[row + 1] - base;
    double sum = 0;
    for (uint32_t t = from; t < to; t++)
        sum += (double)logp[t] - (m->reference_logp ? (double)m->reference_logp[t] : 0);
    *each = o->pair_mean && to > from ? 1.0 / (double)(to - from) : 1;
    return sum * *each;
}

static void
pair_terms(const mete__objective *o, const mete__weights_now *now, const mete__minibatch *m,
           const mete_outputs *out, mete_outputs *adjoint, mete__losses *losses)
{
    for (size_t k = 0; 2 * k + 1 < m->rows; k++) {
        double each[2], slope, p = (double)m->pair_p[k];
        mete__weights_now own = *now;
        own.beta *= m->pair_scale ? (double)m->pair_scale[k] : 1;
        uint32_t base = m->row_begin[0];
        double h = row_score(o, m, out->logp, 2 * k, &each[0]) -
                   row_score(o, m, out->logp, 2 * k + 1, &each[1]);
        losses->pair += m->pair_weight * pair_loss(o->link, &own, h, p, &slope);
        losses->pair_right += h > 0 ? 1 : h < 0 ? 0 : 0.5;
        losses->pair_margin += own.beta * h - now->margin;
        losses->pair_seen++;
        for (size_t r = 0; r < 2; r++) {
            double step = (r ? -1 : 1) * now->pair * m->pair_weight * slope * each[r];
            for (uint32_t t = m->row_begin[2 * k + r]; t < m->row_begin[2 * k + r + 1]; t++)
                adjoint->logp[t - base] += (float)step;
        }
    }
}

/* ---- a distribution to match ----------------------------------------------------------------- */

/* KL(teacher || policy) of each step; the adjoint of a logit is w (q - p). */
static void
match_term(const mete__weights_now *now, const mete__minibatch *m, const mete_outputs *out,
           mete_outputs *adjoint, mete__losses *losses)
{
    for (size_t i = 0; i < m->count; i++) {
        const float *logit = out->logits + i * m->classes, *teacher = m->teacher + i * m->classes;
        float *slope = adjoint->logits + i * m->classes;
        double w = (double)m->weight[i], kl = 0;
        memcpy(slope, logit, m->classes * sizeof *slope);
        mete_log_softmax_run(slope, 1, m->classes, NULL);
        for (size_t c = 0; c < m->classes; c++) {
            double p = exp((double)teacher[c]), q = exp((double)slope[c]);
            kl += p > 0 ? p * ((double)teacher[c] - (double)slope[c]) : 0;
            slope[c] = (float)(now->match * w * (q - p));
        }
        losses->match += w * kl;
    }
}

/* ---- all terms ------------------------------------------------------------------------------- */

/* The terms of one step that touch its log-probability; d loss / d l. */
static double
step_terms(const mete__objective *o, const mete__weights_now *now, const mete__minibatch *m,
           size_t i, double l, mete__losses *losses)
{
    double w = (double)m->weight[i], slope, dl = 0;
    double reference = m->reference_logp ? (double)m->reference_logp[i] : 0;
    int clipped = 0;
    if (o->terms & METE__TERM_NLL) {
        losses->nll -= w * l;
        dl -= now->nll * w;
    }
    if (o->terms & METE__TERM_RATIO) {
        double loss =
            ratio_term(now, l, (double)m->old_logp[i], (double)m->advantage[i], &slope, &clipped);
        double x = (double)m->old_logp[i] - l;
        losses->ratio += w * loss;
        losses->clipped += w * clipped;
        losses->approx_kl += w * (exp(fmin(x, 40)) - x - 1);
        dl += now->ratio * w * slope;
    }
    if ((o->terms & METE__TERM_KL) && m->reference_logp && !o->kl_in_reward) {
        losses->kl += w * kl_term(o->kl_estimator, reference - l, &slope);
        dl += now->kl * w * slope;
    }
    if (o->terms & METE__TERM_IMPLICIT) {
        double by = w * (double)m->advantage[i] * now->beta;
        losses->implicit -= by * (l - reference);
        dl -= now->implicit * by;
    }
    return dl;
}

void
mete__objective_terms(const mete__objective *objective, const mete__weights_now *now,
                      const mete__minibatch *m, const mete_outputs *out, mete_outputs *adjoint,
                      mete__losses *losses)
{
    unsigned terms = objective->terms;
    double slope;
    memset(losses, 0, sizeof *losses);
    for (size_t i = 0; i < m->count; i++) {
        double w = (double)m->weight[i];
        adjoint->logp[i] = (float)step_terms(objective, now, m, i, (double)out->logp[i], losses);
        if (out->entropy) {
            losses->entropy_mean += w * (double)out->entropy[i];
            losses->entropy -= terms & METE__TERM_ENTROPY ? w * (double)out->entropy[i] : 0;
        }
        if (adjoint->entropy)
            adjoint->entropy[i] = terms & METE__TERM_ENTROPY ? (float)(-now->entropy * w) : 0;
        for (size_t h = 0; adjoint->value && h < m->heads; h++) {
            size_t at = i * m->heads + h;
            if (isnan(m->target[at])) {
                adjoint->value[at] = 0;
                continue;
            }
            losses->value +=
                w * value_term(now->value_clip, (double)out->value[at], (double)m->old_value[at],
                               (double)m->target[at], &slope);
            adjoint->value[at] = (float)(now->value * w * slope);
        }
    }
    if (terms & METE__TERM_PAIR)
        pair_terms(objective, now, m, out, adjoint, losses);
    if ((terms & METE__TERM_MATCH) && out->logits && m->teacher)
        match_term(now, m, out, adjoint, losses);
    for (uint32_t k = 0; (terms & METE__TERM_AUX) && out->aux && k < out->auxes; k++) {
        losses->aux += m->share * (double)out->aux[k];
        adjoint->aux[k] = (float)(now->aux * m->share);
    }
    losses->total = now->nll * losses->nll + now->ratio * losses->ratio + now->kl * losses->kl +
                    now->entropy * losses->entropy + now->value * losses->value +
                    now->pair * losses->pair + now->implicit * losses->implicit +
                    now->match * losses->match + now->aux * losses->aux;
}
