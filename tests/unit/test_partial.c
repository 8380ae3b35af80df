/* How each combinator says its value answers to its children's, against finite differences. */
#include "scoring.h"

#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 7
#define STEPS 3

/* Children a and b are columns, s a value per step. */
#define A                                                                                          \
    "{ name = \"a\"; use = \"expr\"; value = \"x\"; fields = ( { name = \"x\"; } ); weight = "     \
    "1.5; }"
#define B                                                                                          \
    "{ name = \"b\"; use = \"expr\"; value = \"y\"; fields = ( { name = \"y\"; } ); weight = "     \
    "-0.5; }"
#define AGAIN "{ name = \"again\"; use = \"expr\"; value = \"x\"; fields = ( { name = \"x\"; } ); }"
#define S                                                                                          \
    "{ name = \"s\"; use = \"expr\"; value = \"z\"; weight = 2.0;"                                 \
    " fields = ( { name = \"z\"; level = \"step\"; } ); }"

/* Every combinator has a row; `of` NULL: it has no `partial`, for what is given is no function of
 * the row's own children. */
static const struct {
    const char *plugin, *options, *of;
    int refuses;
} combinators[] = {
    {"sum", "", A ", " B, 0},
    {"sum", "", A ", " S, 0},
    {"product", "", A ", " B, 0},
    {"product", "", A ", " S ", " B, 0},
    {"min", "", A ", " B, 0},
    {"max", "", B ", " A, 0},
    {"clip", "lo = -0.6; hi = 0.7;", A, 0},
    {"clip", "lo = -0.6; hi = 0.7; smooth = true;", B, 0},
    {"clip", "lo = -0.6; hi = 0.7; smooth = true;", S, 0},
    {"gate", "threshold = 0.1; otherwise = 3.0;", A ", " B ", " AGAIN, 0},
    {"normalize", "", A, 0},
    {"normalize", "", S, 0},
    {"normalize", "bound = 0.8; centre = false;", A, 0},
    {"normalize", "mode = \"min_max\";", A, 0},
    {"normalize", "mode = \"batch\";", A, 1},
    {"normalize", "mode = \"group\";", A, 1},
    {"contrastive", NULL, NULL, 0},  /* its baselines are the child's, too */
    {"redistribute", NULL, NULL, 0}, /* of what the child gives to parts of the response */
    {"segments", NULL, NULL, 0},
    {"critic_spans", NULL, NULL, 0},
    {"lua", NULL, NULL, 0}, /* of a program, any function */
    {"expr", NULL, NULL, 0},
    {"annotator", NULL, NULL, 0}, /* gold, and so in no share */
    {"slopes", NULL, NULL, 0},    /* the tests' own */
};
#define COMBINATORS (sizeof combinators / sizeof *combinators)

enum { X, Y, Z };

static mete__builder *
new_builder(void)
{
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true, .observation_size = 1});
    mete__builder_column(builder, "x", METE_EPISODE, METE_TEXT, 0, METE_SEE_REWARD);
    mete__builder_column(builder, "y", METE_EPISODE, METE_TEXT, 0, METE_SEE_REWARD);
    mete__builder_column(builder, "z", METE_STEP, METE_F32, 0, METE_SEE_REWARD);
    return builder;
}

/* A batch in which `moved` (of x, y and z) stands `by` beside where it was. */
static const mete_batch *
fill(mete__builder *builder, char moved, double by)
{
    mete_error err = {0};
    static const float observation[STEPS] = {0};
    static const int32_t action[STEPS] = {0};
    mete__builder_reset(builder);
    for (size_t i = 0; i < ROWS; i++) {
        char number[50];
        float step[STEPS];
        mete__builder_row(builder, &(mete__row){.id = i,
                                                .prompt_id = 1,
                                                .joins = i > 0,
                                                .starts = true,
                                                .terminated = true,
                                                .prompt = mete_text_from("p"),
                                                .response = mete_text_from("abc")});
        snprintf(number, sizeof number, "%.17g", sin(1. + (double)i) + (moved == 'x' ? by : 0));
        mete__builder_text(builder, X, mete_text_from(number), METE_TEXT);
        snprintf(number, sizeof number, "%.17g", cos(3. * (double)i) + (moved == 'y' ? by : 0));
        mete__builder_text(builder, Y, mete_text_from(number), METE_TEXT);
        mete__builder_steps(builder, STEPS, observation, action, NULL, NULL, NULL, NULL);
        for (size_t t = 0; t < STEPS; t++)
            step[t] = (float)(sin(2. + 5. * (double)(STEPS * i + t)) + (moved == 'z' ? by : 0));
        mete__builder_numbers(builder, Z, step, STEPS);
    }
    return mete__builder_batch(builder, &err);
}

/* Scores with one column moved; values at steps where the root is per step. */
static void
values(mete__engine *engine, mete__builder *builder, char moved, double by, double *out)
{
    mete_error err = {0};
    mete_node *root = mete__engine_reward(engine);
    mete__engine_reset(engine);
    CU_ASSERT_EQUAL_FATAL(mete__score(engine, root, fill(builder, moved, by), &err), METE_OK);
    const mete_scores *scores = mete__node_scores(root);
    memcpy(out, scores->step ? scores->step : scores->episode,
           (scores->step ? ROWS * STEPS : ROWS) * sizeof *out);
}

/* The same child twice moves with its twin: then the slopes add up. */
static void
same_as_differences(mete__engine *engine, mete__builder *builder, const char *what)
{
    static const char column[] = "xyz", *const child[] = {"a", "b", "s"};
    const mete_node *root = mete__engine_reward(engine);
    const double h = 1.0 / 1024; /* moves floats, too, by itself */
    size_t n = root->per_step ? ROWS * STEPS : ROWS, told = 0;
    for (size_t c = 0; c < 3; c++) {
        double up[ROWS * STEPS], down[ROWS * STEPS], slope[ROWS * STEPS], sum[ROWS * STEPS] = {0};
        size_t twins = 0;
        values(engine, builder, column[c], h, up);
        values(engine, builder, column[c], -h, down);
        values(engine, builder, ' ', 0, slope);
        for (size_t k = 0; k < root->children; k++) {
            mete_error err = {0};
            if (root->child[k]->name[0] != child[c][0])
                continue;
            CU_ASSERT_EQUAL_FATAL(mete__partial((mete_node *)(uintptr_t)root, k, 1, slope, &err),
                                  METE_OK);
            for (size_t i = 0; i < n; i++)
                sum[i] += slope[i];
            twins++;
        }
        for (size_t i = 0; i < n && twins; i++) {
            double difference = (up[i] - down[i]) / (2 * h);
            if (fabs(difference - sum[i]) > 2e-5 * (1 + fabs(difference)))
                printf("%s, %s, %zu: %g, by differences %g\n", what, child[c], i, sum[i],
                       difference);
            CU_ASSERT_DOUBLE_EQUAL(sum[i], difference, 2e-5 * (1 + fabs(difference)));
            told += sum[i] != 0;
        }
    }
    CU_ASSERT(told >= 2);
}

static mete__engine *
open_engine(const char *text, mete__config **config)
{
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 1, .threads = 1};
    *config = mete__config_parse("p.cfg", text, strlen(text), NULL, 0, &errors);
    mete__engine *engine = *config ? mete__engine_open(*config, &options, &errors) : NULL;
    if (errors.count)
        printf("%s\n", errors.line[0]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    mete__errors_free(&errors);
    return engine;
}

static void
against_differences(void)
{
    for (size_t c = 0; c < COMBINATORS; c++) {
        char text[1000], what[100];
        mete_error err = {0};
        mete__config *config;
        double out[ROWS * STEPS];
        if (!combinators[c].of)
            continue;
        snprintf(what, sizeof what, "%s %s", combinators[c].plugin, combinators[c].options);
        snprintf(text, sizeof text, "reward = { use = \"%s\"; %s of = ( %s ); };",
                 combinators[c].plugin, combinators[c].options, combinators[c].of);
        mete__engine *engine = open_engine(text, &config);
        mete__builder *builder = new_builder();
        mete_node *root = mete__engine_reward(engine);
        values(engine, builder, ' ', 0, out);
        CU_ASSERT_EQUAL(/* what learns has learnt something */
                        mete__update(engine, root, mete__builder_batch(builder, &err), &err),
                        METE_OK);
        values(engine, builder, ' ', 0, out);
        if (combinators[c].refuses) {
            CU_ASSERT_EQUAL(mete__partial(root, 0, 1, out, &err), METE_ENOTSUP);
            CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "reward: "));
        } else {
            same_as_differences(engine, builder, what);
        }
        mete__builder_free(builder);
        mete__engine_close(engine);
        mete__config_free(config);
    }
}

static size_t
row_of(const char *plugin)
{
    size_t c = 0;
    while (c < COMBINATORS && strcmp(combinators[c].plugin, plugin) != 0)
        c++;
    return c;
}

static void
each_has_a_row(void)
{
    char *names = mete__plugin_names(METE_KIND_REWARD), *save = NULL;
    size_t found = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(names);
    for (char *name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
        mete_error err = {0};
        const mete__plugin *plugin = mete__plugin_get(METE_KIND_REWARD, name, &err);
        if (!plugin || !(plugin->as.head.flags & METE_COMBINES))
            continue;
        size_t c = row_of(name);
        bool knows = plugin->as.reward.partial || plugin->as.head.flags & METE_SUMS;
        if (c == COMBINATORS)
            printf("%s has no row\n", name);
        else if (knows != (combinators[c].of != NULL))
            printf("%s: its row is of another kind\n", name);
        CU_ASSERT(c < COMBINATORS && knows == (combinators[c].of != NULL));
        found++;
    }
    CU_ASSERT(found >= 10);
    free(names);
}

/* What a plugin is told by mete_partial, through a node of its own. */
static void
asked_by_a_plugin(void)
{
    mete__config *config;
    double out[ROWS * STEPS];
    mete__engine *engine = open_engine("reward = { use = \"slopes\"; of = ( { use = \"product\"; "
                                       "of = ( " A ", " B " ); } ); };",
                                       &config);
    mete__builder *builder = new_builder();
    values(engine, builder, ' ', 0, out);
    for (size_t i = 0; i < ROWS; i++)
        CU_ASSERT_DOUBLE_EQUAL(out[i], 1.5 * -0.5 * cos(3. * (double)i), 1e-12);
    mete__builder_free(builder);
    mete__engine_close(engine);
    mete__config_free(config);
}

void
suite_partial(void)
{
    CU_pSuite suite = CU_add_suite("partial", NULL, NULL);
    CU_add_test(suite, "against finite differences", against_differences);
    CU_add_test(suite, "every combinator has a row", each_has_a_row);
    CU_add_test(suite, "asked by a plugin", asked_by_a_plugin);
}
