/* learn - the learning side of the benchmarks: what an operation on a tape, an action, an update and
 * a whole training step cost. Prints one JSON object for bench/report.py, which holds it against the
 * same work in PyTorch.
 *
 *   learn act FILE      writes parameters, observations and answers to FILE, then times acting
 *   learn ops           nanoseconds an operation on a tape beyond its arithmetic
 *   learn train LANES STEPS MINIBATCH EPOCHS   environment steps a second, and updates alone
 *   learn blas          the kernels OpenBLAS runs
 */
#include "engine/engine.h"
#include "loop/loop.h"
#include "nn/nn.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 31

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

static void
die(const char *what, const mete_error *err)
{
    fprintf(stderr, "learn: %s: %s\n", what, err ? err->message : "");
    exit(2);
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
        exit(2);
    return engine;
}

/* ---- acting ---------------------------------------------------------------------------------- */

#define LANES 64

/* Times `act` on the first n of the lanes, in microseconds. */
static double
time_act(mete_node *policy, const mete_params *params, mete_lanes *lanes, mete_actions *actions,
         size_t n)
{
    double each[ROUNDS];
    mete_error err = {0};
    size_t repeats = 4000 / n + 1;
    lanes->count = n;
    for (int round = 0; round < ROUNDS; round++) {
        double t = now();
        for (size_t r = 0; r < repeats; r++)
            if (mete__policy_act(policy, params, lanes, actions, &err))
                die("act", &err);
        each[round] = 1e6 * (now() - t) / (double)repeats;
    }
    return median(each, ROUNDS);
}

static void
act(const char *path)
{
    mete__config *config;
    mete__engine *engine = open_engine("policy = { use = \"mlp\"; };", &config);
    mete_node *policy = mete__engine_policy(engine);
    mete_error err = {0};
    mete_spaces spaces = {.size = sizeof spaces,
                          .observation = {METE_SPACE_BOX, 0, 4, -10, 10},
                          .action = {METE_SPACE_DISCRETE, 4, 0, 0, 3}};
    if (mete__policy_describe(policy, &spaces, NULL, &err))
        die("describe", &err);
    float *vector = calloc(policy->parameter_count, sizeof *vector), observation[4 * LANES];
    if (mete__policy_init(policy, vector, &err))
        die("init", &err);
    mete_rng rng = mete_rng_make(1, 2, 3);
    for (size_t i = 0; i < policy->parameter_count; i++) /* the last layers start near zero */
        vector[i] += (float)(0.1 * mete_rng_normal(&rng));
    for (size_t i = 0; i < 4 * LANES; i++)
        observation[i] = (float)mete_rng_normal(&rng);
    uint64_t episode[LANES];
    uint32_t step[LANES] = {0};
    for (size_t i = 0; i < LANES; i++)
        episode[i] = i;
    mete_params params = {.size = sizeof params,
                          .element = METE_F32,
                          .vector = vector,
                          .count = policy->parameter_count};
    mete_lanes lanes = {.size = sizeof lanes,
                        .count = LANES,
                        .episode = episode,
                        .step = step,
                        .observation = observation,
                        .observation_size = 4,
                        .action_count = 4,
                        .temperature = 1};
    mete_actions *actions = mete__actions_new(&spaces, &policy->info, LANES);
    if (mete__policy_act(policy, &params, &lanes, actions, &err))
        die("act", &err);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(vector, sizeof *vector, params.count, out) != params.count ||
        fwrite(observation, sizeof *observation, 4 * LANES, out) != 4 * LANES ||
        fwrite(actions->action, sizeof(int32_t), LANES, out) != LANES ||
        fwrite(actions->logp, sizeof(float), LANES, out) != LANES ||
        fwrite(actions->value, sizeof(float), LANES, out) != LANES || fclose(out))
        die("cannot write the answers", NULL);
    printf("{\"parameters\": %zu", (size_t)params.count);
    static const size_t batch[] = {1, 8, 64};
    for (size_t k = 0; k < 3; k++)
        printf(", \"%zu\": %.3f", batch[k], time_act(policy, &params, &lanes, actions, batch[k]));
    printf("}\n");
    mete__actions_free(actions);
    free(vector);
    mete__engine_close(engine);
    mete__config_free(config);
}

/* ---- operations on a tape ---------------------------------------------------------------------- */

/* x, y are 1 x 4, w is 4 x 4, all with gradients. */
typedef mete_var *(*op)(mete_tape *tape, mete_var *x, mete_var *y, mete_var *w);

#define OP(name, call)                                                                             \
    static mete_var *name(mete_tape *tape, mete_var *x, mete_var *y, mete_var *w)                  \
    {                                                                                              \
        (void)x, (void)y, (void)w;                                                                 \
        return call;                                                                               \
    }
OP(op_add, mete_add(tape, x, y))
OP(op_mul, mete_mul(tape, x, y))
OP(op_affine, mete_affine(tape, x, 0.5f, 0.1f))
OP(op_tanh, mete_act_fn(tape, x, METE_TANH))
OP(op_square, mete_square(tape, x))
OP(op_clamp, mete_clamp(tape, x, -1, 1))
OP(op_minimum, mete_minimum(tape, x, y))
OP(op_reshape, mete_reshape(tape, x, 1, 4))
OP(op_log_softmax, mete_log_softmax(tape, x, NULL))
OP(op_dense, mete_dense(tape, x, w, NULL, METE_LINEAR))
OP(op_matmul, mete_matmul(tape, x, w))

static const struct {
    const char *name;
    op make;
} ops[] = {{"add", op_add},         {"mul", op_mul},         {"affine", op_affine},
           {"tanh", op_tanh},       {"square", op_square},   {"clamp", op_clamp},
           {"minimum", op_minimum}, {"reshape", op_reshape}, {"log_softmax", op_log_softmax},
           {"dense", op_dense},     {"matmul", op_matmul}};

/* A chain of 64 operations on 4 numbers, forward and (when `back`) backward: ns an operation. */
static double
time_op(op make, int back)
{
    enum { CHAIN = 64, REPEATS = 200 };
    float vector[24], grad[24];
    double each[ROUNDS];
    for (int i = 0; i < 24; i++)
        vector[i] =
            i < 8 ? 0.9f + 0.05f * (float)(i % 4) : 0.25f; /* chains neither vanish nor grow */
    mete_tape *tape = mete_tape_new();
    for (int round = 0; round < ROUNDS; round++) {
        double t = now();
        for (int r = 0; r < REPEATS; r++) {
            mete_tape_reset(tape);
            mete_var *x = mete_weights(tape, vector, 0, 1, 4);
            mete_var *y = mete_weights(tape, vector, 4, 1, 4);
            mete_var *w = mete_weights(tape, vector, 8, 4, 4);
            for (int k = 0; k < CHAIN; k++)
                x = make(tape, x, y, w);
            mete_seed(tape, x, NULL);
            if (back && mete_tape_backward(tape, grad))
                die("backward", NULL);
        }
        each[round] = 1e9 * (now() - t) / (REPEATS * CHAIN);
    }
    mete_tape_free(tape);
    return median(each, ROUNDS);
}

static void
time_ops(void)
{
    printf("{");
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        double forward = time_op(ops[i].make, 0), both = time_op(ops[i].make, 1);
        printf("%s\"%s\": [%.1f, %.1f]", i ? ", " : "", ops[i].name, forward, both);
    }
    printf("}\n");
}

/* ---- training ---------------------------------------------------------------------------------- */

/* Seconds an iteration of PPO on CartPole, the median of a few after two to warm up. */
static double
time_training(unsigned lanes, unsigned steps, unsigned minibatch, unsigned epochs)
{
    enum { WARM = 2, TIMED = 9 };
    char text[1000];
    double each[TIMED];
    mete__errors errors = {0};
    mete_error err = {0};
    snprintf(text, sizeof text,
             "run = { seed = 1; iterations = %d; };\n"
             "env = { use = \"cartpole\"; lanes = %u; steps = %u; };\n"
             "policy = { use = \"mlp\"; }; reward = { use = \"environment\"; };\n"
             "objective = { use = \"ppo\"; minibatch = %u; epochs = %u; };\n"
             "optimiser = { use = \"adam\"; rate = 3e-4; };\n",
             WARM + TIMED, lanes, steps, minibatch, epochs);
    mete__config *config;
    mete__engine *engine = open_engine(text, &config);
    mete__loop *loop = mete__loop_new(engine, config, NULL, &errors);
    mete__errors_print(&errors, stderr);
    if (!loop)
        exit(2);
    for (int k = 0; k < WARM + TIMED; k++) {
        double t = now();
        if (mete__loop_step(loop, &err))
            die("iteration", &err);
        if (k >= WARM)
            each[k - WARM] = now() - t;
    }
    mete__loop_free(loop);
    mete__engine_close(engine);
    mete__config_free(config);
    return median(each, TIMED);
}

static void
train(char **argv)
{
    unsigned number[4];
    for (int i = 0; i < 4; i++)
        number[i] = (unsigned)strtoul(argv[i], NULL, 10);
    double samples = (double)number[0] * number[1];
    double whole = time_training(number[0], number[1], number[2], number[3]);
    printf("{\"steps\": %.1f", samples / whole);
    if (number[3] > 1) /* what more epochs cost is updates and nothing else */
        printf(", \"updates\": %.1f",
               samples * (number[3] - 1) /
                   (whole - time_training(number[0], number[1], number[2], 1)));
    printf("}\n");
}

int
main(int argc, char **argv)
{
    mete__nn_init();
    if (argc == 3 && strcmp(argv[1], "act") == 0)
        act(argv[2]);
    else if (argc == 2 && strcmp(argv[1], "ops") == 0)
        time_ops();
    else if (argc == 6 && strcmp(argv[1], "train") == 0)
        train(argv + 2);
    else if (argc == 2 && strcmp(argv[1], "blas") == 0)
        printf("%s\n", openblas_get_corename());
    else
        die("usage", NULL);
    return 0;
}
