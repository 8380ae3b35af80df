/* Objective terms against finite differences of their loss and against hand computation; optimisers
 * and schedules against their formulas. */
#include "loop/inner.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <string.h>

#define N 6

static float old_logp[N] = {-1, -.5f, -2, -1.2f, -.7f, -.9f};
static float reference[N] = {-1.1f, -.4f, -1.5f, -1.3f, -.2f, -2};
static float advantage[N] = {1, -1, .5f, 2, -.3f, -2};
static float weight[N] = {.1f, .2f, .3f, .1f, .2f, .1f};
static float old_value[N] = {.2f, .1f, -.4f, 0, 1, .3f};
static float target[N] = {.5f, -.2f, 0, .3f, .2f, 1};

static double
loss(const mete__objective *o, const mete__weights_now *now, const float *logp, const float *value,
     const float *entropy, mete_outputs *adjoint)
{
    mete__minibatch m = {.count = N,
                         .heads = 1,
                         .old_logp = old_logp,
                         .reference_logp = reference,
                         .advantage = advantage,
                         .weight = weight,
                         .old_value = old_value,
                         .target = target};
    mete_outputs out = {.logp = (float *)(uintptr_t)logp,
                        .value = (float *)(uintptr_t)value,
                        .entropy = (float *)(uintptr_t)entropy};
    mete__losses losses;
    mete__objective_terms(o, now, &m, &out, adjoint, &losses);
    return losses.total;
}

static void
adjoints(void)
{
    static const unsigned terms[] = {
        METE__TERM_NLL,
        METE__TERM_RATIO,
        METE__TERM_VALUE,
        METE__TERM_KL,
        METE__TERM_ENTROPY,
        METE__TERM_RATIO | METE__TERM_VALUE | METE__TERM_KL | METE__TERM_ENTROPY};
    float logp[N] = {-.8f, -.9f, -2.4f, -.7f, -.72f, -1.3f},
          value[N] = {0, .4f, .1f, .2f, .3f, .9f};
    float entropy[N] = {1, 1.1f, .9f, .8f, 1.2f, .7f}, dl[N], dv[N], dh[N], waste[3][N];
    for (size_t k = 0; k < sizeof terms / sizeof *terms; k++)
        for (int estimator = 1; estimator <= 3; estimator++)
            for (int clipped = 0; clipped < 2; clipped++) {
                mete__objective o = {.terms = terms[k], .kl_estimator = estimator};
                mete__weights_now now = {.clip = clipped ? .2 : 0,
                                         .clip_high = -1,
                                         .value_clip = clipped ? .15 : 0,
                                         .nll = .7,
                                         .ratio = 1.3,
                                         .value = .6,
                                         .kl = .4,
                                         .entropy = .05};
                mete_outputs adjoint = {.logp = dl, .value = dv, .entropy = dh};
                mete_outputs other = {.logp = waste[0], .value = waste[1], .entropy = waste[2]};
                loss(&o, &now, logp, value, entropy, &adjoint);
                float *input[] = {logp, value, entropy}, *slope[] = {dl, dv, dh};
                for (int which = 0; which < 3; which++)
                    for (size_t i = 0; i < N; i++) {
                        float kept = input[which][i];
                        input[which][i] = kept + 1e-3f;
                        double up = loss(&o, &now, logp, value, entropy, &other);
                        double wide = (double)input[which][i];
                        input[which][i] = kept - 1e-3f;
                        double down = loss(&o, &now, logp, value, entropy, &other);
                        wide -= (double)input[which][i];
                        input[which][i] = kept;
                        CU_ASSERT_DOUBLE_EQUAL(slope[which][i], (up - down) / wide, 2e-4);
                    }
            }
}

/* Schulman et al. 2017, equation 7, at four places: inside, and past either side with either sign. */
static void
clipping_by_hand(void)
{
    mete__objective o = {.terms = METE__TERM_RATIO};
    mete__weights_now now = {.clip = .2, .clip_high = -1, .ratio = 1};
    static float was[] = {0, 0, 0, 0, 0}, one[] = {1, 1, 1, 1, 1}, a[] = {2, 2, -2, 2, -2};
    float logp[] = {(float)log(1.1), (float)log(1.5), (float)log(1.5), (float)log(.5),
                    (float)log(.5)};
    float slope[5];
    mete__minibatch m = {.count = 5, .old_logp = was, .advantage = a, .weight = one};
    mete_outputs out = {.logp = logp}, adjoint = {.logp = slope};
    mete__losses losses;
    mete__objective_terms(&o, &now, &m, &out, &adjoint, &losses);
    CU_ASSERT_DOUBLE_EQUAL(losses.total, -2.2 - 2.4 + 3 - 1 + 1.6, 1e-6);
    static const double want[] = {-2.2, 0, 3, -1, 0};
    for (int i = 0; i < 5; i++)
        CU_ASSERT_DOUBLE_EQUAL(slope[i], want[i], 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(losses.clipped, 4, 1e-9);
}

static void
optimisers(void)
{
    mete_error err = {0};
    double norm;
    mete__optimiser sgd = {.kind = METE__SGD, .beta1 = .9};
    float p[2] = {1, 2}, g[2] = {.5f, -1};
    CU_ASSERT_EQUAL(mete__optimiser_init(&sgd, 2, &err), METE_OK);
    mete__optimiser_step(&sgd, p, g, .1, &norm, &err);
    mete__optimiser_step(&sgd, p, g, .1, &norm, &err); /* v = .9 g + g */
    CU_ASSERT_DOUBLE_EQUAL(p[0], 1 - .05 - .095, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(norm, sqrt(1.25), 1e-9);
    mete__optimiser_free(&sgd);

    /* Adam's first step is rate * sign(g), whatever g's size (Kingma & Ba 2015, section 2.1). */
    mete__optimiser adam = {.kind = METE__ADAM, .beta1 = .9, .beta2 = .999, .epsilon = 1e-8};
    float q[2] = {1, 2};
    mete__optimiser_init(&adam, 2, &err);
    mete__optimiser_step(&adam, q, g, .01, &norm, &err);
    CU_ASSERT_DOUBLE_EQUAL(q[0], .99, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(q[1], 2.01, 1e-6);
    float h[2] = {-1, 0};
    mete__optimiser_step(&adam, q, h, .01, &norm, &err);
    double m = .9 * .1 * .5 + .1 * -1, v = .999 * .001 * .25 + .001 * 1;
    m /= 1 - .81;
    v /= 1 - .999 * .999;
    CU_ASSERT_DOUBLE_EQUAL(q[0], .99 - .01 * m / (sqrt(v) + 1e-8), 1e-6);
    mete__optimiser_free(&adam);

    /* AdamW decays the parameter itself (Loshchilov & Hutter 2019). */
    mete__optimiser w = {
        .kind = METE__ADAMW, .beta1 = .9, .beta2 = .999, .epsilon = 1e-8, .weight_decay = .5};
    float r[2] = {1, 2}, zero[2] = {0, 0};
    mete__optimiser_init(&w, 2, &err);
    mete__optimiser_step(&w, r, zero, .1, &norm, &err);
    CU_ASSERT_DOUBLE_EQUAL(r[0], 1 - .1 * .5, 1e-6);
    float bad[2] = {NAN, 1};
    CU_ASSERT_EQUAL(mete__optimiser_step(&w, r, bad, .1, &norm, &err), METE_EPLUGIN);
    CU_ASSERT_DOUBLE_EQUAL(r[0], 1 - .1 * .5, 1e-6);
    CU_ASSERT_EQUAL(w.t, 1);
    mete__optimiser_free(&w);

    mete__optimiser cut = {.kind = METE__SGD, .clip_norm = 1};
    float s[2] = {0, 0}, big[2] = {30, 40};
    mete__optimiser_init(&cut, 2, &err);
    mete__optimiser_step(&cut, s, big, 1, &norm, &err);
    CU_ASSERT_DOUBLE_EQUAL(norm, 50, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(s[0], -.6, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(s[1], -.8, 1e-6);
    mete__optimiser_free(&cut);
}

static void
schedules(void)
{
    mete__schedule s = {.from = 4, .to = 1, .over = 10, .start = 5};
    CU_ASSERT_EQUAL(mete__schedule_at(&s, 0), 4);
    CU_ASSERT_DOUBLE_EQUAL(mete__schedule_at(&s, 10), 2.5, 1e-12);
    CU_ASSERT_EQUAL(mete__schedule_at(&s, 1e9), 1);
    s.shape = METE__SHAPE_COSINE;
    CU_ASSERT_DOUBLE_EQUAL(mete__schedule_at(&s, 10), 2.5, 1e-12);
    s.shape = METE__SHAPE_EXPONENTIAL;
    CU_ASSERT_DOUBLE_EQUAL(mete__schedule_at(&s, 10), 2, 1e-12);
    s.shape = METE__SHAPE_STEP;
    CU_ASSERT_EQUAL(mete__schedule_at(&s, 14.9), 4);
    CU_ASSERT_EQUAL(mete__schedule_at(&s, 15), 1);
}

void
suite_objective(void)
{
    CU_pSuite suite = CU_add_suite("objective", NULL, NULL);
    CU_add_test(suite, "adjoints against finite differences", adjoints);
    CU_add_test(suite, "clipping by hand", clipping_by_hand);
    CU_add_test(suite, "optimisers", optimisers);
    CU_add_test(suite, "schedules", schedules);
}
