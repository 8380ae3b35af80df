/* schedule.c - see schedule.h. */
#include "nn/schedule.h"

#include <math.h>

mete__schedule
mete__schedule_constant(double value)
{
    return (mete__schedule){.from = value, .to = value, .over = 1};
}

int
mete__schedule_read(mete__value *value, mete__schedule *out, mete__errors *errors)
{
    size_t before = errors->count;
    value->used = true;
    *out = mete__schedule_constant(value->real);
    if (value->kind == METE__INT || value->kind == METE__REAL)
        return METE_OK;
    if (value->kind != METE__GROUP) {
        mete__errors_add(errors,
                         "%s:%d: %s must be a number or a schedule { from; to; over; shape; }",
                         value->file, value->line, value->path);
        return METE_EINVAL;
    }
    if (!mete__value_get(value, "from") || !mete__value_get(value, "to") ||
        !mete__value_get(value, "over"))
        mete__errors_add(errors, "%s:%d: %s: a schedule needs from, to and over", value->file,
                         value->line, value->path);
    out->from = mete__value_real(value, "from", 0, -1e300, 1e300, errors);
    out->to = mete__value_real(value, "to", 0, -1e300, 1e300, errors);
    out->over = mete__value_real(value, "over", 1, 1e-9, 1e15, errors);
    out->start = mete__value_real(value, "start", 0, 0, 1e15, errors);
    out->shape = (mete__shape_kind)mete__value_enum(value, "shape", METE__SHAPE_LINEAR,
                                                    "linear|cosine|exponential|step", errors);
    mete__value_unknown(value, "from to over start shape", errors);
    if (out->shape == METE__SHAPE_EXPONENTIAL && !(out->from * out->to > 0))
        mete__errors_add(errors, "%s:%d: %s: an exponential schedule needs ends of one sign, not 0",
                         value->file, value->line, value->path);
    return errors->count == before ? METE_OK : METE_EINVAL;
}

double
mete__schedule_at(const mete__schedule *s, double iteration)
{
    double u = (iteration - s->start) / s->over;
    u = u < 0 ? 0 : u > 1 ? 1 : u;
    switch (s->shape) {
    case METE__SHAPE_COSINE:
        return s->to + (s->from - s->to) * 0.5 * (1 + cos(3.14159265358979323846 * u));
    case METE__SHAPE_EXPONENTIAL:
        return s->from * pow(s->to / s->from, u);
    case METE__SHAPE_STEP:
        return u < 1 ? s->from : s->to;
    default:
        return u < 1 ? s->from + (s->to - s->from) * u : s->to;
    }
}
