/* Rewards in processes of their own: the same scores, and a fault costs its own row alone. */
#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 2000 };

/* Sanitizers end a process slowly and in their own way. */
#ifdef __SANITIZE_ADDRESS__
#define TIMEOUT "2"
#define SANITIZED 1
#else
#define TIMEOUT "0.3"
#define SANITIZED 0
#endif

typedef struct opened {
    mete__config *config;
    mete__engine *engine;
    mete__errors errors;
    char said[400]; /* the last line of the journal */
} opened;

static void
hear(void *user, const char *path, int level, const char *text)
{
    opened *o = user;
    (void)level;
    snprintf(o->said, sizeof o->said, "%s: %s", path, text);
}

static opened *
open_text(const char *text, unsigned threads)
{
    opened *o = calloc(1, sizeof *o);
    mete__engine_options options = {.seed = 5, .threads = threads, .log = hear, .user = o};
    o->config = mete__config_parse("test.cfg", text, strlen(text), NULL, 0, &o->errors);
    o->engine = o->config ? mete__engine_open(o->config, &options, &o->errors) : NULL;
    return o;
}

static void
close_it(opened *o)
{
    mete__engine_close(o->engine);
    mete__config_free(o->config);
    mete__errors_free(&o->errors);
    free(o);
}

/* Rows in groups of four; `response[k]` stands at row at[k], the others say "fine" and a number. */
static mete__builder *
rows_with(size_t rows, const char *const *response, const size_t *at, size_t count)
{
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    char text[64];
    for (size_t i = 0; i < rows; i++) {
        snprintf(text, sizeof text, "fine %zu", i);
        for (size_t k = 0; k < count; k++)
            if (at[k] == i)
                snprintf(text, sizeof text, "%s", response[k]);
        mete__builder_row(builder, &(mete__row){.id = 100 + i,
                                                .prompt_id = i / 4,
                                                .joins = i % 4 != 0,
                                                .prompt = {"p", 1},
                                                .response = mete_text_from(text)});
        for (int k = 0; k < 3; k++)
            mete__builder_step(builder, &(mete__step){.action = k, .logp = -1, .loss_mask = 1});
    }
    return builder;
}

static const mete_scores *
scored(opened *o, mete__builder *builder)
{
    mete_error err = {0};
    mete__engine_reset(o->engine);
    int status = mete__score(o->engine, mete__engine_reward(o->engine),
                             mete__builder_batch(builder, &err), &err);
    if (status)
        printf("%s\n", err.message);
    CU_ASSERT_EQUAL_FATAL(status, METE_OK);
    return mete__node_scores(mete__engine_reward(o->engine));
}

#define PART(word)                                                                                 \
    "{ name = \"a\"; use = \"faulty\"; " word                                                      \
    "}, { name = \"b\"; use = \"repetition\"; n = 2; " word "}"

static void
the_same_bits_as_in_the_run(void)
{
    opened *here = open_text("reward = { use = \"sum\"; of = (" PART("") "); };", 1);
    opened *there = open_text("reward = { use = \"sum\"; isolate = \"process\"; of = (" PART(
                                  "isolate = \"process\"; ") "); };",
                              3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(here->engine);
    CU_ASSERT_PTR_NOT_NULL_FATAL(there->engine);
    static const char *const own[] = {"fail"};
    mete__builder *builder = rows_with(MOST, own, (const size_t[]){700}, 1);
    mete_error err = {0};
    for (int round = 0; round < 3; round++) { /* learns in between, and time goes on */
        mete__engine_iteration(here->engine, (uint64_t)round);
        mete__engine_iteration(there->engine, (uint64_t)round);
        const mete_scores *a = scored(here, builder), *b = scored(there, builder);
        CU_ASSERT(memcmp(a->episode, b->episode, MOST * sizeof *a->episode) == 0);
        CU_ASSERT(memcmp(a->status, b->status, MOST) == 0);
        const mete_node *node = mete__engine_find(there->engine, "a");
        CU_ASSERT_DOUBLE_EQUAL(mete__node_signal(node, 0)[MOST - 1], 18, 0);
        CU_ASSERT_STRING_EQUAL(mete__node_reason(node, 700), "of its own accord");
        const mete_batch *batch = mete__builder_batch(builder, &err);
        mete__update(here->engine, mete__engine_reward(here->engine), batch, &err);
        mete__update(there->engine, mete__engine_reward(there->engine), batch, &err);
    }
    mete__builder_free(builder);
    close_it(here);
    close_it(there);
}

#define ALONE "reward = { use = \"faulty\"; isolate = \"process\"; "

static void
a_fault_costs_its_own_row(void)
{
    static const char *const fault[] = {"crash", "abort", "deep", "exit", "hang"};
    static const char *const why[] = {"signal 11", "signal 6", "died of signal", "exit code 7",
                                      "no answer within " TIMEOUT " s"};
    static const size_t at[] = {3, 40, 41, 127, 200};
    enum { ROWS = 201, FAULTS = sizeof at / sizeof *at };
    opened *o = open_text(ALONE "node = { timeout = " TIMEOUT "; losses = 200; }; };", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o->engine);
    mete__builder *builder = rows_with(ROWS, fault, at, FAULTS);
    const mete_scores *got = scored(o, builder);
    const mete_node *node = mete__engine_reward(o->engine);
    size_t failed = 0;
    for (size_t i = 0; i < ROWS; i++) {
        char text[64];
        failed += got->status[i] != METE_VALID;
        snprintf(text, sizeof text, "fine %zu", i);
        if (got->status[i] == METE_VALID)
            CU_ASSERT_DOUBLE_EQUAL(got->episode[i], (double)strlen(text), 0);
    }
    CU_ASSERT_EQUAL(failed, FAULTS);
    for (size_t k = 0; k < FAULTS; k++) {
        CU_ASSERT_EQUAL(got->status[at[k]], k == FAULTS - 1 ? METE_TIMED_OUT : METE_FAILED);
        const char *said = mete__node_reason(node, at[k]);
        CU_ASSERT(strstr(said, why[k]) != NULL || (SANITIZED && strstr(said, "exit code")));
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(o->said, "reward: episode 300: gave no answer"));
    mete__builder_free(builder);
    close_it(o);
}

static void
writing_past_forking_printing(void)
{
    static const char *const fault[] = {"print", "fork", "past"};
    opened *o = open_text(ALONE "};", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o->engine);
    mete__builder *builder = rows_with(8, fault, (const size_t[]){0, 4, 7}, 3);
    const mete_scores *got = scored(o, builder);
    for (size_t i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(got->status[i], i == 7 ? METE_FAILED : METE_VALID);
    CU_ASSERT_STRING_EQUAL(mete__node_reason(mete__engine_reward(o->engine), 7),
                           "wrote past the end of its scores");
    mete__builder_free(builder);
    builder = rows_with(1, fault, (const size_t[]){0}, 1);
    scored(o, builder);
    CU_ASSERT_STRING_EQUAL(o->said, "reward: printed: I was here");
    mete__builder_free(builder);
    close_it(o);
}

static void
given_up_after_too_many(void)
{
    static const char *const fault[] = {"crash", "crash", "crash"};
    opened *o =
        open_text(ALONE "on_error = \"value\"; node = { losses = 2; value = -3.5; }; };", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o->engine);
    mete__builder *builder = rows_with(4, fault, (const size_t[]){0, 1, 2}, 3);
    const mete_scores *got = scored(o, builder);
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(got->status[i], METE_VALID);
        CU_ASSERT_EQUAL(got->episode[i], -3.5);
    }
    CU_ASSERT_PTR_NOT_NULL(
        strstr(mete__node_reason(mete__engine_reward(o->engine), 3), "too many of its processes"));
    mete__builder_free(builder);
    close_it(o);
}

static void
refused_when_read(void)
{
    static const char *const bad[][2] = {
        {ALONE "opening = \"crash\"; };", "open died of signal 11"},
        {ALONE "opening = \"exit\"; };", "open ended the process with exit code 7"},
        {"reward = { use = \"gate\"; isolate = \"process\"; of = ( { name = \"a\"; use = "
         "\"length\"; },"
         " { name = \"b\"; use = \"length\"; } ); };",
         "row by row"},
        {"models = { judge = { use = \"scripted\"; otherwise = \"yes\"; }; }; "
         "reward = { use = \"asks\"; judge = \"judge\"; isolate = \"process\"; "
         "};",
         "asks a model ('models.judge')"},
        {ALONE "node = { timeout = -1; }; };", "timeout"},
        {"reward = { use = \"length\"; isolate = \"thread\"; };", "process"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        opened *o = open_text(bad[i][0], 1);
        CU_ASSERT_PTR_NULL(o->engine);
        bool found = false;
        for (size_t k = 0; k < o->errors.count; k++)
            found |= strstr(o->errors.line[k], bad[i][1]) != NULL;
        found |= SANITIZED && strstr(bad[i][1], "open ");
        if (!found)
            printf("%s: %s\n", bad[i][1], o->errors.count ? o->errors.line[0] : "no error");
        CU_ASSERT(found);
        close_it(o);
    }
}

void suite_isolate(void);
void
suite_isolate(void)
{
    CU_pSuite suite = CU_add_suite("isolate", NULL, NULL);
    CU_add_test(suite, "the same bits as in the run", the_same_bits_as_in_the_run);
    CU_add_test(suite, "a fault costs its own row", a_fault_costs_its_own_row);
    CU_add_test(suite, "writing past, forking, printing", writing_past_forking_printing);
    CU_add_test(suite, "given up after too many", given_up_after_too_many);
    CU_add_test(suite, "refused when read", refused_when_read);
}
