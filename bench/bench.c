/* bench - what the plugin boundary, the tree and single plugins cost, against the same work without.
 *
 * `boundary`: each line is a ratio of two programs run by turns in this process, whose results must
 * be equal (else it fails and says so); medians of the rounds. `answers` is one side of a comparison
 * that bench/report.py makes. METE_PLUGIN_PATH is set by bench/run. */
#include "engine/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 31

static double
read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of this process: what else runs does not count. */
static double
now(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static int
ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, ascending);
    return x[n / 2];
}

static mete__engine *
open_engine(const char *text, mete__config **config)
{
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 1, .threads = 1};
    *config = mete__config_parse("bench", text, strlen(text), NULL, 0, &errors);
    mete__engine *engine = *config ? mete__engine_open(*config, &options, &errors) : NULL;
    mete__errors_print(&errors, stderr);
    if (!engine)
        exit(1);
    return engine;
}

/* Responses of up to 199 bytes. */
static mete__builder *
short_texts(size_t rows)
{
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    char words[200];
    memset(words, 'x', sizeof words);
    for (size_t i = 0; i < rows; i++)
        mete__builder_row(builder,
                          &(mete__row){.id = i, .prompt_id = i, .response = {words, i % 200}});
    return builder;
}

/* ---- a tree of eight trivial rewards against one loop -------------------------------------------- */

static void
tree(size_t rows)
{
    char text[2000] = "reward = { use = \"sum\"; of = ( ";
    for (int k = 0; k < 8; k++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used,
                 "%s{ name = \"r%d\"; use = \"length\"; target = %d.0; weight = 0.%d; }",
                 k ? ", " : "", k, 20 + 10 * k, k + 1);
    }
    strncat(text, " ); };", sizeof text - strlen(text) - 1);
    mete__config *config;
    mete__engine *engine = open_engine(text, &config);
    mete__builder *builder = short_texts(rows);
    mete_error err = {0};
    const mete_batch *batch = mete__builder_batch(builder, &err);
    double *plain = calloc(rows, sizeof *plain), a[ROUNDS], b[ROUNDS], ratio[ROUNDS];
    size_t repeats = 40000 / rows + 1;
    for (int round = 0; round < ROUNDS; round++) {
        double t = now();
        for (size_t r = 0; r < repeats; r++) {
            mete__engine_reset(engine);
            if (mete__score(engine, mete__engine_reward(engine), batch, &err))
                exit(1);
        }
        a[round] = now() - t;
        t = now();
        for (size_t r = 0; r < repeats; r++)
            for (size_t i = 0; i < rows; i++) {
                double sum = 0;
                for (int k = 0; k < 8; k++) {
                    double z = ((double)batch->response[i].length - (20 + 10 * k)) / 100;
                    sum += (k + 1) / 10. * exp(-.5 * z * z);
                }
                plain[i] = sum;
            }
        b[round] = now() - t;
        ratio[round] = a[round] / b[round];
    }
    const double *tree = mete__node_scores(mete__engine_reward(engine))->episode;
    for (size_t i = 0; i < rows; i++)
        if (fabs(tree[i] - plain[i]) > 1e-12) {
            fprintf(stderr, "tree: row %zu differs\n", i);
            exit(2);
        }
    printf(
        "tree of 8 rewards, %5zu episodes: %.3f times one C loop (target: at most 1.03; %.1f ns an "
        "episode)\n",
        rows, median(ratio, ROUNDS), 1e9 * median(a, ROUNDS) / (double)(repeats * rows));
    free(plain);
    mete__builder_free(builder);
    mete__engine_close(engine);
    mete__config_free(config);
}

/* ---- a reward in a process of its own against the same in the run -------------------------------- */

static double
score_repeatedly(mete__engine *engine, const mete_batch *batch, size_t repeats)
{
    mete_error err = {0};
    double t = read_clock(CLOCK_MONOTONIC); /* part of it is another process's */
    for (size_t r = 0; r < repeats; r++) {
        mete__engine_reset(engine);
        if (mete__score(engine, mete__engine_reward(engine), batch, &err))
            exit(1);
    }
    return (read_clock(CLOCK_MONOTONIC) - t) / (double)repeats;
}

static void
isolation(size_t rows)
{
    mete__config *config[2];
    mete__engine *here = open_engine("reward = { use = \"length\"; };", &config[0]);
    mete__engine *there =
        open_engine("reward = { use = \"length\"; isolate = \"process\"; };", &config[1]);
    mete__builder *builder = short_texts(rows);
    mete_error err = {0};
    const mete_batch *batch = mete__builder_batch(builder, &err);
    double more[ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
        more[round] = score_repeatedly(there, batch, 500) - score_repeatedly(here, batch, 500);
    const double *a = mete__node_scores(mete__engine_reward(here))->episode;
    const double *b = mete__node_scores(mete__engine_reward(there))->episode;
    if (memcmp(a, b, rows * sizeof *a)) {
        fprintf(stderr, "isolation: the scores differ\n");
        exit(2);
    }
    printf("isolate = \"process\", %zu short texts: %.1f us more a batch (target: at most 15)\n",
           rows, 1e6 * median(more, ROUNDS));
    mete__builder_free(builder);
    mete__engine_close(here);
    mete__engine_close(there);
    mete__config_free(config[0]);
    mete__config_free(config[1]);
}

/* ---- a process that crashes or hangs ------------------------------------------------------------- */

/* Seconds of scoring one row whose response is `text`. */
static double
score_one(mete__engine *engine, mete__builder *builder, const char *text)
{
    mete_error err = {0};
    mete__builder_reset(builder);
    mete__builder_shape(builder, &(mete__shape){.text = true});
    mete__builder_row(builder, &(mete__row){.id = 1, .response = {text, strlen(text)}});
    const mete_batch *batch = mete__builder_batch(builder, &err);
    double t = read_clock(CLOCK_MONOTONIC);
    mete__engine_reset(engine);
    if (mete__score(engine, mete__engine_reward(engine), batch, &err))
        exit(1);
    return read_clock(CLOCK_MONOTONIC) - t;
}

/* `more` MiB of memory in use beside, which a fork has to note down. */
static void
losses(size_t more)
{
    enum { LIMIT_MS = 200, HANGS = 5 };
    mete__config *config;
    mete__engine *engine = open_engine("reward = { use = \"faulty\"; isolate = \"process\"; node = "
                                       "{ timeout = 0.2; losses = 1000; }; };",
                                       &config);
    mete__builder *builder = mete__builder_new();
    char *used = calloc(more + 1, 1 << 20);
    double found[ROUNDS], replaced[ROUNDS], hung[HANGS];
    if (!used)
        exit(1);
    memset(used, 1, more << 20);
    for (int round = 0; round < ROUNDS; round++) {
        score_one(engine, builder, "fine");
        double usual = score_one(engine, builder, "fine");
        found[round] = score_one(engine, builder, "crash");
        replaced[round] = score_one(engine, builder, "fine") - usual;
    }
    for (int round = 0; round < HANGS; round++) {
        score_one(engine, builder, "fine");
        hung[round] = score_one(engine, builder, "hang");
    }
    printf("with %zu MiB in use: a crash is known after %.1f ms (target: under 100), its process "
           "replaced in %.1f ms "
           "(under 50); one that hangs is gone after %.3f of its limit of %d ms (at most 1.1)\n",
           more, 1e3 * median(found, ROUNDS), 1e3 * median(replaced, ROUNDS),
           1e3 * median(hung, HANGS) / LIMIT_MS, LIMIT_MS);
    free(used);
    mete__builder_free(builder);
    mete__engine_close(engine);
    mete__config_free(config);
}

/* ---- CartPole through the plugin against the usual array of structs ------------------------------- */

struct pole {
    float x, v, a, w;
    int age;
    unsigned seed;
};

static void
pole_start(struct pole *p)
{
    float *f[] = {&p->x, &p->v, &p->a, &p->w};
    for (int i = 0; i < 4; i++)
        *f[i] = (float)rand_r(&p->seed) / (float)RAND_MAX * .1f - .05f;
    p->age = 0;
}

static int
pole_step(struct pole *p, int action)
{
    float f = action ? 10 : -10, c = cosf(p->a), s = sinf(p->a);
    float t = (f + .05f * p->w * p->w * s) / 1.1f;
    float b = (9.8f * s - c * t) / (.5f * (4.f / 3 - .1f * c * c / 1.1f));
    float r = t - .05f * b * c / 1.1f;
    p->x += .02f * p->v;
    p->v += .02f * r;
    p->a += .02f * p->w;
    p->w += .02f * b;
    p->age++;
    return fabsf(p->x) > 2.4f || fabsf(p->a) > .20943951f || p->age >= 500;
}

static void
cartpole(size_t lanes)
{
    mete__config *config;
    mete__engine *engine = open_engine("env = { use = \"cartpole\"; };", &config);
    mete_node *env = mete__engine_environment(engine);
    mete_error err = {0};
    if (mete__environment_spaces(env, lanes, &err))
        exit(1);
    mete_observations *seen = mete__observations_new(env, lanes);
    mete_transitions *moved = mete__transitions_new(env, seen);
    mete_actions *actions = mete__actions_new(&env->spaces, NULL, lanes);
    uint32_t *lane = calloc(lanes, sizeof *lane);
    struct pole *pole = calloc(lanes, sizeof *pole);
    int32_t *random = calloc(64 * lanes, sizeof *random);
    mete_rng rng = mete_rng_make(1, 2, 3);
    for (size_t i = 0; i < lanes; i++) {
        lane[i] = (uint32_t)i;
        moved->episode[i] = i;
        pole[i].seed = (unsigned)i + 1;
        pole_start(&pole[i]);
    }
    for (size_t i = 0; i < 64 * lanes; i++)
        random[i] = (int32_t)(mete_rng_bits(&rng) >> 31);
    mete__environment_reset(env,
                            &(mete_reset){.size = sizeof(mete_reset),
                                          .count = lanes,
                                          .lane = lane,
                                          .episode = moved->episode,
                                          .task = moved->task},
                            seen, &err);
    double a[ROUNDS], b[ROUNDS], ratio[ROUNDS], ended = 0, fell = 0, steps = 0;
    int32_t *kept = actions->action;
    for (int round = 0; round < ROUNDS; round++) {
        double t = now();
        for (int k = 0; k < 640; k++) {
            actions->action = random + (size_t)(k % 64) * lanes;
            if (mete__environment_step(env, actions, moved, &err))
                exit(1);
            for (size_t i = 0; k % 64 == 0 && i < lanes; i++)
                ended += moved->terminated[i];
        }
        a[round] = now() - t;
        t = now();
        for (int k = 0; k < 640; k++)
            for (size_t i = 0; i < lanes; i++)
                if (pole_step(&pole[i], random[(size_t)(k % 64) * lanes + i])) {
                    fell += k % 64 == 0;
                    pole_start(&pole[i]);
                }
        b[round] = now() - t;
        ratio[round] = b[round] / a[round];
        steps += 640. * (double)lanes;
    }
    actions->action = kept;
    if (fabs(ended / fell - 1) > .02) {
        fprintf(stderr, "cartpole: %g episodes ended, %g in the reference\n", ended, fell);
        exit(2);
    }
    printf(
        "cartpole, %zu lanes, random actions, one core: %.0f M steps/s through the plugin (target: "
        "300 M), %.1f times an array of structs with libm\n",
        lanes, 640e-6 * (double)lanes / median(a, ROUNDS), median(ratio, ROUNDS));
    mete__actions_free(actions);
    mete__transitions_free(moved);
    mete__observations_free(seen);
    free(lane);
    free(pole);
    free(random);
    mete__engine_close(engine);
    mete__config_free(config);
}

/* ---- numeric_answer on texts in memory ----------------------------------------------------------- */

/* Adds the rows of a file of lines "reference TAB response"; how many. */
static size_t
read_rows(const char *path, mete__builder *builder, int column)
{
    FILE *in = fopen(path, "r");
    char *line = NULL;
    size_t room = 0, rows = 0;
    ssize_t length;
    while (in && (length = getline(&line, &room, in)) > 0) {
        char *tab = strchr(line, '\t');
        if (!tab)
            exit(1);
        mete_text right = {line, (size_t)(tab - line)};
        mete_text said = {tab + 1, (size_t)(line + length - 1 - (tab + 1))};
        mete__builder_row(builder, &(mete__row){.id = rows, .prompt_id = rows, .response = said});
        mete__builder_list(builder, column, &right, 1);
        rows++;
    }
    free(line);
    if (in)
        fclose(in);
    return rows;
}

/* Scores the rows of `in`, writes a digit a row to `out`, prints scores a second. */
static void
answers(const char *in, const char *out, const char *options)
{
    char text[500];
    snprintf(text, sizeof text, "reward = { use = \"numeric_answer\"; %s };", options);
    mete__config *config;
    mete__engine *engine = open_engine(text, &config);
    mete__builder *builder = mete__builder_new();
    mete__builder_shape(builder, &(mete__shape){.text = true});
    int column = mete__builder_column(builder, "reference", METE_LIST, METE_TEXT, METE_EPISODE,
                                      METE_SEE_REWARD);
    size_t rows = read_rows(in, builder, column);
    mete_error err = {0};
    const mete_batch *batch = mete__builder_batch(builder, &err);
    double each[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double t = now();
        mete__engine_reset(engine);
        if (mete__score(engine, mete__engine_reward(engine), batch, &err))
            exit(1);
        each[round] = now() - t;
    }
    const double *reward = mete__node_scores(mete__engine_reward(engine))->episode;
    FILE *to = fopen(out, "w");
    for (size_t i = 0; to && i < rows; i++)
        fputc(reward[i] > 0 ? '1' : '0', to);
    if (!to || fclose(to))
        exit(1);
    printf("%.1f\n", (double)rows / median(each, ROUNDS));
    mete__builder_free(builder);
    mete__engine_close(engine);
    mete__config_free(config);
}

int
main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "answers") == 0) {
        answers(argv[2], argv[3], argv[4]);
    } else if (argc == 2 && strcmp(argv[1], "boundary") == 0) {
        tree(256);
        tree(4096);
        isolation(256);
        losses(0);
        losses(1024);
        cartpole(1024);
    } else {
        fprintf(stderr, "usage: bench boundary | answers IN OUT OPTIONS\n");
        return 1;
    }
    return 0;
}
