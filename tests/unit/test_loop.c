/* The loop as a whole, in this process: small configs run for a few iterations and compared bit by
 * bit. */
#include "loop/inner.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a run leaves: its metrics, line by line, and the parameters. */
struct outcome {
    char *metrics;
    float *parameter;
    size_t parameters;
    int status;
    char message[400];
};

static int
keep_metrics(void *user, const char *json, size_t length, mete_error *err)
{
    struct outcome *out = user;
    size_t had = out->metrics ? strlen(out->metrics) : 0;
    char *grown = realloc(out->metrics, had + length + 2);
    if (!grown)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    memcpy(grown + had, json, length);
    memcpy(grown + had + length, "\n", 2);
    out->metrics = grown;
    return METE_OK;
}

static struct outcome
run(const char *text, unsigned threads)
{
    struct outcome out = {0};
    mete__errors errors = {0};
    mete_error err = {0};
    mete__engine_options options = {.seed = 7, .threads = threads};
    mete__loop_sinks sinks = {.user = &out, .metrics = keep_metrics};
    mete__config *config = mete__config_parse("l.cfg", text, strlen(text), NULL, 0, &errors);
    mete__engine *engine = config ? mete__engine_open(config, &options, &errors) : NULL;
    mete__loop *loop = engine ? mete__loop_new(engine, config, &sinks, &errors) : NULL;
    for (size_t i = 0; i < errors.count; i++)
        printf("%s\n", errors.line[i]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(loop);
    while (!out.status && mete__loop_done(loop) < mete__loop_total(loop))
        out.status = mete__loop_step(loop, &err);
    snprintf(out.message, sizeof out.message, "%s", err.message);
    out.parameters = loop->parameters;
    out.parameter = malloc(loop->parameters * sizeof(float));
    if (out.parameter)
        memcpy(out.parameter, loop->parameter, loop->parameters * sizeof(float));
    mete__loop_free(loop);
    mete__engine_close(engine);
    mete__config_free(config);
    mete__errors_free(&errors);
    return out;
}

static void
release(struct outcome *out)
{
    free(out->metrics);
    free(out->parameter);
}

static bool
same_parameters(const struct outcome *a, const struct outcome *b)
{
    return a->parameter && b->parameter && a->parameters == b->parameters &&
           memcmp(a->parameter, b->parameter, a->parameters * sizeof(float)) == 0;
}

/* The number of the first line called `name`, as it is written; "" when there is none. */
static const char *
first_metric(const struct outcome *out, const char *name)
{
    static char value[64];
    char key[80];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = out->metrics ? strstr(out->metrics, key) : NULL;
    value[0] = 0;
    if (at)
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at + strlen(key), ",}"),
                 at + strlen(key));
    return value;
}

/* PPO on the pole; `more` joins the policy's options and `node` the second reward. */
static const char *
pole(const char *heads, const char *value, const char *node)
{
    static char text[2000];
    snprintf(text, sizeof text,
             "run = { seed = 7; iterations = 3; };"
             "env = { use = \"cartpole\"; lanes = 4; steps = 64; };"
             "policy = { use = \"mlp\"; %s };"
             "reward = { use = \"sum\"; of = ( { name = \"own\"; use = \"environment\"; },"
             "  { name = \"other\"; use = \"expr\"; value = \"%s\"; weight = 0.0; %s } ); };"
             "objective = { use = \"ppo\"; epochs = 2; };",
             heads, value, node);
    return text;
}

/* A node that is a stream of its own, of a discount and a value head of its own, leaves everything
 * else as it is: with its coefficient at 0 no parameter moves by a bit; with a head of its own the
 * other scores and the advantage of the first batch, before anything is learnt, are the same. */
static void
own_stream_changes_nothing_else(void)
{
    struct outcome plain = run(pole("", "steps / 10", ""), 1);
    struct outcome own = run(
        pole("", "steps / 10", "node = { stream = { gamma = 0.5; lambda = 0.1; coef = 0.0; }; };"),
        1);
    CU_ASSERT(plain.status == METE_OK && own.status == METE_OK);
    CU_ASSERT(same_parameters(&plain, &own));
    CU_ASSERT_STRING_EQUAL(plain.metrics, own.metrics);
    struct outcome two = run(pole("heads = 2;", "steps / 10", ""), 1);
    struct outcome head = run(pole("heads = 2;", "steps / 10",
                                   "node = { stream = { gamma = 0.5; coef = 0.0; head = 1; }; };"),
                              1);
    static const char *const name[] = {"reward", "reward/own", "reward/other", "advantage/mean",
                                       "advantage/sd"};
    for (size_t k = 0; k < sizeof name / sizeof *name; k++) {
        char kept[64];
        snprintf(kept, sizeof kept, "%s", first_metric(&two, name[k]));
        if (!*kept)
            printf("%s is not in %s\n", name[k], two.metrics);
        CU_ASSERT(*kept != 0);
        CU_ASSERT_STRING_EQUAL(first_metric(&head, name[k]), kept);
    }
    CU_ASSERT(!same_parameters(&two, &head)); /* its head did learn its targets */
    release(&plain);
    release(&own);
    release(&two);
    release(&head);
}

/* Rows a stream's own node could not score get nothing from it: they do not enter it as zeros. */
static void
failed_rows_leave_their_stream(void)
{
    static const char *const stream = "node = { stream = { coef = 1.0; }; };";
    struct outcome without = run(pole("", "steps / 10", ""), 1);
    struct outcome failing = run(pole("", "1 / (steps < 0)", stream), 1);
    struct outcome scoring = run(pole("", "steps / 10", stream), 1);
    CU_ASSERT(failing.status == METE_OK && scoring.status == METE_OK);
    CU_ASSERT(same_parameters(&without, &failing));
    CU_ASSERT(!same_parameters(&without, &scoring));
    release(&without);
    release(&failing);
    release(&scoring);
}

/* Any number of threads gives the same bits, of metrics and of parameters. */
static void
threads_agree(void)
{
    struct outcome one = run(pole("", "steps / 10", ""), 1),
                   two = run(pole("", "steps / 10", ""), 2);
    CU_ASSERT(same_parameters(&one, &two));
    CU_ASSERT_STRING_EQUAL(one.metrics, two.metrics);
    release(&one);
    release(&two);
}

/* A run whose rewards fail beyond run.max_failed stops and says why. */
static void
too_many_failures(void)
{
    struct outcome out = run("run = { iterations = 2; max_failed = 0.2; };"
                             "env = { use = \"cartpole\"; lanes = 4; steps = 32; };"
                             "policy = { use = \"mlp\"; };"
                             "reward = { use = \"expr\"; value = \"1 / (steps < 0)\"; };"
                             "objective = { use = \"ppo\"; };",
                             1);
    CU_ASSERT_EQUAL(out.status, METE_EDATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.message, "run.max_failed = 0.2"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.message, "the expression gives inf"));
    release(&out);
}

void
suite_loop(void)
{
    CU_pSuite suite = CU_add_suite("loop", NULL, NULL);
    CU_add_test(suite, "a stream of its own changes nothing else", own_stream_changes_nothing_else);
    CU_add_test(suite, "failed rows leave their stream", failed_rows_leave_their_stream);
    CU_add_test(suite, "threads agree", threads_agree);
    CU_add_test(suite, "too many failures", too_many_failures);
}
