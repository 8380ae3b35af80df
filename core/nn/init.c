/* init.c - how parameters start. */
#include "nn/nn.h"

#include <math.h>
#include <stdlib.h>

/* Rows (or columns, when there are more rows) orthonormal: Gram-Schmidt, twice, of normal draws, as
 * Saxe et al. 2014 want by QR; signs come with the draws. */
static void
orthogonal(double gain, mete_rng *rng, size_t rows, size_t columns, float *out)
{
    size_t count = rows < columns ? rows : columns, length = rows < columns ? columns : rows;
    double *q = malloc(count * length * sizeof *q);
    for (size_t i = 0; q && i < count; i++) {
        double *v = q + i * length, norm = 0;
        for (size_t k = 0; k < length; k++)
            v[k] = mete_rng_normal(rng);
        for (int pass = 0; pass < 2; pass++)
            for (size_t j = 0; j < i; j++) {
                double dot = 0;
                for (size_t k = 0; k < length; k++)
                    dot += v[k] * q[j * length + k];
                for (size_t k = 0; k < length; k++)
                    v[k] -= dot * q[j * length + k];
            }
        for (size_t k = 0; k < length; k++)
            norm += v[k] * v[k];
        norm = sqrt(norm);
        for (size_t k = 0; k < length; k++)
            v[k] /= norm > 0 ? norm : 1;
    }
    for (size_t r = 0; q && r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            out[r * columns + c] =
                (float)(gain * (rows < columns ? q[r * length + c] : q[c * length + r]));
    free(q);
}

void
mete_init_fill(mete_init init, double gain, mete_rng *rng, size_t rows, size_t columns, float *out)
{
    size_t n = rows * columns;
    if (init == METE_INIT_ORTHOGONAL) {
        orthogonal(gain, rng, rows, columns, out);
        return;
    }
    double reach = gain / sqrt((double)columns);
    for (size_t i = 0; i < n; i++)
        switch (init) {
        case METE_INIT_CONSTANT:
            out[i] = (float)gain;
            break;
        case METE_INIT_NORMAL:
            out[i] = (float)(gain * mete_rng_normal(rng));
            break;
        case METE_INIT_UNIFORM:
            out[i] = (float)(reach * (2 * mete_rng_uniform(rng) - 1));
            break;
        default:
            out[i] = 0;
        }
}
