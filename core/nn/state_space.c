/* state_space.c - the diagonal state-space layer S4D (Gu et al. 2022, arXiv:2206.11893).
 *
 * Each channel has N complex states s' = A s + B u with y = 2 Re(C s), discretised by zero-order
 * hold (equation 2, table 1; B is 1): s_t = E s_{t-1} + u_t, y_t = 2 Re(W s_t) with E = exp(dt A)
 * and W = C (E - 1) / A. Here the recurrence is walked (a scan), LANES channels side by side so
 * that every loop is over whole vectors; nothing is kept for backward, which walks forward again,
 * one block of channels at a time. */
#include "nn/tape.h"

#include <complex.h>
#include <math.h>
#include <string.h>

#define LANES 16

#ifndef CMPLX /* some C libraries define C11's macro for gcc alone */
#define CMPLX(re, im) __builtin_complex((double)(re), (double)(im))
#endif

/* Coefficients of a block of channels, each [N x LANES]: E and W, real and imaginary. */
enum { ER, EI, WR, WI, PARTS };

static size_t
blocks_of(size_t channels)
{
    return (channels + LANES - 1) / LANES;
}

size_t
mete_s4d_coefficients(size_t channels, size_t states)
{
    return blocks_of(channels) * PARTS * states * LANES;
}

size_t
mete_s4d_state(size_t channels, size_t states)
{
    return blocks_of(channels) * 2 * states * LANES;
}

/* The numbers of one state in its parameters' rows: A = -exp(a[n]) + i a[N + n], C = c[n] + i
 * c[N + n]. */
struct pole {
    double complex a, c, e;
    double step;
};

static struct pole
pole_of(const float *step, const float *a, const float *c, size_t states, size_t channel, size_t n)
{
    const float *an = a + channel * 2 * states + n, *cn = c + channel * 2 * states + n;
    struct pole p = {.step = exp((double)step[channel])};
    p.a = CMPLX(-exp((double)an[0]), (double)an[states]);
    p.c = CMPLX((double)cn[0], (double)cn[states]);
    p.e = cexp(p.step * p.a);
    return p;
}

void
mete_s4d_prepare(const float *step, const float *a, const float *c, size_t channels, size_t states,
                 float *coefficient)
{
    memset(coefficient, 0, mete_s4d_coefficients(channels, states) * sizeof *coefficient);
    for (size_t h = 0; h < channels; h++) {
        float *block = coefficient + h / LANES * PARTS * states * LANES + h % LANES;
        for (size_t n = 0; n < states; n++) {
            struct pole p = pole_of(step, a, c, states, h, n);
            double complex w = p.c * (p.e - 1) / p.a;
            block[(ER * states + n) * LANES] = (float)creal(p.e);
            block[(EI * states + n) * LANES] = (float)cimag(p.e);
            block[(WR * states + n) * LANES] = (float)creal(w);
            block[(WI * states + n) * LANES] = (float)cimag(w);
        }
    }
}

/* One step of a block: state [2 x N x LANES] moves on, y [LANES] is what comes out. */
METE_WIDE static void
advance(const float *restrict coefficient, size_t states, const float *restrict u,
        float *restrict state, float *restrict y)
{
    size_t all = states * LANES;
    float sum[LANES] = {0};
    for (size_t n = 0; n < all; n += LANES)
        for (size_t k = 0; k < LANES; k++) {
            size_t i = n + k;
            float er = coefficient[i], ei = coefficient[all + i];
            float re = state[i], im = state[all + i];
            float next = er * re - ei * im + u[k];
            im = er * im + ei * re;
            state[i] = next;
            state[all + i] = im;
            sum[k] += coefficient[2 * all + i] * next - coefficient[3 * all + i] * im;
        }
    for (size_t k = 0; k < LANES; k++)
        y[k] = 2 * sum[k];
}

/* One step of a block backward. g is the gradient of y; adjoint [2 x N x LANES] comes as that of
 * the state after by what follows, and leaves as that of the state before; the gradients of the
 * coefficients are added to. Gradients of complex z are dL/d re z + i dL/d im z. */
METE_WIDE static void
retreat(const float *restrict coefficient, size_t states, const float *restrict before,
        const float *restrict after, const float *restrict g, float *restrict adjoint,
        float *restrict dcoefficient, float *restrict du)
{
    size_t all = states * LANES;
    float sum[LANES] = {0};
    for (size_t n = 0; n < all; n += LANES)
        for (size_t k = 0; k < LANES; k++) {
            size_t i = n + k;
            float er = coefficient[i], ei = coefficient[all + i], g2 = 2 * g[k];
            float re = adjoint[i] + g2 * coefficient[2 * all + i];
            float im = adjoint[all + i] - g2 * coefficient[3 * all + i];
            sum[k] += re;
            dcoefficient[i] += re * before[i] + im * before[all + i];
            dcoefficient[all + i] += im * before[i] - re * before[all + i];
            dcoefficient[2 * all + i] += g2 * after[i];
            dcoefficient[3 * all + i] -= g2 * after[all + i];
            adjoint[i] = er * re + ei * im;
            adjoint[all + i] = er * im - ei * re;
        }
    memcpy(du, sum, sizeof sum);
}

void
mete_s4d_run(const float *x, size_t n, const float *coefficient, size_t channels, size_t states,
             float *state, float *out)
{
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < blocks_of(channels); b++) {
            size_t some = channels - b * LANES < LANES ? channels - b * LANES : LANES;
            float u[LANES] = {0}, y[LANES];
            memcpy(u, x + i * channels + b * LANES, some * sizeof *u);
            advance(coefficient + b * PARTS * states * LANES, states, u,
                    state + (i * blocks_of(channels) + b) * 2 * states * LANES, y);
            memcpy(out + i * channels + b * LANES, y, some * sizeof *y);
        }
}

struct s4d {
    size_t states, sequences;
    uint32_t *offset;
    float *coefficient;
    float *state;   /* [longest + 1] of a block's states */
    float *adjoint; /* a block's, then the gradient of its coefficients */
};

/* Gradients of a block's parameters from those of its coefficients. */
static void
parameters_back(const struct s4d *s, mete_var *const *in, size_t from, size_t some,
                const float *dcoefficient, float *dstep, float *da, float *dc)
{
    size_t all = s->states * LANES;
    for (size_t h = from; h < from + some; h++)
        for (size_t n = 0; n < s->states; n++) {
            const float *d = dcoefficient + n * LANES + h - from;
            struct pole p = pole_of(in[1]->data, in[2]->data, in[3]->data, s->states, h, n);
            double complex de = CMPLX((double)d[0], (double)d[all]);
            double complex dw = CMPLX((double)d[2 * all], (double)d[3 * all]);
            double complex b = (p.e - 1) / p.a, db = dw * conj(p.c);
            de += db * conj(1 / p.a);
            double complex dpole = de * conj(p.step * p.e) - db * conj(b / p.a);
            size_t at = h * 2 * s->states + n;
            if (dstep)
                dstep[h] += (float)(creal(conj(de) * p.a * p.e) * p.step);
            if (da) {
                da[at] += (float)(creal(dpole) * creal(p.a)); /* re A = -exp(a), its own slope */
                da[at + s->states] += (float)cimag(dpole);
            }
            if (dc) {
                dc[at] += (float)creal(dw * conj(b));
                dc[at + s->states] += (float)cimag(dw * conj(b));
            }
        }
}

/* One block of channels, `some` of them in use. */
struct block {
    size_t first, some;
    const float *coefficient;
};

static struct block
block_of(const struct s4d *s, size_t block, size_t channels)
{
    size_t first = block * LANES, some = channels - first < LANES ? channels - first : LANES;
    return (struct block){first, some, s->coefficient + first * PARTS * s->states};
}

/* Walks a block through rows [from, to); `keep`: each row's state follows the one before it. */
static void
block_forward(const struct s4d *s, const mete_var *x, struct block b, size_t from, size_t to,
              int keep, float *out)
{
    size_t size = 2 * s->states * LANES;
    float u[LANES] = {0}, y[LANES], *state = s->state;
    memset(state, 0, size * sizeof *state);
    for (size_t t = from; t < to; t++) {
        size_t at = t * x->columns + b.first;
        if (keep) {
            memcpy(state + size, state, size * sizeof *state);
            state += size;
        }
        memcpy(u, x->data + at, b.some * sizeof *u);
        advance(b.coefficient, s->states, u, state, y);
        if (out)
            memcpy(out + at, y, b.some * sizeof *y);
    }
}

static void
block_backward(const struct s4d *s, const mete_var *y, struct block b, size_t from, size_t to,
               float *dx)
{
    size_t size = 2 * s->states * LANES;
    float g[LANES] = {0}, du[LANES];
    memset(s->adjoint, 0, size * sizeof(float));
    for (size_t t = to; t-- > from;) {
        const float *before = s->state + (t - from) * size;
        memcpy(g, y->grad + t * y->columns + b.first, b.some * sizeof *g);
        retreat(b.coefficient, s->states, before, before + size, g, s->adjoint, s->adjoint + size,
                du);
        if (dx)
            mete__add_scaled(dx + t * y->columns + b.first, 1, du, b.some);
    }
}

static void
s4d_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct s4d *s = memory;
    float *grad[4];
    size_t size = 2 * s->states * LANES, channels = y->columns;
    for (int i = 0; i < 4; i++)
        grad[i] = mete_grad_of(tape, in[i]);
    if (tape->err.code)
        return;
    for (size_t b = 0; b < blocks_of(channels); b++) {
        struct block block = block_of(s, b, channels);
        memset(s->adjoint + size, 0, PARTS * s->states * LANES * sizeof(float));
        for (size_t q = 0; q < s->sequences; q++) {
            block_forward(s, in[0], block, s->offset[q], s->offset[q + 1], 1, NULL);
            block_backward(s, y, block, s->offset[q], s->offset[q + 1], grad[0]);
        }
        parameters_back(s, in, block.first, block.some, s->adjoint + size, grad[1], grad[2],
                        grad[3]);
    }
}

mete_var *
mete_s4d(mete_tape *tape, mete_var *x, mete_var *step, mete_var *a, mete_var *c,
         const uint32_t *offset, size_t sequences)
{
    if (!x || !step || !a || !c || step->rows * step->columns != x->columns ||
        a->rows != x->columns || a->columns % 2 || !a->columns || c->rows != a->rows ||
        c->columns != a->columns || !mete__packs(offset, sequences, x->rows))
        return mete__op_fail(tape, "s4d", x, a);
    size_t channels = x->columns, states = a->columns / 2, size = 2 * states * LANES;
    size_t longest = mete__longest(offset, sequences);
    struct s4d *s = mete_tape_take(tape, sizeof *s);
    mete_var *y = mete__op_new(tape, x->rows, channels, s4d_back, x, step, a, s);
    if (!y || !s)
        return NULL;
    mete__op_fourth(y, c);
    *s = (struct s4d){.states = states, .sequences = sequences};
    s->offset = mete_tape_take(tape, (sequences + 1) * sizeof *s->offset);
    s->coefficient = mete_tape_take(tape, mete_s4d_coefficients(channels, states) * sizeof(float));
    s->state = mete_tape_take(tape, (longest + 1) * size * sizeof(float));
    s->adjoint = mete_tape_take(tape, (size + PARTS * states * LANES) * sizeof(float));
    if (!s->offset || !s->coefficient || !s->state || !s->adjoint)
        return NULL;
    memcpy(s->offset, offset, (sequences + 1) * sizeof *offset);
    mete_s4d_prepare(step->data, a->data, c->data, channels, states, s->coefficient);
    for (size_t b = 0; b < blocks_of(channels); b++)
        for (size_t q = 0; q < sequences; q++)
            block_forward(s, x, block_of(s, b, channels), offset[q], offset[q + 1], 0, y->data);
    return y;
}
