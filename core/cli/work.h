/* work.h - the published work a config reproduces: the `work` group of its `ablate` block. */
#ifndef METE_CLI_WORK_H
#define METE_CLI_WORK_H

#include "engine/config.h"

/* Strings are the config's; "" where not given, NULL where there is no `work`. */
typedef struct mete__work {
    const char *number; /* "057": what the page is sorted by */
    const char *title, *source;
    const char *says;  /* what the claims claim, in words */
    const char *note;  /* what a reader of the figures should know */
    const char *needs; /* what the claim wants that is not here, such as an endpoint */
} mete__work;

void mete__work_read(mete__value *block, mete__work *work, mete__errors *errors);

/* A hash of all of a config but what is said about it (ablate, report): whether figures are of it
 * as it stands. 0: out of memory. */
uint64_t mete__config_digest(mete__config *config);

#endif
