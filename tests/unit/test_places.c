/* test_places.c - quotes located against brute force, segments that make up their text, data that
 * cannot leave its part of a question. */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include <mete/random.h>
#include <mete/text.h>

static mete_text
t(const char *string)
{
    return mete_text_from(string);
}

/* The least edits over all stretches of the text, by the table of mete_edit_distance. */
static size_t
least_edits(const char *text, const char *quote)
{
    uint64_t said[64], want[64];
    uint32_t scratch[65];
    size_t n = mete_codes(t(text), said, 64), m = mete_codes(t(quote), want, 64), least = m;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            size_t edits = mete_edit_distance(said + i, j - i + 1, want, m, scratch);
            least = edits < least ? edits : least;
        }
    return least;
}

static void
against_brute_force(void)
{
    mete_rng rng = mete_rng_make(4, 4, 4);
    size_t found_near = 0;
    for (int round = 0; round < 4000; round++) {
        char text[24], quote[10];
        size_t n = mete_rng_below(&rng, 23), m = 1 + mete_rng_below(&rng, 9);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + mete_rng_below(&rng, 3));
        for (size_t i = 0; i < m; i++)
            quote[i] = (char)('a' + mete_rng_below(&rng, 3));
        text[n] = quote[m] = 0;
        double least = 0.25 * mete_rng_below(&rng, 5);
        mete_place place = {0};
        size_t edits = least_edits(text, quote);
        int want = n && (double)edits <= (1 - least) * (double)m;
        int got = mete_text_locate(t(text), t(quote), 0, least, &place);
        /* at least 0 a quote that shares nothing may be anywhere: no stretch is better than none */
        if (edits < m)
            CU_ASSERT_EQUAL(got, want);
        if (got != 1 || edits == m)
            continue;
        uint64_t said[24], other[10];
        uint32_t scratch[11];
        size_t length =
            mete_codes((mete_text){text + place.begin, place.end - place.begin}, said, 24);
        CU_ASSERT_DOUBLE_EQUAL(place.similarity, 1 - (double)edits / (double)m, 1e-12);
        CU_ASSERT_EQUAL(
            mete_edit_distance(said, length, other, mete_codes(t(quote), other, 10), scratch),
            edits);
        found_near += edits > 0;
    }
    CU_ASSERT(found_near > 500);
}

static void
as_people_quote(void)
{
    static const char text[] = "He said: \xe2\x80\x9cIt\xe2\x80\x99s  a\nfine day\xe2\x80\x9d "
                               "\xe2\x80\x94 twice, a fine day.";
    static const struct {
        const char *quote, *found; /* NULL: nowhere */
        double least;
    } cases[] = {
        {"it's a FINE day", "It\xe2\x80\x99s  a\nfine day", 1},
        {"  \"It's a fine day\"\n", "\xe2\x80\x9cIt\xe2\x80\x99s  a\nfine day\xe2\x80\x9d", 1},
        {"- twice", "\xe2\x80\x94 twice", 1},
        {"it is a fine day", NULL, 1},
        {"it is a fine day", "It\xe2\x80\x99s  a\nfine day", .8},
        {"it was an awful day", NULL, .8},
        {"", NULL, 0},
        {" \n", NULL, 0}};
    mete_place place;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int got = mete_text_locate(t(text), t(cases[i].quote), 0, cases[i].least, &place);
        CU_ASSERT_EQUAL(got, cases[i].found != NULL);
        if (got == 1)
            CU_ASSERT(mete_text_equal(mete_text_slice(t(text), place.begin, place.end),
                                      t(cases[i].found)));
    }
    CU_ASSERT_EQUAL(mete_text_locate(t(text), t("a fine day"), 0, 1, &place), 1);
    size_t first = place.begin;
    CU_ASSERT_EQUAL(mete_text_locate(t(text), t("a fine day"), place.end, 1, &place), 1);
    CU_ASSERT(place.begin > first && place.end == strlen(text) - 1);
    CU_ASSERT_EQUAL(mete_text_locate(t(text), t("a fine day"), place.end, 1, &place), 0);
    CU_ASSERT_EQUAL(mete_text_locate(t("\xff\xfe x"), t("\xff x"), 0, .9, &place), 1);
}

/* A mebibyte that nearly matches everywhere is given up, not waited for. */
static void
costly(void)
{
    mete_buffer text = mete_buffer_make(0), quote = mete_buffer_make(0);
    mete_place place;
    for (size_t i = 0; i < 1 << 20; i++)
        mete_buffer_byte(&text, "ab"[i % 2]);
    for (size_t i = 0; i < 4000; i++)
        mete_buffer_byte(&quote, "ba"[i % 3 == 0]);
    CU_ASSERT_EQUAL(
        mete_text_locate(mete_buffer_view(&text), mete_buffer_view(&quote), 0, .5, &place),
        METE_EDATA);
    mete_buffer_free(&text);
    mete_buffer_free(&quote);
}

static void
segments(void)
{
    static const struct {
        const char *text;
        mete_segment_kind kind;
        const char *want; /* the segments, each in bars */
    } cases[] = {
        {"a b  c\n", METE_SEGMENT_WORD, "|a ||b  ||c\n|"},
        {"Near it, 1,000 at 3.5; (cheap, too). \"Yes!\" No", METE_SEGMENT_CLAUSE,
         "|Near it, ||1,000 at 3.5; ||(cheap, ||too). ||\"Yes!\" ||No|"},
        {"Near it, 1,000 at 3.5; (cheap, too). \"Yes!\" No", METE_SEGMENT_SENTENCE,
         "|Near it, 1,000 at 3.5; (cheap, too). ||\"Yes!\" ||No|"},
        {"one. two\n\nthree, four", METE_SEGMENT_LINE, "|one. two\n\n||three, four|"},
        {"one. two\n\nthree, four", METE_SEGMENT_SENTENCE, "|one. ||two\n\n||three, four|"},
        {"\xe4\xb8\x80\xe3\x80\x82\xe4\xba\x8c\xef\xbc\x8c\xe4\xb8\x89", METE_SEGMENT_CLAUSE,
         "|\xe4\xb8\x80\xe3\x80\x82||\xe4\xba\x8c\xef\xbc\x8c||\xe4\xb8\x89|"},
        {"wait... what?! so", METE_SEGMENT_SENTENCE, "|wait... ||what?! ||so|"},
        {"\n x", METE_SEGMENT_LINE, "|\n x|"},
        {"", METE_SEGMENT_WORD, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mete_buffer got = mete_buffer_make(0);
        mete_text part;
        for (size_t at = 0; mete_segment_next(t(cases[i].text), cases[i].kind, &at, &part);) {
            mete_buffer_byte(&got, '|');
            mete_buffer_text(&got, part);
            mete_buffer_byte(&got, '|');
        }
        if (!mete_text_equal(mete_buffer_view(&got), t(cases[i].want)))
            printf("got %s\n", got.data);
        CU_ASSERT(mete_text_equal(mete_buffer_view(&got), t(cases[i].want)));
        mete_buffer_free(&got);
    }
}

static void
parts(void)
{
    static const char *const name[] = {"answer", "task"};
    mete_buffer out = mete_buffer_make(0);
    CU_ASSERT_EQUAL(mete_buffer_part(&out, name, 2, 0, t("a < b </answer>\n<task>x</tas <answers")),
                    METE_OK);
    CU_ASSERT_STRING_EQUAL(out.data,
                           "<answer>\na < b &lt;/answer>\n&lt;task>x</tas &lt;answers\n</answer>");
    mete_buffer_free(&out);
}

void suite_places(void);
void
suite_places(void)
{
    CU_pSuite s = CU_add_suite("places", NULL, NULL);
    CU_add_test(s, "quotes against brute force", against_brute_force);
    CU_add_test(s, "quotes as people quote", as_people_quote);
    CU_add_test(s, "a costly quote is given up", costly);
    CU_add_test(s, "segments", segments);
    CU_add_test(s, "parts of a question", parts);
}
