/* gpt - the transformer side of the benchmarks: a training step of a small GPT-2 (4 layers of 256, 4
 * heads, vocabulary 8192, 4 sequences of 256), its parts, and products for decoding. Prints one JSON
 * object for bench/report.py, which holds it against the same work in PyTorch.
 *
 *   gpt step FILE STEPS   writes parameters and tokens to FILE, then takes STEPS steps of AdamW
 *   gpt parts             attention and vocabulary head, forward and backward, ms
 *   gpt rows              least microseconds of a product with 1, 8, 32 rows, weights in float32
 *                         and in bfloat16
 */
#include "nn/nn.h"
#include "nn/optimiser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LAYERS = 4, D = 256, HEADS = 4, V = 8192, T = 256, B = 4, N = B * T, ROUNDS = 7 };

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
die(const char *what)
{
    fprintf(stderr, "gpt: %s\n", what);
    exit(2);
}

static void
fill(mete_rng *rng, float scale, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = scale * (float)mete_rng_normal(rng);
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* The parameters in order: tokens, positions, then of each layer a norm (gain, bias), queries, keys
 * and values (weights of all three, then biases), the projection, a norm, and the two of the MLP;
 * last a norm. */
enum { LAYER = 2 * D + 3 * D * D + 3 * D + D * D + D + 2 * D + 8 * D * D + 4 * D + D };
enum { PARAMETERS = V * D + T * D + LAYERS * LAYER + 2 * D };

struct reader {
    mete_tape *tape;
    const float *vector;
    size_t at;
};

static mete_var *
next(struct reader *r, size_t rows, size_t columns)
{
    mete_var *var = mete_weights(r->tape, r->vector, r->at, rows, columns);
    r->at += rows * columns;
    return var;
}

static mete_var *
norm(struct reader *r, mete_var *x)
{
    mete_var *gain = next(r, 1, D);
    return mete_layer_norm(r->tape, x, gain, next(r, 1, D));
}

static mete_var *
dense(struct reader *r, mete_var *x, size_t outs, mete_activation act)
{
    mete_var *w = next(r, outs, x->columns);
    return mete_dense(r->tape, x, w, next(r, 1, outs), act);
}

static mete_var *
layer(struct reader *r, mete_var *x, const uint32_t *offset)
{
    mete_tape *t = r->tape;
    mete_var *y = norm(r, x), *w[3], *part[3];
    for (int i = 0; i < 3; i++)
        w[i] = next(r, D, D);
    for (int i = 0; i < 3; i++)
        part[i] = mete_dense(t, y, w[i], next(r, 1, D), METE_LINEAR);
    y = mete_attention(t, part[0], part[1], part[2], HEADS, HEADS, offset, B, .125f);
    x = mete_add(t, x, dense(r, y, D, METE_LINEAR));
    y = dense(r, norm(r, x), 4 * D, METE_GELU);
    return mete_add(t, x, dense(r, y, D, METE_LINEAR));
}

/* The log-probability of each next token. */
static mete_var *
model(mete_tape *t, const float *vector, const int32_t *token)
{
    static const uint32_t offset[B + 1] = {0, T, 2 * T, 3 * T, 4 * T};
    struct reader r = {t, vector, 0};
    int32_t position[N], in[N], target[N];
    for (size_t i = 0; i < N; i++) {
        position[i] = (int32_t)(i % T);
        in[i] = token[i / T * (T + 1) + i % T];
        target[i] = token[i / T * (T + 1) + i % T + 1];
    }
    mete_var *table = next(&r, V, D);
    mete_var *x = mete_rows_of(t, table, in, N);
    x = mete_add(t, x, mete_rows_of(t, next(&r, T, D), position, N));
    for (int i = 0; i < LAYERS; i++)
        x = layer(&r, x, offset);
    return mete_vocab_logp(t, norm(&r, x), table, NULL, target, 1, 0);
}

static void
start(float *vector, int32_t *token)
{
    mete_rng rng = mete_rng_make(1, 2, 3);
    fill(&rng, .02f, vector, PARAMETERS);
    for (size_t i = 0; i < LAYERS; i++) {
        float *at = vector + V * D + T * D + i * LAYER;
        float *second = at + LAYER - 8 * D * D - 5 * D - 2 * D;
        for (size_t k = 0; k < D; k++)
            at[k] = second[k] = 1;
    }
    for (size_t k = 0; k < D; k++)
        vector[PARAMETERS - 2 * D + k] = 1;
    for (size_t i = 0; i < B * (T + 1); i++) /* few words are frequent */
        token[i] = (int32_t)(V * mete_rng_uniform(&rng) * mete_rng_uniform(&rng));
}

static void
step(const char *path, int steps)
{
    float *vector = malloc(PARAMETERS * sizeof *vector), *grad = malloc(PARAMETERS * sizeof *grad);
    int32_t token[B * (T + 1)];
    float adjoint[N];
    double each[3][64], norm = 0;
    mete_error err = {0};
    mete__optimiser adamw = {METE__ADAMW, .9, .999, 1e-8, .01, .clip_norm = 0};
    if (!vector || !grad || mete__optimiser_init(&adamw, PARAMETERS, &err) || steps < 2 ||
        steps > 64)
        die("out of memory, or steps not in [2, 64]");
    start(vector, token);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(vector, sizeof *vector, PARAMETERS, out) != PARAMETERS ||
        fwrite(token, sizeof *token, B * (T + 1), out) != B * (T + 1) || fclose(out))
        die("cannot write the parameters");
    for (size_t i = 0; i < N; i++)
        adjoint[i] = -1.0f / N;
    mete_tape *t = mete_tape_new();
    printf("{\"loss\": [");
    for (int s = 0; s < steps; s++) {
        double began = now(), loss = 0;
        mete_tape_reset(t);
        memset(grad, 0, PARAMETERS * sizeof *grad);
        mete_var *y = model(t, vector, token);
        double forward = now();
        mete_seed(t, y, adjoint);
        if (!y || mete_tape_backward(t, grad))
            die("the tape failed");
        double backward = now();
        for (size_t i = 0; i < N; i++)
            loss -= (double)y->data[i] / N;
        if (mete__optimiser_step(&adamw, vector, grad, 3e-4, &norm, &err))
            die(err.message);
        each[0][s] = 1e3 * (forward - began);
        each[1][s] = 1e3 * (backward - forward);
        each[2][s] = 1e3 * (now() - backward);
        printf("%s%.6f", s ? ", " : "", loss);
    }
    printf("], \"forward\": %.2f, \"backward\": %.2f, \"update\": %.2f}\n",
           median(each[0] + 1, (size_t)steps - 1), median(each[1] + 1, (size_t)steps - 1),
           median(each[2] + 1, (size_t)steps - 1));
    mete_tape_free(t);
    mete__optimiser_free(&adamw);
    free(vector);
    free(grad);
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void
parts(void)
{
    static const uint32_t offset[B + 1] = {0, T, 2 * T, 3 * T, 4 * T};
    size_t count = 3 * N * D + V * D;
    float *vector = malloc(count * sizeof *vector), *grad = calloc(count, sizeof *grad);
    int32_t target[N];
    double each[4][ROUNDS];
    mete_rng rng = mete_rng_make(4, 0, 0);
    if (!vector || !grad)
        die("out of memory");
    fill(&rng, 1, vector, 3 * N * D);
    fill(&rng, 1.0f / 16, vector + 3 * N * D, V * D);
    for (size_t i = 0; i < N; i++)
        target[i] = (int32_t)mete_rng_below(&rng, V);
    mete_tape *t = mete_tape_new();
    for (int round = 0; round < ROUNDS; round++)
        for (int what = 0; what < 2; what++) {
            mete_tape_reset(t);
            mete_var *q = mete_weights(t, vector, 0, N, D);
            mete_var *k = mete_weights(t, vector, N * D, N, D);
            mete_var *v = mete_weights(t, vector, 2 * N * D, N, D);
            mete_var *w = mete_weights(t, vector, 3 * N * D, V, D);
            double began = now();
            mete_var *y = what ? mete_vocab_logp(t, q, w, NULL, target, 1, 0)
                               : mete_attention(t, q, k, v, HEADS, HEADS, offset, B, .125f);
            each[2 * what][round] = 1e3 * (now() - began);
            mete_seed(t, y, NULL);
            began = now();
            if (!y || mete_tape_backward(t, grad))
                die("the tape failed");
            each[2 * what + 1][round] = 1e3 * (now() - began);
        }
    printf("{\"attention\": [%.2f, %.2f], ", median(each[0], ROUNDS), median(each[1], ROUNDS));
    printf("\"head\": [%.2f, %.2f]}\n", median(each[2], ROUNDS), median(each[3], ROUNDS));
    mete_tape_free(t);
    free(vector);
    free(grad);
}

/* ---- products for decoding ------------------------------------------------------------------- */

/* Through as many weights as a model of 8 layers of 512 has, so that they come from memory; the
 * least of many rounds. */
static void
rows(void)
{
    enum { IN = 512, OUT = 2048, MATRICES = 24, SIZE = IN * OUT, MOST = 32 };
    float *w = malloc((size_t)MATRICES * SIZE * sizeof *w), *x = malloc(MOST * IN * sizeof *x);
    uint16_t *half = malloc((size_t)MATRICES * SIZE * sizeof *half);
    float *out = malloc((size_t)MOST * OUT * sizeof *out);
    static const size_t many[] = {1, 8, 32};
    mete_rng rng = mete_rng_make(5, 0, 0);
    if (!w || !x || !half || !out)
        die("out of memory");
    fill(&rng, 1, x, MOST * IN);
    fill(&rng, 1, w, SIZE);
    for (size_t m = 1; m < MATRICES; m++)
        memcpy(w + m * SIZE, w, SIZE * sizeof *w);
    mete_to_bf16(w, (size_t)MATRICES * SIZE, half);
    printf("{");
    for (size_t k = 0; k < 3; k++) {
        double least[2] = {1e30, 1e30};
        for (int round = 0; round < 3 * ROUNDS; round++)
            for (int what = 0; what < 2; what++) {
                double began = now();
                for (size_t m = 0; m < MATRICES; m++)
                    if (what)
                        mete_dense_bf16_run(x, many[k], IN, half + m * SIZE, NULL, OUT, METE_LINEAR,
                                            out);
                    else
                        mete_dense_rows_run(x, many[k], IN, w + m * SIZE, NULL, OUT, METE_LINEAR,
                                            out);
                double us = 1e6 * (now() - began) / MATRICES;
                least[what] = us < least[what] ? us : least[what];
            }
        printf("%s\"%zu\": [%.1f, %.1f]", k ? ", " : "", many[k], least[0], least[1]);
    }
    printf("}\n");
    free(w);
    free(x);
    free(half);
    free(out);
}

int
main(int argc, char **argv)
{
    mete__nn_init();
    if (argc == 4 && strcmp(argv[1], "step") == 0)
        step(argv[2], (int)strtol(argv[3], NULL, 10));
    else if (argc == 2 && strcmp(argv[1], "parts") == 0)
        parts();
    else if (argc == 2 && strcmp(argv[1], "rows") == 0)
        rows();
    else
        die("usage");
    return 0;
}
