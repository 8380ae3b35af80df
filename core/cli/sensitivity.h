/* sensitivity.h - how far a reward depends on what it should not: counterfactual pairs. */
#ifndef METE_CLI_SENSITIVITY_H
#define METE_CLI_SENSITIVITY_H

#include "cli/cli.h"

/* `mete check CONFIG --sensitivity FILE`: each record's response and its edited twins
 * (score/edits.h) are scored, and what the edits do to the score is printed; the exit code. */
int mete__sensitivity(mete__config *config, const mete__args *args);

#endif
