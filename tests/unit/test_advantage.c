/* Advantages against brute force and the figures users gave. */
#include "loop/advantage.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <string.h>

static const uint32_t one_group[] = {0, 4};

static mete_batch
group_of_four(void)
{
    mete_batch batch = {.episodes = 4, .groups = 1, .group = one_group};
    return batch;
}

/* Rewards [1, 1, 0, 0] with the second masked: the mean of the valid ones is 1/3. */
static void
masked_rows_leave_the_baseline(void)
{
    static const double reward[] = {1, 1, 0, 0};
    static const uint8_t valid[] = {1, 0, 1, 1};
    mete_batch batch = group_of_four();
    double out[4];
    CU_ASSERT_EQUAL(mete__group_relative(&batch, reward, valid, false, 0, out, NULL), 0);
    CU_ASSERT_DOUBLE_EQUAL(out[0], 2. / 3, 1e-12);
    CU_ASSERT_EQUAL(out[1], 0);
    CU_ASSERT_DOUBLE_EQUAL(out[2], -1. / 3, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(out[3], -1. / 3, 1e-12);
    mete__group_relative(&batch, reward, valid, true, 0, out, NULL);
    CU_ASSERT_DOUBLE_EQUAL(out[0], 1.1547005, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(out[2], -.5773503, 1e-6);
}

static void
leave_one_out_stays_finite(void)
{
    static const double reward[] = {1, 0, 0, 0};
    static const uint8_t valid[] = {1, 1, 1, 1};
    mete_batch batch = group_of_four();
    double out[4];
    mete__leave_one_out(&batch, reward, valid, false, 0, out, NULL);
    CU_ASSERT_DOUBLE_EQUAL(out[0], 1, 1e-12);       /* 1 - mean(0, 0, 0) */
    CU_ASSERT_DOUBLE_EQUAL(out[1], -1. / 3, 1e-12); /* 0 - mean(1, 0, 0) */
    mete__leave_one_out(&batch, reward, valid, true, 1e-4, out, NULL);
    for (int i = 0; i < 4; i++)
        CU_ASSERT(fabs(out[i]) < 3);
}

static void
flat_groups_are_exactly_nothing(void)
{
    static const uint8_t valid[] = {1, 1, 1, 1};
    double reward[] = {.1 + .2, .3, .3, .3}, out[4]; /* rounding is no spread */
    uint8_t flat[4];
    mete_batch batch = group_of_four();
    CU_ASSERT_EQUAL(mete__group_relative(&batch, reward, valid, true, 0, out, flat), 1);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(out[i], 0);
        CU_ASSERT_EQUAL(flat[i], 1);
    }
}

/* Three fragments: one terminated, one truncated, one still running. */
static void
gae_by_brute_force(void)
{
    static const uint32_t begin[] = {0, 3, 5, 9};
    static const uint8_t terminated[] = {1, 0, 0}, truncated[] = {0, 1, 0};
    static const double reward[] = {1, 0, 2, -1, .5, 0, 0, 1, 3};
    static const double value[] = {.3, .1, .9, -.2, .4, .8, .7, .6, .5};
    static const double last[] = {99, .25, -.75}; /* 99 must not count: that row terminated */
    double gamma = .9, lambda = .8, advantage[9], target[9], togo[9];
    mete_batch batch = {.episodes = 3,
                        .steps = 9,
                        .step_begin = begin,
                        .terminated = terminated,
                        .truncated = truncated};
    mete__gae(&batch, reward, value, last, gamma, lambda, advantage, target);
    mete__returns(&batch, reward, gamma, last, togo);
    for (size_t i = 0; i < 3; i++)
        for (size_t t = begin[i]; t < begin[i + 1]; t++) {
            double sum = 0, weight = 1, discounted = 0, discount = 1;
            for (size_t k = t; k < begin[i + 1]; k++) {
                double next = k + 1 < begin[i + 1] ? value[k + 1] : terminated[i] ? 0 : last[i];
                sum += weight * (reward[k] + gamma * next - value[k]);
                weight *= gamma * lambda;
                discounted += discount * reward[k];
                discount *= gamma;
            }
            discounted += terminated[i] ? 0 : discount * last[i];
            CU_ASSERT_DOUBLE_EQUAL(advantage[t], sum, 1e-12);
            CU_ASSERT_DOUBLE_EQUAL(target[t], sum + value[t], 1e-12);
            CU_ASSERT_DOUBLE_EQUAL(togo[t], discounted, 1e-12);
        }
}

static void
normalised_over_what_is_used(void)
{
    double a[] = {1, 2, 3, 1000}, sum = 0, square = 0;
    static const uint8_t use[] = {1, 1, 1, 0};
    mete__normalise(a, use, 4, 0);
    for (int i = 0; i < 3; i++) {
        sum += a[i];
        square += a[i] * a[i];
    }
    CU_ASSERT_DOUBLE_EQUAL(sum, 0, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(square, 2, 1e-12); /* n - 1 */
    CU_ASSERT_EQUAL(a[3], 1000);
}

void
suite_advantage(void)
{
    CU_pSuite suite = CU_add_suite("advantage", NULL, NULL);
    CU_add_test(suite, "masked rows leave the baseline", masked_rows_leave_the_baseline);
    CU_add_test(suite, "leave-one-out stays finite", leave_one_out_stays_finite);
    CU_add_test(suite, "flat groups", flat_groups_are_exactly_nothing);
    CU_add_test(suite, "GAE and returns by brute force", gae_by_brute_force);
    CU_add_test(suite, "normalised over what is used", normalised_over_what_is_used);
}
