/* schedule.h - numbers that change over a run: { from; to; over; shape; start; }. */
#ifndef METE_NN_SCHEDULE_H
#define METE_NN_SCHEDULE_H

#include "engine/config.h"

typedef enum mete__shape_kind {
    METE__SHAPE_LINEAR,
    METE__SHAPE_COSINE,      /* half a cosine from `from` to `to` */
    METE__SHAPE_EXPONENTIAL, /* geometric; both ends of one sign and not 0 */
    METE__SHAPE_STEP         /* `from` until start + over, then `to` */
} mete__shape_kind;

/* The value is `from` until iteration `start`, moves to `to` over `over` iterations, and stays. */
typedef struct mete__schedule {
    double from, to, over, start;
    mete__shape_kind shape;
} mete__schedule;

/* Reads a number (constant) or a group; METE_OK, or METE_EINVAL with errors added. */
int mete__schedule_read(mete__value *value, mete__schedule *out, mete__errors *errors);
mete__schedule mete__schedule_constant(double value);
double mete__schedule_at(const mete__schedule *schedule, double iteration);

#endif
