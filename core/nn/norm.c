/* norm.c - layer normalisation and root-mean-square normalisation, row by row. */
#include "nn/tape.h"

#include <math.h>
#include <string.h>

#define EPSILON 1e-5 /* of layer_norm */

/* ---- layer_norm ------------------------------------------------------------------------------ */

static float
mean_of(const float *row, size_t width)
{
    double sum = 0;
    for (size_t k = 0; k < width; k++)
        sum += (double)row[k];
    return (float)(sum / (double)width);
}

/* z = (x - mean) / sd; returns 1 / sd. */
static float
standardise(const float *row, size_t width, float *z)
{
    float mean = mean_of(row, width);
    double var = 0;
    for (size_t k = 0; k < width; k++)
        var += ((double)row[k] - (double)mean) * ((double)row[k] - (double)mean);
    float inverse = (float)(1 / sqrt(var / (double)width + EPSILON));
    for (size_t k = 0; k < width; k++)
        z[k] = (row[k] - mean) * inverse;
    return inverse;
}

void
mete_layer_norm_run(const float *x, size_t rows, size_t columns, const float *gain,
                    const float *bias, float *out)
{
    for (size_t i = 0; i < rows; i++) {
        float *row = out + i * columns;
        standardise(x + i * columns, columns, row);
        for (size_t k = 0; k < columns; k++)
            row[k] = row[k] * gain[k] + bias[k];
    }
}

METE_WIDE static void
layer_norm_row(const float *restrict g, const float *restrict gain, const float *restrict z,
               float inverse, size_t width, float *restrict dx)
{
    float mean[16] = {0}, along[16] = {0}, means = 0, alongs = 0;
    for (size_t k = 0; k < width; k++) {
        mean[k & 15] += g[k] * gain[k];
        along[k & 15] += g[k] * gain[k] * z[k];
    }
    for (size_t k = 0; k < 16; k++) {
        means += mean[k];
        alongs += along[k];
    }
    means /= (float)width;
    alongs /= (float)width;
    for (size_t k = 0; k < width; k++)
        dx[k] += inverse * (g[k] * gain[k] - means - z[k] * alongs);
}

static void
layer_norm_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const float *z = memory; /* normalised x, then 1/sd of each row */
    size_t width = y->columns;
    const float *inverse = z + y->rows * width;
    float *dx = mete_grad_of(tape, in[0]), *dg = mete_grad_of(tape, in[1]);
    float *db = mete_grad_of(tape, in[2]);
    for (size_t i = 0; i < y->rows; i++) {
        const float *g = y->grad + i * width, *row = z + i * width;
        for (size_t k = 0; dg && k < width; k++)
            dg[k] += g[k] * row[k];
        for (size_t k = 0; db && k < width; k++)
            db[k] += g[k];
        if (dx)
            layer_norm_row(g, in[1]->data, row, inverse[i], width, dx + i * width);
    }
}

mete_var *
mete_layer_norm(mete_tape *tape, mete_var *x, mete_var *gain, mete_var *bias)
{
    if (!x || !gain || !bias || gain->rows * gain->columns != x->columns ||
        bias->rows * bias->columns != x->columns)
        return mete__op_fail(tape, "layer_norm", x, gain);
    size_t width = x->columns;
    float *z = mete_tape_take(tape, (x->rows * width + x->rows) * sizeof *z);
    mete_var *y = mete__op_new(tape, x->rows, width, layer_norm_back, x, gain, bias, z);
    if (!y || !z)
        return NULL;
    for (size_t i = 0; i < x->rows; i++) {
        float *row = z + i * width;
        z[x->rows * width + i] = standardise(x->data + i * width, width, row);
        for (size_t k = 0; k < width; k++)
            y->data[i * width + k] = row[k] * gain->data[k] + bias->data[k];
    }
    return y;
}

/* ---- rms_norm -------------------------------------------------------------------------------- */

static float
inverse_rms(const float *row, size_t width, float epsilon)
{
    return 1 / sqrtf(mete__dot(row, row, width) / (float)width + epsilon);
}

METE_WIDE static void
scale_row(const float *restrict x, float inverse, const float *restrict gain, size_t width,
          float *restrict out)
{
    for (size_t k = 0; k < width; k++)
        out[k] = x[k] * inverse * gain[k];
}

void
mete_rms_norm_run(const float *x, size_t rows, size_t columns, const float *gain, float epsilon,
                  float *out)
{
    for (size_t i = 0; i < rows; i++) {
        const float *row = x + i * columns;
        scale_row(row, inverse_rms(row, columns, epsilon), gain, columns, out + i * columns);
    }
}

/* With z = x/rms: dx = (g gain - z mean(g gain z)) / rms, d gain = g z. */
static void
rms_norm_back(mete_tape *tape, mete_var *y, mete_var *const *in, void *memory)
{
    const float *inverse = memory; /* 1/rms of each row */
    size_t width = y->columns;
    float *dx = mete_grad_of(tape, in[0]), *dg = mete_grad_of(tape, in[1]);
    const float *gain = in[1]->data;
    float *weighed = mete_tape_take(tape, width * sizeof *weighed);
    for (size_t i = 0; weighed && i < y->rows; i++) {
        const float *g = y->grad + i * width, *x = in[0]->data + i * width;
        for (size_t k = 0; dg && k < width; k++)
            dg[k] += g[k] * x[k] * inverse[i];
        for (size_t k = 0; k < width; k++)
            weighed[k] = g[k] * gain[k];
        float along = mete__dot(weighed, x, width) * inverse[i] * inverse[i] / (float)width;
        for (size_t k = 0; dx && k < width; k++)
            dx[i * width + k] += inverse[i] * (weighed[k] - x[k] * along);
    }
}

mete_var *
mete_rms_norm(mete_tape *tape, mete_var *x, mete_var *gain, float epsilon)
{
    if (!x || !gain || gain->rows * gain->columns != x->columns)
        return mete__op_fail(tape, "rms_norm", x, gain);
    size_t width = x->columns;
    float *inverse = mete_tape_take(tape, (x->rows + 1) * sizeof *inverse);
    mete_var *y = mete__op_new(tape, x->rows, width, rms_norm_back, x, gain, NULL, inverse);
    if (!y || !inverse)
        return NULL;
    for (size_t i = 0; i < x->rows; i++) {
        const float *row = x->data + i * width;
        inverse[i] = inverse_rms(row, width, epsilon);
        scale_row(row, inverse[i], gain->data, width, y->data + i * width);
    }
    return y;
}
