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

static unsigned
read_terms(mete__value *group, mete__errors *errors)
{
    static const char *const word[] = {"nll", "ratio", "value", "kl", "entropy"};
    static const char *const later = "pair implicit match aux pathwise anchor";
    mete__value *list = mete__value_get(group, "terms");
    unsigned terms = 0;
    for (mete__value *item = list ? list->first : NULL; item; item = item->next) {
        size_t k = 0;
        item->used = true;
        while (k < 5 && !(item->kind == METE__STRING && strcmp(item->string, word[k]) == 0))
            k++;
        if (k < 5)
            terms |= 1u << k;
        else if (item->kind == METE__STRING && strstr(later, item->string) && *item->string)
            mete__errors_add(errors, "%s:%d: %s: the term '%s' is not built yet", item->file,
                             item->line, item->path, item->string);
        else
            mete__errors_add(errors, "%s:%d: %s must be one of nll, ratio, value, kl, entropy",
                             item->file, item->line, item->path);
    }
    if (!terms)
        mete__errors_add(errors, "%s:%d: %s: names no terms (nll, ratio, value, kl, entropy)",
                         group->file, group->line, group->path);
    return terms;
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
    mete__value_unknown(
        group,
        "use terms advantage divide normalise drop_zero_variance kl_in mean "
        "kl_estimator epsilon target_kl epochs minibatch gamma lambda clip clip_high "
        "value_clip nll ratio value kl entropy",
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

void
mete__objective_terms(const mete__objective *objective, const mete__weights_now *now,
                      const mete__minibatch *m, const mete_outputs *out, mete_outputs *adjoint,
                      mete__losses *losses)
{
    unsigned terms = objective->terms;
    memset(losses, 0, sizeof *losses);
    for (size_t i = 0; i < m->count; i++) {
        double w = (double)m->weight[i], l = (double)out->logp[i], slope, dl = 0;
        int clipped = 0;
        if (terms & METE__TERM_NLL) {
            losses->nll -= w * l;
            dl -= now->nll * w;
        }
        if (terms & METE__TERM_RATIO) {
            double loss = ratio_term(now, l, (double)m->old_logp[i], (double)m->advantage[i],
                                     &slope, &clipped);
            double x = (double)m->old_logp[i] - l;
            losses->ratio += w * loss;
            losses->clipped += w * clipped;
            losses->approx_kl += w * (exp(fmin(x, 40)) - x - 1);
            dl += now->ratio * w * slope;
        }
        if ((terms & METE__TERM_KL) && m->reference_logp && !objective->kl_in_reward) {
            losses->kl +=
                w * kl_term(objective->kl_estimator, (double)m->reference_logp[i] - l, &slope);
            dl += now->kl * w * slope;
        }
        adjoint->logp[i] = (float)dl;
        if (adjoint->entropy) {
            losses->entropy_mean += w * (double)out->entropy[i];
            losses->entropy -= terms & METE__TERM_ENTROPY ? w * (double)out->entropy[i] : 0;
            adjoint->entropy[i] = terms & METE__TERM_ENTROPY ? (float)(-now->entropy * w) : 0;
        }
        for (size_t h = 0; adjoint->value && h < m->heads; h++) {
            size_t at = i * m->heads + h;
            losses->value +=
                w * value_term(now->value_clip, (double)out->value[at], (double)m->old_value[at],
                               (double)m->target[at], &slope);
            adjoint->value[at] = (float)(now->value * w * slope);
        }
    }
    losses->total = now->nll * losses->nll + now->ratio * losses->ratio + now->kl * losses->kl +
                    now->entropy * losses->entropy + now->value * losses->value;
}
