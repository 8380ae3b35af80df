/* attention.c - rotary positions and causal attention over rows packed without padding.
 *
 * Attention goes head by head and, in each sequence, by blocks of queries: a block's scores
 * against all keys up to its last are one tile, which is all that is ever stored of them. Forward
 * keeps the logarithm of each softmax's denominator; backward computes the tile anew from it (Dao
 * et al. 2022, arXiv:2205.14135, section 3). */
#include "nn/tape.h"

#include <math.h>
#include <string.h>

#define BLOCK 64 /* queries in a tile */

/* ---- rotary positions ------------------------------------------------------------------------ */

/* Pairs (x[i], x[i + half]) of each head turn by sign * position * frequency[i]. */
static void
rotate(const float *x, float *out, size_t heads, size_t width, int32_t position,
       const float *frequency, float sign)
{
    size_t half = width / 2;
    for (size_t i = 0; i < half; i++) {
        float angle = (float)position * frequency[i];
        float c = cosf(angle), s = sign * sinf(angle);
        for (size_t h = 0; h < heads; h++) {
            float a = x[h * width + i], b = x[h * width + half + i];
            out[h * width + i] = a * c - b * s;
            out[h * width + half + i] = b * c + a * s;
        }
    }
}

void
mete_rope_run(float *x, size_t rows, size_t heads, size_t width, const int32_t *position,
              const float *frequency)
{
    for (size_t i = 0; i < rows; i++)
        rotate(x + i * heads * width, x + i * heads * width, heads, width, position[i], frequency,
               1);
}

struct rope {
    size_t heads;
    int32_t *position;
    float *frequency;
    float *turned; /* one row's gradient */
};

static void
rope_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct rope *rope = memory;
    float *dx = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dx && i < y->rows; i++) {
        rotate(y->grad + i * y->columns, rope->turned, rope->heads, y->columns / rope->heads,
               rope->position[i], rope->frequency, -1);
        mete__add_scaled(dx + i * y->columns, 1, rope->turned, y->columns);
    }
}

mete_var *
mete_rope(mete_tape *tape, mete_var *x, size_t heads, const int32_t *position,
          const float *frequency)
{
    if (!x || !heads || x->columns % (2 * heads))
        return mete__op_fail(tape, "rope", NULL, NULL);
    size_t width = x->columns / heads;
    struct rope *rope = mete_tape_take(tape, sizeof *rope);
    int32_t *positions = mete_tape_take(tape, (x->rows + 1) * sizeof *positions);
    float *frequencies = mete_tape_take(tape, width / 2 * sizeof *frequencies);
    float *turned = mete_tape_take(tape, x->columns * sizeof *turned);
    mete_var *y = mete__op_new(tape, x->rows, x->columns, rope_back, x, NULL, NULL, rope);
    if (!y || !rope || !positions || !frequencies || !turned)
        return NULL;
    memcpy(positions, position, x->rows * sizeof *positions);
    memcpy(frequencies, frequency, width / 2 * sizeof *frequencies);
    *rope = (struct rope){heads, positions, frequencies, turned};
    memcpy(y->data, x->data, x->rows * x->columns * sizeof(float));
    mete_rope_run(y->data, x->rows, heads, width, position, frequency);
    return y;
}

/* ---- attention ------------------------------------------------------------------------------- */

struct attention {
    size_t heads, groups, width, sequences;
    uint32_t *offset;
    float scale;
    float *lse;           /* [n x heads] logarithm of the sum of exponentials */
    float *score, *other; /* tiles, [BLOCK x longest] */
};

/* What one head does in one sequence. */
struct lane {
    size_t q_step, k_step; /* floats from a row to the next */
    size_t length, heads;
    const float *q, *k, *v;
    float *out, *lse;
};

static struct lane
lane_of(const struct attention *a, const mete_var *q, const mete_var *k, const mete_var *v,
        float *out, size_t sequence, size_t head)
{
    size_t from = a->offset[sequence], group = head / (a->heads / a->groups);
    return (struct lane){.q_step = q->columns,
                         .k_step = k->columns,
                         .length = a->offset[sequence + 1] - from,
                         .heads = a->heads,
                         .q = q->data + from * q->columns + head * a->width,
                         .k = k->data + from * k->columns + group * a->width,
                         .v = v->data + from * v->columns + group * a->width,
                         .out = out + from * q->columns + head * a->width,
                         .lse = a->lse + from * a->heads + head};
}

static void
lane_forward(const struct attention *a, const struct lane *l)
{
    for (size_t from = 0; from < l->length; from += BLOCK) {
        size_t rows = l->length - from < BLOCK ? l->length - from : BLOCK, keys = from + rows;
        mete__product(0, 1, rows, keys, a->width, a->scale, l->q + from * l->q_step, l->q_step,
                      l->k, l->k_step, 0, a->score, keys);
        for (size_t i = 0; i < rows; i++) {
            float *row = a->score + i * keys;
            size_t seen = from + i + 1;
            float most = mete__max(row, seen);
            float lse = most + (float)log(mete__exp_sum(row, seen, most));
            mete__exp_less(row, row, seen, lse);
            memset(row + seen, 0, (keys - seen) * sizeof *row);
            l->lse[(from + i) * l->heads] = lse;
        }
        mete__product(0, 0, rows, a->width, keys, 1, a->score, keys, l->v, l->k_step, 0,
                      l->out + from * l->q_step, l->q_step);
    }
}

/* Gradients of one head in one sequence, each added to where it belongs (NULL: not wanted). With
 * P = softmax(S), S = scale Q K', O = P V, and G the gradient of O:
 * dV = P' G, dP = G V', dS = P (dP - rowsum(G O)), dQ = scale dS K, dK = scale dS' Q. */
static void
lane_backward(const struct attention *a, const struct lane *l, const float *g, float *dq, float *dk,
              float *dv)
{
    for (size_t from = 0; from < l->length; from += BLOCK) {
        size_t rows = l->length - from < BLOCK ? l->length - from : BLOCK, keys = from + rows;
        const float *q = l->q + from * l->q_step, *grad = g + from * l->q_step;
        mete__product(0, 1, rows, keys, a->width, a->scale, q, l->q_step, l->k, l->k_step, 0,
                      a->score, keys);
        for (size_t i = 0; i < rows; i++) {
            float *row = a->score + i * keys;
            size_t seen = from + i + 1;
            mete__exp_less(row, row, seen, l->lse[(from + i) * l->heads]);
            memset(row + seen, 0, (keys - seen) * sizeof *row);
        }
        if (dv)
            mete__product(1, 0, keys, a->width, rows, 1, a->score, keys, grad, l->q_step, 1, dv,
                          l->k_step);
        mete__product(0, 1, rows, keys, a->width, 1, grad, l->q_step, l->v, l->k_step, 0, a->other,
                      keys);
        for (size_t i = 0; i < rows; i++) {
            float along =
                mete__dot(grad + i * l->q_step, l->out + (from + i) * l->q_step, a->width);
            float *row = a->score + i * keys, *back = a->other + i * keys;
            for (size_t t = 0; t < keys; t++)
                row[t] *= back[t] - along;
        }
        if (dq)
            mete__product(0, 0, rows, a->width, keys, a->scale, a->score, keys, l->k, l->k_step, 1,
                          dq + from * l->q_step, l->q_step);
        if (dk)
            mete__product(1, 0, keys, a->width, rows, a->scale, a->score, keys, q, l->q_step, 1, dk,
                          l->k_step);
    }
}

static void
attention_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct attention *a = memory;
    float *grad[3];
    for (int i = 0; i < 3; i++)
        grad[i] = mete_grad_of(tape, in[i]);
    if (tape->err.code)
        return;
    for (size_t s = 0; s < a->sequences; s++)
        for (size_t h = 0; h < a->heads; h++) {
            struct lane l = lane_of(a, in[0], in[1], in[2], y->data, s, h);
            size_t at_q = (size_t)(l.q - in[0]->data), at_k = (size_t)(l.k - in[1]->data);
            lane_backward(a, &l, y->grad + at_q, grad[0] ? grad[0] + at_q : NULL,
                          grad[1] ? grad[1] + at_k : NULL, grad[2] ? grad[2] + at_k : NULL);
        }
}

mete_var *
mete_attention(mete_tape *tape, mete_var *q, mete_var *k, mete_var *v, size_t heads, size_t groups,
               const uint32_t *offset, size_t sequences, float scale)
{
    if (!q || !k || !v || !heads || !groups || heads % groups || q->columns % heads ||
        k->columns != q->columns / heads * groups || v->columns != k->columns ||
        k->rows != q->rows || v->rows != q->rows || !mete__packs(offset, sequences, q->rows))
        return mete__op_fail(tape, "attention", q, k);
    struct attention *a = mete_tape_take(tape, sizeof *a);
    mete_var *y = mete__op_new(tape, q->rows, q->columns, attention_back, q, k, v, a);
    if (!y || !a)
        return NULL;
    *a = (struct attention){heads, groups, q->columns / heads, sequences, .scale = scale};
    size_t longest = mete__longest(offset, sequences);
    a->offset = mete_tape_take(tape, (sequences + 1) * sizeof *a->offset);
    a->lse = mete_tape_take(tape, (q->rows * heads + 1) * sizeof *a->lse);
    a->score = mete_tape_take(tape, (longest * BLOCK + 1) * sizeof *a->score);
    a->other = mete_tape_take(tape, (longest * BLOCK + 1) * sizeof *a->other);
    if (!a->offset || !a->lse || !a->score || !a->other)
        return NULL;
    memcpy(a->offset, offset, (sequences + 1) * sizeof *offset);
    for (size_t s = 0; s < sequences; s++)
        for (size_t h = 0; h < heads; h++) {
            struct lane l = lane_of(a, q, k, v, y->data, s, h);
            lane_forward(a, &l);
        }
    return y;
}

void
mete_attention_run(const float *q, size_t heads, size_t groups, size_t width, const float *k,
                   const float *v, size_t length, size_t room, float scale, float *score,
                   float *out)
{
    for (size_t h = 0; h < heads; h++) {
        size_t group = h / (heads / groups);
        const float *keys = k + group * room * width, *values = v + group * room * width;
        float *to = out + h * width;
        for (size_t t = 0; t < length; t++)
            score[t] = scale * mete__dot(q + h * width, keys + t * width, width);
        float most = mete__max(score, length);
        float share = 1 / (float)mete__exp_sum(score, length, most);
        mete__exp_less(score, score, length, most);
        memset(to, 0, width * sizeof *to);
        for (size_t t = 0; t < length; t++)
            mete__add_scaled(to, score[t] * share, values + t * width, width);
    }
}
