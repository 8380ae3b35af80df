/* kl_penalty - minus how far the policy has moved from a reference, token by token.
 *
 * With x = log p_reference - log p as sampled (Schulman 2020, "Approximating KL divergence"):
 *   k1 = -x, unbiased;  k2 = x^2 / 2, biased and calm;  k3 = e^x - x - 1, unbiased and never
 *   negative
 * The value is -scale * k at each step.
 */
#include <math.h>
#include <mete/reward.h>

enum { K1, K2, K3 };

struct kl_penalty {
    mete_node *model;
    int estimator;
    double scale;
    int kl;
};

static const mete_option options[] = {
    METE_MODEL(struct kl_penalty, model, "reference", 0, "the policy not to stray from"),
    METE_ENUM(struct kl_penalty, estimator, K1, "k1|k2|k3", "the estimator"),
    METE_REAL(struct kl_penalty, scale, 0.05, 0, 1e6, "weight of the penalty"), METE_OPTIONS_END};

static int
open_kl(mete_ctx *cx, void *self)
{
    struct kl_penalty *p = self;
    p->kl = mete_signal(cx, "kl", METE_STEP, METE_ROLE_INFO, -INFINITY, INFINITY,
                        "the estimate itself");
    return p->kl < 0 ? p->kl : METE_OK;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct kl_penalty *p = self;
    double *kl = mete_out(out, p->kl);
    if (!batch->steps)
        for (size_t i = 0; i < batch->episodes; i++)
            out->status[i] = METE_NOT_APPLICABLE;
    if (!batch->steps)
        return METE_OK;
    const float *reference = mete_model_logp(cx, p->model, batch);
    if (!reference || !batch->logp)
        return reference
                   ? mete_fail(cx, METE_EDATA, "the batch has no log-probabilities as sampled")
                   : METE_EINVAL;
    for (size_t t = 0; t < batch->steps; t++) {
        double x = (double)reference[t] - (double)batch->logp[t];
        kl[t] = p->estimator == K1   ? -x
                : p->estimator == K2 ? 0.5 * x * x
                                     : exp(fmin(x, 40)) - x - 1;
        out->step[t] = -p->scale * kl[t];
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(kl_penalty, "1.0", "penalty on the distance from a reference policy",
                   .doc = "A row without steps (a text scored from a file) is not applicable.",
                   .reference = "Ziegler et al. 2019, arXiv:1909.08593; Schulman 2020 (estimators)",
                   .options = options, .state_size = sizeof(struct kl_penalty),
                   .flags = METE_PER_STEP, .open = open_kl, .score = score);
