/* test_models.c - text services: what is asked of models, what is derived, and what is refused. */
#include "engine/model.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An engine with models, and a context of a reward that asks them. */
typedef struct asker {
    mete__config *config;
    mete__engine *engine;
    mete__errors errors;
    mete_error err;
    mete_ctx cx;
} asker;

#define REWARD "reward = { use = \"length\"; };"

static int
begin(asker *a, const char *text)
{
    mete__engine_options options = {.seed = 7, .threads = 1};
    memset(a, 0, sizeof *a);
    a->config = mete__config_parse("test.cfg", text, strlen(text), NULL, 0, &a->errors);
    a->engine = a->config ? mete__engine_open(a->config, &options, &a->errors) : NULL;
    if (!a->engine) {
        mete__errors_print(&a->errors, stderr);
        CU_FAIL("the config did not open");
        return 0;
    }
    a->cx = mete__ctx_make(mete__engine_reward(a->engine), 0, &a->err);
    return 1;
}

static void
end(asker *a)
{
    mete__engine_close(a->engine);
    mete__config_free(a->config);
    mete__errors_free(&a->errors);
}

static mete_node *
model(asker *a, const char *path)
{
    mete_node *node = mete__engine_find(a->engine, path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(node);
    return node;
}

static mete_request
prompt(const mete_message *message)
{
    return (mete_request){.size = sizeof(mete_request), .messages = 1, .message = message};
}

static void
rows_in_rows_out(void)
{
    asker a;
    if (!begin(&a, "models = { judge = { use = \"parrot\"; }; };" REWARD))
        return;
    mete_message said[] = {{METE_USER, 0, {"one", 3}},
                           {METE_USER, 0, {"fail", 4}},
                           {METE_SYSTEM, 0, {"be", 2}},
                           {METE_USER, 0, {"a\0b", 3}}};
    mete_request ask[] = {prompt(&said[0]), prompt(&said[1]), prompt(&said[2])};
    ask[2].messages = 2;
    const mete_replies *got = mete_generate(&a.cx, model(&a, "models.judge"), ask, 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    CU_ASSERT_EQUAL(got->count, 3);
    CU_ASSERT(mete_text_is(mete_reply_at(got, 0)->text, "one"));
    CU_ASSERT_EQUAL(mete_reply_at(got, 0)->status, METE_VALID);
    CU_ASSERT_EQUAL(mete_reply_at(got, 1)->status, METE_TIMED_OUT);
    CU_ASSERT(mete_text_is(mete_reply_at(got, 1)->reason, "took 9 s"));
    CU_ASSERT(mete_text_equal(mete_reply_at(got, 2)->text, said[3].text));
    CU_ASSERT_EQUAL(mete_model_can(&a.cx, model(&a, "models.judge")),
                    METE_CAN_GENERATE | METE_CAN_LOGPROB | METE_CAN_CHOOSE | METE_CAN_CONVERSE);
    end(&a);
}

/* Rows of an asker built against a header whose request ended earlier, and of one that grew. */
static void
requests_of_other_sizes(void)
{
    asker a;
    if (!begin(&a, "models = { judge = { use = \"parrot\"; }; };" REWARD))
        return;
    struct {
        mete_request now;
        uint64_t later[2];
    } grown[2];
    mete_message said[] = {{METE_USER, 0, {"one", 3}}, {METE_USER, 0, {"two", 3}}};
    char older[2][offsetof(mete_request, schema)];
    memset(grown, 0x55, sizeof grown);
    for (size_t i = 0; i < 2; i++) {
        grown[i].now = prompt(&said[i]);
        grown[i].now.size = sizeof grown[i];
        mete_request request = prompt(&said[i]);
        request.size = sizeof older[i];
        memcpy(older[i], &request, sizeof older[i]);
    }
    const mete_replies *got = mete_generate(&a.cx, model(&a, "models.judge"), &grown[0].now, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    CU_ASSERT(mete_text_is(mete_reply_at(got, 1)->text, "two"));
    got = mete_generate(&a.cx, model(&a, "models.judge"), (const mete_request *)(const void *)older,
                        2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    CU_ASSERT(mete_text_is(mete_reply_at(got, 1)->text, "two"));
    end(&a);
}

static void
bad_requests_are_refused(void)
{
    asker a;
    if (!begin(&a, "models = { judge = { use = \"parrot\"; }; };" REWARD))
        return;
    mete_message said = {METE_USER, 0, {"x", 1}};
    mete_text empty = {"", 0}, twice[] = {{"a", 1}, {"a", 1}};
    mete_request bad[9];
    for (size_t i = 0; i < 9; i++)
        bad[i] = prompt(&said);
    bad[0].messages = 0;
    bad[1].temperature = NAN;
    bad[2].top_p = 1.5;
    bad[3].min_p = -1;
    bad[4].alternatives = 21;
    bad[5].stop = &empty;
    bad[5].stops = 1;
    bad[6].repeat_penalty = .5;
    bad[7].size = 0;
    bad[8].option = twice;
    bad[8].options = 2;
    for (size_t i = 0; i < 9; i++) {
        mete_node *judge = model(&a, "models.judge");
        memset(&a.err, 0, sizeof a.err);
        CU_ASSERT_PTR_NULL(i == 8 ? mete_choose(&a.cx, judge, &bad[i], 1)
                                  : mete_generate(&a.cx, judge, &bad[i], 1));
        CU_ASSERT_EQUAL(a.err.code, METE_EPLUGIN);
        CU_ASSERT(strncmp(a.err.message, "reward: asked with a request", 28) == 0);
    }
    end(&a);
}

static void
broken_models_are_named(void)
{
    static const char *const mode[] = {"loud", "spans"};
    mete_message said = {METE_USER, 0, {"x", 1}};
    mete_request ask[] = {prompt(&said), prompt(&said)};
    for (size_t i = 0; i < 2; i++) {
        char text[256];
        asker a;
        snprintf(text, sizeof text,
                 "models = { judge = { use = \"parrot\"; mode = \"%s\"; }; };" REWARD, mode[i]);
        if (!begin(&a, text))
            return;
        CU_ASSERT_PTR_NULL(mete_generate(&a.cx, model(&a, "models.judge"), ask, 2));
        CU_ASSERT_EQUAL(a.err.code, METE_EPLUGIN);
        CU_ASSERT_PTR_NOT_NULL(strstr(a.err.message, "models.judge"));
        end(&a);
    }
    asker a;
    if (!begin(&a, "models = { judge = { use = \"parrot\"; mode = \"forgets\"; }; };" REWARD))
        return;
    const mete_replies *got = mete_generate(&a.cx, model(&a, "models.judge"), ask, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    CU_ASSERT_EQUAL(mete_reply_at(got, 0)->status, METE_VALID);
    CU_ASSERT_EQUAL(mete_reply_at(got, 1)->status, METE_FAILED); /* forgotten is not answered */
    CU_ASSERT(mete_reply_at(got, 1)->reason.length > 0);
    end(&a);
}

/* P(option) is proportional to exp(-length / 2); a draw at temperature T is from p^(1/T). */
static void
choices_by_log_probability(void)
{
    enum { DRAWS = 4000 };
    asker a;
    if (!begin(&a, "models = { judge = { use = \"parrot\"; }; };" REWARD))
        return;
    mete_text option[] = {{"long", 4}, {"no", 2}};
    mete_message said = {METE_USER, 0, {"x", 1}};
    mete_request ask = prompt(&said);
    ask.option = option;
    ask.options = 2;
    const mete_replies *got = mete_choose(&a.cx, model(&a, "models.judge"), &ask, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    const mete_reply *reply = mete_reply_at(got, 0);
    CU_ASSERT_DOUBLE_EQUAL(reply->chance[1], 1 / (1 + exp(-1)), 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(reply->mass, exp(-1) + exp(-2), 1e-12);
    CU_ASSERT_EQUAL(reply->choice, 1);
    CU_ASSERT(mete_text_is(reply->text, "no"));
    static mete_request many[DRAWS];
    size_t second = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        many[i] = ask;
        many[i].seed = i;
        many[i].temperature = 2;
    }
    got = mete_choose(&a.cx, model(&a, "models.judge"), many, DRAWS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    for (size_t i = 0; i < DRAWS; i++)
        second += mete_reply_at(got, i)->choice;
    double p = 1 / (1 + exp(-.5)), spread = sqrt(p * (1 - p) / DRAWS);
    CU_ASSERT(fabs((double)second / DRAWS - p) < 4.5 * spread); /* wrong once in 150,000 seeds */
    end(&a);
}

static void
choices_by_a_sample(void)
{
    asker a;
    if (!begin(&a, "models = { judge = { use = \"mimic\"; }; };" REWARD))
        return;
    mete_text option[] = {{"yes", 3}, {"no", 2}};
    mete_message said[] = {{METE_USER, 0, {"say no", 6}}, {METE_USER, 0, {"say maybe\033", 10}}};
    mete_request ask[] = {prompt(&said[0]), prompt(&said[1])};
    for (size_t i = 0; i < 2; i++) {
        ask[i].option = option;
        ask[i].options = 2;
    }
    const mete_replies *got = mete_choose(&a.cx, model(&a, "models.judge"), ask, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    CU_ASSERT_EQUAL(mete_reply_at(got, 0)->choice, 1);
    CU_ASSERT_EQUAL(mete_reply_at(got, 0)->chances, METE_CHANCE_SAMPLED);
    CU_ASSERT_EQUAL(mete_reply_at(got, 0)->chance[1], 1);
    CU_ASSERT_EQUAL(mete_reply_at(got, 1)->status, METE_FAILED);
    CU_ASSERT(mete_text_is(mete_reply_at(got, 1)->reason,
                           "the model answered 'maybe?', which is none of the options"));
    CU_ASSERT_PTR_NULL(mete_logprob(&a.cx, model(&a, "models.judge"), ask, 2));
    CU_ASSERT_EQUAL(a.err.code, METE_ENOTSUP);
    CU_ASSERT_PTR_NOT_NULL(strstr(a.err.message, "log-probability of given text"));
    end(&a);
}

/* The policy that is trained, which has `act`, `encode` and `forward` alone. */
static void
policies_answer_too(void)
{
    enum { ROWS = 64 };
    static const char *const text[] = {" it is cheap", " it is dear", " this is cheap and near"};
    asker a;
    if (!begin(&a, "policy = { use = \"window_lm\"; min_count = 1; window = 2; embedding = 4; "
                   "hidden = [5]; }; reward = { use = \"kl_penalty\"; model = \"policy\"; };"))
        return;
    const mete_spaces spaces = {
        .size = sizeof spaces, .single_turn = 1, .action = {.kind = METE_SPACE_TEXT}};
    mete_node *policy = mete__engine_policy(a.engine), *named = model(&a, "models.policy");
    mete_message said = {METE_USER, 0, {"price[cheap], area[near]", 24}};
    mete_request ask[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        ask[i] = prompt(&said);
        ask[i].seed = i / 2;
        ask[i].temperature = 1;
    }
    CU_ASSERT_PTR_NULL(mete_generate(&a.cx, named, ask, 1)); /* there is no version of it yet */
    CU_ASSERT_PTR_NOT_NULL(strstr(a.err.message, "no parameters yet"));
    mete__builder *builder = mete__builder_new();
    mete__shape shape = {.text = true};
    mete__builder_shape(builder, &shape);
    for (size_t i = 0; i < 3; i++) {
        mete__row row = {
            .id = i, .prompt = said.text, .response = mete_text_from(text[i]), .starts = true};
        mete__builder_row(builder, &row);
    }
    CU_ASSERT_EQUAL_FATAL(
        mete__policy_describe(policy, &spaces, mete__builder_batch(builder, &a.err), &a.err),
        METE_OK);
    float *vector = calloc(policy->parameter_count, sizeof *vector);
    CU_ASSERT_EQUAL(mete__policy_init(policy, vector, NULL), METE_OK);
    mete__engine_snapshot(a.engine, "policy", policy, vector, 1);
    const mete_replies *got = mete_generate(&a.cx, named, ask, ROWS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    size_t differ = 0;
    for (size_t i = 0; i < ROWS; i += 2) {
        mete_reply *one = mete_reply_at(got, i), *two = mete_reply_at(got, i + 1);
        CU_ASSERT(mete_text_equal(one->text, two->text)); /* one seed, one answer */
        differ += i && !mete_text_equal(one->text, mete_reply_at(got, 0)->text);
        ask[i].given = one->text;
        ask[i + 1].given = two->text;
    }
    CU_ASSERT(differ > ROWS / 4);
    /* What it says of its own answers is what it said when it gave them. */
    const mete_replies *weighed = mete_logprob(&a.cx, named, ask, ROWS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(weighed);
    for (size_t i = 0; i < ROWS; i++) {
        CU_ASSERT_EQUAL(mete_reply_at(weighed, i)->tokens, mete_reply_at(got, i)->tokens);
        CU_ASSERT_DOUBLE_EQUAL(mete_reply_at(weighed, i)->logp, mete_reply_at(got, i)->logp, 1e-3);
    }
    /* A stop text ends the answer before it; a length after so many tokens. */
    mete_text stop = {" is", 3};
    ask[0].stop = &stop;
    ask[0].stops = 1;
    ask[2].max_tokens = 1;
    got = mete_generate(&a.cx, named, ask, 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    CU_ASSERT_EQUAL(mete_text_find(mete_reply_at(got, 0)->text, stop, 0), SIZE_MAX);
    CU_ASSERT(mete_reply_at(got, 2)->tokens <= 1);
    ask[0].top_k = 3;
    CU_ASSERT_PTR_NULL(mete_generate(&a.cx, named, ask, 1));
    CU_ASSERT_EQUAL(a.err.code, METE_ENOTSUP);
    CU_ASSERT_PTR_NOT_NULL(strstr(a.err.message, "top_k"));
    mete__builder_free(builder);
    free(vector);
    end(&a);
}

/* A policy with `generate` alone acts. */
static void
models_act_too(void)
{
    asker a;
    if (!begin(&a, "policy = { use = \"mimic\"; };" REWARD))
        return;
    const mete_spaces spaces = {
        .size = sizeof spaces, .single_turn = 1, .action = {.kind = METE_SPACE_TEXT}};
    mete_node *policy = mete__engine_policy(a.engine);
    mete_text prompt_of[] = {{"well then", 9}, {"good", 4}};
    uint64_t episode[] = {4, 5};
    uint32_t step[] = {0, 0};
    mete_batch context = {.size = sizeof context, .episodes = 2, .prompt = prompt_of};
    mete_lanes lanes = {.size = sizeof lanes,
                        .count = 2,
                        .episode = episode,
                        .step = step,
                        .context = &context,
                        .temperature = 1};
    mete_params params = {.size = sizeof params};
    mete_actions *out = mete__actions_new(&spaces, &policy->info, 2);
    CU_ASSERT_EQUAL(mete__policy_act(policy, &params, &lanes, out, &a.err), METE_OK);
    CU_ASSERT(mete_text_is(out->text[0], " then"));
    CU_ASSERT(mete_text_is(out->text[1], "good"));
    mete__actions_free(out);
    end(&a);
}

/* Keys come from the environment or a file, whole, and bad ones are refused without being shown. */
static void
secrets(void)
{
    static const struct {
        const char *value, *says;
    } bad[] = {{"", "empty"}, {"sk-12\r\nHost: x", "control character"}};
    asker a;
    mete_text key;
    if (!begin(&a, REWARD))
        return;
    mete_ctx opening = mete__ctx_make(mete__engine_reward(a.engine), METE__OPENING, &a.err);
    unsetenv("METE_TEST_KEY");
    CU_ASSERT_EQUAL(mete_secret(&opening, NULL, NULL, &key), METE_OK);
    CU_ASSERT_EQUAL(key.length, 0);
    CU_ASSERT_EQUAL(mete_secret(&opening, "METE_TEST_KEY", NULL, &key), METE_EINVAL);
    CU_ASSERT_EQUAL(mete_secret(&opening, NULL, "/nonexistent/key", &key), METE_EIO);
    setenv("METE_TEST_KEY", "sk-123", 1);
    CU_ASSERT_EQUAL(mete_secret(&opening, "METE_TEST_KEY", NULL, &key), METE_OK);
    CU_ASSERT(mete_text_is(key, "sk-123"));
    CU_ASSERT_EQUAL(mete_secret(&a.cx, "METE_TEST_KEY", NULL, &key), METE_EPLUGIN);
    FILE *file = fopen("secret.txt", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fprintf(file, "sk-of a file\r\nsecond line\n");
    fclose(file);
    CU_ASSERT_EQUAL(mete_secret(&opening, "METE_TEST_KEY", "secret.txt", &key), METE_OK);
    CU_ASSERT(mete_text_is(key, "sk-of a file"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("METE_TEST_KEY", bad[i].value, 1);
        memset(&a.err, 0, sizeof a.err);
        CU_ASSERT_EQUAL(mete_secret(&opening, "METE_TEST_KEY", NULL, &key), METE_EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(a.err.message, bad[i].says));
        CU_ASSERT_PTR_NULL(strstr(a.err.message, "sk-12"));
    }
    remove("secret.txt");
    end(&a);
}

void
suite_models(void)
{
    CU_pSuite suite = CU_add_suite("models", NULL, NULL);
    CU_add_test(suite, "rows in, rows with status out", rows_in_rows_out);
    CU_add_test(suite, "requests of older and newer headers", requests_of_other_sizes);
    CU_add_test(suite, "bad requests are refused", bad_requests_are_refused);
    CU_add_test(suite, "models that break the contract are named", broken_models_are_named);
    CU_add_test(suite, "choices by log-probability", choices_by_log_probability);
    CU_add_test(suite, "choices by a sample", choices_by_a_sample);
    CU_add_test(suite, "trained policies answer", policies_answer_too);
    CU_add_test(suite, "models act", models_act_too);
    CU_add_test(suite, "secrets", secrets);
}
