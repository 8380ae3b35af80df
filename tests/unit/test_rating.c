/* rating_model: its losses against finite differences and closed forms, and what it learns. */
#include "../../plugins/reward/model/rating_model/terms.c"
#include "loops.h"

#include <CUnit/CUnit.h>
#include <mete/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 5

static const double out[LEVELS] = {.3, -1.2, .8, 2.1, -.4}, offset[LEVELS] = {.5, .1, -.7, -1, .2};

static void
slopes_of_ratings(void)
{
    for (int kind = KIND_REGRESSION; kind <= KIND_ORDINAL; kind++)
        for (double share = 0; share <= 1; share += .09) {
            size_t outs = kind == KIND_DISTRIBUTION ? LEVELS : 1;
            size_t offsets = kind == KIND_ORDINAL ? LEVELS - 1 : outs;
            double by[LEVELS], by_offset[LEVELS], none[LEVELS], h = 1e-6;
            rating_loss(kind, LEVELS, out, offset, share, by, by_offset);
            for (size_t k = 0; k < outs + offsets; k++) {
                double value[2];
                for (int side = 0; side < 2; side++) {
                    double x[2 * LEVELS];
                    memcpy(x, out, sizeof out);
                    memcpy(x + LEVELS, offset, sizeof offset);
                    x[k < outs ? k : LEVELS + k - outs] += side ? -h : h;
                    value[side] = rating_loss(kind, LEVELS, x, x + LEVELS, share, none, none);
                }
                CU_ASSERT_DOUBLE_EQUAL(k < outs ? by[k] : by_offset[k - outs],
                                       (value[0] - value[1]) / (2 * h), 1e-7);
            }
        }
}

static void
closed_forms_of_ratings(void)
{
    double by[LEVELS], by_offset[LEVELS], variance;
    static const double zero[LEVELS];
    /* two ordered levels are logistic regression */
    CU_ASSERT_DOUBLE_EQUAL(rating_loss(KIND_ORDINAL, 2, out, zero, 1, by, by_offset),
                           log(1 + exp(-out[0])), 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(rating_mean(KIND_ORDINAL, 2, out, zero, &variance),
                           1 / (1 + exp(-out[0])), 1e-12);
    /* equal shares: the middle, and the variance of 0, 1/4 ... 1 */
    CU_ASSERT_DOUBLE_EQUAL(rating_mean(KIND_DISTRIBUTION, LEVELS, zero, zero, &variance), .5,
                           1e-12);
    CU_ASSERT_DOUBLE_EQUAL(variance, .125, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(rating_loss(KIND_DISTRIBUTION, LEVELS, zero, zero, .3, by, by_offset),
                           log(5), 1e-12);
    /* a rating between levels is a mixture with it as its mean: .3 = (.8 x 1 + .2 x 2) / 4 */
    CU_ASSERT_DOUBLE_EQUAL(by[1], .2 - .8, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(by[2], .2 - .2, 1e-12);
    /* shares that are far apart do not overflow */
    static const double far[LEVELS] = {-900, 0, 900, 0, 0};
    CU_ASSERT_DOUBLE_EQUAL(rating_mean(KIND_DISTRIBUTION, LEVELS, far, zero, &variance), .5, 1e-12);
    CU_ASSERT(isfinite(rating_loss(KIND_ORDINAL, LEVELS, far, zero, 1, by, by_offset)));
}

/* ---- what it learns -------------------------------------------------------------------------- */

/* A word of worth 0..9 among others; rated 1 + .4 worth, and noise of sd .3. */
static void
write_rated(size_t texts)
{
    mete_rng rng = mete_rng_make(6, 1, 2);
    FILE *file = fopen("rated.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (size_t k = 0; k < texts; k++) {
        int worth = (int)(mete_rng_uniform(&rng) * 10);
        double rating = 1 + .4 * worth + .3 * mete_rng_normal(&rng);
        fprintf(file, "{\"response\":\"worth%d", worth);
        for (int w = 0; w < 4; w++)
            fprintf(file, " f%d", (int)(mete_rng_uniform(&rng) * 20));
        fprintf(file, "\",\"rating\":%.3f}\n", fmin(5, fmax(1, rating)));
    }
    fclose(file);
}

static void
fit_and_rate(const char *options, const char *const *text, size_t n, double *value, double *spread)
{
    char config[1000];
    mete_error err = {0};
    snprintf(config, sizeof config,
             "run = { seed = 7; }; reward = { name = \"rm\"; use = \"rating_model\"; words = 1; "
             "buckets = 1024; length_power = 0.0; %s };"
             "stages = ( { do = \"fit\"; node = \"rm\"; data = \"rated.jsonl\"; epochs = 25; "
             "minibatch = 50; } );",
             options);
    struct opened o = open_loop(config);
    finish(&o);
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    for (size_t i = 0; i < n; i++)
        mete__builder_row(builder, &(mete__row){.id = i + 1,
                                                .starts = true,
                                                .terminated = true,
                                                .response = mete_text_from(text[i])});
    mete_node *node = mete__engine_find(o.engine, "rm");
    CU_ASSERT_EQUAL_FATAL(mete__score(o.engine, node, mete__builder_batch(builder, &err), &err),
                          METE_OK);
    memcpy(value, mete__node_scores(node)->episode, n * sizeof *value);
    if (spread)
        memcpy(spread, mete__node_scores(node)->spread, n * sizeof *spread);
    mete__engine_reset(o.engine);
    mete__builder_free(builder);
    close_loop(&o);
}

/* The planted ratings come back within .25, and a distribution knows the noise. */
static void
planted_ratings_come_back(void)
{
    static const char *const options[] = {
        "low = 1.0; high = 5.0;", "low = 1.0; high = 5.0; kind = \"distribution\"; levels = 9;",
        "low = 1.0; high = 5.0; kind = \"ordinal\"; levels = 9;",
        "low = 1.0; high = 5.0; members = 3;", "low = 1.0; high = 5.0; hidden = 4;"};
    const char *const text[] = {"worth2 f1 f2 f3 f4", "worth5 f1 f2 f3 f4", "worth8 f1 f2 f3 f4"};
    double v[3], sd[3];
    write_rated(2000);
    for (int k = 0; k < 5; k++) {
        fit_and_rate(options[k], text, 3, v, k == 1 || k == 3 ? sd : NULL);
        CU_ASSERT_DOUBLE_EQUAL(v[0], 1.8, .25);
        CU_ASSERT_DOUBLE_EQUAL(v[1], 3, .25);
        CU_ASSERT_DOUBLE_EQUAL(v[2], 4.2, .25);
        if (k == 1) /* .3, and what the levels, .5 apart, add */
            CU_ASSERT(sd[1] > .25 && sd[1] < .7);
        if (k == 3)
            CU_ASSERT(sd[1] > 0 && sd[1] < .2);
    }
    remove("rated.jsonl");
}

/* A reward is learnt from its values alone. */
static void
teacher_is_distilled(void)
{
    const char *const text[] = {"worth9 f1 f2 f3 f4", "worth4 f1 f2 f3 f4"};
    double v[2];
    write_rated(1000);
    fit_and_rate("teacher = { use = \"regex\"; pattern = \"worth9\"; };", text, 2, v, NULL);
    CU_ASSERT_DOUBLE_EQUAL(v[0], 1, .2);
    CU_ASSERT_DOUBLE_EQUAL(v[1], 0, .2);
    remove("rated.jsonl");
}

static void
bad_ratings(void)
{
    static const char *const wrong[][2] = {{"high = -1.0;", "must exceed low"},
                                           {"words = 0;", "nothing to see"},
                                           {"head = \"x\";", "no rating"}};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        char text[300];
        mete__errors errors = {0};
        mete__engine_options options = {.seed = 1, .threads = 1};
        snprintf(text, sizeof text, "reward = { use = \"rating_model\"; %s };", wrong[k][0]);
        mete__config *parsed = mete__config_parse("l.cfg", text, strlen(text), NULL, 0, &errors);
        CU_ASSERT_PTR_NULL(mete__engine_open(parsed, &options, &errors));
        CU_ASSERT(errors.count == 1 && strstr(errors.line[0], wrong[k][1]));
        mete__config_free(parsed);
        mete__errors_free(&errors);
    }
}

void
suite_rating(void)
{
    CU_pSuite suite = CU_add_suite("rating", NULL, NULL);
    CU_add_test(suite, "slopes of ratings", slopes_of_ratings);
    CU_add_test(suite, "closed forms of ratings", closed_forms_of_ratings);
    CU_add_test(suite, "planted ratings come back", planted_ratings_come_back);
    CU_add_test(suite, "a teacher is distilled", teacher_is_distilled);
    CU_add_test(suite, "bad ratings", bad_ratings);
}
