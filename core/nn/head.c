/* head.c - a language model's output: the log-probability of one token of a vocabulary, fused with
 * the product that makes the logits.
 *
 * Rows are taken in blocks; a block's logits are one tile. Where all tiles are few enough their
 * softmax is kept for backward; else it is computed anew there, a third more work for a fraction of
 * the memory. Rows without a target are left out of all of it. */
#include "nn/tape.h"

#include <math.h>
#include <string.h>

/* Numbers in a tile, where that is from 128 to 1024 rows: each block packs the weights anew for its
 * product, so a few large blocks cost less. */
#define TILE ((size_t)1 << 22)

/* Most numbers kept of all tiles (128 MiB); a test sets it. */
size_t mete__vocab_kept = (size_t)1 << 25;

struct head {
    size_t rows;  /* with a target */
    size_t block; /* rows in a tile */
    uint32_t *row;
    int32_t *target; /* [rows] */
    float *x;        /* [rows x width] gathered; the input itself where no row is left out */
    float *tile;     /* softmax of all rows, or room for one block */
    float *lse;      /* [rows] */
    float *entropy;  /* [rows]; NULL: not asked for */
    float cool;      /* 1 / temperature */
    bool keeps;
};

/* Logits of rows [from, from + n), each divided by the temperature. */
static void
logits(const struct head *h, const mete_var *w, const mete_var *b, size_t from, size_t n,
       float *out)
{
    size_t vocabulary = w->rows, width = w->columns;
    mete__product(0, 1, n, vocabulary, width, h->cool, h->x + from * width, width, w->data, width,
                  0, out, vocabulary);
    for (size_t i = 0; b && i < n; i++)
        mete__add_scaled(out + i * vocabulary, h->cool, b->data, vocabulary);
}

/* H = lse - sum p z, with z the logits and p their softmax. */
static float
entropy_of(const float *z, const float *p, size_t n, float lse)
{
    return lse - mete__dot(z, p, n);
}

static void
forward_block(struct head *h, const mete_var *w, const mete_var *b, size_t from, size_t n,
              float *spare, mete_var *y)
{
    size_t vocabulary = w->rows;
    float *tile = h->keeps ? h->tile + from * vocabulary : h->tile;
    logits(h, w, b, from, n, tile);
    for (size_t i = 0; i < n; i++) {
        float *z = tile + i * vocabulary, *to = y->data + h->row[from + i] * y->columns;
        float most = mete__max(z, vocabulary);
        float lse = most + (float)log(mete__exp_sum(z, vocabulary, most));
        h->lse[from + i] = lse;
        to[0] = z[h->target[from + i]] - lse;
        if (h->entropy) {
            mete__exp_less(z, spare, vocabulary, lse);
            to[1] = h->entropy[from + i] = entropy_of(z, spare, vocabulary, lse);
        }
        if (h->keeps)
            mete__exp_less(z, z, vocabulary, lse);
    }
}

/* The gradient of the logits of a row, from its softmax p, in place: of the log-probability
 * 1 - p at the target and -p elsewhere; of the entropy -p (log p + H). */
METE_WIDE static void
row_back(float *restrict p, size_t n, float g, float gh, float entropy, float cool)
{
    if (gh == 0) {
        for (size_t k = 0; k < n; k++)
            p[k] *= -g * cool;
        return;
    }
    for (size_t k = 0; k < n; k++) {
        float log_p = logf(p[k] > 1e-30f ? p[k] : 1e-30f);
        p[k] *= -cool * (g + gh * (log_p + entropy));
    }
}

static void
backward_block(const struct head *h, const mete_var *w, const mete_var *b, size_t from, size_t n,
               const mete_var *y, float *dx, float *dw, float *db)
{
    size_t vocabulary = w->rows, width = w->columns;
    float *tile = h->keeps ? h->tile + from * vocabulary : h->tile;
    if (!h->keeps)
        logits(h, w, b, from, n, tile);
    for (size_t i = 0; i < n; i++) {
        float *p = tile + i * vocabulary;
        const float *g = y->grad + h->row[from + i] * y->columns;
        if (!h->keeps)
            mete__exp_less(p, p, vocabulary, h->lse[from + i]);
        row_back(p, vocabulary, g[0], h->entropy ? g[1] : 0, h->entropy ? h->entropy[from + i] : 0,
                 h->cool);
        p[h->target[from + i]] += g[0] * h->cool;
        if (db)
            mete__add_scaled(db, 1, p, vocabulary);
    }
    if (dw)
        mete__product(1, 0, vocabulary, width, n, 1, tile, vocabulary, h->x + from * width, width,
                      1, dw, width);
    if (dx)
        mete__product(0, 0, n, width, vocabulary, 1, tile, vocabulary, w->data, width, 0, dx,
                      width);
}

static void
head_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct head *h = memory;
    const mete_var *w = in[1], *b = in[2];
    size_t width = w->columns;
    float *dx = mete_grad_of(tape, in[0]), *dw = mete_grad_of(tape, in[1]);
    float *db = b ? mete_grad_of(tape, in[2]) : NULL;
    float *block = mete_tape_take(tape, h->block * width * sizeof *block);
    for (size_t from = 0; block && from < h->rows; from += h->block) {
        size_t n = h->rows - from < h->block ? h->rows - from : h->block;
        backward_block(h, w, b, from, n, y, dx ? block : NULL, dw, db);
        for (size_t i = 0; dx && i < n; i++)
            mete__add_scaled(dx + h->row[from + i] * width, 1, block + i * width, width);
    }
}

/* Lists the rows that have a target and gathers what the product reads. */
static int
gather(mete_tape *tape, struct head *h, const mete_var *x, const int32_t *target, size_t most)
{
    h->row = mete_tape_take(tape, (x->rows + 1) * sizeof *h->row);
    h->target = mete_tape_take(tape, (x->rows + 1) * sizeof *h->target);
    if (!h->row || !h->target)
        return 0;
    for (size_t i = 0; i < x->rows; i++) {
        if (target[i] >= (int32_t)most) {
            mete__op_fail(tape, "vocab_logp: a target past the vocabulary", NULL, NULL);
            return 0;
        }
        if (target[i] < 0)
            continue;
        h->row[h->rows] = (uint32_t)i;
        h->target[h->rows++] = target[i];
    }
    h->x = x->data;
    if (h->rows == x->rows)
        return 1;
    if (!(h->x = mete_tape_take(tape, (h->rows * x->columns + 1) * sizeof *h->x)))
        return 0;
    for (size_t i = 0; i < h->rows; i++)
        memcpy(h->x + i * x->columns, x->data + h->row[i] * x->columns, x->columns * sizeof *h->x);
    return 1;
}

mete_var *
mete_vocab_logp(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b, const int32_t *target,
                float temperature, int entropy)
{
    if (!x || !w || !w->rows || x->columns != w->columns ||
        (b && b->rows * b->columns != w->rows) || !(temperature > 0))
        return mete__op_fail(tape, "vocab_logp", x, w);
    struct head *h = mete_tape_take(tape, sizeof *h);
    mete_var *y = mete__op_new(tape, x->rows, entropy ? 2 : 1, head_back, x, w, b, h);
    if (!y || !h)
        return NULL;
    *h = (struct head){.cool = 1 / temperature};
    memset(y->data, 0, y->rows * y->columns * sizeof(float));
    if (!gather(tape, h, x, target, w->rows))
        return NULL;
    h->keeps = h->rows <= mete__vocab_kept / w->rows;
    h->block = TILE / w->rows;
    h->block = h->block < 128 ? 128 : h->block > 1024 ? 1024 : h->block;
    size_t kept = h->keeps || h->rows < h->block ? h->rows : h->block;
    float *spare = entropy ? mete_tape_take(tape, w->rows * sizeof *spare) : NULL;
    h->entropy = entropy ? mete_tape_take(tape, (h->rows + 1) * sizeof *h->entropy) : NULL;
    h->lse = mete_tape_take(tape, (h->rows + 1) * sizeof *h->lse);
    h->tile = mete_tape_take(tape, (kept * w->rows + 1) * sizeof *h->tile);
    if (!h->lse || !h->tile || (entropy && (!spare || !h->entropy)))
        return NULL;
    for (size_t from = 0; from < h->rows; from += h->block)
        forward_block(h, w, b, from, h->rows - from < h->block ? h->rows - from : h->block, spare,
                      y);
    return y;
}
