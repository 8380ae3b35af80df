/* mete.h: records in, scores out, from any thread, with the bits of each record alone. */
#include "engine/loader.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <mete/mete.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char tree[] =
    "run = { seed = 5; };\n"
    "reward = { use = \"sum\"; of = (\n"
    "  { name = \"size\"; use = \"length\"; shape = \"linear\"; target = 7.0; },\n"
    "  { name = \"right\"; use = \"numeric_answer\"; weight = 2.0; reference = \"gold\"; } ); };\n"
    "data = { map = { gold = \"meta.gold\"; }; prompt = \"question\"; };\n";

static const char *
config(const char *text)
{
    static char path[] = "embed.cfg";
    FILE *f = fopen(path, "w");
    CU_ASSERT_FATAL(f && fputs(text, f) >= 0 && fclose(f) == 0);
    return path;
}

static mete_scorer *
scorer(const char *text, unsigned threads)
{
    mete_error err = {0};
    mete_open_options options = {.size = sizeof options, .threads = threads};
    mete_scorer *opened = mete_open(config(text), &options, &err);
    if (!opened)
        printf("%s\n", err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(opened);
    return opened;
}

static mete_record
record(const char *prompt, const char *response, const mete_cell *cell, uint32_t cells)
{
    return (mete_record){.size = sizeof(mete_record),
                         .cells = cells,
                         .prompt = mete_text_from(prompt),
                         .response = mete_text_from(response),
                         .cell = cell};
}

/* A record as a struct and as JSON is the same record; what cannot be read says why. */
static void
records(void)
{
    mete_scorer *s = scorer(tree, 1);
    mete_error err = {0};
    mete_results *out, *json;
    mete_cell meta = {"meta", mete_text_from("{\"gold\": 4}"), METE_JSON};
    mete_cell broken = {"meta", mete_text_from("4], ["), METE_JSON};
    mete_record row[] = {record("2+2?", "it is 4", &meta, 1), record("2+2?", "5", &meta, 1),
                         record("2+2?", "4", NULL, 0), record("2+2?", "4", &broken, 1)};
    CU_ASSERT_FATAL(mete_score(s, row, 4, &out, &err) == METE_OK);
    CU_ASSERT(out->count == 4 && out->components == 2);
    CU_ASSERT_STRING_EQUAL(out->name[0], "size");
    CU_ASSERT_STRING_EQUAL(out->name[1], "right");
    CU_ASSERT(out->reward[0] == 3 && out->component[0] == 1 && out->component[4] == 1);
    CU_ASSERT(out->reward[1] == 1. / 7 && out->component[4 + 1] == 0);
    for (int i = 2; i < 4; i++)
        CU_ASSERT(out->status[i] == METE_FAILED && isnan(out->reward[i]));
    CU_ASSERT_PTR_NOT_NULL(strstr(out->reason[2], "\"meta.gold\" is missing"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out->reason[3], "is no JSON"));
    CU_ASSERT(out->spread[0] == 0 && isnan(out->spread[3])); /* a sum states one; its parts none */
    static const char *const forms[] = {
        "[{\"question\":\"2+2?\",\"response\":\"it is 4\",\"meta\":{\"gold\":4}}, 7]",
        "\n{\"question\":\"2+2?\",\"response\":\"it is 4\",\"meta\":{\"gold\":4}}\r\n \n{\"re\n"};
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_FATAL(mete_score_json(s, mete_text_from(forms[i]), &json, &err) == METE_OK);
        CU_ASSERT_FATAL(json->count == 2);
        CU_ASSERT(memcmp(json->reward, out->reward, sizeof *out->reward) == 0);
        CU_ASSERT(json->status[1] == METE_FAILED && *json->reason[1]);
        mete_results_free(json);
    }
    CU_ASSERT(mete_score_json(s, mete_text_from("[1, 2"), &json, &err) == METE_EDATA && !json);
    CU_ASSERT(mete_score_json(s, mete_text_from(" "), &json, &err) == METE_OK && !json->count);
    mete_results_free(json);
    CU_ASSERT(mete_score(s, NULL, 0, &json, &err) == METE_OK && !json->count);
    mete_results_free(json);
    mete_results_free(out);
    mete_close(s);
}

/* Messages: the prompt is what was said before, the response the assistant's last words. */
static void
messages(void)
{
    static const char text[] = "reward = { use = \"sum\"; of = ( { use = \"length\"; shape = "
                               "\"linear\"; target = 100.0; },\n"
                               "  { use = \"regex\"; pattern = \"two\"; weight = 10.0; } ); };\n";
    mete_scorer *s = scorer(text, 1);
    mete_error err = {0};
    mete_results *out;
    CU_ASSERT_FATAL(
        mete_score_json(
            s,
            mete_text_from(
                "{\"response\":[{\"role\":\"assistant\",\"content\":\"one\"}]}\n"
                "{\"response\":[{\"role\":\"assistant\",\"content\":\"one\"},"
                "{\"role\":\"tool\",\"content\":\"seven\"},{\"role\":\"assistant\",\"content\":"
                "[{\"type\":\"text\",\"text\":\"is \"},{\"type\":\"text\",\"text\":\"two\"}]}]}\n"
                "{\"response\":[1]}\n{\"response\":[{\"role\":\"user\",\"content\":\"hm\"}]}\n"),
            &out, &err) == METE_OK);
    CU_ASSERT(out->reward[0] == .03 && out->reward[1] == .06 + 10);
    CU_ASSERT(out->status[2] == METE_FAILED && out->status[3] == METE_FAILED);
    mete_results_free(out);
    mete_close(s);
}

struct work {
    mete_scorer *scorer;
    const double *want;
    int wrong;
};

static void *
score_many(void *user)
{
    struct work *work = user;
    for (int round = 0; round < 50; round++) {
        mete_record row[8];
        char text[8][16];
        mete_results *out;
        int count = 1 + round % 8;
        for (int i = 0; i < count; i++) {
            snprintf(text[i], sizeof text[i], "%.*s", i + 1, "responses");
            row[i] = record("?", text[i], NULL, 0);
        }
        if (mete_score(work->scorer, row, (size_t)count, &out, NULL) ||
            memcmp(out->reward, work->want, (size_t)count * sizeof(double)) != 0)
            work->wrong++;
        mete_results_free(out);
    }
    return NULL;
}

/* More threads than trees: every call waits its turn and gets what it would get alone. */
static void
threads(void)
{
    static const char text[] = "reward = { use = \"lua\"; code = \"function score(r) return "
                               "random() + #r.response end\"; };";
    mete_scorer *one = scorer(text, 1), *many = scorer(text, 2);
    pthread_t thread[4];
    mete_record row[8];
    char long_text[8][16];
    mete_results *want;
    for (int i = 0; i < 8; i++) {
        snprintf(long_text[i], sizeof long_text[i], "%.*s", i + 1, "responses");
        row[i] = record("?", long_text[i], NULL, 0);
    }
    CU_ASSERT_FATAL(mete_score(one, row, 8, &want, NULL) == METE_OK);
    struct work work[4];
    for (int i = 0; i < 4; i++) {
        work[i] = (struct work){many, want->reward, 0};
        CU_ASSERT_FATAL(pthread_create(&thread[i], NULL, score_many, &work[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        CU_ASSERT(work[i].wrong == 0);
    }
    CU_ASSERT(floor(want->reward[0]) == 1 && want->reward[0] - 1 != want->reward[1] - 2);
    mete_results_free(want);
    mete_close(one);
    mete_close(many);
}

static void
refused(void)
{
    mete_error err = {0};
    CU_ASSERT_PTR_NULL(mete_open("no/such.cfg", NULL, &err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "no/such.cfg"));
    CU_ASSERT_PTR_NULL(mete_open(config("run = { };"), NULL, &err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "no reward"));
    CU_ASSERT_PTR_NULL(
        mete_open(config("reward = { use = \"length\"; targt = 1; shap = 2; };"), NULL, &err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "targt"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "shap"));
    mete_close(NULL);
    mete_results_free(NULL);
}

void
suite_embed(void)
{
    mete_error err = {0};
    CU_pSuite suite = CU_add_suite("embed", NULL, NULL);
    CU_add_test(suite, "records", records);
    CU_add_test(suite, "messages", messages);
    if (mete__plugin_get(METE_KIND_REWARD, "lua", &err))
        CU_add_test(suite, "threads", threads);
    CU_add_test(suite, "refused", refused);
}
