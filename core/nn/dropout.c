/* dropout.c - dropout by counter-based bits (Srivastava et al. 2014; Salmon et al. 2011). */
#include "nn/tape.h"

struct dropout {
    float scale;
    uint8_t *kept; /* [rows x columns] */
};

static void
dropout_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct dropout *d = memory;
    float *dx = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dx && i < y->rows * y->columns; i++)
        dx[i] += d->kept[i] ? d->scale * y->grad[i] : 0;
}

/* A row's columns are 16 bits each of its stream: low half of a word, then the high half. */
static void
draw(mete_rng rng, uint32_t least, size_t n, uint8_t *kept)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        bits = i % 2 ? bits >> 16 : mete_rng_bits(&rng);
        kept[i] = (bits & 0xffff) >= least;
    }
}

mete_var *
mete_dropout(mete_tape *tape, mete_var *x, float rate, uint64_t key, uint64_t first)
{
    if (!x || !(rate >= 0 && rate < 1))
        return mete__op_fail(tape, "dropout", NULL, NULL);
    size_t n = x->rows * x->columns;
    uint32_t least = (uint32_t)(rate * 65536 + .5f);
    least = least > 65535 ? 65535 : least;
    struct dropout *d = mete_tape_take(tape, sizeof *d);
    uint8_t *kept = mete_tape_take(tape, n + 1);
    mete_var *y = mete__op_new(tape, x->rows, x->columns, dropout_back, x, NULL, NULL, d);
    if (!y || !d || !kept)
        return NULL;
    *d = (struct dropout){65536 / (float)(65536 - least), kept};
    for (size_t i = 0; i < x->rows; i++)
        draw(mete_rng_make(key, first + i, 0), least, x->columns, kept + i * x->columns);
    for (size_t i = 0; i < n; i++)
        y->data[i] = kept[i] ? d->scale * x->data[i] : 0;
    return y;
}
