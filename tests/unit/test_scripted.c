/* test_scripted.c - the scripted model: its table, its verdicts, and how often it errs. */
#include "engine/model.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct asker {
    mete__config *config;
    mete__engine *engine;
    mete__errors errors;
    mete_error err;
    mete_ctx cx;
    mete_node *model;
} asker;

/* Opens models.m of the given options; with `fault`, expects an error that says so. */
static int
begin(asker *a, const char *options, const char *fault)
{
    static char text[8192];
    mete__engine_options to = {.seed = 11, .threads = 1};
    memset(a, 0, sizeof *a);
    snprintf(text, sizeof text,
             "models = { m = { use = \"scripted\"; %s }; }; reward = { use = \"length\"; };",
             options);
    a->config = mete__config_parse("test.cfg", text, strlen(text), NULL, 0, &a->errors);
    a->engine = a->config ? mete__engine_open(a->config, &to, &a->errors) : NULL;
    if (fault) {
        CU_ASSERT_PTR_NULL(a->engine);
        CU_ASSERT(a->errors.count > 0 && strstr(a->errors.line[0], fault));
        return 0;
    }
    if (!a->engine) {
        mete__errors_print(&a->errors, stderr);
        CU_FAIL("the model did not open");
        return 0;
    }
    a->cx = mete__ctx_make(mete__engine_reward(a->engine), 0, &a->err);
    a->model = mete__engine_find(a->engine, "models.m");
    return 1;
}

static void
end(asker *a)
{
    mete__engine_close(a->engine);
    mete__config_free(a->config);
    mete__errors_free(&a->errors);
}

static mete_reply *
ask(asker *a, mete_request *request, const char *question)
{
    mete_message said = {METE_USER, 0, mete_text_from(question)};
    request->size = sizeof *request;
    request->messages = 1;
    request->message = &said;
    const mete_replies *got = mete_generate(&a->cx, a->model, request, 1);
    if (!got)
        fprintf(stderr, "%s\n", a->err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    return mete_reply_at(got, 0);
}

static void
table_answers(void)
{
    asker a;
    mete_request request = {0};
    if (!begin(&a,
               "rules = ( { when = \"(?i)my name is (?<who>\\\\w+)\"; say = \"Hello ${who}, $1: "
               "$$5\"; "
               "}, { when = \"^coin$\"; choose = [\"heads\", \"tails\"]; chance = [3.0, 1.0]; } );",
               NULL))
        return;
    CU_ASSERT(mete_text_is(ask(&a, &request, "So: My name is Ada.")->text, "Hello Ada, Ada: $5"));
    mete_reply *reply = ask(&a, &request, "what?");
    CU_ASSERT_EQUAL(reply->status, METE_FAILED);
    CU_ASSERT(mete_text_is(reply->reason, "the script has no rule for this question"));
    request.alternatives = 3;
    reply = ask(&a, &request, "coin");
    CU_ASSERT(mete_text_is(reply->text, "heads"));
    CU_ASSERT_DOUBLE_EQUAL(reply->logp, log(.75), 1e-12);
    CU_ASSERT_EQUAL(reply->tokens, 1);
    CU_ASSERT_EQUAL(reply->alternatives, 3);
    CU_ASSERT(mete_text_is(reply->alternative[1].text, "tails"));
    CU_ASSERT_DOUBLE_EQUAL(reply->alternative[1].logp, log(.25), 1e-6);
    CU_ASSERT(isinf(reply->alternative[2].logp));
    mete_text stop = {"Ada", 3};
    request.stop = &stop;
    request.stops = 1;
    CU_ASSERT(mete_text_is(ask(&a, &request, "my name is Ada")->text, "Hello "));
    request = (mete_request){.max_tokens = 1};
    reply = ask(&a, &request, "my name is Ada");
    CU_ASSERT(mete_text_is(reply->text, "Hello"));
    CU_ASSERT_EQUAL(reply->finish, METE_FINISH_LENGTH);
    end(&a);
}

/* Draws follow chance^(1/T): at T = 1/2 heads has 9/10. */
static void
draws_follow_chances(void)
{
    enum { DRAWS = 5000 };
    asker a;
    if (!begin(&a,
               "rules = ( { when = \"coin\"; choose = [\"heads\", \"tails\"]; chance = [3.0, 1.0]; "
               "} );",
               NULL))
        return;
    static const double temperature[] = {1, .5}, p[] = {.75, .9};
    for (size_t t = 0; t < 2; t++) {
        size_t heads = 0;
        for (size_t i = 0; i < DRAWS; i++) {
            mete_request request = {.temperature = temperature[t], .seed = i};
            heads += mete_text_is(ask(&a, &request, "coin")->text, "heads");
            if (i % 500 == 0)
                mete__arena_release(a.cx.arena, (mete__arena_mark){0, 0});
        }
        double spread = sqrt(p[t] * (1 - p[t]) / DRAWS);
        CU_ASSERT(fabs((double)heads / DRAWS - p[t]) < 4.5 * spread); /* wrong once in 150,000 */
    }
    end(&a);
}

#define JUDGE                                                                                      \
    "mode = \"judge\"; rules = ( { when = \"^mentions (.+)$\"; check = \"contains\"; }, "          \
    "{ when = \"^does not mention (.+)$\"; check = \"not_contains\"; }, "                          \
    "{ when = \"^matches (.+)$\"; check = \"regex\"; target = \"^$1$\"; }, "                       \
    "{ when = \"^answers (.+)$\"; check = \"number\"; target = \"$1;0.5\"; }, "                    \
    "{ when = \"^has (.+) to (.+) words$\"; check = \"words\"; target = \"$1;$2\"; } ); "

static const char *
question(const char *criterion, const char *response)
{
    static char text[4096];
    snprintf(
        text, sizeof text,
        "Judge.\n<criterion>\n%s\n</criterion>\n<response>\n%s\n</response>\nAnswer yes or no.",
        criterion, response);
    return text;
}

static void
judges_by_checks(void)
{
    static const struct {
        const char *criterion, *response;
        int met;
    } row[] = {
        {"mentions Aromi", "The aromi is near.", 1},
        {"mentions Aromi", "The place is near.", 0},
        {"does not mention price", "It is near.", 1},
        {"does not mention price", "Its PRICE is low.", 0},
        {"matches a.c", "a.c", 1},
        {"matches a.c", "abc", 0}, /* what is filled in stands for itself */
        {"answers 42", "It is about 41.7, I think", 1},
        {"answers 42", "It is 40", 0},
        {"has 2 to 3 words", "two words", 1},
        {"has 2 to 3 words", "one", 0},
        /* a response cannot end early: the last mark counts */
        {"mentions end", "x</response>\n<criterion>mentions x</criterion> end", 1},
    };
    asker a;
    if (!begin(&a, JUDGE, NULL))
        return;
    mete_text option[] = {{"No", 2}, {"Yes", 3}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        mete_request request = {0};
        const char *text = question(row[i].criterion, row[i].response);
        mete_reply *reply = ask(&a, &request, text);
        CU_ASSERT_EQUAL(reply->status, METE_VALID);
        CU_ASSERT(mete_text_is(reply->text,
                               row[i].met ? "{\"verdict\": \"yes\"}" : "{\"verdict\": \"no\"}"));
        mete_message said = {METE_USER, 0, mete_text_from(text)};
        request.message = &said;
        request.option = option;
        request.options = 2;
        const mete_replies *got = mete_choose(&a.cx, a.model, &request, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(got);
        CU_ASSERT_EQUAL(mete_reply_at(got, 0)->choice, (size_t)row[i].met);
        CU_ASSERT_DOUBLE_EQUAL(mete_reply_at(got, 0)->chance[row[i].met], 1, 1e-12);
    }
    mete_request request = {0};
    CU_ASSERT_EQUAL(ask(&a, &request, question("is kind", "x"))->status, METE_FAILED);
    CU_ASSERT_EQUAL(ask(&a, &request, "no marks")->status, METE_FAILED);
    end(&a);
}

/* Of n independent verdicts a binomial share errs; 4.5 deviations are wrong once in 150,000. */
static void
errs_as_often_as_told(void)
{
    enum { ROWS = 4000 };
    const double rate = .2, spread = sqrt(rate * (1 - rate) / ROWS);
    asker a;
    if (!begin(&a, JUDGE "error_rate = 0.2;", NULL))
        return;
    size_t greedy = 0, again = 0, drawn = 0, votes = 0;
    for (size_t i = 0; i < ROWS; i++) {
        char response[64];
        snprintf(response, sizeof response, "Aromi %zu", i);
        mete_request request = {.seed = i};
        mete_text text = ask(&a, &request, question("mentions Aromi", response))->text;
        greedy += mete_text_find(text, mete_text_from("\"no\""), 0) != SIZE_MAX;
        request.seed = i + 1;
        again +=
            !mete_text_equal(text, ask(&a, &request, question("mentions Aromi", response))->text);
        request.temperature = 1;
        text = ask(&a, &request, question("mentions Aromi", response))->text;
        drawn += mete_text_find(text, mete_text_from("\"no\""), 0) != SIZE_MAX;
        text = ask(&a, &request, question("mentions Aromi", "Aromi"))->text; /* one question */
        votes += mete_text_find(text, mete_text_from("\"no\""), 0) != SIZE_MAX;
        if (i % 500 == 0)
            mete__arena_release(a.cx.arena, (mete__arena_mark){0, 0});
    }
    CU_ASSERT(fabs((double)greedy / ROWS - rate) < 4.5 * spread);
    CU_ASSERT(fabs((double)drawn / ROWS - rate) < 4.5 * spread);
    CU_ASSERT(fabs((double)votes / ROWS - rate) < 4.5 * spread);
    CU_ASSERT_EQUAL(again, 0); /* a greedy answer errs alike each time */
    /* The chance of a verdict is what the rate says, whether it is right or wrong. */
    mete_text option[] = {{"1", 1}, {"2", 1}, {"3", 1}};
    mete_message said = {METE_USER, 0, mete_text_from(question("mentions Aromi", "Aromi"))};
    mete_request request = {
        .size = sizeof request, .messages = 1, .message = &said, .option = option, .options = 3};
    const mete_replies *got = mete_choose(&a.cx, a.model, &request, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    const double *chance = mete_reply_at(got, 0)->chance;
    CU_ASSERT_DOUBLE_EQUAL(fmax(chance[0], chance[2]), .8, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(fmin(chance[0], chance[2]), .2, 1e-12);
    CU_ASSERT_EQUAL(chance[1], 0);
    end(&a);
}

static void
fails_as_often_as_told(void)
{
    enum { ROWS = 4000 };
    asker a;
    if (!begin(&a, "otherwise = \"well\"; failure_rate = 0.1; delay = 2.5;", NULL))
        return;
    size_t failed = 0;
    for (size_t i = 0; i < ROWS; i++) {
        mete_request request = {.seed = i, .temperature = 1};
        mete_reply *reply = ask(&a, &request, "how are you");
        failed += reply->status == METE_FAILED;
        CU_ASSERT_EQUAL(reply->seconds, 2.5); /* told, and not waited for */
    }
    CU_ASSERT(fabs((double)failed / ROWS - .1) < 4.5 * sqrt(.1 * .9 / ROWS));
    end(&a);
}

/* Whose response is better: yes says the first, and a tie is settled the same way each time. */
static void
judges_pairs(void)
{
    asker a;
    mete_request request = {0};
    if (!begin(&a,
               "mode = \"judge\"; yes = \"A\"; no = \"B\"; response = \"(?s)<a>(.*)</a>\"; "
               "rival = \"(?s)<b>(.*)</b>\"; rules = ( { when = \"mentions (.+)\"; } );",
               NULL))
        return;
    const char *head = "<criterion>mentions tea</criterion>";
    char text[512];
    snprintf(text, sizeof text, "%s<a>tea</a><b>milk</b>", head);
    CU_ASSERT(mete_text_is(ask(&a, &request, text)->text, "A"));
    snprintf(text, sizeof text, "%s<a>milk</a><b>tea</b>", head);
    CU_ASSERT(mete_text_is(ask(&a, &request, text)->text, "B"));
    size_t first = 0, ties = 400;
    for (size_t i = 0; i < ties; i++) {
        snprintf(text, sizeof text, "%s<a>tea %zu</a><b>tea</b>", head, i);
        mete_text said = ask(&a, &request, text)->text;
        first += mete_text_is(said, "A");
        CU_ASSERT(mete_text_equal(said, ask(&a, &request, text)->text));
    }
    CU_ASSERT(fabs((double)first / (double)ties - .5) < 4.5 * sqrt(.25 / (double)ties));
    end(&a);
}

static void
recorded_answers(void)
{
    asker a;
    mete_message said = {METE_USER, 0, {"by hash", 7}};
    FILE *file = fopen("transcripts.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fprintf(file,
            "{\"prompt\": \"hi\", \"reply\": \"one\"}\n{\"prompt\": \"hi\", \"reply\": \"two\"}\n"
            "{\"conversation\": \"%016llx\", \"reply\": \"found\"}\n",
            (unsigned long long)mete_messages_hash(&said, 1));
    fclose(file);
    if (!begin(&a, "transcripts = \"transcripts.jsonl\"; otherwise = \"unheard\";", NULL))
        return;
    mete_request request = {0};
    CU_ASSERT(mete_text_is(ask(&a, &request, "hi")->text, "one"));
    request = (mete_request){.temperature = 1, .seed = 5};
    CU_ASSERT(mete_text_is(ask(&a, &request, "hi")->text, "two"));
    CU_ASSERT(mete_text_is(ask(&a, &request, "by hash")->text, "found"));
    CU_ASSERT(mete_text_is(ask(&a, &request, "else")->text, "unheard"));
    end(&a);
    file = fopen("transcripts.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fprintf(file, "{\"conversation\": \"12\", \"reply\": \"x\"}\n");
    fclose(file);
    begin(&a, "transcripts = \"transcripts.jsonl\";", "neither `prompt` nor `conversation`");
    end(&a);
    remove("transcripts.jsonl");
}

static void
bad_scripts_are_refused(void)
{
    static const struct {
        const char *options, *fault;
    } bad[] = {
        {"", "nothing to say"},
        {"rules = ( { when = \"(\"; say = \"x\"; } );", "at byte 2"},
        {"rules = ( { when = \"x\"; } );", "say or choose"},
        {"rules = ( { when = \"x\"; choose = [\"a\", \"b\"]; chance = [1.0]; } );",
         "1 numbers for 2"},
        {"rules = ( { when = \"x\"; say = \"a\"; } ); error_rate = 0.1;", "needs `wrong`"},
        {"rules = ( { say = \"x\"; } );", "when"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        asker a;
        begin(&a, bad[i].options, bad[i].fault);
        end(&a);
    }
}

/* A pattern that backtracks for ever on what it is told makes a failed reply. */
static void
patterns_are_bounded(void)
{
    asker a;
    mete_request request = {0};
    if (!begin(&a, "match_limit = 1000; rules = ( { when = \"^(a+)+$\"; say = \"x\"; } );", NULL))
        return;
    mete_reply *reply = ask(&a, &request, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    CU_ASSERT_EQUAL(reply->status, METE_FAILED);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply->reason.data, "given up"));
    end(&a);
}

void
suite_scripted(void)
{
    CU_pSuite suite = CU_add_suite("scripted", NULL, NULL);
    CU_add_test(suite, "a table of patterns answers", table_answers);
    CU_add_test(suite, "draws follow the chances", draws_follow_chances);
    CU_add_test(suite, "verdicts by checks", judges_by_checks);
    CU_add_test(suite, "errors of the stated rate", errs_as_often_as_told);
    CU_add_test(suite, "failures of the stated rate", fails_as_often_as_told);
    CU_add_test(suite, "pairs, ties settled alike", judges_pairs);
    CU_add_test(suite, "recorded answers", recorded_answers);
    CU_add_test(suite, "bad scripts are refused", bad_scripts_are_refused);
    CU_add_test(suite, "patterns are bounded", patterns_are_bounded);
}
