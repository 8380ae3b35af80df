/* ablate_claims.c - reads what an ablation claims: ARM > ARM [by NUMBER] [at NUMBER%] [over N
 * seeds]. */
#include "cli/ablate.h"

#include <math.h>
#include <mete/text.h>
#include <string.h>

/* A claim's text and how far it is read. */
struct reader {
    const char *text, *at;
    const char *want; /* what was missing where reading stopped; NULL: nothing was */
};

static mete_text
next_word(struct reader *r)
{
    r->at += strspn(r->at, " ");
    mete_text word = {r->at, strcspn(r->at, " ")};
    return word;
}

static size_t
take_arm(struct reader *r, const mete__ablation *a)
{
    mete_text word = next_word(r);
    for (size_t k = 0; k < a->arms && !r->want; k++)
        if (mete_text_is(word, a->arm[k].name)) {
            r->at += word.length;
            return k;
        }
    r->want = r->want ? r->want : "the name of an arm";
    return 0;
}

/* A number, with `unit` after it or after a space where it wants one. */
static double
take_number(struct reader *r, const char *unit, double least, double most)
{
    mete_text word = next_word(r);
    double value = NAN;
    bool tail = *unit && word.length && word.data[word.length - 1] == *unit;
    mete_text digits = {word.data, word.length - tail};
    if (r->want || !mete_number_parse(digits, METE_NUMBER_EXPONENT, &value) ||
        !(value >= least && value <= most)) {
        r->want = r->want ? r->want : "a number that is allowed here";
        return NAN;
    }
    r->at += word.length;
    return value;
}

static void
parse_claim(struct reader *r, const mete__ablation *a, mete__claim *claim)
{
    *claim = (mete__claim){.confidence = a->confidence, .seeds = a->seeds};
    claim->more = take_arm(r, a);
    mete_text sign = next_word(r);
    if (!r->want && !mete_text_is(sign, ">") && !mete_text_is(sign, "<"))
        r->want = "> or <";
    if (r->want)
        return;
    r->at += sign.length;
    claim->less = take_arm(r, a);
    if (*sign.data == '<') {
        size_t more = claim->less;
        claim->less = claim->more;
        claim->more = more;
    }
    while (!r->want) {
        mete_text word = next_word(r);
        const char *begin = r->at;
        if (!word.length)
            return;
        r->at += word.length;
        if (mete_text_is(word, "by")) {
            claim->margin = take_number(r, "", -1e300, 1e300);
        } else if (mete_text_is(word, "at")) {
            claim->confidence = take_number(r, "%", 50, 99.99) / 100;
        } else if (mete_text_is(word, "over")) {
            double seeds = take_number(r, "", 2, METE__MOST_SEEDS);
            claim->seeds = r->want ? 0 : (size_t)seeds;
            word = next_word(r);
            if (mete_text_is(word, "seeds"))
                r->at += word.length;
        } else {
            r->at = begin;
            r->want = "by NUMBER, at NUMBER%, over NUMBER seeds, or the end";
        }
    }
}

static void
read_claim(mete__ablation *a, mete__value *item, mete__errors *errors)
{
    item->used = true;
    if (item->kind != METE__STRING || a->claims == METE__MOST_CLAIMS) {
        mete__errors_add(errors, "%s:%d: %s: a claim is a string, and at most %d may be",
                         item->file, item->line, item->path, METE__MOST_CLAIMS);
        return;
    }
    struct reader r = {.text = item->string, .at = item->string};
    parse_claim(&r, a, &a->claim[a->claims]);
    if (!r.want) {
        a->claim[a->claims++].text = item->string;
        return;
    }
    mete_buffer names = mete_buffer_make((size_t)1 << 16);
    for (size_t k = 0; k < a->arms; k++)
        mete_buffer_format(&names, "%s%s", k ? ", " : "", a->arm[k].name);
    mete_buffer_byte(&names, 0);
    mete__errors_add(errors,
                     "%s:%d: %s: \"%s\", column %d: there should be %s; a claim is \"ARM > ARM by "
                     "NUMBER at NUMBER%% over N seeds\", the arms are %s",
                     item->file, item->line, item->path, item->string, (int)(r.at - r.text) + 1,
                     r.want, names.data ? names.data : "");
    mete_buffer_free(&names);
}

void
mete__claims_read(mete__ablation *a, mete__value *value, mete__errors *errors)
{
    if (value->kind != METE__LIST)
        read_claim(a, value, errors);
    else
        for (mete__value *item = value->first; item; item = item->next)
            read_claim(a, item, errors);
}
