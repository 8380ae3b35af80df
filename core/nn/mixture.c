/* mixture.c - mixtures of experts: rows choose experts, each expert takes its rows as one product,
 * and the results go back weighed (Shazeer et al. 2017, arXiv:1701.06538; Fedus et al. 2022,
 * arXiv:2101.03961). */
#include "nn/tape.h"

#include <math.h>
#include <string.h>

/* ---- choosing -------------------------------------------------------------------------------- */

struct route {
    size_t k;
    int32_t *choice; /* [n x k] experts */
};

/* The k largest of a row, the first of equals before the others. */
static void
largest(const float *row, size_t n, size_t k, int32_t *choice)
{
    for (size_t j = 0; j < k; j++) {
        size_t best = n;
        for (size_t e = 0; e < n; e++) {
            int taken = 0;
            for (size_t i = 0; i < j; i++)
                taken |= choice[i] == (int32_t)e;
            if (!taken && (best == n || row[e] > row[best]))
                best = e;
        }
        choice[j] = (int32_t)best;
    }
}

/* Softmax over the chosen: dz_j = p_j (g_j - sum p g). */
static void
route_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct route *r = memory;
    float *dz = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dz && i < y->rows; i++) {
        const float *p = y->data + i * r->k, *g = y->grad + i * r->k;
        float along = mete__dot(p, g, r->k);
        for (size_t j = 0; j < r->k; j++)
            dz[i * in[0]->columns + (size_t)r->choice[i * r->k + j]] += p[j] * (g[j] - along);
    }
}

/* Counts, then places: rows of an expert keep their order. */
static int
lay_out(mete_tape *tape, const int32_t *choice, size_t n, size_t k, size_t experts,
        mete_route_plan *plan)
{
    uint32_t *offset = mete_tape_take(tape, (experts + 2) * sizeof *offset);
    int32_t *source = mete_tape_take(tape, (n * k + 1) * sizeof *source);
    int32_t *place = mete_tape_take(tape, (n * k + 1) * sizeof *place);
    if (!offset || !source || !place)
        return 0;
    memset(offset, 0, (experts + 2) * sizeof *offset);
    for (size_t i = 0; i < n * k; i++)
        offset[choice[i] + 2]++;
    for (size_t e = 2; e < experts + 2; e++)
        offset[e] += offset[e - 1];
    for (size_t i = 0; i < n * k; i++) { /* offset[e + 1] runs from where e starts to its end */
        uint32_t at = offset[choice[i] + 1]++;
        source[at] = (int32_t)(i / k);
        place[i] = (int32_t)at;
    }
    *plan = (mete_route_plan){n * k, offset, source, place};
    return 1;
}

mete_var *
mete_route(mete_tape *tape, mete_var *logits, size_t k, mete_route_plan *plan)
{
    if (!logits || !k || k > logits->columns)
        return mete__op_fail(tape, "route", NULL, NULL);
    size_t n = logits->rows, experts = logits->columns;
    struct route *r = mete_tape_take(tape, sizeof *r);
    int32_t *choice = mete_tape_take(tape, (n * k + 1) * sizeof *choice);
    mete_var *y = mete__op_new(tape, n, k, route_back, logits, NULL, NULL, r);
    if (!y || !r || !choice)
        return NULL;
    *r = (struct route){k, choice};
    for (size_t i = 0; i < n; i++) {
        const float *z = logits->data + i * experts;
        float *p = y->data + i * k;
        largest(z, experts, k, choice + i * k);
        for (size_t j = 0; j < k; j++)
            p[j] = z[choice[i * k + j]];
    }
    mete_log_softmax_run(y->data, n, k, NULL);
    mete__exp(y->data, y->data, n * k);
    return lay_out(tape, choice, n, k, experts, plan) ? y : NULL;
}

/* ---- balance --------------------------------------------------------------------------------- */

struct balance {
    float *share;       /* [experts] experts x the part of all choices that fell on each, / rows */
    float *probability; /* [n x experts] */
};

/* L = sum over rows and experts of share p: dz = p (share - sum share p). */
static void
balance_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct balance *b = memory;
    size_t experts = in[0]->columns;
    float *dz = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dz && i < in[0]->rows; i++) {
        const float *p = b->probability + i * experts;
        float along = mete__dot(b->share, p, experts);
        for (size_t e = 0; e < experts; e++)
            dz[i * experts + e] += y->grad[0] * p[e] * (b->share[e] - along);
    }
}

mete_var *
mete_route_balance(mete_tape *tape, mete_var *logits, const mete_route_plan *plan)
{
    if (!logits || !logits->columns)
        return mete__op_fail(tape, "route_balance", NULL, NULL);
    size_t n = logits->rows, experts = logits->columns;
    struct balance *b = mete_tape_take(tape, sizeof *b);
    mete_var *y = mete__op_new(tape, 1, 1, balance_back, logits, NULL, NULL, b);
    if (!y || !b)
        return NULL;
    b->share = mete_tape_take(tape, experts * sizeof *b->share);
    b->probability = mete_tape_take(tape, (n * experts + 1) * sizeof *b->probability);
    if (!b->share || !b->probability)
        return NULL;
    for (size_t e = 0; e < experts; e++)
        b->share[e] = plan->rows ? (float)experts * (float)(plan->offset[e + 1] - plan->offset[e]) /
                                       ((float)plan->rows * (float)n)
                                 : 0;
    memcpy(b->probability, logits->data, n * experts * sizeof(float));
    mete_log_softmax_run(b->probability, n, experts, NULL);
    mete__exp(b->probability, b->probability, n * experts);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)mete__dot(b->share, b->probability + i * experts, experts);
    y->data[0] = (float)sum;
    return y;
}

/* ---- the experts' products ------------------------------------------------------------------- */

struct groups {
    size_t groups;
    uint32_t *offset;
};

static void
groups_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct groups *g = memory;
    size_t outs = y->columns, ins = in[0]->columns;
    float *dx = mete_grad_of(tape, in[0]), *dw = mete_grad_of(tape, in[1]);
    float *db = in[2] ? mete_grad_of(tape, in[2]) : NULL;
    for (size_t e = 0; e < g->groups; e++) {
        size_t from = g->offset[e], n = g->offset[e + 1] - from;
        const float *dy = y->grad + from * outs, *x = in[0]->data + from * ins;
        if (dw)
            mete__product(1, 0, outs, ins, n, 1, dy, outs, x, ins, 1, dw + e * outs * ins, ins);
        if (dx)
            mete__product(0, 0, n, ins, outs, 1, dy, outs, in[1]->data + e * outs * ins, ins, 1,
                          dx + from * ins, ins);
        if (db)
            mete__add_rows(dy, n, outs, db + e * outs);
    }
}

mete_var *
mete_dense_groups(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b, const uint32_t *offset,
                  size_t groups)
{
    if (!x || !w || !groups || w->rows % groups || w->columns != x->columns ||
        (b && b->rows * b->columns != w->rows) || !mete__packs(offset, groups, x->rows))
        return mete__op_fail(tape, "dense_groups", x, w);
    size_t outs = w->rows / groups, ins = w->columns;
    struct groups *g = mete_tape_take(tape, sizeof *g);
    uint32_t *kept = mete_tape_take(tape, (groups + 1) * sizeof *kept);
    mete_var *y = mete__op_new(tape, x->rows, outs, groups_back, x, w, b, g);
    if (!y || !g || !kept)
        return NULL;
    memcpy(kept, offset, (groups + 1) * sizeof *kept);
    *g = (struct groups){groups, kept};
    for (size_t e = 0; e < groups; e++)
        mete_dense_run(x->data + offset[e] * ins, offset[e + 1] - offset[e], ins,
                       w->data + e * outs * ins, b ? b->data + e * outs : NULL, outs, METE_LINEAR,
                       y->data + offset[e] * outs);
    return y;
}

/* ---- bringing them back ---------------------------------------------------------------------- */

static void
combine_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const int32_t *place = memory;
    size_t width = y->columns, k = in[1]->columns;
    float *dx = mete_grad_of(tape, in[0]), *dw = mete_grad_of(tape, in[1]);
    for (size_t i = 0; i < y->rows * k; i++) {
        const float *g = y->grad + i / k * width;
        size_t at = (size_t)(place[i] < 0 ? 0 : place[i]) * width;
        if (dx && place[i] >= 0)
            mete__add_scaled(dx + at, in[1]->data[i], g, width);
        if (dw && place[i] >= 0)
            dw[i] += mete__dot(in[0]->data + at, g, width);
    }
}

mete_var *
mete_combine(mete_tape *tape, mete_var *x, mete_var *weight, const int32_t *place)
{
    if (!x || !weight)
        return mete__op_fail(tape, "combine", x, weight);
    size_t n = weight->rows * weight->columns, width = x->columns;
    int32_t *kept = mete_tape_take(tape, (n + 1) * sizeof *kept);
    mete_var *y = mete__op_new(tape, weight->rows, width, combine_back, x, weight, NULL, kept);
    if (!y || !kept)
        return NULL;
    memset(y->data, 0, y->rows * width * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        kept[i] = place[i];
        if (place[i] >= 0 && (size_t)place[i] >= x->rows)
            return mete__op_fail(tape, "combine: a place past the rows", NULL, NULL);
        if (place[i] >= 0)
            mete__add_scaled(y->data + i / weight->columns * width, weight->data[i],
                             x->data + (size_t)place[i] * width, width);
    }
    return y;
}
