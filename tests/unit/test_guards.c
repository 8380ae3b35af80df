/* Guards of the decisions that would be dear to get wrong: what a score may depend on, who sees what,
 * which plugins load. */
#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct opened {
    mete__config *config;
    mete__engine *engine;
    mete__errors errors;
} opened;

static opened
open_text(const char *text, unsigned threads)
{
    opened o = {0};
    mete__engine_options options = {.seed = 5, .threads = threads};
    o.config = mete__config_parse("test.cfg", text, strlen(text), NULL, 0, &o.errors);
    o.engine = o.config ? mete__engine_open(o.config, &options, &o.errors) : NULL;
    return o;
}

static void
close_it(opened *o)
{
    mete__engine_close(o->engine);
    mete__config_free(o->config);
    mete__errors_free(&o->errors);
}

/* `rows` episodes in groups of four, responses of growing length, three steps each, a gold column. */
static mete__builder *
make_rows(size_t rows)
{
    static const float noise[3] = {.5f, .25f, .125f};
    mete__builder *builder = mete__builder_new();
    mete__shape shape = {.text = true, .logp = true};
    mete__builder_shape(builder, &shape);
    int secret = mete__builder_column(builder, "secret", METE_EPISODE, METE_F64, METE_EPISODE,
                                      METE_SEE_GOLD);
    int reward =
        mete__builder_column(builder, "reward", METE_STEP, METE_F32, METE_EPISODE, METE_SEE_REWARD);
    char text[128];
    for (size_t i = 0; i < rows; i++) {
        snprintf(text, sizeof text, "a b a b a b %zu %.*s", i, (int)(i % 40),
                 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        mete__row row = {.id = 1000 + i,
                         .prompt_id = i / 4,
                         .starts = true,
                         .terminated = true,
                         .joins = i % 4 != 0,
                         .prompt = {"p", 1},
                         .response = {text, strlen(text)}};
        mete__builder_row(builder, &row);
        for (int k = 0; k < 3; k++) {
            mete__step step = {.action = k, .logp = -1, .loss_mask = 1};
            mete__builder_step(builder, &step);
        }
        mete__builder_number(builder, secret, (double)i);
        mete__builder_numbers(builder, reward, noise, 3);
    }
    return builder;
}

#define TREE                                                                                       \
    "reward = { use = \"sum\"; of = ( { name = \"long\"; use = \"length\"; weight = 0.5; },"       \
    " { use = \"repetition\"; n = 2; }, { name = \"env\"; use = \"environment\"; },"               \
    " { name = \"scaled\"; use = \"normalize\"; mode = \"group\"; of = ( { use = \"length\"; } "   \
    "); } ); };"

static void
score_all(opened *o, const mete_batch *batch, double *out)
{
    mete_error err = {0};
    mete__engine_reset(o->engine);
    CU_ASSERT_EQUAL_FATAL(mete__score(o->engine, mete__engine_reward(o->engine), batch, &err),
                          METE_OK);
    memcpy(out, mete__node_scores(mete__engine_reward(o->engine))->episode,
           batch->episodes * sizeof *out);
}

static void
scores_alike_however_asked(void)
{
    enum { ROWS = 3000 };
    static double whole[ROWS], again[ROWS], threaded[ROWS], part[ROWS];
    mete_error err = {0};
    opened one = open_text(TREE, 1), two = open_text(TREE, 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(one.engine);
    mete__builder *builder = make_rows(ROWS), *piece = make_rows(64);
    const mete_batch *batch = mete__builder_batch(builder, &err);
    score_all(&one, batch, whole); /* in chunks: a batch this size is cut */
    score_all(&one, batch, again);
    score_all(&two, batch, threaded);
    CU_ASSERT(memcmp(whole, again, sizeof whole) == 0);
    CU_ASSERT(memcmp(whole, threaded, sizeof whole) == 0);
    score_all(&one, mete__builder_batch(piece, &err), part); /* the same first rows, alone */
    CU_ASSERT(memcmp(whole, part, 64 * sizeof *part) == 0);
    mete__builder_free(builder);
    mete__builder_free(piece);
    close_it(&one);
    close_it(&two);
}

/* Plugins of tests/plugins are opened by file, as the plugin path does not hold them. */
static const mete__plugin *
mischief(const char *name, mete_error *err)
{
    char path[4096];
    memset(err, 0, sizeof *err);
    snprintf(path, sizeof path, "%s/tests/plugins/reward/%s.so", getenv("METE_BUILDDIR"), name);
    return mete__plugin_open(path, err);
}

static void
other_versions_load(void)
{
    mete_error err;
    const mete__plugin *older = mischief("older_minor", &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(older);
    CU_ASSERT_PTR_NULL(older->as.reward.grad); /* what it did not have is absent */
    CU_ASSERT_STRING_EQUAL(older->as.head.options[0].name, "x");
    CU_ASSERT_PTR_NULL(older->as.head.options[0].rows);
    const mete__plugin *newer = mischief("newer_minor", &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(newer);
    CU_ASSERT_STRING_EQUAL(newer->as.head.options[1].name, "y");
    CU_ASSERT_PTR_NULL(newer->as.head.options[2].name);
}

static void
broken_ones_are_refused_by_a_sentence(void)
{
    static const struct {
        const char *name, *says;
    } want[] = {{"other_major", "built for mete ABI 2; this mete speaks 1"},
                {"wrong_name", "calls itself 'another_name'"},
                {"no_score", "no function `score`"},
                {"option_reserved", "a name the core keeps"},
                {"option_outside", "outside the state"},
                {"option_default", "default 9 outside"},
                {"option_twice", "stands twice"},
                {"option_helpless", "has no help"}};
    mete_error err;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        CU_ASSERT_PTR_NULL(mischief(want[i].name, &err));
        if (!strstr(err.message, want[i].says))
            printf("%s: %s\n", want[i].name, err.message);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.message, want[i].says));
    }
}

/* Truncated at many lengths, world-writable, a link, not ELF: no signal, one sentence each. */
static void
bad_files_are_refused(void)
{
    char path[4096], own[] = "bad_file.so", text[1 << 20];
    mete_error err;
    snprintf(path, sizeof path, "%s/tests/plugins/reward/noisy.so", getenv("METE_BUILDDIR"));
    FILE *file = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t length = fread(text, 1, sizeof text, file);
    fclose(file);
    for (size_t k = 0; k < 40; k++) {
        file = fopen(own, "wb");
        fwrite(text, 1, length * k / 40, file);
        fclose(file);
        chmod(own, 0644);
        memset(&err, 0, sizeof err);
        CU_ASSERT_PTR_NULL(mete__plugin_open(own, &err));
        CU_ASSERT(err.message[0] != 0);
    }
    file = fopen(own, "wb");
    fwrite(text, 1, length, file);
    fclose(file);
    chmod(own, 0666);
    CU_ASSERT_PTR_NULL(mete__plugin_open(own, &err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "written by everybody"));
    unlink(own);
}

/* The runner puts tests/plugins on the plugin path after the real ones, so that these names resolve
 * like any other. */
static void
a_sibling_leaves_random_numbers_alone(void)
{
    mete_error err = {0};
    double first[8], second[8];
    opened a = open_text(
        "reward = { use = \"sum\"; of = ( { use = \"noisy\"; }, { use = \"length\"; } ); };", 1);
    opened b = open_text("reward = { use = \"sum\"; of = ( { use = \"repetition\"; }, { name = "
                         "\"z\"; use = \"length\"; },"
                         " { use = \"noisy\"; } ); };",
                         1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a.engine);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b.engine);
    mete__builder *builder = make_rows(8);
    const mete_batch *batch = mete__builder_batch(builder, &err);
    mete__score(a.engine, mete__engine_reward(a.engine), batch, &err);
    mete__score(b.engine, mete__engine_reward(b.engine), batch, &err);
    memcpy(first, mete__node_scores(mete__engine_find(a.engine, "noisy"))->episode, sizeof first);
    memcpy(second, mete__node_scores(mete__engine_find(b.engine, "noisy"))->episode, sizeof second);
    CU_ASSERT(memcmp(first, second, sizeof first) == 0);
    CU_ASSERT(first[0] != first[1]);
    mete__builder_free(builder);
    close_it(&a);
    close_it(&b);
}

static void
gold_is_out_of_reach(void)
{
    mete_error err = {0};
    opened o = open_text("reward = { use = \"sum\"; of = ( { name = \"thief\"; use = \"peeks\"; },"
                         " { name = \"meter\"; use = \"peeks\"; gold = true; } ); };",
                         1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o.engine);
    mete__builder *builder = make_rows(8);
    CU_ASSERT_EQUAL(mete__score(o.engine, mete__engine_reward(o.engine),
                                mete__builder_batch(builder, &err), &err),
                    METE_OK);
    CU_ASSERT_EQUAL(mete__node_scores(mete__engine_find(o.engine, "thief"))->episode[3], -1);
    CU_ASSERT_EQUAL(mete__node_scores(mete__engine_find(o.engine, "meter"))->episode[3], 3);
    /* what is gold is measured and never summed */
    CU_ASSERT_EQUAL(mete__node_scores(mete__engine_reward(o.engine))->episode[3], -1);
    mete__builder_free(builder);
    close_it(&o);
}

static void
a_number_that_is_none_is_named(void)
{
    mete_error err = {0};
    opened o = open_text(
        "reward = { use = \"sum\"; of = ( { use = \"length\"; }, { use = \"nan\"; } ); };", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o.engine);
    mete__builder *builder = make_rows(8);
    CU_ASSERT_NOT_EQUAL(mete__score(o.engine, mete__engine_reward(o.engine),
                                    mete__builder_batch(builder, &err), &err),
                        METE_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "reward.nan"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "episode 1007"));
    mete__builder_free(builder);
    close_it(&o);
}

/* An episode in one piece, scored twice, and step by step as fragments: the same step values. */
static void
episode_state_moves_with_the_episode(void)
{
    mete_error err = {0};
    opened o = open_text("reward = { use = \"tally\"; };", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o.engine);
    mete_node *root = mete__engine_reward(o.engine);
    mete__builder *builder = make_rows(2);
    const mete_batch *batch = mete__builder_batch(builder, &err);
    for (int pass = 0; pass < 2; pass++) {
        mete__engine_reset(o.engine);
        mete__score(o.engine, root, batch, &err);
        for (int t = 0; t < 6; t++)
            CU_ASSERT_EQUAL(mete__node_scores(root)->step[t], 10 * (t % 3 + 1));
    }
    mete__shape shape = {.logp = true};
    for (uint32_t t = 0; t < 3; t++) {
        mete__builder *piece = mete__builder_new();
        mete__builder_shape(piece, &shape);
        mete__row row = {.id = 77, .first_step = t, .starts = t == 0, .terminated = t == 2};
        mete__step step = {.action = 0};
        mete__builder_row(piece, &row);
        mete__builder_step(piece, &step);
        const mete_batch *fragment = mete__builder_batch(piece, &err);
        mete__engine_reset(o.engine);
        mete__score(o.engine, root, fragment, &err);
        CU_ASSERT_EQUAL(mete__node_scores(root)->step[0], 10 * (t + 1));
        mete__episodes_end(o.engine, fragment);
        mete__builder_free(piece);
    }
    mete__builder_free(builder);
    close_it(&o);
}

/* Copied in the middle of an episode, a world goes on with the same bits. */
static void
a_copied_lane_goes_on_alike(void)
{
    mete_error err = {0};
    opened o = open_text("env = { use = \"cartpole\"; };", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o.engine);
    mete_node *env = mete__engine_environment(o.engine);
    uint32_t lanes[] = {0, 1};
    uint64_t ids[] = {5, 6};
    char saved[64];
    float first[4];
    mete__environment_spaces(env, 2, &err);
    mete_observations *seen = mete__observations_new(env, 2);
    mete_transitions *moved = mete__transitions_new(env, seen);
    mete_actions *actions = mete__actions_new(&env->spaces, NULL, 2);
    mete_reset reset = {
        .size = sizeof reset, .count = 2, .lane = lanes, .episode = ids, .task = ids};
    CU_ASSERT_EQUAL(mete__environment_reset(env, &reset, seen, &err), METE_OK);
    for (int t = 0; t < 4; t++)
        mete__environment_step(env, actions, moved, &err);
    CU_ASSERT(env->plugin->as.head.lane_size <= sizeof saved);
    mete__environment_copy(env, 2, 0, saved, &err);
    for (int t = 0; t < 3; t++)
        mete__environment_step(env, actions, moved, &err);
    memcpy(first, seen->observation, sizeof first);
    CU_ASSERT_EQUAL(mete__environment_restore(env, 1, saved, seen, &err), METE_OK);
    for (int t = 0; t < 3; t++)
        mete__environment_step(env, actions, moved, &err);
    CU_ASSERT(memcmp(first, seen->observation + 4, sizeof first) == 0);
    mete__actions_free(actions);
    mete__transitions_free(moved);
    mete__observations_free(seen);
    close_it(&o);
}

void
suite_guards(void)
{
    CU_pSuite suite = CU_add_suite("guards", NULL, NULL);
    CU_add_test(suite, "scores alike whole, chunked, threaded, twice", scores_alike_however_asked);
    CU_add_test(suite, "older and newer minors load", other_versions_load);
    CU_add_test(suite, "broken plugins are refused by a sentence",
                broken_ones_are_refused_by_a_sentence);
    CU_add_test(suite, "bad files are refused", bad_files_are_refused);
    CU_add_test(suite, "a sibling leaves random numbers alone",
                a_sibling_leaves_random_numbers_alone);
    CU_add_test(suite, "gold is out of reach", gold_is_out_of_reach);
    CU_add_test(suite, "NaN is named", a_number_that_is_none_is_named);
    CU_add_test(suite, "episode state", episode_state_moves_with_the_episode);
    CU_add_test(suite, "a copied lane goes on alike", a_copied_lane_goes_on_alike);
}
