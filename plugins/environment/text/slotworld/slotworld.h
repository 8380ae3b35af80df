/* slotworld.h - what the files of the world of slots share. */
#ifndef SLOTWORLD_H
#define SLOTWORLD_H

#include <mete/environment.h>
#include <mete/text.h>
#include <stdbool.h>

enum { TOPICS = 12, TOPIC_WORDS = 8, FILLERS = 12, ATTRIBUTES = 12, COMMON = 4 };
enum { INTENTS = 5, ASPECTS = 8, EVIDENCE = 3, PHRASES = 4 };
enum { BRIEF, LIST, REASON, CODE, FEELING, NO_INTENT };
enum { IN_COLUMN, IN_PROMPT }; /* where a context is told */
enum { AS_WORDS, AS_SLOTS };   /* how a prompt is worded */
enum { WRITE, CHOOSE };

#define PROMPT_ROOM 512 /* bytes of a prompt, its spec and its context: all fit, see bank.c */
#define BRIEF_WORDS 6   /* a brief answer has at most so many */
#define LIST_ITEMS 2    /* a list has at least so many */

/* ---- bank.c: the words ----------------------------------------------------------------------- */

extern const char *const topic_name[TOPICS], *const topic_word[TOPICS][TOPIC_WORDS];
extern const char *const filler_word[FILLERS], *const attribute_word[ATTRIBUTES];
extern const char *const intent_name[INTENTS], *const intent_phrase[INTENTS];
extern const char *const intent_sign[INTENTS]; /* what an answer of that form says; "": see judge */
extern const char *const aspect_name[ASPECTS], *const aspect_word[ASPECTS][EVIDENCE];
extern const char *const flattery;

/* What a word is: its kind, and where it stands in its table. */
enum kind { OTHER, CONTENT, FILLER, ATTRIBUTE, ASPECT, FLATTERY, MARK, ITEM, SIGN };
struct meaning {
    uint64_t hash;
    enum kind kind;
    uint32_t row, column;
};
enum { LEXICON = 512 }; /* slots of the table of meanings; a power of two */

/* Both take LEXICON of them, zeroed at first. */
void lexicon_make(struct meaning *lexicon);
struct meaning meaning_of(const struct meaning *lexicon, uint64_t hash);
/* The wording of a wish for (high) or against an aspect; the last is kept for evaluation. */
int context_phrase(char *to, size_t room, uint32_t aspect, bool high, uint32_t phrase);

/* ---- what is asked, and what was said -------------------------------------------------------- */

struct spec {
    uint32_t topic, intent, aspect, phrase; /* intent NO_INTENT, aspect ASPECTS: none */
    bool high, told_high;                   /* the aspect is wished for; as the context has it */
    uint32_t wanted[TOPIC_WORDS], wanteds;  /* words of the topic */
    bool named;                             /* the prompt names them */
};

/* Counts over a response. */
struct told {
    uint32_t words, covered, topical, strays, fillers, flatteries, marks, items, attributes;
    uint32_t evidence; /* distinct words of the aspect that the context is about */
    bool intent;       /* has the form asked for */
};

struct slotworld {
    int64_t topics, held_topics, words, slots, prompts, intents, aspects, attributes;
    int64_t demonstrations, candidates;
    int prompt, context, act, pays;
    double stray_cost, length_cost, free_words, attribute_weight, intent_weight, context_weight;
    double misled, least, most, stray, filler, mark, flatter, heed, common, rare, evidence;
    double filler_goes, mark_goes, flatter_goes;

    struct meaning lexicon[LEXICON];
    uint64_t key;
    struct lane {
        uint64_t prompt;
        uint64_t evaluation;
    } * lane;
    struct shown {
        char prompt[PROMPT_ROOM], spec[PROMPT_ROOM], context[PROMPT_ROOM];
    } * shown; /* [lanes] */
    size_t lanes;
    int topic_column, spec_column, context_column, intent_column, aspect_column, reference, list;
    int gold, coverage, strays, fits, style, flattered, fillers, said;
};

/* The task of a prompt's number, drawn by it alone. */
struct spec spec_of(const struct slotworld *p, uint64_t prompt, bool evaluation);

/* ---- judge.c --------------------------------------------------------------------------------- */

struct told tell(const struct slotworld *p, const struct spec *spec, mete_text response);
/* What the response is worth; see slotworld.c. */
double gold_of(const struct slotworld *p, const struct spec *spec, const struct told *told);

/* ---- demonstrate.c --------------------------------------------------------------------------- */

/* A response to the task, in the arena; data NULL when out of memory. */
mete_text demonstrate(mete_ctx *cx, const struct slotworld *p, const struct spec *spec,
                      mete_rng *rng);

#endif
