/* tape.h - the tape's inside, for the files that implement operations. */
#ifndef METE_NN_TAPE_H
#define METE_NN_TAPE_H

#include "base/arena.h"
#include "nn/nn.h"

#define METE__INPUTS 4

/* A recorded operation: its result first, so a mete_var * leads back to it. */
typedef struct mete__op {
    mete_var var;
    mete_back back; /* NULL: a leaf */
    mete_var *input[METE__INPUTS];
    void *memory;
    size_t offset;           /* of a parameter in the flat vector */
    unsigned char wants;     /* a gradient flows through here */
    unsigned char parameter; /* its gradient goes to the flat vector */
    struct mete__op *before; /* the one recorded before it */
} mete__op;

struct mete_tape {
    mete__arena *arena;
    mete__op *last;
    mete_error err;
    void *kept;
    float *flat; /* gradient vector while backward runs */
};

/* A new result that depends on the inputs (at most 4, NULL-ended before that). NULL after an
 * error. Data is not initialised. */
mete_var *mete__op_new(mete_tape *tape, size_t rows, size_t columns, mete_back back, mete_var *a,
                       mete_var *b, mete_var *c, void *memory);
/* Gives y, just made, a fourth input (NULL: none). */
void mete__op_fourth(mete_var *y, mete_var *input);
/* offset [sequences + 1] cuts exactly n rows into sequences: it starts at 0, never falls, ends at
 * n. */
int mete__packs(const uint32_t *offset, size_t sequences, size_t n);
size_t mete__longest(const uint32_t *offset, size_t sequences);
/* Records that shapes do not fit; NULL. */
mete_var *mete__op_fail(mete_tape *tape, const char *what, const mete_var *a, const mete_var *b);

#endif
