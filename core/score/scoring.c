/* scoring.c - see scoring.h. */
#include "score/scoring.h"

#include <stdlib.h>

static bool
make_parts(mete__scoring *scoring, unsigned threads)
{
    scoring->parts = threads;
    scoring->part = calloc(threads, sizeof *scoring->part);
    for (size_t p = 0; scoring->part && p < threads; p++)
        if (!(scoring->part[p].arena = mete__arena_new()))
            return false;
    return scoring->part != NULL;
}

uint64_t
mete__config_seed(mete__config *config, uint64_t def, mete__errors *errors)
{
    mete__value *run = mete__value_get(mete__config_root(config), "run");
    if (!run || run->kind != METE__GROUP)
        return def;
    return (uint64_t)mete__value_int(run, "seed", (int64_t)def, 0, INT64_MAX, errors);
}

bool
mete__scoring_open(mete__scoring *scoring, mete__config *config, const char *name,
                   const mete__engine_options *options, bool full, mete__errors *errors)
{
    mete__engine_options own = *options;
    *scoring = (mete__scoring){0};
    own.seed = mete__config_seed(config, own.seed, errors);
    scoring->engine = mete__engine_open(config, &own, errors);
    if (scoring->engine && !mete__engine_reward(scoring->engine))
        mete__errors_add(errors, "%s: there is no reward = { ... } to score with", name);
    if (scoring->engine && !errors->count)
        scoring->rows = mete__rows_new(scoring->engine, config, errors);
    if (errors->count)
        return false;
    if (!scoring->rows || !make_parts(scoring, own.threads) ||
        !mete__score_open(&scoring->sum, scoring->engine, full))
        mete__errors_add(errors, "out of memory");
    return !errors->count;
}

void
mete__scoring_close(mete__scoring *scoring)
{
    for (size_t p = 0; scoring->part && p < scoring->parts; p++) {
        mete__record_free(&scoring->part[p].record);
        mete_buffer_free(&scoring->part[p].path);
        mete_buffer_free(&scoring->part[p].out);
        if (scoring->part[p].arena)
            mete__arena_free(scoring->part[p].arena);
    }
    free(scoring->part);
    mete__score_close(&scoring->sum);
    mete__rows_free(scoring->rows);
    if (scoring->engine)
        mete__engine_close(scoring->engine);
}

bool
mete__scoring_begin(mete__scoring *scoring, size_t slots, uint64_t number)
{
    for (size_t p = 0; p < scoring->parts; p++)
        mete__arena_release(scoring->part[p].arena, (mete__arena_mark){0, 0});
    return mete__rows_begin(scoring->rows, slots, number);
}

int
mete__scoring_run(mete__scoring *scoring, size_t slots, mete_error *err)
{
    const mete_batch *batch = mete__rows_batch(scoring->rows, slots);
    if (!batch)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    int status = batch->episodes ? mete__score(scoring->engine,
                                               mete__engine_reward(scoring->engine), batch, err)
                                 : METE_OK;
    if (!status)
        mete__score_begin(&scoring->sum, scoring->rows, slots);
    return status;
}
