/* Rewards in processes of their own: the same scores, and a fault costs its own row alone. */
#include "engine/talk.h"
#include "engine/worker.h"

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
    static const char *const fault[] = {"print", "fork", "past", "chatter"};
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
    builder = rows_with(1, fault + 3, (const size_t[]){0}, 1); /* more than is kept */
    CU_ASSERT_EQUAL(scored(o, builder)->status[0], METE_VALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(o->said, "reward: printed: a"));
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

/* What was learnt from other batches stays; the one whose update was lost teaches nothing. */
static void
a_fault_while_learning(void)
{
    static const char *const fault[] = {"crash", "exit", "hang"};
    for (size_t k = 0; k < sizeof fault / sizeof *fault; k++) {
        char text[300];
        snprintf(text, sizeof text,
                 ALONE "learning = \"%s\"; node = { timeout = " TIMEOUT "; }; };", fault[k]);
        opened *o = open_text(text, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(o->engine);
        mete__builder *builder = rows_with(1, NULL, NULL, 0);
        mete_error err = {0};
        for (uint64_t i = 0; i < 3; i++) {
            mete__engine_iteration(o->engine, i);
            scored(o, builder);
            int status = mete__update(o->engine, mete__engine_reward(o->engine),
                                      mete__builder_batch(builder, &err), &err);
            CU_ASSERT_EQUAL(status, METE_OK);
            CU_ASSERT_EQUAL(strstr(o->said, "learnt nothing from this batch") != NULL, i >= 1);
        }
        mete__engine_iteration(o->engine, 0);
        CU_ASSERT_DOUBLE_EQUAL(scored(o, builder)->episode[0], (double)strlen("fine 0") + 2, 0);
        mete__builder_free(builder);
        close_it(o);
    }
}

/* The value before it in its group, else the last of the batch that was accepted. */
static void
the_last_value_stands_in(void)
{
    static const char *const own[] = {"fail", "long and good", "fail", "crash", "fail"};
    opened *o = open_text(ALONE "on_error = \"last\"; };", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o->engine);
    mete__builder *builder = rows_with(9, own, (const size_t[]){0, 4, 5, 6, 8}, 5);
    mete_error err = {0};
    const mete_scores *got = scored(o, builder);
    CU_ASSERT_EQUAL(got->status[0], METE_FAILED); /* nothing came before */
    for (size_t i = 4; i < 7; i++)
        CU_ASSERT_DOUBLE_EQUAL(got->episode[i], (double)strlen(own[1]), 0);
    CU_ASSERT_EQUAL(got->status[6], METE_VALID);
    CU_ASSERT_EQUAL(got->status[8], METE_FAILED); /* alone in its group */
    mete__episodes_end(o->engine, mete__builder_batch(builder, &err));
    got = scored(o, builder);
    CU_ASSERT_EQUAL(got->status[8], METE_VALID);
    CU_ASSERT_DOUBLE_EQUAL(got->episode[8], (double)strlen("fine 7"), 0);
    CU_ASSERT_DOUBLE_EQUAL(got->episode[6], (double)strlen(own[1]), 0);
    mete__builder_free(builder);
    close_it(o);
}

#define JUDGE(more) "models = { judge = { use = \"parrot\"; " more " }; }; "
#define ASKS(more) "reward = { use = \"asks\"; judge = \"judge\"; " more "};"

/* A model is asked by the run, which answers as it does in the run: values, rows that failed, and
 * what is wrong with the whole. */
static void
models_answer_from_the_run(void)
{
    static const char *const said[] = {"fail", "{\"verdict\": \"yes\"}"};
    static const size_t at[] = {3, 5};
    static const char *const form[] = {"", "schema = \"{}\"; "};
    for (size_t k = 0; k < 2; k++) {
        char text[2][300];
        for (size_t t = 0; t < 2; t++)
            snprintf(text[t], sizeof text[t], JUDGE("") ASKS("%s%s"), form[k],
                     t ? "isolate = \"process\"; " : "");
        opened *here = open_text(text[0], 1), *there = open_text(text[1], 2);
        CU_ASSERT_PTR_NOT_NULL_FATAL(here->engine);
        CU_ASSERT_PTR_NOT_NULL_FATAL(there->engine);
        mete__builder *builder = rows_with(MOST, said, at, 2);
        const mete_scores *a = scored(here, builder), *b = scored(there, builder);
        CU_ASSERT(memcmp(a->episode, b->episode, MOST * sizeof *a->episode) == 0);
        CU_ASSERT(memcmp(a->status, b->status, MOST) == 0);
        CU_ASSERT_EQUAL(b->status[3], k ? METE_TIMED_OUT : METE_VALID);
        if (k)
            CU_ASSERT_EQUAL(b->episode[5], 1);
        mete__usage spent = mete__node_usage(mete__engine_find(there->engine, "models.judge"));
        CU_ASSERT_EQUAL(spent.requests, MOST);
        mete__builder_free(builder);
        close_it(here);
        close_it(there);
    }
    opened *o = open_text(
        JUDGE("mode = \"forgets\"; ") ASKS("schema = \"{}\"; isolate = \"process\"; "), 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o->engine);
    mete__builder *builder = rows_with(4, NULL, NULL, 0);
    const mete_scores *got = scored(o, builder);
    CU_ASSERT_EQUAL(got->status[1], METE_FAILED);
    CU_ASSERT_STRING_EQUAL(mete__node_reason(mete__engine_reward(o->engine), 1),
                           "the model gave no reply");
    mete__builder_free(builder);
    close_it(o);
    o = open_text(JUDGE("mode = \"loud\"; ") ASKS("schema = \"{}\"; isolate = \"process\"; "), 1);
    builder = rows_with(4, NULL, NULL, 0);
    mete_error err = {0};
    CU_ASSERT_EQUAL(mete__score(o->engine, mete__engine_reward(o->engine),
                                mete__builder_batch(builder, &err), &err),
                    METE_EIO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "has a token outside its text"));
    mete__builder_free(builder);
    close_it(o);
}

/* A question laid down by hand: it is answered as long as nothing of it lies. */
static bool
answered(opened *o, mete__worker *worker, void (*spoil)(mete__question *q, mete_request *request))
{
    mete__region *talk = &worker->talk;
    mete__region_rewind(talk, 0);
    mete__question *q = mete__region_take(talk, sizeof *q);
    mete_request *request = mete__region_take(talk, 2 * sizeof *request);
    mete_message *message = mete__region_take(talk, sizeof *message);
    *message = (mete_message){METE_USER, 0, {mete__region_put(talk, "hello", 5), 5}};
    for (int i = 0; i < 2; i++)
        request[i] =
            (mete_request){.size = sizeof *request, .messages = 1, .message = message, .seed = 1};
    *q = (mete__question){.what = METE__GENERATE,
                          .model = mete__engine_find(o->engine, "models.judge")->private_->number,
                          .count = 2,
                          .request = request};
    if (spoil)
        spoil(q, request);
    mete_error err = {0};
    mete_ctx cx = mete__ctx_make(mete__engine_reward(o->engine), METE__SCORING, &err);
    bool fair = mete__talk_answer(&cx, worker);
    CU_ASSERT_EQUAL(err.code, METE_OK);
    return fair;
}

#define LIE(name, what)                                                                            \
    static void lie_##name(mete__question *q, mete_request *request)                               \
    {                                                                                              \
        (void)q, (void)request;                                                                    \
        what;                                                                                      \
    }
#define TEXT_OF(request) (((mete_message *)(uintptr_t)(request)->message)->text)
LIE(model, q->model = 1u << 30)
LIE(not_a_model, q->model = 1) /* the reward itself */
LIE(what, q->what = 77)
LIE(count, q->count = SIZE_MAX / sizeof *request + 2)
LIE(counts, q->count = (size_t)1 << 30)
LIE(nowhere, q->request = NULL)
LIE(elsewhere, q->request = (void *)(uintptr_t)4096)
LIE(messages, request[1].messages = UINT32_MAX)
LIE(long_text, TEXT_OF(request).length = (size_t)1 << 40)
LIE(wrapped, TEXT_OF(request).length = SIZE_MAX)
LIE(outside, TEXT_OF(request).data = (const char *)q - 1)
LIE(stops, request[1].stops = 3)
LIE(again, TEXT_OF(request).length = 600000)
LIE(size, request->size = 1u << 31) /* set anew: it is not what is walked by */

static void
lies_of_a_worker_are_noticed(void)
{
    static void (*const lie[])(mete__question * q, mete_request * request) = {
        lie_model,   lie_not_a_model, lie_what,     lie_count,     lie_counts,
        lie_nowhere, lie_elsewhere,   lie_messages, lie_long_text, lie_wrapped,
        lie_outside, lie_stops,       lie_again};
    opened *o = open_text(JUDGE("") ASKS(""), 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o->engine);
    mete__worker worker = {0};
    CU_ASSERT_FATAL(mete__region_map(&worker.talk, (size_t)1 << 20));
    CU_ASSERT(answered(o, &worker, NULL));
    const mete__question *q = (const mete__question *)(const void *)worker.talk.base;
    CU_ASSERT_PTR_NOT_NULL_FATAL(q->reply);
    CU_ASSERT(mete_text_is(q->reply[1].text, "hello"));
    for (size_t i = 0; i < sizeof lie / sizeof *lie; i++)
        CU_ASSERT_FALSE(answered(o, &worker, lie[i]));
    CU_ASSERT(answered(o, &worker, lie_size));
    mete__region_unmap(&worker.talk);
    close_it(o);
}

static void
refused_when_read(void)
{
    static const char *const bad[][2] = {
        {ALONE "opening = \"crash\"; };", "open: its process died of signal 11"},
        {ALONE "opening = \"exit\"; };", "open: its process ended by itself with exit code 7"},
        {"reward = { use = \"gate\"; isolate = \"process\"; of = ( { name = \"a\"; use = "
         "\"length\"; },"
         " { name = \"b\"; use = \"length\"; } ); };",
         "row by row"},
        {ALONE "node = { timeout = -1; }; };", "timeout"},
        {"reward = { use = \"length\"; isolate = \"thread\"; };", "process"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        opened *o = open_text(bad[i][0], 1);
        CU_ASSERT_PTR_NULL(o->engine);
        bool found = false;
        for (size_t k = 0; k < o->errors.count; k++)
            found |= strstr(o->errors.line[k], bad[i][1]) != NULL;
        found |= SANITIZED && strstr(bad[i][1], "open:");
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
    CU_add_test(suite, "a fault while learning", a_fault_while_learning);
    CU_add_test(suite, "the last value stands in", the_last_value_stands_in);
    CU_add_test(suite, "models answer from the run", models_answer_from_the_run);
    CU_add_test(suite, "lies of a worker are noticed", lies_of_a_worker_are_noticed);
    CU_add_test(suite, "refused when read", refused_when_read);
}
