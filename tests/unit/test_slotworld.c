/* The world of slots, whose gold is counted anew here by other means, and labels by people. */
#include "engine/context.h"
#include "loops.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <mete/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES 2048
#define GOLD "{ name = \"right\"; use = \"environment\"; signal = \"gold\"; weight = 4.0; }"

static struct opened
open_world(const char *env, const char *annotator)
{
    static char text[2000];
    snprintf(text, sizeof text,
             "run = { seed = 7; };"
             "env = { use = \"slotworld\"; lanes = %d; prompts = 4096; demonstrations = 1; %s };"
             "policy = { use = \"window_lm\"; hidden = [ 8 ]; embedding = 4; };"
             "reward = { use = \"sum\"; of = ( { use = \"length\"; },"
             "  { use = \"annotator\"; gold = true; %s of = ( " GOLD " ); } ); };"
             "evaluate = { episodes = 64; };"
             "stages = ( { iterations = 1; objective = { use = \"rloo\"; }; } );",
             LANES, env, annotator);
    return open_loop(text);
}

/* ---- gold, by strings ------------------------------------------------------------------------ */

/* How often `word` stands in a text of words between single spaces. */
static int
times(mete_text text, mete_text word)
{
    int n = 0;
    for (size_t at = 0, end; at < text.length; at = end + 1) {
        for (end = at; end < text.length && text.data[end] != ' ';)
            end++;
        n += mete_text_equal(mete_text_slice(text, at, end), word);
    }
    return n;
}

static int
any_of(mete_text text, const char *const *word, int words)
{
    int n = 0;
    for (int k = 0; k < words; k++)
        n += times(text, mete_text_from(word[k])) > 0;
    return n;
}

static int
words_of(mete_text text)
{
    int n = text.length > 0;
    for (size_t i = 0; i < text.length; i++)
        n += text.data[i] == ' ';
    return n - times(text, mete_text_from("*")) - times(text, mete_text_from("-"));
}

struct vocabulary {
    mete_text word[128];
    size_t words;
};

static void
learn_words(struct vocabulary *all, mete_text spec)
{
    mete_slot slot;
    for (size_t at = 0; mete_slot_next(spec, &at, &slot);) {
        size_t k = 0;
        if (!mete_text_is(slot.name, "tell"))
            continue;
        while (k < all->words && !mete_text_equal(all->word[k], slot.value))
            k++;
        if (k == all->words && k < 128)
            all->word[all->words++] = slot.value;
    }
}

/* With all parts on: 12 topics of 6 words, 5 intents, 2 aspects, 12 attributes. */
static double
gold_by_strings(const struct vocabulary *all, mete_text spec, mete_text response)
{
    static const char *const attribute[] = {"example",     "first",    "summary",    "advice",
                                            "caution",     "source",   "price",      "history",
                                            "alternative", "deadline", "definition", "exception"};
    static const char *const shown[2][3] = {{"dozen", "percent", "hundred"},
                                            {"funny", "joke", "laugh"}};
    double gold = 0, told = 0, wanted = 0, strays = 0;
    mete_slot slot;
    for (size_t k = 0; k < all->words; k++)
        strays += times(response, all->word[k]);
    for (size_t at = 0; mete_slot_next(spec, &at, &slot);) {
        int form = 0;
        if (mete_text_is(slot.name, "tell")) {
            strays -= times(response, slot.value);
            told += times(response, slot.value) > 0;
            wanted++;
        } else if (mete_text_is(slot.name, "intent")) {
            if (mete_text_is(slot.value, "brief"))
                form = words_of(response) >= 1 && words_of(response) <= 6;
            else if (mete_text_is(slot.value, "list"))
                form = times(response, mete_text_from("-")) >= 2;
            else
                form = times(response,
                             mete_text_from(mete_text_is(slot.value, "reason") ? "because"
                                            : mete_text_is(slot.value, "code") ? "return"
                                                                               : "sorry")) > 0;
            gold += .5 * form;
        } else if (!mete_text_is(slot.name, "topic")) {
            int which = mete_text_is(slot.value, "jokes");
            gold += (mete_text_is(slot.name, "wish") ? .5 : -.5) *
                    any_of(response, shown[which], 3) / 3;
        }
    }
    gold += told / wanted - .15 * strays - .02 * fmax(0, words_of(response) - 10);
    return gold + .5 * any_of(response, attribute, 12) / 12;
}

static void
gold_is_counted(void)
{
    struct opened o = open_world("topics = 12; intents = 5; aspects = 2; attributes = 12; "
                                 "stray = 0.6;",
                                 "");
    const mete_batch *b = collect(&o, "reference");
    const mete_column *gold = column(b, "gold", METE_STEP);
    const mete_text *spec = column(b, "spec", METE_EPISODE)->data;
    const float *value = gold->data;
    struct vocabulary all = {.words = 0};
    double least = INFINITY, most = -INFINITY;
    CU_ASSERT_EQUAL(gold->visible, METE_SEE_GOLD);
    for (size_t i = 0; i < b->episodes; i++)
        learn_words(&all, spec[i]);
    CU_ASSERT_EQUAL(all.words, 72); /* no word is of two topics */
    for (size_t i = 0; i < b->episodes; i++) {
        double want = gold_by_strings(&all, spec[i], b->response[i]);
        double got = (double)value[b->step_begin[i + 1] - 1];
        if (fabs(want - got) > 1e-6)
            printf("%.*s\n%.*s\n%g %g\n", (int)spec[i].length, spec[i].data,
                   (int)b->response[i].length, b->response[i].data, want, got);
        CU_ASSERT_DOUBLE_EQUAL_FATAL(got, want, 1e-6);
        least = fmin(least, got);
        most = fmax(most, got);
    }
    CU_ASSERT(least < -.5 && most > 1.3);
    close_loop(&o);
}

static double
mean_coverage(const mete_batch *b)
{
    const float *coverage = column(b, "coverage", METE_STEP)->data;
    double sum = 0;
    for (size_t i = 0; i < b->episodes; i++)
        sum += (double)coverage[b->step_begin[i + 1] - 1];
    return sum / (double)b->episodes;
}

/* Demonstrations tell a wanted word with chance uniform in [0.2, 0.8]: 0.5 in the mean, standard
 * error at most sqrt(0.5 0.5 / 2048) even were a row's words all alike; 4.5 of them: 7e-6. */
static void
named_slots_and_skill(void)
{
    struct opened o = open_world("slots = 3; least = 0.2; most = 0.8;", "");
    const mete_batch *b = collect(&o, "reference");
    const mete_text *spec = column(b, "spec", METE_EPISODE)->data;
    CU_ASSERT_DOUBLE_EQUAL(mean_coverage(b), .5, 4.5 * .5 / sqrt(LANES));
    for (size_t i = 0; i < b->episodes; i++) {
        struct vocabulary named = {.words = 0};
        learn_words(&named, spec[i]);
        CU_ASSERT_EQUAL(named.words, 3);
        for (size_t k = 0; k < named.words; k++)
            CU_ASSERT(mete_text_find(b->prompt[i], named.word[k], 0) < b->prompt[i].length);
    }
    close_loop(&o);
}

/* Correlation of marks with coverage, over demonstrations. */
static double
marks_with_quality(const char *env)
{
    struct opened o = open_world(env, "");
    const mete_batch *b = collect(&o, "reference");
    const float *coverage = column(b, "coverage", METE_STEP)->data;
    const float *style = column(b, "style", METE_STEP)->data;
    const float *said = column(b, "words", METE_STEP)->data;
    double x = 0, y = 0, xx = 0, yy = 0, xy = 0, n = 0;
    for (size_t i = 0; i < b->episodes; i++) {
        size_t end = b->step_begin[i + 1] - 1;
        if (said[end] < 1)
            continue;
        double c = (double)coverage[end], m = (double)(style[end] / said[end]);
        n++, x += c, y += m, xx += c * c, yy += m * m, xy += c * m;
    }
    close_loop(&o);
    return (xy / n - x / n * y / n) / sqrt((xx / n - x / n * x / n) * (yy / n - y / n * y / n));
}

static void
what_goes_with_quality(void)
{
    CU_ASSERT(fabs(marks_with_quality("filler = 0.0; mark = 0.4;")) < 4.5 / sqrt(LANES) + .05);
    CU_ASSERT(marks_with_quality("filler = 0.0; mark = 0.4; mark_goes = 1.0;") > .25);
    CU_ASSERT(marks_with_quality("filler = 0.0; mark = 0.4; mark_goes = -1.0;") < -.25);
}

/* Held-out topics, and the phrases of contexts, are in no training prompt. */
static void
held_out(void)
{
    struct opened o =
        open_world("topics = 4; held_topics = 1; aspects = 1; context = \"prompt\";", "");
    const mete_batch *b = collect(&o, "reference");
    const mete_text *topic = column(b, "topic", METE_EPISODE)->data;
    const mete_text *context = column(b, "context", METE_EPISODE)->data;
    for (size_t i = 0; i < b->episodes; i++) {
        CU_ASSERT(!mete_text_is(topic[i], "sea"));
        CU_ASSERT(!mete_text_is(context[i], "i love plenty of numbers"));
        CU_ASSERT(mete_text_ends(b->prompt[i], context[i]) && context[i].length > 0);
    }
    mete_error err = {0};
    mete_params params = mete__loop_params(o.loop);
    CU_ASSERT_EQUAL(mete__rollout_start(&o.loop->held, &err), METE_OK);
    b = mete__rollout_batch(&o.loop->held, &params, 0, 1, "reference", NULL, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    topic = column(b, "topic", METE_EPISODE)->data;
    context = column(b, "context", METE_EPISODE)->data;
    for (size_t i = 0; i < b->episodes; i++) {
        CU_ASSERT(mete_text_is(topic[i], "sea"));
        CU_ASSERT(mete_text_is(context[i], "i love plenty of numbers") ||
                  mete_text_is(context[i], "i dislike numbers , spare me"));
    }
    close_loop(&o);
}

static void
nobody_but_gold_sees_gold(void)
{
    static const char text[] = "env = { use = \"slotworld\"; }; policy = { use = \"window_lm\"; };"
                               "reward = { use = \"annotator\"; gold = true; of = ( " GOLD " ); };"
                               "stages = ( { iterations = 1; objective = { use = \"rloo\"; }; } );";
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 7, .threads = 1};
    mete__config *config = mete__config_parse("g.cfg", text, strlen(text), NULL, 0, &errors);
    mete__engine *engine = mete__engine_open(config, &options, &errors);
    mete__loop *loop = engine ? mete__loop_new(engine, config, NULL, &errors) : NULL;
    CU_ASSERT(errors.count == 1 && strstr(errors.line[0], "needs the column 'gold'"));
    mete__loop_free(loop);
    mete__engine_close(engine);
    mete__config_free(config);
    mete__errors_free(&errors);
}

/* ---- labels ---------------------------------------------------------------------------------- */

struct labels {
    struct opened o;
    double d[LANES / 2], label[LANES / 2], turned[LANES / 2]; /* of rows 2k and 2k + 1 */
};

static void
label(struct labels *l, const char *annotator)
{
    static uint32_t a[LANES / 2], b[LANES / 2];
    mete_error err = {0};
    l->o = open_world("", annotator);
    mete_node *node = mete__engine_find(l->o.engine, "annotator");
    mete_node *right = mete__engine_find(l->o.engine, "right");
    const mete_batch *batch = collect(&l->o, "reference");
    CU_ASSERT_EQUAL_FATAL(mete__score(l->o.engine, l->o.loop->reward, batch, &err), METE_OK);
    const mete_scores *gold = mete__node_scores(right);
    for (uint32_t k = 0; k < LANES / 2; k++) {
        a[k] = 2 * k;
        b[k] = 2 * k + 1;
        l->d[k] = 4 * (gold->episode[a[k]] - gold->episode[b[k]]);
    }
    CU_ASSERT(mete__compares(node));
    CU_ASSERT_EQUAL(mete__compare(node, batch, a, b, LANES / 2, l->label, &err), METE_OK);
    CU_ASSERT_EQUAL(mete__compare(node, batch, b, a, LANES / 2, l->turned, &err), METE_OK);
    for (size_t k = 0; k < LANES / 2; k++)
        CU_ASSERT_DOUBLE_EQUAL(l->label[k] + l->turned[k], 1, 1e-12);
}

static double
sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Sum of (x - p) over its standard deviation where x are draws of chance p: |z| < 4.5 but for 7e-6
 * of seeds. */
struct z {
    double sum, variance;
};

static void
z_add(struct z *z, double x, double p)
{
    z->sum += x - p;
    z->variance += p * (1 - p);
}

static void
z_check(const struct z *z)
{
    CU_ASSERT(fabs(z->sum) < 4.5 * sqrt(z->variance) + 1e-9);
    if (fabs(z->sum) >= 4.5 * sqrt(z->variance) + 1e-9)
        printf("z = %g\n", z->sum / sqrt(z->variance));
}

/* Bradley and Terry, in three bins of the difference, with and without flips. */
static void
labels_are_bradley_terry(void)
{
    static struct labels l;
    static const double flips[] = {0, .2};
    for (size_t f = 0; f < 2; f++) {
        struct z z[3] = {{0, 0}};
        label(&l, f ? "temperature = 0.5; flip = 0.2;" : "temperature = 0.5;");
        for (size_t k = 0; k < LANES / 2; k++) {
            double p = sigmoid(l.d[k] / .5);
            p = p * (1 - flips[f]) + (1 - p) * flips[f];
            CU_ASSERT(l.label[k] == 0 || l.label[k] == 1);
            z_add(&z[l.d[k] < -.5 ? 0 : l.d[k] < .5 ? 1 : 2], l.label[k], p);
        }
        for (size_t i = 0; i < 3; i++) {
            CU_ASSERT(z[i].variance > 10);
            z_check(&z[i]);
        }
        close_loop(&l.o);
    }
}

/* Rao and Kupper: P(a) = sigma(d - tie), P(b) = sigma(-d - tie), else a tie. */
static void
ties_are_rao_kupper(void)
{
    static struct labels l;
    struct z won = {0, 0}, tied = {0, 0};
    label(&l, "tie = 0.7;");
    for (size_t k = 0; k < LANES / 2; k++) {
        double a = sigmoid(l.d[k] - .7), b = sigmoid(-l.d[k] - .7);
        z_add(&won, l.label[k] == 1, a);
        z_add(&tied, l.label[k] == .5, 1 - a - b);
    }
    z_check(&won);
    z_check(&tied);
    close_loop(&l.o);
}

static void
many_annotators_and_none(void)
{
    static struct labels l;
    struct z z = {0, 0};
    label(&l, "annotators = 9;");
    for (size_t k = 0; k < LANES / 2; k++) {
        CU_ASSERT_DOUBLE_EQUAL(9 * l.label[k], nearbyint(9 * l.label[k]), 1e-9);
        z_add(&z, l.label[k], sigmoid(l.d[k]));
    }
    z.variance /= 9;
    z_check(&z);
    close_loop(&l.o);
    label(&l, "temperature = 0.0;");
    for (size_t k = 0; k < LANES / 2; k++)
        CU_ASSERT_EQUAL(l.label[k], l.d[k] > 1e-9 ? 1 : l.d[k] < -1e-9 ? 0 : .5);
    close_loop(&l.o);
}

/* Levels of the perceived utility between low and high; a prompt's standard shifts all its rows. */
static void
ratings(void)
{
    mete_error err = {0};
    struct opened o = open_world("", "temperature = 0.0; levels = 7; low = -1.0; high = 5.0;");
    mete_node *right = mete__engine_find(o.engine, "right");
    mete_node *node = mete__engine_find(o.engine, "annotator");
    const mete_batch *batch = collect(&o, "reference");
    CU_ASSERT_EQUAL_FATAL(mete__score(o.engine, o.loop->reward, batch, &err), METE_OK);
    const mete_scores *gold = mete__node_scores(right), *scores = mete__node_scores(node);
    const double *rating = mete__node_signal(node, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(rating);
    for (size_t i = 0; i < batch->episodes; i++) {
        CU_ASSERT_DOUBLE_EQUAL(scores->episode[i], 4 * gold->episode[i], 1e-12);
        CU_ASSERT_EQUAL(rating[i], fmax(0, fmin(6, nearbyint(4 * gold->episode[i] + 1))));
    }
    close_loop(&o);
}

void
suite_slotworld(void)
{
    CU_pSuite suite = CU_add_suite("slotworld", NULL, NULL);
    CU_add_test(suite, "gold is counted", gold_is_counted);
    CU_add_test(suite, "named slots and skill", named_slots_and_skill);
    CU_add_test(suite, "what goes with quality", what_goes_with_quality);
    CU_add_test(suite, "held out", held_out);
    CU_add_test(suite, "nobody but gold sees gold", nobody_but_gold_sees_gold);
    CU_add_test(suite, "labels: Bradley and Terry", labels_are_bradley_terry);
    CU_add_test(suite, "labels: ties", ties_are_rao_kupper);
    CU_add_test(suite, "labels: of many, and without noise", many_annotators_and_none);
    CU_add_test(suite, "labels: ratings", ratings);
}
