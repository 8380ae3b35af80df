/* Estimates, intervals and tests: by hand, against brute force, and by simulation with a stated
 * rate of false alarm. */
#include "run/statistics.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <string.h>

static void
estimates(void)
{
    static const double x[] = {9, 1, 4, 2, 100, 3, -50, 5}, y[] = {3, 3, 10};
    static const double tau[] = {-100, 3, 100};
    double scratch[8], share[3];
    CU_ASSERT_DOUBLE_EQUAL(mete__iqm(x, 8, scratch), (2 + 3 + 4 + 5) / 4., 1e-12);
    CU_ASSERT_EQUAL(x[0], 9);
    CU_ASSERT_DOUBLE_EQUAL(mete__iqm(x, 3, scratch), (9 + 1 + 4) / 3., 1e-12); /* none is cut */
    CU_ASSERT_DOUBLE_EQUAL(mete__iqm(x, 5, scratch), (2 + 4 + 9) / 3., 1e-12);
    CU_ASSERT(isnan(mete__iqm(x, 0, scratch)));
    CU_ASSERT_DOUBLE_EQUAL(mete__sd(x, 2), 8 / sqrt(2), 1e-12);
    mete__profile(x, 8, tau, 3, share);
    CU_ASSERT(share[0] == 1 && share[1] == 4. / 8 && share[2] == 0);
    /* 8 x 3 pairs: over 3 are 9 4 100 5 (twice each) and 3 ties twice; over 10 is 100 */
    CU_ASSERT_DOUBLE_EQUAL(mete__improvement(x, 8, y, 3), (8 + 1 + 1) / 24., 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(mete__improvement(x, 8, y, 3) + mete__improvement(y, 3, x, 8), 1, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(mete__effect(x, 4), 4 / mete__sd(x, 4) * (1 - 3. / 11), 1e-12);
    CU_ASSERT(isnan(mete__effect(y, 2)));
}

/* Sign flips by hand, and the symmetry of the problem. */
static void
sign_flips(void)
{
    static const double three[] = {1, 2, 3}, mixed[] = {1, -2, 3}, same[] = {1, 1, 1, 1, 1};
    double many[40], p, flipped[3] = {-1, -2, -3};
    CU_ASSERT_DOUBLE_EQUAL(mete__sign_flip(three, 3, 0, 0), 2. / 8, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(mete__sign_flip(flipped, 3, 0, 0), 2. / 8, 1e-15);
    /* sums of +-1 +-2 +-3: 6 4 2 0 0 -2 -4 -6; |2| or more are six */
    CU_ASSERT_DOUBLE_EQUAL(mete__sign_flip(mixed, 3, 0, 0), 6. / 8, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(mete__sign_flip(same, 5, 0, 0), 2. / 32, 1e-15);
    CU_ASSERT_EQUAL(mete__sign_flip(same, 0, 0, 0), 1);
    /* Beyond 20: equal differences are binomial, P(|S| >= s) is known. 26 of 40 up: sum 12. */
    for (size_t i = 0; i < 40; i++)
        many[i] = i < 26 ? 1 : -1;
    double exact = 0, choose = 1;
    for (int k = 0; k <= 40; k++) {
        exact += k <= 14 || k >= 26 ? choose * pow(.5, 40) : 0;
        choose *= (40. - k) / (k + 1.);
    }
    p = mete__sign_flip(many, 40, 20000, 9);
    /* six standard errors: a false alarm once in five hundred million */
    CU_ASSERT_DOUBLE_EQUAL(p, exact, 6 * sqrt(exact * (1 - exact) / 20000));
    CU_ASSERT_EQUAL(p, mete__sign_flip(many, 40, 20000, 9));
}

static void
holm(void)
{
    double p[] = {.01, .04, .03, .005}, ties[] = {.5, .5, .02}, one[] = {.3};
    static const double want[] = {.03, .06, .06, .02};
    mete__holm(p, 4);
    for (size_t i = 0; i < 4; i++)
        CU_ASSERT_DOUBLE_EQUAL(p[i], want[i], 1e-15);
    mete__holm(ties, 3);
    CU_ASSERT(ties[0] == 1 && ties[1] == 1);
    CU_ASSERT_DOUBLE_EQUAL(ties[2], .06, 1e-15);
    mete__holm(one, 1);
    CU_ASSERT_EQUAL(one[0], .3);
}

static void
curves(void)
{
    static const double x[] = {0, 1, 3}, y[] = {0, 2, 2};
    double at = -1;
    CU_ASSERT_DOUBLE_EQUAL(mete__area(x, y, 3), (1 + 4) / 3., 1e-15);
    CU_ASSERT_EQUAL(mete__area(x, y + 1, 1), 2);
    CU_ASSERT(mete__reaches(x, y, 3, .5, &at));
    CU_ASSERT_DOUBLE_EQUAL(at, .25, 1e-15);
    CU_ASSERT(mete__reaches(x, y, 3, 0, &at) && at == 0);
    CU_ASSERT(!mete__reaches(x, y, 3, 2.1, &at));
}

/* The bootstrap mean's spread is the plug-in one, sqrt(sum (x - mean)^2) / n; strata keep to
 * themselves: where values differ between strata alone, nothing varies. */
static void
bootstrap(void)
{
    static const double x[] = {3, 3, 3, 8, 8}, spread[] = {1, 2, 4, 8, 16, 32, 64, 128};
    static const size_t size[] = {3, 2}, eight = 8;
    mete__interval all, again;
    CU_ASSERT_EQUAL(mete__bootstrap(x, size, 2, mete__estimate_mean, 500, .95, 1, &all), 0);
    CU_ASSERT(all.lo == 5 && all.point == 5 && all.hi == 5);
    /* At 68.27% a normal's interval is its standard error to each side; 8 skewed values are near
     * enough to normal for a quarter of it. */
    mete__bootstrap(spread, &eight, 1, mete__estimate_mean, 20000, .6827, 2, &all);
    double square = 0, mean = mete__mean(spread, 8);
    for (size_t i = 0; i < 8; i++)
        square += (spread[i] - mean) * (spread[i] - mean);
    double error = sqrt(square) / 8;
    CU_ASSERT_DOUBLE_EQUAL((all.hi - all.lo) / 2, error, error / 4);
    mete__bootstrap(spread, &eight, 1, mete__estimate_mean, 20000, .6827, 2, &again);
    CU_ASSERT_EQUAL(memcmp(&all, &again, sizeof all), 0);
}

/* Quantiles as printed in tables of Student's t; of 1 and 2 degrees there are closed forms. */
static void
student(void)
{
    CU_ASSERT_DOUBLE_EQUAL(mete__student(.95, 1), tan(M_PI_2 * .95), 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(mete__student(.99, 2), .99 * sqrt(2 / (1 - .99 * .99)), 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(mete__student(.95, 4), 2.776445, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(mete__student(.95, 9), 2.262157, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(mete__student(.95, 29), 2.045230, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(mete__student(.6827, 1000), 1.0005, 1e-3);
    static const double x[] = {1, 2, 3, 4, 5};
    mete__interval i;
    mete__mean_interval(x, 5, .95, &i);
    CU_ASSERT_DOUBLE_EQUAL(i.hi - 3, 2.776445 * sqrt(2.5 / 5), 1e-6);
    CU_ASSERT(i.point == 3 && fabs(i.lo + i.hi - 6) < 1e-12);
    mete__mean_interval(x, 1, .95, &i);
    CU_ASSERT(isnan(i.lo) && isnan(i.hi) && i.point == 1);
    /* Expanded, the percentile interval of a mean is as wide as Student's, to the next order. */
    CU_ASSERT(mete__expanded(.95, 5) > .99 && mete__expanded(.95, 1) == .95);
    CU_ASSERT_DOUBLE_EQUAL(mete__expanded(.95, 1000), .95, 1e-3);
}

/* What statistics.h says of normals: Student's interval covers the mean 95 times in a hundred at any
 * n, the expanded percentile interval the interquartile mean 93 to 98 times. Bounds are 5 standard
 * errors of the share (.0069 for .95) away: a false alarm less than once in a million. */
static void
coverage(void)
{
    enum { SAMPLES = 1000, MOST = 30 };
    static const size_t size[] = {5, 10, MOST};
    for (size_t k = 0; k < 3; k++) {
        size_t n = size[k], mean_covers = 0, iqm_covers = 0;
        double x[MOST];
        for (size_t s = 0; s < SAMPLES; s++) {
            mete__interval of_mean, of_iqm;
            mete_rng rng = mete_rng_make(77, s, (uint32_t)k);
            for (size_t i = 0; i < n; i++)
                x[i] = 5 + mete_rng_normal(&rng);
            mete__mean_interval(x, n, .95, &of_mean);
            mete__bootstrap(x, &n, 1, mete__estimate_iqm, 400, mete__expanded(.95, n), s, &of_iqm);
            mean_covers += of_mean.lo <= 5 && of_mean.hi >= 5;
            iqm_covers += of_iqm.lo <= 5 && of_iqm.hi >= 5;
        }
        CU_ASSERT(fabs((double)mean_covers / SAMPLES - .95) < 5 * .0069);
        CU_ASSERT(fabs((double)iqm_covers / SAMPLES - .955) < .02 + 5 * .0069);
    }
}

void
suite_statistics(void)
{
    CU_pSuite suite = CU_add_suite("statistics", NULL, NULL);
    CU_add_test(suite, "estimates by hand", estimates);
    CU_add_test(suite, "sign flips", sign_flips);
    CU_add_test(suite, "holm", holm);
    CU_add_test(suite, "curves", curves);
    CU_add_test(suite, "bootstrap", bootstrap);
    CU_add_test(suite, "student", student);
    CU_add_test(suite, "coverage", coverage);
}
