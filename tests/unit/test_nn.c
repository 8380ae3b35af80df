/* nn: every operation against finite differences, kernels against libm, and the tape's promises. */
#include "nn/nn.h"

#include <CUnit/CUnit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 3
#define COLUMNS 4

/* ---- the table: an operation, its name as nn.h has it, and how to call it ---------------------- */

static const int32_t pick_index[ROWS] = {2, 0, 3};
static const int32_t row_index[5] = {1, -1, 0, 2, 1};
static const int32_t bag_index[4] = {0, 2, 2, 1};
static const uint32_t bag_offset[4] = {0, 1, 1, 4};
static const float normal_action[ROWS * COLUMNS] = {.1f, -.4f, 1,   .3f, 2,    0,
                                                    -1,  .5f,  .2f, .7f, -.3f, 1};
static const uint8_t some_mask[ROWS * COLUMNS] = {1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 0};

static void
custom_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    float *grad = mete_grad_of(tape, in[0]);
    (void)memory;
    for (size_t i = 0; i < y->rows * y->columns; i++)
        grad[i] += 3 * y->grad[i];
}

static mete_var *
thrice(mete_tape *t, mete_var *a)
{
    mete_var *y = mete_custom(t, a->rows, a->columns, custom_back, &a, 1, NULL);
    for (size_t i = 0; y && i < a->rows * a->columns; i++)
        y->data[i] = 3 * a->data[i];
    return y;
}

/* Parameters at hand: a, b [ROWS x COLUMNS], w [5 x COLUMNS], c [COLUMNS x 2], r [1 x COLUMNS],
 * s [1 x 5], all far from kinks. */
typedef struct given {
    mete_var *a, *b, *w, *c, *r, *s;
} given;

#define OPERATIONS(OP)                                                                             \
    OP(dense, mete_dense(t, g.a, g.w, g.s, METE_TANH))                                             \
    OP(dense, mete_dense(t, g.a, g.w, NULL, METE_LINEAR))                                          \
    OP(dense, mete_dense(t, g.a, g.w, g.s, METE_RELU))                                             \
    OP(dense, mete_dense(t, g.a, g.w, g.s, METE_GELU))                                             \
    OP(matmul, mete_matmul(t, g.a, g.c))                                                           \
    OP(add, mete_add(t, g.a, g.b))                                                                 \
    OP(add, mete_add(t, g.a, g.r))                                                                 \
    OP(sub, mete_sub(t, g.a, g.b))                                                                 \
    OP(mul, mete_mul(t, g.a, g.b))                                                                 \
    OP(mul, mete_mul(t, g.a, g.r))                                                                 \
    OP(affine, mete_affine(t, g.a, -2, .5f))                                                       \
    OP(act_fn, mete_act_fn(t, g.a, METE_TANH))                                                     \
    OP(act_fn, mete_act_fn(t, g.a, METE_RELU))                                                     \
    OP(act_fn, mete_act_fn(t, g.a, METE_GELU))                                                     \
    OP(sigmoid, mete_sigmoid(t, g.a))                                                              \
    OP(exp, mete_exp(t, g.a))                                                                      \
    OP(square, mete_square(t, g.a))                                                                \
    OP(softplus, mete_softplus(t, g.a))                                                            \
    OP(clamp, mete_clamp(t, g.a, -.5f, .5f))                                                       \
    OP(minimum, mete_minimum(t, g.a, g.b))                                                         \
    OP(rows_of, mete_rows_of(t, g.a, row_index, 5))                                                \
    OP(bag, mete_bag(t, g.a, bag_index, bag_offset, 3, 0))                                         \
    OP(bag, mete_bag(t, g.a, bag_index, bag_offset, 3, 1))                                         \
    OP(concat, mete_concat(t, g.a, g.b))                                                           \
    OP(columns, mete_columns(t, g.a, 1, 2))                                                        \
    OP(reshape, mete_reshape(t, g.a, COLUMNS, ROWS))                                               \
    OP(log_softmax, mete_log_softmax(t, g.a, NULL))                                                \
    OP(log_softmax, mete_columns(t, mete_log_softmax(t, g.a, some_mask), 1, 1))                    \
    OP(pick, mete_pick(t, g.a, pick_index))                                                        \
    OP(entropy, mete_entropy(t, mete_log_softmax(t, g.a, some_mask)))                              \
    OP(normal_logp, mete_normal_logp(t, g.a, g.r, normal_action))                                  \
    OP(normal_logp, mete_normal_logp(t, g.a, g.b, normal_action))                                  \
    OP(layer_norm, mete_layer_norm(t, g.a, g.r, mete_columns(t, g.s, 0, COLUMNS)))                 \
    OP(sum_columns, mete_sum_columns(t, g.a))                                                      \
    OP(mean, mete_mean(t, g.a))                                                                    \
    OP(custom, thrice(t, g.a))                                                                     \
    OP(weights, g.a)

enum {
#define COUNT(name, call) +1
    OPERATION_ROWS = 0 OPERATIONS(COUNT)
#undef COUNT
};

/* Leaves and what passes no gradient have no row. */
static const char *const without_row[] = {"input", "stop"};

#define SIZE (2 * ROWS * COLUMNS + 5 * COLUMNS + 2 * COLUMNS + COLUMNS + 5)

static mete_var *
run(mete_tape *t, const float *vector, int row)
{
    size_t at = 0;
    given g;
    g.a = mete_weights(t, vector, at, ROWS, COLUMNS);
    g.b = mete_weights(t, vector, at += ROWS * COLUMNS, ROWS, COLUMNS);
    g.w = mete_weights(t, vector, at += ROWS * COLUMNS, 5, COLUMNS);
    g.c = mete_weights(t, vector, at += 5 * COLUMNS, COLUMNS, 2);
    g.r = mete_weights(t, vector, at += 2 * COLUMNS, 1, COLUMNS);
    g.s = mete_weights(t, vector, at + COLUMNS, 1, 5);
    int k = 0;
    mete_var *y = NULL;
#define CALL(name, call)                                                                           \
    if (k++ == row)                                                                                \
        y = (call);
    OPERATIONS(CALL)
#undef CALL
    /* A parameter takes no seed itself: it is learnt through what is made of it. */
    return y == g.a ? mete_affine(t, y, 1, 0) : y;
}

static double
weighed(const mete_var *y, const float *adjoint)
{
    double sum = 0;
    for (size_t i = 0; i < y->rows * y->columns; i++)
        sum += (double)adjoint[i] * (double)y->data[i];
    return sum;
}

static void
gradients(void)
{
    float vector[SIZE], grad[SIZE], adjoint[64];
    mete_rng rng = mete_rng_make(11, 0, 0);
    mete_tape *t = mete_tape_new();
    for (size_t i = 0; i < SIZE; i++) { /* away from the kinks at 0 and +-.5 */
        double u = mete_rng_uniform(&rng);
        vector[i] =
            (float)((u < .5 ? -1 : 1) * (.1 + .3 * mete_rng_uniform(&rng)) + (i % 3 ? 0 : .55));
    }
    for (size_t i = 0; i < 64; i++)
        adjoint[i] = (float)mete_rng_normal(&rng);
    for (int row = 0; row < OPERATION_ROWS; row++) {
        mete_tape_reset(t);
        memset(grad, 0, sizeof grad);
        mete_var *y = run(t, vector, row);
        CU_ASSERT_PTR_NOT_NULL_FATAL(y);
        mete_seed(t, y, adjoint);
        CU_ASSERT_EQUAL(mete_tape_backward(t, grad), METE_OK);
        double worst = 0, largest = 0;
        for (size_t i = 0; i < SIZE; i++) {
            float kept = vector[i], step = 2e-3f;
            vector[i] = kept + step;
            mete_tape_reset(t);
            double up = weighed(run(t, vector, row), adjoint), wide = (double)vector[i];
            vector[i] = kept - step;
            mete_tape_reset(t);
            double down = weighed(run(t, vector, row), adjoint);
            wide -= (double)vector[i];
            vector[i] = kept;
            worst = fmax(worst, fabs((up - down) / wide - (double)grad[i]));
            largest = fmax(largest, fabs((double)grad[i]));
        }
        if (!(worst < 4e-3 * (1 + largest)) || largest == 0)
            printf("row %d: off by %g of %g\n", row, worst, largest);
        CU_ASSERT(worst < 4e-3 * (1 + largest));
        CU_ASSERT(largest > 0);
    }
    mete_tape_free(t);
}

/* Every `mete_var *mete_NAME(` of the header has a row, or is known to want none. */
static void
nothing_untested(void)
{
    static const char *const tested[] = {
#define NAME(name, call) #name,
        OPERATIONS(NAME)
#undef NAME
    };
    char path[4096], line[512];
    snprintf(path, sizeof path, "%s/include/mete/nn.h", getenv("METE_SRCDIR"));
    FILE *file = fopen(path, "r");
    size_t seen = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (fgets(line, sizeof line, file)) {
        char name[64];
        if (sscanf(line, "METE_API mete_var *mete_%63[a-z_]", name) != 1)
            continue;
        int found = 0;
        for (size_t i = 0; i < sizeof tested / sizeof *tested; i++)
            found |= strcmp(tested[i], name) == 0;
        for (size_t i = 0; i < sizeof without_row / sizeof *without_row; i++)
            found |= strcmp(without_row[i], name) == 0;
        if (!found)
            printf("mete_%s has no row in the table\n", name);
        CU_ASSERT(found);
        seen++;
    }
    fclose(file);
    CU_ASSERT(seen > 25);
}

static void
kernels(void)
{
    double tanh_off = 0, exp_off = 0;
    for (double x = -20; x <= 20; x += 1e-3) {
        float a = (float)x, e;
        mete__exp(&a, &e, 1);
        exp_off = fmax(exp_off, fabs((double)e / exp((double)a) - 1));
        float t = a;
        mete__tanh(&t, 1);
        tanh_off = fmax(tanh_off, fabs((double)t - tanh((double)a)));
    }
    CU_ASSERT(tanh_off < 4e-7);
    CU_ASSERT(exp_off < 4e-7);
    float low = -200, out;
    mete__exp(&low, &out, 1);
    CU_ASSERT_EQUAL(out, 0.0f);
}

static void
one_row_like_many(void)
{
    float x[8 * 16], w[5 * 16], b[5], many[8 * 5], one[5];
    mete_rng rng = mete_rng_make(3, 0, 0);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (float)mete_rng_normal(&rng);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        w[i] = (float)mete_rng_normal(&rng);
    for (size_t i = 0; i < 5; i++)
        b[i] = (float)i;
    mete_dense_run(x, 8, 16, w, b, 5, METE_TANH, many);
    for (size_t r = 0; r < 8; r++) {
        mete_dense_run(x + r * 16, 1, 16, w, b, 5, METE_TANH, one);
        for (size_t k = 0; k < 5; k++)
            CU_ASSERT_DOUBLE_EQUAL(one[k], many[r * 5 + k], 1e-5);
    }
}

static void
log_softmax_adds_up(void)
{
    float x[2 * 3] = {1000, 1001, 999, -5, 0, 5};
    static const uint8_t mask[] = {1, 1, 1, 1, 0, 1};
    mete_log_softmax_run(x, 2, 3, mask);
    for (size_t r = 0; r < 2; r++) {
        double sum = 0;
        for (size_t k = 0; k < 3; k++)
            sum += exp((double)x[3 * r + k]);
        CU_ASSERT_DOUBLE_EQUAL(sum, 1, 1e-6);
    }
    CU_ASSERT(x[4] < -1e29f);
}

static void
warm_tape_takes_no_memory(void)
{
    float vector[64 * 64 + 64], first[64], grad[64 * 64 + 64];
    mete_tape *t = mete_tape_new();
    mete_rng rng = mete_rng_make(5, 0, 0);
    size_t blocks = 0;
    for (size_t i = 0; i < 64 * 64 + 64; i++)
        vector[i] = (float)(.1 * mete_rng_normal(&rng));
    for (int pass = 0; pass < 20; pass++) {
        mete_tape_reset(t);
        memset(grad, 0, sizeof grad);
        mete_var *x = mete_input(t, vector, 32, 64), *w = mete_weights(t, vector, 0, 64, 64);
        mete_var *y = mete_dense(t, x, w, mete_weights(t, vector, 64 * 64, 1, 64), METE_TANH);
        mete_seed(t, y, NULL);
        CU_ASSERT_EQUAL(mete_tape_backward(t, grad), METE_OK);
        if (pass == 0)
            memcpy(first, grad, sizeof first);
        CU_ASSERT(memcmp(first, grad, sizeof first) == 0); /* the same bits each time */
        if (pass == 1)
            blocks = mete__tape_blocks(t);
    }
    CU_ASSERT_EQUAL(mete__tape_blocks(t), blocks);
    mete_tape_free(t);
}

static void
errors_stick(void)
{
    float data[6] = {0};
    mete_error err = {0};
    mete_tape *t = mete_tape_new();
    mete_var *a = mete_input(t, data, 2, 3), *b = mete_input(t, data, 3, 2);
    CU_ASSERT_PTR_NULL(mete_add(t, a, b));
    CU_ASSERT_PTR_NULL(mete_exp(t, NULL));
    CU_ASSERT_PTR_NULL(mete_exp(t, a));
    CU_ASSERT_NOT_EQUAL(mete_tape_status(t, &err), METE_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, "2 x 3 does not fit 3 x 2"));
    mete_tape_reset(t);
    CU_ASSERT_EQUAL(mete_tape_status(t, NULL), METE_OK);
    static const int32_t past[] = {0, 9};
    CU_ASSERT_PTR_NULL(mete_pick(t, mete_input(t, data, 2, 3), past));
    mete_tape_free(t);
}

static void
orthogonal_start(void)
{
    float m[4 * 6];
    mete_rng rng = mete_rng_make(1, 2, 3);
    mete_init_fill(METE_INIT_ORTHOGONAL, 2, &rng, 4, 6, m);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++) {
            double dot = 0;
            for (size_t k = 0; k < 6; k++)
                dot += (double)m[i * 6 + k] * (double)m[j * 6 + k];
            CU_ASSERT_DOUBLE_EQUAL(dot, i == j ? 4 : 0, 1e-5);
        }
}

void
suite_nn(void)
{
    CU_pSuite suite = CU_add_suite("nn", NULL, NULL);
    CU_add_test(suite, "every operation's gradient", gradients);
    CU_add_test(suite, "no operation without a row", nothing_untested);
    CU_add_test(suite, "tanh and exp against libm", kernels);
    CU_add_test(suite, "one row as many", one_row_like_many);
    CU_add_test(suite, "log-softmax adds up", log_softmax_adds_up);
    CU_add_test(suite, "a warm tape takes no memory, and the same bits", warm_tape_takes_no_memory);
    CU_add_test(suite, "errors stick", errors_stick);
    CU_add_test(suite, "orthogonal start", orthogonal_start);
}
