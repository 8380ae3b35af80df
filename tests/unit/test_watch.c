/* The watch: its state is part of the run, and what it lowers is lowered. */
#include "loops.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void
write_candidates(void)
{
    FILE *file = fopen("watch.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (int row = 0; row < 16; row++)
        fprintf(file,
                "{\"prompt\":\"p%d\",\"candidates\":[\"good %d\",\"bad\",\"no\",\"not %*s\"],"
                "\"scores\":[1,0,0,0]}\n",
                row, row, 30, "x");
    fclose(file);
}

static const char *
hack(const char *on, const char *more)
{
    static char text[2000];
    snprintf(text, sizeof text,
             "run = { seed = 7; iterations = 60; };"
             "env = { use = \"candidates\"; data = \"watch.jsonl\"; lanes = 64; group = 8; };"
             "policy = { use = \"scorer\"; bits = 10; }; objective = { use = \"rloo\"; kl = 0.0; };"
             "optimiser = { use = \"adam\"; rate = 0.02; };"
             "reward = { use = \"sum\"; of = ( { name = \"right\"; use = \"environment\"; },"
             " { name = \"long\"; use = \"length\"; shape = \"linear\"; target = 20.0; },"
             " { name = \"gold\"; use = \"environment\"; gold = true; } ); };"
             "watch = { on = \"%s\"; warmup = 5; signs = [ \"gold\", \"turn\", \"length\" ]; %s };",
             on, more);
    return text;
}

static double
metric(const struct opened *o, const char *name)
{
    return mete__metrics_get(&o->loop->metrics, name);
}

/* Cut anywhere, the run goes on with the same bits and the same signs. */
static void
resumes_exactly(void)
{
    static const uint64_t cut[] = {1, 3, 12, 40};
    mete_error err = {0};
    write_candidates();
    for (int lower = 0; lower < 2; lower++) {
        struct opened whole = open_loop(hack(lower ? "lower" : "log", ""));
        finish(&whole);
        CU_ASSERT(metric(&whole, "watch/raised") >= 1);
        for (size_t k = 0; k < sizeof cut / sizeof *cut; k++) {
            struct opened first = open_loop(hack(lower ? "lower" : "log", ""));
            struct opened second = open_loop(hack(lower ? "lower" : "log", ""));
            mete__checkpoint *checkpoint = mete__checkpoint_new();
            while (mete__loop_done(first.loop) < cut[k])
                CU_ASSERT_EQUAL_FATAL(mete__loop_step(first.loop, &err), METE_OK);
            CU_ASSERT_EQUAL_FATAL(mete__loop_save(first.loop, checkpoint, &err), METE_OK);
            CU_ASSERT_EQUAL_FATAL(mete__loop_load(second.loop, checkpoint, &err), METE_OK);
            finish(&second);
            const mete__metrics *a = &whole.loop->metrics, *b = &second.loop->metrics;
            CU_ASSERT_EQUAL(a->count, b->count);
            for (size_t i = 0; i < a->count && i < b->count; i++)
                CU_ASSERT(strcmp(a->item[i].name, b->item[i].name) == 0 &&
                          a->item[i].sum == b->item[i].sum);
            CU_ASSERT_EQUAL(memcmp(whole.loop->parameter, second.loop->parameter,
                                   whole.loop->parameters * sizeof(float)),
                            0);
            mete__checkpoint_free(checkpoint);
            close_loop(&first);
            close_loop(&second);
        }
        close_loop(&whole);
    }
    remove("watch.jsonl");
}

/* Lowering takes from the node it says, by the factor it says, and gold is better for it. */
static void
lowers(void)
{
    write_candidates();
    struct opened logs = open_loop(hack("log", "")), lowers = open_loop(hack("lower", ""));
    struct opened other = open_loop(hack("lower", "node = \"right\"; factor = 0.25;"));
    finish(&logs);
    finish(&lowers);
    finish(&other);
    double factor = metric(&lowers, "watch/factor/reward/long");
    CU_ASSERT(factor <= 0.5 && factor == exp2(round(log2(factor))));
    CU_ASSERT(isnan(metric(&lowers, "watch/factor/reward/right")));
    CU_ASSERT(isnan(metric(&logs, "watch/factor/reward/long")));
    CU_ASSERT_DOUBLE_EQUAL(lowers.loop->reward->weight[1], factor, 0);
    CU_ASSERT(metric(&lowers, "reward/gold") > metric(&logs, "reward/gold") + 0.3);
    CU_ASSERT(metric(&other, "watch/factor/reward/right") <= 0.25);
    close_loop(&logs);
    close_loop(&lowers);
    close_loop(&other);
    remove("watch.jsonl");
}

/* How many signs a config of `signs` raised, of a reward whose weight is as `weight` says. */
static double
raised(const char *signs, const char *weight)
{
    char text[2000];
    snprintf(text, sizeof text,
             "run = { seed = 7; iterations = 120; };"
             "env = { use = \"candidates\"; data = \"watch.jsonl\"; lanes = 64; group = 8; };"
             "policy = { use = \"scorer\"; bits = 10; }; objective = { use = \"rloo\"; kl = 0.0; };"
             "optimiser = { use = \"adam\"; rate = 0.01; };"
             "reward = { use = \"sum\"; of = ( { name = \"right\"; use = \"environment\"; },"
             " { name = \"long\"; use = \"length\"; shape = \"linear\"; target = 20.0;"
             "   weight = %s; },"
             " { name = \"gold\"; use = \"environment\"; gold = true; } ); };"
             "watch = { warmup = 10; signs = [ \"%s\" ]; };",
             weight, signs);
    struct opened o = open_loop(text);
    finish(&o);
    double count = metric(&o, "watch/raised");
    close_loop(&o);
    return count;
}

/* A reward that fades until nothing tells its rows apart. */
static double
raised_by_fading(const char *sign, const char *to)
{
    char text[2000];
    snprintf(text, sizeof text,
             "run = { seed = 7; iterations = 80; };"
             "env = { use = \"candidates\"; data = \"watch.jsonl\"; lanes = 64; group = 8; };"
             "policy = { use = \"scorer\"; bits = 10; }; objective = { use = \"rloo\"; kl = 0.0; };"
             "optimiser = { use = \"adam\"; rate = 0.0; };"
             "reward = { use = \"sum\"; of = ( { use = \"length\"; weight ="
             " { from = 1.0; to = %s; over = 1; start = 30; }; } ); };"
             "watch = { signs = [ \"%s\" ]; };",
             to, sign);
    struct opened o = open_loop(text);
    finish(&o);
    double count = metric(&o, "watch/raised");
    close_loop(&o);
    return count;
}

/* Each sign by itself: raised by what it is for, and not where that is missing. */
static void
each_sign(void)
{
    static const char *const of_hack[] = {"gold", "turn", "length", "dominance"};
    write_candidates();
    for (size_t k = 0; k < sizeof of_hack / sizeof *of_hack; k++) {
        CU_ASSERT_EQUAL(raised(of_hack[k], "1.0"), 1);
        CU_ASSERT_EQUAL(raised(of_hack[k], "0.0"), 0);
    }
    CU_ASSERT_EQUAL(raised_by_fading("variance", "0.01"), 1);
    CU_ASSERT_EQUAL(raised_by_fading("variance", "0.5"), 0);
    CU_ASSERT_EQUAL(raised_by_fading("groups", "0.0"), 1);
    CU_ASSERT_EQUAL(raised_by_fading("groups", "0.01"), 0);
    remove("watch.jsonl");
}

/* A run that is told to stop stops, evaluated and whole. */
static void
stops(void)
{
    mete_error err = {0};
    write_candidates();
    struct opened o = open_loop(hack("stop", ""));
    uint64_t steps = 0;
    while (mete__loop_done(o.loop) < mete__loop_total(o.loop) && steps < 100 &&
           mete__loop_step(o.loop, &err) == METE_OK)
        steps++;
    CU_ASSERT(steps > 5 && steps < 60);
    CU_ASSERT_EQUAL(metric(&o, "watch/raised"), 1);
    close_loop(&o);
    remove("watch.jsonl");
}

/* Told before anything runs. */
static void
bad_blocks(void)
{
    static const char *const wrong[][2] = {
        {"node = \"rigth\";", "watch.node = \"rigth\" names no reward that the total is a sum of"},
        {"node = \"gold\";", "names no reward that the total is a sum of"},
        {"factor = 2.0;", "watch.factor"},
        {"smooth = 0.0;", "watch.smooth"},
        {"treshold = 1;", "treshold"},
    };
    write_candidates();
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        mete__errors errors = {0};
        mete__engine_options options = {.seed = 7, .threads = 1};
        const char *text = hack("log", wrong[k][0]);
        mete__config *config = mete__config_parse("w.cfg", text, strlen(text), NULL, 0, &errors);
        mete__engine *engine = mete__engine_open(config, &options, &errors);
        CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
        CU_ASSERT_PTR_NULL(mete__loop_new(engine, config, NULL, &errors));
        CU_ASSERT_EQUAL(errors.count, 1);
        bool told = errors.count && strstr(errors.line[0], wrong[k][1]);
        if (!told)
            printf("%s\n", errors.count ? errors.line[0] : "nothing was said");
        CU_ASSERT(told);
        mete__errors_free(&errors);
        mete__engine_close(engine);
        mete__config_free(config);
    }
    remove("watch.jsonl");
}

void
suite_watch(void)
{
    CU_pSuite suite = CU_add_suite("watch", NULL, NULL);
    CU_add_test(suite, "resumes exactly", resumes_exactly);
    CU_add_test(suite, "each sign by itself", each_sign);
    CU_add_test(suite, "lowers a weight", lowers);
    CU_add_test(suite, "stops a run", stops);
    CU_add_test(suite, "bad blocks", bad_blocks);
}
