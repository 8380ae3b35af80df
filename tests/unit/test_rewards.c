/* What rewards give, worked by hand. */
#include "scoring.h"

#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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
    scoring("reward = { use = \"product\"; of = ( " BYTES("n", "weight = 2.0; ") ", " HAS(
                "h", "b") " ); };",
            texts, "", 3, v, s);
    CU_ASSERT(v[0] == 4 && v[1] == 8 && v[2] == 0);
    scoring("reward = { use = \"min\"; of = ( " BYTES("n", "") ", " BYTES(
                "m", "weight = -1.0; ") " ); };",
            texts, "", 3, v, s);
    CU_ASSERT(v[0] == -2 && v[1] == -4 && v[2] == -3);
    scoring("reward = { use = \"max\"; of = ( " BYTES("n", "") ", " BYTES(
                "m", "weight = -1.0; ") " ); };",
            texts, "", 3, v, s);
    CU_ASSERT(v[0] == 2 && v[1] == 4 && v[2] == 3);
    scoring("reward = { use = \"clip\"; lo = 2.5; hi = 3.5; of = ( " BYTES("n", "") " ); };", texts,
            "", 3, v, s);
    CU_ASSERT(v[0] == 2.5 && v[1] == 3.5 && v[2] == 3);
    scoring("reward = { use = \"clip\"; lo = 0.0; hi = 6.0; smooth = true; of = ( " BYTES(
                "n", "") " ); };",
            texts, "", 3, v, s);
    CU_ASSERT_DOUBLE_EQUAL(v[2], 3, 1e-12); /* the middle stays */
    CU_ASSERT_DOUBLE_EQUAL(v[1], 6 / (1 + exp(-4. / 6)), 1e-12);
    scoring("reward = { use = \"gate\"; otherwise = -1.0; of = ( " HAS("h", "b") ", " BYTES(
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
    scoring("reward = { use = \"regex\"; pattern = \"a+\"; mode = \"full\"; otherwise = -1.0; };",
            said, "", 4, v, s);
    CU_ASSERT(v[0] == 1 && v[1] == -1 && v[2] == -1 && v[3] == -1);
    scoring("reward = { use = \"regex\"; pattern = \"a\"; mode = \"count\"; };", said, "", 4, v, s);
    CU_ASSERT(v[0] == 3 && v[1] == 2 && v[2] == 0 && v[3] == 3);
    /* exponential backtracking ends at the limit, and the row is failed, not 0 */
    static const char *const trap[] = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"};
    scoring("reward = { use = \"regex\"; pattern = \"^(a|aa)+$\"; match_limit = 1000; };", trap, "",
            1, v, s);
    CU_ASSERT_EQUAL(s[0], METE_FAILED);
}

static void
references(void)
{
    static const char *const said[] = {"The cat, sat!", "a dog sat", ""};
    double v[3];
    int s[3];
    scoring("reward = { use = \"exact\"; };", said, "cat sat", 3, v, s);
    CU_ASSERT(v[0] == 1 && v[1] == 0 && v[2] == 0);
    scoring("reward = { use = \"agreement\"; };", said, "cat sat", 3, v, s);
    CU_ASSERT_DOUBLE_EQUAL(v[0], 2 * (2. / 3) / (2. / 3 + 1), 1e-12); /* precision 2/3, recall 1 */
    CU_ASSERT_DOUBLE_EQUAL(v[1], 2 * (1. / 3) * .5 / (1. / 3 + .5), 1e-12);
    CU_ASSERT_EQUAL(v[2], 0);
    scoring("reward = { use = \"agreement\"; measure = \"rouge_l\"; };", said, "sat the cat", 3, v,
            s);
    CU_ASSERT_DOUBLE_EQUAL(v[0], 2. / 3, 1e-12); /* "the cat" of three and three */
    scoring("reward = { use = \"exact\"; };", said, NULL, 3, v, s);
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
    scoring("reward = { use = \"rubric\"; generator = { use = \"template\"; bank = \"bank.jsonl\"; "
            "}; };",
            said, "", 3, v, s);
    CU_ASSERT_DOUBLE_EQUAL(v[0], .5, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(v[1], 5. / 22, 1e-12);
    CU_ASSERT_EQUAL(v[2], 0);
    remove("bank.jsonl");
}

#define EXPR(value)                                                                                \
    "reward = { use = \"expr\"; value = \"" value                                                  \
    "\"; of = ( " BYTES("n", "weight = 2.0; ") ", " HAS(                                           \
        "h", "b") ", { name = \"r\"; use = \"regex\"; pattern = \"((a)|b)+\"; } ); };"

/* n is twice the bytes (4, 8, 6), h whether there is a b. */
static void
expressions(void)
{
    static const struct {
        const char *text;
        double want[3];
    } cases[] = {
        {EXPR("1 + 2 * 3 - 4 / 8"), {6.5, 6.5, 6.5}},
        {EXPR("-n ^ 2 + h"), {-15, -63, -36}}, /* the power binds before the minus */
        {EXPR("2 ^ 3 ^ 2 - 512 + h"), {1, 1, 0}},
        {EXPR("n >= 6 ? n : h > 0 ? -1 : 7"), {-1, 8, 6}},
        {EXPR("n > 4 && !h || n == 8"), {0, 1, 1}},
        {EXPR("min(n, 7, 6.5) + max(h, 0.25)"), {5, 7.5, 6.25}},
        {EXPR("clip(n, 5, 7) + abs(-length) + 0 * iteration"), {7, 11, 9}},
        {EXPR("(n - 3) * (n + 3)"), {7, 55, 27}},
        {EXPR("or(n, 1) != 4"), {0, 1, 1}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double v[3];
        int s[3];
        scoring(cases[c].text, texts, "", 3, v, s);
        for (size_t i = 0; i < 3; i++)
            CU_ASSERT_DOUBLE_EQUAL(v[i], cases[c].want[i], 1e-12);
    }
    double v[3];
    int s[3];
    scoring(EXPR("log(n - 4) + sqrt(exp(2)) / tanh(1)"), texts, "", 3, v, s);
    CU_ASSERT(s[0] == METE_FAILED && s[1] == METE_VALID); /* log 0 is no reward */
    CU_ASSERT_DOUBLE_EQUAL(v[1], log(4) + exp(1) / tanh(1), 1e-12);
    /* agreement needs a reference: without one it does not apply, and `or` says what then */
    scoring("reward = { use = \"expr\"; value = \"or(a, 5) + n\"; of = ( { name = \"a\"; use = "
            "\"agreement\"; }, " BYTES("n", "") " ); };",
            texts, NULL, 3, v, s);
    CU_ASSERT(v[0] == 7 && v[1] == 9 && s[0] == METE_VALID);
    scoring("reward = { use = \"expr\"; value = \"a + n\"; of = ( { name = \"a\"; use = "
            "\"agreement\"; }, " BYTES("n", "") " ); };",
            texts, NULL, 3, v, s);
    CU_ASSERT_EQUAL(s[0], METE_NOT_APPLICABLE);
}

/* Values per step, rows without steps among them: brought to rows, and rows brought to steps. */
#define COST "fields = ( { name = \"cost\"; level = \"step\"; } );"

static void
per_step(void)
{
    static const size_t steps[] = {0, 3, 0, 1, 2};
    static const float cost[] = {1, 2, 4, 8, 16, 32};
    static const struct {
        const char *tree;
        double row[5], step[6];
    } cases[] = {{"use = \"expr\"; " COST
                  " value = \"sum(cost) + mean(cost) - last(cost) + 10 * peak(cost)\";",
                  {0, 7 + 7. / 3 - 4 + 40, 0, 8 + 80, 48 + 24 - 32 + 320},
                  {0}},
                 {"use = \"expr\"; " COST " value = \"cost * 2 + sum(cost) * (steps > 1)\";",
                  {0, 14 + 21, 0, 16, 96 + 96},
                  {9, 11, 15, 16, 80, 112}},
                 /* An episode's value stands on its last step, and alone where there is none. */
                 {"use = \"sum\"; of = ( { use = \"expr\"; " COST " value = \"cost\"; },"
                  "  { name = \"n\"; use = \"expr\"; value = \"steps + 5\"; weight = 2; } );",
                  {10, 7 + 16, 10, 8 + 12, 48 + 14},
                  {1, 2, 4 + 16, 8 + 12, 16, 32 + 14}}};
    for (size_t c = 0; c < 3; c++) {
        char text[500];
        mete__errors errors = {0};
        mete_error err = {0};
        mete__engine_options options = {.seed = 1, .threads = 1};
        snprintf(text, sizeof text, "reward = { %s };", cases[c].tree);
        mete__config *config = mete__config_parse("r.cfg", text, strlen(text), NULL, 0, &errors);
        mete__engine *engine = mete__engine_open(config, &options, &errors);
        CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
        mete__builder *builder = mete__builder_new();
        mete__builder_shape(builder, &(mete__shape){.text = true});
        int column = mete__builder_column(builder, "cost", METE_STEP, METE_F32, METE_EPISODE,
                                          METE_SEE_REWARD);
        for (size_t i = 0, t = 0; i < 5; t += steps[i++]) {
            mete__builder_row(builder, &(mete__row){.id = i, .prompt_id = i});
            mete__builder_steps(builder, steps[i], NULL, NULL, NULL, NULL, NULL, NULL);
            mete__builder_numbers(builder, column, cost + t, steps[i]);
        }
        mete_node *root = mete__engine_reward(engine);
        CU_ASSERT_EQUAL_FATAL(mete__score(engine, root, mete__builder_batch(builder, &err), &err),
                              METE_OK);
        const mete_scores *scores = mete__node_scores(root);
        for (size_t i = 0; i < 5; i++)
            CU_ASSERT_DOUBLE_EQUAL(scores->episode[i], cases[c].row[i], 1e-12);
        CU_ASSERT_EQUAL(scores->step != NULL, c > 0);
        for (size_t t = 0; scores->step && t < 6; t++)
            CU_ASSERT_DOUBLE_EQUAL(scores->step[t], cases[c].step[t], 1e-12);
        mete__builder_free(builder);
        mete__engine_close(engine);
        mete__config_free(config);
        mete__errors_free(&errors);
    }
}

/* What is wrong with an expression is told with its place. */
static void
bad_expressions(void)
{
    static const char *const wrong[][2] = {
        {"1 +", "a number, a name or '(' is missing at character 4"},
        {"(n", "a ')' is missing at character 3"},
        {"n 2", "more follows, at character 3"},
        {"sinh(n)", "no such function"},
        {"m", "nothing is called 'm' (children: n"},
        {"n.width", "'n' has no signal 'width'"},
        {"clip(n)", "the wrong number of arguments"},
        {"sum(n)", "take a value per step"},
        {"n ? 1", "the ':' of a ? b : c is missing"},
        {"1e999", "not a number"},
    };
    for (size_t c = 0; c < sizeof wrong / sizeof *wrong; c++) {
        char text[300];
        mete__errors errors = {0};
        mete__engine_options options = {.seed = 1, .threads = 1};
        snprintf(text, sizeof text,
                 "reward = { use = \"expr\"; value = \"%s\"; of = ( " BYTES("n", "") " ); };",
                 wrong[c][0]);
        mete__config *config = mete__config_parse("r.cfg", text, strlen(text), NULL, 0, &errors);
        mete__engine *engine = mete__engine_open(config, &options, &errors);
        CU_ASSERT_PTR_NULL(engine);
        CU_ASSERT_EQUAL_FATAL(errors.count, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(errors.line[0], wrong[c][1]));
        mete__config_free(config);
        mete__errors_free(&errors);
    }
}

void
suite_rewards(void)
{
    CU_pSuite suite = CU_add_suite("rewards", NULL, NULL);
    CU_add_test(suite, "combinators", combinators);
    CU_add_test(suite, "patterns", patterns);
    CU_add_test(suite, "references", references);
    CU_add_test(suite, "rubric points", rubric_points);
    CU_add_test(suite, "expressions", expressions);
    CU_add_test(suite, "values per step", per_step);
    CU_add_test(suite, "bad expressions", bad_expressions);
}
