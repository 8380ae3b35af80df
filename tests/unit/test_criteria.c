/* test_criteria.c - grades of criteria from a rubric to whoever asks, their statistics against sums
 * by definition, and trees of weighted criteria against figures worked out by hand. */
#include "loops.h"
#include "scoring.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <mete/text.h>
#include <stdio.h>
#include <string.h>

#define ROWS 300
#define VOTES 3

/* Four programs, one of them a fault and one always met, and a judge that errs; of every second
 * prompt "e" is not asked. The rubric stands behind a gate, which asks for it row by row. */
static const char config[] =
    "run = { seed = 7; iterations = 3; criteria_every = 3; };"
    "env = { use = \"candidates\"; data = \"criteria.jsonl\"; lanes = 8; group = 2; };"
    "policy = { use = \"scorer\"; }; objective = { use = \"grpo\"; };"
    "models = { j = { use = \"scripted\"; mode = \"judge\"; error_rate = 0.3; "
    "rules = ( { when = \"mentions (.+)\"; } ); }; };"
    "reward = { use = \"gate\"; of = ( { name = \"any\"; use = \"regex\"; pattern = \".\"; },"
    "{ name = \"r\"; use = \"rubric\"; judge = \"j\"; votes = 3; temperature = 1.0; "
    "generator = { use = \"static\"; criteria = ("
    "{ text = \"A\"; check = \"contains\"; target = \"a\"; points = 4.0; },"
    "{ text = \"B\"; check = \"contains\"; target = \"b\"; points = 2.0; },"
    "{ text = \"fault\"; check = \"contains\"; target = \"c\"; points = -3.0; },"
    "{ text = \"always\"; check = \"not_contains\"; target = \"zzz\"; points = 1.0; },"
    "{ text = \"never\"; check = \"contains\"; target = \"zzz\"; points = 0.5; },"
    "{ text = \"mentions d\"; points = 1.0; } ); }; } ); };";

static const double points[] = {4, 2, -3, 1, .5, 1};
enum { CRITERIA = 6 };

static struct opened
opened(void)
{
    FILE *file = fopen("criteria.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (int row = 0; row < 8; row++)
        fprintf(file,
                "{\"prompt\":\"p%d\",\"candidates\":[\"a b\",\"c\",\"d\"],\"scores\":[0,1,2]}\n",
                row);
    fclose(file);
    struct opened o = open_loop(config);
    remove("criteria.jsonl");
    return o;
}

static char line[20000];

static int
keep_line(void *user, const char *json, size_t length, mete_error *err)
{
    (void)user;
    (void)err;
    snprintf(line, sizeof line, "%.*s", (int)length, json);
    return METE_OK;
}

/* Words a to d, each in half of the rows; b more often with a. */
static const mete_batch *
random_batch(mete__builder *builder, uint64_t seed)
{
    mete_error err = {0};
    mete__builder_reset(builder);
    mete__builder_shape(builder, &(mete__shape){.text = true});
    mete__builder_column(builder, "candidates", METE_LIST, METE_TEXT, METE_EPISODE,
                         METE_SEE_POLICY);
    for (uint64_t i = 0; i < ROWS; i++) {
        char text[20] = "x", prompt[20];
        mete_rng rng = mete_rng_make(seed, i, 0);
        int has = mete_rng_uniform(&rng) < .5;
        strcat(text, has ? " a" : "");
        strcat(text, mete_rng_uniform(&rng) < (has ? .7 : .3) ? " b" : "");
        strcat(text, mete_rng_uniform(&rng) < .4 ? " c" : "");
        strcat(text, mete_rng_uniform(&rng) < .5 ? " d" : "");
        snprintf(prompt, sizeof prompt, "p%d", (int)i / 2);
        mete__builder_row(builder, &(mete__row){.id = seed * 1000 + i,
                                                .prompt_id = i / 2 + 1,
                                                .joins = i % 2,
                                                .prompt = mete_text_from(prompt),
                                                .response = mete_text_from(text)});
    }
    return mete__builder_batch(builder, &err);
}

static double
correlation(const double *x, const double *y, size_t n)
{
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    return xy / sqrt(xx * yy);
}

/* What the row's score would be without criterion k. */
static double
rest_of(const double *grade, size_t k)
{
    double earned = 0, possible = 0;
    for (size_t j = 0; j < CRITERIA; j++)
        if (j != k) {
            earned += points[j] * grade[j];
            possible += points[j] > 0 ? points[j] : 0;
        }
    return earned / possible;
}

static double
told(const mete_json *list, const char *criterion, const char *number)
{
    for (const mete_json *at = mete_json_first(list); at; at = mete_json_next(at))
        if (mete_text_is(mete_json_text(mete_json_get(at, "criterion")), criterion))
            return mete_json_number(mete_json_get(at, number));
    return -99;
}

/* Two batches: grades as the texts have them, the score made of them, and each statistic. */
static void
statistics(void)
{
    static const char *const name[] = {"A", "B", "fault", "always", "never", "mentions d"};
    static const char word[] = "abc";
    static double grade[2 * ROWS][CRITERIA], column[2 * ROWS], rest[2 * ROWS];
    struct opened o = opened();
    mete_error err = {0};
    mete_node *root = mete__engine_reward(o.engine), *rubric = mete__engine_find(o.engine, "r");
    mete__builder *builder = mete__builder_new();
    double agreed = 0, right = 0;
    o.loop->sinks.criteria = keep_line;
    for (size_t b = 0; b < 2; b++) {
        mete__engine_reset(o.engine);
        const mete_batch *batch = random_batch(builder, b + 1);
        CU_ASSERT_EQUAL_FATAL(mete__score(o.engine, root, batch, &err), METE_OK);
        for (size_t i = 0; i < ROWS; i++) {
            const mete__graded *row = mete__node_graded(rubric, i);
            double earned = 0, *to = grade[b * ROWS + i];
            CU_ASSERT_PTR_NOT_NULL_FATAL(row);
            CU_ASSERT_EQUAL_FATAL(row->count, CRITERIA);
            for (size_t k = 0; k < CRITERIA; k++) {
                to[k] = row->grade[k];
                earned += points[k] * to[k];
            }
            for (size_t k = 0; k < 3; k++)
                CU_ASSERT_EQUAL(to[k], memchr(batch->response[i].data, word[k],
                                              batch->response[i].length) != NULL);
            CU_ASSERT(isnan(row->agreement[0]));
            double votes = to[5] * VOTES; /* of three all agree, or one pair of three */
            CU_ASSERT_DOUBLE_EQUAL(row->agreement[5], fabs(votes - 1.5) > 1 ? 1. : 1. / 3, 1e-12);
            CU_ASSERT_DOUBLE_EQUAL(mete__node_scores(rubric)->episode[i], earned / 8.5, 1e-12);
            agreed += row->agreement[5];
            right +=
                to[5] == (memchr(batch->response[i].data, 'd', batch->response[i].length) != NULL);
        }
        CU_ASSERT_EQUAL(mete__criteria_take(o.loop, batch, &err), METE_OK);
    }
    /* three votes of which each is right with 0.7: 0.37 agree in all, so 0.58 of the pairs; 600
     * rows have a standard error of 0.013 */
    CU_ASSERT_DOUBLE_EQUAL(agreed / (2 * ROWS), .58, .06);
    CU_ASSERT(right > 0);
    CU_ASSERT_EQUAL(mete__criteria_tell(o.loop, true, &err), METE_OK);
    mete_json *json = mete_json_parse(mete_text_from(line), &err);
    const mete_json *list = mete_json_get(json, "criteria");
    CU_ASSERT_EQUAL(mete_json_count(list), CRITERIA);
    double mean = 0, counted = 0;
    for (size_t k = 0; k < CRITERIA; k++) {
        double pass = 0;
        for (size_t i = 0; i < 2 * ROWS; i++) {
            column[i] = grade[i][k];
            rest[i] = rest_of(grade[i], k);
            pass += column[i] / (2 * ROWS);
        }
        double r = correlation(column, rest, 2 * ROWS);
        CU_ASSERT_DOUBLE_EQUAL(told(list, name[k], "pass"), pass, 1e-9);
        CU_ASSERT_EQUAL(told(list, name[k], "rows"), 2 * ROWS);
        CU_ASSERT_EQUAL(told(list, name[k], "points"), points[k]);
        if (k == 3 || k == 4) {
            CU_ASSERT(isnan(told(list, name[k], "discrimination"))); /* null: nothing varies */
            continue;
        }
        CU_ASSERT_DOUBLE_EQUAL(told(list, name[k], "discrimination"), r, 1e-9);
        mean += r;
        counted++;
    }
    CU_ASSERT(told(list, "A", "discrimination") > .1); /* b goes with a: 0.22 +- 0.04 */
    CU_ASSERT_DOUBLE_EQUAL(told(list, "mentions d", "agreement"), agreed / (2 * ROWS), 1e-9);
    const mete__metrics *metrics = &o.loop->metrics;
    CU_ASSERT_EQUAL(mete__metrics_get(metrics, "reward/r/criteria"), CRITERIA);
    CU_ASSERT_EQUAL(mete__metrics_get(metrics, "reward/r/criteria/always_met"), 1);
    CU_ASSERT_EQUAL(mete__metrics_get(metrics, "reward/r/criteria/never_met"), 1);
    CU_ASSERT_DOUBLE_EQUAL(mete__metrics_get(metrics, "reward/r/criteria/discrimination"),
                           mean / counted, 1e-9);
    mete_json_free(json);
    mete__builder_free(builder);
    close_loop(&o);
}

/* Statistics that were saved half-way are those of a loop that went through. */
static void
saved(void)
{
    struct opened whole = opened(), first = opened(), second = opened();
    mete__builder *builder = mete__builder_new();
    mete__checkpoint *checkpoint = mete__checkpoint_new();
    mete_error err = {0};
    struct opened *const by[2][2] = {{&whole, &first}, {&whole, &second}};
    static char want[sizeof line];
    for (size_t b = 0; b < 2; b++) {
        for (size_t k = 0; k < 2; k++) {
            struct opened *o = by[b][k];
            mete__engine_reset(o->engine);
            const mete_batch *batch = random_batch(builder, b + 1);
            CU_ASSERT_EQUAL(mete__score(o->engine, mete__engine_reward(o->engine), batch, &err),
                            METE_OK);
            CU_ASSERT_EQUAL(mete__criteria_take(o->loop, batch, &err), METE_OK);
        }
        if (b)
            break;
        CU_ASSERT_EQUAL(mete__criteria_save(first.loop, checkpoint, &err), METE_OK);
        CU_ASSERT_EQUAL(mete__criteria_load(second.loop, checkpoint, &err), METE_OK);
    }
    whole.loop->sinks.criteria = second.loop->sinks.criteria = keep_line;
    CU_ASSERT_EQUAL(mete__criteria_tell(whole.loop, true, &err), METE_OK);
    memcpy(want, line, sizeof want);
    line[0] = 0;
    CU_ASSERT_EQUAL(mete__criteria_tell(second.loop, true, &err), METE_OK);
    CU_ASSERT_STRING_EQUAL(line, want);
    mete__checkpoint_free(checkpoint);
    mete__builder_free(builder);
    close_loop(&whole);
    close_loop(&first);
    close_loop(&second);
}

#define RUBRIC(criteria)                                                                           \
    "reward = { use = \"rubric\"; generator = { use = \"static\"; criteria = ( " criteria          \
    " ); }; };"
#define HAS(text, word, more)                                                                      \
    "{ text = \"" text "\"; check = \"contains\"; target = \"" word "\"; " more " }"

/* Root (weight 1) = (2 code + 1 results) / 3; code = (3 a + 1 b) / 4; results = c. */
static void
trees(void)
{
    static const char tree[] =
        RUBRIC("{ id = \"root\"; text = \"reproduced\"; },"
               "{ id = \"code\"; part_of = \"root\"; text = \"code\"; points "
               "= 2.0; }," HAS("a", "a", "part_of = \"code\"; points = 3.0;") "," HAS(
                   "b", "b", "part_of = \"code\";") "," HAS("c", "c", "part_of = \"root\";"));
    /* the same tree beside a criterion of 3 points and a fault of 2: possible are 4 */
    static const char beside[] = RUBRIC(
        "{ id = \"root\"; text = \"reproduced\"; },"
        "{ id = \"code\"; part_of = \"root\"; text = \"code\"; points = 2.0; "
        "}," HAS("a", "a", "part_of = \"code\"; points = 3.0;") "," HAS("b", "b", "part_of = \"code\";") "," HAS(
            "c", "c", "part_of = \"root\";") "," HAS("d", "d", "points = 3.0;") "," HAS("e", "e",
                                                                                        "points = "
                                                                                        "-2.0;"));
    static const char *const said[] = {"a", "b", "c", "a b", "a c", "d e", "a b c d"};
    static const double alone[] = {.5, 1. / 6, 1. / 3, 2. / 3, 5. / 6, 0, 1};
    double v[7];
    int s[7];
    scoring(tree, said, NULL, 7, v, s);
    for (size_t i = 0; i < 7; i++)
        CU_ASSERT_DOUBLE_EQUAL(v[i], alone[i], 1e-12);
    scoring(beside, said, NULL, 7, v, s);
    for (size_t i = 0; i < 5; i++)
        CU_ASSERT_DOUBLE_EQUAL(v[i], alone[i] / 4, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(v[5], .25, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(v[6], 1, 1e-12);
}

void
suite_criteria(void)
{
    CU_pSuite suite = CU_add_suite("criteria", NULL, NULL);
    CU_add_test(suite, "statistics by definition", statistics);
    CU_add_test(suite, "statistics saved half-way", saved);
    CU_add_test(suite, "trees of weighted criteria", trees);
}
