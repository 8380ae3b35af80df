/* scorer.h - what mete.h opens: trees of one config, as many as may score side by side.
 *
 * Each lane is a config and an engine of its own, so lanes share nothing that changes. A lane is
 * taken by one thread, used, and given back.
 */
#ifndef METE_SCORE_SCORER_H
#define METE_SCORE_SCORER_H

#include <mete/mete.h>

#include "score/scoring.h"

typedef struct mete__lane {
    mete__config *config;
    mete__scoring scoring;
    mete__items items; /* for who parses with this lane */
    struct mete__lane *next;
} mete__lane;

/* NULL after adding errors. The sets are borrowed until it returns. */
mete_scorer *mete__scorer_open(const char *path, const char *const *set, size_t sets,
                               unsigned lanes, const mete__engine_options *options,
                               mete__errors *errors);
/* A lane that nobody has; where there is none, waits for one or returns NULL. */
mete__lane *mete__scorer_take(mete_scorer *scorer, bool wait);
void mete__scorer_give(mete_scorer *scorer, mete__lane *lane);
/* Which flags of plugins (METE_WHOLE_BATCH ...) any node of it carries, and whether it asks a
 * model. */
unsigned mete__scorer_flags(const mete_scorer *scorer);
bool mete__scorer_asks(const mete_scorer *scorer);
mete__engine *mete__scorer_engine(const mete_scorer *scorer); /* of one lane */
/* Nodes and names, equal for all lanes. */
const mete__report_sum *mete__scorer_sum(const mete_scorer *scorer);
/* The rows of a lane: whose column names say how records are read. Equal for all lanes. */
const mete__rows *mete__scorer_rows(const mete_scorer *scorer);
/* The config, for what is not of the tree. */
mete__config *mete__scorer_config(const mete_scorer *scorer);
/* All faults of a config as one error, a line each. */
void mete__errors_tell(const mete__errors *errors, mete_error *err);

#endif
