/* nn's layers against plain loops in doubles: recurrent cells, state spaces, convolutions, mixtures
 * of experts, dropout, checkpoints, bfloat16. Gradients are in test_nn.c's table. */
#include "nn/nn.h"

#include <CUnit/CUnit.h>
#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
fill(mete_rng *rng, float scale, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = scale * (float)mete_rng_normal(rng);
}

/* Sequences of these lengths: empty, of one row, out of order, equal ones. */
static const uint32_t offset[] = {0, 3, 3, 4, 11, 14, 21};
enum { SEQUENCES = 6, N = 21 };

static double
sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* ---- recurrent ------------------------------------------------------------------------------- */

enum { H = 5 };

static void
gru_by_hand(void)
{
    float x[N * 3 * H], u[3 * H * H], b[3 * H], start[SEQUENCES * H], off = 0;
    mete_rng rng = mete_rng_make(1, 0, 0);
    mete_tape *t = mete_tape_new();
    fill(&rng, 1, x, N * 3 * H);
    fill(&rng, .7f, u, 3 * H * H);
    fill(&rng, 1, b, 3 * H);
    fill(&rng, .5f, start, SEQUENCES * H);
    for (size_t k = 0; k < 3 * H; k++)
        x[7 * 3 * H + k] *= 200; /* gates that are shut */
    mete_var *y =
        mete_gru(t, mete_input(t, x, N, 3 * H), mete_input(t, u, 3 * H, H),
                 mete_input(t, b, 1, 3 * H), mete_input(t, start, SEQUENCES, H), offset, SEQUENCES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(y);
    for (size_t s = 0; s < SEQUENCES; s++) {
        double h[H];
        float state[H], gates[3 * H], scratch[3 * H];
        for (size_t k = 0; k < H; k++)
            h[k] = (double)(state[k] = start[s * H + k]);
        for (size_t i = offset[s]; i < offset[s + 1]; i++) {
            double sum[3 * H], next[H];
            for (size_t g = 0; g < 3 * H; g++) {
                sum[g] = (double)b[g];
                for (size_t k = 0; k < H; k++)
                    sum[g] += (double)u[g * H + k] * h[k];
            }
            for (size_t k = 0; k < H; k++) {
                const float *in = x + i * 3 * H + k;
                double r = sigmoid((double)in[0] + sum[k]);
                double z = sigmoid((double)in[H] + sum[H + k]);
                next[k] = (1 - z) * tanh((double)in[2 * H] + r * sum[2 * H + k]) + z * h[k];
            }
            memcpy(h, next, sizeof h);
            memcpy(gates, x + i * 3 * H, sizeof gates);
            mete_gru_run(gates, 1, H, u, b, state, scratch);
            for (size_t k = 0; k < H; k++)
                off = fmaxf(off, fmaxf(fabsf(y->data[i * H + k] - (float)h[k]),
                                       fabsf(state[k] - (float)h[k])));
        }
    }
    CU_ASSERT(off < 5e-6f);
    mete_tape_free(t);
}

static void
lstm_by_hand(void)
{
    float x[N * 4 * H], u[4 * H * H], b[4 * H], off = 0;
    mete_rng rng = mete_rng_make(2, 0, 0);
    mete_tape *t = mete_tape_new();
    fill(&rng, 1, x, N * 4 * H);
    fill(&rng, .7f, u, 4 * H * H);
    fill(&rng, 1, b, 4 * H);
    mete_var *y = mete_lstm(t, mete_input(t, x, N, 4 * H), mete_input(t, u, 4 * H, H),
                            mete_input(t, b, 1, 4 * H), NULL, offset, SEQUENCES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(y);
    for (size_t s = 0; s < SEQUENCES; s++) {
        double h[H] = {0}, c[H] = {0};
        float state[2 * H] = {0}, gates[4 * H];
        for (size_t i = offset[s]; i < offset[s + 1]; i++) {
            double sum[4 * H];
            for (size_t g = 0; g < 4 * H; g++) {
                sum[g] = (double)b[g] + (double)x[i * 4 * H + g];
                for (size_t k = 0; k < H; k++)
                    sum[g] += (double)u[g * H + k] * h[k];
            }
            for (size_t k = 0; k < H; k++) {
                c[k] = sigmoid(sum[H + k]) * c[k] + sigmoid(sum[k]) * tanh(sum[2 * H + k]);
                h[k] = sigmoid(sum[3 * H + k]) * tanh(c[k]);
            }
            memcpy(gates, x + i * 4 * H, sizeof gates);
            mete_lstm_run(gates, 1, H, u, b, state);
            for (size_t k = 0; k < H; k++) {
                const float *got = y->data + i * 2 * H;
                off = fmaxf(off, fabsf(got[k] - (float)h[k]));
                off = fmaxf(off, fabsf(got[H + k] - (float)c[k]));
                off = fmaxf(off, fabsf(state[k] - (float)h[k]));
                off = fmaxf(off, fabsf(state[H + k] - (float)c[k]));
            }
        }
    }
    CU_ASSERT(off < 5e-6f);
    mete_tape_free(t);
}

/* ---- state spaces ---------------------------------------------------------------------------- */

/* As the paper's convolution: y_t = sum_k K_k u_{t-k}, K_k = 2 Re sum_n W_n exp(k dt A_n). More
 * channels than a block's lanes, the starts that nn.h gives. */
static void
s4d_by_hand(void)
{
    enum { C = 19, S = 4 };
    float x[N * C], step[C], a[C * 2 * S], c[C * 2 * S], y_run[C], off = 0;
    mete_rng rng = mete_rng_make(3, 0, 0);
    mete_tape *t = mete_tape_new();
    fill(&rng, 1, x, N * C);
    fill(&rng, 1, c, C * 2 * S);
    for (size_t h = 0; h < C; h++) {
        step[h] = (float)log(.001 + .3 * mete_rng_uniform(&rng));
        for (size_t n = 0; n < S; n++) {
            a[h * 2 * S + n] = (float)log(.5);
            a[h * 2 * S + S + n] = (float)(3.14159265 * (double)n);
        }
    }
    mete_var *y =
        mete_s4d(t, mete_input(t, x, N, C), mete_input(t, step, 1, C), mete_input(t, a, C, 2 * S),
                 mete_input(t, c, C, 2 * S), offset, SEQUENCES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(y);
    float *ready = malloc(mete_s4d_coefficients(C, S) * sizeof *ready);
    float *state = malloc(mete_s4d_state(C, S) * sizeof *state);
    mete_s4d_prepare(step, a, c, C, S, ready);
    for (size_t s = 0; s < SEQUENCES; s++) {
        memset(state, 0, mete_s4d_state(C, S) * sizeof *state);
        for (size_t i = offset[s]; i < offset[s + 1]; i++) {
            mete_s4d_run(x + i * C, 1, ready, C, S, state, y_run);
            for (size_t h = 0; h < C; h++) {
                double want = 0, dt = exp((double)step[h]);
                for (size_t n = 0; n < S; n++) {
                    const float *an = a + h * 2 * S + n, *cn = c + h * 2 * S + n;
                    double complex pole = CMPLX(-exp((double)an[0]), (double)an[S]);
                    double complex w =
                        CMPLX((double)cn[0], (double)cn[S]) * (cexp(dt * pole) - 1) / pole;
                    for (size_t k = 0; k <= i - offset[s]; k++)
                        want +=
                            2 * creal(w * cexp((double)k * dt * pole)) * (double)x[(i - k) * C + h];
                }
                off = fmaxf(off, fabsf(y->data[i * C + h] - (float)want));
                off = fmaxf(off, fabsf(y_run[h] - (float)want));
            }
        }
    }
    CU_ASSERT(off < 1e-5f);
    free(ready);
    free(state);
    mete_tape_free(t);
}

/* ---- convolutions ---------------------------------------------------------------------------- */

static void
conv1d_by_hand(void)
{
    enum { IN = 3, OUT = 4, WIDTH = 3 };
    float x[N * IN], w[OUT * WIDTH * IN], b[OUT];
    mete_rng rng = mete_rng_make(4, 0, 0);
    mete_tape *t = mete_tape_new();
    fill(&rng, 1, x, N * IN);
    fill(&rng, 1, w, OUT * WIDTH * IN);
    fill(&rng, 1, b, OUT);
    for (size_t dilation = 1; dilation <= 3; dilation++)
        for (size_t ahead = 0; ahead < WIDTH; ahead++) {
            double off = 0;
            mete_var *y =
                mete_conv1d(t, mete_input(t, x, N, IN), mete_input(t, w, OUT, WIDTH * IN),
                            mete_input(t, b, 1, OUT), WIDTH, dilation, ahead, offset, SEQUENCES);
            CU_ASSERT_PTR_NOT_NULL_FATAL(y);
            for (size_t s = 0; s < SEQUENCES; s++)
                for (int i = (int)offset[s]; i < (int)offset[s + 1]; i++)
                    for (size_t o = 0; o < OUT; o++) {
                        double want = (double)b[o];
                        for (int j = 0; j < WIDTH; j++) {
                            int from = i + (j - (WIDTH - 1) + (int)ahead) * (int)dilation;
                            for (int k = 0; k < IN; k++)
                                if (from >= (int)offset[s] && from < (int)offset[s + 1])
                                    want += (double)w[((int)o * WIDTH + j) * IN + k] *
                                            (double)x[from * IN + k];
                        }
                        off = fmax(off, fabs(want - (double)y->data[(size_t)i * OUT + o]));
                    }
            CU_ASSERT(off < 1e-5);
        }
    mete_tape_free(t);
}

static void
conv2d_by_hand(void)
{
    static const mete_conv2d_shape shapes[] = {
        {3, 6, 5, 3, 1, 1}, {2, 7, 7, 3, 2, 0}, {1, 4, 4, 4, 1, 0}, {2, 5, 3, 2, 3, 1}};
    enum { IMAGES = 2, OUT = 3 };
    float x[IMAGES * 98], w[OUT * 27], b[OUT];
    mete_rng rng = mete_rng_make(5, 0, 0);
    mete_tape *t = mete_tape_new();
    fill(&rng, 1, x, IMAGES * 98);
    fill(&rng, 1, w, OUT * 27);
    fill(&rng, 1, b, OUT);
    for (size_t at = 0; at < sizeof shapes / sizeof *shapes; at++) {
        mete_conv2d_shape s = shapes[at];
        int c = (int)s.channels, h = (int)s.height, v = (int)s.width, k = (int)s.kernel;
        int pad = (int)s.padding, stride = (int)s.stride;
        int tall = (h + 2 * pad - k) / stride + 1, broad = (v + 2 * pad - k) / stride + 1;
        mete_var *y =
            mete_conv2d(t, mete_input(t, x, IMAGES, (size_t)(c * h * v)),
                        mete_input(t, w, OUT, (size_t)(c * k * k)), mete_input(t, b, 1, OUT), s);
        CU_ASSERT_PTR_NOT_NULL_FATAL(y);
        CU_ASSERT_EQUAL(y->columns, (size_t)(OUT * tall * broad));
        double off = 0;
        for (int n = 0; n < IMAGES * OUT * tall * broad; n++) {
            int j = n % broad, i = n / broad % tall, o = n / broad / tall % OUT;
            int image = n / broad / tall / OUT;
            double want = (double)b[o];
            for (int m = 0; m < c * k * k; m++) {
                int row = i * stride + m / k % k - pad, column = j * stride + m % k - pad;
                if (row >= 0 && row < h && column >= 0 && column < v)
                    want += (double)w[o * c * k * k + m] *
                            (double)x[((image * c + m / k / k) * h + row) * v + column];
            }
            off = fmax(off, fabs(want - (double)y->data[n]));
        }
        CU_ASSERT(off < 1e-5);
    }
    mete_tape_free(t);
}

/* ---- mixtures -------------------------------------------------------------------------------- */

static void
mixture_by_hand(void)
{
    enum { ROWS = 17, IN = 4, EXPERTS = 6, K = 2, OUT = 3 };
    float x[ROWS * IN], z[ROWS * EXPERTS], w[EXPERTS * OUT * IN], b[EXPERTS * OUT];
    mete_rng rng = mete_rng_make(6, 0, 0);
    mete_tape *t = mete_tape_new();
    mete_route_plan plan;
    fill(&rng, 1, x, ROWS * IN);
    fill(&rng, 1, z, ROWS * EXPERTS);
    fill(&rng, 1, w, EXPERTS * OUT * IN);
    fill(&rng, 1, b, EXPERTS * OUT);
    for (size_t i = 0; i < ROWS; i++)
        z[i * EXPERTS + 4] = -50; /* an expert nobody takes */
    mete_var *logits = mete_input(t, z, ROWS, EXPERTS), *in = mete_input(t, x, ROWS, IN);
    mete_var *weight = mete_route(t, logits, K, &plan);
    CU_ASSERT_PTR_NOT_NULL_FATAL(weight);
    CU_ASSERT_EQUAL(plan.rows, ROWS * K);
    mete_var *y = mete_dense_groups(t, mete_rows_of(t, in, plan.source, plan.rows),
                                    mete_input(t, w, EXPERTS * OUT, IN),
                                    mete_input(t, b, EXPERTS, OUT), plan.offset, EXPERTS);
    y = mete_combine(t, y, weight, plan.place);
    mete_var *even = mete_route_balance(t, logits, &plan);
    CU_ASSERT_PTR_NOT_NULL_FATAL(y);
    CU_ASSERT_PTR_NOT_NULL_FATAL(even);
    double off = 0, taken[EXPERTS] = {0}, mean[EXPERTS] = {0}, balance = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const float *row = z + i * EXPERTS;
        double want[OUT] = {0}, sum = 0, all = 0;
        int chosen[EXPERTS];
        for (size_t e = 0; e < EXPERTS; e++) {
            size_t above = 0;
            for (size_t f = 0; f < EXPERTS; f++)
                above += row[f] > row[e];
            chosen[e] = above < K;
            sum += chosen[e] ? exp((double)row[e]) : 0;
            all += exp((double)row[e]);
        }
        for (size_t e = 0; e < EXPERTS; e++) {
            taken[e] += chosen[e] / (double)(ROWS * K);
            mean[e] += exp((double)row[e]) / all / ROWS;
            for (size_t o = 0; chosen[e] && o < OUT; o++) {
                double dot = (double)b[e * OUT + o];
                for (size_t k = 0; k < IN; k++)
                    dot += (double)w[(e * OUT + o) * IN + k] * (double)x[i * IN + k];
                want[o] += exp((double)row[e]) / sum * dot;
            }
        }
        for (size_t o = 0; o < OUT; o++)
            off = fmax(off, fabs(want[o] - (double)y->data[i * OUT + o]));
    }
    for (size_t e = 0; e < EXPERTS; e++)
        balance += EXPERTS * taken[e] * mean[e];
    CU_ASSERT(off < 1e-5);
    CU_ASSERT_DOUBLE_EQUAL(even->data[0], balance, 1e-5);
    CU_ASSERT_EQUAL(plan.offset[4], plan.offset[5]);
    static const float equal[4] = {0};
    mete_var *tied = mete_input(t, equal, 1, 4);
    CU_ASSERT_PTR_NOT_NULL_FATAL(mete_route(t, tied, 4, &plan)); /* all of them: load is even */
    CU_ASSERT_DOUBLE_EQUAL(mete_route_balance(t, tied, &plan)->data[0], 1, 1e-6);
    for (int32_t e = 0; e < 4; e++)
        CU_ASSERT_EQUAL(plan.place[e], e); /* the first of equals first */
    mete_tape_free(t);
}

/* ---- dropout --------------------------------------------------------------------------------- */

/* Of 60,000 numbers the part dropped is within 5 standard errors of the rate (one false alarm in
 * two million), what is kept is exactly scaled, and a batch taken in two parts has the same mask. */
static void
dropout_counts(void)
{
    enum { ROWS = 300, COLUMNS = 200 };
    static const float rates[] = {0, .1f, .5f, .9f};
    float *one = malloc(ROWS * COLUMNS * sizeof *one);
    mete_tape *t = mete_tape_new();
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        one[i] = 1;
    for (size_t k = 0; k < 4; k++) {
        mete_tape_reset(t);
        mete_var *x = mete_input(t, one, ROWS, COLUMNS), *y = mete_dropout(t, x, rates[k], 9, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(y);
        double dropped = 0, rate = (double)rates[k];
        for (size_t i = 0; i < ROWS * COLUMNS; i++) {
            dropped += y->data[i] == 0;
            if (y->data[i] != 0)
                CU_ASSERT_DOUBLE_EQUAL(y->data[i], 1 / (1 - rate), 1e-4 / (1 - rate));
        }
        dropped /= ROWS * COLUMNS;
        CU_ASSERT(fabs(dropped - rate) <= 5 * sqrt(rate * (1 - rate) / (ROWS * COLUMNS)) + 1e-5);
        mete_var *rest = mete_input(t, one, ROWS - 100, COLUMNS);
        rest = mete_dropout(t, rest, rates[k], 9, 100);
        CU_ASSERT(memcmp(rest->data, y->data + 100 * COLUMNS,
                         (ROWS - 100) * COLUMNS * sizeof(float)) == 0);
        mete_var *other = mete_dropout(t, x, rates[k], 10, 0);
        CU_ASSERT(k == 0 || memcmp(other->data, y->data, ROWS * COLUMNS * sizeof(float)) != 0);
    }
    CU_ASSERT_PTR_NULL(mete_dropout(t, mete_input(t, one, 1, 1), 1, 0, 0));
    mete_tape_free(t);
    free(one);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

enum { WIDTH = 8, BLOCK = 4 * WIDTH * WIDTH, ALL = 3 * BLOCK };

struct block {
    const float *vector;
    size_t at, inside; /* its parameters' place; blocks nested in it, checkpointed themselves */
    int plainly;
};

static mete_var *
block(mete_tape *t, mete_var *const *input, void *memory)
{
    static const uint32_t one[] = {0, 6};
    const struct block *b = memory;
    mete_var *x = input[0], *w[4];
    for (size_t i = 0; i < 4; i++)
        w[i] = mete_weights(t, b->vector, b->at + i * WIDTH * WIDTH, WIDTH, WIDTH);
    mete_var *q = mete_dense(t, x, w[0], NULL, METE_LINEAR);
    mete_var *k = mete_dense(t, x, w[1], NULL, METE_LINEAR);
    mete_var *y = mete_add(t, x, mete_attention(t, q, k, x, 2, 2, one, 1, .5f));
    y = mete_dropout(t, mete_dense(t, y, w[2], NULL, METE_GELU), .2f, b->at, 0);
    y = mete_add(t, x, mete_dense(t, y, w[3], NULL, METE_LINEAR));
    /* read from outside: what was given, here once more */
    y = mete_add(t, y, input[1]);
    if (!b->inside)
        return y;
    static struct block in[2]; /* lives until backward */
    in[b->inside - 1] = (struct block){b->vector, b->at + BLOCK, b->inside - 1, b->plainly};
    mete_var *const given[] = {y, input[1]};
    return b->plainly ? block(t, given, &in[b->inside - 1])
                      : mete_checkpoint(t, 6, WIDTH, block, given, 2, &in[b->inside - 1]);
}

static void
checkpoints_give_the_same_bits(void)
{
    float vector[ALL + 6 * WIDTH], grad[2][ALL + 6 * WIDTH], adjoint[6 * WIDTH], data[2][6 * WIDTH];
    mete_rng rng = mete_rng_make(8, 0, 0);
    mete_tape *t = mete_tape_new();
    fill(&rng, .5f, vector, ALL + 6 * WIDTH);
    fill(&rng, 1, adjoint, 6 * WIDTH);
    memset(grad, 0, sizeof grad);
    size_t blocks = 0;
    for (int pass = 0; pass < 6; pass++) {
        struct block outer = {vector, 0, 2, pass % 2};
        mete_tape_reset(t);
        memset(grad[pass % 2], 0, sizeof grad[0]);
        mete_var *x = mete_weights(t, vector, ALL, 6, WIDTH);
        mete_var *const given[] = {mete_affine(t, x, 2, 0), mete_affine(t, x, .1f, 1)};
        mete_var *y = outer.plainly ? block(t, given, &outer)
                                    : mete_checkpoint(t, 6, WIDTH, block, given, 2, &outer);
        CU_ASSERT_PTR_NOT_NULL_FATAL(y);
        memcpy(data[pass % 2], y->data, sizeof data[0]);
        mete_seed(t, y, adjoint);
        CU_ASSERT_EQUAL(mete_tape_backward(t, grad[pass % 2]), METE_OK);
        blocks = pass == 1 ? mete__tape_blocks(t) : blocks;
    }
    CU_ASSERT(memcmp(data[0], data[1], sizeof data[0]) == 0);
    CU_ASSERT(memcmp(grad[0], grad[1], sizeof grad[0]) == 0);
    CU_ASSERT(grad[0][ALL] != 0 && grad[0][0] != 0 && grad[0][ALL - 1] != 0);
    CU_ASSERT_EQUAL(mete__tape_blocks(t), blocks);
    mete_tape_free(t);
}

/* ---- bfloat16 -------------------------------------------------------------------------------- */

static float
bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void
bfloat16_rounds(void)
{
    static const struct {
        uint32_t from;
        uint16_t to;
    } want[] = {{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, /* ties to even */
                {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, {0x80000000, 0x8000},
                {0x7f800000, 0x7f80}, {0x7f7fffff, 0x7f80}, /* the largest rounds to infinity */
                {0xff800000, 0xff80}, {0x00000001, 0x0000}, {0x7f800001, 0x7fc0},
                {0xffffffff, 0xffff}};
    uint16_t got;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        float x = bits(want[i].from);
        mete_to_bf16(&x, 1, &got);
        CU_ASSERT_EQUAL(got, want[i].to);
    }
    size_t wrong = 0;
    for (uint32_t half = 0; half < 0x10000; half++) { /* each is its own nearest; NaNs quieten */
        float x = bits(half << 16);
        mete_to_bf16(&x, 1, &got);
        wrong += got != (half | ((half & 0x7fff) > 0x7f80 ? 0x40 : 0));
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void
bfloat16_products(void)
{
    static const size_t width[] = {1, 16, 50, 96}, outs[] = {1, 4, 30};
    float x[9 * 96], w[30 * 96], wide[30 * 96], b[30], out[2][9 * 30];
    uint16_t half[30 * 96];
    mete_rng rng = mete_rng_make(15, 0, 0);
    fill(&rng, 1, x, 9 * 96);
    fill(&rng, 1, w, 30 * 96);
    fill(&rng, 1, b, 30);
    mete_to_bf16(w, 30 * 96, half);
    for (size_t i = 0; i < 30 * 96; i++)
        wide[i] = bits((uint32_t)half[i] << 16);
    for (size_t i = 0; i < 4; i++)
        for (size_t o = 0; o < 3; o++)
            for (size_t n = 1; n <= 9; n += 4) {
                mete_dense_bf16_run(x, n, width[i], half, b, outs[o], METE_TANH, out[0]);
                mete_dense_rows_run(x, n, width[i], wide, b, outs[o], METE_TANH, out[1]);
                CU_ASSERT(memcmp(out[0], out[1], n * outs[o] * sizeof(float)) == 0);
            }
}

/* ---- what does not fit ----------------------------------------------------------------------- */

static void
misfits(void)
{
    static const uint32_t falling[] = {0, 5, 3, 6}, shorter[] = {0, 2, 5}, late[] = {1, 6};
    static const uint32_t right[] = {0, 6};
    static const int32_t past[] = {0, 6, 0, 0, 0, 0};
    float data[6 * 12] = {0};
    mete_route_plan plan;
    mete_tape *t = mete_tape_new();
#define REFUSED(call)                                                                              \
    do {                                                                                           \
        mete_tape_reset(t);                                                                        \
        mete_var *x = mete_input(t, data, 6, 4), *x3 = mete_input(t, data, 6, 3);                  \
        mete_var *u = mete_input(t, data, 4, 1), *w = mete_input(t, data, 2, 12);                  \
        (void)x, (void)x3, (void)u, (void)w;                                                       \
        CU_ASSERT_PTR_NULL(call);                                                                  \
        CU_ASSERT_NOT_EQUAL(mete_tape_status(t, NULL), METE_OK);                                   \
    } while (0)
    REFUSED(mete_lstm(t, x, u, NULL, NULL, falling, 3));
    REFUSED(mete_lstm(t, x, u, NULL, NULL, shorter, 2));
    REFUSED(mete_lstm(t, x, u, NULL, NULL, late, 1));
    REFUSED(mete_lstm(t, x3, u, NULL, NULL, right, 1));
    REFUSED(mete_gru(t, x, u, NULL, NULL, right, 1));
    REFUSED(mete_s4d(t, x, u, u, u, right, 1));
    REFUSED(mete_conv1d(t, x, w, NULL, 3, 1, 3, right, 1));
    REFUSED(mete_conv1d(t, x, w, NULL, 2, 1, 0, right, 1));
    REFUSED(mete_conv1d(t, x, w, NULL, 3, 1, 0, late, 1));
    REFUSED(mete_conv2d(t, x, u, NULL, (mete_conv2d_shape){1, 2, 2, 3, 1, 0}));
    REFUSED(mete_conv2d(t, x, u, NULL, (mete_conv2d_shape){1, 2, 2, 1, 0, 0}));
    REFUSED(mete_route(t, x, 5, &plan));
    REFUSED(mete_dense_groups(t, x, x, NULL, right, 4));
    REFUSED(mete_combine(t, x, mete_input(t, data, 6, 1), past));
    REFUSED(mete_attention(t, x, x, x, 2, 2, falling, 3, 1));
    REFUSED(mete_checkpoint(t, 6, 5, block, &x, 5, NULL));
#undef REFUSED
    mete_tape_free(t);
}

void
suite_layers(void)
{
    CU_pSuite suite = CU_add_suite("layers", NULL, NULL);
    CU_add_test(suite, "GRU by hand", gru_by_hand);
    CU_add_test(suite, "LSTM by hand", lstm_by_hand);
    CU_add_test(suite, "state space as a convolution", s4d_by_hand);
    CU_add_test(suite, "convolution along sequences by hand", conv1d_by_hand);
    CU_add_test(suite, "convolution over images by hand", conv2d_by_hand);
    CU_add_test(suite, "mixture of experts by hand", mixture_by_hand);
    CU_add_test(suite, "dropout counts", dropout_counts);
    CU_add_test(suite, "checkpoints give the same bits", checkpoints_give_the_same_bits);
    CU_add_test(suite, "bfloat16 rounds", bfloat16_rounds);
    CU_add_test(suite, "bfloat16 products", bfloat16_products);
    CU_add_test(suite, "what does not fit is refused", misfits);
}
