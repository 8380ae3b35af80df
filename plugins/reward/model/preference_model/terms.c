/* terms.c - losses of pairs and penalties over a minibatch, each with its slope. */
#include "preference_model.h"

#include <math.h>

double
log1p_exp(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double
sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* The loss where a is preferred for certain; *slope by d. */
static double
one_sided(const struct preference_model *p, double d, double *slope)
{
    double s = sigmoid(d), nll = log1p_exp(-d);
    switch (p->loss) {
    case LOSS_FOCAL: {
        /* -(1 - 2 max(0, s - 1/2))^focal log s (InternLM2; Cai et al. 2024) */
        if (s <= .5) {
            *slope = s - 1;
            return nll;
        }
        double base = 2 * (1 - s), factor = pow(base, p->focal);
        *slope = p->focal * pow(base, p->focal - 1) * (-2 * s * (1 - s)) * nll + factor * (s - 1);
        return factor * nll;
    }
    case LOSS_HINGE:
        *slope = d < 1 ? -1 : 0;
        return d < 1 ? 1 - d : 0;
    case LOSS_BRIER:
        *slope = 2 * (s - 1) * s * (1 - s);
        return (1 - s) * (1 - s);
    default:
        *slope = s - 1;
        return nll;
    }
}

/* Models with ties: P(a), P(b), P(tie) from d. Preferred with chance 1, 1/2 and 0 mean a, tie, b;
 * chances between are mixtures of the nearest two. */
static double
with_ties(const struct preference_model *p, double d, double chance, double *slope)
{
    double tied = 1 - fabs(2 * chance - 1), won = fmax(2 * chance - 1, 0),
           lost = fmax(1 - 2 * chance, 0);
    if (p->loss == LOSS_DAVIDSON) {
        /* P(a) = e^(d/2) / z, P(tie) = tie / z, z = e^(d/2) + e^(-d/2) + tie (Davidson 1970) */
        double up = exp(d / 2 - fabs(d) / 2), down = exp(-d / 2 - fabs(d) / 2),
               tie = p->tie * exp(-fabs(d) / 2), z = up + down + tie;
        *slope = .5 * (up - down) / z - .5 * (won - lost);
        return log(z) + fabs(d) / 2 - .5 * d * (won - lost) - (tied > 0 ? tied * log(p->tie) : 0);
    }
    /* P(a) = sigma(d - tie), P(b) = sigma(-d - tie), P(tie) = the rest
     *      = (e^(2 tie) - 1) P(a) P(b) (Rao & Kupper 1967, theta = e^tie) */
    double a = log1p_exp(p->tie - d), b = log1p_exp(p->tie + d);
    double slope_a = sigmoid(d - p->tie) - 1, slope_b = 1 - sigmoid(-d - p->tie);
    double value = (won + tied) * a + (lost + tied) * b;
    *slope = (won + tied) * slope_a + (lost + tied) * slope_b;
    return value - (tied > 0 ? tied * log(expm1(2 * p->tie)) : 0);
}

double
pair_loss(const struct preference_model *p, double d, double chance, double margin, double *slope)
{
    double scale = p->margin_as == MARGIN_SCALE && margin > 0 ? margin : 1;
    double shift = p->margin_as == MARGIN_SHIFT ? margin : 0, first, second, value;
    if (p->loss == LOSS_DAVIDSON || p->loss == LOSS_RAO_KUPPER) {
        value = with_ties(p, d, chance, slope);
    } else {
        double a = one_sided(p, d - shift, &first), b = one_sided(p, -d - shift, &second);
        value = chance * a + (1 - chance) * b;
        *slope = chance * first - (1 - chance) * second;
    }
    *slope *= scale;
    return scale * value;
}

static void
moments(const double *x, size_t n, double *mean, double *sd)
{
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    *mean = n ? sum / (double)n : 0;
    for (size_t i = 0; i < n; i++)
        square += (x[i] - *mean) * (x[i] - *mean);
    *sd = n ? sqrt(square / (double)n) : 0;
}

double
correlation_term(const double *x, const double *z, size_t n, int absolute, double weight,
                 double *slope)
{
    double x_mean, x_sd, z_mean, z_sd, r = 0;
    moments(x, n, &x_mean, &x_sd);
    moments(z, n, &z_mean, &z_sd);
    if (!(x_sd > 1e-12) || !(z_sd > 1e-12))
        return 0;
    for (size_t i = 0; i < n; i++)
        r += (x[i] - x_mean) / x_sd * ((z[i] - z_mean) / z_sd) / (double)n;
    double sign = absolute && r < 0 ? -1 : 1;
    for (size_t i = 0; i < n; i++)
        slope[i] += weight * sign / ((double)n * x_sd) *
                    ((z[i] - z_mean) / z_sd - r * (x[i] - x_mean) / x_sd);
    return sign * r;
}

/* bin[i] from 0: quantiles of z, equal values together. O(n^2), as the kernel is. */
static void
bins_of(const double *z, size_t n, size_t bins, uint32_t *bin)
{
    for (size_t i = 0; i < n; i++) {
        size_t below = 0;
        for (size_t j = 0; j < n; j++)
            below += z[j] < z[i];
        bin[i] = (uint32_t)(below * bins / n);
    }
}

double
mmd_term(const double *x, const double *z, size_t n, size_t bins, double bandwidth, double weight,
         uint32_t *rank, double *slope)
{
    enum { MOST = 64 };
    double mean, sd, value = 0, count[MOST] = {0};
    moments(x, n, &mean, &sd);
    if (!(sd > 1e-12))
        return 0;
    bins_of(z, n, bins, rank);
    for (size_t i = 0; i < n; i++)
        count[rank[i]]++;
    double used = 0, width = bandwidth * sd;
    for (size_t k = 0; k < bins; k++)
        used += count[k] > 0;
    /* sum over pairs of bins of (mean k within k + mean k within l - 2 mean k between): a row pair
     * within a bin counts for every other bin */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double u = (x[i] - x[j]) / width, k = exp(-.5 * u * u);
            double c = rank[i] == rank[j] ? (used - 1) / (count[rank[i]] * count[rank[i]])
                                          : -1 / (count[rank[i]] * count[rank[j]]);
            value += c * k;
            slope[i] -= weight * 2 * c * k * u / width;
        }
    return value;
}

double
class_term(const double *out, size_t n, size_t is, double weight, double *slope)
{
    double most = out[0], sum = 0;
    for (size_t k = 1; k < n; k++)
        most = fmax(most, out[k]);
    for (size_t k = 0; k < n; k++)
        sum += exp(out[k] - most);
    for (size_t k = 0; k < n; k++)
        slope[k] += weight * (exp(out[k] - most) / sum - (k == is));
    return weight * (log(sum) + most - out[is]);
}

double
calibrate(const double *d, const double *chance, size_t n)
{
    const double most = 100;
    double lo = .01, hi = most;
    /* the derivative, sum of (sigma(t d) - chance) d, rises with t */
    for (int k = 0; k < 60; k++) {
        double t = .5 * (lo + hi), slope = 0;
        for (size_t i = 0; i < n; i++)
            slope += (sigmoid(t * d[i]) - chance[i]) * d[i];
        if (slope < 0)
            lo = t;
        else
            hi = t;
    }
    return .5 * (lo + hi);
}
