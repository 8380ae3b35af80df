/* preference_model: its losses against finite differences and closed forms, and what it learns. */
#include "../../plugins/reward/model/preference_model/terms.c"
#include "loops.h"

#include <CUnit/CUnit.h>
#include <mete/random.h>
#include <mete/tokeniser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 9

/* ---- losses ---------------------------------------------------------------------------------- */

static void
slopes_of_losses(void)
{
    static const double chances[] = {1, .5, 0, .8, .3};
    for (int loss = LOSS_BT; loss <= LOSS_RAO_KUPPER; loss++)
        for (int as = MARGIN_SHIFT; as <= MARGIN_SCALE; as++)
            for (size_t k = 0; k < sizeof chances / sizeof *chances; k++)
                for (double d = -3.3; d < 3.5; d += .47) {
                    struct preference_model p = {
                        .loss = loss, .margin_as = as, .focal = 2, .tie = .7};
                    double slope, none, h = 1e-6;
                    pair_loss(&p, d, chances[k], .25, &slope);
                    double up = pair_loss(&p, d + h, chances[k], .25, &none);
                    double down = pair_loss(&p, d - h, chances[k], .25, &none);
                    CU_ASSERT_DOUBLE_EQUAL(slope, (up - down) / (2 * h), 1e-7);
                }
}

/* a is preferred, b is, or they tie: with certainty one of the three. No difference, and the two
 * are alike. */
static void
ties_are_a_distribution(void)
{
    for (int loss = LOSS_DAVIDSON; loss <= LOSS_RAO_KUPPER; loss++)
        for (double d = -4; d <= 4; d += .5) {
            struct preference_model p = {.loss = loss, .tie = .6};
            double none, a = exp(-pair_loss(&p, d, 1, 0, &none)),
                         b = exp(-pair_loss(&p, d, 0, 0, &none)),
                         tie = exp(-pair_loss(&p, d, .5, 0, &none));
            CU_ASSERT_DOUBLE_EQUAL(a + b + tie, 1, 1e-12);
            if (loss == LOSS_DAVIDSON) {
                CU_ASSERT_DOUBLE_EQUAL(tie / sqrt(a * b), .6, 1e-12);
            } else {
                CU_ASSERT_DOUBLE_EQUAL(a, 1 / (1 + exp(.6 - d)), 1e-12);
            }
        }
}

static void
closed_forms(void)
{
    struct preference_model p = {.loss = LOSS_BT};
    double slope;
    CU_ASSERT_DOUBLE_EQUAL(pair_loss(&p, 0, 1, 0, &slope), log(2), 1e-15);
    CU_ASSERT_EQUAL(slope, -.5);
    CU_ASSERT_DOUBLE_EQUAL(pair_loss(&p, 900, 0, 0, &slope), 900, 1e-9);
    CU_ASSERT_EQUAL(pair_loss(&p, 2, 1, 2, &slope), log(2)); /* the margin is taken off */
    p.loss = LOSS_FOCAL;
    p.focal = 2;
    double s = 1 / (1 + exp(-1.));
    CU_ASSERT_DOUBLE_EQUAL(pair_loss(&p, 1, 1, 0, &slope), -4 * (1 - s) * (1 - s) * log(s), 1e-12);
    /* a share q of wins at distance 1 is explained by an inverse temperature of logit(q) */
    const double d[] = {1, -1, 1, 1}, chance[] = {1, 1, .75, .75};
    CU_ASSERT_DOUBLE_EQUAL(calibrate(d, chance, 4), log(2.5 / 1.5), 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(calibrate(d, (double[]){1, 0, 1, 1}, 4), 100, 1e-6);
}

/* ---- penalties ------------------------------------------------------------------------------- */

static double
sd_of(const double *x)
{
    double mean, sd;
    moments(x, N, &mean, &sd);
    return sd;
}

static void
slopes_of_penalties(void)
{
    static const double z[N] = {3, 1, 4, 1, 5, 9, 2, 6, 5};
    double x[N] = {.3, -.2, .9, 1.4, -.6, .1, .25, -1, .7}, h = 1e-6, none[N];
    uint32_t rank[N];
    for (int kind = 0; kind < 3; kind++) {
        double slope[N] = {0}, width = .8 * sd_of(x);
        if (kind < 2)
            correlation_term(x, z, N, kind, 1.5, slope);
        else
            mmd_term(x, z, N, 3, .8, 1.5, rank, slope);
        for (int i = 0; i < N; i++) {
            double value[2], at = x[i];
            for (int side = 0; side < 2; side++) {
                x[i] = at + (side ? -h : h);
                /* the kernel's width is held fixed */
                value[side] = kind < 2 ? correlation_term(x, z, N, kind, 0, none)
                                       : mmd_term(x, z, N, 3, width / sd_of(x), 0, rank, none);
            }
            x[i] = at;
            CU_ASSERT_DOUBLE_EQUAL(slope[i], 1.5 * (value[0] - value[1]) / (2 * h), 1e-6);
        }
    }
    CU_ASSERT_DOUBLE_EQUAL(correlation_term(z, z, N, 1, 0, none), 1, 1e-12);
}

static void
slopes_of_classes(void)
{
    double out[3] = {.4, -1.2, .9}, h = 1e-6, none[3];
    for (size_t is = 0; is < 3; is++) {
        double slope[3] = {0};
        double value = class_term(out, 3, is, 1.5, slope);
        double sum = exp(.4) + exp(-1.2) + exp(.9);
        CU_ASSERT_DOUBLE_EQUAL(value, 1.5 * (log(sum) - out[is]), 1e-12);
        for (int k = 0; k < 3; k++) {
            double at = out[k];
            out[k] = at + h;
            double up = class_term(out, 3, is, 1.5, none);
            out[k] = at - h;
            double down = class_term(out, 3, is, 1.5, none);
            out[k] = at;
            CU_ASSERT_DOUBLE_EQUAL(slope[k], (up - down) / (2 * h), 1e-7);
        }
    }
}

/* Two bins by hand: mean k(a, a') + mean k(b, b') - 2 mean k(a, b). */
static void
mmd_by_hand(void)
{
    const double x[] = {0, 1, 3}, z[] = {1, 1, 2};
    double none[3] = {0}, mean, sd;
    uint32_t rank[3];
    moments(x, 3, &mean, &sd);
    double k1 = exp(-.5 / (sd * sd)), k2 = exp(-2 / (sd * sd)), k3 = exp(-4.5 / (sd * sd));
    CU_ASSERT_DOUBLE_EQUAL(mmd_term(x, z, 3, 2, 1, 0, rank, none), (2 + 2 * k1) / 4 + 1 - (k3 + k2),
                           1e-12);
    /* alike in both bins: nothing */
    CU_ASSERT_DOUBLE_EQUAL(mmd_term((const double[]){1, 2, 1, 2}, (const double[]){1, 1, 2, 2}, 4,
                                    2, 1, 0, (uint32_t[4]){0}, (double[4]){0}),
                           0, 1e-12);
}

/* ---- what it learns -------------------------------------------------------------------------- */

static FILE *
pairs_file(void)
{
    FILE *file = fopen("preference_pairs.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    return file;
}

/* Each side has words of no worth and one of ten of worth 0..9; who wins is drawn by their
 * difference: the planted value is `slope` a number. */
static void
write_planted(size_t pairs, double slope, bool longer_wins)
{
    mete_rng rng = mete_rng_make(5, 1, 2);
    FILE *file = pairs_file();
    for (size_t k = 0; k < pairs; k++) {
        int worth[2] = {(int)(mete_rng_uniform(&rng) * 10), (int)(mete_rng_uniform(&rng) * 10)};
        double p = 1 / (1 + exp(-slope * (worth[0] - worth[1])));
        int first = mete_rng_uniform(&rng) < p ? 0 : 1;
        fprintf(file, "{");
        for (int side = 0; side < 2; side++) {
            int which = side ? !first : first;
            int words = 3 + (int)(mete_rng_uniform(&rng) * 6) + (longer_wins && !side ? 4 : 0);
            fprintf(file, "%s\"%s\":\"worth%d", side ? "," : "", side ? "rejected" : "chosen",
                    worth[which]);
            for (int w = 0; w < words; w++)
                fprintf(file, " f%d", (int)(mete_rng_uniform(&rng) * 20));
            fprintf(file, "\"");
        }
        fprintf(file, "}\n");
    }
    fclose(file);
}

static const char *
config(const char *options, const char *stage)
{
    static char text[1000];
    snprintf(text, sizeof text,
             "run = { seed = 7; }; reward = { name = \"rm\"; use = \"preference_model\"; "
             "words = 1; buckets = 1024; %s };"
             "stages = ( { do = \"fit\"; node = \"rm\"; data = \"preference_pairs.jsonl\"; %s } );",
             options, stage);
    return text;
}

/* Values of texts by the fitted model, where a column (NULL: none) says `said` of each. */
static void
values_where(struct opened *o, const char *column, const char *said, const char *const *text,
             size_t n, double *value, double *spread)
{
    mete_error err = {0};
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    int at = column ? mete__builder_column(builder, column, METE_EPISODE, METE_TEXT, METE_EPISODE,
                                           METE_SEE_REWARD)
                    : 0;
    for (size_t i = 0; i < n; i++) {
        CU_ASSERT_EQUAL(
            mete__builder_row(builder, &(mete__row){.id = i + 1,
                                                    .starts = true,
                                                    .terminated = true,
                                                    .prompt = mete_text_from("p"),
                                                    .response = mete_text_from(text[i])}),
            METE_OK);
        if (column)
            mete__builder_text(builder, at, mete_text_from(said), METE_TEXT);
    }
    const mete_batch *batch = mete__builder_batch(builder, &err);
    mete_node *node = mete__engine_find(o->engine, "rm");
    CU_ASSERT_EQUAL_FATAL(mete__score(o->engine, node, batch, &err), METE_OK);
    for (size_t i = 0; i < n; i++) {
        value[i] = mete__node_scores(node)->episode[i];
        if (spread)
            spread[i] = mete__node_scores(node)->spread[i];
    }
    mete__engine_reset(o->engine);
    mete__builder_free(builder);
}

static void
values(struct opened *o, const char *const *text, size_t n, double *value, double *spread)
{
    values_where(o, NULL, NULL, text, n, value, spread);
}

/* The planted worth comes back: in order, and by its slope within 15%. */
static void
planted_worth_comes_back(void)
{
    const char *const text[] = {"worth1", "worth5", "worth9", ""};
    double v[4];
    write_planted(4000, .5, false);
    for (int hidden = 0; hidden < 2; hidden++) {
        struct opened o =
            open_loop(config(hidden ? "hidden = 8; length_power = 0.0; " : "length_power = 0.0; ",
                             "epochs = 15; minibatch = 50;"));
        finish(&o);
        values(&o, text, 4, v, NULL);
        CU_ASSERT(v[0] < v[1] && v[1] < v[2]);
        if (!hidden) {
            CU_ASSERT_DOUBLE_EQUAL(v[2] - v[0], .5 * 8, .6);
            CU_ASSERT_EQUAL(v[3], 0);
        }
        close_loop(&o);
    }
    remove("preference_pairs.jsonl");
}

/* The longer side always wins: a plain model buys length, one whose value may not correlate with it
 * does not, and the other head of two takes it. */
static void
length_is_not_bought(void)
{
#define LENGTH "spurious = ( { use = \"length\"; shape = \"linear\"; target = 1.0; } ); "
    static const char *const options[] = {
        "length_power = 0.0; ", "length_power = 0.0; correlation = 3.0; " LENGTH,
        "length_power = 0.0; mmd = 3.0; " LENGTH,
        "length_power = 0.0; aside = true; correlation = 1.0; " LENGTH};
    const char *const text[] = {"f1 f2", "f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11", "worth1", "worth9"};
    double v[4], bought[4];
    write_planted(1500, .5, true);
    for (int k = 0; k < 4; k++) {
        struct opened o = open_loop(config(options[k], "epochs = 8; minibatch = 50;"));
        finish(&o);
        values(&o, text, 4, v, NULL);
        bought[k] = (v[1] - v[0]) / (v[3] - v[2]); /* in units of worth */
        CU_ASSERT(v[3] > v[2]);
        close_loop(&o);
    }
    CU_ASSERT(bought[0] > .5);
    for (int k = 1; k < 4; k++)
        CU_ASSERT(fabs(bought[k]) < .4 * bought[0]);
    remove("preference_pairs.jsonl");
}

/* ---- what a value depends on beside the response --------------------------------------------- */

/* A column `side` turns the order of worths round: "more" of them is better, or "less". Where
 * `tells`, responses have a word that gives it away. */
static void
write_turned(size_t pairs, bool tells)
{
    mete_rng rng = mete_rng_make(6, 1, 2);
    FILE *file = pairs_file();
    for (size_t k = 0; k < pairs; k++) {
        int less = mete_rng_uniform(&rng) < .5, worth[2];
        worth[0] = (int)(mete_rng_uniform(&rng) * 10);
        worth[1] = (worth[0] + 1 + (int)(mete_rng_uniform(&rng) * 9)) % 10;
        int high = worth[0] > worth[1] ? worth[0] : worth[1], low = worth[0] + worth[1] - high;
        fprintf(file, "{\"side\":\"%s\",\"chosen\":\"worth%d %s\",\"rejected\":\"worth%d %s\"}\n",
                less ? "less" : "more", less ? low : high, tells ? (less ? "bb" : "aa") : "f",
                less ? high : low, tells ? (less ? "bb" : "aa") : "f");
    }
    fclose(file);
}

/* What turns the order round is known by a head of its own, or crossed with the words, and not by
 * itself alone. */
static void
values_depend_on_a_column(void)
{
    static const char *const options[] = {"joined = [ \"side\" ]; ", "crossed = [ \"side\" ]; ",
                                          "heads = [ \"more\", \"less\" ]; tag = \"side\"; "};
    const char *const text[] = {"worth1 f", "worth8 f"};
    double more[2], less[2];
    write_turned(1000, false);
    for (int k = 0; k < 3; k++) {
        struct opened o = open_loop(config(options[k], "epochs = 5; minibatch = 50;"));
        finish(&o);
        values_where(&o, "side", "more", text, 2, more, NULL);
        values_where(&o, "side", "less", text, 2, less, NULL);
        double by_more = more[1] - more[0], by_less = less[1] - less[0];
        CU_ASSERT(k == 0 || (by_more > 1 && by_less < -1));
        /* added to the response's features it cancels out of every difference */
        CU_ASSERT(k > 0 || fabs(by_more - by_less) < 1e-4);
        close_loop(&o);
    }
    remove("preference_pairs.jsonl");
}

/* Hidden units that must know which side a text is of to order it, and that an adversary looks at,
 * forget it: its loss nears that of a coin. Looked at without effect they keep it. */
static void
hidden_units_forget(void)
{
    static const char *const weight[] = {"adversary = 1e-9; ", "adversary = 1.0; "};
    double loss[2];
    write_turned(1500, true);
    for (int k = 0; k < 2; k++) {
        char options[200];
        snprintf(options, sizeof options,
                 "attribute = \"side\"; classes = [ \"more\", \"less\" ]; hidden = 8; "
                 "patience = 0; length_power = 0.0; %s",
                 weight[k]);
        struct opened o = open_loop(config(options, "epochs = 15; minibatch = 50;"));
        finish(&o);
        loss[k] = mete__metrics_get(&o.loop->metrics, "reward/adversary_loss");
        close_loop(&o);
    }
    CU_ASSERT(loss[0] < .1);
    CU_ASSERT(loss[1] > .4); /* of log 2 = .69 */
    remove("preference_pairs.jsonl");
}

/* Interrupted anywhere, a fit ends with the same bits; so does one on another number of threads of
 * its engine, as nothing in it is asked of them. */
static void
resumes_with_the_same_bits(void)
{
    static const char *const options = "members = 3; hidden = 4; combine = \"lower\"; ";
    static const char *const stage = "epochs = 3; minibatch = 40;";
    const char *const text[] = {"worth1 f3", "worth8", "f2"};
    double whole[3], cut[3], spread[3];
    mete_error err = {0};
    write_planted(200, 1, false);
    struct opened a = open_loop(config(options, stage));
    finish(&a);
    values(&a, text, 3, whole, spread);
    CU_ASSERT(spread[0] > 0);
    for (uint64_t at = 1; at < 15; at += 6) {
        struct opened first = open_loop(config(options, stage));
        struct opened second = open_loop(config(options, stage));
        mete__checkpoint *checkpoint = mete__checkpoint_new();
        while (mete__loop_done(first.loop) < at)
            CU_ASSERT_EQUAL_FATAL(mete__loop_step(first.loop, &err), METE_OK);
        CU_ASSERT_EQUAL_FATAL(mete__loop_save(first.loop, checkpoint, &err), METE_OK);
        CU_ASSERT_EQUAL_FATAL(mete__loop_load(second.loop, checkpoint, &err), METE_OK);
        finish(&second);
        values(&second, text, 3, cut, NULL);
        CU_ASSERT_EQUAL(memcmp(cut, whole, sizeof cut), 0);
        mete__checkpoint_free(checkpoint);
        close_loop(&first);
        close_loop(&second);
    }
    close_loop(&a);
    remove("preference_pairs.jsonl");
}

/* Nothing is learnt from equal texts or from labels that contradict each other. */
static void
nothing_to_learn(void)
{
    const char *const text[] = {"same", "other"};
    double v[2];
    FILE *file = pairs_file();
    for (int k = 0; k < 40; k++)
        fprintf(file, "{\"chosen\":\"%s\",\"rejected\":\"%s\"}\n", k % 4 == 3 ? "other" : "same",
                k % 4 == 1 ? "other" : "same");
    fclose(file);
    struct opened o = open_loop(config("", "epochs = 2; minibatch = 40; validation = 0.0;"));
    finish(&o);
    values(&o, text, 2, v, NULL);
    CU_ASSERT(fabs(v[0]) < 1e-3 && fabs(v[1]) < 1e-3);
    close_loop(&o);
    remove("preference_pairs.jsonl");
}

static void
bad_options(void)
{
    static const char *const wrong[][2] = {{"buckets = 1000;", "power of two"},
                                           {"words = 0;", "nothing to see"},
                                           {"chars_from = 4; chars_to = 2;", "exceeds"},
                                           {"mmd = 1.0;", "need spurious"},
                                           {"head = \"x\";", "need a trunk"},
                                           {"orthogonal = 1.0;", "needs aside"},
                                           {"adversary = 1.0; hidden = 4;", "and classes"},
                                           {"heads = [ \"a\" ]; aside = true; spurious = ( { use = "
                                            "\"length\"; } );",
                                            "do not go together"}};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        char text[300];
        mete__errors errors = {0};
        mete__engine_options options = {.seed = 1, .threads = 1};
        snprintf(text, sizeof text, "reward = { use = \"preference_model\"; %s };", wrong[k][0]);
        mete__config *parsed = mete__config_parse("l.cfg", text, strlen(text), NULL, 0, &errors);
        CU_ASSERT_PTR_NULL(mete__engine_open(parsed, &options, &errors));
        CU_ASSERT(errors.count == 1 && strstr(errors.line[0], wrong[k][1]));
        mete__config_free(parsed);
        mete__errors_free(&errors);
    }
}

/* ---- a language model as trunk --------------------------------------------------------------- */

static void
write_words(const char *path, const char *text, mete_token_kind kind)
{
    static const char *const special[] = {"<|endoftext|>", "<|unknown|>"};
    static const char *const bytes[] = {"<|endoftext|>", "<|1|>", "<|2|>", "<|3|>"};
    const mete_token_plan plan = {.size = sizeof plan,
                                  .vocabulary = 100,
                                  .split = METE_SPLIT_GPT2,
                                  .special = special,
                                  .specials = 2,
                                  .kind = kind,
                                  .unknown = 1};
    mete_text all = mete_text_from(text);
    mete_buffer json = mete_buffer_make(0);
    mete_tokeniser *t = kind == METE_TOKENS_WORDS ? mete_tokeniser_train(&all, 1, &plan, NULL)
                                                  : mete_tokeniser_bytes(bytes, 4, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    CU_ASSERT_EQUAL_FATAL(mete_tokeniser_write(t, &json), METE_OK);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fwrite(json.data, 1, json.length, file);
    fclose(file);
    mete_buffer_free(&json);
    mete_tokeniser_free(t);
}

/* A published model with a score in place of a head gives the reference implementation's scores
 * (tests/data/transformer/qwen2_score). */
static void
published_scores(void)
{
    char text[2000];
    mete_error err = {0};
    static const char *const said[][2] = {
        {"which?", "this one"}, {"which?", "that"}, {"", "a longer answer, to nothing"}};
    static const double want[] = {2.5734806, 1.4124117, 0.9473016};
    write_words("preference_words.json", "", METE_TOKENS_BPE);
    snprintf(text, sizeof text,
             "models = { base = { use = \"transformer\"; load = \"%s/tests/data/transformer/"
             "qwen2_score\"; tokeniser = \"preference_words.json\"; max_tokens = 30; }; };"
             "reward = { name = \"rm\"; use = \"preference_model\"; trunk = \"base\"; "
             "head = \"%s/tests/data/transformer/qwen2_score\"; };"
             "stages = ( { do = \"fit\"; node = \"rm\"; data = \"preference_pairs.jsonl\"; } );",
             getenv("METE_SRCDIR"), getenv("METE_SRCDIR"));
    write_planted(4, .5, false);
    struct opened o = open_loop(text);
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    for (size_t i = 0; i < 3; i++)
        mete__builder_row(builder, &(mete__row){.id = i + 1,
                                                .starts = true,
                                                .terminated = true,
                                                .prompt = mete_text_from(said[i][0]),
                                                .response = mete_text_from(said[i][1])});
    mete_node *node = mete__engine_find(o.engine, "rm");
    CU_ASSERT_EQUAL_FATAL(mete__score(o.engine, node, mete__builder_batch(builder, &err), &err),
                          METE_OK);
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_DOUBLE_EQUAL(mete__node_scores(node)->episode[i], want[i], 1e-4);
    mete__engine_reset(o.engine);
    mete__builder_free(builder);
    close_loop(&o);
    remove("preference_words.json");
    remove("preference_pairs.jsonl");
}

/* A small trunk that starts as noise learns the planted worth, and one that stays noise less of
 * it. */
static void
trunk_learns(void)
{
    static const char *const rate[] = {"", "trunk_rate = 0.02;"};
    const char *const text[] = {"worth1 f1 f2", "worth5 f1 f2", "worth9 f1 f2"};
    char words[400] = "", all[1000];
    double v[2][3];
    for (int k = 0; k < 20; k++)
        snprintf(words + strlen(words), sizeof words - strlen(words), "f%d worth%d ", k, k / 2);
    snprintf(all, sizeof all, "%s%s", words,
             words); /* a worth begins a text, and follows a space */
    for (int k = 0; k < 10; k++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "\nworth%d", k);
    write_words("preference_words.json", all, METE_TOKENS_WORDS);
    write_planted(1200, .5, false);
    for (int k = 0; k < 2; k++) {
        char config[1000];
        snprintf(config, sizeof config,
                 "run = { seed = 7; }; models = { base = { use = \"transformer\"; tokeniser = "
                 "\"preference_words.json\"; layers = 1; width = 16; heads = 2; context = 64; "
                 "max_tokens = 30; }; }; reward = { name = \"rm\"; use = \"preference_model\"; "
                 "trunk = \"base\"; calibrate = false; %s };"
                 "stages = ( { do = \"fit\"; node = \"rm\"; data = \"preference_pairs.jsonl\"; "
                 "epochs = 5; minibatch = 50; } );",
                 rate[k]);
        struct opened o = open_loop(config);
        finish(&o);
        values(&o, text, 3, v[k], NULL);
        close_loop(&o);
    }
    CU_ASSERT(v[1][0] < v[1][1] && v[1][1] < v[1][2]);
    CU_ASSERT(v[1][2] - v[1][0] > 2); /* 4 was planted */
    CU_ASSERT(fabs(v[1][2] - v[1][0] - 4) < fabs(v[0][2] - v[0][0] - 4));
    remove("preference_words.json");
    remove("preference_pairs.jsonl");
}

/* A trunk that stays as it is gives the same bits whether its states are kept or read anew. */
static void
kept_states_change_nothing(void)
{
    static const int kept[] = {0, 16};
    const char *const text[] = {"worth1 f1 f2", "worth5 f1 f2", "worth9 f1 f2"};
    double v[2][3];
    write_words("preference_words.json", "", METE_TOKENS_BPE);
    write_planted(60, .5, false);
    for (int k = 0; k < 2; k++) {
        char config[1000];
        snprintf(config, sizeof config,
                 "run = { seed = 7; }; models = { base = { use = \"transformer\"; tokeniser = "
                 "\"preference_words.json\"; layers = 1; width = 16; heads = 2; context = 128; "
                 "max_tokens = 30; }; }; reward = { name = \"rm\"; use = \"preference_model\"; "
                 "trunk = \"base\"; trunk_cache = %d; };"
                 "stages = ( { do = \"fit\"; node = \"rm\"; data = \"preference_pairs.jsonl\"; "
                 "epochs = 3; minibatch = 20; } );",
                 kept[k]);
        struct opened o = open_loop(config);
        finish(&o);
        values(&o, text, 3, v[k], NULL);
        close_loop(&o);
    }
    CU_ASSERT(v[0][0] != v[0][1]);
    CU_ASSERT_EQUAL(memcmp(v[0], v[1], sizeof v[0]), 0);
    remove("preference_words.json");
    remove("preference_pairs.jsonl");
}

void
suite_preference(void)
{
    CU_pSuite suite = CU_add_suite("preference", NULL, NULL);
    CU_add_test(suite, "slopes of losses", slopes_of_losses);
    CU_add_test(suite, "ties are a distribution", ties_are_a_distribution);
    CU_add_test(suite, "closed forms", closed_forms);
    CU_add_test(suite, "slopes of penalties", slopes_of_penalties);
    CU_add_test(suite, "slopes of classes", slopes_of_classes);
    CU_add_test(suite, "mmd by hand", mmd_by_hand);
    CU_add_test(suite, "planted worth comes back", planted_worth_comes_back);
    CU_add_test(suite, "length is not bought", length_is_not_bought);
    CU_add_test(suite, "values depend on a column", values_depend_on_a_column);
    CU_add_test(suite, "hidden units forget", hidden_units_forget);
    CU_add_test(suite, "kept states change nothing", kept_states_change_nothing);
    CU_add_test(suite, "published scores", published_scores);
    CU_add_test(suite, "a trunk learns", trunk_learns);
    CU_add_test(suite, "a fit resumes with the same bits", resumes_with_the_same_bits);
    CU_add_test(suite, "nothing to learn", nothing_to_learn);
    CU_add_test(suite, "bad options", bad_options);
}
