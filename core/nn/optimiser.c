/* optimiser.c - SGD, Adam, AdamW; see optimiser.h. */
#include "nn/optimiser.h"

#include <math.h>
#include <stdlib.h>

int
mete__optimiser_init(mete__optimiser *optimiser, size_t count, mete_error *err)
{
    optimiser->count = count;
    optimiser->t = 0;
    optimiser->m = calloc(count + 1, sizeof(float));
    optimiser->v = calloc(count + 1, sizeof(float));
    if (optimiser->m && optimiser->v)
        return METE_OK;
    mete__optimiser_free(optimiser);
    return mete_error_set(err, METE_ENOMEM, "out of memory for the moments of %zu parameters",
                          count);
}

void
mete__optimiser_free(mete__optimiser *optimiser)
{
    free(optimiser->m);
    free(optimiser->v);
    optimiser->m = optimiser->v = NULL;
}

/* Sum of squares in 16 partial sums of a fixed order, so that it vectorises with the same bits. */
METE_WIDE static double
sum_squares(const float *x, size_t n)
{
    double part[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k++)
            part[k] += (double)x[i + k] * (double)x[i + k];
    for (; i < n; i++)
        part[i & 15] += (double)x[i] * (double)x[i];
    double sum = 0;
    for (size_t k = 0; k < 16; k++)
        sum += part[k];
    return sum;
}

METE_WIDE static void
sgd(float *restrict p, const float *restrict g, float *restrict m, size_t n, float scale,
    float rate, float momentum, float decay)
{
    for (size_t i = 0; i < n; i++) {
        float grad = scale * g[i] + decay * p[i];
        m[i] = momentum * m[i] + grad;
        p[i] -= rate * m[i];
    }
}

/* rate includes the bias correction of the first moment, root that of the second. */
METE_WIDE static void
adam(float *restrict p, const float *restrict g, float *restrict m, float *restrict v, size_t n,
     float scale, float rate, float root, float b1, float b2, float epsilon, float coupled,
     float decoupled)
{
    for (size_t i = 0; i < n; i++) {
        float grad = scale * g[i] + coupled * p[i];
        m[i] = b1 * m[i] + (1 - b1) * grad;
        v[i] = b2 * v[i] + (1 - b2) * grad * grad;
        p[i] -= decoupled * p[i] + rate * m[i] / (sqrtf(v[i]) * root + epsilon);
    }
}

int
mete__optimiser_step(mete__optimiser *o, float *parameter, float *grad, double rate, double *norm,
                     mete_error *err)
{
    *norm = sqrt(sum_squares(grad, o->count));
    if (!isfinite(*norm))
        return mete_error_set(err, METE_EPLUGIN,
                              "the gradient is not finite (norm %g); the step was not taken",
                              *norm);
    double scale = o->clip_norm > 0 && *norm > o->clip_norm ? o->clip_norm / *norm : 1;
    o->t++;
    if (o->kind == METE__SGD) {
        sgd(parameter, grad, o->m, o->count, (float)scale, (float)rate, (float)o->beta1,
            (float)o->weight_decay);
        return METE_OK;
    }
    double first = 1 - pow(o->beta1, (double)o->t), second = 1 - pow(o->beta2, (double)o->t);
    int decoupled = o->kind == METE__ADAMW;
    adam(parameter, grad, o->m, o->v, o->count, (float)scale, (float)(rate / first),
         (float)(1 / sqrt(second)), (float)o->beta1, (float)o->beta2, (float)o->epsilon,
         decoupled ? 0 : (float)o->weight_decay, decoupled ? (float)(rate * o->weight_decay) : 0);
    return METE_OK;
}
