/* The share of a reward's gain that is not length, where it is known. */
#include "loops.h"

#include <CUnit/CUnit.h>
#include <math.h>

/* Rows of lengths lo .. lo + 29, `each` of each, paid slope x length + bonus. */
static mete__lengths
answers(double lo, double slope, double bonus, size_t each)
{
    mete__lengths all = {0};
    for (size_t i = 0; i < 30 * each; i++) {
        double length = lo + (double)(i % 30);
        double *row = mete__lengths_add(&all, 3);
        CU_ASSERT_PTR_NOT_NULL_FATAL(row);
        row[0] = length;
        row[1] = NAN; /* a node without values has no share */
        row[2] = slope * length + bonus;
    }
    return all;
}

static void
check(mete__lengths before, mete__lengths after, double want, double within)
{
    double share = mete__length_free_gain(&before, &after, 2);
    CU_ASSERT(isnan(mete__length_free_gain(&before, &after, 1)));
    CU_ASSERT(isnan(want) ? isnan(share) : fabs(share - want) <= within);
    mete__lengths_free(&before);
    mete__lengths_free(&after);
}

/* Lengths alike, all paid more: all of the gain. Longer by 10 and paid by length, lengths stand in
 * bins of about 4: within them they rise a little, too. Both: 20 of 30 is not length. */
static void
shares(void)
{
    check(answers(10, 0, 0, 8), answers(10, 0, 2, 8), 1, 1e-12);
    check(answers(10, 1, 0, 8), answers(10, 1, 2, 3), 1, 1e-12);
    check(answers(10, 1, 0, 8), answers(20, 1, 0, 8), 0, .06);
    check(answers(10, 1, 0, 8), answers(20, 1, 20, 8), 2. / 3, .04);
    check(answers(10, 1, 0, 8), answers(20, 1, -5, 8), -1, .12);
}

static void
unknown(void)
{
    check(answers(10, 1, 0, 8), answers(10, 1, 0, 8), NAN, 0); /* nothing gained */
    check(answers(10, 1, 0, 8), answers(90, 1, 0, 8), NAN, 0); /* nothing of like length */
    check((mete__lengths){0}, answers(10, 1, 0, 8), NAN, 0);
    check((mete__lengths){0}, (mete__lengths){0}, NAN, 0);
}

void
suite_length(void)
{
    CU_pSuite suite = CU_add_suite("length", NULL, NULL);
    CU_add_test(suite, "shares of a gain", shares);
    CU_add_test(suite, "no share", unknown);
}
