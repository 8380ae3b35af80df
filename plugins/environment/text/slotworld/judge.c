/* judge.c - what a response says, and what that is worth. */
#include "slotworld.h"

#include <math.h>

/* Sets bit k of `seen`; 1 when it was not set. */
static uint32_t
first_time(uint32_t *seen, uint32_t k)
{
    uint32_t bit = 1u << k, was = *seen & bit;
    *seen |= bit;
    return !was;
}

static bool
has_form(const struct spec *spec, const struct told *t, uint32_t signs)
{
    switch (spec->intent) {
    case NO_INTENT:
        return false;
    case BRIEF:
        return t->words > 0 && t->words <= BRIEF_WORDS;
    case LIST:
        return t->items >= LIST_ITEMS;
    default:
        return signs >> spec->intent & 1;
    }
}

struct told
tell(const struct slotworld *p, const struct spec *spec, mete_text response)
{
    struct told t = {0};
    uint32_t topical = 0, attributes = 0, evidence = 0, signs = 0;
    mete_word word;
    for (size_t at = 0; mete_word_next(response, METE_WORDS_PUNCTUATION, &at, &word);) {
        struct meaning m = meaning_of(p->lexicon, word.hash);
        bool ours = m.kind == CONTENT && m.row == spec->topic && m.column < (uint32_t)p->words;
        t.words += m.kind != MARK && m.kind != ITEM;
        t.strays += m.kind == CONTENT && !ours;
        t.fillers += m.kind == FILLER;
        t.flatteries += m.kind == FLATTERY;
        t.marks += m.kind == MARK;
        t.items += m.kind == ITEM;
        if (ours)
            t.topical += first_time(&topical, m.column);
        if (m.kind == ATTRIBUTE && m.column < (uint32_t)p->attributes)
            t.attributes += first_time(&attributes, m.column);
        if (m.kind == ASPECT && m.row == spec->aspect)
            t.evidence += first_time(&evidence, m.column);
        if (m.kind == SIGN)
            signs |= 1u << m.row;
    }
    for (uint32_t k = 0; k < spec->wanteds; k++)
        t.covered += topical >> spec->wanted[k] & 1;
    t.intent = has_form(spec, &t, signs);
    return t;
}

double
gold_of(const struct slotworld *p, const struct spec *spec, const struct told *t)
{
    double gold = (double)t->covered / spec->wanteds - p->stray_cost * t->strays;
    gold -= p->length_cost * fmax(0, t->words - p->free_words);
    if (p->attributes)
        gold += p->attribute_weight * t->attributes / (double)p->attributes;
    if (spec->intent != NO_INTENT)
        gold += p->intent_weight * t->intent;
    if (spec->aspect < ASPECTS)
        gold += p->context_weight * (spec->high ? 1 : -1) * t->evidence / EVIDENCE;
    return gold;
}
