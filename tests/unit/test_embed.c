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

/* Columns give what records give: values that are absent or JSON, and neighbours of one prompt, which
 * a reward that compares them must see together. */
static void
value_columns(void)
{
    static const char text[] =
        "run = { seed = 5; };\n"
        "reward = { use = \"sum\"; of = (\n"
        "  { use = \"numeric_answer\"; reference = \"gold\"; },\n"
        "  { use = \"normalize\"; mode = \"group\"; of = ( { use = \"length\"; } ); } ); };\n";
    mete_scorer *s = scorer(text, 1);
    mete_error err = {0};
    mete_results *want, *got;
    mete_cell four = {"gold", mete_text_from("4"), METE_JSON}, six = four;
    six.value = mete_text_from("6");
    six.element = METE_TEXT;
    mete_record row[] = {record("", "it is 4", &four, 1), record("", "5", &four, 1),
                         record("3+3?", "6", &six, 1), record("3+3?", "six", NULL, 0)};
    for (int i = 0; i < 4; i++)
        row[i].group = mete_text_from(i < 2 ? "a" : "b");
    CU_ASSERT_FATAL(mete_score(s, row, 4, &want, &err) == METE_OK);
    const uint64_t prompts[] = {0, 0, 0, 4, 8}, responses[] = {0, 7, 8, 9, 12},
                   golds[] = {0, 1, 2, 3, 3};
    const uint8_t element[] = {METE_JSON, METE_JSON, METE_TEXT, METE_ABSENT};
    mete_values prompt = {sizeof prompt, 0, NULL, "3+3?3+3?", prompts, NULL};
    mete_values response = {sizeof response, 0, NULL, "it is 456six", responses, NULL};
    mete_values gold = {sizeof gold, 0, "gold", "446", golds, element};
    CU_ASSERT_FATAL(mete_score_columns(s, &prompt, &response, &gold, 1, 4, &got, &err) == METE_OK);
    CU_ASSERT(got->count == 4 && want->count == 4);
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT(got->status[i] == want->status[i]);
        CU_ASSERT(memcmp(&got->reward[i], &want->reward[i], sizeof(double)) == 0 ||
                  got->status[i] != METE_VALID);
    }
    CU_ASSERT(got->status[0] == METE_VALID && got->status[3] == METE_FAILED);
    mete_results_free(got);
    mete_values alone = {sizeof alone, 0, NULL, NULL, golds, NULL};
    CU_ASSERT(mete_score_columns(s, NULL, &alone, NULL, 0, 0, &got, &err) == METE_OK &&
              got->count == 0);
    mete_results_free(got);
    mete_results_free(want);
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

/* ---- environments ---------------------------------------------------------------------------- */

static mete_world *
open_lanes(size_t lanes, unsigned threads, const char *use, const char *more)
{
    mete_error err = {0};
    const char *set[] = {use, more};
    mete_world_options options = {.size = sizeof options,
                                  .threads = threads,
                                  .lanes = lanes,
                                  .set = set,
                                  .sets = more ? 2 : 1};
    mete_world *world = mete_world_open(NULL, &options, &err);
    if (!world)
        printf("%s\n", err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    return world;
}

/* Pushes with the lean; where lane `lane` is after 60 steps, and how often it ended. */
static float
lean(mete_world *world, size_t lane, uint64_t episode, int *ends)
{
    mete_error err = {0};
    uint64_t ids[4] = {episode, episode + 1, episode + 2, episode + 3}, tasks[4] = {0};
    CU_ASSERT_FATAL(mete_world_reset(world, NULL, world->lanes, ids, tasks, 0, &err) == METE_OK);
    for (*ends = 0; ids[0] < episode + 60; ids[0]++) {
        for (size_t i = 0; i < world->lanes; i++)
            world->actions->action[i] = ids[0] % 9 && world->now->observation[4 * i + 2] > 0;
        CU_ASSERT_FATAL(mete_world_step(world, &err) == METE_OK);
        CU_ASSERT(world->moved->reward[lane] == 1);
        *ends += world->moved->terminated[lane];
    }
    CU_ASSERT(world->moved->episode[lane] ==
              episode + lane + (uint64_t)*ends * (uint64_t)world->lanes);
    return world->now->observation[4 * lane + 2];
}

/* A lane goes as its episode's id says, beside others and stepped by several threads too. */
static void
lanes(void)
{
    mete_world *one = open_lanes(1, 1, "env.use=cartpole", NULL);
    mete_world *four = open_lanes(4, 3, "env.use=cartpole", NULL);
    mete_world *same = open_lanes(4, 1, "env.use=cartpole", NULL);
    int ends[3];
    CU_ASSERT(one->spaces->action.count == 2 && one->now->observation_size == 4);

    mete_world *cut = open_lanes(1, 1, "env.use=cartpole", "env.max_steps=1000");
    CU_ASSERT(lean(one, 0, 41, &ends[0]) == lean(cut, 0, 41, &ends[1]));
    CU_ASSERT(lean(four, 2, 39, &ends[1]) == lean(same, 2, 39, &ends[2]));
    CU_ASSERT(ends[0] > 0 && ends[1] > 0 && ends[1] == ends[2]);
    uint64_t id = 77, task = 0;
    uint32_t third = 3;
    mete_error err = {0};
    CU_ASSERT(mete_world_reset(four, &third, 1, &id, &task, 0, &err) == METE_OK);
    CU_ASSERT(mete_world_reset(one, NULL, 1, &id, &task, 1, &err) == METE_OK);
    CU_ASSERT(memcmp(four->now->observation + 12, one->now->observation, 4 * sizeof(float)) == 0);
    mete_world_close(one);
    mete_world_close(cut);
    mete_world_close(four);
    mete_world_close(same);
}

static const mete_world_column *
column(const mete_world *world, const char *name)
{
    for (uint32_t i = 0; i < world->columns; i++)
        if (strcmp(world->column[i].name, name) == 0)
            return &world->column[i];
    return NULL;
}

/* Signals, texts and lists are there by name; an index into a list must be in it. */
static void
columns(void)
{
    mete_error err = {0};
    uint64_t id = 1, task = 1;
    mete_world *grid = open_lanes(1, 1, "env.use=gridworld", "env.map=( \"SG\" )");
    const mete_world_column *goal = column(grid, "goal");
    CU_ASSERT_FATAL(goal && goal->signal && goal->element == METE_F32);
    CU_ASSERT_FATAL(mete_world_reset(grid, NULL, 1, &id, &task, 0, &err) == METE_OK);
    grid->actions->action[0] = 1;
    CU_ASSERT_FATAL(mete_world_step(grid, &err) == METE_OK);
    CU_ASSERT(*(const float *)goal->value == 1 && grid->moved->terminated[0]);
    mete_world_close(grid);

    FILE *f = fopen("lists.jsonl", "w");
    CU_ASSERT_FATAL(f && fputs("{\"prompt\":\"p\",\"candidates\":[\"a\",\"bc\"]}\n", f) >= 0 &&
                    fclose(f) == 0);
    mete_world *pick = open_lanes(1, 1, "env.use=candidates", "env.data=\"lists.jsonl\"");
    const mete_world_column *list = column(pick, "candidates");
    CU_ASSERT_FATAL(list && list->level == METE_LIST && !list->value);
    CU_ASSERT_FATAL(mete_world_reset(pick, NULL, 1, &id, &task, 0, &err) == METE_OK);
    mete_texts items = mete_world_list(pick, (size_t)(list - pick->column), 0);
    CU_ASSERT(items.count == 2 && items.item[1].length == 2);
    CU_ASSERT(mete_world_list(pick, (size_t)(list - pick->column), 1).count == 0);
    pick->actions->action[0] = 2;
    CU_ASSERT(mete_world_step(pick, &err) == METE_EINVAL && strstr(err.message, "0 to 1"));
    pick->actions->action[0] = 1;
    CU_ASSERT(mete_world_step(pick, &err) == METE_OK);
    mete_world_close(pick);
}

static void
world_refused(void)
{
    mete_error err = {0};
    uint64_t id = 1, task = 0;
    uint32_t none = 1;
    CU_ASSERT_PTR_NULL(mete_world_open(config("run = { };"), NULL, &err));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "no env"));
    CU_ASSERT_PTR_NULL(mete_world_open(NULL, NULL, &err));
    mete_world *world = open_lanes(1, 1, "env.use=cartpole", NULL);
    CU_ASSERT(mete_world_step(world, &err) == METE_EINVAL && strstr(err.message, "never started"));
    CU_ASSERT(mete_world_reset(world, &none, 1, &id, &task, 0, &err) == METE_EINVAL);
    CU_ASSERT(mete_world_reset(world, NULL, 2, &id, &task, 0, &err) == METE_EINVAL);
    CU_ASSERT(mete_world_reset(world, NULL, 1, &id, &task, 0, &err) == METE_OK);
    world->actions->action[0] = -1;
    CU_ASSERT(mete_world_step(world, &err) == METE_EINVAL && strstr(err.message, "0 to 1"));
    mete_world_close(world);
    mete_world_close(NULL);
    char names[4];
    size_t length = mete_plugin_names(METE_KIND_ENVIRONMENT, names, sizeof names);
    CU_ASSERT(length > 3 && strlen(names) == 3);
}

void
suite_embed(void)
{
    mete_error err = {0};
    CU_pSuite suite = CU_add_suite("embed", NULL, NULL);
    CU_add_test(suite, "records", records);
    CU_add_test(suite, "value_columns", value_columns);
    CU_add_test(suite, "messages", messages);
    if (mete__plugin_get(METE_KIND_REWARD, "lua", &err))
        CU_add_test(suite, "threads", threads);
    CU_add_test(suite, "refused", refused);
    CU_add_test(suite, "lanes", lanes);
    CU_add_test(suite, "columns", columns);
    CU_add_test(suite, "world_refused", world_refused);
}
