/* What rewards give, worked by hand. */
#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Scores responses (one group) with the tree of `text`; each row has one reference. */
static void
score(const char *text, const char *const *response, const char *reference, size_t rows,
      double *value, int *status)
{
    mete__errors errors = {0};
    mete_error err = {0};
    mete__engine_options options = {.seed = 1, .threads = 1};
    mete__config *config = mete__config_parse("r.cfg", text, strlen(text), NULL, 0, &errors);
    mete__engine *engine = config ? mete__engine_open(config, &options, &errors) : NULL;
    if (errors.count)
        printf("%s\n", errors.line[0]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    int column = mete__builder_column(builder, "reference", METE_LIST, METE_TEXT, METE_EPISODE,
                                      METE_SEE_REWARD);
    for (size_t i = 0; i < rows; i++) {
        mete_text right = mete_text_from(reference);
        mete__builder_row(builder, &(mete__row){.id = i,
                                                .prompt_id = 1,
                                                .joins = i > 0,
                                                .prompt = mete_text_from("a[1], b[2], c[3]"),
                                                .response = mete_text_from(response[i])});
        mete__builder_list(builder, column, &right, reference != NULL);
    }
    mete_node *root = mete__engine_reward(engine);
    CU_ASSERT_EQUAL_FATAL(mete__score(engine, root, mete__builder_batch(builder, &err), &err),
                          METE_OK);
    for (size_t i = 0; i < rows; i++) {
        value[i] = mete__node_scores(root)->episode[i];
        status[i] = mete__node_scores(root)->status[i];
    }
    mete__builder_free(builder);
    mete__engine_close(engine);
    mete__config_free(config);
    mete__errors_free(&errors);
}

/* `linear` length over 1: the number of bytes, so the arithmetic is plain. */
#define BYTES(name, more)                                                                          \
    "{ name = \"" name "\"; use = \"length\"; shape = \"linear\"; target = 1.0; " more "}"
#define HAS(name, pattern) "{ name = \"" name "\"; use = \"regex\"; pattern = \"" pattern "\"; }"

static const char *const texts[] = {"ab", "abcd", "xyz"};

static void
combinators(void)
{
    double v[3];
    int s[3];
    score("reward = { use = \"product\"; of = ( " BYTES("n", "weight = 2.0; ") ", " HAS(
              "h", "b") " ); };",
          texts, "", 3, v, s);
    CU_ASSERT(v[0] == 4 && v[1] == 8 && v[2] == 0);
    score("reward = { use = \"min\"; of = ( " BYTES("n", "") ", " BYTES("m",
                                                                        "weight = -1.0; ") " ); };",
          texts, "", 3, v, s);
    CU_ASSERT(v[0] == -2 && v[1] == -4 && v[2] == -3);
    score("reward = { use = \"max\"; of = ( " BYTES("n", "") ", " BYTES("m",
                                                                        "weight = -1.0; ") " ); };",
          texts, "", 3, v, s);
    CU_ASSERT(v[0] == 2 && v[1] == 4 && v[2] == 3);
    score("reward = { use = \"clip\"; lo = 2.5; hi = 3.5; of = ( " BYTES("n", "") " ); };", texts,
          "", 3, v, s);
    CU_ASSERT(v[0] == 2.5 && v[1] == 3.5 && v[2] == 3);
    score("reward = { use = \"clip\"; lo = 0.0; hi = 6.0; smooth = true; of = ( " BYTES(
              "n", "") " ); };",
          texts, "", 3, v, s);
    CU_ASSERT_DOUBLE_EQUAL(v[2], 3, 1e-12); /* the middle stays */
    CU_ASSERT_DOUBLE_EQUAL(v[1], 6 / (1 + exp(-4. / 6)), 1e-12);
    score("reward = { use = \"gate\"; otherwise = -1.0; of = ( " HAS("h", "b") ", " BYTES(
              "n", "weight = 0.5; ") " ); };",
          texts, "", 3, v, s);
    CU_ASSERT(v[0] == 1 && v[1] == 2 && v[2] == -1);
}

static void
patterns(void)
{
    static const char *const said[] = {"aaa", "xaax", "", "aaa\xff"};
    double v[4];
    int s[4];
    score("reward = { use = \"regex\"; pattern = \"a+\"; mode = \"full\"; otherwise = -1.0; };",
          said, "", 4, v, s);
    CU_ASSERT(v[0] == 1 && v[1] == -1 && v[2] == -1 && v[3] == -1);
    score("reward = { use = \"regex\"; pattern = \"a\"; mode = \"count\"; };", said, "", 4, v, s);
    CU_ASSERT(v[0] == 3 && v[1] == 2 && v[2] == 0 && v[3] == 3);
    /* exponential backtracking ends at the limit, and the row is failed, not 0 */
    static const char *const trap[] = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"};
    score("reward = { use = \"regex\"; pattern = \"^(a|aa)+$\"; match_limit = 1000; };", trap, "",
          1, v, s);
    CU_ASSERT_EQUAL(s[0], METE_FAILED);
}

static void
references(void)
{
    static const char *const said[] = {"The cat, sat!", "a dog sat", ""};
    double v[3];
    int s[3];
    score("reward = { use = \"exact\"; };", said, "cat sat", 3, v, s);
    CU_ASSERT(v[0] == 1 && v[1] == 0 && v[2] == 0);
    score("reward = { use = \"agreement\"; };", said, "cat sat", 3, v, s);
    CU_ASSERT_DOUBLE_EQUAL(v[0], 2 * (2. / 3) / (2. / 3 + 1), 1e-12); /* precision 2/3, recall 1 */
    CU_ASSERT_DOUBLE_EQUAL(v[1], 2 * (1. / 3) * .5 / (1. / 3 + .5), 1e-12);
    CU_ASSERT_EQUAL(v[2], 0);
    score("reward = { use = \"agreement\"; measure = \"rouge_l\"; };", said, "sat the cat", 3, v,
          s);
    CU_ASSERT_DOUBLE_EQUAL(v[0], 2. / 3, 1e-12); /* "the cat" of three and three */
    score("reward = { use = \"exact\"; };", said, NULL, 3, v, s);
    CU_ASSERT_EQUAL(s[0], METE_NOT_APPLICABLE);
}

/* HealthBench's arithmetic: points 7, 5, 10, -6, met T F T T, give (7 + 10 - 6) / 22. */
static void
rubric_points(void)
{
    FILE *bank = fopen("bank.jsonl", "w");
    static const char *const said[] = {"seven ten bad", "five", ""};
    double v[3];
    int s[3];
    CU_ASSERT_PTR_NOT_NULL_FATAL(bank);
    fputs("{\"slot\":\"a\",\"check\":\"contains\",\"target\":\"SEVEN\",\"points\":7}\n"
          "{\"slot\":\"b\",\"check\":\"regex\",\"target\":\"^five$\",\"points\":5}\n"
          "{\"slot\":\"c\",\"check\":\"count\",\"target\":\"t.n;1;1\",\"points\":10}\n"
          "{\"slot\":\"d\",\"when\":\"absent\",\"check\":\"contains\",\"target\":\"bad\","
          "\"points\":-6}\n",
          bank);
    fclose(bank);
    score("reward = { use = \"rubric\"; generator = { use = \"template\"; bank = \"bank.jsonl\"; "
          "}; };",
          said, "", 3, v, s);
    CU_ASSERT_DOUBLE_EQUAL(v[0], .5, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(v[1], 5. / 22, 1e-12);
    CU_ASSERT_EQUAL(v[2], 0);
    remove("bank.jsonl");
}

void
suite_rewards(void)
{
    CU_pSuite suite = CU_add_suite("rewards", NULL, NULL);
    CU_add_test(suite, "combinators", combinators);
    CU_add_test(suite, "patterns", patterns);
    CU_add_test(suite, "references", references);
    CU_add_test(suite, "rubric points", rubric_points);
}
