/* nn/nn.h - what the rest of the core asks of nn beside the public header. */
#ifndef METE_NN_NN_H
#define METE_NN_NN_H

#include <mete/nn.h>
#include <stdbool.h>

/* OpenBLAS on one thread, so that results do not depend on the machine's cores, and with kernels
 * for the instructions the processor has; idempotent. */
void mete__nn_init(void);
/* What decides OpenBLAS's bits: its version, kernel and threads. */
void mete__nn_fingerprint(char *out, size_t size);
/* Blocks of memory a tape ever took; constant once warm. For tests. */
size_t mete__tape_blocks(const mete_tape *tape);
/* x -> tanh x, within 4e-7 of it; x -> exp x for x <= 88, within 4e-7 of its size; both
 * vectorise. */
void mete__tanh(float *x, size_t n);
void mete__exp(const float *x, float *out, size_t n);
void mete__sigmoid(float *x, size_t n);
/* exp(x - less), and its sum. */
void mete__exp_less(const float *x, float *out, size_t n, float less);
double mete__exp_sum(const float *x, size_t n, float less);
float mete__max(const float *x, size_t n); /* n > 0 */
float mete__dot(const float *a, const float *b, size_t n);
void mete__add_scaled(float *to, float scale, const float *x, size_t n); /* to += scale x */
/* sum += each of the rows */
void mete__add_rows(const float *x, size_t rows, size_t columns, float *sum);
/* c [m x n] = alpha op(a) op(b) + beta c, op(a) [m x k], transposed where ta or tb; lda, ldb and
 * ldc are floats from a row to the next. A single row goes to gemv. Where m, n or k is 0, c stays.
 */
void mete__product(int ta, int tb, size_t m, size_t n, size_t k, float alpha, const float *a,
                   size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* mete_dense_run for a layer whose weights fit the first caches; false, and nothing done, where
 * there is no kernel for it. */
bool mete__dense_packed(const float *x, size_t n, size_t in, const float *w, const float *b,
                        size_t outs, mete_activation act, float *out);
/* Numbers of softmaxes mete_vocab_logp keeps for backward rather than compute them anew. */
extern size_t mete__vocab_kept;
/* The activation in place. */
void mete__activate(mete_activation act, float *x, size_t n);
/* Its derivative: from its input where mete__slope_of_input, else from its output. */
bool mete__slope_of_input(mete_activation act);
void mete__slope(mete_activation act, const float *from, float *slope, size_t n);
/* grad *= the derivative, `from` as above. */
void mete__activate_back(mete_activation act, const float *from, float *grad, size_t n);

#endif
