/* scoring.h - a config's reward tree, ready to take records and score them: what `mete score`,
 * the server and embedding programs share. */
#ifndef METE_SCORE_SCORING_H
#define METE_SCORE_SCORING_H

#include "score/write.h"

typedef struct mete__scoring {
    mete__engine *engine;
    mete__rows *rows;
    mete__report_sum sum;
    mete__part *part; /* [parts], for work split over the engine's threads */
    size_t parts;
} mete__scoring;

/* run.seed, or `def`. */
uint64_t mete__config_seed(mete__config *config, uint64_t def, mete__errors *errors);
/* Opens the tree; run.seed goes before options->seed; `full` as in mete__score_open. `name` stands
 * for the config in messages. false after adding errors; close in any case. */
bool mete__scoring_open(mete__scoring *scoring, mete__config *config, const char *name,
                        const mete__engine_options *options, bool full, mete__errors *errors);
void mete__scoring_close(mete__scoring *scoring);
/* Room for the records of a batch; forgets those of the one before. false: out of memory. */
bool mete__scoring_begin(mete__scoring *scoring, size_t slots, uint64_t number);
/* Scores the first `slots` that were taken, and has `sum` see the scores, which live until
 * mete__engine_reset. */
int mete__scoring_run(mete__scoring *scoring, size_t slots, mete_error *err);

#endif
