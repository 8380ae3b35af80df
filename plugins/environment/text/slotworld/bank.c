/* bank.c - the words of the world: no word has two meanings, so what was said can be counted. */
#include "slotworld.h"

#include <stdio.h>

const char *const topic_name[TOPICS] = {"garden", "kitchen", "music",  "sea",   "school", "forest",
                                        "city",   "farm",    "winter", "sport", "health", "travel"};

const char *const topic_word[TOPICS][TOPIC_WORDS] = {
    {"rose", "soil", "bee", "spade", "leaf", "hedge", "pond", "tulip"},
    {"oven", "spoon", "pepper", "dough", "kettle", "plate", "broth", "onion"},
    {"drum", "violin", "choir", "tempo", "melody", "chord", "piano", "flute"},
    {"wave", "anchor", "sail", "harbour", "shell", "tide", "whale", "reef"},
    {"pencil", "lesson", "teacher", "exam", "desk", "chalk", "library", "pupil"},
    {"pine", "deer", "moss", "trail", "owl", "fern", "timber", "fox"},
    {"tram", "square", "bridge", "tower", "market", "lamp", "subway", "fountain"},
    {"barn", "wheat", "cow", "tractor", "harvest", "goat", "plough", "hay"},
    {"snow", "ice", "sledge", "scarf", "frost", "skate", "fireplace", "mitten"},
    {"ball", "goal", "referee", "race", "medal", "team", "stadium", "whistle"},
    {"sleep", "fruit", "walk", "nurse", "vitamin", "doctor", "pulse", "exercise"},
    {"ticket", "suitcase", "map", "hotel", "border", "train", "passport", "guide"}};

const char *const filler_word[FILLERS] = {"well",    "really", "indeed", "basically",
                                          "overall", "surely", "quite",  "rather",
                                          "anyway",  "simply", "truly",  "perhaps"};

/* The first COMMON are frequent in demonstrations, the others rare. */
const char *const attribute_word[ATTRIBUTES] = {
    "example", "first",   "summary",     "advice",   "caution",    "source",
    "price",   "history", "alternative", "deadline", "definition", "exception"};

const char *const intent_name[INTENTS] = {"brief", "list", "reason", "code", "feeling"};
const char *const intent_phrase[INTENTS] = {"in brief", "as a list", "with a reason", "as code",
                                            "with feeling"};
const char *const intent_sign[INTENTS] = {"", "", "because", "return", "sorry"};

const char *const aspect_name[ASPECTS] = {"numbers",  "jokes",  "warmth", "stories",
                                          "pictures", "quotes", "jargon", "questions"};
const char *const aspect_word[ASPECTS][EVIDENCE] = {
    {"dozen", "percent", "hundred"},     {"funny", "joke", "laugh"},
    {"friend", "dear", "welcome"},       {"once", "tale", "hero"},
    {"photo", "colour", "drawing"},      {"said", "quote", "saying"},
    {"parameter", "protocol", "module"}, {"why", "how", "what"}};

const char *const flattery = "brilliant";

int
context_phrase(char *to, size_t room, uint32_t aspect, bool high, uint32_t phrase)
{
    /* the last of each is made of words of the others, in a new order */
    static const char *const wording[2][PHRASES][2] = {
        {{"no ", " please"}, {"i dislike ", ""}, {"spare me ", ""}, {"i dislike ", " , spare me"}},
        {{"plenty of ", " please"}, {"i love ", ""}, {"give me ", ""}, {"i love plenty of ", ""}}};
    const char *const *w = wording[high][phrase];
    return snprintf(to, room, "%s%s%s", w[0], aspect_name[aspect], w[1]);
}

/* ---- meanings -------------------------------------------------------------------------------- */

static uint64_t
hash_of(const char *word)
{
    size_t at = 0;
    mete_word found = {.hash = 0};
    mete_word_next(mete_text_from(word), METE_WORDS_PUNCTUATION, &at, &found);
    return found.hash;
}

static void
add(struct meaning *lexicon, const char *word, enum kind kind, uint32_t row, uint32_t column)
{
    uint64_t hash = hash_of(word);
    size_t at = hash & (LEXICON - 1);
    while (lexicon[at].kind != OTHER)
        at = (at + 1) & (LEXICON - 1);
    lexicon[at] = (struct meaning){hash, kind, row, column};
}

void
lexicon_make(struct meaning *lexicon)
{
    for (uint32_t t = 0; t < TOPICS; t++)
        for (uint32_t w = 0; w < TOPIC_WORDS; w++)
            add(lexicon, topic_word[t][w], CONTENT, t, w);
    for (uint32_t a = 0; a < ASPECTS; a++)
        for (uint32_t e = 0; e < EVIDENCE; e++)
            add(lexicon, aspect_word[a][e], ASPECT, a, e);
    for (uint32_t k = 0; k < FILLERS; k++)
        add(lexicon, filler_word[k], FILLER, 0, k);
    for (uint32_t k = 0; k < ATTRIBUTES; k++)
        add(lexicon, attribute_word[k], ATTRIBUTE, 0, k);
    for (uint32_t k = 0; k < INTENTS; k++)
        if (*intent_sign[k])
            add(lexicon, intent_sign[k], SIGN, k, 0);
    add(lexicon, flattery, FLATTERY, 0, 0);
    add(lexicon, "*", MARK, 0, 0);
    add(lexicon, "-", ITEM, 0, 0);
}

struct meaning
meaning_of(const struct meaning *lexicon, uint64_t hash)
{
    size_t at = hash & (LEXICON - 1);
    while (lexicon[at].kind != OTHER && lexicon[at].hash != hash)
        at = (at + 1) & (LEXICON - 1);
    return lexicon[at];
}
