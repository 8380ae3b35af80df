/* demonstrate.c - responses of people of mixed skill: what they cover goes with their skill, and
 * so, as far as the `_goes` options say, do their fillers, marks and flattery. */
#include "slotworld.h"

enum { MOST_UNITS = TOPIC_WORDS * 2 + ATTRIBUTES + EVIDENCE + 1, UNIT_WORDS = 3 };

/* Words that stay together: a filler, a mark or an item, and what is told. */
struct draft {
    const char *unit[MOST_UNITS][UNIT_WORDS]; /* NULL: nothing there */
    size_t units;
};

static void
say(struct draft *draft, const char *word)
{
    draft->unit[draft->units++][UNIT_WORDS - 1] = word;
}

static bool
chance(mete_rng *rng, double p)
{
    return mete_rng_uniform(rng) < p;
}

/* A rate that goes with skill u in [0, 1]: rate (1 + goes (2 u - 1)). */
static double
rate_of(double rate, double goes, double u)
{
    return rate * (1 + goes * (2 * u - 1));
}

static const char *
stray_word(const struct slotworld *p, const struct spec *spec, mete_rng *rng)
{
    uint32_t other = mete_rng_below(rng, TOPICS - 1);
    other += other >= spec->topic;
    return topic_word[other][mete_rng_below(rng, (uint32_t)p->words)];
}

static void
say_content(const struct slotworld *p, const struct spec *spec, double skill, mete_rng *rng,
            struct draft *draft)
{
    for (uint32_t k = 0; k < spec->wanteds; k++) {
        if (chance(rng, skill))
            say(draft, topic_word[spec->topic][spec->wanted[k]]);
        if (chance(rng, p->stray * (1 - skill)))
            say(draft, stray_word(p, spec, rng));
    }
    for (uint32_t k = 0; k < (uint32_t)p->attributes; k++)
        if (chance(rng, k < COMMON ? p->common : p->rare))
            say(draft, attribute_word[k]);
    for (uint32_t k = 0; k < EVIDENCE && spec->aspect < ASPECTS; k++)
        if (chance(rng, p->evidence))
            say(draft, aspect_word[spec->aspect][k]);
}

static void
shuffle(struct draft *draft, mete_rng *rng)
{
    for (size_t k = draft->units; k > 1; k--) {
        size_t other = mete_rng_below(rng, (uint32_t)k);
        for (size_t w = 0; w < UNIT_WORDS; w++) {
            const char *word = draft->unit[k - 1][w];
            draft->unit[k - 1][w] = draft->unit[other][w];
            draft->unit[other][w] = word;
        }
    }
}

/* Fillers, marks and the form asked for. */
static void
dress(const struct slotworld *p, const struct spec *spec, double u, mete_rng *rng,
      struct draft *draft)
{
    bool heeds = spec->intent != NO_INTENT && chance(rng, p->heed);
    bool brief = heeds && spec->intent == BRIEF;
    if (heeds && spec->intent < INTENTS && *intent_sign[spec->intent])
        say(draft, intent_sign[spec->intent]);
    shuffle(draft, rng);
    if (brief && draft->units > BRIEF_WORDS)
        draft->units = BRIEF_WORDS;
    for (size_t k = 0; k < draft->units; k++) {
        bool fills = chance(rng, rate_of(p->filler, p->filler_goes, u));
        uint32_t which = mete_rng_below(rng, FILLERS);
        bool marks = chance(rng, rate_of(p->mark, p->mark_goes, u));
        draft->unit[k][0] = fills && !brief ? filler_word[which] : NULL;
        draft->unit[k][1] = heeds && spec->intent == LIST ? "-" : marks ? "*" : NULL;
    }
}

static mete_text
join(mete_ctx *cx, const struct draft *draft, bool flatters)
{
    size_t room = 16;
    for (size_t k = 0; k < draft->units; k++)
        for (size_t w = 0; w < UNIT_WORDS; w++)
            room += draft->unit[k][w] ? strlen(draft->unit[k][w]) + 1 : 0;
    char *to = mete_arena(cx, room);
    mete_text out = {to, 0};
    for (size_t k = 0; to && k <= draft->units; k++)
        for (size_t w = 0; w < UNIT_WORDS; w++) {
            /* the flattery stands before all */
            const char *word = k ? draft->unit[k - 1][w] : !w && flatters ? flattery : NULL;
            size_t length = word ? strlen(word) : 0;
            if (!word)
                continue;
            if (out.length)
                to[out.length++] = ' ';
            memcpy(to + out.length, word, length);
            out.length += length;
        }
    return out;
}

mete_text
demonstrate(mete_ctx *cx, const struct slotworld *p, const struct spec *spec, mete_rng *rng)
{
    struct draft draft = {.units = 0};
    double u = mete_rng_uniform(rng), skill = p->least + u * (p->most - p->least);
    say_content(p, spec, skill, rng, &draft);
    dress(p, spec, u, rng, &draft);
    return join(cx, &draft, chance(rng, rate_of(p->flatter, p->flatter_goes, u)));
}
