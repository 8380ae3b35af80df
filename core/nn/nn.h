/* nn/nn.h - what the rest of the core asks of nn beside the public header. */
#ifndef METE_NN_NN_H
#define METE_NN_NN_H

#include <mete/nn.h>

/* OpenBLAS on one thread, so that results do not depend on the machine's cores, and with kernels
 * for the instructions the processor has; idempotent. */
void mete__nn_init(void);
/* What decides OpenBLAS's bits: its version, kernel and threads. */
void mete__nn_fingerprint(char *out, size_t size);
/* Blocks of memory a tape ever took; constant once warm. For tests. */
size_t mete__tape_blocks(const mete_tape *tape);
/* The activation in place, and its derivative from its output times grad (x for GELU). */
void mete__activate(mete_activation act, float *x, size_t n);
/* x -> tanh x, within 4e-7 of it; x -> exp x for x <= 88, within 4e-7 of its size; both
 * vectorise. */
void mete__tanh(float *x, size_t n);
void mete__exp(const float *x, float *out, size_t n);

#endif
