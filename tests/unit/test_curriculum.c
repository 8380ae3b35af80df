/* test_curriculum.c - tasks and criteria that a stage learns from: chosen by their definition, asked
 * for alone, whole again in held-out episodes, and the same after a resume. */
#include "loops.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Tasks 0, 3, 6, 9 are met by every candidate, 1, 4, 7, 10 by none, the others by half: their means
 * are 1, 1/4 and, but for 2 in 2^16 each, between. */
static struct opened
opened(const char *curriculum)
{
    static const char *const candidates[] = {"\"a\",\"a a\"", "\"b\",\"b b\"", "\"a\",\"b\""};
    static char text[3000];
    FILE *file = fopen("curriculum.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (int row = 0; row < 12; row++)
        fprintf(file, "{\"prompt\":\"p%d\",\"candidates\":[%s],\"scores\":[0,1]}\n", row,
                candidates[row % 3]);
    fclose(file);
    snprintf(
        text, sizeof text,
        "run = { seed = 7; };"
        "env = { use = \"candidates\"; data = \"curriculum.jsonl\"; lanes = 32; group = 4; };"
        "policy = { use = \"scorer\"; }; objective = { use = \"grpo\"; };"
        "reward = { name = \"r\"; use = \"rubric\"; generator = { use = \"static\"; criteria = ("
        "{ text = \"A\"; check = \"contains\"; target = \"a\"; points = 3.0; },"
        "{ text = \"always\"; check = \"not_contains\"; target = \"z\"; } ); }; };"
        "evaluate = { episodes = 8; };"
        "stages = ( { do = \"train\"; iterations = 4; curriculum = %s; },"
        "{ do = \"train\"; name = \"all\"; iterations = 1; } );",
        curriculum);
    struct opened o = open_loop(text);
    remove("curriculum.jsonl");
    return o;
}

#define CURRICULUM "{ rollouts = 16; lo = 0.3; hi = 0.95; met = 0.9; }"

static void
steps(struct opened *o, int count)
{
    mete_error err = {0};
    for (int i = 0; i < count; i++)
        if (mete__loop_step(o->loop, &err))
            printf("%s\n", err.message);
    CU_ASSERT_EQUAL_FATAL(err.code, METE_OK);
}

static void
chosen(void)
{
    static const char *const name[] = {"tasks",    "kept",     "too_low",  "too_high",
                                       "unscored", "rollouts", "criteria", "left_out"};
    /* "always" goes from the eight prompts that have another criterion to stay */
    static const double want[] = {12, 4, 4, 4, 0, 12 * 16, 24, 8};
    struct opened o = opened(CURRICULUM);
    steps(&o, 1);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char full[60];
        snprintf(full, sizeof full, "curriculum/%s", name[i]);
        CU_ASSERT_EQUAL(mete__metrics_get(&o.loop->metrics, full), want[i]);
    }
    /* what is learnt from: half-met prompts, judged by A alone, so 0 or 1 */
    double least = mete__metrics_get(&o.loop->metrics, "reward/min");
    double mean = mete__metrics_get(&o.loop->metrics, "reward");
    CU_ASSERT_EQUAL(least, 0);
    CU_ASSERT(mean > 0 && mean < 1);
    for (size_t i = 0; i < 32; i++) {
        const mete__graded *row = mete__node_graded(mete__engine_reward(o.engine), i);
        CU_ASSERT_PTR_NOT_NULL_FATAL(row);
        CU_ASSERT_EQUAL_FATAL(row->count, 1);
        CU_ASSERT_EQUAL(row->item[0].text.data[0], 'A');
    }
    /* the held-out table judged by both, as without a curriculum: a quarter is everybody's */
    mete_error err = {0};
    CU_ASSERT_EQUAL(mete__evaluate(o.loop, &o.loop->after, &err), METE_OK);
    double held = mete__metrics_get(&o.loop->after.metrics, "eval/reward/min");
    CU_ASSERT(isnan(held) || held >= .25);
    CU_ASSERT(mete__metrics_get(&o.loop->after.metrics, "eval/reward") >= .25);
    steps(&o, 4); /* the next stage has no curriculum: all tasks, all criteria */
    CU_ASSERT_PTR_NULL(o.loop->train.only);
    CU_ASSERT(mete__metrics_get(&o.loop->metrics, "reward/min") >= .25);
    close_loop(&o);
}

static void
resumed(void)
{
    struct opened whole = opened(CURRICULUM), first = opened(CURRICULUM),
                  second = opened(CURRICULUM);
    mete__checkpoint *checkpoint = mete__checkpoint_new();
    mete_error err = {0};
    steps(&whole, 5);
    steps(&first, 2);
    CU_ASSERT_EQUAL(mete__loop_save(first.loop, checkpoint, &err), METE_OK);
    CU_ASSERT_EQUAL(mete__loop_load(second.loop, checkpoint, &err), METE_OK);
    CU_ASSERT_EQUAL(second.loop->train.onlys, 4);
    steps(&second, 3);
    CU_ASSERT_EQUAL(memcmp(whole.loop->parameter, second.loop->parameter,
                           whole.loop->parameters * sizeof(float)),
                    0);
    mete__checkpoint_free(checkpoint);
    close_loop(&whole);
    close_loop(&first);
    close_loop(&second);
}

/* Where nothing is within the bounds the run says so. */
static void
nothing_left(void)
{
    mete_error err = {0};
    struct opened o = opened("{ rollouts = 16; lo = 0.26; hi = 0.261; }");
    CU_ASSERT_EQUAL(mete__loop_step(o.loop, &err), METE_EDATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "keeps none of 12 tasks"));
    close_loop(&o);
}

void
suite_curriculum(void)
{
    CU_pSuite suite = CU_add_suite("curriculum", NULL, NULL);
    CU_add_test(suite, "what is chosen", chosen);
    CU_add_test(suite, "resumed half-way", resumed);
    CU_add_test(suite, "nothing is left", nothing_left);
}
