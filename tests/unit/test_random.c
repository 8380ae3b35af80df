/* Random numbers: published answers, distributions by tests of stated error rate, permutations. */
#include <mete/random.h>

#include <CUnit/CUnit.h>
#include <math.h>
#include <string.h>

/* Philox4x32-10, counter 0, key 0: the known answer of Salmon et al.'s own test vectors. */
static void
known_answer(void)
{
    static const uint32_t want[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    mete_rng rng = mete_rng_make(0, 0, 0);
    for (size_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(mete_rng_bits(&rng), want[i]);
}

/* Chi-square with 63 degrees of freedom: above 119.2 once in 10^5. */
static void
uniform(void)
{
    mete_rng rng = mete_rng_make(42, 7, 1);
    double count[64] = {0}, square = 0;
    for (int i = 0; i < 64000; i++) {
        double u = mete_rng_uniform(&rng);
        CU_ASSERT_FATAL(u >= 0 && u < 1);
        count[(int)(64 * u)]++;
    }
    for (int i = 0; i < 64; i++)
        square += (count[i] - 1000) * (count[i] - 1000) / 1000;
    CU_ASSERT(square < 119.2);
}

/* Mean, variance and fourth moment within 4.5 standard errors: one failure in 5 * 10^4 each. */
static void
normal(void)
{
    mete_rng rng = mete_rng_make(43, 7, 1);
    double n = 200000, m1 = 0, m2 = 0, m4 = 0;
    for (int i = 0; i < 200000; i++) {
        double x = mete_rng_normal(&rng);
        m1 += x / n;
        m2 += x * x / n;
        m4 += x * x * x * x / n;
    }
    CU_ASSERT(fabs(m1) < 4.5 / sqrt(n));
    CU_ASSERT(fabs(m2 - 1) < 4.5 * sqrt(2 / n));
    CU_ASSERT(fabs(m4 - 3) < 4.5 * sqrt(96 / n));
}

static void
below_and_choose(void)
{
    static const double weight[] = {1, 0, 3, 2};
    mete_rng rng = mete_rng_make(44, 0, 0);
    double three[3] = {0}, four[4] = {0}, square = 0;
    for (int i = 0; i < 60000; i++) {
        three[mete_rng_below(&rng, 3)]++;
        four[mete_rng_choose(&rng, weight, 4)]++;
    }
    for (int i = 0; i < 3; i++)
        square += (three[i] - 20000) * (three[i] - 20000) / 20000;
    CU_ASSERT(square < 23); /* 2 degrees of freedom: once in 10^5 */
    CU_ASSERT_EQUAL(four[1], 0);
    square = 0;
    for (int i = 0; i < 4; i++)
        square += weight[i] > 0 ? pow(four[i] - 10000 * weight[i], 2) / (10000 * weight[i]) : 0;
    CU_ASSERT(square < 23);
}

static void
permutations(void)
{
    int differs = 0;
    for (uint64_t n = 1; n <= 200; n++) {
        unsigned char seen[200] = {0};
        for (uint64_t i = 0; i < n; i++) {
            uint64_t at = mete_permute(n * 31, i, n);
            CU_ASSERT_FATAL(at < n);
            CU_ASSERT(!seen[at]);
            seen[at] = 1;
            differs += at != mete_permute(n * 31 + 1, i, n);
        }
    }
    CU_ASSERT(differs > 15000);
}

/* A range of a permutation is its elements, whatever its length and the walks its elements take. */
static void
permutes_ranges(void)
{
    uint32_t out[200];
    for (uint64_t n = 1; n <= 5000; n += n < 70 ? 1 : 617)
        for (uint64_t from = 0; from < n; from += 1 + n / 7) {
            size_t count = n - from < 200 ? (size_t)(n - from) : 200;
            mete_permute_range(n * 31, from, count, n, out);
            for (size_t k = 0; k < count; k++)
                CU_ASSERT_EQUAL(out[k], mete_permute(n * 31, from + k, n));
        }
}

/* Streams of neighbouring keys, episodes and steps share nothing: correlation within 4.5 standard
 * errors. */
static void
streams_apart(void)
{
    static const uint64_t other[][3] = {{2, 1, 0}, {1, 2, 0}, {1, 1, 1}};
    for (size_t k = 0; k < 3; k++) {
        mete_rng a = mete_rng_make(1, 1, 0);
        mete_rng b = mete_rng_make(other[k][0], other[k][1], (uint32_t)other[k][2]);
        double sum = 0;
        for (int i = 0; i < 10000; i++)
            sum += (mete_rng_uniform(&a) - .5) * (mete_rng_uniform(&b) - .5) * 12;
        CU_ASSERT(fabs(sum) / 10000 < 4.5 / 100);
    }
    CU_ASSERT_NOT_EQUAL(mete_hash(0, "ab", 2), mete_hash(0, "ab\0", 3));
    CU_ASSERT_NOT_EQUAL(mete_hash(0, "ab", 2), mete_hash(1, "ab", 2));
}

void
suite_random(void)
{
    CU_pSuite suite = CU_add_suite("random", NULL, NULL);
    CU_add_test(suite, "Philox's known answer", known_answer);
    CU_add_test(suite, "uniform", uniform);
    CU_add_test(suite, "normal", normal);
    CU_add_test(suite, "below and choose", below_and_choose);
    CU_add_test(suite, "permutations", permutations);
    CU_add_test(suite, "ranges of permutations", permutes_ranges);
    CU_add_test(suite, "streams apart", streams_apart);
}
