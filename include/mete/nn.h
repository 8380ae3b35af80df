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

/* ---- layers over packed sequences -------------------------------------------------------------
 *
 * Rows [offset[s], offset[s + 1]) are sequence s, and may be none; offset [sequences + 1] starts at
 * 0 and ends at the number of rows. */

/* Gated recurrent units (Cho et al. 2014), the reset gate after the product as in cuDNN and
 * PyTorch: r, z = sigmoid(x + u h + b), c = tanh(x_c + r (u_c h + b_c)), h' = c + z (h - c). gates
 * [n x 3 hidden]: r, z, c of the input, a mete_dense; u [3 hidden x hidden], b [1 x 3 hidden] or
 * NULL; start [sequences x hidden], or NULL for zeros -> [n x hidden]. */
METE_API mete_var *mete_gru(mete_tape *tape, mete_var *gates, mete_var *u, mete_var *b,
                            mete_var *start, const uint32_t *offset, size_t sequences);
/* Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000): i, f, o = sigmoid, g =
 * tanh of x + u h + b, c' = f c + i g, h' = o tanh c'. gates [n x 4 hidden]: i, f, g, o; u [4
 * hidden x hidden], b [1 x 4 hidden] or NULL. A state is h, then c: start [sequences x 2 hidden] or
 * NULL -> [n x 2 hidden], its first half what the next layer reads. */
METE_API mete_var *mete_lstm(mete_tape *tape, mete_var *gates, mete_var *u, mete_var *b,
                             mete_var *start, const uint32_t *offset, size_t sequences);
/* Diagonal state-space layer, S4D (Gu et al. 2022, arXiv:2206.11893), discretised by zero-order
 * hold: each channel h of x [n x channels] has N complex states with A = -exp(a[h][i]) + i a[h][N +
 * i], B = 1, C = c[h][i] + i c[h][N + i], and the time step exp(step[h]); step [1 x channels], a
 * and c [channels x 2N]. Starts at zero. The skip D u is the caller's: mete_add(y, mete_mul(x, d)).
 * Usual starts (S4D-Lin): exp(step) log-uniform in [.001, .1], A_i = -1/2 + i pi i, C standard
 * normal. Memory: 32 N numbers for each row of the longest sequence. -> x's shape. */
METE_API mete_var *mete_s4d(mete_tape *tape, mete_var *x, mete_var *step, mete_var *a, mete_var *c,
                            const uint32_t *offset, size_t sequences);
/* Convolution along each sequence, zeros beyond its ends: y[t] = b + sum over taps j < width of w_j
 * x[t + (j - (width - 1) + ahead) dilation]. ahead 0 is causal, (width - 1) / 2 centred. x [n x
 * channels], w [out x (width x channels)], tap by tap; b [1 x out] or NULL -> [n x out]. */
METE_API mete_var *mete_conv1d(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b, size_t width,
                               size_t dilation, size_t ahead, const uint32_t *offset,
                               size_t sequences);

/* ---- images ---------------------------------------------------------------------------------- */

/* Images of channels planes of height x width; a square kernel; padding < kernel on each side. */
typedef struct mete_conv2d_shape {
    size_t channels, height, width, kernel, stride, padding;
} mete_conv2d_shape;

/* Convolution (cross-correlation) of each row of x [n x channels height width], planes one after
 * another: w [out x (channels x kernel x kernel)], b [1 x out] or NULL -> [n x out tall broad],
 * tall = (height + 2 padding - kernel) / stride + 1, broad likewise. */
METE_API mete_var *mete_conv2d(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b,
                               mete_conv2d_shape shape);

/* ---- mixtures of experts: route, gather, a product an expert, combine -------------------------
 *
 *   weight = mete_route(t, logits, k, &plan);
 *   y = mete_rows_of(t, x, plan.source, plan.rows);
 *   y = mete_dense_groups(t, y, w, b, plan.offset, experts);
 *   y = mete_combine(t, y, weight, plan.place);
 */

/* Who goes where; on the tape, until reset. */
typedef struct mete_route_plan {
    size_t rows;            /* n k, in the order of experts */
    const uint32_t *offset; /* [experts + 1] rows of each expert */
    const int32_t *source;  /* [rows] the row of x that is there */
    const int32_t *place;   /* [n k] where row i's j-th choice is */
} mete_route_plan;

/* Each row's k largest of logits [n x experts], in falling order, and their softmax (Shazeer et al.
 * 2017) -> [n x k]; gradients pass to the chosen. */
METE_API mete_var *mete_route(mete_tape *tape, mete_var *logits, size_t k, mete_route_plan *plan);
/* Auxiliary loss for an even load (Fedus et al. 2022, equation 4): experts x sum over experts of
 * the part of choices times the mean probability, 1 when even -> [1 x 1]. */
METE_API mete_var *mete_route_balance(mete_tape *tape, mete_var *logits,
                                      const mete_route_plan *plan);
/* x_e w_e' + b_e for rows [offset[e], offset[e + 1]) of x: w [groups out x in], b [groups x out] or
 * NULL -> [n x out]. */
METE_API mete_var *mete_dense_groups(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b,
                                     const uint32_t *offset, size_t groups);
/* Sum over j of weight[i][j] x[place[i k + j]], nothing where place is -1: weight [n x k] -> [n x
 * x's columns]. */
METE_API mete_var *mete_combine(mete_tape *tape, mete_var *x, mete_var *weight,
                                const int32_t *place);

/* ---- dropout, memory, one's own -------------------------------------------------------------- */

/* Each number kept and divided by 1 - rate, or 0 with probability rate, in [0, 1), a multiple of
 * 2^-16. Row i draws from the stream of key and first + i, so a batch may be split at will. */
METE_API mete_var *mete_dropout(mete_tape *tape, mete_var *x, float rate, uint64_t key,
                                uint64_t first);

/* Part of a forward pass, made of operations on `tape`: everything of the tape it reads is in
 * `input`, but for parameters, which it may read by mete_weights. Always the same for the same
 * memory. */
typedef mete_var *(*mete_segment)(mete_tape *tape, mete_var *const *input, void *memory);
/* The result of a segment [rows x columns], of which nothing else is kept: backward runs it once
 * more (Chen et al. 2016, arXiv:1604.06174). The same gradients to the bit. At most 4 inputs;
 * memory lives until backward. */
METE_API mete_var *mete_checkpoint(mete_tape *tape, size_t rows, size_t columns,
                                   mete_segment segment, mete_var *const *input, size_t inputs,
                                   void *memory);

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
/* mete_dense_rows_run with weights in bfloat16: products and sums are in float32, and the result
 * that of the same weights widened, to the bit. Reads half the memory, which is what one row waits
 * for. */
METE_API void mete_dense_bf16_run(const float *x, size_t n, size_t in, const uint16_t *w,
                                  const float *b, size_t outs, mete_activation act, float *out);
/* To the nearest bfloat16, ties to even; NaN stays NaN. */
METE_API void mete_to_bf16(const float *x, size_t n, uint16_t *out);
/* One step of n rows, state [n x hidden] (of the LSTM [n x 2 hidden]) in and out. gates are
 * overwritten; scratch [n x 3 hidden]. */
METE_API void mete_gru_run(float *gates, size_t n, size_t hidden, const float *u, const float *b,
                           float *state, float *scratch);
METE_API void mete_lstm_run(float *gates, size_t n, size_t hidden, const float *u, const float *b,
                            float *state);
/* Numbers that mete_s4d_prepare fills for these parameters, and that a row's state has. */
METE_API size_t mete_s4d_coefficients(size_t channels, size_t states);
METE_API size_t mete_s4d_state(size_t channels, size_t states);
METE_API void mete_s4d_prepare(const float *step, const float *a, const float *c, size_t channels,
                               size_t states, float *coefficient);
/* One step of n rows x [n x channels] with what was prepared; state [n x mete_s4d_state], zeros at
 * the start. */
METE_API void mete_s4d_run(const float *x, size_t n, const float *coefficient, size_t channels,
                           size_t states, float *state, float *out);
/* Starts a parameter: see mete_init in plugin.h. */
METE_API void mete_init_fill(mete_init init, double gain, mete_rng *rng, size_t rows,
                             size_t columns, float *out);

#ifdef __cplusplus
}
#endif
#endif
