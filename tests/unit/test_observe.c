/* env.observe, what the policy observes, and tasks, which tasks it is given. */
#include "loops.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <mete/text.h>
#include <stdio.h>
#include <string.h>

/* The pole, with a reward that counts the steps of an episode in its episode state. */
static const char *
pole_config(const char *observe, int steps)
{
    static char text[1000];
    snprintf(
        text, sizeof text,
        "run = { seed = 7; iterations = 6; };"
        "env = { use = \"cartpole\"; lanes = 8; steps = %d; max_steps = 30; observe = ( %s ); };"
        "policy = { use = \"mlp\"; hidden = [ 8 ]; };"
        "reward = { use = \"sum\"; of = ( { name = \"own\"; use = \"environment\"; },"
        "  { name = \"counts\"; use = \"tally\"; weight = 0.0; } ); };"
        "objective = { use = \"ppo\"; epochs = 2; };",
        steps, observe);
    return text;
}

/* 10 a step so far: nothing where an episode starts, what the tree gives it in the step before, and
 * the last of it in the final observation; whether a batch begins there or not. The tree's own
 * count is not moved by it. */
static void
reward_is_observed(void)
{
    static const int steps[] = {7, 0};
    for (size_t k = 0; k < 2; k++) {
        struct opened o = open_loop(pole_config("\"@counts:value\"", steps[k]));
        mete_error err = {0};
        size_t ended = 0, continued = 0;
        for (int n = 0; n < 8; n++) {
            const mete_batch *b = collect(&o, NULL);
            CU_ASSERT_EQUAL_FATAL(b->observation_size, 5);
            CU_ASSERT_EQUAL_FATAL(mete__score(o.engine, mete__engine_reward(o.engine), b, &err), 0);
            const mete_scores *told = mete__node_scores(mete__engine_find(o.engine, "counts"));
            for (size_t t = 0; t < b->steps; t++) {
                size_t i = b->step_row[t], at = b->first_step[i] + t - b->step_begin[i];
                CU_ASSERT_EQUAL(b->observation[5 * t + 4], (float)(10 * at));
                CU_ASSERT_EQUAL(told->step[t], (double)(10 * (at + 1)));
            }
            for (size_t i = 0; i < b->episodes; i++) {
                size_t length = b->first_step[i] + b->step_begin[i + 1] - b->step_begin[i];
                CU_ASSERT_EQUAL(b->final_observation[5 * i + 4], (float)(10 * length));
                ended += b->terminated[i] | b->truncated[i];
                continued += !b->starts[i];
            }
            mete__episodes_end(o.engine, b);
        }
        CU_ASSERT(ended > 8 && (continued > 0) == (steps[k] > 0));
        close_loop(&o);
    }
}

/* Parts of the environment's own, in the order of the list. */
static void
parts_are_chosen(void)
{
    struct opened whole = open_loop(pole_config("\"observation\"", 5));
    struct opened some = open_loop(pole_config("\"observation[3]\", \"observation[0:2]\"", 5));
    const mete_batch *all = collect(&whole, NULL), *b = collect(&some, NULL);
    CU_ASSERT_EQUAL_FATAL(all->observation_size, 4);
    CU_ASSERT_EQUAL_FATAL(b->observation_size, 3);
    for (size_t i = 0; i < 8; i++) { /* lanes start alike, whatever their policies do */
        const float *was = all->observation + 4 * all->step_begin[i];
        const float *is = b->observation + 3 * b->step_begin[i];
        CU_ASSERT(is[0] == was[3] && is[1] == was[0] && is[2] == was[1]);
    }
    close_loop(&whole);
    close_loop(&some);
}

/* Neither threads nor
 * an interruption. */
static void
same_bits(void)
{
    mete_error err = {0};
    struct opened one = open_loop_on(pole_config("\"@counts:value\"", 7), 1);
    struct opened two = open_loop_on(pole_config("\"@counts:value\"", 7), 2);
    struct opened first = open_loop(pole_config("\"@counts:value\"", 7));
    struct opened second = open_loop(pole_config("\"@counts:value\"", 7));
    mete__checkpoint *checkpoint = mete__checkpoint_new();
    size_t bytes = one.loop->parameters * sizeof(float);
    while (mete__loop_done(first.loop) < 3)
        CU_ASSERT_EQUAL_FATAL(mete__loop_step(first.loop, &err), METE_OK);
    CU_ASSERT_EQUAL_FATAL(mete__loop_save(first.loop, checkpoint, &err), METE_OK);
    CU_ASSERT_EQUAL_FATAL(mete__loop_load(second.loop, checkpoint, &err), METE_OK);
    finish(&one);
    finish(&two);
    finish(&second);
    CU_ASSERT_EQUAL(memcmp(one.loop->parameter, two.loop->parameter, bytes), 0);
    CU_ASSERT_EQUAL(memcmp(one.loop->parameter, second.loop->parameter, bytes), 0);
    mete__checkpoint_free(checkpoint);
    close_loop(&one);
    close_loop(&two);
    close_loop(&first);
    close_loop(&second);
}

/* What cannot be is told by a sentence. */
static void
refused(const char *text, const char *says)
{
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 7, .threads = 1};
    mete__config *config = mete__config_parse("l.cfg", text, strlen(text), NULL, 0, &errors);
    mete__engine *engine = config ? mete__engine_open(config, &options, &errors) : NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
    CU_ASSERT_PTR_NULL(mete__loop_new(engine, config, NULL, &errors));
    CU_ASSERT_FATAL(errors.count > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(errors.line[0], says));
    if (!strstr(errors.line[0], says))
        printf("%s\n", errors.line[0]);
    mete__engine_close(engine);
    mete__config_free(config);
    mete__errors_free(&errors);
}

static void
bad_lists(void)
{
    refused(pole_config("\"observation[2:5]\"", 5), "within its 4 numbers");
    refused(pole_config("\"velocity\"", 5), "is nothing the policy may observe");
    refused(pole_config("3", 5), "is nothing the policy may observe");
    refused(pole_config("\"@none:value\"", 5), "names no reward of the tree");
    refused(pole_config("\"@counts:steps\"", 5), "tells no 'steps' at each step");
    refused(pole_config("", 5), "is a list of what a vector is made of");
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static const char *
chat_config(const char *env, const char *tasks)
{
    static char text[1000];
    snprintf(text, sizeof text,
             "run = { seed = 7; iterations = 1; };"
             "env = { use = \"chatworld\"; act = \"choose\"; lanes = 64; %s };"
             "policy = { use = \"scorer\"; bits = 8; };"
             "reward = { use = \"environment\"; };"
             "objective = { use = \"grpo\"; };"
             "tasks = { %s };",
             env, tasks);
    return text;
}

/* How many groups met a user of the type, of `groups`. */
static double
met(struct opened *o, const char *type, size_t *groups)
{
    double count = 0;
    *groups = 0;
    for (int n = 0; n < 20; n++) {
        const mete_batch *b = collect(o, NULL);
        const mete_text *is = NULL;
        for (uint32_t c = 0; c < b->columns; c++)
            if (strcmp(b->column[c].name, "user_type") == 0)
                is = b->column[c].data;
        CU_ASSERT_PTR_NOT_NULL_FATAL(is);
        for (size_t g = 0; g < b->groups; g++)
            count += mete_text_equal(is[b->group[g]], mete_text_from(type));
        *groups += b->groups;
    }
    return count;
}

/* Kinds come by their weights, whatever number of tasks they have. Within 5 standard errors. */
static void
tasks_by_weight(void)
{
    size_t n;
    struct opened some = open_loop(chat_config(
        "group = 2;", "by = \"user_type\"; weights = { cook = 3.0; reader = 1.0; }; other = 0.0;"));
    double cooks = met(&some, "cook", &n);
    CU_ASSERT_EQUAL(n, 640);
    CU_ASSERT(fabs(cooks - .75 * 640) < 5 * sqrt(640 * .75 * .25));
    CU_ASSERT_EQUAL(met(&some, "hiker", &n), 0);
    close_loop(&some);
    struct opened even =
        open_loop(chat_config("prior = [ 0.7, 0.1, 0.1, 0.1 ];", "by = \"user_type\";"));
    double hikers = met(&even, "hiker", &n);
    CU_ASSERT(fabs(hikers / (double)n - .25) < 5 * sqrt(.25 * .75 / (double)n));
    close_loop(&even);
}

static void
bad_tasks(void)
{
    refused(chat_config("", "by = \"heard\";"), "is no text an episode");
    refused(chat_config("", "by = \"user_type\"; weights = { cok = 1.0; };"), "cook");
    refused(chat_config("", "by = \"user_type\"; other = 0.0;"), "no kind has a weight above 0");
    refused(chat_config("steps = 2;", "by = \"user_type\";"), "leave env.steps out");
    refused(chat_config("", "by = \"user_type\"; weight = 1;"), "weight");
}

void
suite_observe(void)
{
    CU_pSuite suite = CU_add_suite("observe", NULL, NULL);
    CU_add_test(suite, "what a reward tells is observed", reward_is_observed);
    CU_add_test(suite, "parts of an observation", parts_are_chosen);
    CU_add_test(suite, "threads and resume", same_bits);
    CU_add_test(suite, "lists refused", bad_lists);
    CU_add_test(suite, "tasks by weight", tasks_by_weight);
    CU_add_test(suite, "tasks refused", bad_tasks);
}
