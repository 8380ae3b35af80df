/* nn.h - tensors with reverse-mode gradients on a tape, over OpenBLAS.
 *
 * A tape records operations on float32 matrices (rows x columns, row-major) as they are computed.
 * Seeds on any results and one mete_tape_backward give the gradient with respect to every parameter
 * read, added into a flat vector laid out as the parameters are. All memory is the tape's arena: it
 * is given back by mete_tape_reset and a warm tape calls no malloc.
 *
 * Errors are sticky: after one (shapes that do not fit, out of memory) every operation returns NULL
 * and accepts NULL, so a forward pass is written without checks and asks mete_tape_status at the
 * end. One thread, one tape.
 */
#ifndef METE_NN_H
#define METE_NN_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mete_tape mete_tape;

/* A matrix on a tape. `grad` is allocated by backward, NULL before; both live until reset. */
typedef struct mete_var {
    size_t rows, columns;
    float *data; /* [rows x columns]; inputs and parameters are borrowed: do not write */
    float *grad; /* [rows x columns], or NULL */
    void *op;    /* the tape's own */
} mete_var;

typedef enum mete_activation {
    METE_LINEAR,
    METE_TANH,
    METE_RELU,
    METE_GELU, /* tanh form (Hendrycks & Gimpel 2016) */
    METE_SILU  /* x sigmoid(x) (Elfwing et al. 2018) */
} mete_activation;

METE_API mete_tape *mete_tape_new(void);
METE_API void mete_tape_free(mete_tape *tape);
/* Forgets everything recorded; variables made before are gone. */
METE_API void mete_tape_reset(mete_tape *tape);
/* METE_OK, or the first error, told in err (may be NULL). */
METE_API int mete_tape_status(const mete_tape *tape, mete_error *err);
/* Scratch of `bytes` (not zeroed) that lives until reset; NULL when out of memory. */
METE_API void *mete_tape_take(mete_tape *tape, size_t bytes);
/* A pointer of the caller's kept until reset: what forward leaves for backward. */
METE_API void mete_tape_keep(mete_tape *tape, void *pointer);
METE_API void *mete_tape_kept(const mete_tape *tape);

/* ---- leaves ---------------------------------------------------------------------------------- */

/* A constant; borrowed until reset. */
METE_API mete_var *mete_input(mete_tape *tape, const float *data, size_t rows, size_t columns);
/* The matrix at `offset` of a parameter vector; its gradient goes to the same offset. */
METE_API mete_var *mete_weights(mete_tape *tape, const float *vector, size_t offset, size_t rows,
                                size_t columns);

/* ---- operations: y has x's shape unless said otherwise --------------------------------------- */

/* act(x W^T + b): x [n x in], w [out x in], b [1 x out] or NULL -> [n x out]. */
METE_API mete_var *mete_dense(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b,
                              mete_activation act);
/* a b: [n x k] [k x m] -> [n x m]. */
METE_API mete_var *mete_matmul(mete_tape *tape, mete_var *a, mete_var *b);
/* Elementwise; b may also be [1 x columns] (added to every row) in add and mul. */
METE_API mete_var *mete_add(mete_tape *tape, mete_var *a, mete_var *b);
METE_API mete_var *mete_sub(mete_tape *tape, mete_var *a, mete_var *b);
METE_API mete_var *mete_mul(mete_tape *tape, mete_var *a, mete_var *b);
/* scale * x + shift */
METE_API mete_var *mete_affine(mete_tape *tape, mete_var *x, float scale, float shift);
METE_API mete_var *mete_act_fn(mete_tape *tape, mete_var *x, mete_activation act);
/* act(gate) up: a gated linear unit's product (Shazeer 2020); both of one shape. */
METE_API mete_var *mete_gated(mete_tape *tape, mete_var *gate, mete_var *up, mete_activation act);
METE_API mete_var *mete_sigmoid(mete_tape *tape, mete_var *x);
METE_API mete_var *mete_exp(mete_tape *tape, mete_var *x);
METE_API mete_var *mete_square(mete_tape *tape, mete_var *x);
METE_API mete_var *mete_softplus(mete_tape *tape, mete_var *x);
METE_API mete_var *mete_clamp(mete_tape *tape, mete_var *x, float lo, float hi);
METE_API mete_var *mete_minimum(mete_tape *tape, mete_var *a, mete_var *b);
/* No gradient passes. */
METE_API mete_var *mete_stop(mete_tape *tape, mete_var *x);
/* Rows of a table: index[i] in [0, rows), or -1 for a row of zeros -> [n x columns]. */
METE_API mete_var *mete_rows_of(mete_tape *tape, mete_var *table, const int32_t *index, size_t n);
/* Mean (or sum) of rows index[offset[i]..offset[i+1]) for each i; zeros where there are none. */
METE_API mete_var *mete_bag(mete_tape *tape, mete_var *table, const int32_t *index,
                            const uint32_t *offset, size_t n, int mean);
/* Side by side: [n x a] [n x b] -> [n x (a + b)]. */
METE_API mete_var *mete_concat(mete_tape *tape, mete_var *a, mete_var *b);
/* Columns [from, from + count). */
METE_API mete_var *mete_columns(mete_tape *tape, mete_var *x, size_t from, size_t count);
/* The same numbers in another shape; rows x columns must be x's. */
METE_API mete_var *mete_reshape(mete_tape *tape, mete_var *x, size_t rows, size_t columns);
/* Log-softmax of each row; mask [rows x columns] (or NULL): 0 = impossible, log-probability -1e30.
 * */
METE_API mete_var *mete_log_softmax(mete_tape *tape, mete_var *x, const uint8_t *mask);
/* x[i][index[i]] -> [rows x 1]. */
METE_API mete_var *mete_pick(mete_tape *tape, mete_var *x, const int32_t *index);
/* Entropy of each row of log-probabilities, in nats -> [rows x 1]. */
METE_API mete_var *mete_entropy(mete_tape *tape, mete_var *logp);
/* Log-density of action [rows x d] under a diagonal normal: mean [rows x d], log_sd [1 x d] or
 * [rows x d] -> [rows x 1]. */
METE_API mete_var *mete_normal_logp(mete_tape *tape, mete_var *mean, mete_var *log_sd,
                                    const float *action);
/* Layer normalisation of each row (Ba et al. 2016): gain, bias [1 x columns]; epsilon 1e-5. */
METE_API mete_var *mete_layer_norm(mete_tape *tape, mete_var *x, mete_var *gain, mete_var *bias);
/* Root-mean-square normalisation: x / sqrt(mean(x^2) + epsilon) gain (Zhang & Sennrich 2019);
 * gain [1 x columns]. */
METE_API mete_var *mete_rms_norm(mete_tape *tape, mete_var *x, mete_var *gain, float epsilon);
METE_API mete_var *mete_sum_columns(mete_tape *tape, mete_var *x); /* -> [rows x 1] */
METE_API mete_var *mete_mean(mete_tape *tape, mete_var *x);        /* -> [1 x 1] */

/* Rotary positions (Su et al. 2021): of each of `heads` parts of a row of x [n x heads width], the
 * pair (i, i + width/2) turns by position[row] frequency[i]; frequency [width / 2]. */
METE_API mete_var *mete_rope(mete_tape *tape, mete_var *x, size_t heads, const int32_t *position,
                             const float *frequency);
/* Causal attention: softmax(scale q k') v for each head, over sequences packed one after another:
 * rows [offset[s], offset[s + 1]) are sequence s and see its rows up to themselves. q [n x heads
 * width]; k, v [n x groups width], each shared by heads / groups heads (Ainslie et al. 2023).
 * Memory: q's rows x heads, and two tiles of 64 x the longest sequence. -> q's shape. */
METE_API mete_var *mete_attention(mete_tape *tape, mete_var *q, mete_var *k, mete_var *v,
                                  size_t heads, size_t groups, const uint32_t *offset,
                                  size_t sequences, float scale);
/* Log-probability of target[i] under softmax((x w' + b) / temperature): x [n x d], w [V x d], b [1
 * x V] or NULL -> [n x 1]. With `entropy` a second column [n x 2] has the distribution's entropy,
 * in nats. A row of target -1 gets 0, costs nothing and passes no gradient. */
METE_API mete_var *mete_vocab_logp(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b,
                                   const int32_t *target, float temperature, int entropy);

/* An operation of the caller's own: result rows x columns, its value written by the caller into
 * ->data; `back` is called by backward with result->grad set and adds into the inputs' gradients,
 * which mete_grad_of gives. `inputs` (at most 4) and `memory` are kept for it. */
typedef void (*mete_back)(mete_tape *tape, mete_var *result, mete_var *const *input, void *memory);
METE_API mete_var *mete_custom(mete_tape *tape, size_t rows, size_t columns, mete_back back,
                               mete_var *const *input, size_t inputs, void *memory);
/* The gradient array of x, zeroed when first asked for; NULL when x wants none (an input). */
METE_API float *mete_grad_of(mete_tape *tape, mete_var *x);

/* ---- backward -------------------------------------------------------------------------------- */

/* Adds adjoint [rows x columns] (NULL: ones) to the gradient of x, before backward. */
METE_API void mete_seed(mete_tape *tape, mete_var *x, const float *adjoint);
/* Runs the tape backward; the gradient of every mete_weights is added into grad at its offset. */
METE_API int mete_tape_backward(mete_tape *tape, float *grad);

/* ---- kernels without a tape, for acting ------------------------------------------------------ */

/* out [n x out] = act(x W^T + b); one row goes to sgemv, which is ten times faster there. */
METE_API void mete_dense_run(const float *x, size_t n, size_t in, const float *w, const float *b,
                             size_t outs, mete_activation act, float *out);
/* Each row becomes its log-softmax; see mete_log_softmax. */
METE_API void mete_log_softmax_run(float *x, size_t rows, size_t columns, const uint8_t *mask);
/* The operations of those names, for acting. gate [n] becomes act(gate) up; x turns in place. */
METE_API void mete_layer_norm_run(const float *x, size_t rows, size_t columns, const float *gain,
                                  const float *bias, float *out);
METE_API void mete_rms_norm_run(const float *x, size_t rows, size_t columns, const float *gain,
                                float epsilon, float *out);
METE_API void mete_gated_run(float *gate, const float *up, size_t n, mete_activation act);
METE_API void mete_rope_run(float *x, size_t rows, size_t heads, size_t width,
                            const int32_t *position, const float *frequency);
/* mete_dense_run with the same bits for a row whatever rows stand beside it, fast from one row
 * (bound by reading w once) to many: what generation needs, whose batches shrink. */
METE_API void mete_dense_rows_run(const float *x, size_t n, size_t in, const float *w,
                                  const float *b, size_t outs, mete_activation act, float *out);
/* One query [heads x width] over a cache of `length` > 0 keys and values, each [groups x room x
 * width]; score [length] is scratch; out [heads x width]. */
METE_API void mete_attention_run(const float *q, size_t heads, size_t groups, size_t width,
                                 const float *k, const float *v, size_t length, size_t room,
                                 float scale, float *score, float *out);
/* Starts a parameter: see mete_init in plugin.h. */
METE_API void mete_init_fill(mete_init init, double gain, mete_rng *rng, size_t rows,
                             size_t columns, float *out);

#ifdef __cplusplus
}
#endif
#endif
