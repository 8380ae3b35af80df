/* terms.c - losses of ratings, their slopes, and what is expected. */
#include "rating_model.h"

#include <math.h>

static double
sigmoid(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* Shares of the levels into p [levels]; returns the logarithm of what they were divided by. */
static double
shares(size_t levels, const double *out, const double *offset, double *p)
{
    double most = -INFINITY, sum = 0;
    for (size_t k = 0; k < levels; k++)
        most = fmax(most, out[k] + offset[k]);
    for (size_t k = 0; k < levels; k++)
        sum += p[k] = exp(out[k] + offset[k] - most);
    for (size_t k = 0; k < levels; k++)
        p[k] /= sum;
    return most + log(sum);
}

static double
distribution_loss(size_t levels, const double *out, const double *offset, double at,
                  double *out_slope, double *offset_slope)
{
    double p[LEVELS_MOST], loss = shares(levels, out, offset, p);
    for (size_t k = 0; k < levels; k++) {
        double target = fmax(0, 1 - fabs(at - (double)k));
        loss -= target > 0 ? target * (out[k] + offset[k]) : 0;
        out_slope[k] = offset_slope[k] = p[k] - target;
    }
    return loss;
}

static double
ordinal_loss(size_t levels, double out, const double *offset, double at, double *out_slope,
             double *offset_slope)
{
    double loss = 0;
    *out_slope = 0;
    for (size_t k = 0; k + 1 < levels; k++) {
        double z = out + offset[k], target = fmin(1, fmax(0, at - (double)k));
        loss += fmax(z, 0) - z * target + log1p(exp(-fabs(z)));
        offset_slope[k] = sigmoid(z) - target;
        *out_slope += offset_slope[k];
    }
    return loss;
}

double
rating_loss(int kind, size_t levels, const double *out, const double *offset, double share,
            double *out_slope, double *offset_slope)
{
    double at = share * (double)(levels - 1);
    if (kind == KIND_DISTRIBUTION)
        return distribution_loss(levels, out, offset, at, out_slope, offset_slope);
    if (kind == KIND_ORDINAL)
        return ordinal_loss(levels, *out, offset, at, out_slope, offset_slope);
    *out_slope = *offset_slope = *out + *offset - share;
    return .5 * *out_slope * *out_slope;
}

double
rating_mean(int kind, size_t levels, const double *out, const double *offset, double *variance)
{
    double p[LEVELS_MOST], mean = 0, square = 0, most = (double)(levels - 1);
    *variance = 0;
    if (kind == KIND_REGRESSION)
        return *out + *offset;
    if (kind == KIND_ORDINAL) {
        for (size_t k = 0; k + 1 < levels; k++)
            mean += sigmoid(*out + offset[k]) / most;
        return mean;
    }
    shares(levels, out, offset, p);
    for (size_t k = 0; k < levels; k++) {
        mean += p[k] * (double)k / most;
        square += p[k] * ((double)k / most) * ((double)k / most);
    }
    *variance = fmax(0, square - mean * mean);
    return mean;
}
