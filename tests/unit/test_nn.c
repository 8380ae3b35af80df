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

static const int32_t position[ROWS] = {0, 3, 7};
static const float frequency[2] = {1, .3f};
static const uint32_t packed[3] = {0, 2, 3};
static const int32_t target[ROWS] = {2, -1, 4};

static const uint32_t ragged[4] = {0, 2, 2, 3};
static const uint32_t whole[2] = {0, 3};
static const uint32_t uneven[3] = {0, 5, 6};
static const uint32_t expert_rows[6] = {0, 1, 1, 3, 3, 3};
static const int32_t place[2 * ROWS] = {2, -1, 0, 0, 1, 2};
static const mete_conv2d_shape plane = {1, 3, 4, 2, 2, 1}, planes = {2, 2, 3, 1, 1, 0};

static mete_var *
balance(mete_tape *t, mete_var *logits)
{
    mete_route_plan plan;
    return mete_route(t, logits, 2, &plan) ? mete_route_balance(t, logits, &plan) : NULL;
}

static mete_var *
segment(mete_tape *t, mete_var *const *input, void *memory)
{
    (void)memory;
    return mete_dense(t, mete_mul(t, input[0], input[0]), input[1], NULL, METE_TANH);
}

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
    OP(rms_norm, mete_rms_norm(t, g.a, g.r, 1e-5f))                                                \
    OP(dense, mete_dense(t, g.a, g.w, g.s, METE_SILU))                                             \
    OP(act_fn, mete_act_fn(t, g.a, METE_SILU))                                                     \
    OP(gated, mete_gated(t, g.a, g.b, METE_SILU))                                                  \
    OP(gated, mete_gated(t, g.a, g.b, METE_GELU))                                                  \
    OP(rope, mete_rope(t, g.a, 1, position, frequency))                                            \
    OP(rope, mete_rope(t, g.a, 2, position, frequency))                                            \
    OP(attention, mete_attention(t, g.a, g.b, g.a, 2, 2, packed, 2, .7f))                          \
    OP(attention, mete_attention(t, g.a, mete_columns(t, g.b, 0, 2), mete_columns(t, g.b, 2, 2),   \
                                 2, 1, packed, 2, 3))                                              \
    OP(vocab_logp, mete_vocab_logp(t, g.a, g.w, g.s, target, .7f, 1))                              \
    OP(vocab_logp, mete_vocab_logp(t, g.a, g.w, NULL, pick_index, 1, 0))                           \
    OP(sum_columns, mete_sum_columns(t, g.a))                                                      \
    OP(mean, mete_mean(t, g.a))                                                                    \
    OP(gru, mete_gru(t, mete_concat(t, g.a, mete_columns(t, g.b, 0, 2)),                           \
                     mete_reshape(t, g.b, 6, 2), mete_concat(t, g.r, mete_columns(t, g.s, 0, 2)),  \
                     mete_columns(t, g.a, 1, 2), ragged, 3))                                       \
    OP(gru,                                                                                        \
       mete_gru(t, mete_reshape(t, g.a, 4, 3), mete_columns(t, mete_reshape(t, g.b, 3, 4), 1, 1),  \
                NULL, NULL, (const uint32_t[]){0, 4}, 1))                                          \
    OP(lstm, mete_lstm(t, mete_concat(t, g.a, g.b),                                                \
                       mete_reshape(t, mete_rows_of(t, g.w, bag_index, 4), 8, 2),                  \
                       mete_concat(t, g.r, mete_columns(t, g.s, 1, 4)), g.b, ragged, 3))           \
    OP(lstm, mete_lstm(t, g.a, mete_columns(t, g.c, 0, 1), NULL, NULL, whole, 1))                  \
    OP(s4d, mete_s4d(t, g.a, g.r, g.c, mete_reshape(t, mete_rows_of(t, g.w, bag_index, 2), 4, 2),  \
                     ragged, 3))                                                                   \
    OP(s4d, mete_s4d(t, mete_reshape(t, g.a, 6, 2), mete_columns(t, g.r, 0, 2),                    \
                     mete_reshape(t, g.c, 2, 4),                                                   \
                     mete_reshape(t, mete_rows_of(t, g.w, bag_index, 2), 2, 4), uneven, 2))        \
    OP(conv1d, mete_conv1d(t, mete_columns(t, g.a, 0, 2), g.w, g.s, 2, 1, 0, ragged, 3))           \
    OP(conv1d, mete_conv1d(t, mete_reshape(t, g.a, 6, 2), g.w, NULL, 2, 2, 1, uneven, 2))          \
    OP(conv2d, mete_conv2d(t, mete_reshape(t, g.a, 1, 12), g.w, g.s, plane))                       \
    OP(conv2d,                                                                                     \
       mete_conv2d(t, mete_reshape(t, g.a, 1, 12), mete_reshape(t, g.w, 10, 2), NULL, planes))     \
    OP(route, mete_route(t, g.a, 2, &(mete_route_plan){0}))                                        \
    OP(route_balance, balance(t, g.a))                                                             \
    OP(dense_groups, mete_dense_groups(t, g.a, g.w, g.s, expert_rows, 5))                          \
    OP(combine, mete_combine(t, g.a, mete_columns(t, g.b, 0, 2), place))                           \
    OP(dropout, mete_dropout(t, g.a, .4f, 5, 0))                                                   \
    OP(checkpoint, mete_checkpoint(t, ROWS, 5, segment, (mete_var *[]){g.a, g.w}, 2, NULL))        \
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
        if (sscanf(line, "METE_API mete_var *mete_%63[a-z0-9_]", name) != 1)
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

/* Of few numbers kept: the same gradients, computed anew. */
static void
gradients_anew(void)
{
    size_t kept = mete__vocab_kept;
    mete__vocab_kept = 0;
    gradients();
    mete__vocab_kept = kept;
}

static void
fill(mete_rng *rng, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)mete_rng_normal(rng);
}

/* Softmax of all scores in doubles, one query at a time: lengths around a block's, grouped heads. */
static void
attention_by_hand(void)
{
    enum { HEADS = 6, GROUPS = 2, WIDTH = 8, Q = HEADS * WIDTH, K = GROUPS * WIDTH };
    static const uint32_t offset[] = {0, 1, 64, 64, 129, 331};
    size_t n = offset[5];
    mete_rng rng = mete_rng_make(7, 0, 0);
    mete_tape *t = mete_tape_new();
    float *q = malloc(n * Q * sizeof *q), *k = malloc(n * K * sizeof *k);
    float *v = malloc(n * K * sizeof *v), *keys = malloc(2 * n * K * sizeof *keys);
    fill(&rng, q, n * Q);
    fill(&rng, k, n * K);
    fill(&rng, v, n * K);
    for (size_t i = 0; i < Q; i++)
        q[70 * Q + i] *= 300; /* scores of some thousands */
    mete_var *y = mete_attention(t, mete_input(t, q, n, Q), mete_input(t, k, n, K),
                                 mete_input(t, v, n, K), HEADS, GROUPS, offset, 5, .4f);
    CU_ASSERT_PTR_NOT_NULL_FATAL(y);
    double off = 0, off_run = 0;
    for (size_t s = 0; s < 5; s++)
        for (size_t i = offset[s]; i < offset[s + 1]; i++) {
            float score[400], out[Q];
            size_t length = i + 1 - offset[s], room = length + 3;
            for (size_t j = 0; j < length; j++) /* the cache's layout */
                for (size_t c = 0; c < K; c++) {
                    size_t at = (c / WIDTH * room + j) * WIDTH + c % WIDTH;
                    keys[at] = k[(offset[s] + j) * K + c];
                    keys[room * K + at] = v[(offset[s] + j) * K + c];
                }
            mete_attention_run(q + i * Q, HEADS, GROUPS, WIDTH, keys, keys + room * K, length, room,
                               .4f, score, out);
            for (size_t h = 0; h < HEADS; h++) {
                double p[400], most = -1e300, sum = 0;
                for (size_t j = 0; j < length; j++) {
                    p[j] = 0;
                    for (size_t c = 0; c < WIDTH; c++)
                        p[j] += .4 * (double)q[i * Q + h * WIDTH + c] *
                                (double)k[(offset[s] + j) * K + h / 3 * WIDTH + c];
                    most = fmax(most, p[j]);
                }
                for (size_t j = 0; j < length; j++)
                    sum += p[j] = exp(p[j] - most);
                for (size_t c = 0; c < WIDTH; c++) {
                    double want = 0;
                    for (size_t j = 0; j < length; j++)
                        want += p[j] / sum * (double)v[(offset[s] + j) * K + h / 3 * WIDTH + c];
                    off = fmax(off, fabs(want - (double)y->data[i * Q + h * WIDTH + c]));
                    off_run = fmax(off_run, fabs(want - (double)out[h * WIDTH + c]));
                }
            }
        }
    CU_ASSERT(off < 2e-3 && off_run < 2e-3); /* float32 scores of thousands */
    mete_tape_free(t);
    free(q);
    free(k);
    free(v);
    free(keys);
}

/* The head against log-softmax of a product, and its entropy against its definition; more rows than
 * a block. */
static void
vocabulary_by_hand(void)
{
    enum { N = 1100, D = 5, V = 37 };
    float *x = malloc(N * D * sizeof *x), w[V * D], b[V];
    int32_t want[N];
    mete_rng rng = mete_rng_make(9, 0, 0);
    mete_tape *t = mete_tape_new();
    fill(&rng, x, (size_t)N * D);
    fill(&rng, w, (size_t)V * D);
    fill(&rng, b, V);
    for (size_t i = 0; i < N; i++)
        want[i] = (int32_t)mete_rng_below(&rng, V + 1) - 1;
    mete_var *in = mete_input(t, x, N, D), *table = mete_input(t, w, V, D);
    mete_var *bias = mete_input(t, b, 1, V);
    mete_var *y = mete_vocab_logp(t, in, table, bias, want, 2, 1);
    mete_var *all = mete_log_softmax(
        t, mete_affine(t, mete_dense(t, in, table, bias, METE_LINEAR), .5f, 0), NULL);
    mete_var *entropy = mete_entropy(t, all);
    CU_ASSERT_PTR_NOT_NULL_FATAL(y);
    for (size_t i = 0; i < N; i++) {
        size_t at = i * V + (size_t)(want[i] < 0 ? 0 : want[i]);
        CU_ASSERT_DOUBLE_EQUAL(y->data[2 * i], want[i] < 0 ? 0 : all->data[at], 2e-5);
        CU_ASSERT_DOUBLE_EQUAL(y->data[2 * i + 1], want[i] < 0 ? 0 : entropy->data[i], 2e-5);
    }
    want[3] = V;
    CU_ASSERT_PTR_NULL(mete_vocab_logp(t, in, table, bias, want, 2, 1));
    CU_ASSERT_NOT_EQUAL(mete_tape_status(t, NULL), METE_OK);
    mete_tape_free(t);
    free(x);
}

/* A row's bits whatever rows stand beside it; and right, for widths with and without a rest. */
static void
rows_alone_and_together(void)
{
    static const size_t width[] = {1, 15, 16, 50, 96, 257}, outs[] = {1, 3, 4, 30, 65};
    mete_rng rng = mete_rng_make(13, 0, 0);
    float *x = malloc(11 * 257 * sizeof *x), *w = malloc(65 * 257 * sizeof *w), b[65];
    float many[11 * 65], one[65];
    fill(&rng, x, 11 * 257);
    fill(&rng, w, 65 * 257);
    fill(&rng, b, 65);
    for (size_t i = 0; i < 6; i++)
        for (size_t o = 0; o < 5; o++) {
            size_t in = width[i], out = outs[o];
            mete_dense_rows_run(x, 11, in, w, b, out, METE_LINEAR, many);
            for (size_t r = 0; r < 11; r++) {
                mete_dense_rows_run(x + r * in, 1, in, w, b, out, METE_LINEAR, one);
                CU_ASSERT(memcmp(one, many + r * out, out * sizeof *one) == 0);
                for (size_t k = 0; k < out; k++) {
                    double sum = (double)b[k];
                    for (size_t c = 0; c < in; c++)
                        sum += (double)x[r * in + c] * (double)w[k * in + c];
                    CU_ASSERT_DOUBLE_EQUAL(one[k], sum, 1e-4);
                }
            }
        }
    free(x);
    free(w);
}

/* Layers whose weights are packed: against sums in double, and a row alike beside any others. */
static void
packed_rows(void)
{
    static const size_t width[] = {1, 3, 4, 7, 64, 130}, outs[] = {8, 15, 16, 33, 64, 100};
    mete_rng rng = mete_rng_make(17, 0, 0);
    float *x = malloc(37 * 130 * sizeof *x), *w = malloc(100 * 130 * sizeof *w), b[100];
    float *many = malloc(37 * 100 * sizeof *many), few[2 * 100];
    fill(&rng, x, 37 * 130);
    fill(&rng, w, 100 * 130);
    fill(&rng, b, 100);
    for (size_t i = 0; i < 6; i++)
        for (size_t o = 0; o < 6; o++) {
            size_t in = width[i], out = outs[o];
            mete_dense_run(x, 37, in, w, b, out, METE_RELU, many);
            for (size_t r = 0; r + 1 < 37; r++) {
                if (mete__dense_packed(x + r * in, 2, in, w, b, out, METE_RELU, few))
                    CU_ASSERT(memcmp(few, many + r * out, 2 * out * sizeof *few) == 0);
                for (size_t k = 0; k < out; k++) {
                    double sum = (double)b[k];
                    for (size_t c = 0; c < in; c++)
                        sum += (double)x[r * in + c] * (double)w[k * in + c];
                    CU_ASSERT_DOUBLE_EQUAL(many[r * out + k], fmax(sum, 0), 1e-4);
                }
            }
        }
    mete_dense_run(x, 37, 64, w, NULL, 64, METE_LINEAR, many);
    double sum = 0;
    for (size_t c = 0; c < 64; c++)
        sum += (double)x[36 * 64 + c] * (double)w[63 * 64 + c];
    CU_ASSERT_DOUBLE_EQUAL(many[37 * 64 - 1], sum, 1e-4);
    free(x);
    free(w);
    free(many);
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
    CU_add_test(suite, "the vocabulary head computed anew", gradients_anew);
    CU_add_test(suite, "attention by hand", attention_by_hand);
    CU_add_test(suite, "the vocabulary head by hand", vocabulary_by_hand);
    CU_add_test(suite, "rows alone and together", rows_alone_and_together);
    CU_add_test(suite, "packed weights", packed_rows);
    CU_add_test(suite, "tanh and exp against libm", kernels);
    CU_add_test(suite, "one row as many", one_row_like_many);
    CU_add_test(suite, "log-softmax adds up", log_softmax_adds_up);
    CU_add_test(suite, "a warm tape takes no memory, and the same bits", warm_tape_takes_no_memory);
    CU_add_test(suite, "errors stick", errors_stick);
    CU_add_test(suite, "orthogonal start", orthogonal_start);
}
