/* Environments against their equations and their maps. */
#include "engine/engine.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unistd.h>

typedef struct world {
    mete__config *config;
    mete__engine *engine;
    mete__errors errors;
    mete_node *node;
    mete_observations *seen;
    mete_transitions *moved;
    mete_actions *actions;
} world;

static world
open_parts(const char *text, size_t lanes, size_t parts, unsigned threads)
{
    world w = {0};
    mete_error err = {0};
    mete__engine_options options = {.seed = 9, .threads = threads};
    w.config = mete__config_parse("w.cfg", text, strlen(text), NULL, 0, &w.errors);
    w.engine = w.config ? mete__engine_open(w.config, &options, &w.errors) : NULL;
    if (!w.engine)
        return w;
    w.node = mete__engine_environment(w.engine);
    CU_ASSERT_EQUAL_FATAL(mete__environment_split(w.node, parts, &err), METE_OK);
    CU_ASSERT_EQUAL_FATAL(mete__environment_spaces(w.node, lanes, &err), METE_OK);
    w.seen = mete__observations_new(w.node, lanes);
    w.moved = mete__transitions_new(w.node, w.seen);
    w.actions = mete__actions_new(&w.node->spaces, NULL, lanes);
    uint32_t *lane = calloc(lanes, sizeof *lane);
    for (size_t i = 0; i < lanes; i++) {
        lane[i] = (uint32_t)i;
        w.moved->episode[i] = w.moved->task[i] = i;
    }
    mete_reset reset = {.size = sizeof reset,
                        .count = lanes,
                        .lane = lane,
                        .episode = w.moved->episode,
                        .task = w.moved->task};
    CU_ASSERT_EQUAL_FATAL(mete__environment_reset(w.node, &reset, w.seen, &err), METE_OK);
    free(lane);
    return w;
}

static world
open_world(const char *text, size_t lanes)
{
    return open_parts(text, lanes, 1, 1);
}

static void
close_world(world *w)
{
    mete__actions_free(w->actions);
    mete__transitions_free(w->moved);
    mete__observations_free(w->seen);
    mete__engine_close(w->engine);
    mete__config_free(w->config);
    mete__errors_free(&w->errors);
}

static void
step(world *w)
{
    mete_error err = {0};
    CU_ASSERT_EQUAL_FATAL(mete__environment_step(w->node, w->actions, w->moved, &err), METE_OK);
}

/* Gymnasium's CartPole-v1 in double precision, along random actions until the first fall. */
static void
cartpole_equations(void)
{
    world w = open_world("env = { use = \"cartpole\"; };", 1);
    double x[4];
    mete_rng rng = mete_rng_make(4, 4, 4);
    for (int i = 0; i < 4; i++) {
        x[i] = (double)w.seen->observation[i];
        CU_ASSERT(fabs(x[i]) <= .05);
    }
    int compared = 0;
    for (int t = 0; t < 200 && !w.moved->terminated[0]; t++) {
        int action = (int)mete_rng_below(&rng, 2);
        double force = action ? 10 : -10, s = sin(x[2]), c = cos(x[2]);
        double temp = (force + .05 * x[3] * x[3] * s) / 1.1;
        double bend = (9.8 * s - c * temp) / (.5 * (4. / 3 - .1 * c * c / 1.1));
        double rush = temp - .05 * bend * c / 1.1;
        double next[] = {x[0] + .02 * x[1], x[1] + .02 * rush, x[2] + .02 * x[3],
                         x[3] + .02 * bend};
        memcpy(x, next, sizeof x);
        w.actions->action[0] = action;
        step(&w);
        CU_ASSERT_EQUAL(w.moved->reward[0], 1);
        bool fell = fabs(x[0]) > 2.4 || fabs(x[2]) > 12 * M_PI / 180;
        CU_ASSERT_EQUAL(w.moved->terminated[0], fell);
        const float *is = fell ? w.moved->final_observation : w.seen->observation;
        for (int i = 0; i < 4; i++)
            CU_ASSERT_DOUBLE_EQUAL(is[i], x[i], 1e-4);
        compared++;
    }
    CU_ASSERT(compared > 8);
    close_world(&w);
}

/* Uniform random actions: CartPole-v1's mean episode is 22.2 steps, its deviation about 11.9; 20,000
 * episodes have a standard error of 0.084, and 5 of them are allowed (one failure in 10^6), beside
 * 0.28 for the steps of the 256 episodes still running at the end. Starts are uniform in +-0.05: mean
 * and variance within 5 standard errors each. */
static void
cartpole_at_random(void)
{
    enum { LANES = 256 };
    world w = open_world("env = { use = \"cartpole\"; };", LANES);
    mete_rng rng = mete_rng_make(4, 5, 6);
    double steps = 0, ended = 0, sum = 0, square = 0, starts = 0;
    while (ended < 20000) {
        for (int i = 0; i < LANES; i++)
            w.actions->action[i] = (int32_t)(mete_rng_bits(&rng) >> 31);
        step(&w);
        steps += LANES;
        for (int i = 0; i < LANES; i++)
            if (w.moved->terminated[i]) {
                ended++;
                for (int k = 0; k < 4; k++, starts++) {
                    double v = (double)w.seen->observation[4 * i + k];
                    CU_ASSERT_FATAL(fabs(v) <= .05);
                    sum += v;
                    square += v * v;
                }
            }
    }
    CU_ASSERT_DOUBLE_EQUAL(steps / ended, 22.2, .42 + 256. * 22 / 20000);
    CU_ASSERT(fabs(sum / starts) < 5 * .05 / sqrt(3 * starts));
    CU_ASSERT_DOUBLE_EQUAL(square / starts, .0025 / 3, 5 * .0025 * sqrt(4. / 45 / starts));
    close_world(&w);
}

static void
cartpole_is_cut(void)
{
    world w = open_world("env = { use = \"cartpole\"; max_steps = 3; };", 2);
    for (int t = 1; t <= 3; t++) {
        w.actions->action[0] = t % 2;
        w.actions->action[1] = t % 2;
        step(&w);
        CU_ASSERT_EQUAL(w.moved->truncated[0], t == 3);
        CU_ASSERT_EQUAL(w.moved->terminated[0], 0);
    }
    CU_ASSERT_EQUAL(w.moved->episode[1], 3); /* 1 + stride 2 */
    close_world(&w);
}

static int
cell_of(const world *w, size_t lane)
{
    const float *at = w->seen->observation + lane * w->seen->observation_size;
    for (uint32_t i = 0; i < w->seen->observation_size; i++)
        if (at[i] > 0)
            return (int)i;
    return -1;
}

static void
walk(world *w, int action, int want)
{
    w->actions->action[0] = action;
    step(w);
    CU_ASSERT_EQUAL(cell_of(w, 0), want);
}

/* A key, its door, a wall and the edge; the goal ends the episode and starts the next. */
static void
grid_rules(void)
{
    world w = open_world(
        "env = { use = \"gridworld\"; map = [ \"S.a#\", \"#.AG\" ]; step_reward = -0.1; };", 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w.engine);
    walk(&w, 3, 0); /* the edge */
    walk(&w, 2, 0); /* a wall */
    walk(&w, 1, 1);
    walk(&w, 2, 5);
    walk(&w, 1, 5); /* the door is locked */
    walk(&w, 0, 1);
    walk(&w, 1, 2); /* the key */
    CU_ASSERT_EQUAL(w.seen->observation[8], 1);
    walk(&w, 2, 6); /* the door opens */
    CU_ASSERT_DOUBLE_EQUAL(w.moved->reward[0], -.1, 1e-6);
    walk(&w, 1, 0); /* the goal: shown is the new start */
    CU_ASSERT_EQUAL(w.moved->terminated[0], 1);
    CU_ASSERT_DOUBLE_EQUAL(w.moved->reward[0], .9, 1e-6);
    CU_ASSERT_EQUAL(w.moved->final_observation[7], 1);
    CU_ASSERT_EQUAL(w.seen->observation[8], 0);
    close_world(&w);
}

/* Slip .2: of moves right in an open place .8 go right, .1 up, .1 down. Within 5 standard errors. */
static void
grid_slips(void)
{
    enum { LANES = 20000 };
    world w = open_world(
        "env = { use = \"gridworld\"; slip = 0.2; map = [ \"...\", \".S.\", \"...\" ]; };", LANES);
    double to[9] = {0};
    for (int i = 0; i < LANES; i++)
        w.actions->action[i] = 1;
    step(&w);
    for (size_t i = 0; i < LANES; i++)
        to[cell_of(&w, i)]++;
    CU_ASSERT_DOUBLE_EQUAL(to[5] / LANES, .8, 5 * sqrt(.8 * .2 / LANES));
    CU_ASSERT_DOUBLE_EQUAL(to[1] / LANES, .1, 5 * sqrt(.1 * .9 / LANES));
    CU_ASSERT_DOUBLE_EQUAL(to[7] / LANES, .1, 5 * sqrt(.1 * .9 / LANES));
    CU_ASSERT_EQUAL(to[3], 0);
    close_world(&w);
}

static void
grid_maps_refused(void)
{
    static const char *const bad[][2] = {{"[ \"S.\", \".\" ]", "row 2 of the map has 1 cells"},
                                         {"[ \"..\" ]", "no start"},
                                         {"[ \"S?\" ]", "'?' in row 1"}};
    for (size_t i = 0; i < 3; i++) {
        char text[200];
        snprintf(text, sizeof text, "env = { use = \"gridworld\"; map = %s; };", bad[i][0]);
        world w = open_world(text, 1);
        CU_ASSERT_PTR_NULL(w.engine);
        CU_ASSERT_PTR_NOT_NULL(strstr(w.errors.line[0], bad[i][1]));
        mete__config_free(w.config);
        mete__errors_free(&w.errors);
    }
}

/* Means come back from many pulls, within 5 standard errors. */
static void
bandit_means(void)
{
    enum { LANES = 3000 };
    world w = open_world("env = { use = \"bandit\"; arms = 3; mean = [ 0.2, 0.5, 0.9 ]; };", LANES);
    double sum[3] = {0};
    for (int i = 0; i < LANES; i++)
        w.actions->action[i] = i % 3;
    step(&w);
    for (int i = 0; i < LANES; i++)
        sum[i % 3] += (double)w.moved->reward[i] / (LANES / 3.);
    CU_ASSERT_DOUBLE_EQUAL(sum[0], .2, 5 * sqrt(.16 / 1000));
    CU_ASSERT_DOUBLE_EQUAL(sum[1], .5, 5 * sqrt(.25 / 1000));
    CU_ASSERT_DOUBLE_EQUAL(sum[2], .9, 5 * sqrt(.09 / 1000));
    close_world(&w);
}

/* Records of one prompt are one task with all their references, delexicalised. */
static void
prompts_merge(void)
{
    FILE *file = fopen("p.jsonl", "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("{\"prompt\":\"name[Foo], near[Bar]\",\"reference\":\"Foo is by bar.\"}\n"
          "{\"prompt\":\"name[Qux], near[Baz]\",\"reference\":\"Near Baz: qux; Foo\"}\n",
          file);
    fclose(file);
    char text[500], folder[400] = "";
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(folder, sizeof folder));
    snprintf(text, sizeof text,
             "env = { use = \"prompts\"; data = \"%s/p.jsonl\"; delexicalise = [ \"name\", "
             "\"near\" ]; };",
             folder);
    world w = open_world(text, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w.engine);
    CU_ASSERT_EQUAL(w.node->spaces.tasks, 1);
    CU_ASSERT_EQUAL(w.seen->prompt[0].length, strlen("name[X-name], near[X-near]"));
    size_t column = 0;
    while (column < w.node->declareds && strcmp(w.node->declared[column].name, "reference") != 0)
        column++;
    CU_ASSERT_FATAL(column < w.node->declareds);
    mete_texts list = mete__observations_list(w.seen, column, 0);
    CU_ASSERT_EQUAL_FATAL(list.count, 2);
    CU_ASSERT(list.item[0].length == 20 &&
              memcmp(list.item[0].data, "X-name is by X-near.", 20) == 0);
    CU_ASSERT(list.item[1].length == 24 &&
              memcmp(list.item[1].data, "Near X-near: X-name; Foo", 24) == 0);
    close_world(&w);
    unlink("p.jsonl");
}

static void
put_prompts(const char *name, const char *prefix, int from, int to, const char *more)
{
    FILE *file = fopen(name, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (int i = from; i < to; i++)
        fprintf(file, "{\"prompt\":\"%s%d\"%s}\n", prefix, i, more);
    fclose(file);
}

/* How often each prompt "pN" is shown by an epoch of `count` numbers. */
static void
count_shown(world *w, int evaluation, int counted, size_t count, int *shown)
{
    mete_error err = {0};
    uint32_t lane = 0;
    uint64_t episode = 1;
    memset(shown, 0, 100 * sizeof *shown);
    for (uint64_t task = 0; task < count; task++) {
        mete_reset reset = {.size = sizeof reset,
                            .evaluation = (uint32_t)evaluation,
                            .count = 1,
                            .lane = &lane,
                            .episode = &episode,
                            .task = &task,
                            .counted = (uint32_t)counted};
        CU_ASSERT_EQUAL_FATAL(mete__environment_reset(w->node, &reset, w->seen, &err), METE_OK);
        char prompt[8];
        snprintf(prompt, sizeof prompt, "%.*s", (int)w->seen->prompt[0].length,
                 w->seen->prompt[0].data);
        shown[atoi(prompt + 1) % 100]++;
    }
}

/* Prompts 0 to 39 have answers, 30 to 89 stand in the other file: the new ones are shown once an
 * epoch where the policy answers, and neither where answers are given nor in evaluation; what is
 * held out of one file is not trained on from the other. */
static void
prompts_unanswered(void)
{
    char text[1200], folder[400] = "";
    int shown[100], held = 0, trained = 0, fresh = 0, overlap = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(folder, sizeof folder));
    put_prompts("p.jsonl", "p", 0, 40, ",\"reference\":\"x\",\"extra\":\"e\"");
    put_prompts("q.jsonl", "p", 30, 90, "");
    snprintf(text, sizeof text,
             "env = { use = \"prompts\"; data = \"%s/p.jsonl\"; unanswered = \"%s/q.jsonl\"; "
             "holdout = 0.3; };",
             folder, folder);
    world w = open_world(text, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w.engine);
    size_t answers = w.node->spaces.tasks;
    count_shown(&w, 1, 0, 40 - answers, shown);
    for (int i = 0; i < 100; i++) {
        held += shown[i] == 1;
        CU_ASSERT(shown[i] == 0 || (shown[i] == 1 && i < 40));
    }
    CU_ASSERT(held == 40 - (int)answers && held > 4 && answers > 20);
    count_shown(&w, 0, 1, answers, shown);
    for (int i = 0; i < 100; i++)
        trained += shown[i] == 1 && i < 40;
    CU_ASSERT_EQUAL(trained, (int)answers);
    count_shown(&w, 0, 0, answers, shown);
    for (int i = 40; i < 90; i++)
        fresh += shown[i];
    CU_ASSERT(fresh > 0 && fresh < (int)answers); /* among the others from the first */
    count_shown(&w, 0, 0, 10000, shown);
    int all = 0;
    for (int i = 0; i < 100; i++)
        all += shown[i] > 0;
    count_shown(&w, 0, 0, (size_t)all, shown);
    int most = 0;
    for (int i = 0; i < 100; i++)
        most = shown[i] > most ? shown[i] : most;
    CU_ASSERT_EQUAL(most, 1); /* each once in an epoch */
    count_shown(&w, 1, 0, 40 - answers, shown);
    for (int i = 30; i < 40; i++)
        overlap += shown[i];
    CU_ASSERT(overlap > 0); /* held out of p.jsonl, and in q.jsonl */
    CU_ASSERT(all > (int)answers + 20 && all < (int)answers + 50); /* a share of the new, too */
    close_world(&w);
    unlink("p.jsonl");
    unlink("q.jsonl");
}

static const char *const stochastic[] = {
    "env = { use = \"cartpole\"; };",
    "env = { use = \"gridworld\"; slip = 0.3; map = [ \"S..aS\", \".#A.P\", \"S...G\" ]; };",
    "env = { use = \"bandit\"; arms_are = \"linear\"; arms = 2; };"};

/* The same actions in every lane, a few steps on. */
static void
go_on(world *w, int steps)
{
    for (int t = 0; t < steps; t++) {
        for (size_t i = 0; i < w->moved->lanes; i++)
            w->actions->action[i] = t % 2;
        step(w);
    }
}

/* A lane copied into another in mid-episode: both show the same while the episode lasts. */
static void
copies_go_on_alike(void)
{
    for (size_t k = 0; k < 3; k++) {
        mete_error err = {0};
        world w = open_world(stochastic[k], 2);
        CU_ASSERT_PTR_NOT_NULL_FATAL(w.engine);
        size_t each = (size_t)w.node->plugin->as.head.lane_size, width = w.seen->observation_size;
        char *bytes = malloc(each);
        go_on(&w, 2);
        CU_ASSERT_EQUAL(mete__environment_copy(w.node, 2, 0, bytes, &err), METE_OK);
        CU_ASSERT_EQUAL(mete__environment_restore(w.node, 1, bytes, w.seen, &err), METE_OK);
        w.moved->episode[1] = w.moved->episode[0];
        CU_ASSERT(memcmp(w.seen->observation, w.seen->observation + width, width * sizeof(float)) ==
                  0);
        for (int t = 0; t < 6; t++) {
            go_on(&w, 1);
            CU_ASSERT_EQUAL(w.moved->reward[0], w.moved->reward[1]);
            CU_ASSERT(memcmp(w.seen->observation, w.seen->observation + width,
                             width * sizeof(float)) == 0);
        }
        free(bytes);
        close_world(&w);
    }
}

/* Episode 0 is the same alone and beside seven others. */
static void
lanes_do_not_matter(void)
{
    for (size_t k = 0; k < 3; k++) {
        world one = open_world(stochastic[k], 1), many = open_world(stochastic[k], 8);
        CU_ASSERT_PTR_NOT_NULL_FATAL(one.engine);
        CU_ASSERT_PTR_NOT_NULL_FATAL(many.engine);
        one.moved->stride = many.moved->stride = 1000; /* the same ids after an end too */
        for (int t = 0; t < 40; t++) {
            CU_ASSERT(memcmp(one.seen->observation, many.seen->observation,
                             one.seen->observation_size * sizeof(float)) == 0);
            go_on(&one, 1);
            go_on(&many, 1);
            CU_ASSERT_EQUAL(one.moved->reward[0], many.moved->reward[0]);
            CU_ASSERT_EQUAL(one.moved->episode[0], many.moved->episode[0]);
        }
        close_world(&one);
        close_world(&many);
    }
}

/* Lanes shared out among three instances on two threads do what they do in one, to the bit; a lane
 * of one part goes on in a lane of another. */
static void
parts_do_not_matter(void)
{
    enum { LANES = 8 };
    for (size_t k = 0; k < 3; k++) {
        world one = open_world(stochastic[k], LANES), many = open_parts(stochastic[k], LANES, 3, 2);
        CU_ASSERT_PTR_NOT_NULL_FATAL(one.engine);
        CU_ASSERT_PTR_NOT_NULL_FATAL(many.engine);
        size_t width = LANES * one.seen->observation_size * sizeof(float);
        char *bytes = malloc((size_t)one.node->plugin->as.head.lane_size);
        for (int t = 0; t < 40; t++) {
            CU_ASSERT(memcmp(one.seen->observation, many.seen->observation, width) == 0);
            CU_ASSERT(memcmp(one.moved->reward, many.moved->reward, LANES * sizeof(float)) == 0);
            CU_ASSERT(memcmp(one.moved->episode, many.moved->episode, LANES * 8) == 0);
            CU_ASSERT(memcmp(one.moved->terminated, many.moved->terminated, LANES) == 0);
            if (t == 20) {
                mete_error err = {0};
                world *w[] = {&one, &many};
                for (size_t i = 0; i < 2; i++) {
                    CU_ASSERT_EQUAL(mete__environment_copy(w[i]->node, LANES, 1, bytes, &err),
                                    METE_OK);
                    CU_ASSERT_EQUAL(
                        mete__environment_restore(w[i]->node, 6, bytes, w[i]->seen, &err), METE_OK);
                    w[i]->moved->episode[6] = w[i]->moved->episode[1];
                }
            }
            go_on(&one, 1);
            go_on(&many, 1);
        }
        free(bytes);
        close_world(&one);
        close_world(&many);
    }
    /* Texts and lists stand in their lanes. */
    static const char prompts[] = "env = { use = \"prompts\"; data = { file = "
                                  "\"conf/data/e2e/devset.csv.gz\"; map = { reference = \"ref\"; "
                                  "prompt = \"mr\"; }; }; };";
    if (chdir(getenv("METE_SRCDIR")))
        return;
    world one = open_world(prompts, LANES), many = open_parts(prompts, LANES, 3, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(one.engine);
    CU_ASSERT_PTR_NOT_NULL_FATAL(many.engine);
    for (size_t i = 0; i < LANES; i++) {
        mete_text a = one.seen->prompt[i], b = many.seen->prompt[i];
        CU_ASSERT(a.length > 0 && a.length == b.length && memcmp(a.data, b.data, a.length) == 0);
        CU_ASSERT_EQUAL(one.seen->prompt_id[i], many.seen->prompt_id[i]);
        for (size_t d = 0; d < one.node->declareds; d++)
            if (one.node->declared[d].level == METE_LIST) {
                mete_texts x = mete__observations_list(one.seen, d, i);
                mete_texts y = mete__observations_list(many.seen, d, i);
                CU_ASSERT(x.count > 0 && x.count == y.count &&
                          x.item[0].length == y.item[0].length &&
                          memcmp(x.item[0].data, y.item[0].data, x.item[0].length) == 0);
            }
    }
    close_world(&one);
    close_world(&many);
}

/* A pit ends the episode with its reward; a long one is cut; a vector shows row and column. */
static void
grid_ends(void)
{
    world w = open_world("env = { use = \"gridworld\"; render = \"vector\"; max_steps = 2; "
                         "map = [ \"S.\", \"P.\" ]; };",
                         1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w.engine);
    w.actions->action[0] = 1;
    step(&w);
    CU_ASSERT_EQUAL(w.seen->observation[0], 0);
    CU_ASSERT_EQUAL(w.seen->observation[1], 1);
    step(&w);
    CU_ASSERT_EQUAL(w.moved->truncated[0], 1);
    CU_ASSERT_EQUAL(w.moved->terminated[0], 0);
    w.actions->action[0] = 2;
    step(&w);
    CU_ASSERT_EQUAL(w.moved->terminated[0], 1);
    CU_ASSERT_EQUAL(w.moved->reward[0], -1);
    mete_error err = {0};
    w.actions->action[0] = 4;
    CU_ASSERT_EQUAL(mete__environment_step(w.node, w.actions, w.moved, &err), METE_EINVAL);
    close_world(&w);
}

static bool
same_text(mete_text a, mete_text b)
{
    return a.length == b.length && (!a.length || memcmp(a.data, b.data, a.length) == 0);
}

/* Do both lanes show the same, to the bit? */
static bool
alike(const world *a, const world *b, size_t lane)
{
    size_t width = a->seen->observation_size;
    bool same = !width || memcmp(a->seen->observation + lane * width,
                                 b->seen->observation + lane * width, width * sizeof(float)) == 0;
    same &= a->moved->reward[lane] == b->moved->reward[lane] &&
            a->moved->terminated[lane] == b->moved->terminated[lane] &&
            a->moved->episode[lane] == b->moved->episode[lane] &&
            a->seen->prompt_id[lane] == b->seen->prompt_id[lane];
    if (a->seen->prompt)
        same &= same_text(a->seen->prompt[lane], b->seen->prompt[lane]);
    for (size_t k = 0; k < a->node->declareds; k++) {
        const mete__declared *declared = &a->node->declared[k];
        if (declared->signal) {
            same &= mete_lane_signal(a->moved, (int)k)[lane] ==
                    mete_lane_signal(b->moved, (int)k)[lane];
        } else if (declared->level == METE_LIST) {
            mete_texts x = mete__observations_list(a->seen, k, lane),
                       y = mete__observations_list(b->seen, k, lane);
            same &= x.count == y.count;
            for (size_t i = 0; same && i < x.count; i++)
                same &= same_text(x.item[i], y.item[i]);
        } else if (declared->element == METE_TEXT || declared->element == METE_JSON) {
            same &= same_text(mete__observations_text(a->seen, k, lane),
                              mete__observations_text(b->seen, k, lane));
        }
    }
    return same;
}

/* In processes of their own lanes go as they go in the run: numbers, texts, lists and signals. */
static void
processes_do_not_matter(void)
{
    static const char *const more[] = {"use = \"gridworld\"; slip = 0.3;",
                                       "use = \"candidates\"; data = \"apart.jsonl\";",
                                       "use = \"chatworld\"; act = \"choose\";"};
    FILE *f = fopen("apart.jsonl", "w");
    CU_ASSERT_FATAL(f && fputs("{\"prompt\":\"a\",\"candidates\":[\"x\",\"yy\"]}\n"
                               "{\"prompt\":\"bb\",\"candidates\":[\"zzz\"]}\n",
                               f) >= 0);
    fclose(f);
    for (size_t m = 0; m < sizeof more / sizeof *more; m++) {
        char here[200], there[200];
        snprintf(here, sizeof here, "env = { %s };", more[m]);
        snprintf(there, sizeof there, "env = { isolate = \"process\"; %s };", more[m]);
        world a = open_world(here, 5), b = open_parts(there, 5, 2, 2);
        CU_ASSERT_FATAL(a.engine && b.engine);
        for (int t = 0; t < 30; t++) {
            for (size_t i = 0; i < 5; i++) {
                CU_ASSERT(alike(&a, &b, i));
                a.actions->action[i] = b.actions->action[i] = m == 1 ? 0 : (t + (int)i) % 3;
            }
            step(&a);
            step(&b);
        }
        close_world(&a);
        close_world(&b);
    }
}

void
suite_environments(void)
{
    CU_pSuite suite = CU_add_suite("environments", NULL, NULL);
    CU_add_test(suite, "cartpole's equations", cartpole_equations);
    CU_add_test(suite, "cartpole at random", cartpole_at_random);
    CU_add_test(suite, "cartpole is cut", cartpole_is_cut);
    CU_add_test(suite, "gridworld's rules", grid_rules);
    CU_add_test(suite, "gridworld slips", grid_slips);
    CU_add_test(suite, "gridworld refuses maps", grid_maps_refused);
    CU_add_test(suite, "bandit's means", bandit_means);
    CU_add_test(suite, "prompts merge", prompts_merge);
    CU_add_test(suite, "prompts nobody answered", prompts_unanswered);
    CU_add_test(suite, "copies go on alike", copies_go_on_alike);
    CU_add_test(suite, "the number of lanes does not matter", lanes_do_not_matter);
    CU_add_test(suite, "the number of parts does not matter", parts_do_not_matter);
    CU_add_test(suite, "gridworld's ends", grid_ends);
    CU_add_test(suite, "processes do not matter", processes_do_not_matter);
}
