/* The terms that compare: pair, implicit and match against finite differences and closed forms. */
#include "loop/inner.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 9, CLASSES = 4 };

/* Two pairs: rows of 2 and 3 steps, then of 3 and 1. */
static const uint32_t row_begin[] = {0, 2, 5, 8, 9};
static float reference[STEPS] = {-1, -.5f, -2, -1.2f, -.7f, -.9f, -.3f, -1.7f, -.2f};
static float pair_p[] = {1, .8f};

static const float *pair_scale;

static double
pair_loss(const mete__objective *o, const mete__weights_now *now, float *logp, float *slope,
          mete__losses *losses)
{
    mete__minibatch m = {.count = STEPS,
                         .reference_logp = reference,
                         .weight = (float[STEPS]){0},
                         .rows = 4,
                         .row_begin = row_begin,
                         .pair_p = pair_p,
                         .pair_scale = pair_scale,
                         .pair_weight = .5};
    mete_outputs out = {.logp = logp}, adjoint = {.logp = slope};
    mete__objective_terms(o, now, &m, &out, &adjoint, losses);
    return losses->total;
}

static void
pair_adjoints(void)
{
    for (int link = METE__LINK_LOGISTIC; link <= METE__LINK_HINGE; link++)
        for (int mean = 0; mean < 2; mean++) {
            mete__objective o = {
                .terms = METE__TERM_PAIR, .link = (enum mete__link)link, .pair_mean = mean};
            mete__weights_now now = {.pair = .7, .beta = .3, .margin = .1};
            float logp[STEPS] = {-.8f, -.9f, -2.4f, -.7f, -.72f, -1.3f, -.4f, -1, -.6f};
            float slope[STEPS], waste[STEPS];
            mete__losses losses;
            pair_loss(&o, &now, logp, slope, &losses);
            for (size_t i = 0; i < STEPS; i++) {
                float kept = logp[i];
                logp[i] = kept + 1e-2f;
                double up = pair_loss(&o, &now, logp, waste, &losses), wide = (double)logp[i];
                logp[i] = kept - 1e-2f;
                double down = pair_loss(&o, &now, logp, waste, &losses);
                wide -= (double)logp[i];
                logp[i] = kept;
                CU_ASSERT_DOUBLE_EQUAL((up - down) / wide, (double)slope[i], 2e-4);
            }
        }
}

/* At the reference, h = 0: DPO's loss is log 2 and IPO's 1 / (4 beta^2); IPO vanishes where h is
 * 1 / (2 beta), whatever the pair. */
static void
pair_closed_forms(void)
{
    mete__weights_now now = {.pair = 1, .beta = .25};
    mete__objective dpo = {.terms = METE__TERM_PAIR}, ipo = dpo;
    float slope[STEPS], far[STEPS];
    mete__losses losses;
    ipo.link = METE__LINK_SQUARE;
    pair_p[1] = 1;
    CU_ASSERT_DOUBLE_EQUAL(pair_loss(&dpo, &now, reference, slope, &losses), log(2), 1e-12);
    CU_ASSERT_EQUAL(losses.pair_right, 1); /* two ties, each worth a half */
    CU_ASSERT_DOUBLE_EQUAL(pair_loss(&ipo, &now, reference, slope, &losses), 4, 1e-12);
    memcpy(far, reference, sizeof far);
    far[0] += 2;
    far[5] += 2;
    CU_ASSERT_DOUBLE_EQUAL(pair_loss(&ipo, &now, far, slope, &losses), 0, 1e-9);
    CU_ASSERT_EQUAL(losses.pair_right, 2);
    pair_p[1] = .8f;
}

/* MM-DPO's beta: no margin, the plain one; without end, 1 + gain times it. A pair with a scale has
 * the loss it would have under that beta, and its adjoint. */
static void
pairs_have_betas_of_their_own(void)
{
    mete__objective o = {.terms = METE__TERM_PAIR, .beta_gain = .5, .beta_rate = .5};
    CU_ASSERT_EQUAL(mete__pair_scale(&o, 0), 1);
    CU_ASSERT_EQUAL(mete__pair_scale(&o, -3), 1);
    CU_ASSERT_DOUBLE_EQUAL(mete__pair_scale(&o, 2), 1 + .5 * (1 - exp(-1)), 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(mete__pair_scale(&o, 1e9), 1.5, 1e-12);
    float logp[STEPS] = {-.8f, -.9f, -2.4f, -.7f, -.72f, -1.3f, -.4f, -1, -.6f};
    float slope[STEPS], want[STEPS], scale[] = {1.3f, 1.3f};
    mete__losses own, all;
    mete__weights_now now = {.pair = .7, .beta = .3, .margin = .1}, wide = now;
    wide.beta *= (double)scale[0];
    double loss = pair_loss(&o, &wide, logp, want, &all);
    pair_scale = scale;
    CU_ASSERT_DOUBLE_EQUAL(pair_loss(&o, &now, logp, slope, &own), loss, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(own.pair_margin, all.pair_margin, 1e-12);
    for (size_t i = 0; i < STEPS; i++)
        CU_ASSERT_DOUBLE_EQUAL((double)slope[i], (double)want[i], 1e-9);
    pair_scale = NULL;
}

static void
implicit_is_weighted_nll(void)
{
    mete__objective o = {.terms = METE__TERM_IMPLICIT};
    mete__weights_now now = {.implicit = .5, .beta = 2};
    float logp[] = {-1, -2}, ref[] = {-1.5f, -1}, weight[] = {.25f, .75f}, a[] = {3, -1}, slope[2];
    mete__minibatch m = {
        .count = 2, .reference_logp = ref, .weight = weight, .advantage = a, .share = 1};
    mete_outputs out = {.logp = logp}, adjoint = {.logp = slope};
    mete__losses losses;
    mete__objective_terms(&o, &now, &m, &out, &adjoint, &losses);
    CU_ASSERT_DOUBLE_EQUAL(losses.implicit, -(.25 * 3 * 2 * .5 + .75 * -1 * 2 * -1), 1e-6);
    CU_ASSERT_DOUBLE_EQUAL((double)slope[0], -.5 * .25 * 3 * 2, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL((double)slope[1], .5 * .75 * 1 * 2, 1e-6);
}

/* T-REG: the loss of DPO less alpha E_y 1/|y| sum rho b, b = beta (l - l_ref), by hand, and its
 * adjoint by finite differences. rho of a token with p+ = .4 and p- = .1 is .3
 * (tests/unit/test_dense.c). */
static double
token_reg_loss(const float *rho, float *logp, float *slope)
{
    mete__objective o = {.terms = METE__TERM_PAIR | METE__TERM_IMPLICIT};
    mete__weights_now now = {.pair = 1, .implicit = .25, .beta = .3};
    float weight[STEPS]; /* rows count alike, and steps in a row */
    for (size_t r = 0; r < 4; r++)
        for (uint32_t t = row_begin[r]; t < row_begin[r + 1]; t++)
            weight[t] = .25f / (float)(row_begin[r + 1] - row_begin[r]);
    mete__minibatch m = {.count = STEPS,
                         .reference_logp = reference,
                         .advantage = rho,
                         .weight = weight,
                         .rows = 4,
                         .row_begin = row_begin,
                         .pair_p = pair_p,
                         .pair_weight = .5};
    mete_outputs out = {.logp = logp}, adjoint = {.logp = slope};
    mete__losses losses;
    mete__objective_terms(&o, &now, &m, &out, &adjoint, &losses);
    return losses.total;
}

static void
tokens_are_regularised(void)
{
    const float rho[STEPS] = {.3f, -.1f, 0, .4f, -.5f, .2f, .5f, -.3f, .1f};
    float logp[STEPS] = {-.8f, -.9f, -2.4f, -.7f, -.72f, -1.3f, -.4f, -1, -.6f};
    float slope[STEPS], waste[STEPS];
    mete__objective dpo = {.terms = METE__TERM_PAIR};
    mete__weights_now now = {.pair = 1, .beta = .3};
    mete__losses losses;
    double want = pair_loss(&dpo, &now, logp, waste, &losses);
    for (size_t r = 0; r < 4; r++)
        for (uint32_t t = row_begin[r]; t < row_begin[r + 1]; t++)
            want -= .25 * .25 / (double)(row_begin[r + 1] - row_begin[r]) * (double)rho[t] * .3 *
                    ((double)logp[t] - (double)reference[t]);
    CU_ASSERT_DOUBLE_EQUAL(token_reg_loss(rho, logp, slope), want, 1e-7);
    for (size_t i = 0; i < STEPS; i++) {
        float kept = logp[i];
        logp[i] = kept + 1e-2f;
        double up = token_reg_loss(rho, logp, waste), wide = (double)logp[i];
        logp[i] = kept - 1e-2f;
        double down = token_reg_loss(rho, logp, waste);
        wide -= (double)logp[i];
        logp[i] = kept;
        CU_ASSERT_DOUBLE_EQUAL((up - down) / wide, (double)slope[i], 2e-4);
    }
}

static double
match_loss(const float *teacher, float *logits, float *slope)
{
    mete__objective o = {.terms = METE__TERM_MATCH};
    mete__weights_now now = {.match = 1.5};
    float weight[] = {.4f, .6f}, logp[2] = {0}, dl[2];
    mete__minibatch m = {
        .count = 2, .weight = weight, .teacher = teacher, .classes = CLASSES, .share = 1};
    mete_outputs out = {.logp = logp, .logits = logits, .classes = CLASSES};
    mete_outputs adjoint = {.logp = dl, .logits = slope, .classes = CLASSES};
    mete__losses losses;
    mete__objective_terms(&o, &now, &m, &out, &adjoint, &losses);
    return losses.total;
}

static void
match_adjoints(void)
{
    float teacher[2 * CLASSES] = {.1f, 1, -2, .4f, 0, .3f, .3f, -1};
    float logits[2 * CLASSES] = {.5f, -.2f, .7f, 1.5f, -1, 2, .1f, 0}, slope[2 * CLASSES],
                     waste[2 * CLASSES];
    mete_log_softmax_run(teacher, 2, CLASSES, NULL);
    match_loss(teacher, logits, slope);
    for (size_t i = 0; i < 2 * CLASSES; i++) {
        float kept = logits[i];
        logits[i] = kept + 1e-2f;
        double up = match_loss(teacher, logits, waste);
        logits[i] = kept - 1e-2f;
        double down = match_loss(teacher, logits, waste);
        logits[i] = kept;
        CU_ASSERT_DOUBLE_EQUAL((up - down) / 2e-2, (double)slope[i], 1e-4);
    }
    CU_ASSERT_DOUBLE_EQUAL(match_loss(teacher, teacher, waste), 0, 1e-6);
}

void
suite_pairs(void)
{
    CU_pSuite suite = CU_add_suite("pairs", NULL, NULL);
    CU_add_test(suite, "adjoints of pairs", pair_adjoints);
    CU_add_test(suite, "closed forms of dpo and ipo", pair_closed_forms);
    CU_add_test(suite, "pairs have betas of their own", pairs_have_betas_of_their_own);
    CU_add_test(suite, "tokens are regularised", tokens_are_regularised);
    CU_add_test(suite, "implicit is a weighted likelihood", implicit_is_weighted_nll);
    CU_add_test(suite, "adjoints of a matched distribution", match_adjoints);
}
