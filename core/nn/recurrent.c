/* recurrent.c - GRU and LSTM over sequences packed one after another, without padding.
 *
 * The products of the inputs with their weights are the caller's one mete_dense over all rows; here
 * is what depends on the state before. Sequences are walked longest first, so the ones still
 * running at a time are the first few, and their rows lie together ("time by time"): one product
 * with the recurrent weights a time. Forward keeps what backward needs; the gradient of those
 * weights is one product over all rows in the end. */
#include "nn/tape.h"

#include <string.h>

#define PIECE 64 /* units at a time */

/* One step of one row, `hidden` units. Forward turns gates (of the input) and hu (of the state)
 * into what backward wants; backward turns them into their gradients, and dstate, the gradient of
 * the state after, into what of that of the state before passes by the recurrent weights. */
struct cell {
    size_t gates, state; /* numbers a unit */
    void (*forward)(float *gates, float *hu, const float *before, size_t hidden, float *after);
    void (*backward)(float *gates, float *hu, const float *before, const float *after,
                     size_t hidden, float *dstate);
};

/* r = sigmoid(x_r + u_r), z = sigmoid(x_z + u_z), c = tanh(x_c + r u_c), h' = c + z (h - c). */
METE_WIDE static void
gru_forward(float *gates, float *hu, const float *before, size_t hidden, float *after)
{
    float *z = gates + hidden, *c = gates + 2 * hidden;
    const float *uc = hu + 2 * hidden;
    for (size_t k = 0; k < 2 * hidden; k++)
        gates[k] += hu[k];
    mete__sigmoid(gates, 2 * hidden);
    for (size_t k = 0; k < hidden; k++)
        c[k] += gates[k] * uc[k];
    mete__tanh(c, hidden);
    for (size_t k = 0; k < hidden; k++)
        after[k] = c[k] + z[k] * (before[k] - c[k]);
}

METE_WIDE static void
gru_backward(float *restrict gates, float *restrict hu, const float *restrict before,
             const float *after, size_t hidden, float *restrict dstate)
{
    (void)after;
    for (size_t k = 0; k < hidden; k++) {
        float r = gates[k], z = gates[hidden + k], c = gates[2 * hidden + k], g = dstate[k];
        float dc = g * (1 - z) * (1 - c * c);
        float dr = dc * hu[2 * hidden + k] * r * (1 - r);
        float dz = g * (before[k] - c) * z * (1 - z);
        gates[k] = hu[k] = dr;
        gates[hidden + k] = hu[hidden + k] = dz;
        gates[2 * hidden + k] = dc;
        hu[2 * hidden + k] = dc * r;
        dstate[k] = g * z;
    }
}

/* i, f, o = sigmoid, g = tanh, of x + u; c' = f c + i g, h' = o tanh c'. The state is h, then c; hu
 * is gates, the sum. */
METE_WIDE static void
lstm_forward(float *gates, float *hu, const float *before, size_t hidden, float *after)
{
    const float *i = gates, *f = gates + hidden, *o = gates + 3 * hidden;
    float *g = gates + 2 * hidden, *c = after + hidden;
    (void)hu;
    mete__sigmoid(gates, 2 * hidden);
    mete__tanh(g, hidden);
    mete__sigmoid(gates + 3 * hidden, hidden);
    for (size_t k = 0; k < hidden; k++)
        after[k] = c[k] = f[k] * before[hidden + k] + i[k] * g[k];
    mete__tanh(after, hidden);
    for (size_t k = 0; k < hidden; k++)
        after[k] *= o[k];
}

METE_WIDE static void
lstm_backward(float *restrict gates, float *hu, const float *restrict before, const float *after,
              size_t hidden, float *restrict dstate)
{
    (void)hu;
    for (size_t from = 0; from < hidden; from += PIECE) {
        size_t some = hidden - from < PIECE ? hidden - from : PIECE;
        float t[PIECE];
        memcpy(t, after + hidden + from, some * sizeof *t);
        mete__tanh(t, some);
        for (size_t k = from; k < from + some; k++) {
            float i = gates[k], f = gates[hidden + k], g = gates[2 * hidden + k];
            float o = gates[3 * hidden + k], th = t[k - from], dh = dstate[k];
            float dc = dstate[hidden + k] + dh * o * (1 - th * th);
            gates[k] = dc * g * i * (1 - i);
            gates[hidden + k] = dc * before[hidden + k] * f * (1 - f);
            gates[2 * hidden + k] = dc * i * (1 - g * g);
            gates[3 * hidden + k] = dh * th * o * (1 - o);
            dstate[k] = 0;
            dstate[hidden + k] = dc * f;
        }
    }
}

static const struct cell gru = {3, 1, gru_forward, gru_backward};
static const struct cell lstm = {4, 2, lstm_forward, lstm_backward};

/* hu = before u' + bias of n rows, or added to it. */
static void
recur(const struct cell *cell, size_t n, size_t hidden, const float *before, const float *u,
      const float *b, float *hu, int add)
{
    size_t gates = cell->gates * hidden;
    mete__product(0, 1, n, gates, hidden, 1, before, cell->state * hidden, u, hidden, add ? 1 : 0,
                  hu, gates);
    for (size_t i = 0; b && i < n; i++)
        mete__add_scaled(hu + i * gates, 1, b, gates);
}

/* What a walk keeps; rows are time by time. */
struct walk {
    const struct cell *cell;
    size_t hidden, steps, sequences;
    uint32_t *row;      /* [n] of the caller's rows */
    uint32_t *begin;    /* [steps + 1] where each time's rows start */
    uint32_t *sequence; /* [sequences] longest first */
    float *gates, *hu;  /* [n x gates]; one array where the cell adds them up */
    float *before;      /* [n x state] */
    float *carry;       /* [sequences x state] the gradient of states */
};

static uint32_t
length_of(const uint32_t *offset, uint32_t sequence)
{
    return offset[sequence + 1] - offset[sequence];
}

/* Orders sequences by length (counted, so it is stable), and rows by time. */
static int
order(mete_tape *tape, struct walk *w, const uint32_t *offset, size_t n)
{
    uint32_t longest = (uint32_t)mete__longest(offset, w->sequences);
    w->steps = longest;
    w->row = mete_tape_take(tape, (n + 1) * sizeof *w->row);
    w->begin = mete_tape_take(tape, (w->steps + 1) * sizeof *w->begin);
    w->sequence = mete_tape_take(tape, (w->sequences + 1) * sizeof *w->sequence);
    uint32_t *at = mete_tape_take(tape, (w->steps + 2) * sizeof *at);
    if (!w->row || !w->begin || !w->sequence || !at)
        return 0;
    memset(at, 0,
           (w->steps + 2) * sizeof *at); /* where sequences shorter by k than the longest go */
    for (uint32_t s = 0; s < w->sequences; s++)
        at[longest - length_of(offset, s) + 1]++;
    for (size_t k = 1; k <= w->steps + 1; k++)
        at[k] += at[k - 1];
    for (uint32_t s = 0; s < w->sequences; s++)
        w->sequence[at[longest - length_of(offset, s)]++] = s;
    w->begin[0] = 0;
    for (uint32_t t = 0; t < longest; t++) {
        uint32_t to = w->begin[t];
        for (size_t j = 0; j < w->sequences && length_of(offset, w->sequence[j]) > t; j++)
            w->row[to++] = offset[w->sequence[j]] + t;
        w->begin[t + 1] = to;
    }
    return 1;
}

static void
walk_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct walk *w = memory;
    size_t gates = w->cell->gates * w->hidden, state = w->cell->state * w->hidden;
    float *dx = mete_grad_of(tape, in[0]), *du = mete_grad_of(tape, in[1]);
    float *db = in[2] ? mete_grad_of(tape, in[2]) : NULL;
    float *dstart = in[3] ? mete_grad_of(tape, in[3]) : NULL;
    if (tape->err.code)
        return;
    memset(w->carry, 0, w->sequences * state * sizeof *w->carry);
    for (size_t t = w->steps; t-- > 0;) {
        size_t from = w->begin[t], n = w->begin[t + 1] - from;
        for (size_t j = 0; j < n; j++) {
            size_t at = from + j, row = w->row[at];
            float *carry = w->carry + j * state;
            mete__add_scaled(carry, 1, y->grad + row * state, state);
            w->cell->backward(w->gates + at * gates, w->hu + at * gates, w->before + at * state,
                              y->data + row * state, w->hidden, carry);
            if (dx)
                mete__add_scaled(dx + row * gates, 1, w->gates + at * gates, gates);
        }
        mete__product(0, 0, n, w->hidden, gates, 1, w->hu + from * gates, gates, in[1]->data,
                      w->hidden, 1, w->carry, state);
    }
    if (du)
        mete__product(1, 0, gates, w->hidden, y->rows, 1, w->hu, gates, w->before, state, 1, du,
                      w->hidden);
    if (db)
        mete__add_rows(w->hu, y->rows, gates, db);
    for (size_t j = 0; dstart && j < w->sequences; j++)
        mete__add_scaled(dstart + w->sequence[j] * state, 1, w->carry + j * state, state);
}

static void
walk_forward(const struct walk *w, const mete_var *x, const float *u, const float *b,
             const float *start, float *out)
{
    size_t gates = w->cell->gates * w->hidden, state = w->cell->state * w->hidden;
    for (size_t t = 0; t < w->steps; t++) {
        size_t from = w->begin[t], n = w->begin[t + 1] - from;
        for (size_t j = 0; j < n; j++) {
            float *before = w->before + (from + j) * state;
            memcpy(w->gates + (from + j) * gates, x->data + w->row[from + j] * gates,
                   gates * sizeof(float));
            if (t)
                memcpy(before, out + (w->row[from + j] - 1) * state, state * sizeof(float));
            else if (start)
                memcpy(before, start + w->sequence[j] * state, state * sizeof(float));
            else
                memset(before, 0, state * sizeof(float));
        }
        recur(w->cell, n, w->hidden, w->before + from * state, u, b, w->hu + from * gates,
              w->hu == w->gates);
        for (size_t at = from; at < from + n; at++)
            w->cell->forward(w->gates + at * gates, w->hu + at * gates, w->before + at * state,
                             w->hidden, out + w->row[at] * state);
    }
}

static mete_var *
walk_over(mete_tape *tape, const struct cell *cell, const char *what, mete_var *x, mete_var *u,
          mete_var *b, mete_var *start, const uint32_t *offset, size_t sequences)
{
    if (!x || !u || !u->columns || u->rows != cell->gates * u->columns || x->columns != u->rows ||
        (b && b->rows * b->columns != u->rows) || !mete__packs(offset, sequences, x->rows) ||
        (start && (start->rows != sequences || start->columns != cell->state * u->columns)))
        return mete__op_fail(tape, what, x, u);
    size_t n = x->rows, gates = u->rows, state = cell->state * u->columns;
    struct walk *w = mete_tape_take(tape, sizeof *w);
    mete_var *y = mete__op_new(tape, n, state, walk_back, x, u, b, w);
    if (!y || !w)
        return NULL;
    mete__op_fourth(y, start);
    *w = (struct walk){.cell = cell, .hidden = u->columns, .sequences = sequences};
    if (!order(tape, w, offset, n))
        return NULL;
    w->gates = mete_tape_take(tape, (n * gates + 1) * sizeof(float));
    w->hu = cell == &lstm ? w->gates : mete_tape_take(tape, (n * gates + 1) * sizeof(float));
    w->before = mete_tape_take(tape, (n * state + 1) * sizeof(float));
    w->carry = mete_tape_take(tape, (sequences * state + 1) * sizeof(float));
    if (!w->gates || !w->hu || !w->before || !w->carry)
        return NULL;
    walk_forward(w, x, u->data, b ? b->data : NULL, start ? start->data : NULL, y->data);
    return y;
}

mete_var *
mete_gru(mete_tape *tape, mete_var *gates, mete_var *u, mete_var *b, mete_var *start,
         const uint32_t *offset, size_t sequences)
{
    return walk_over(tape, &gru, "gru", gates, u, b, start, offset, sequences);
}

mete_var *
mete_lstm(mete_tape *tape, mete_var *gates, mete_var *u, mete_var *b, mete_var *start,
          const uint32_t *offset, size_t sequences)
{
    return walk_over(tape, &lstm, "lstm", gates, u, b, start, offset, sequences);
}

static void
step(const struct cell *cell, float *gates, size_t n, size_t hidden, const float *u, const float *b,
     float *state, float *hu)
{
    size_t wide = cell->gates * hidden, kept = cell->state * hidden;
    recur(cell, n, hidden, state, u, b, hu, hu == gates);
    for (size_t i = 0; i < n; i++)
        cell->forward(gates + i * wide, hu + i * wide, state + i * kept, hidden, state + i * kept);
}

void
mete_gru_run(float *gates, size_t n, size_t hidden, const float *u, const float *b, float *state,
             float *scratch)
{
    step(&gru, gates, n, hidden, u, b, state, scratch);
}

void
mete_lstm_run(float *gates, size_t n, size_t hidden, const float *u, const float *b, float *state)
{
    step(&lstm, gates, n, hidden, u, b, state, gates);
}
