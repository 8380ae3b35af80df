/* slotworld - a world of text whose truth is known: a prompt stands for a hidden specification, a
 * response is judged against it, and all else is a knob.
 *
 * A prompt is about a topic and wants its words told: all of them, or `slots` that it names. It may
 * ask for a form (an intent) and come with a context, a wish for or against an aspect. What a
 * response is worth,
 *
 *   gold = covered / wanted - stray_cost strays - length_cost max(0, words - free_words)
 *        + attribute_weight attributes told / attributes + intent_weight [form as asked for]
 *        +- context_weight evidence of the aspect / EVIDENCE,
 *
 * is a signal that only nodes marked gold see. What is worth nothing (fillers, marks, flattery) is
 * there to be liked by who labels, and rewards may see how much of it was said. Demonstrations are
 * of people of mixed skill, so that pairs of them have something to prefer.
 *
 * Prompt k is drawn by (seed, k) alone, those of evaluation apart from the others.
 */
#include "slotworld.h"

#include <math.h>
#include <stdio.h>

#define RATE(member, def, help_) METE_REAL(struct slotworld, member, def, 0, 1, help_)
#define COST(member, def, help_) METE_REAL(struct slotworld, member, def, -1e3, 1e3, help_)
#define GOES(member, help_) METE_REAL(struct slotworld, member, 0, -1, 1, help_)

static const mete_option options[] = {
    METE_INT(struct slotworld, prompts, 256, 1, 1000000000, "different prompts"),
    METE_INT(struct slotworld, topics, 8, 1, TOPICS, "topics, those held out too"),
    METE_INT(struct slotworld, held_topics, 0, 0, TOPICS - 1,
             "of them the last so many are only met in evaluation, which meets no others then"),
    METE_INT(struct slotworld, words, 6, 1, TOPIC_WORDS, "words a topic has"),
    METE_INT(struct slotworld, slots, 0, 0, TOPIC_WORDS,
             "words that a prompt wants, and names; 0: all of its topic's, and names none"),
    METE_INT(struct slotworld, intents, 0, 0, INTENTS,
             "forms a prompt may ask for: brief, list, reason, code, feeling, the first so many"),
    METE_INT(struct slotworld, aspects, 0, 0, ASPECTS,
             "aspects that a context may be about: numbers, jokes, warmth, stories, pictures, "
             "quotes, jargon, questions, the first so many"),
    METE_INT(struct slotworld, attributes, 0, 0, ATTRIBUTES,
             "words that are good in any response; the first four are common in demonstrations"),
    METE_ENUM(struct slotworld, prompt, AS_WORDS, "words|slots",
              "a prompt is \"about sea, tell wave\" or \"topic[sea], tell[wave]\""),
    METE_ENUM(struct slotworld, context, IN_COLUMN, "column|prompt",
              "a context is told in the column `context`, which rewards see, or in the prompt too"),
    COST(stray_cost, 0.15, "gold that a word of another topic costs"),
    COST(length_cost, 0.02, "gold that a word beyond free_words costs"),
    METE_REAL(struct slotworld, free_words, 10, 0, 1e6, "words that cost nothing"),
    COST(attribute_weight, 0.5, "gold of all attributes together"),
    COST(intent_weight, 0.5, "gold of the form asked for"),
    COST(context_weight, 0.5, "gold of all that shows a wished aspect; lost where it is not"),
    METE_BOOL(struct slotworld, pays, 0,
              "the environment's own reward is gold; else it is 0, and gold is only measured"),
    METE_ENUM(struct slotworld, act, WRITE, "write|choose",
              "write: an answer is a text; choose: it is one of the column `candidates`"),
    METE_INT(struct slotworld, candidates, 8, 2, 256, "responses to choose from"),
    METE_INT(struct slotworld, demonstrations, 4, 1, 256, "demonstrations of a prompt"),
    RATE(misled, 0, "chance that a context says the opposite of what is wished"),
    RATE(least, 0.1, "chance that the least skilled tell a wanted word"),
    RATE(most, 0.7, "chance that the most skilled do; skill is uniform between"),
    RATE(stray, 0.3, "chance of a stray word, for each wanted one, of one without any skill"),
    RATE(filler, 0.3, "chance of a filler before a word"),
    RATE(mark, 0.1, "chance of a mark (*) before a word"),
    RATE(flatter, 0.1, "chance that a response begins with flattery"),
    GOES(filler_goes, "how fillers go with skill: rate (1 + goes (2 u - 1)), u from 0 to 1"),
    GOES(mark_goes, "how marks do"),
    GOES(flatter_goes, "how flattery does"),
    RATE(heed, 0.5, "chance that the form asked for is heeded"),
    RATE(common, 0.4, "chance of each common attribute"),
    RATE(rare, 0.05, "chance of each rare attribute"),
    RATE(evidence, 0.3, "chance of each word that shows the context's aspect"),
    METE_OPTIONS_END};

#undef RATE
#undef COST
#undef GOES

/* ---- tasks ----------------------------------------------------------------------------------- */

static mete_rng
stream(const struct slotworld *p, uint64_t prompt, bool evaluation, uint32_t what)
{
    return mete_rng_make(mete_hash_mix(p->key, evaluation), prompt, what);
}

/* Each part has a stream of its own, so that none depends on which others there are. */
enum { OF_TOPIC, OF_INTENT, OF_CONTEXT, OF_DEMONSTRATIONS };

static void
draw_topic(const struct slotworld *p, bool evaluation, mete_rng rng, struct spec *spec)
{
    uint32_t held = (uint32_t)p->held_topics, open = (uint32_t)p->topics - held;
    uint32_t words = (uint32_t)p->words, order[TOPIC_WORDS];
    spec->topic =
        evaluation && held ? open + mete_rng_below(&rng, held) : mete_rng_below(&rng, open);
    spec->named = p->slots > 0;
    spec->wanteds = spec->named ? (uint32_t)p->slots : words;
    for (uint32_t k = 0; k < words; k++)
        order[k] = k;
    for (uint32_t k = 0; k < spec->wanteds; k++) {
        uint32_t other = k + (spec->named ? mete_rng_below(&rng, words - k) : 0);
        spec->wanted[k] = order[other];
        order[other] = order[k];
    }
}

struct spec
spec_of(const struct slotworld *p, uint64_t prompt, bool evaluation)
{
    struct spec spec = {.intent = NO_INTENT, .aspect = ASPECTS};
    mete_rng intent = stream(p, prompt, evaluation, OF_INTENT);
    mete_rng context = stream(p, prompt, evaluation, OF_CONTEXT);
    draw_topic(p, evaluation, stream(p, prompt, evaluation, OF_TOPIC), &spec);
    if (p->intents)
        spec.intent = mete_rng_below(&intent, (uint32_t)p->intents);
    if (p->aspects) {
        spec.aspect = mete_rng_below(&context, (uint32_t)p->aspects);
        spec.high = mete_rng_below(&context, 2);
        spec.told_high = spec.high ^ (mete_rng_uniform(&context) < p->misled);
        spec.phrase = evaluation ? PHRASES - 1 : mete_rng_below(&context, PHRASES - 1);
    }
    return spec;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int
provide(mete_ctx *cx, struct slotworld *p)
{
    const mete_level once = METE_EPISODE;
    p->topic_column = mete_provide(cx, "topic", once, METE_TEXT, METE_SEE_POLICY, "the topic");
    p->spec_column = mete_provide(cx, "spec", once, METE_TEXT, METE_SEE_REWARD,
                                  "all that is asked for: topic[sea], tell[wave], intent[list], "
                                  "wish[jokes] or shun[jokes]");
    p->intent_column = mete_provide(cx, "intent", once, METE_TEXT, METE_SEE_POLICY,
                                    "the form asked for; empty: any");
    p->aspect_column = mete_provide(cx, "aspect", once, METE_TEXT, METE_SEE_POLICY,
                                    "what the context is about; empty: there is none");
    p->context_column =
        mete_provide(cx, "context", once, METE_TEXT, METE_SEE_REWARD, "the context; may be empty");
    p->reference = mete_provide(cx, "reference", METE_LIST, METE_TEXT, METE_SEE_REWARD,
                                "demonstrations, of mixed skill");
    p->list = p->act == CHOOSE ? mete_provide(cx, "candidates", METE_LIST, METE_TEXT,
                                              METE_SEE_POLICY, "responses to choose from")
                               : 0;
    p->gold = mete_provide_signal(cx, "gold", METE_SEE_GOLD, -INFINITY, INFINITY,
                                  "what the response is worth");
    p->coverage = mete_provide_signal(cx, "coverage", METE_SEE_GOLD, 0, 1, "covered / wanted");
    p->strays =
        mete_provide_signal(cx, "strays", METE_SEE_GOLD, 0, INFINITY, "words of other topics");
    p->fits = mete_provide_signal(cx, "fits", METE_SEE_GOLD, 0, 1, "1: it has the form asked for");
    p->style =
        mete_provide_signal(cx, "style", METE_SEE_REWARD, 0, INFINITY, "marks of format, * and -");
    p->flattered =
        mete_provide_signal(cx, "flattery", METE_SEE_REWARD, 0, INFINITY, "words of flattery");
    p->fillers = mete_provide_signal(cx, "filler", METE_SEE_REWARD, 0, INFINITY, "fillers");
    p->said = mete_provide_signal(cx, "words", METE_SEE_REWARD, 0, INFINITY, "words without marks");
    const int all[] = {p->topic_column,   p->spec_column, p->intent_column, p->aspect_column,
                       p->context_column, p->reference,   p->list,          p->gold,
                       p->coverage,       p->strays,      p->fits,          p->style,
                       p->flattered,      p->fillers,     p->said};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] < 0)
            return all[i];
    return METE_OK;
}

static int
open_slotworld(mete_ctx *cx, void *self)
{
    struct slotworld *p = self;
    if (p->held_topics >= p->topics)
        return mete_fail(cx, METE_EINVAL, "held_topics (%lld) must be fewer than topics (%lld)",
                         (long long)p->held_topics, (long long)p->topics);
    if (p->slots > p->words)
        return mete_fail(cx, METE_EINVAL, "slots (%lld) must be at most words (%lld)",
                         (long long)p->slots, (long long)p->words);
    if (p->least > p->most)
        return mete_fail(cx, METE_EINVAL, "least (%g) must be at most most (%g)", p->least,
                         p->most);
    p->key = mete_key(cx);
    lexicon_make(p->lexicon);
    return provide(cx, p);
}

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct slotworld *p = self;
    p->lane = mete_alloc(cx, lanes * sizeof *p->lane);
    p->shown = mete_alloc(cx, lanes * sizeof *p->shown);
    if (!p->lane || !p->shown)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    p->lanes = lanes;
    out->single_turn = 1;
    out->max_steps = 1;
    out->tasks = (uint64_t)p->prompts;
    out->observation.kind = METE_SPACE_TEXT;
    out->action.kind = p->act == CHOOSE ? METE_SPACE_CANDIDATES : METE_SPACE_TEXT;
    out->action.count = p->act == CHOOSE ? (uint32_t)p->candidates : 0;
    return METE_OK;
}

/* ---- showing --------------------------------------------------------------------------------- */

/* Appends "about sea" or "topic[sea]", after a comma where something stands already. */
static void
put(char *to, const char *before, const char *value, const char *after)
{
    size_t length = strlen(to);
    snprintf(to + length, PROMPT_ROOM - length, "%s%s%s%s", length ? ", " : "", before, value,
             after);
}

static void
word_prompt(const struct slotworld *p, const struct spec *spec, struct shown *shown)
{
    const char *aspect = spec->aspect < ASPECTS ? aspect_name[spec->aspect] : NULL;
    *shown = (struct shown){.prompt = ""};
    put(shown->spec, "topic[", topic_name[spec->topic], "]");
    for (uint32_t k = 0; k < spec->wanteds; k++)
        put(shown->spec, "tell[", topic_word[spec->topic][spec->wanted[k]], "]");
    if (spec->intent != NO_INTENT)
        put(shown->spec, "intent[", intent_name[spec->intent], "]");
    if (p->prompt == AS_SLOTS)
        put(shown->prompt, "topic[", topic_name[spec->topic], "]");
    else
        put(shown->prompt, "about ", topic_name[spec->topic], "");
    for (uint32_t k = 0; k < spec->wanteds && spec->named; k++) {
        const char *word = topic_word[spec->topic][spec->wanted[k]];
        if (p->prompt == AS_SLOTS)
            put(shown->prompt, "tell[", word, "]");
        else
            put(shown->prompt, "tell ", word, "");
    }
    if (spec->intent != NO_INTENT && p->prompt == AS_SLOTS)
        put(shown->prompt, "intent[", intent_name[spec->intent], "]");
    else if (spec->intent != NO_INTENT)
        put(shown->prompt, "", intent_phrase[spec->intent], "");
    if (!aspect)
        return;
    put(shown->spec, spec->high ? "wish[" : "shun[", aspect, "]");
    context_phrase(shown->context, PROMPT_ROOM, spec->aspect, spec->told_high, spec->phrase);
    if (p->context == IN_PROMPT && p->prompt == AS_SLOTS)
        put(shown->prompt, spec->told_high ? "wish[" : "shun[", aspect, "]");
    else if (p->context == IN_PROMPT)
        put(shown->prompt, "", shown->context, "");
}

static int
show_texts(mete_ctx *cx, const struct slotworld *p, const struct spec *spec, size_t lane,
           int column, int64_t count, uint32_t first, mete_observations *out)
{
    const struct lane *at = &p->lane[lane];
    mete_text *text = mete_arena(cx, (size_t)count * sizeof *text);
    for (int64_t k = 0; text && k < count; k++) {
        mete_rng rng = stream(p, at->prompt, at->evaluation, first + (uint32_t)k);
        text[k] = demonstrate(cx, p, spec, &rng);
        if (!text[k].data)
            text = NULL;
    }
    return text ? mete_lane_list(cx, out, column, lane, text, (size_t)count)
                : mete_fail(cx, METE_ENOMEM, "out of memory for demonstrations");
}

static int
show(mete_ctx *cx, struct slotworld *p, size_t lane, mete_observations *out)
{
    const uint32_t demonstrations = OF_DEMONSTRATIONS, candidates = OF_DEMONSTRATIONS + 256;
    const struct lane *at = &p->lane[lane];
    const struct spec spec = spec_of(p, at->prompt, at->evaluation);
    struct shown *shown = &p->shown[lane];
    mete_text *topic = mete_lane_column(out, p->topic_column);
    mete_text *intent = mete_lane_column(out, p->intent_column);
    mete_text *aspect = mete_lane_column(out, p->aspect_column);
    mete_text *asked = mete_lane_column(out, p->spec_column);
    mete_text *context = mete_lane_column(out, p->context_column);
    word_prompt(p, &spec, shown);
    out->prompt[lane] = mete_text_from(shown->prompt);
    topic[lane] = mete_text_from(topic_name[spec.topic]);
    intent[lane] = mete_text_from(spec.intent == NO_INTENT ? "" : intent_name[spec.intent]);
    aspect[lane] = mete_text_from(spec.aspect < ASPECTS ? aspect_name[spec.aspect] : "");
    asked[lane] = mete_text_from(shown->spec);
    context[lane] = mete_text_from(shown->context);
    uint64_t id = mete_hash(p->key, shown->prompt, strlen(shown->prompt));
    id = mete_hash(id, shown->spec, strlen(shown->spec));
    out->prompt_id[lane] = mete_hash(id, shown->context, strlen(shown->context));
    int status =
        show_texts(cx, p, &spec, lane, p->reference, p->demonstrations, demonstrations, out);
    if (!status && p->act == CHOOSE)
        status = show_texts(cx, p, &spec, lane, p->list, p->candidates, candidates, out);
    return status;
}

static int
start(mete_ctx *cx, struct slotworld *p, size_t lane, uint64_t task, bool evaluation,
      mete_observations *out)
{
    uint64_t prompt = mete_task_record(p->key, task, (uint64_t)p->prompts, !evaluation);
    p->lane[lane] = (struct lane){prompt, evaluation};
    return show(cx, p, lane, out);
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct slotworld *p = self;
    int status = METE_OK;
    for (size_t k = 0; k < in->count && !status; k++)
        status = in->lane[k] < p->lanes
                     ? start(cx, p, in->lane[k], in->task[k], in->evaluation != 0, out)
                     : mete_fail(cx, METE_EPLUGIN, "lane %u of %zu", in->lane[k], p->lanes);
    return status;
}

/* ---- answers --------------------------------------------------------------------------------- */

static int
answer_of(mete_ctx *cx, const struct slotworld *p, const struct spec *spec, size_t lane,
          const mete_actions *in, mete_text *answer)
{
    const struct lane *at = &p->lane[lane];
    if (in->text) {
        *answer = in->text[lane];
        return METE_OK;
    }
    int32_t action = in->action[lane];
    if (action < 0 || action >= p->candidates)
        return mete_fail(cx, METE_EINVAL, "chose candidate %d of %lld", action,
                         (long long)p->candidates);
    mete_rng rng =
        stream(p, at->prompt, at->evaluation, OF_DEMONSTRATIONS + 256 + (uint32_t)action);
    *answer = demonstrate(cx, p, spec, &rng);
    return answer->data ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct slotworld *p = self;
    float *gold = mete_lane_signal(out, p->gold), *coverage = mete_lane_signal(out, p->coverage);
    float *strays = mete_lane_signal(out, p->strays), *fits = mete_lane_signal(out, p->fits);
    float *style = mete_lane_signal(out, p->style), *said = mete_lane_signal(out, p->said);
    float *flattered = mete_lane_signal(out, p->flattered);
    float *fillers = mete_lane_signal(out, p->fillers);
    int status = METE_OK;
    for (size_t i = 0; i < p->lanes && !status; i++) {
        const struct lane at = p->lane[i];
        const struct spec spec = spec_of(p, at.prompt, at.evaluation);
        mete_text answer;
        if ((status = answer_of(cx, p, &spec, i, in, &answer)))
            break;
        const struct told told = tell(p, &spec, answer);
        gold[i] = (float)gold_of(p, &spec, &told);
        coverage[i] = (float)told.covered / (float)spec.wanteds;
        strays[i] = (float)told.strays;
        fits[i] = told.intent;
        style[i] = (float)(told.marks + told.items);
        flattered[i] = (float)told.flatteries;
        fillers[i] = (float)told.fillers;
        said[i] = (float)told.words;
        out->reward[i] = p->pays ? gold[i] : 0;
        out->terminated[i] = 1;
        out->episode[i] += out->stride;
        out->task[i] += out->task_stride;
        status = start(cx, p, i, out->task[i], at.evaluation, out->next);
    }
    return status;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    (void)cx;
    memcpy(bytes, &((const struct slotworld *)self)->lane[lane], sizeof(struct lane));
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct slotworld *p = self;
    struct lane at;
    memcpy(&at, bytes, sizeof at);
    if (at.prompt >= (uint64_t)p->prompts || at.evaluation > 1)
        return mete_fail(cx, METE_EDATA, "a saved lane names prompt %llu of %lld",
                         (unsigned long long)at.prompt, (long long)p->prompts);
    p->lane[lane] = at;
    return show(cx, p, lane, out);
}

METE_ENVIRONMENT_PLUGIN(
    slotworld, "1.0", "texts judged against a hidden specification, with all else a knob",
    .doc =
        "Columns: topic, intent and aspect; for rewards spec (all that is asked for, in slots) and "
        "context.\n"
        "`responses = \"reference\"` learns from demonstrations of mixed skill. Signals: gold,\n"
        "coverage, strays and fits, which only nodes with gold = true see; style, flattery, "
        "filler\n"
        "and words, which all rewards see.",
    .options = options, .state_size = sizeof(struct slotworld), .lane_size = sizeof(struct lane),
    .open = open_slotworld, .spaces = spaces, .reset = reset, .step = step, .copy = copy,
    .restore = restore);
