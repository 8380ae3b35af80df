/* ops.c - the simple operations of nn.h: each a forward part and the backward it records.
 *
 * In every backward, y is the result with its gradient set; inputs' gradients are added to. */
#include "nn/tape.h"

#include <math.h>
#include <string.h>

static size_t
size_of(const mete_var *x)
{
    return x->rows * x->columns;
}

static int
same(const mete_var *a, const mete_var *b)
{
    return a->rows == b->rows && a->columns == b->columns;
}

/* ---- products -------------------------------------------------------------------------------- */

struct dense {
    mete_activation act;
    float *before; /* the sum it was applied to, where the derivative is of that */
};

static void
dense_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct dense *dense = memory;
    mete_var *x = in[0], *w = in[1], *b = in[2];
    size_t n = y->rows, outs = y->columns, ins = x->columns;
    /* y's gradient is not needed afterwards, so the activation is undone in place */
    mete__activate_back(dense->act, dense->before ? dense->before : y->data, y->grad, n * outs);
    float *dx = mete_grad_of(tape, x), *dw = mete_grad_of(tape, w);
    float *db = b ? mete_grad_of(tape, b) : NULL;
    if (dw)
        mete__product(1, 0, outs, ins, n, 1, y->grad, outs, x->data, ins, 1, dw, ins);
    if (dx)
        mete__product(0, 0, n, ins, outs, 1, y->grad, outs, w->data, ins, 1, dx, ins);
    if (db)
        mete__add_rows(y->grad, n, outs, db);
}

mete_var *
mete_dense(mete_tape *tape, mete_var *x, mete_var *w, mete_var *b, mete_activation act)
{
    if (!x || !w || x->columns != w->columns || (b && size_of(b) != w->rows))
        return mete__op_fail(tape, "dense", x, w);
    struct dense *dense = mete_tape_take(tape, sizeof *dense);
    mete_var *y = mete__op_new(tape, x->rows, w->rows, dense_back, x, w, b, dense);
    if (!y || !dense)
        return NULL;
    *dense = (struct dense){act, NULL};
    bool sums = mete__slope_of_input(act);
    mete_dense_run(x->data, x->rows, x->columns, w->data, b ? b->data : NULL, w->rows,
                   sums ? METE_LINEAR : act, y->data);
    if (sums) {
        if (!(dense->before = mete_tape_take(tape, size_of(y) * sizeof(float))))
            return NULL;
        memcpy(dense->before, y->data, size_of(y) * sizeof(float));
        mete__activate(act, y->data, size_of(y));
    }
    return y;
}

static void
matmul_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    mete_var *a = in[0], *b = in[1];
    float *da = mete_grad_of(tape, a), *db = mete_grad_of(tape, b);
    (void)memory;
    if (da)
        mete__product(0, 1, a->rows, a->columns, y->columns, 1, y->grad, y->columns, b->data,
                      b->columns, 1, da, a->columns);
    if (db)
        mete__product(1, 0, b->rows, b->columns, y->rows, 1, a->data, a->columns, y->grad,
                      y->columns, 1, db, b->columns);
}

mete_var *
mete_matmul(mete_tape *tape, mete_var *a, mete_var *b)
{
    if (!a || !b || a->columns != b->rows)
        return mete__op_fail(tape, "matmul", a, b);
    mete_var *y = mete__op_new(tape, a->rows, b->columns, matmul_back, a, b, NULL, NULL);
    if (!y)
        return NULL;
    memset(y->data, 0, size_of(y) * sizeof(float));
    mete__product(0, 0, a->rows, b->columns, a->columns, 1, a->data, a->columns, b->data,
                  b->columns, 1, y->data, b->columns);
    return y;
}

/* ---- elementwise ----------------------------------------------------------------------------- */

/* b has a's shape, or is one row for all of a's. */
static int
spreads(const mete_var *a, const mete_var *b)
{
    return same(a, b) || (b->rows == 1 && b->columns == a->columns);
}

static void
add_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    float *da = mete_grad_of(tape, in[0]), *db = mete_grad_of(tape, in[1]);
    float sign = memory ? -1 : 1;
    size_t n = size_of(y), wrap = size_of(in[1]);
    for (size_t i = 0; da && i < n; i++)
        da[i] += y->grad[i];
    for (size_t i = 0; db && i < n; i += wrap)
        for (size_t k = 0; k < wrap; k++)
            db[k] += sign * y->grad[i + k];
}

static mete_var *
add_signed(mete_tape *tape, mete_var *a, mete_var *b, float sign)
{
    static char minus;
    if (!a || !b || !spreads(a, b))
        return mete__op_fail(tape, "add", a, b);
    mete_var *y =
        mete__op_new(tape, a->rows, a->columns, add_back, a, b, NULL, sign < 0 ? &minus : NULL);
    size_t wrap = size_of(b);
    for (size_t i = 0; y && i < size_of(a); i += wrap)
        for (size_t k = 0; k < wrap; k++)
            y->data[i + k] = a->data[i + k] + sign * b->data[k];
    return y;
}

mete_var *
mete_add(mete_tape *tape, mete_var *a, mete_var *b)
{
    return add_signed(tape, a, b, 1);
}

mete_var *
mete_sub(mete_tape *tape, mete_var *a, mete_var *b)
{
    return add_signed(tape, a, b, -1);
}

static void
mul_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    mete_var *a = in[0], *b = in[1];
    float *da = mete_grad_of(tape, a), *db = mete_grad_of(tape, b);
    size_t n = size_of(y), wrap = size_of(b);
    (void)memory;
    for (size_t i = 0; i < n; i += wrap)
        for (size_t k = 0; k < wrap; k++) {
            float g = y->grad[i + k];
            if (da)
                da[i + k] += g * b->data[k];
            if (db)
                db[k] += g * a->data[i + k];
        }
}

mete_var *
mete_mul(mete_tape *tape, mete_var *a, mete_var *b)
{
    if (!a || !b || !spreads(a, b))
        return mete__op_fail(tape, "mul", a, b);
    mete_var *y = mete__op_new(tape, a->rows, a->columns, mul_back, a, b, NULL, NULL);
    size_t wrap = size_of(b);
    for (size_t i = 0; y && i < size_of(a); i += wrap)
        for (size_t k = 0; k < wrap; k++)
            y->data[i + k] = a->data[i + k] * b->data[k];
    return y;
}

/* Elementwise functions of one input share a backward: slope[i] is kept by forward. */
static void
slope_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const float *slope = memory;
    float *dx = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dx && i < size_of(y); i++)
        dx[i] += y->grad[i] * slope[i];
}

/* A result with room for its slopes, or NULL. */
static mete_var *
sloped(mete_tape *tape, mete_var *x, const char *what, float **slope)
{
    if (!x)
        return mete__op_fail(tape, what, NULL, NULL);
    *slope = mete_tape_take(tape, size_of(x) * sizeof(float));
    return *slope ? mete__op_new(tape, x->rows, x->columns, slope_back, x, NULL, NULL, *slope)
                  : NULL;
}

mete_var *
mete_affine(mete_tape *tape, mete_var *x, float scale, float shift)
{
    float *slope = NULL;
    mete_var *y = sloped(tape, x, "affine", &slope);
    for (size_t i = 0; y && i < size_of(x); i++) {
        y->data[i] = scale * x->data[i] + shift;
        slope[i] = scale;
    }
    return y;
}

mete_var *
mete_act_fn(mete_tape *tape, mete_var *x, mete_activation act)
{
    float *slope = NULL;
    mete_var *y = sloped(tape, x, "activation", &slope);
    if (!y)
        return NULL;
    memcpy(y->data, x->data, size_of(x) * sizeof(float));
    mete__activate(act, y->data, size_of(x));
    mete__slope(act, mete__slope_of_input(act) ? x->data : y->data, slope, size_of(x));
    return y;
}

/* d gate = g up act'(gate), d up = g act(gate); both anew from gate, so nothing is kept. */
static void
gated_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    mete_activation act = *(const mete_activation *)memory;
    float *dgate = mete_grad_of(tape, in[0]), *dup = mete_grad_of(tape, in[1]);
    float value[256], slope[256];
    for (size_t at = 0; at < size_of(y); at += 256) {
        size_t some = size_of(y) - at < 256 ? size_of(y) - at : 256;
        const float *gate = in[0]->data + at, *up = in[1]->data + at, *g = y->grad + at;
        memcpy(value, gate, some * sizeof *value);
        mete__activate(act, value, some);
        mete__slope(act, mete__slope_of_input(act) ? gate : value, slope, some);
        for (size_t i = 0; dgate && i < some; i++)
            dgate[at + i] += g[i] * up[i] * slope[i];
        for (size_t i = 0; dup && i < some; i++)
            dup[at + i] += g[i] * value[i];
    }
}

mete_var *
mete_gated(mete_tape *tape, mete_var *gate, mete_var *up, mete_activation act)
{
    if (!gate || !up || !same(gate, up))
        return mete__op_fail(tape, "gated", gate, up);
    mete_activation *kept = mete_tape_take(tape, sizeof *kept);
    mete_var *y = mete__op_new(tape, gate->rows, gate->columns, gated_back, gate, up, NULL, kept);
    if (!y || !kept)
        return NULL;
    *kept = act;
    memcpy(y->data, gate->data, size_of(y) * sizeof(float));
    mete_gated_run(y->data, up->data, size_of(y), act);
    return y;
}

mete_var *
mete_sigmoid(mete_tape *tape, mete_var *x)
{
    float *slope = NULL;
    mete_var *y = sloped(tape, x, "sigmoid", &slope);
    for (size_t i = 0; y && i < size_of(x); i++) {
        float v = 1 / (1 + expf(-x->data[i]));
        y->data[i] = v;
        slope[i] = v * (1 - v);
    }
    return y;
}

mete_var *
mete_exp(mete_tape *tape, mete_var *x)
{
    float *slope = NULL;
    mete_var *y = sloped(tape, x, "exp", &slope);
    if (!y)
        return NULL;
    mete__exp(x->data, y->data, size_of(x));
    memcpy(slope, y->data, size_of(x) * sizeof(float));
    return y;
}

mete_var *
mete_square(mete_tape *tape, mete_var *x)
{
    float *slope = NULL;
    mete_var *y = sloped(tape, x, "square", &slope);
    for (size_t i = 0; y && i < size_of(x); i++) {
        y->data[i] = x->data[i] * x->data[i];
        slope[i] = 2 * x->data[i];
    }
    return y;
}

mete_var *
mete_softplus(mete_tape *tape, mete_var *x)
{
    float *slope = NULL;
    mete_var *y = sloped(tape, x, "softplus", &slope);
    for (size_t i = 0; y && i < size_of(x); i++) {
        float v = x->data[i];
        y->data[i] = fmaxf(v, 0) + log1pf(expf(-fabsf(v)));
        slope[i] = 1 / (1 + expf(-v));
    }
    return y;
}

mete_var *
mete_clamp(mete_tape *tape, mete_var *x, float lo, float hi)
{
    float *slope = NULL;
    mete_var *y = sloped(tape, x, "clamp", &slope);
    for (size_t i = 0; y && i < size_of(x); i++) {
        float v = x->data[i];
        y->data[i] = v < lo ? lo : v > hi ? hi : v;
        slope[i] = v >= lo && v <= hi;
    }
    return y;
}

static void
minimum_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    float *da = mete_grad_of(tape, in[0]), *db = mete_grad_of(tape, in[1]);
    (void)memory;
    for (size_t i = 0; i < size_of(y); i++) {
        int first = in[0]->data[i] <= in[1]->data[i];
        if (first && da)
            da[i] += y->grad[i];
        if (!first && db)
            db[i] += y->grad[i];
    }
}

mete_var *
mete_minimum(mete_tape *tape, mete_var *a, mete_var *b)
{
    if (!a || !b || !same(a, b))
        return mete__op_fail(tape, "minimum", a, b);
    mete_var *y = mete__op_new(tape, a->rows, a->columns, minimum_back, a, b, NULL, NULL);
    for (size_t i = 0; y && i < size_of(a); i++)
        y->data[i] = a->data[i] <= b->data[i] ? a->data[i] : b->data[i];
    return y;
}

mete_var *
mete_stop(mete_tape *tape, mete_var *x)
{
    return x ? mete_input(tape, x->data, x->rows, x->columns)
             : mete__op_fail(tape, "stop", NULL, NULL);
}

/* ---- moving things about --------------------------------------------------------------------- */

static void
rows_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const int32_t *index = memory;
    float *dt = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dt && i < y->rows; i++)
        for (size_t k = 0; index[i] >= 0 && k < y->columns; k++)
            dt[(size_t)index[i] * y->columns + k] += y->grad[i * y->columns + k];
}

mete_var *
mete_rows_of(mete_tape *tape, mete_var *table, const int32_t *index, size_t n)
{
    if (!table)
        return mete__op_fail(tape, "rows", NULL, NULL);
    int32_t *kept = mete_tape_take(tape, n * sizeof *kept);
    mete_var *y = mete__op_new(tape, n, table->columns, rows_back, table, NULL, NULL, kept);
    if (!y || !kept)
        return NULL;
    size_t width = table->columns;
    for (size_t i = 0; i < n; i++) {
        kept[i] = index[i];
        if (index[i] >= (int32_t)table->rows)
            return mete__op_fail(tape, "rows: index past the table", NULL, NULL);
        if (index[i] < 0)
            memset(y->data + i * width, 0, width * sizeof(float));
        else
            memcpy(y->data + i * width, table->data + (size_t)index[i] * width,
                   width * sizeof(float));
    }
    return y;
}

struct bag {
    const int32_t *index;
    const uint32_t *offset;
    int mean;
};

static float
bag_share(const struct bag *bag, size_t i)
{
    uint32_t count = bag->offset[i + 1] - bag->offset[i];
    return bag->mean && count ? 1.0f / (float)count : 1.0f;
}

static void
bag_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const struct bag *bag = memory;
    float *dt = mete_grad_of(tape, in[0]);
    size_t width = y->columns;
    for (size_t i = 0; dt && i < y->rows; i++) {
        float share = bag_share(bag, i);
        for (uint32_t j = bag->offset[i]; j < bag->offset[i + 1]; j++)
            for (size_t k = 0; k < width; k++)
                dt[(size_t)bag->index[j] * width + k] += share * y->grad[i * width + k];
    }
}

mete_var *
mete_bag(mete_tape *tape, mete_var *table, const int32_t *index, const uint32_t *offset, size_t n,
         int mean)
{
    if (!table)
        return mete__op_fail(tape, "bag", NULL, NULL);
    struct bag *bag = mete_tape_take(tape, sizeof *bag);
    int32_t *kept = mete_tape_take(tape, (offset[n] + 1) * sizeof *kept);
    uint32_t *begin = mete_tape_take(tape, (n + 1) * sizeof *begin);
    mete_var *y = mete__op_new(tape, n, table->columns, bag_back, table, NULL, NULL, bag);
    if (!y || !bag || !kept || !begin)
        return NULL;
    memcpy(begin, offset, (n + 1) * sizeof *begin);
    for (uint32_t j = offset[0]; j < offset[n]; j++) {
        kept[j] = index[j];
        if (index[j] < 0 || index[j] >= (int32_t)table->rows)
            return mete__op_fail(tape, "bag: index past the table", NULL, NULL);
    }
    *bag = (struct bag){kept, begin, mean};
    size_t width = table->columns;
    memset(y->data, 0, size_of(y) * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        float share = bag_share(bag, i), *row = y->data + i * width;
        for (uint32_t j = begin[i]; j < begin[i + 1]; j++)
            for (size_t k = 0; k < width; k++)
                row[k] += share * table->data[(size_t)kept[j] * width + k];
    }
    return y;
}

static void
concat_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    float *d[] = {mete_grad_of(tape, in[0]), mete_grad_of(tape, in[1])};
    size_t at = 0;
    (void)memory;
    for (int part = 0; part < 2; part++) {
        size_t width = in[part]->columns;
        for (size_t i = 0; d[part] && i < y->rows; i++)
            for (size_t k = 0; k < width; k++)
                d[part][i * width + k] += y->grad[i * y->columns + at + k];
        at += width;
    }
}

mete_var *
mete_concat(mete_tape *tape, mete_var *a, mete_var *b)
{
    if (!a || !b || a->rows != b->rows)
        return mete__op_fail(tape, "concat", a, b);
    size_t width = a->columns + b->columns;
    mete_var *y = mete__op_new(tape, a->rows, width, concat_back, a, b, NULL, NULL);
    for (size_t i = 0; y && i < a->rows; i++) {
        memcpy(y->data + i * width, a->data + i * a->columns, a->columns * sizeof(float));
        memcpy(y->data + i * width + a->columns, b->data + i * b->columns,
               b->columns * sizeof(float));
    }
    return y;
}

static void
columns_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    size_t from = *(const size_t *)memory, width = in[0]->columns;
    float *dx = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dx && i < y->rows; i++)
        for (size_t k = 0; k < y->columns; k++)
            dx[i * width + from + k] += y->grad[i * y->columns + k];
}

mete_var *
mete_columns(mete_tape *tape, mete_var *x, size_t from, size_t count)
{
    if (!x || from + count > x->columns)
        return mete__op_fail(tape, "columns", NULL, NULL);
    size_t *kept = mete_tape_take(tape, sizeof *kept);
    mete_var *y = mete__op_new(tape, x->rows, count, columns_back, x, NULL, NULL, kept);
    if (!y || !kept)
        return NULL;
    *kept = from;
    for (size_t i = 0; i < x->rows; i++)
        memcpy(y->data + i * count, x->data + i * x->columns + from, count * sizeof(float));
    return y;
}

static void
copy_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    float *dx = mete_grad_of(tape, in[0]);
    (void)memory;
    for (size_t i = 0; dx && i < size_of(y); i++)
        dx[i] += y->grad[i];
}

mete_var *
mete_reshape(mete_tape *tape, mete_var *x, size_t rows, size_t columns)
{
    if (!x || rows * columns != size_of(x))
        return mete__op_fail(tape, "reshape", NULL, NULL);
    mete_var *y = mete__op_new(tape, rows, columns, copy_back, x, NULL, NULL, NULL);
    if (y)
        memcpy(y->data, x->data, size_of(x) * sizeof(float));
    return y;
}

/* ---- distributions --------------------------------------------------------------------------- */

/* d x = g - softmax(x) * sum(g), row by row. */
static void
log_softmax_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    float *dx = mete_grad_of(tape, in[0]);
    float *p = dx ? mete_tape_take(tape, y->columns * sizeof *p) : NULL;
    (void)memory;
    for (size_t i = 0; p && i < y->rows; i++) {
        const float *g = y->grad + i * y->columns, *row = y->data + i * y->columns;
        float sum = 0, *to = dx + i * y->columns;
        for (size_t k = 0; k < y->columns; k++)
            sum += g[k];
        mete__exp(row, p, y->columns);
        for (size_t k = 0; k < y->columns; k++)
            to[k] += row[k] > -1e29f ? g[k] - p[k] * sum : 0;
    }
}

mete_var *
mete_log_softmax(mete_tape *tape, mete_var *x, const uint8_t *mask)
{
    mete_var *y = x ? mete__op_new(tape, x->rows, x->columns, log_softmax_back, x, NULL, NULL, NULL)
                    : mete__op_fail(tape, "log_softmax", NULL, NULL);
    if (!y)
        return NULL;
    memcpy(y->data, x->data, size_of(x) * sizeof(float));
    mete_log_softmax_run(y->data, y->rows, y->columns, mask);
    return y;
}

static void
pick_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const int32_t *index = memory;
    float *dx = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dx && i < y->rows; i++)
        dx[i * in[0]->columns + (size_t)index[i]] += y->grad[i];
}

mete_var *
mete_pick(mete_tape *tape, mete_var *x, const int32_t *index)
{
    if (!x)
        return mete__op_fail(tape, "pick", NULL, NULL);
    int32_t *kept = mete_tape_take(tape, x->rows * sizeof *kept);
    mete_var *y = mete__op_new(tape, x->rows, 1, pick_back, x, NULL, NULL, kept);
    if (!y || !kept)
        return NULL;
    for (size_t i = 0; i < x->rows; i++) {
        if (index[i] < 0 || (size_t)index[i] >= x->columns)
            return mete__op_fail(tape, "pick: index past the row", NULL, NULL);
        kept[i] = index[i];
        y->data[i] = x->data[i * x->columns + (size_t)index[i]];
    }
    return y;
}

/* H = -sum p log p with p = exp(logp): dH/dlogp = -p (logp + 1). */
static void
entropy_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const float *p = memory;
    const mete_var *x = in[0];
    float *dx = mete_grad_of(tape, in[0]);
    for (size_t i = 0; dx && i < x->rows; i++)
        for (size_t k = i * x->columns; k < (i + 1) * x->columns; k++)
            dx[k] -= p[k] > 0 ? y->grad[i] * p[k] * (x->data[k] + 1) : 0;
}

mete_var *
mete_entropy(mete_tape *tape, mete_var *logp)
{
    if (!logp)
        return mete__op_fail(tape, "entropy", NULL, NULL);
    float *p = mete_tape_take(tape, size_of(logp) * sizeof *p);
    mete_var *y = mete__op_new(tape, logp->rows, 1, entropy_back, logp, NULL, NULL, p);
    if (!y || !p)
        return NULL;
    mete__exp(logp->data, p, size_of(logp));
    for (size_t i = 0; i < logp->rows; i++) {
        double sum = 0;
        for (size_t k = i * logp->columns; k < (i + 1) * logp->columns; k++)
            sum -= p[k] > 0 ? (double)p[k] * (double)logp->data[k] : 0;
        y->data[i] = (float)sum;
    }
    return y;
}

static void
normal_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const mete_var *mean = in[0], *sd = in[1];
    const float *z = memory;
    float *dm = mete_grad_of(tape, in[0]), *ds = mete_grad_of(tape, in[1]);
    for (size_t i = 0; i < mean->rows; i++)
        for (size_t k = 0; k < mean->columns; k++) {
            size_t at = i * mean->columns + k, s = sd->rows == 1 ? k : at;
            if (dm)
                dm[at] += y->grad[i] * z[at] * expf(-sd->data[s]);
            if (ds)
                ds[s] += y->grad[i] * (z[at] * z[at] - 1);
        }
}

mete_var *
mete_normal_logp(mete_tape *tape, mete_var *mean, mete_var *log_sd, const float *action)
{
    if (!mean || !log_sd || !spreads(mean, log_sd))
        return mete__op_fail(tape, "normal_logp", mean, log_sd);
    float *z = mete_tape_take(tape, size_of(mean) * sizeof *z);
    mete_var *y = mete__op_new(tape, mean->rows, 1, normal_back, mean, log_sd, NULL, z);
    if (!y || !z)
        return NULL;
    for (size_t i = 0; i < mean->rows; i++) {
        double sum = 0;
        for (size_t k = 0; k < mean->columns; k++) {
            size_t at = i * mean->columns + k, s = log_sd->rows == 1 ? k : at;
            z[at] = (action[at] - mean->data[at]) * expf(-log_sd->data[s]);
            sum -= 0.5 * (double)z[at] * (double)z[at] + (double)log_sd->data[s] +
                   0.91893853320467274178; /* log sqrt 2 pi */
        }
        y->data[i] = (float)sum;
    }
    return y;
}

/* ---- sums --------------------------------------------------------------------------------- */

static void
sum_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    float *dx = mete_grad_of(tape, in[0]);
    (void)memory;
    for (size_t i = 0; dx && i < size_of(in[0]); i++)
        dx[i] += y->grad[i / in[0]->columns];
}

mete_var *
mete_sum_columns(mete_tape *tape, mete_var *x)
{
    mete_var *y = x ? mete__op_new(tape, x->rows, 1, sum_back, x, NULL, NULL, NULL)
                    : mete__op_fail(tape, "sum_columns", NULL, NULL);
    for (size_t i = 0; y && i < x->rows; i++) {
        double sum = 0;
        for (size_t k = 0; k < x->columns; k++)
            sum += (double)x->data[i * x->columns + k];
        y->data[i] = (float)sum;
    }
    return y;
}

static void
mean_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    float *dx = mete_grad_of(tape, in[0]);
    (void)memory;
    for (size_t i = 0; dx && i < size_of(in[0]); i++)
        dx[i] += y->grad[0] / (float)size_of(in[0]);
}

mete_var *
mete_mean(mete_tape *tape, mete_var *x)
{
    mete_var *y = x && size_of(x) ? mete__op_new(tape, 1, 1, mean_back, x, NULL, NULL, NULL)
                                  : mete__op_fail(tape, "mean", NULL, NULL);
    if (!y)
        return NULL;
    double sum = 0;
    for (size_t i = 0; i < size_of(x); i++)
        sum += (double)x->data[i];
    y->data[0] = (float)(sum / (double)size_of(x));
    return y;
}
