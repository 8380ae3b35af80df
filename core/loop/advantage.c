#include "loop/advantage.h"

#include <math.h>

/* Spread below this share of the values' size is rounding, not signal. */
#define NO_SPREAD 1e-9

void
mete__returns(const mete_batch *batch, const double *reward, double gamma, const double *last,
              double *out)
{
    for (size_t i = 0; i < batch->episodes; i++) {
        double next = last && !batch->terminated[i] ? last[i] : 0;
        for (size_t t = batch->step_begin[i + 1]; t-- > batch->step_begin[i];)
            out[t] = next = reward[t] + gamma * next;
    }
}

void
mete__gae(const mete_batch *batch, const double *reward, const double *value, const double *last,
          double gamma, double lambda, double *advantage, double *target)
{
    for (size_t i = 0; i < batch->episodes; i++) {
        double next = batch->terminated[i] ? 0 : last[i], ahead = 0;
        for (size_t t = batch->step_begin[i + 1]; t-- > batch->step_begin[i];) {
            ahead = reward[t] + gamma * next - value[t] + gamma * lambda * ahead;
            advantage[t] = ahead;
            target[t] = ahead + value[t];
            next = value[t];
        }
    }
}

/* Count, mean and sample standard deviation of a group's valid rows. */
static size_t
moments(const double *value, const uint8_t *valid, size_t from, size_t to, double *mean, double *sd)
{
    size_t count = 0;
    double sum = 0, square = 0, largest = 0;
    for (size_t i = from; i < to; i++)
        if (valid[i]) {
            sum += value[i];
            count++;
            largest = fmax(largest, fabs(value[i]));
        }
    *mean = count ? sum / (double)count : 0;
    for (size_t i = from; i < to; i++)
        if (valid[i])
            square += (value[i] - *mean) * (value[i] - *mean);
    *sd = count > 1 ? sqrt(square / (double)(count - 1)) : 0;
    if (*sd <= NO_SPREAD * largest)
        *sd = 0;
    return count;
}

/* Both baselines: the group's mean, or with `others` the mean of the other rows, which is the same
 * difference times n / (n - 1). `part` (NULL: the value itself) is what is centred. */
static size_t
relative(const mete_batch *batch, const double *value, const double *part, const uint8_t *valid,
         bool divide, double epsilon, bool others, double *out, uint8_t *flat)
{
    size_t without = 0;
    for (size_t g = 0; g < batch->groups; g++) {
        size_t from = batch->group[g], to = batch->group[g + 1];
        double mean, sd, own_sd;
        size_t count = moments(value, valid, from, to, &mean, &sd);
        const double *centred = part ? part : value;
        if (part)
            moments(part, valid, from, to, &mean, &own_sd);
        double scale = divide ? 1 / (sd + epsilon) : 1;
        if (others && count > 1)
            scale *= (double)count / (double)(count - 1);
        without += count > 0 && sd == 0;
        for (size_t i = from; i < to; i++) {
            out[i] = valid[i] && sd > 0 ? scale * (centred[i] - mean) : 0;
            if (flat)
                flat[i] = sd == 0;
        }
    }
    return without;
}

size_t
mete__group_relative(const mete_batch *batch, const double *value, const uint8_t *valid,
                     bool divide, double epsilon, double *out, uint8_t *flat)
{
    return relative(batch, value, NULL, valid, divide, epsilon, false, out, flat);
}

size_t
mete__leave_one_out(const mete_batch *batch, const double *value, const uint8_t *valid, bool divide,
                    double epsilon, double *out, uint8_t *flat)
{
    return relative(batch, value, NULL, valid, divide, epsilon, true, out, flat);
}

void
mete__group_part(const mete_batch *batch, const double *whole, const double *part,
                 const uint8_t *valid, bool divide, double epsilon, bool others, double *out)
{
    relative(batch, whole, part, valid, divide, epsilon, others, out, NULL);
}

void
mete__normalise(double *advantage, const uint8_t *use, size_t steps, double epsilon)
{
    double sum = 0, square = 0;
    size_t count = 0;
    for (size_t t = 0; t < steps; t++)
        if (use[t]) {
            sum += advantage[t];
            count++;
        }
    if (count < 2)
        return;
    double mean = sum / (double)count;
    for (size_t t = 0; t < steps; t++)
        if (use[t])
            square += (advantage[t] - mean) * (advantage[t] - mean);
    double sd = sqrt(square / (double)(count - 1));
    for (size_t t = 0; t < steps; t++)
        if (use[t])
            advantage[t] = (advantage[t] - mean) / (sd + epsilon);
}
