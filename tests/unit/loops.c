/* loops.c - see loops.h. */
#include "loops.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

struct opened
open_loop(const char *text)
{
    return open_loop_on(text, 1);
}

struct opened
open_loop_on(const char *text, unsigned threads)
{
    struct opened o = {0};
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 7, .threads = threads};
    o.config = mete__config_parse("l.cfg", text, strlen(text), NULL, 0, &errors);
    o.engine = o.config ? mete__engine_open(o.config, &options, &errors) : NULL;
    o.loop = o.engine ? mete__loop_new(o.engine, o.config, NULL, &errors) : NULL;
    for (size_t i = 0; i < errors.count; i++)
        printf("%s\n", errors.line[i]);
    mete__errors_free(&errors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o.loop);
    return o;
}

void
close_loop(struct opened *o)
{
    mete__loop_free(o->loop);
    mete__engine_close(o->engine);
    mete__config_free(o->config);
}

void
finish(struct opened *o)
{
    mete_error err = {0};
    while (mete__loop_done(o->loop) < mete__loop_total(o->loop) && !err.code)
        mete__loop_step(o->loop, &err);
    if (err.code)
        printf("%s\n", err.message);
    CU_ASSERT_EQUAL(err.code, METE_OK);
}

const mete_batch *
collect(struct opened *o, const char *responses)
{
    mete_error err = {0};
    mete_params params = mete__loop_params(o->loop);
    const mete_batch *batch =
        mete__rollout_batch(&o->loop->train, &params, 0, 1, responses, NULL, &err);
    if (!batch)
        printf("%s\n", err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
    return batch;
}

const mete_column *
column(const mete_batch *batch, const char *name, mete_level level)
{
    for (uint32_t i = 0; i < batch->columns; i++)
        if (batch->column[i].level == level && strcmp(batch->column[i].name, name) == 0)
            return &batch->column[i];
    CU_FAIL_FATAL("no such column");
    return NULL;
}
