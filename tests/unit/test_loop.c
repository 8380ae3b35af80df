/* The loop as a whole, in this process: small configs run for a few iterations and compared bit by
 * bit. */
#include "loops.h"

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
    char message[1000];
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
    /* Nor does a head of its own learn anything of them: it stays as a head that no stream has. */
    struct outcome spare = run(pole("heads = 2;", "steps / 10", ""), 1);
    struct outcome lost = run(
        pole("heads = 2;", "1 / (steps < 0)", "node = { stream = { coef = 0.0; head = 1; }; };"),
        1);
    CU_ASSERT(spare.status == METE_OK && lost.status == METE_OK);
    CU_ASSERT(same_parameters(&spare, &lost));
    release(&spare);
    release(&lost);
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
    /* In held-out episodes too, before anything is learnt. */
    out = run("run = { iterations = 2; max_failed = 0.2; };"
              "env = { use = \"cartpole\"; lanes = 4; steps = 32; };"
              "policy = { use = \"mlp\"; };"
              "reward = { use = \"expr\"; value = \"1 / (steps < 9)\"; };"
              "objective = { use = \"ppo\"; }; evaluate = { episodes = 8; };"
              "snapshots = { reference = { at = \"start\"; }; };",
              1);
    CU_ASSERT_EQUAL(out.status, METE_EDATA);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.message, "8 of 8 episodes could not be scored"));
    release(&out);
}

/* A snapshot goes on as the version it was taken of, not as the one a run was resumed at. */
static void
snapshots_keep_their_version(void)
{
    const char *text = "run = { seed = 7; iterations = 4; };"
                       "env = { use = \"cartpole\"; lanes = 4; steps = 32; };"
                       "policy = { use = \"mlp\"; }; reward = { use = \"environment\"; };"
                       "snapshots = { old = { at = \"start\"; every = 2; }; };"
                       "objective = { use = \"ppo\"; epochs = 1; };";
    mete_error err = {0};
    struct opened first = open_loop(text), second = open_loop(text);
    mete__checkpoint *checkpoint = mete__checkpoint_new();
    while (mete__loop_done(first.loop) < 3)
        CU_ASSERT_EQUAL_FATAL(mete__loop_step(first.loop, &err), METE_OK);
    uint64_t taken = mete__snapshot_params(first.loop, "old").version;
    CU_ASSERT(taken > 0 && taken < mete__loop_params(first.loop).version);
    CU_ASSERT_EQUAL_FATAL(mete__loop_save(first.loop, checkpoint, &err), METE_OK);
    CU_ASSERT_EQUAL_FATAL(mete__loop_load(second.loop, checkpoint, &err), METE_OK);
    CU_ASSERT_EQUAL(mete__snapshot_params(second.loop, "old").version, taken);
    CU_ASSERT_PTR_NULL(mete__snapshot_params(second.loop, "none").vector);
    mete__checkpoint_free(checkpoint);
    close_loop(&first);
    close_loop(&second);
}

/* ---- offline learning ------------------------------------------------------------------------ */

/* What tests/plugins/length_preference.c learnt: worth of a byte, pairs seen, epochs, held out. */
static const double *
learnt(const struct opened *o)
{
    return mete__engine_find(o->engine, "rm")->tensor[0].data;
}

/* Chooses among texts of many lengths; the longer is the better; `rm` learns that in `stages`. */
static const char *
fit_config(const char *more, const char *stages)
{
    static char text[2000];
    snprintf(text, sizeof text,
             "run = { seed = 7; };"
             "env = { use = \"candidates\"; data = \"fit_texts.jsonl\"; lanes = 16; group = 4; };"
             "policy = { use = \"scorer\"; };"
             "reward = { use = \"sum\"; of = ("
             "  { name = \"oracle\"; use = \"length\"; shape = \"linear\"; target = 1.0; },"
             "  { name = \"rm\"; use = \"length_preference\"; weight = 0.0; %s } ); };"
             "stages = ( %s );",
             more, stages);
    return text;
}

static FILE *
open_file(const char *name)
{
    FILE *file = fopen(name, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    return file;
}

static void
write_texts(void)
{
    FILE *file = open_file("fit_texts.jsonl");
    for (int row = 0; row < 12; row++)
        fprintf(file, "{\"prompt\":\"p%d\",\"candidates\":[\"a\",\"bb\",\"c%*s\",\"d%*s\"]}\n", row,
                row + 3, "x", 2 * row + 5, "y");
    fclose(file);
}

/* The pairs that a fit from samples just learnt from, as a file of records. */
static size_t
write_pairs(struct opened *o)
{
    mete_error err = {0};
    const struct mete__work *w = o->loop->work;
    const mete_batch *batch = mete__builder_batch(o->loop->train.builder, &err);
    FILE *file = open_file("fit_pairs.jsonl");
    for (size_t k = 0; k < w->units; k++) {
        mete_text a = batch->response[w->unit[2 * k]], b = batch->response[w->unit[2 * k + 1]];
        fprintf(file, "{\"prompt\":\"p\",\"chosen\":\"%.*s\",\"rejected\":\"%.*s\"}\n",
                (int)a.length, a.data, (int)b.length, b.data);
    }
    fclose(file);
    return w->units;
}

/* Pairs of samples and the same pairs from a file give the same fit. */
static void
pairs_from_anywhere_fit_alike(void)
{
    write_texts();
    struct opened sampled = open_loop(fit_config(
        "",
        "{ do = \"fit\"; node = \"rm\"; label = \"oracle\"; pairing = \"all\"; iterations = 1; }"));
    finish(&sampled);
    size_t pairs = write_pairs(&sampled);
    CU_ASSERT(pairs > 4);
    struct opened filed = open_loop(fit_config(
        "", "{ do = \"fit\"; node = \"rm\"; data = \"fit_pairs.jsonl\"; minibatch = 1000; "
            "validation = 0.0; }"));
    finish(&filed);
    CU_ASSERT_EQUAL(learnt(&filed)[1], (double)pairs);
    CU_ASSERT_EQUAL(learnt(&sampled)[1], (double)pairs);
    CU_ASSERT(learnt(&filed)[0] > 0);
    CU_ASSERT_DOUBLE_EQUAL(learnt(&filed)[0], learnt(&sampled)[0], 1e-12);
    close_loop(&sampled);
    close_loop(&filed);
    remove("fit_pairs.jsonl");
    remove("fit_texts.jsonl");
}

/* One step from 0 over pairs of one difference: rate (p - 1/2) difference. */
static void
one_step_by_hand(void)
{
    write_texts();
    FILE *file = open_file("fit_pairs.jsonl");
    for (int k = 0; k < 5; k++)
        fprintf(file,
                "{\"prompt\":\"p%d\",\"better\":\"abcdef\",\"worse\":\"abc\",\"chance\":0.8}\n", k);
    fclose(file);
    struct opened o = open_loop(fit_config(
        "rate = 0.5;", "{ do = \"fit\"; node = \"@rm\"; data = \"fit_pairs.jsonl\"; chosen = "
                       "\"better\"; rejected = \"worse\"; validation = 0.0; }"));
    finish(&o);
    CU_ASSERT_DOUBLE_EQUAL(learnt(&o)[0], .5 * (.8 - .5) * 3, 1e-12);
    close_loop(&o);
    remove("fit_pairs.jsonl");
    remove("fit_texts.jsonl");
}

static void
write_many_pairs(void)
{
    FILE *file = open_file("fit_pairs.jsonl");
    for (int k = 0; k < 50; k++)
        fprintf(file, "{\"prompt\":\"p%d\",\"chosen\":\"%*s\",\"rejected\":\"%*s\"}\n", k % 7,
                k % 11 + 2, "x", k % 5 + 1, "y");
    fclose(file);
}

/* Epochs see each training record once, the held-out ones never; a node may stop early; a fit that
 * is interrupted anywhere goes on with the same bits. */
static void
epochs_and_resume(void)
{
    static const char *const stage = "{ do = \"fit\"; node = \"rm\"; data = \"fit_pairs.jsonl\"; "
                                     "epochs = 4; minibatch = 7; validation = 0.2; }";
    mete_error err = {0};
    write_texts();
    write_many_pairs();
    struct opened whole = open_loop(fit_config("rate = 0.01;", stage));
    CU_ASSERT_EQUAL(mete__loop_total(whole.loop), 4 * 6);
    finish(&whole);
    CU_ASSERT(learnt(&whole)[1] == 160 && learnt(&whole)[2] == 4 && learnt(&whole)[3] == 10);
    for (uint64_t cut = 1; cut < 24; cut += 5) {
        struct opened first = open_loop(fit_config("rate = 0.01;", stage));
        struct opened second = open_loop(fit_config("rate = 0.01;", stage));
        mete__checkpoint *checkpoint = mete__checkpoint_new();
        while (mete__loop_done(first.loop) < cut)
            CU_ASSERT_EQUAL_FATAL(mete__loop_step(first.loop, &err), METE_OK);
        CU_ASSERT_EQUAL_FATAL(mete__loop_save(first.loop, checkpoint, &err), METE_OK);
        CU_ASSERT_EQUAL_FATAL(mete__loop_load(second.loop, checkpoint, &err), METE_OK);
        finish(&second);
        CU_ASSERT_EQUAL(memcmp(learnt(&second), learnt(&whole), 4 * sizeof(double)), 0);
        mete__checkpoint_free(checkpoint);
        close_loop(&first);
        close_loop(&second);
    }
    struct opened stops = open_loop(fit_config("rate = 0.01; patience = 2.0;", stage));
    finish(&stops);
    CU_ASSERT(learnt(&stops)[1] == 80 && learnt(&stops)[2] == 2);
    close_loop(&stops);
    close_loop(&whole);
    remove("fit_pairs.jsonl");
    remove("fit_texts.jsonl");
}

/* What is wrong with a fit is told before anything runs. */
static void
bad_fits(void)
{
    static const char *const wrong[][2] = {
        {"{ do = \"fit\"; data = \"fit_texts.jsonl\"; response = \"prompt\"; }", "node = \"NAME\""},
        {"{ do = \"fit\"; node = \"rn\"; }", "names no node"},
        {"{ do = \"fit\"; node = \"oracle\"; }", "learns nothing from data"},
        {"{ do = \"fit\"; node = \"rm\"; data = \"fit_texts.jsonl\"; }", "no field 'response'"},
        {"{ do = \"fit\"; node = \"rm\"; data = \"fit_texts.jsonl\"; chosen = \"prompt\"; }",
         "no field 'rejected'"},
        {"{ do = \"fit\"; node = \"rm\"; data = \"fit_none.jsonl\"; }", "fit_none.jsonl"},
        {"{ do = \"fit\"; node = \"rm\"; epoch = 2; }", "epoch"},
    };
    write_texts();
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        mete__errors errors = {0};
        mete__engine_options options = {.seed = 7, .threads = 1};
        const char *text = fit_config("", wrong[k][0]);
        mete__config *config = mete__config_parse("l.cfg", text, strlen(text), NULL, 0, &errors);
        mete__engine *engine = mete__engine_open(config, &options, &errors);
        CU_ASSERT_PTR_NOT_NULL_FATAL(engine);
        CU_ASSERT_PTR_NULL(mete__loop_new(engine, config, NULL, &errors));
        CU_ASSERT_FATAL(errors.count > 0);
        if (!strstr(errors.line[0], wrong[k][1]))
            printf("%s\n", errors.line[0]);
        CU_ASSERT_PTR_NOT_NULL(strstr(errors.line[0], wrong[k][1]));
        mete__engine_close(engine);
        mete__config_free(config);
        mete__errors_free(&errors);
    }
    remove("fit_texts.jsonl");
}

void
suite_loop(void)
{
    CU_pSuite suite = CU_add_suite("loop", NULL, NULL);
    CU_add_test(suite, "a stream of its own changes nothing else", own_stream_changes_nothing_else);
    CU_add_test(suite, "failed rows leave their stream", failed_rows_leave_their_stream);
    CU_add_test(suite, "snapshots keep their version", snapshots_keep_their_version);
    CU_add_test(suite, "threads agree", threads_agree);
    CU_add_test(suite, "too many failures", too_many_failures);
    CU_add_test(suite, "pairs from a file and from samples fit alike",
                pairs_from_anywhere_fit_alike);
    CU_add_test(suite, "one step of a fit by hand", one_step_by_hand);
    CU_add_test(suite, "epochs, held-out records, stopping, resuming", epochs_and_resume);
    CU_add_test(suite, "bad fits", bad_fits);
}
