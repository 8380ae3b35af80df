/* test_text.c - buffers, UTF-8, words, overlap measures, normal forms, numbers in prose.
 *
 * Expected values are worked by hand from the definitions; the working stands beside them.
 */
#include <CUnit/CUnit.h>
#include <math.h>
#include <stdlib.h>

#include <mete/pattern.h>
#include <mete/random.h>
#include <mete/text.h>

#define NEAR(a, b) CU_ASSERT_DOUBLE_EQUAL((a), (b), 1e-12)

static mete_text
t(const char *string)
{
    return mete_text_from(string);
}

/* Decimals of 1 to 18 digits with a point anywhere or none, against the C library's strtod, which
 * rounds right: equal to the last bit. */
static void
short_decimals(void)
{
    mete_rng rng = mete_rng_make(8, 8, 8);
    for (int round = 0; round < 50000; round++) {
        char text[32];
        size_t n = 0, digits = 1 + mete_rng_below(&rng, 18);
        size_t point = 1 + mete_rng_below(&rng, (uint32_t)(2 * digits));
        for (size_t i = 0; i < digits; i++) {
            if (i == point)
                text[n++] = '.';
            text[n++] = (char)('0' + mete_rng_below(&rng, 10));
        }
        text[n] = 0;
        double value;
        CU_ASSERT_FATAL(mete_number_parse((mete_text){text, n}, 0, &value));
        CU_ASSERT_EQUAL(value, strtod(text, NULL));
    }
}

static void
test_buffer_limit(void)
{
    mete_buffer b = mete_buffer_make(8);
    CU_ASSERT_EQUAL(mete_buffer_string(&b, "12345678"), METE_OK);
    CU_ASSERT_EQUAL(mete_buffer_byte(&b, 'x'), METE_EDATA);
    CU_ASSERT_EQUAL(b.length, 8);
    CU_ASSERT_STRING_EQUAL(b.data, "12345678");
    /* The failure sticks until the buffer is cleared. */
    CU_ASSERT_EQUAL(mete_buffer_append(&b, "", 0), METE_EDATA);
    mete_buffer_clear(&b);
    CU_ASSERT_EQUAL(mete_buffer_format(&b, "%d-%s", 12, "ab"), METE_OK);
    CU_ASSERT_STRING_EQUAL(b.data, "12-ab");
    CU_ASSERT_EQUAL(mete_buffer_format(&b, "%s", "four"), METE_EDATA);
    CU_ASSERT_EQUAL(b.length, 5);
    mete_buffer_free(&b);
    mete_buffer none = {0};
    CU_ASSERT_EQUAL(mete_buffer_reserve(&none, SIZE_MAX), METE_EDATA);
    mete_buffer_free(&none);
}

static void
test_buffer_grows(void)
{
    mete_buffer b = {0};
    for (int i = 0; i < 1000; i++)
        mete_buffer_string(&b, "0123456789");
    CU_ASSERT_EQUAL(b.status, METE_OK);
    CU_ASSERT_EQUAL(b.length, 10000);
    CU_ASSERT_EQUAL(memcmp(b.data + 9990, "0123456789", 11), 0);
    mete_buffer_free(&b);
}

static void
test_texts(void)
{
    mete_text line, text = t("one\r\ntwo\n\nthree");
    size_t at = 0;
    CU_ASSERT(mete_text_is(mete_text_trim(t(" \t a b\n")), "a b"));
    CU_ASSERT_EQUAL(mete_text_trim(t(" \n ")).length, 0);
    CU_ASSERT_EQUAL(mete_text_find(t("abcabc"), t("ca"), 0), 2);
    CU_ASSERT_EQUAL(mete_text_find(t("abcabc"), t("abc"), 1), 3);
    CU_ASSERT_EQUAL(mete_text_find(t("abc"), t("x"), 0), SIZE_MAX);
    CU_ASSERT_EQUAL(mete_text_find(t("abc"), t(""), 3), 3);
    CU_ASSERT_EQUAL(mete_text_find(t("abc"), t("a"), 9), SIZE_MAX);
    CU_ASSERT_EQUAL(mete_text_find_last(t("abcabc"), t("bc")), 4);
    CU_ASSERT_EQUAL(mete_text_find_last(t("a"), t("ab")), SIZE_MAX);
    CU_ASSERT(mete_text_line(text, &at, &line) && mete_text_is(line, "one"));
    CU_ASSERT(mete_text_line(text, &at, &line) && mete_text_is(line, "two"));
    CU_ASSERT(mete_text_line(text, &at, &line) && mete_text_is(line, ""));
    CU_ASSERT(mete_text_line(text, &at, &line) && mete_text_is(line, "three"));
    CU_ASSERT_FALSE(mete_text_line(text, &at, &line));
}

/* Unicode's table 3-7, at its edges. */
static void
test_utf8_check(void)
{
    static const struct {
        const char *bytes;
        size_t good;
    } cases[] = {
        {"", 0},
        {"plain ascii, longer than sixteen bytes", 38},
        {"\xc2\x80", 2},
        {"\xdf\xbf", 2},
        {"\xe0\xa0\x80", 3},
        {"\xed\x9f\xbf", 3},
        {"\xee\x80\x80", 3},
        {"\xef\xbf\xbf", 3},
        {"\xf0\x90\x80\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"a\x80", 1},    /* a continuation with no lead */
        {"\xc0\xaf", 0}, /* overlong, two bytes */
        {"\xc1\xbf", 0},
        {"\xe0\x9f\xbf", 0},     /* overlong, three bytes */
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong, four bytes */
        {"\xed\xa0\x80", 0},     /* a surrogate */
        {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
        {"ab\xe2\x82", 2}, /* cut short */
        {"0123456789abcdef0123\xc3(", 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CU_ASSERT_EQUAL(mete_utf8_check(t(cases[i].bytes)), cases[i].good);
}

static void
test_utf8_walk(void)
{
    size_t at = 0;
    mete_text text = t("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff.");
    const uint32_t code[] = {'a', 0xe9, 0x20ac, 0x1f600, 0xfffd, '.'};
    mete_buffer b = {0};
    CU_ASSERT_EQUAL(mete_utf8_count(text), 6);
    for (size_t i = 0; i < 6; i++)
        CU_ASSERT_EQUAL(mete_utf8_next(text, &at), code[i]);
    CU_ASSERT_EQUAL(at, text.length);
    CU_ASSERT_EQUAL(mete_utf8_floor(text, 2), 1);
    CU_ASSERT_EQUAL(mete_utf8_floor(text, 3), 3);
    CU_ASSERT_EQUAL(mete_utf8_floor(text, 9), 6);
    CU_ASSERT_EQUAL(mete_utf8_floor(text, 99), text.length);
    for (size_t i = 0; i < 4; i++)
        mete_buffer_code(&b, code[i]);
    mete_buffer_code(&b, 0xd800);
    CU_ASSERT_STRING_EQUAL(b.data, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd");
    mete_buffer_free(&b);
}

static void
test_lower(void)
{
    mete_buffer b = {0};
    /* A-acute, Y-diaeresis, L-stroke, SIGMA, Omega-tonos, ZHE, IE-grave; a sharp s, a bad byte. */
    mete_lower(t("AbZ[\xc3\x81\xc5\xb8\xc5\x81\xce\xa3\xce\x8f\xd0\x96\xd0\x80\xc3\x9f\xff"), &b);
    CU_ASSERT_STRING_EQUAL(
        b.data, "abz[\xc3\xa1\xc3\xbf\xc5\x82\xcf\x83\xcf\x8e\xd0\xb6\xd1\x90\xc3\x9f\xff");
    CU_ASSERT_EQUAL(mete_code_lower(0xd7), 0xd7);
    CU_ASSERT_EQUAL(mete_code_lower(0x4e2d), 0x4e2d);
    mete_buffer_free(&b);
}

static void
words_are(const char *text, unsigned flags, size_t count, const char *const *expected)
{
    size_t at = 0, n = 0;
    mete_word word;
    while (mete_word_next(t(text), flags, &at, &word)) {
        CU_ASSERT_FATAL(n < count);
        CU_ASSERT(mete_text_is(word.text, expected[n]));
        n++;
    }
    CU_ASSERT_EQUAL(n, count);
    CU_ASSERT_EQUAL(mete_words(t(text), flags, NULL, 0), count);
}

static void
test_words(void)
{
    words_are("The cat's 2 mats.", 0, 5, (const char *[]){"The", "cat", "s", "2", "mats"});
    words_are("Hi, you!", METE_WORDS_PUNCTUATION, 4, (const char *[]){"Hi", ",", "you", "!"});
    words_are(" a-b  c.\n", METE_WORDS_SPACES, 2, (const char *[]){"a-b", "c."});
    words_are("caf\xc3\xa9\xc2\xa0na\xc3\xafve\xe2\x80\x94ok", 0, 3,
              (const char *[]){"caf\xc3\xa9", "na\xc3\xafve", "ok"});
    words_are("\xe4\xb8\xad\xe6\x96\x87\xe3\x80\x82x", 0, 3,
              (const char *[]){"\xe4\xb8\xad", "\xe6\x96\x87", "x"});
    words_are("", 0, 0, NULL);
    words_are("...", 0, 0, NULL);
}

static void
test_word_hashes(void)
{
    uint64_t h[8], g[8];
    CU_ASSERT_EQUAL(mete_words(t("Apple APPLE apple pear \xc3\x89t \xc3\xa9t"), 0, h, 8), 6);
    CU_ASSERT(h[0] == h[1] && h[1] == h[2] && h[2] != h[3] && h[4] == h[5]);
    CU_ASSERT_EQUAL(mete_words(t("Apple apple"), METE_WORDS_CASE, g, 8), 2);
    CU_ASSERT(g[0] != g[1] && g[1] == h[0]);
    /* a b a b: bigrams ab, ba, ab; order counts. */
    CU_ASSERT_EQUAL(mete_words(t("a b a b"), 0, h, 8), 4);
    CU_ASSERT_EQUAL(mete_ngrams(h, 4, 2, g), 3);
    CU_ASSERT(g[0] == g[2] && g[0] != g[1]);
    CU_ASSERT_EQUAL(mete_ngrams(h, 4, 5, g), 0);
    CU_ASSERT_EQUAL(mete_ngrams(h, 4, 0, g), 0);
    CU_ASSERT_EQUAL(mete_codes(t("a\xc3\xa9"
                                 "a"),
                               h, 8),
                    3);
    CU_ASSERT(h[0] == h[2] && h[0] != h[1]);
}

static void
test_sort(void)
{
    enum { N = 1000 };
    uint64_t *h = malloc(N * sizeof *h), sum = 0, again = 0, x = 88172645463325252u;
    for (size_t i = 0; i < N; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        h[i] = x % 300; /* with repeats */
        sum += h[i];
    }
    mete_hashes_sort(h, N);
    for (size_t i = 0; i < N; i++) {
        again += h[i];
        CU_ASSERT(i == 0 || h[i - 1] <= h[i]);
    }
    CU_ASSERT_EQUAL(sum, again);
    free(h);
}

static mete_overlap
overlap(const char *candidate, const char *reference)
{
    uint64_t a[64], b[64], scratch[128];
    size_t n = mete_words(t(candidate), 0, a, 64), m = mete_words(t(reference), 0, b, 64);
    return mete_overlap_words(a, n, b, m, scratch);
}

static void
test_overlap(void)
{
    /* the the cat / the cat sat down: common the, cat = 2; P = 2/3, R = 2/4, F = 4/7. */
    mete_overlap o = overlap("the the cat", "the cat sat down");
    CU_ASSERT_EQUAL(o.common, 2);
    NEAR(o.precision, 2.0 / 3);
    NEAR(o.recall, 0.5);
    NEAR(o.f1, 4.0 / 7);
    NEAR(overlap("a", "b").f1, 0);
    NEAR(overlap("", "b").f1, 0);
    NEAR(overlap("", "").f1, 1);
    NEAR(overlap("a b", "b a").f1, 1);
}

static double
bleu(const char *candidate, const char *const *reference, size_t references, int smooth,
     mete_bleu *counts)
{
    uint64_t a[64], r[4][64], scratch[192];
    const uint64_t *refs[4];
    size_t length[4], n = mete_words(t(candidate), 0, a, 64);
    mete_bleu sum = {0};
    for (size_t i = 0; i < references; i++) {
        refs[i] = r[i];
        length[i] = mete_words(t(reference[i]), 0, r[i], 64);
    }
    CU_ASSERT_FATAL(mete_bleu_scratch(n, 64) <= 192);
    mete_bleu_add(&sum, a, n, refs, length, references, scratch);
    if (counts)
        *counts = sum;
    return mete_bleu_score(&sum, 4, smooth);
}

/* Papineni 2002, example 2: seven times "the" against two references has modified unigram precision
 * 2/7. Example 1: candidate 1 has 17/18 and 10/17, candidate 2 has 8/14 and 1/13. */
static void
test_bleu_paper(void)
{
    const char *the[] = {"The cat is on the mat.", "There is a cat on the mat."};
    static const char second[] = "It is the guiding principle which guarantees the military "
                                 "forces always being under the command of the Party.";
    const char *refs[] = {
        "It is a guide to action that ensures that the military will forever heed Party commands.",
        second,
        "It is the practical guide for the army always to heed the directions of the party."};
    mete_bleu c;
    bleu("the the the the the the the.", the, 2, 0, &c);
    CU_ASSERT_EQUAL(c.match[0], 2);
    CU_ASSERT_EQUAL(c.total[0], 7);
    bleu("It is a guide to action which ensures that the military always obeys the commands of the "
         "party.",
         refs, 3, 0, &c);
    CU_ASSERT_EQUAL(c.match[0], 17);
    CU_ASSERT_EQUAL(c.total[0], 18);
    CU_ASSERT_EQUAL(c.match[1], 10);
    CU_ASSERT_EQUAL(c.total[1], 17);
    bleu("It is to insure the troops forever hearing the activity guidebook that party direct.",
         refs, 3, 0, &c);
    CU_ASSERT_EQUAL(c.match[0], 8);
    CU_ASSERT_EQUAL(c.total[0], 14);
    CU_ASSERT_EQUAL(c.match[1], 1);
    CU_ASSERT_EQUAL(c.total[1], 13);
}

static void
test_bleu_score(void)
{
    const char *one[] = {"a b c d e"}, *tie[] = {"a b c d e f g", "a b c"};
    mete_bleu c;
    NEAR(bleu("a b c d e", one, 1, 0, NULL), 1);
    NEAR(bleu("a b c d e", one, 1, 1, NULL), 1);
    /* a b c d: all precisions 1, brevity exp(1 - 5/4). */
    NEAR(bleu("a b c d", one, 1, 0, NULL), exp(-0.25));
    /* a b x d e: 4/5, 2/4, 0/3, 0/2; smoothed 4/5, 3/5, 1/4, 1/3. */
    NEAR(bleu("a b x d e", one, 1, 0, NULL), 0);
    NEAR(bleu("a b x d e", one, 1, 1, NULL), pow(4.0 / 5 * 3 / 5 * 1 / 4 * 1 / 3, 0.25));
    NEAR(bleu("", one, 1, 1, NULL), 0);
    NEAR(bleu("x", one, 1, 1, NULL), 0);
    /* Lengths 7 and 3 are as near to 5: the shorter counts, so no penalty. */
    bleu("a b c d e", tie, 2, 0, &c);
    CU_ASSERT_EQUAL(c.reference, 3);
}

static size_t
lcs(const char *a, const char *b)
{
    uint64_t x[64], y[64];
    uint32_t scratch[65];
    return mete_lcs(x, mete_codes(t(a), x, 64), y, mete_codes(t(b), y, 64), scratch);
}

static size_t
distance(const char *a, const char *b)
{
    uint64_t x[64], y[64];
    uint32_t scratch[65];
    return mete_edit_distance(x, mete_codes(t(a), x, 64), y, mete_codes(t(b), y, 64), scratch);
}

static void
test_subsequences(void)
{
    CU_ASSERT_EQUAL(lcs("ABCBDAB", "BDCABA"), 4); /* Cormen et al., figure 15.8 */
    CU_ASSERT_EQUAL(lcs("abc", "abc"), 3);
    CU_ASSERT_EQUAL(lcs("abc", ""), 0);
    CU_ASSERT_EQUAL(lcs("axb", "ayyb"), 2);
    CU_ASSERT_EQUAL(lcs("aa", "aaa"), 2);
    CU_ASSERT_EQUAL(distance("kitten", "sitting"), 3);
    CU_ASSERT_EQUAL(distance("", "abc"), 3);
    CU_ASSERT_EQUAL(distance("abc", ""), 3);
    CU_ASSERT_EQUAL(distance("flaw", "lawn"), 2);
}

/* Lin 2004, section 3.1: "police killed the gunman" as reference; "police kill the gunman" has LCS
 * 3 and F 0.75, "the gunman kill police" LCS 2 and F 0.5. */
static void
test_rouge(void)
{
    uint64_t r[4], c[4];
    uint32_t scratch[5];
    mete_words(t("police killed the gunman"), 0, r, 4);
    mete_words(t("police kill the gunman"), 0, c, 4);
    size_t n = mete_lcs(c, 4, r, 4, scratch);
    CU_ASSERT_EQUAL(n, 3);
    NEAR(mete_rouge_l(n, 4, 4, 1), 0.75);
    mete_words(t("the gunman kill police"), 0, c, 4);
    NEAR(mete_rouge_l(mete_lcs(c, 4, r, 4, scratch), 4, 4, 1), 0.5);
    /* P = 2/4, R = 2/5, beta 2: 5 * 0.2 / (0.4 + 4 * 0.5) = 5/12. */
    NEAR(mete_rouge_l(2, 4, 5, 2), 5.0 / 12);
    NEAR(mete_rouge_l(0, 4, 5, 1), 0);
    NEAR(mete_rouge_l(0, 0, 0, 1), 0);
}

static void
normal_is(const char *text, unsigned flags, const char *expected)
{
    mete_buffer b = {0};
    CU_ASSERT_EQUAL(mete_normalise(t(text), flags, &b), METE_OK);
    CU_ASSERT(mete_text_is(mete_buffer_view(&b), expected));
    mete_buffer_free(&b);
}

static void
test_normalise(void)
{
    normal_is("The  Quick, (brown) fox!", METE_NORMAL_SQUAD, "quick brown fox");
    normal_is("a an the", METE_NORMAL_SQUAD, "");
    normal_is("theatre and Anna", METE_NORMAL_SQUAD, "theatre and anna");
    normal_is("It's A-team", METE_NORMAL_SQUAD, "its ateam");
    normal_is("The End.", METE_NORMAL_CASE, "the end.");
    normal_is("a.b,c", METE_NORMAL_PUNCTUATION, "abc");
    normal_is("The  end", METE_NORMAL_ARTICLES, "   end");
    normal_is("  a \t\n b ", METE_NORMAL_SPACES, "a b");
    normal_is("As Is", 0, "As Is");
    normal_is("", METE_NORMAL_SQUAD, "");
}

static void
test_numbers(void)
{
    static const struct {
        const char *text;
        double value;
        size_t start, length;
    } cases[] = {
        {"it is 42.", 42, 6, 2},
        {"-3.5e2 units", -350, 0, 6},
        {"$1,234,567.50 paid", 1234567.5, 0, 13},
        {"-$5", -5, 0, 3},
        {"$-5", -5, 0, 3},
        {"5 \xe2\x82\xac", 5, 0, 5},
        {"3/4 cup", 0.75, 0, 3},
        {"1 3/4 cups", 1.75, 0, 5},
        {"12.5% off", 0.125, 0, 5},
        {"20 percent", 0.2, 0, 10},
        {"50\\%", 0.5, 0, 4},
        {"1.5 x 10^3", 1500, 0, 10},
        {"2 \xc3\x97 10^{-2}", 0.02, 0, 12},
        {"x2 then 7", 7, 8, 1},
        {"1,2345", 1, 0, 1},
        {"1/2/2024", 1, 0, 1},
        {"1/0", 1, 0, 1},
        {".5", 0.5, 0, 2},
        {"\xe2\x88\x92"
         "4",
         -4, 0, 4},
        {"1e999 or 8", 8, 9, 1},
        {"7th", 7, 0, 1},
        {"2e", 2, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mete_number n = {0, 0, 0, 0};
        CU_ASSERT(mete_number_find(t(cases[i].text), 0, METE_NUMBER_ALL, &n));
        CU_ASSERT_EQUAL(n.value, cases[i].value);
        CU_ASSERT_EQUAL(n.start, cases[i].start);
        CU_ASSERT_EQUAL(n.length, cases[i].length);
        if (n.value != cases[i].value || n.length != cases[i].length)
            CU_FAIL(cases[i].text);
    }
}

static void
test_number_forms(void)
{
    mete_number n;
    double value;
    CU_ASSERT_FALSE(mete_number_find(t("no numbers - at all."), 0, METE_NUMBER_ALL, &n));
    CU_ASSERT_FALSE(mete_number_find(t(""), 0, METE_NUMBER_ALL, &n));
    CU_ASSERT(mete_number_find(t("12%"), 0, 0, &n) && n.value == 12 && n.form == 0);
    CU_ASSERT(mete_number_find(t("12%"), 0, METE_NUMBER_ALL, &n));
    CU_ASSERT_EQUAL(n.form, METE_NUMBER_PERCENT);
    CU_ASSERT(mete_number_find(t("1,234"), 0, 0, &n) && n.value == 1);
    /* 3-4 is 3, then 4. */
    CU_ASSERT(mete_number_last(t("3-4"), METE_NUMBER_ALL, &n) && n.value == 4);
    CU_ASSERT(mete_number_last(t("so 6 * 7 = 42 apples"), METE_NUMBER_ALL, &n) && n.value == 42);
    CU_ASSERT(mete_number_parse(t(" 1,000. "), METE_NUMBER_ALL, &value) && value == 1000);
    CU_ASSERT_FALSE(mete_number_parse(t("12 apples"), METE_NUMBER_ALL, &value));
    CU_ASSERT_FALSE(mete_number_parse(t("x 12"), METE_NUMBER_ALL, &value));
}

/* However it looks for it, the last number is the one a reading from the start finds last. */
static void
last_is_the_last_found(void)
{
    static const char *const piece[] = {"12",      "3.5", " ",        "a",  "ab",   ",",
                                        "$",       "%",   " percent", "-",  "/4",   "\n",
                                        " x 10^3", ".",   "1,234",    "e5", "word", "\xc2\xa3"};
    mete_rng rng = mete_rng_make(8, 8, 8);
    for (int trial = 0; trial < 20000; trial++) {
        char text[2000];
        size_t length = 0, pieces = 1 + mete_rng_below(&rng, trial % 10 ? 12 : 250);
        for (size_t k = 0; k < pieces; k++) {
            const char *add = piece[mete_rng_below(&rng, sizeof piece / sizeof *piece)];
            memcpy(text + length, add, strlen(add));
            length += strlen(add);
        }
        mete_text all = {text, length};
        mete_number want, got, next;
        int there = 0;
        for (size_t from = 0; mete_number_find(all, from, METE_NUMBER_ALL, &next); there = 1) {
            want = next;
            from = next.start + next.length;
        }
        CU_ASSERT_EQUAL_FATAL(mete_number_last(all, METE_NUMBER_ALL, &got), there);
        if (there)
            CU_ASSERT_FATAL(got.start == want.start && got.length == want.length &&
                            got.value == want.value);
    }
}

static mete_text
T(const char *text)
{
    return mete_text_from(text);
}

static void
test_patterns(void)
{
    mete_error err;
    mete_matcher *m = mete_matcher_new();
    mete_pattern *p = mete_pattern_new(T("(?<who>[a-z]+)(-x)? is (\\d+)"), 0, 100000, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    mete_text text = T("so bob is 7, and");
    CU_ASSERT_EQUAL(mete_pattern_find(p, text, m), 4);
    CU_ASSERT_TRUE(mete_text_is(mete_matcher_group(m, text, 0), "bob is 7"));
    CU_ASSERT_TRUE(mete_text_is(mete_matcher_group(m, text, 1), "bob"));
    CU_ASSERT_EQUAL(mete_matcher_group(m, text, 2).length, 0); /* took no part */
    CU_ASSERT_TRUE(mete_text_is(mete_matcher_group(m, text, 3), "7"));
    CU_ASSERT_EQUAL(mete_matcher_group(m, text, 9).length, 0);
    CU_ASSERT_EQUAL(mete_pattern_named(p, T("who")), 1);
    CU_ASSERT_EQUAL(mete_pattern_named(p, T("whom")), -1);
    CU_ASSERT_EQUAL(mete_pattern_named(p, T("")), -1);
    CU_ASSERT_EQUAL(mete_pattern_find(p, T("BOB"), m), 0);
    CU_ASSERT_EQUAL(mete_matcher_group(m, text, 0).length, 0);
    CU_ASSERT_EQUAL(mete_pattern_count(p, T("a is 1 b is 2 c is 3"), 2, m), 2);
    mete_pattern_free(p);
    /* A backtracking bomb is given up, which is neither a match nor none. */
    CU_ASSERT_PTR_NOT_NULL_FATAL(p = mete_pattern_new(T("(a+)+$"), 0, 1000, &err));
    CU_ASSERT_TRUE(mete_pattern_find(p, T("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), m) < 0);
    mete_pattern_free(p);
    mete_matcher_free(m);
}

void
suite_text(void)
{
    CU_pSuite s = CU_add_suite("text", NULL, NULL);
    CU_add_test(s, "decimals round as strtod's", short_decimals);
    CU_add_test(s, "the last number is the last found", last_is_the_last_found);
    CU_add_test(s, "a buffer keeps its limit and its failure", test_buffer_limit);
    CU_add_test(s, "a buffer grows", test_buffer_grows);
    CU_add_test(s, "trim, find, lines", test_texts);
    CU_add_test(s, "UTF-8 is checked at the edges of table 3-7", test_utf8_check);
    CU_add_test(s, "UTF-8 is walked, bad bytes too", test_utf8_walk);
    CU_add_test(s, "lower case", test_lower);
    CU_add_test(s, "words", test_words);
    CU_add_test(s, "hashes of words and n-grams", test_word_hashes);
    CU_add_test(s, "hashes are sorted", test_sort);
    CU_add_test(s, "token F1", test_overlap);
    CU_add_test(s, "BLEU counts of the paper's examples", test_bleu_paper);
    CU_add_test(s, "BLEU scores", test_bleu_score);
    CU_add_test(s, "LCS and edit distance", test_subsequences);
    CU_add_test(s, "ROUGE-L of the paper's example", test_rouge);
    CU_add_test(s, "normal forms", test_normalise);
    CU_add_test(s, "patterns", test_patterns);
    CU_add_test(s, "numbers in prose", test_numbers);
    CU_add_test(s, "forms of numbers", test_number_forms);
}
